import { BUZHASH_TABLE } from "./buzhash-table.ts";
import { DynamicSplitter, WINDOW_BYTES } from "./dynamic-splitter.ts";

/**
 * Kopia's DYNAMIC-*-BUZHASH: a 32-bit cyclic polynomial over 64 bytes. Since the window is a multiple of the word, the byte that leaves needs no rotation.
 * One lane in plain JavaScript; both bytes are read from the slice itself, so nothing is stored per byte.
 *
 * Every window of 64 equal bytes hashes to 0: runs of zeros are cut at the minimum size, as Kopia cuts them.
 */
export class BuzhashSplitter extends DynamicSplitter {
  #hash = 0;

  protected override clearHash(): void {
    this.#hash = 0;
  }

  protected override enter(byte: number): void {
    this.#hash = ((this.#hash << 1) | (this.#hash >>> 31)) ^ (BUZHASH_TABLE[byte] ?? 0);
  }

  protected override atCut(): boolean {
    return (this.#hash & this.mask) === 0;
  }

  protected override scan(data: Uint8Array, from: number, to: number): number {
    const table = BUZHASH_TABLE;
    const mask = this.mask;
    const window = this.window;
    let hash = this.#hash;
    const direct = Math.min(from + WINDOW_BYTES, to);
    let at = from;
    for (; at < direct; at++) {
      hash = ((hash << 1) | (hash >>> 31)) ^ (table[window[at - from] as number] as number) ^ (table[data[at] as number] as number);
      if ((hash & mask) === 0) {
        this.#hash = hash;
        return at + 1;
      }
    }
    for (; at < to; at++) {
      hash = ((hash << 1) | (hash >>> 31)) ^ (table[data[at - WINDOW_BYTES] as number] as number) ^ (table[data[at] as number] as number);
      if ((hash & mask) === 0) {
        this.#hash = hash;
        return at + 1;
      }
    }
    this.#hash = hash;
    return -1;
  }
}
