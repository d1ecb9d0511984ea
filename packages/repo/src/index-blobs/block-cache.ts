/** Blocks of files that were read last, in one piece of memory of a fixed size. One per thread: nothing in it is shared. */

/** Bytes of a block at most. */
export const BLOCK_BYTES_MAX = 4096;

/** What blocks are read from. */
export interface BlockSource {
  /** Tells sources apart within a cache. */
  readonly serial: number;
  /** Reads a block into memory of `BLOCK_BYTES_MAX` bytes. What it throws, the caller of `get` gets; nothing is kept then. */
  readBlock(block: number, into: Uint8Array): void;
}

/**
 * Each block has one place, which follows from its number: neighbours do not displace each other, and there is nothing to keep in order.
 * A file that is smaller than the cache stays in it whole.
 */
export class BlockCache {
  readonly #memory: Uint8Array;
  readonly #slots: readonly Uint8Array[];
  readonly #serials: Uint32Array;
  readonly #blocks: Uint32Array;

  constructor(bytesMax: number) {
    const count = Math.max(1, Math.floor(bytesMax / BLOCK_BYTES_MAX));
    this.#memory = new Uint8Array(count * BLOCK_BYTES_MAX);
    this.#slots = Array.from({ length: count }, (_, i) => this.#memory.subarray(i * BLOCK_BYTES_MAX, (i + 1) * BLOCK_BYTES_MAX));
    this.#serials = new Uint32Array(count);
    this.#blocks = new Uint32Array(count);
  }

  /** A block, valid until the next call. */
  get(source: BlockSource, block: number): Uint8Array {
    // Files begin at places far apart, so that equal numbers of several do not fight for one place.
    const at = (block + firstPlaceOf(source)) % this.#slots.length;
    const slot = this.#slots[at] as Uint8Array;
    if (this.#serials[at] !== source.serial || this.#blocks[at] !== block) {
      this.#serials[at] = NOBODY;
      source.readBlock(block, slot);
      this.#serials[at] = source.serial;
      this.#blocks[at] = block;
    }
    return slot;
  }

  /** Where blocks of a source are found without asking for them, while they are there: that of block b at place (firstSlot + b) modulo the number of places. */
  placesOf(source: BlockSource): BlockPlaces {
    const { serial } = source;
    return { bytes: this.#memory, owners: this.#serials, blocks: this.#blocks, owner: serial, firstSlot: firstPlaceOf(source) % this.#slots.length };
  }
}

/** Places of BLOCK_BYTES_MAX bytes each: whose block is there, and which. */
export interface BlockPlaces {
  readonly bytes: Uint8Array;
  readonly owners: Uint32Array;
  readonly blocks: Uint32Array;
  readonly owner: number;
  readonly firstSlot: number;
}

function firstPlaceOf({ serial }: BlockSource): number {
  return serial * SPREAD;
}

const SPREAD = 7919;
const NOBODY = 0;
