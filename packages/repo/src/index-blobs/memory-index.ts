/** An index that lies in memory as it was stored. */
import { invariant } from "@drayage/base";
import type { KeyPart } from "@drayage/kernels";
import type { KeyFilter } from "./key-filter.ts";
import { type IndexBytes, type IndexEntry, type IndexFormat, type IndexScan, isDeletedEntry, type PackIndex } from "./pack-index.ts";

/** Bytes in memory as the source of an index. */
export function memoryBytes(bytes: Uint8Array): IndexBytes {
  return { length: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) };
}

export class MemoryIndex implements PackIndex {
  readonly version: 1 | 2;
  readonly entryCount: number;
  readonly keyBytes: number;
  /** The index as it is stored. */
  readonly bytes: Uint8Array;
  /** Says quickly where a key may be; without it every lookup is a search. */
  readonly filter: KeyFilter | undefined;
  readonly format: IndexFormat;
  readonly keyPart: KeyPart | undefined;

  constructor(bytes: Uint8Array, format: IndexFormat, filter?: KeyFilter) {
    this.bytes = bytes;
    this.filter = filter;
    this.format = format;
    this.keyPart = filter?.partOf(format, { bytes });
    this.version = format.version;
    this.entryCount = format.entryCount;
    this.keyBytes = format.keyBytes;
  }

  get byteLength(): number {
    return this.bytes.length + (this.filter?.byteLength ?? 0);
  }

  mayHavePrefix(firstByte: number): boolean {
    return this.filter?.hasPrefix(firstByte) ?? true;
  }

  keyAt(position: number): Uint8Array {
    const at = this.#offsetOf(position);
    return this.bytes.subarray(at, at + this.keyBytes);
  }

  entryAt(position: number): IndexEntry {
    invariant(position >= 0 && position < this.entryCount, `Cannot read index entry ${position}: there are ${this.entryCount}`);
    return this.format.entryFrom(this.bytes, this.#offsetOf(position));
  }

  isDeletedAt(position: number): boolean {
    return isDeletedEntry(this.format, this.bytes, this.#offsetOf(position));
  }

  lowerBound(key: Uint8Array): number {
    return this.#search(key, 0, this.entryCount);
  }

  find(key: Uint8Array): number {
    return key.length === this.keyBytes ? this.findAt(key, 0) : -1;
  }

  findAt(keys: Uint8Array, keyAt: number): number {
    let position = 0;
    let end = this.entryCount;
    if (this.filter !== undefined) {
      position = this.filter.seek(keys, keyAt);
      end = this.filter.end;
      if (position === -1) return -1;
    }
    if (end - position !== 1) position = this.#search(keys.subarray(keyAt, keyAt + this.keyBytes), position, end);
    if (position === this.entryCount) return -1;
    const at = this.#offsetOf(position);
    for (let i = 0; i < this.keyBytes; i++) if (this.bytes[at + i] !== keys[keyAt + i]) return -1;
    return position;
  }

  scan(from: number): IndexScan {
    return new MemoryScan(this, from - 1);
  }

  #offsetOf(position: number): number {
    return this.format.entriesAt + position * this.format.stride;
  }

  #search(key: Uint8Array, from: number, to: number): number {
    // Written out, since every new content asks every index: making a view for each comparison would cost more than the comparison.
    const { bytes } = this;
    const compared = Math.min(key.length, this.keyBytes);
    const tieIsLess = key.length > this.keyBytes;
    let low = from;
    let high = to;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#offsetOf(middle);
      let i = 0;
      while (i < compared && bytes[at + i] === key[i]) i++;
      const less = i === compared ? tieIsLess : (bytes[at + i] as number) < (key[i] as number);
      if (less) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

class MemoryScan implements IndexScan {
  position: number;
  readonly bytes: Uint8Array;
  readonly #index: MemoryIndex;

  constructor(index: MemoryIndex, before: number) {
    this.#index = index;
    this.bytes = index.bytes;
    this.position = before;
  }

  get at(): number {
    return this.#index.format.entriesAt + this.position * this.#index.format.stride;
  }

  next(): boolean {
    return ++this.position < this.#index.entryCount;
  }

  entry(): IndexEntry {
    return this.#index.format.entryFrom(this.bytes, this.at);
  }
}
