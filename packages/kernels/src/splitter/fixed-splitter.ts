import type { Splitter } from "../types.ts";

/** Kopia's FIXED-*: a cut after every `chunkBytes`. */
export class FixedSplitter implements Splitter {
  readonly maxChunkBytes: number;
  readonly minChunkBytes: number;
  #count = 0;

  constructor(chunkBytes: number) {
    this.maxChunkBytes = chunkBytes;
    this.minChunkBytes = chunkBytes;
  }

  next(_data: Uint8Array, from: number, to: number): number {
    const end = from + this.maxChunkBytes - this.#count;
    if (end > to) {
      this.#count += to - from;
      return -1;
    }
    this.#count = 0;
    return end;
  }

  reset(): void {
    this.#count = 0;
  }
}
