/**
 * Pack index, version 1. Kopia: repo/content/index (kopia-format.md 6.2). Integers are big-endian.
 *
 *   offset  size  field       encoding
 *        0     1  version     = 1
 *        1     1  keySize     bytes of a key
 *        2     2  entrySize   u16, = 20
 *        4     4  entryCount  u32
 *        8     -  entries, then pack names; whatever follows is ignored
 *
 *   entry: key, then
 *        0     6  timestamp      u48, unix seconds
 *        6     1  formatVersion  u8
 *        7     1  nameLength     u8, of the pack name
 *        8     4  nameOffset     u32, from the start of the index
 *       12     4  offset         u32; bit 31: deleted
 *       16     4  packedLength   u32
 *
 * There is no compression, and the original length is the packed one without what encryption adds.
 */
import { asBuffer, invariant } from "@drayage/base";
import { SEAL_OVERHEAD_BYTES } from "@drayage/kernels";
import {
  corruptIndex,
  draftEntry,
  type EntryDraft,
  type IndexBytes,
  type IndexEntry,
  type IndexFormat,
  PackNames,
  packNameFrom,
  u16,
  u32,
} from "./pack-index.ts";

export const V1_HEADER_BYTES = 8;
export const V1_HEADER_AT = { version: 0, keySize: 1, entrySize: 2, entryCount: 4 } as const;
export const V1_ENTRY_AT = { timestamp: 0, formatVersion: 6, nameLength: 7, nameOffset: 8, offset: 12, packedLength: 16 } as const;
const ENTRY_BYTES = 20;
const DELETED = 0x8000_0000;
const OFFSET_MASK = 0x7fff_ffff;

/** Reads where an index keeps what. Throws REPO_CORRUPT. */
export function indexFormatV1(bytes: IndexBytes): IndexFormat {
  if (bytes.length < V1_HEADER_BYTES) throw corruptIndex(`${V1_HEADER_BYTES} bytes are needed for the header, ${bytes.length} are there`);
  const header = asBuffer(bytes.read(0, V1_HEADER_BYTES));
  const version = header.readUInt8(V1_HEADER_AT.version);
  if (version !== 1) throw corruptIndex(`version is ${version}, 1 is wanted`);
  const keyBytes = header.readUInt8(V1_HEADER_AT.keySize);
  const entryBytes = header.readUInt16BE(V1_HEADER_AT.entrySize);
  const entryCount = header.readUInt32BE(V1_HEADER_AT.entryCount);
  if (entryBytes !== ENTRY_BYTES) throw corruptIndex(`entry size is ${entryBytes}, ${ENTRY_BYTES} is wanted`);
  if (keyBytes <= 1 && entryCount > 0) throw corruptIndex(`key size is ${keyBytes}, more than 1 is wanted`);
  const entriesEnd = V1_HEADER_BYTES + entryCount * (keyBytes + ENTRY_BYTES);
  if (entriesEnd > bytes.length) throw corruptIndex(`its entries take ${entriesEnd} bytes, ${bytes.length} are there`);
  return new FormatV1(bytes, keyBytes, entryCount);
}

class FormatV1 implements IndexFormat {
  readonly version = 1;
  readonly entriesAt = V1_HEADER_BYTES;
  readonly keyBytes: number;
  readonly entryCount: number;
  readonly stride: number;
  readonly #bytes: IndexBytes;
  /** By their place: offset and length in one number. */
  readonly #names = new PackNames();

  constructor(bytes: IndexBytes, keyBytes: number, entryCount: number) {
    this.#bytes = bytes;
    this.keyBytes = keyBytes;
    this.entryCount = entryCount;
    this.stride = keyBytes + ENTRY_BYTES;
  }

  get deletedAt(): number {
    return this.keyBytes + V1_ENTRY_AT.offset;
  }

  entryFrom(bytes: Uint8Array, keyAt: number): IndexEntry {
    const entry = draftEntry(bytes.subarray(keyAt, keyAt + this.keyBytes));
    this.valueInto(bytes, keyAt, entry);
    return entry;
  }

  valueInto(bytes: Uint8Array, keyAt: number, entry: EntryDraft): void {
    const at = keyAt + this.keyBytes;
    const offset = u32(bytes, at + V1_ENTRY_AT.offset);
    const packedLength = u32(bytes, at + V1_ENTRY_AT.packedLength);
    if (packedLength < SEAL_OVERHEAD_BYTES) throw corruptIndex(`an entry has ${packedLength} bytes, an encrypted content has ${SEAL_OVERHEAD_BYTES} at least`);
    entry.packBlobId = this.#name(u32(bytes, at + V1_ENTRY_AT.nameOffset), bytes[at + V1_ENTRY_AT.nameLength] as number);
    entry.packOffset = offset & OFFSET_MASK;
    entry.packedLength = packedLength;
    entry.originalLength = packedLength - SEAL_OVERHEAD_BYTES;
    entry.compressionId = 0;
    entry.formatVersion = bytes[at + V1_ENTRY_AT.formatVersion] as number;
    entry.timestampSeconds = u16(bytes, at + V1_ENTRY_AT.timestamp) * 2 ** 32 + u32(bytes, at + V1_ENTRY_AT.timestamp + 2);
    entry.deleted = offset >>> 31 === 1;
  }

  #name(at: number, length: number): string {
    return this.#names.get(at * 256 + length, () => {
      if (at + length > this.#bytes.length) throw corruptIndex("a pack name lies outside it");
      return packNameFrom(this.#bytes.read(at, length));
    });
  }
}

/** Encodes entries that are sorted by key, for repositories of format version 1. */
export function encodeIndexV1(entries: readonly IndexEntry[], trailer: Uint8Array = new Uint8Array()): Uint8Array {
  const [first] = entries;
  invariant(first !== undefined, "Cannot build an index: there is no entry");
  const keyBytes = first.key.length;
  const stride = keyBytes + ENTRY_BYTES;
  const namesAt = V1_HEADER_BYTES + entries.length * stride;
  const names = new Map<string, number>();
  let nextNameAt = namesAt;
  for (const { packBlobId } of entries) {
    if (names.has(packBlobId)) continue;
    names.set(packBlobId, nextNameAt);
    nextNameAt += packBlobId.length;
  }
  const bytes = new Uint8Array(nextNameAt + trailer.length);
  const out = asBuffer(bytes);
  out.writeUInt8(1, V1_HEADER_AT.version);
  out.writeUInt8(keyBytes, V1_HEADER_AT.keySize);
  out.writeUInt16BE(ENTRY_BYTES, V1_HEADER_AT.entrySize);
  out.writeUInt32BE(entries.length, V1_HEADER_AT.entryCount);
  entries.forEach((entry, i) => {
    const keyAt = V1_HEADER_BYTES + i * stride;
    const at = keyAt + keyBytes;
    invariant(entry.key.length === keyBytes && entry.compressionId === 0, "Cannot index a content: its key or compression does not fit index version 1");
    out.set(entry.key, keyAt);
    out.writeUIntBE(entry.timestampSeconds, at + V1_ENTRY_AT.timestamp, 6);
    out.writeUInt8(entry.formatVersion, at + V1_ENTRY_AT.formatVersion);
    out.writeUInt8(entry.packBlobId.length, at + V1_ENTRY_AT.nameLength);
    out.writeUInt32BE(names.get(entry.packBlobId) ?? 0, at + V1_ENTRY_AT.nameOffset);
    out.writeUInt32BE(entry.deleted ? entry.packOffset + DELETED : entry.packOffset, at + V1_ENTRY_AT.offset);
    out.writeUInt32BE(entry.packedLength, at + V1_ENTRY_AT.packedLength);
  });
  for (const [name, at] of names) out.write(name, at, "latin1");
  out.set(trailer, nextNameAt);
  return bytes;
}
