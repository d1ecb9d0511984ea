/** What a thread loads to decode contents of a Kopia repository. */
import type { ContentDecoderOptions } from "@drayage/repo";
import { createContentDecoder } from "@drayage/repo/content-decoder";
import type { CreateDecoder } from "./restore-source.ts";

export const createDecoder: CreateDecoder = (options) => createContentDecoder(options as ContentDecoderOptions);
