/** What an index says, whichever version it has: entries by content key, read from the raw bytes one at a time. */
import { DrayError } from "@drayage/base";

export interface IndexEntry {
  /** Prefix byte ‖ hash. A view of the index: copy it to keep it. */
  readonly key: Uint8Array;
  readonly packBlobId: string;
  readonly packOffset: number;
  readonly packedLength: number;
  readonly originalLength: number;
  /** Header id of the compressor, 0 for none. */
  readonly compressionId: number;
  readonly formatVersion: number;
  readonly timestampSeconds: number;
  readonly deleted: boolean;
}

/** A decoded index. Entries are in ascending order of their keys. */
export interface PackIndex {
  readonly version: 1 | 2;
  readonly entryCount: number;
  /** Bytes of each key. */
  readonly keyBytes: number;
  /** Memory that the index keeps. */
  readonly byteLength: number;
  /** A view of the key at a position. */
  keyAt(position: number): Uint8Array;
  /** Throws REPO_CORRUPT when the entry points outside the index. */
  entryAt(position: number): IndexEntry;
  /** The first position whose key does not sort before `key`; a shorter key counts as prefix. */
  lowerBound(key: Uint8Array): number;
}

/** Sorted keys at fixed distances in a byte array: what both versions have in common. */
export class SortedKeys {
  readonly entryCount: number;
  readonly keyBytes: number;
  readonly #bytes: Uint8Array;
  readonly #from: number;
  readonly #stride: number;

  constructor(bytes: Uint8Array, layout: { readonly from: number; readonly stride: number; readonly keyBytes: number; readonly entryCount: number }) {
    this.#bytes = bytes;
    this.#from = layout.from;
    this.#stride = layout.stride;
    this.keyBytes = layout.keyBytes;
    this.entryCount = layout.entryCount;
  }

  get byteLength(): number {
    return this.#bytes.length;
  }

  keyAt(position: number): Uint8Array {
    const at = this.#from + position * this.#stride;
    return this.#bytes.subarray(at, at + this.keyBytes);
  }

  lowerBound(key: Uint8Array): number {
    // Written out, since every new content asks every index: making a view for each comparison would cost more than the comparison.
    const bytes = this.#bytes;
    const compared = Math.min(key.length, this.keyBytes);
    const tieIsLess = key.length > this.keyBytes;
    let low = 0;
    let high = this.entryCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#from + middle * this.#stride;
      let i = 0;
      while (i < compared && bytes[at + i] === key[i]) i++;
      const less = i === compared ? tieIsLess : (bytes[at + i] as number) < (key[i] as number);
      if (less) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The entry of a key, or undefined. */
export function findEntry(index: PackIndex, key: Uint8Array): IndexEntry | undefined {
  if (key.length !== index.keyBytes) return undefined;
  const position = index.lowerBound(key);
  if (position === index.entryCount || Buffer.compare(index.keyAt(position), key) !== 0) return undefined;
  return index.entryAt(position);
}

/** Which of two entries for one content holds: the later, then the one that is not deleted, then the greater pack name (kopia-format.md 6.3). */
export function prevails(entry: IndexEntry, other: IndexEntry): boolean {
  if (entry.timestampSeconds !== other.timestampSeconds) return entry.timestampSeconds > other.timestampSeconds;
  if (entry.deleted !== other.deleted) return !entry.deleted;
  return entry.packBlobId > other.packBlobId;
}

const PACK_NAME = /^[A-Za-z0-9_.-]{1,255}$/;

/** A pack name out of an index. Throws REPO_CORRUPT for what no blob can be called. */
export function packNameFrom(bytes: Uint8Array): string {
  const name = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!PACK_NAME.test(name)) throw corruptIndex(`pack name ${JSON.stringify(name.slice(0, 80))} is no blob name`);
  return name;
}

export function corruptIndex(what: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read index: ${what}`);
}
