/**
 * Pack index, version 2. Kopia: repo/content/index (kopia-format.md 6.1). Integers are big-endian.
 *
 *   offset  size  field          encoding
 *        0     1  version        = 2
 *        1     1  keySize        bytes of a key, > 1; 255: empty
 *        2     2  entrySize      u16, 16..19: the value behind each key
 *        4     4  entryCount     u32
 *        8     4  packCount      u32
 *       12     1  formatCount    u8
 *       13     4  baseTimestamp  u32, unix seconds; 0 in what is written
 *       17     -  entries, packs (5 bytes each), formats (6 bytes each), pack names; whatever follows is ignored
 *
 *   entry: key, then
 *        0     4  timestamp      u32, seconds after baseTimestamp
 *        4     4  offset         u32; bit 31: deleted
 *        8     3  originalLength u24, low bits
 *       11     3  packedLength   u24, low bits
 *       14     2  packIndex      u16, low bits
 *       16     1  formatIndex    u8; there when formats are more than one
 *       17     1  packIndexHigh  u8; there when packs are more than 65,536
 *       18     1  lengthsHigh    high nibble: bits 24..27 of originalLength, low nibble: of packedLength; there when any is that long
 *
 *   pack: length of the name u8, offset of the name in the index u32
 *   format: compression u32, formatVersion u8, encryption key u8 (always 0)
 */
import { asBuffer, DrayError, invariant } from "@drayage/base";
import { corruptIndex, type IndexEntry, type PackIndex, packNameFrom, SortedKeys } from "./pack-index.ts";

export const V2_HEADER_BYTES = 17;
/** Where the fields of the header and of an entry's value begin; a test compares them with the tables above. */
export const V2_HEADER_AT = { version: 0, keySize: 1, entrySize: 2, entryCount: 4, packCount: 8, formatCount: 12, baseTimestamp: 13 } as const;
export const V2_ENTRY_AT = {
  timestamp: 0,
  offset: 4,
  originalLength: 8,
  packedLength: 11,
  packIndex: 14,
  formatIndex: 16,
  packIndexHigh: 17,
  lengthsHigh: 18,
} as const;
const ENTRY_BYTES_MIN = 16;
const ENTRY_BYTES_MAX = 19;
const STRIDE_MAX = 256;
const PACK_BYTES = 5;
const FORMAT_BYTES = 6;
const DELETED = 0x8000_0000;
const OFFSET_MASK = 0x7fff_ffff;
const OFFSET_LIMIT = 2 ** 30;
const LENGTH_LIMIT = 2 ** 28;
const PACKS_MAX = 2 ** 24;
const FORMATS_MAX = 255;

/** Decodes an index; entries stay bytes until they are asked for. Throws REPO_CORRUPT, REPO_UNSUPPORTED for contents encrypted with a second key. */
export function decodeIndexV2(bytes: Uint8Array): PackIndex {
  if (bytes.length < V2_HEADER_BYTES) throw corruptIndex(`${V2_HEADER_BYTES} bytes are needed for the header, ${bytes.length} are there`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint8(V2_HEADER_AT.version);
  if (version !== 2) throw corruptIndex(`version is ${version}, 2 is wanted`);
  const keyBytes = view.getUint8(V2_HEADER_AT.keySize);
  const entryBytes = view.getUint16(V2_HEADER_AT.entrySize);
  const entryCount = view.getUint32(V2_HEADER_AT.entryCount);
  const packCount = view.getUint32(V2_HEADER_AT.packCount);
  const formatCount = view.getUint8(V2_HEADER_AT.formatCount);
  if (keyBytes <= 1) throw corruptIndex(`key size is ${keyBytes}, more than 1 is wanted`);
  if (entryBytes < ENTRY_BYTES_MIN || entryBytes > ENTRY_BYTES_MAX) {
    throw corruptIndex(`entry size is ${entryBytes}, ${ENTRY_BYTES_MIN} to ${ENTRY_BYTES_MAX} is wanted`);
  }
  // 255 stands for an index that never saw a key.
  if (keyBytes === 255 && entryCount > 0) throw corruptIndex("key size is that of an empty index, yet there are entries");
  const packsAt = V2_HEADER_BYTES + entryCount * (keyBytes + entryBytes);
  const formatsAt = packsAt + packCount * PACK_BYTES;
  const tablesEnd = formatsAt + formatCount * FORMAT_BYTES;
  if (tablesEnd > bytes.length) throw corruptIndex(`its tables take ${tablesEnd} bytes, ${bytes.length} are there`);
  return new IndexV2(bytes, view, { keyBytes, entryBytes, entryCount, packCount, formatCount, packsAt, formatsAt });
}

interface Layout {
  readonly keyBytes: number;
  readonly entryBytes: number;
  readonly entryCount: number;
  readonly packCount: number;
  readonly formatCount: number;
  readonly packsAt: number;
  readonly formatsAt: number;
}

class IndexV2 extends SortedKeys implements PackIndex {
  readonly version = 2;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #layout: Layout;
  readonly #baseTimestamp: number;
  /** Names read so far, so that entries of one pack share one string. */
  readonly #names: (string | undefined)[] = [];

  constructor(bytes: Uint8Array, view: DataView, layout: Layout) {
    super(bytes, { from: V2_HEADER_BYTES, stride: layout.keyBytes + layout.entryBytes, keyBytes: layout.keyBytes, entryCount: layout.entryCount });
    this.#bytes = bytes;
    this.#view = view;
    this.#layout = layout;
    this.#baseTimestamp = view.getUint32(V2_HEADER_AT.baseTimestamp);
  }

  entryAt(position: number): IndexEntry {
    const { keyBytes, entryBytes, entryCount } = this.#layout;
    invariant(position >= 0 && position < entryCount, `Cannot read index entry ${position}: there are ${entryCount}`);
    const view = this.#view;
    const at = V2_HEADER_BYTES + position * (keyBytes + entryBytes) + keyBytes;
    const optional = (field: number): number => (entryBytes > field ? view.getUint8(at + field) : 0);
    const u24 = (field: number): number => (view.getUint16(at + field) << 8) | view.getUint8(at + field + 2);
    const lengthsHigh = optional(V2_ENTRY_AT.lengthsHigh);
    const offset = view.getUint32(at + V2_ENTRY_AT.offset);
    const format = this.#formatAt(optional(V2_ENTRY_AT.formatIndex));
    return {
      key: this.#bytes.subarray(at - keyBytes, at),
      packBlobId: this.#packAt(view.getUint16(at + V2_ENTRY_AT.packIndex) | (optional(V2_ENTRY_AT.packIndexHigh) << 16)),
      packOffset: offset & OFFSET_MASK,
      packedLength: u24(V2_ENTRY_AT.packedLength) | ((lengthsHigh & 0x0f) << 24),
      originalLength: u24(V2_ENTRY_AT.originalLength) | ((lengthsHigh >>> 4) << 24),
      compressionId: format.compressionId,
      formatVersion: format.formatVersion,
      timestampSeconds: this.#baseTimestamp + view.getUint32(at + V2_ENTRY_AT.timestamp),
      deleted: offset >>> 31 === 1,
    };
  }

  #packAt(pack: number): string {
    const known = this.#names[pack];
    if (known !== undefined) return known;
    if (pack >= this.#layout.packCount) throw corruptIndex(`an entry names pack ${pack}, there are ${this.#layout.packCount}`);
    const at = this.#layout.packsAt + pack * PACK_BYTES;
    const length = this.#view.getUint8(at);
    const nameAt = this.#view.getUint32(at + 1);
    if (nameAt + length > this.#bytes.length) throw corruptIndex(`the name of pack ${pack} lies outside it`);
    const name = packNameFrom(this.#bytes.subarray(nameAt, nameAt + length));
    this.#names[pack] = name;
    return name;
  }

  #formatAt(format: number): { readonly compressionId: number; readonly formatVersion: number } {
    if (format >= this.#layout.formatCount) throw corruptIndex(`an entry names format ${format}, there are ${this.#layout.formatCount}`);
    const at = this.#layout.formatsAt + format * FORMAT_BYTES;
    const encryptionKey = this.#view.getUint8(at + 5);
    if (encryptionKey !== 0)
      throw new DrayError("REPO_UNSUPPORTED", `Cannot read index: contents are encrypted with key ${encryptionKey}, only key 0 is supported`);
    return { compressionId: this.#view.getUint32(at), formatVersion: this.#view.getUint8(at + 4) };
  }
}

/**
 * Builds an index from entries that come in ascending order of their keys. Packs and formats are numbered by first appearance, as Kopia does.
 * Entries are kept in their stored form, at their widest, and narrowed at the end: a builder of a million entries takes some 40 MB.
 */
export class IndexV2Builder {
  readonly #packs = new Map<string, number>();
  readonly #formats = new Map<number, number>();
  readonly #keyBytes: number;
  readonly #stride: number;
  #bytes: Uint8Array;
  #view: DataView;
  #count = 0;
  #longLengths = false;

  /** @param keyBytes - bytes of each key
   *  @param expectedCount - entries that are likely to come */
  constructor(keyBytes: number, expectedCount = 64) {
    this.#keyBytes = keyBytes;
    this.#stride = keyBytes + ENTRY_BYTES_MAX;
    invariant(keyBytes > 1 && this.#stride <= STRIDE_MAX, `Cannot build an index of keys of ${keyBytes} bytes`);
    this.#bytes = new Uint8Array(Math.max(expectedCount, 1) * this.#stride);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get entryCount(): number {
    return this.#count;
  }

  add(entry: IndexEntry): void {
    checkEntry(entry, this.#keyBytes);
    if ((this.#count + 1) * this.#stride > this.#bytes.length) this.#grow();
    const keyAt = this.#count * this.#stride;
    const at = keyAt + this.#keyBytes;
    const view = this.#view;
    const putU24 = (field: number, value: number): void => {
      view.setUint16(at + field, (value >>> 8) & 0xffff);
      view.setUint8(at + field + 2, value & 0xff);
    };
    const pack = numberOf(this.#packs, entry.packBlobId);
    const format = numberOf(this.#formats, entry.compressionId * 256 + entry.formatVersion);
    invariant(pack < PACKS_MAX && format < FORMATS_MAX, "Cannot build an index: it names too many packs or formats");
    const lengthsHigh = ((entry.originalLength >>> 24) << 4) | (entry.packedLength >>> 24);
    this.#longLengths ||= lengthsHigh !== 0;
    this.#bytes.set(entry.key, keyAt);
    view.setUint32(at + V2_ENTRY_AT.timestamp, entry.timestampSeconds);
    view.setUint32(at + V2_ENTRY_AT.offset, entry.deleted ? entry.packOffset + DELETED : entry.packOffset);
    putU24(V2_ENTRY_AT.originalLength, entry.originalLength & 0xffffff);
    putU24(V2_ENTRY_AT.packedLength, entry.packedLength & 0xffffff);
    view.setUint16(at + V2_ENTRY_AT.packIndex, pack & 0xffff);
    view.setUint8(at + V2_ENTRY_AT.formatIndex, format);
    view.setUint8(at + V2_ENTRY_AT.packIndexHigh, pack >>> 16);
    view.setUint8(at + V2_ENTRY_AT.lengthsHigh, lengthsHigh);
    this.#count++;
  }

  /** The index, with `trailer` behind it where one is given. */
  build(trailer: Uint8Array = new Uint8Array()): Uint8Array {
    invariant(this.#count > 0, "Cannot build an index: there is no entry");
    const entryBytes = this.#longLengths ? 19 : this.#packs.size > 0x10000 ? 18 : this.#formats.size > 1 ? 17 : 16;
    const stride = this.#keyBytes + entryBytes;
    const packsAt = V2_HEADER_BYTES + this.#count * stride;
    const formatsAt = packsAt + this.#packs.size * PACK_BYTES;
    const namesAt = formatsAt + this.#formats.size * FORMAT_BYTES;
    const namesLength = [...this.#packs.keys()].reduce((sum, name) => sum + name.length, 0);
    const bytes = new Uint8Array(namesAt + namesLength + trailer.length);
    const out = asBuffer(bytes);
    out.writeUInt8(2, V2_HEADER_AT.version);
    out.writeUInt8(this.#keyBytes, V2_HEADER_AT.keySize);
    out.writeUInt16BE(entryBytes, V2_HEADER_AT.entrySize);
    out.writeUInt32BE(this.#count, V2_HEADER_AT.entryCount);
    out.writeUInt32BE(this.#packs.size, V2_HEADER_AT.packCount);
    out.writeUInt8(this.#formats.size, V2_HEADER_AT.formatCount);
    for (let i = 0; i < this.#count; i++) out.set(this.#bytes.subarray(i * this.#stride, i * this.#stride + stride), V2_HEADER_BYTES + i * stride);
    let nameAt = namesAt;
    for (const [name, pack] of this.#packs) {
      out.writeUInt8(name.length, packsAt + pack * PACK_BYTES);
      out.writeUInt32BE(nameAt, packsAt + pack * PACK_BYTES + 1);
      nameAt += out.write(name, nameAt, "latin1");
    }
    for (const [format, number] of this.#formats) {
      out.writeUInt32BE(Math.floor(format / 256), formatsAt + number * FORMAT_BYTES);
      out.writeUInt8(format % 256, formatsAt + number * FORMAT_BYTES + 4);
    }
    out.set(trailer, nameAt);
    return bytes;
  }

  #grow(): void {
    const bytes = new Uint8Array(this.#bytes.length * 2);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

function checkEntry(entry: IndexEntry, keyBytes: number): void {
  invariant(entry.key.length === keyBytes, `Cannot index a content: its key has ${entry.key.length} bytes, the index has keys of ${keyBytes}`);
  invariant(entry.packOffset < OFFSET_LIMIT, `Cannot index a content: its offset is ${entry.packOffset}, less than ${OFFSET_LIMIT} is possible`);
  invariant(
    entry.packedLength < LENGTH_LIMIT && entry.originalLength < LENGTH_LIMIT,
    `Cannot index a content: its lengths are ${entry.packedLength} and ${entry.originalLength}, less than ${LENGTH_LIMIT} is possible`,
  );
  invariant(entry.packBlobId.length <= 255, `Cannot index a content: the pack name has ${entry.packBlobId.length} characters`);
}

function numberOf<K>(numbers: Map<K, number>, key: K): number {
  const known = numbers.get(key);
  if (known !== undefined) return known;
  numbers.set(key, numbers.size);
  return numbers.size - 1;
}
