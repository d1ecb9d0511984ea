/** What a thread loads to decode contents of a restic repository. */
import { ResticContentDecoder, type ResticDecoderOptions } from "@drayage/restic/content-decoder";
import type { CreateDecoder } from "./restore-source.ts";

const PLAIN = 0;

export const createDecoder: CreateDecoder = async (options) => {
  const decoder = await ResticContentDecoder.create(options as ResticDecoderOptions);
  return {
    decode(stored, { id, pack, originalLength, form }, scratch) {
      return decoder.decode(stored, { id, pack, plainLength: originalLength, isCompressed: form !== PLAIN }, scratch);
    },
    ...(decoder.decodeMany === undefined ? {} : { decodeMany: decoder.decodeMany }),
    isGenuine: (plain, id) => decoder.isGenuine(plain, id),
  };
};
