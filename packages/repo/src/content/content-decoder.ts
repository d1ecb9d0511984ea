/** Decodes contents in a thread that has no repository open, from what `PackedContents.decoderOptions` says. An entry of its own, so that a thread loads no more than this. */
import { equalBytes } from "@drayage/base";
import { createKernels } from "@drayage/kernels";
import type { ContentDecoderOptions, ContentId } from "../content-port.ts";
import { type ContentCodec, createContentCodec } from "./content-codec.ts";
import { hashOf } from "./content-id.ts";

export interface DecodableContent {
  readonly id: string;
  readonly pack: string;
  readonly originalLength: number;
  /** The id of its compression, 0 for none. */
  readonly form: number;
}

export class ContentDecoder {
  readonly #codec: ContentCodec;

  constructor(codec: ContentCodec) {
    this.#codec = codec;
  }

  /** The plaintext; it may be a view of `scratch`. Throws REPO_CORRUPT naming content and pack, REPO_UNSUPPORTED. */
  decode(stored: Uint8Array, { id, pack, originalLength, form }: DecodableContent, scratch: Uint8Array): Uint8Array {
    return this.#codec.open(stored, { id: id as ContentId, packBlobId: pack, originalLength, compressionId: form }, scratch);
  }

  /** Damaged shards that error correction put right so far. */
  get repairedShards(): number {
    return this.#codec.repairedShards;
  }

  /**
   * Whether hashing the plaintext gives the id: what authentication cannot show is that the writer hashed rightly. An object that an old writer compressed (`Z…`) is named after
   * its compressed form, which is not at hand here: it passes.
   */
  isGenuine(plain: Uint8Array, id: string): boolean {
    return id.startsWith("Z") || equalBytes(this.#codec.hasher.hash(plain), hashOf(id as ContentId));
  }
}

export async function createContentDecoder(options: ContentDecoderOptions): Promise<ContentDecoder> {
  return new ContentDecoder(await createContentCodec(options, await createKernels()));
}
