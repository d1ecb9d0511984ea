/** What the index of a pack says, in the form in which whoever filled the pack has it. */
import { encodeIndex, inKeyOrder } from "../index-blobs/index-codec.ts";
import { IndexV2Builder } from "../index-blobs/index-v2.ts";
import type { MemoryIndex } from "../index-blobs/memory-index.ts";
import { compareKeys, draftEntry, type EntryDraft, type IndexEntry } from "../index-blobs/pack-index.ts";
import { PACK_COLUMNS, type SealedPack } from "./sealing-lane.ts";

export interface PackEntries {
  readonly packBlobId: string;
  /** The index of a version, with `trailer` behind it. */
  encode(indexVersion: number, trailer: Uint8Array): Uint8Array;
  /** Whether an index says exactly this. */
  isSaidBy(index: MemoryIndex): boolean;
}

/** Entries one by one. */
export function listedEntries(entries: readonly IndexEntry[]): PackEntries {
  return {
    packBlobId: entries[0]?.packBlobId ?? "",
    encode: (indexVersion, trailer) => encodeIndex(indexVersion, entries, trailer),
    isSaidBy: (index) => index.entryCount === entries.length && inKeyOrder(entries).every((entry, i) => sameEntry(index.entryAt(i), entry)),
  };
}

/**
 * The entries of a pack that a lane filled, in the columns that it delivered: a pack of tiny files has a hundred thousand and more, and an object for each takes ten times its place
 * in the index. Memory: 20 bytes a content, and the index.
 *
 * @param timestampOf - seconds for the entry of a content; its key is valid during the call
 */
export class SealedEntries implements PackEntries {
  readonly packBlobId: string;
  readonly #sealed: SealedPack;
  readonly #order: Uint32Array;
  readonly #timestamps: Float64Array;
  readonly #digestBytes: number;
  readonly #formatVersion: number;

  constructor(sealed: SealedPack, of: { readonly packBlobId: string; readonly formatVersion: number; readonly timestampOf: (key: Uint8Array) => number }) {
    this.#sealed = sealed;
    this.#digestBytes = sealed.hashes.length / sealed.count;
    this.packBlobId = of.packBlobId;
    this.#formatVersion = of.formatVersion;
    this.#order = orderOf(sealed.hashes, sealed.count);
    const { key } = this.#draft();
    this.#timestamps = new Float64Array(sealed.count);
    for (let position = 0; position < sealed.count; position++) {
      this.#keyInto(this.#order[position] ?? 0, key);
      this.#timestamps[position] = of.timestampOf(key);
    }
  }

  encode(indexVersion: number, trailer: Uint8Array): Uint8Array {
    if (indexVersion === 1) return encodeIndex(1, [...this.#entries()], trailer);
    const draft = this.#draft();
    const builder = new IndexV2Builder(draft.key.length, this.#order.length);
    for (let position = 0; position < this.#order.length; position++) builder.add(this.#fill(position, draft));
    return builder.build(trailer);
  }

  isSaidBy(index: MemoryIndex): boolean {
    if (index.entryCount !== this.#order.length) return false;
    const wanted = this.#draft();
    const read = this.#draft();
    const scan = index.scan(0);
    for (let position = 0; scan.next(); position++) {
      this.#fill(position, wanted);
      for (let i = 0; i < wanted.key.length; i++) read.key[i] = scan.bytes[scan.at + i] ?? 0;
      index.format.valueInto(scan.bytes, scan.at, read);
      if (!sameEntry(read, wanted)) return false;
    }
    return true;
  }

  *#entries(): IterableIterator<IndexEntry> {
    for (let position = 0; position < this.#order.length; position++) yield this.#fill(position, this.#draft());
  }

  #draft(): EntryDraft {
    // The prefix byte of file data is 0, which is what the memory is.
    const draft = draftEntry(new Uint8Array(1 + this.#digestBytes));
    draft.packBlobId = this.packBlobId;
    draft.formatVersion = this.#formatVersion;
    return draft;
  }

  /** The entry at a position of the index, in a draft of this pack. */
  #fill(position: number, draft: EntryDraft): EntryDraft {
    const i = this.#order[position] ?? 0;
    const { columns } = this.#sealed;
    const column = i * PACK_COLUMNS;
    this.#keyInto(i, draft.key);
    draft.packOffset = columns[column] ?? 0;
    draft.packedLength = columns[column + 1] ?? 0;
    draft.originalLength = columns[column + 2] ?? 0;
    draft.compressionId = columns[column + 3] ?? 0;
    draft.timestampSeconds = this.#timestamps[position] ?? 0;
    return draft;
  }

  #keyInto(i: number, key: Uint8Array): void {
    const { hashes } = this.#sealed;
    const from = i * this.#digestBytes;
    // Byte by byte: a view for each content costs more.
    for (let byte = 0; byte < this.#digestBytes; byte++) key[1 + byte] = hashes[from + byte] ?? 0;
  }
}

function sameEntry(read: IndexEntry, entry: IndexEntry): boolean {
  return (
    read.packOffset === entry.packOffset &&
    read.packedLength === entry.packedLength &&
    read.originalLength === entry.originalLength &&
    read.timestampSeconds === entry.timestampSeconds &&
    read.compressionId === entry.compressionId &&
    read.formatVersion === entry.formatVersion &&
    read.deleted === entry.deleted &&
    read.packBlobId === entry.packBlobId &&
    compareKeys(read.key, entry.key) === 0
  );
}

/**
 * Positions of hashes in the order of their bytes: numbers with the first bits of the hash above the position sort without a call for each comparison. Hashes are even, so that equal
 * beginnings are few; they are put in order by hand.
 */
export function orderOf(hashes: Uint8Array, count: number): Uint32Array {
  const digestBytes = hashes.length / count;
  const view = new DataView(hashes.buffer, hashes.byteOffset, hashes.length);
  // Together they must fit the 53 bits of a whole number.
  const positions = 2 ** Math.ceil(Math.log2(count + 1));
  const prefixScale = 2 ** Math.max(0, Math.log2(positions) + 32 - 53);
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) keys[i] = Math.floor(view.getUint32(i * digestBytes) / prefixScale) * positions + i;
  keys.sort();
  const order = new Uint32Array(count);
  for (let at = 0; at < count; at++) order[at] = (keys[at] ?? 0) % positions;
  const prefixAt = (at: number): number => Math.floor((keys[at] ?? 0) / positions);
  for (let at = 1; at < count; at++) {
    if (prefixAt(at) !== prefixAt(at - 1)) continue;
    for (let to = at; to > 0 && prefixAt(to) === prefixAt(to - 1) && isBefore(hashes, digestBytes, order[to] ?? 0, order[to - 1] ?? 0); to--) {
      const moved = order[to] ?? 0;
      order[to] = order[to - 1] ?? 0;
      order[to - 1] = moved;
    }
  }
  return order;
}

function isBefore(hashes: Uint8Array, digestBytes: number, a: number, b: number): boolean {
  let i = 0;
  while (i < digestBytes && hashes[a * digestBytes + i] === hashes[b * digestBytes + i]) i++;
  return i < digestBytes && (hashes[a * digestBytes + i] ?? 0) < (hashes[b * digestBytes + i] ?? 0);
}
