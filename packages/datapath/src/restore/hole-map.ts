/** Where a file has holes, and which stretches of data have to be written all the same. */
import { asBuffer } from "@drayage/base";
import type { Hole } from "@drayage/repo";

/** Granularity in which zeros are looked for. */
export const BLOCK_BYTES = 4096;
const zeroBlock = Buffer.alloc(BLOCK_BYTES);

/** Whether there are only zeros. */
export function isZero(data: Uint8Array): boolean {
  const bytes = asBuffer(data);
  if (bytes.length > 0 && bytes[0] !== 0) return false;
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const end = Math.min(at + BLOCK_BYTES, bytes.length);
    if (bytes.compare(zeroBlock, 0, end - at, at, end) !== 0) return false;
  }
  return true;
}

/** Answers what of a range lies in holes; these are in order. */
export class HoleMap {
  readonly #holes: readonly Hole[];

  constructor(holes: readonly Hole[]) {
    this.#holes = holes;
  }

  covers(offset: number, length: number): boolean {
    const hole = this.#holes[this.#firstEndingAfter(offset)];
    return hole !== undefined && hole.offset <= offset && offset + length <= hole.offset + hole.length;
  }

  /** The holes that touch a range. */
  within(offset: number, length: number): readonly Hole[] {
    const first = this.#firstEndingAfter(offset);
    let end = first;
    while ((this.#holes[end]?.offset ?? Number.POSITIVE_INFINITY) < offset + length) end++;
    return this.#holes.slice(first, end);
  }

  #firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#holes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const hole = this.#holes[middle];
      if (hole !== undefined && hole.offset + hole.length > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

export interface Stretch {
  /** In the file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** The stretches of data at `at` that must be written: all but the blocks of zeros that may be left as holes. */
export function* stretchesToWrite(at: number, data: Uint8Array, holes: HoleMap, everyZeroIsHole: boolean): Generator<Stretch> {
  let start = -1;
  for (let offset = 0; offset < data.length; ) {
    // In steps that end where blocks of the file do, since holes are made of those.
    const end = Math.min(data.length, offset + BLOCK_BYTES - ((at + offset) % BLOCK_BYTES));
    const mayBeHole = everyZeroIsHole || holes.covers(at + offset, end - offset);
    if (mayBeHole && isZero(data.subarray(offset, end))) {
      if (start >= 0) yield { offset: at + start, bytes: data.subarray(start, offset) };
      start = -1;
    } else if (start < 0) start = offset;
    offset = end;
  }
  if (start >= 0) yield { offset: at + start, bytes: data.subarray(start) };
}
