/**
 * Which parts of a device have to be read, as its storage tells: those that were written since the snapshot before, or those that were ever written.
 *
 * What a storage says is believed as Velero believes it (velero.md 12), and tried: some of what is said to be unchanged is read and compared. Whatever is odd, the device is read whole.
 */
import { DrayError } from "@drayage/base";
import type { Extent } from "@drayage/kernels";

/** The port: who knows the storage implements it. */
export interface ChangedBlocks {
  /** The volume by the storage's name for it: what was told of another one is of no use. */
  readonly volumeId: string;
  /** The state that is being read, by the storage's name for it: the base of a later upload. */
  readonly changeId: string;
  /**
   * The ranges that were written since the state `base`, or ever when there is none: in order, and none twice. A storage that rounds them gives more than was written.
   * Throws when it cannot tell: the device is then read whole.
   */
  ranges(base: string | undefined, signal: AbortSignal | undefined): AsyncIterable<Extent>;
}

/** What a snapshot is tagged with, as Velero's block mover does it; and how much was read for it, for whoever wonders how long it took. */
export const CHANGE_TAGS = { changeId: "cbt-change-id", volumeId: "cbt-volume-id", read: "drayage-read" } as const;

/** Of a device: only what changed since the snapshot before, only what was ever written, or everything. */
export type DeviceReading = "changed" | "written" | "everything";

/** Bytes of one bit of a map: contents are larger, so that a finer one would spare no reading. */
export const MAP_BLOCK_BYTES: number = 1 << 20;

/** Blocks of a device, a bit each: 64 TiB take 8 MiB. */
export class BlockMap {
  readonly #bits: Uint8Array;
  readonly #size: number;
  readonly #blockBytes: number;
  readonly #blocks: number;

  /** `size` is that of the device, in bytes. */
  constructor(size: number, blockBytes: number = MAP_BLOCK_BYTES) {
    this.#size = size;
    this.#blockBytes = blockBytes;
    this.#blocks = Math.ceil(size / blockBytes);
    this.#bits = new Uint8Array(Math.ceil(this.#blocks / 8));
  }

  /** Every block that the range touches; what lies behind the device's end is none of it. */
  add({ offset, length }: Extent): void {
    const last = Math.min(Math.ceil((offset + length) / this.#blockBytes), this.#blocks);
    for (let block = Math.floor(offset / this.#blockBytes); block < last; block++)
      this.#bits[block >>> 3] = (this.#bits[block >>> 3] ?? 0) | (1 << (block & 7));
  }

  /** Ranges of blocks that are in it, or with `false` of those that are not, in order. */
  *runs(isIn = true): Generator<Extent> {
    for (let block = 0; block < this.#blocks; ) {
      if (this.#has(block) !== isIn) {
        block++;
        continue;
      }
      const from = block;
      while (block < this.#blocks && this.#has(block) === isIn) block++;
      const offset = from * this.#blockBytes;
      yield { offset, length: Math.min(block * this.#blockBytes, this.#size) - offset };
    }
  }

  /** Bytes of the blocks that are in it. */
  get bytes(): number {
    let bytes = 0;
    for (const { length } of this.runs()) bytes += length;
    return bytes;
  }

  #has(block: number): boolean {
    return ((this.#bits[block >>> 3] ?? 0) & (1 << (block & 7))) !== 0;
  }
}

/** What a storage tells, checked. Throws what it throws, and PATH_IO when the ranges are not in order or not of this device. */
export async function mapOf(ranges: AsyncIterable<Extent>, size: number): Promise<BlockMap> {
  const map = new BlockMap(size);
  let end = 0;
  for await (const range of ranges) {
    const { offset, length } = range;
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < end || length <= 0) {
      throw new DrayError("PATH_IO", `Cannot use the changed blocks of the storage: ${length} bytes at ${offset} follow what ended at ${end}`);
    }
    end = offset + length;
    map.add(range);
  }
  return map;
}
