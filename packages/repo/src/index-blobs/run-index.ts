/**
 * An index that stays in its file. A lookup asks the filter, and mostly ends there; one that may succeed reads the one block where the key has to be.
 *
 * Memory: the filter (2.25 to 2.5 bytes an entry) and the checksums (4 bytes for each 4 KiB); blocks come through the cache of the thread.
 */
import { readSync, unlinkSync } from "node:fs";
import { crc32 } from "node:zlib";
import { DrayError, invariant } from "@drayage/base";
import type { KeyPart } from "@drayage/kernels";
import { BLOCK_BYTES_MAX, type BlockCache, type BlockSource } from "./block-cache.ts";
import { KeyFilter } from "./key-filter.ts";
import { type IndexEntry, type IndexFormat, type IndexScan, isDeletedEntry, type PackIndex } from "./pack-index.ts";
import type { RunFile, RunParts } from "./run-file.ts";

/** Blocks that a walk reads at once. */
const SCAN_BLOCKS = 16;
let serials = 0;

export class RunIndex implements PackIndex, BlockSource {
  readonly version: 1 | 2;
  readonly entryCount: number;
  readonly keyBytes: number;
  readonly parts: RunParts;
  readonly serial: number = ++serials;
  readonly file: RunFile;
  readonly format: IndexFormat;
  readonly keyPart: KeyPart;
  readonly #filter: KeyFilter;
  readonly #cache: BlockCache;
  /** Where in the block that `#blockOf` gave the entry begins. */
  #entryAt = 0;

  constructor(file: RunFile, format: IndexFormat, parts: RunParts, cache: BlockCache) {
    this.file = file;
    this.format = format;
    this.parts = parts;
    this.#cache = cache;
    this.#filter = new KeyFilter(parts.filter);
    this.keyPart = this.#filter.partOf(format, { ...cache.placesOf(this), blockEntries: parts.blockEntries });
    this.version = format.version;
    this.entryCount = format.entryCount;
    this.keyBytes = format.keyBytes;
  }

  get byteLength(): number {
    return this.#filter.byteLength + this.parts.checksums.byteLength;
  }

  mayHavePrefix(firstByte: number): boolean {
    return this.#filter.hasPrefix(firstByte);
  }

  keyAt(position: number): Uint8Array {
    return this.#bytesAt(position).slice(0, this.keyBytes);
  }

  entryAt(position: number): IndexEntry {
    invariant(position >= 0 && position < this.entryCount, `Cannot read index entry ${position}: there are ${this.entryCount}`);
    // A copy: the block may be another one by the time that the entry is looked at.
    return this.format.entryFrom(this.#bytesAt(position).slice(0, this.format.stride), 0);
  }

  isDeletedAt(position: number): boolean {
    const block = this.#blockOf(position);
    return isDeletedEntry(this.format, block, this.#entryAt);
  }

  lowerBound(key: Uint8Array): number {
    return this.#search(key, 0, this.entryCount);
  }

  find(key: Uint8Array): number {
    return key.length === this.keyBytes ? this.findAt(key, 0) : -1;
  }

  findAt(keys: Uint8Array, keyAt: number): number {
    const from = this.#filter.seek(keys, keyAt);
    if (from === -1) return -1;
    const { end } = this.#filter;
    const position = end - from === 1 ? from : this.#search(keys.subarray(keyAt, keyAt + this.keyBytes), from, end);
    if (position === end) return -1;
    const bytes = this.#blockOf(position);
    for (let i = 0, at = this.#entryAt; i < this.keyBytes; i++) if (bytes[at + i] !== keys[keyAt + i]) return -1;
    return position;
  }

  scan(from: number): IndexScan {
    return new RunScan(this, from - 1);
  }

  /** Throws BLOB_UNAVAILABLE when the block is not what was written. */
  readBlock(block: number, into: Uint8Array): void {
    this.readBlocks(block, 1, into);
  }

  /** Reads blocks that follow each other into the beginning of `into`. */
  readBlocks(first: number, count: number, into: Uint8Array): void {
    const { blockEntries, checksums, checked } = this.parts;
    const { stride, entriesAt } = this.format;
    const blockBytes = blockEntries * stride;
    const from = first * blockEntries;
    const length = Math.min(count * blockEntries, this.entryCount - from) * stride;
    let whole = readSync(this.file.fd, into, 0, length, entriesAt + from * stride) === length;
    for (let at = 0; at < length && whole && !checked; at += blockBytes) {
      whole = crc32(into.subarray(at, Math.min(at + blockBytes, length))) === checksums[first + at / blockBytes];
    }
    if (!whole) throw this.#damaged();
  }

  /** The block of an entry, from the entry on; valid until the next call. */
  #bytesAt(position: number): Uint8Array {
    return this.#blockOf(position).subarray(this.#entryAt);
  }

  /** The same from the beginning of the block, without a view for each entry: `#entryAt` says where it is. */
  #blockOf(position: number): Uint8Array {
    const { blockEntries } = this.parts;
    const block = Math.floor(position / blockEntries);
    this.#entryAt = (position - block * blockEntries) * this.format.stride;
    return this.#cache.get(this, block);
  }

  #search(key: Uint8Array, from: number, to: number): number {
    const compared = Math.min(key.length, this.keyBytes);
    const tieIsLess = key.length > this.keyBytes;
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const bytes = this.#blockOf(middle);
      const at = this.#entryAt;
      let i = 0;
      while (i < compared && bytes[at + i] === key[i]) i++;
      const less = i === compared ? tieIsLess : (bytes[at + i] as number) < (key[i] as number);
      if (less) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** It is only a copy, and goes. */
  #damaged(): DrayError {
    try {
      unlinkSync(this.file.path);
    } catch {
      // Gone already, or not ours to remove: it is found damaged again the next time.
    }
    return new DrayError("BLOB_UNAVAILABLE", `Cannot read the local copy of an index at "${this.file.path}": it is damaged`, {
      hint: "The copy has been removed and is made again from the repository: try once more. If this comes back, the disk is failing.",
    });
  }
}

/**
 * Walks a file with memory of its own, so that several walks do not take each other's blocks. Two pieces of memory take turns: what was handed out from one
 * stays as it was while the other is read.
 */
class RunScan implements IndexScan {
  position: number;
  bytes: Uint8Array;
  readonly #index: RunIndex;
  #other: Uint8Array;
  #from = 0;
  #to = 0;

  constructor(index: RunIndex, before: number) {
    this.#index = index;
    this.position = before;
    const length = Math.min(SCAN_BLOCKS * BLOCK_BYTES_MAX, index.entryCount * index.format.stride);
    this.bytes = new Uint8Array(length);
    this.#other = new Uint8Array(length);
  }

  get at(): number {
    return (this.position - this.#from) * this.#index.format.stride;
  }

  next(): boolean {
    this.position++;
    if (this.position >= this.#index.entryCount) return false;
    if (this.position >= this.#to) this.#fill();
    return true;
  }

  entry(): IndexEntry {
    return this.#index.format.entryFrom(this.bytes, this.at);
  }

  #fill(): void {
    const { blockEntries } = this.#index.parts;
    const block = Math.floor(this.position / blockEntries);
    const next = this.#other;
    this.#other = this.bytes;
    this.bytes = next;
    this.#from = block * blockEntries;
    this.#to = Math.min(this.#from + SCAN_BLOCKS * blockEntries, this.#index.entryCount);
    this.#index.readBlocks(block, SCAN_BLOCKS, next);
  }
}
