import type { NativeLoops } from "../native/addon.ts";
import { BuzhashSplitter } from "./buzhash-splitter.ts";
import { BUZHASH_TABLE } from "./buzhash-table.ts";
import type { ChunkSizes } from "./dynamic-splitter.ts";

/** The same cuts from the addon's scan. The hash at a tested position is a function of the window alone, so nothing is carried between calls but that. */
export class NativeBuzhashSplitter extends BuzhashSplitter {
  readonly #loops: NativeLoops;

  constructor(sizes: ChunkSizes, loops: NativeLoops) {
    super(sizes);
    this.#loops = loops;
  }

  protected override scan(data: Uint8Array, from: number, to: number): number {
    return this.#loops.buzhashScan(BUZHASH_TABLE, this.window, data, from, to, this.mask);
  }
}
