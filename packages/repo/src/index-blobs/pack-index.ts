/** What an index says, whichever version it has and wherever it is kept: entries by content key, read from the raw bytes one at a time. */
import { DrayError } from "@drayage/base";
import type { KeyPart } from "@drayage/kernels";

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

/** An entry to be filled in: one that serves for many contents makes no garbage. */
export type EntryDraft = { -readonly [Field in keyof IndexEntry]: IndexEntry[Field] };

export function draftEntry(key: Uint8Array): EntryDraft {
  return { key, packBlobId: "", packOffset: 0, packedLength: 0, originalLength: 0, compressionId: 0, formatVersion: 0, timestampSeconds: 0, deleted: false };
}

/** A decoded index. Entries are in ascending order of their keys. */
export interface PackIndex {
  readonly version: 1 | 2;
  readonly entryCount: number;
  /** Bytes of each key. */
  readonly keyBytes: number;
  /** Memory that the index keeps; what lies in a file is not counted. */
  readonly byteLength: number;
  /** Whether any key may begin with this byte: a quick look, which says yes where it is not known. */
  mayHavePrefix(firstByte: number): boolean;
  /** The key at a position. */
  keyAt(position: number): Uint8Array;
  /** Throws REPO_CORRUPT when the entry points outside the index. */
  entryAt(position: number): IndexEntry;
  /** Whether the entry at a position is one of a deleted content: what `entryAt` says, without making an entry. */
  isDeletedAt(position: number): boolean;
  /** The first position whose key does not sort before `key`; a shorter key counts as prefix. */
  lowerBound(key: Uint8Array): number;
  /** The position of a key, -1 where it is not named. */
  find(key: Uint8Array): number;
  /** The same of the key of `keyBytes` bytes that begins at `at`. */
  findAt(keys: Uint8Array, at: number): number;
  /** For looking up many keys at once; undefined where there is no filter. */
  readonly keyPart: KeyPart | undefined;
  /** Goes through the entries from a position on. */
  scan(from: number): IndexScan;
}

/** A place in an index that moves on. Before the first `next` it stands in front of its first entry. */
export interface IndexScan {
  /** Moves to the next entry; false when there is none. */
  next(): boolean;
  readonly position: number;
  /** The key of the entry that it stands on begins at `at` of these bytes: looking at it there makes no garbage. Valid until the next call. */
  readonly bytes: Uint8Array;
  readonly at: number;
  /** Throws REPO_CORRUPT. Its key is a view of memory that is used again after a thousand calls of `next`, or later. */
  entry(): IndexEntry;
}

/** The bytes of an index: in memory, or in a file of which parts are read. */
export interface IndexBytes {
  readonly length: number;
  /** A range, valid until the next call. The caller has checked that it lies inside. */
  read(offset: number, length: number): Uint8Array;
}

/** Where an index keeps what, and how an entry is read: what both versions have in common. */
export interface IndexFormat {
  readonly version: 1 | 2;
  readonly entryCount: number;
  readonly keyBytes: number;
  /** Of the first entry. */
  readonly entriesAt: number;
  /** From one entry to the next. */
  readonly stride: number;
  /** Decodes the entry whose key begins at `at`. Throws REPO_CORRUPT when it points outside the index. */
  entryFrom(bytes: Uint8Array, at: number): IndexEntry;
  /** The same, filled into `entry`, all but its key. */
  valueInto(bytes: Uint8Array, at: number, entry: EntryDraft): void;
  /** The byte of an entry whose highest bit says that the content is deleted. */
  readonly deletedAt: number;
}

/** Whether the entry whose key begins at `at` is one of a deleted content. */
export function isDeletedEntry({ deletedAt }: IndexFormat, bytes: Uint8Array, at: number): boolean {
  return (bytes[at + deletedAt] as number) >>> 7 === 1;
}

/** The entry of a key, or undefined. */
export function findEntry(index: PackIndex, key: Uint8Array): IndexEntry | undefined {
  const position = index.find(key);
  return position === -1 ? undefined : index.entryAt(position);
}

/** Which of two entries for one content holds: the later, then the one that is not deleted, then the greater pack name (kopia-format.md 6.3). */
export function prevails(entry: IndexEntry, other: IndexEntry): boolean {
  if (entry.timestampSeconds !== other.timestampSeconds) return entry.timestampSeconds > other.timestampSeconds;
  if (entry.deleted !== other.deleted) return !entry.deleted;
  return entry.packBlobId > other.packBlobId;
}

/** Byte order of two keys. Written out: a native call for each comparison costs more than the comparison. */
export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  let i = 0;
  while (i < length && a[i] === b[i]) i++;
  return i === length ? a.length - b.length : (a[i] as number) - (b[i] as number);
}

/** Big-endian numbers. */
export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function u24(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) << 8) | (bytes[at + 2] as number);
}

export function u32(bytes: Uint8Array, at: number): number {
  return ((u16(bytes, at) << 16) | u16(bytes, at + 2)) >>> 0;
}

/** Byte order of the keys that two scans stand on. */
export function compareScans(a: IndexScan, b: IndexScan, keyBytes: number): number {
  const aBytes = a.bytes;
  const bBytes = b.bytes;
  const aAt = a.at;
  const bAt = b.at;
  let i = 0;
  while (i < keyBytes && aBytes[aAt + i] === bBytes[bAt + i]) i++;
  return i === keyBytes ? 0 : (aBytes[aAt + i] ?? 0) - (bBytes[bAt + i] ?? 0);
}

const PACK_NAME = /^[A-Za-z0-9_.-]{1,255}$/;

/** A pack name out of an index. Throws REPO_CORRUPT for what no blob can be called. */
export function packNameFrom(bytes: Uint8Array): string {
  const name = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!PACK_NAME.test(name)) throw corruptIndex(`pack name ${JSON.stringify(name.slice(0, 80))} is no blob name`);
  return name;
}

/** Pack names by a number, so that the entries of one pack share one string; forgets all of them when there are too many. */
export class PackNames {
  readonly #names = new Map<number, string>();

  get(number: number, load: () => string): string {
    const known = this.#names.get(number);
    if (known !== undefined) return known;
    if (this.#names.size >= NAMES_MAX) this.#names.clear();
    const name = load();
    this.#names.set(number, name);
    return name;
  }
}

/** About 8 MiB. */
const NAMES_MAX = 1 << 16;

export function corruptIndex(what: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read index: ${what}`);
}
