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
  u24,
  u32,
} from "./pack-index.ts";

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
/** Bytes of a builder. */
const GROWS_SLOWLY_FROM = 1 << 20;
/** A builder's memory is used for the index where it is at most so many times as large. */
const WASTE_MAX = 1.25;

/** Reads where an index keeps what. Throws REPO_CORRUPT. */
export function indexFormatV2(bytes: IndexBytes): IndexFormat {
  if (bytes.length < V2_HEADER_BYTES) throw corruptIndex(`${V2_HEADER_BYTES} bytes are needed for the header, ${bytes.length} are there`);
  const header = asBuffer(bytes.read(0, V2_HEADER_BYTES));
  const version = header.readUInt8(V2_HEADER_AT.version);
  if (version !== 2) throw corruptIndex(`version is ${version}, 2 is wanted`);
  const keyBytes = header.readUInt8(V2_HEADER_AT.keySize);
  const entryBytes = header.readUInt16BE(V2_HEADER_AT.entrySize);
  const entryCount = header.readUInt32BE(V2_HEADER_AT.entryCount);
  const packCount = header.readUInt32BE(V2_HEADER_AT.packCount);
  const formatCount = header.readUInt8(V2_HEADER_AT.formatCount);
  const baseTimestamp = header.readUInt32BE(V2_HEADER_AT.baseTimestamp);
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
  return new FormatV2(bytes, { keyBytes, entryBytes, entryCount, packCount, formatCount, packsAt, formatsAt, baseTimestamp });
}

interface Layout {
  readonly keyBytes: number;
  readonly entryBytes: number;
  readonly entryCount: number;
  readonly packCount: number;
  readonly formatCount: number;
  readonly packsAt: number;
  readonly formatsAt: number;
  readonly baseTimestamp: number;
}

interface ContentFormat {
  readonly compressionId: number;
  readonly formatVersion: number;
}

class FormatV2 implements IndexFormat {
  readonly version = 2;
  readonly entriesAt = V2_HEADER_BYTES;
  readonly keyBytes: number;
  readonly entryCount: number;
  readonly stride: number;
  readonly #bytes: IndexBytes;
  readonly #layout: Layout;
  readonly #names = new PackNames();
  readonly #formats: (ContentFormat | undefined)[] = [];

  constructor(bytes: IndexBytes, layout: Layout) {
    this.#bytes = bytes;
    this.#layout = layout;
    this.keyBytes = layout.keyBytes;
    this.entryCount = layout.entryCount;
    this.stride = layout.keyBytes + layout.entryBytes;
  }

  get deletedAt(): number {
    return this.keyBytes + V2_ENTRY_AT.offset;
  }

  entryFrom(bytes: Uint8Array, keyAt: number): IndexEntry {
    const entry = draftEntry(bytes.subarray(keyAt, keyAt + this.keyBytes));
    this.valueInto(bytes, keyAt, entry);
    return entry;
  }

  valueInto(bytes: Uint8Array, keyAt: number, entry: EntryDraft): void {
    const { keyBytes, entryBytes, baseTimestamp } = this.#layout;
    const at = keyAt + keyBytes;
    const byte = (field: number): number => bytes[at + field] as number;
    const lengthsHigh = entryBytes > V2_ENTRY_AT.lengthsHigh ? byte(V2_ENTRY_AT.lengthsHigh) : 0;
    const packHigh = entryBytes > V2_ENTRY_AT.packIndexHigh ? byte(V2_ENTRY_AT.packIndexHigh) : 0;
    const offset = u32(bytes, at + V2_ENTRY_AT.offset);
    const { compressionId, formatVersion } = this.#formatAt(entryBytes > V2_ENTRY_AT.formatIndex ? byte(V2_ENTRY_AT.formatIndex) : 0);
    entry.packBlobId = this.#packAt(u16(bytes, at + V2_ENTRY_AT.packIndex) | (packHigh << 16));
    entry.packOffset = offset & OFFSET_MASK;
    entry.packedLength = u24(bytes, at + V2_ENTRY_AT.packedLength) | ((lengthsHigh & 0x0f) << 24);
    entry.originalLength = u24(bytes, at + V2_ENTRY_AT.originalLength) | ((lengthsHigh >>> 4) << 24);
    entry.compressionId = compressionId;
    entry.formatVersion = formatVersion;
    entry.timestampSeconds = baseTimestamp + u32(bytes, at + V2_ENTRY_AT.timestamp);
    entry.deleted = offset >>> 31 === 1;
  }

  #packAt(pack: number): string {
    return this.#names.get(pack, () => {
      if (pack >= this.#layout.packCount) throw corruptIndex(`an entry names pack ${pack}, there are ${this.#layout.packCount}`);
      const descriptor = this.#bytes.read(this.#layout.packsAt + pack * PACK_BYTES, PACK_BYTES);
      const length = descriptor[0] as number;
      const nameAt = u32(descriptor, 1);
      if (nameAt + length > this.#bytes.length) throw corruptIndex(`the name of pack ${pack} lies outside it`);
      return packNameFrom(this.#bytes.read(nameAt, length));
    });
  }

  /** Throws REPO_UNSUPPORTED for contents encrypted with a second key. */
  #formatAt(format: number): ContentFormat {
    const known = this.#formats[format];
    if (known !== undefined) return known;
    if (format >= this.#layout.formatCount) throw corruptIndex(`an entry names format ${format}, there are ${this.#layout.formatCount}`);
    const bytes = this.#bytes.read(this.#layout.formatsAt + format * FORMAT_BYTES, FORMAT_BYTES);
    const encryptionKey = bytes[5] as number;
    if (encryptionKey !== 0)
      throw new DrayError("REPO_UNSUPPORTED", `Cannot read index: contents are encrypted with key ${encryptionKey}, only key 0 is supported`);
    const read = { compressionId: u32(bytes, 0), formatVersion: bytes[4] as number };
    this.#formats[format] = read;
    return read;
  }
}

/** Encodes entries in their widest form. Packs and formats are numbered by first appearance, as Kopia does. */
export class V2EntryEncoder {
  /** Bytes of an entry with its key. */
  readonly stride: number;
  readonly #keyBytes: number;
  readonly #packs = new Map<string, number>();
  readonly #formats = new Map<number, number>();
  #longLengths = false;

  constructor(keyBytes: number) {
    this.#keyBytes = keyBytes;
    this.stride = keyBytes + ENTRY_BYTES_MAX;
    invariant(keyBytes > 1 && this.stride <= STRIDE_MAX, `Cannot build an index of keys of ${keyBytes} bytes`);
  }

  /** Bytes that the value of an entry needs, as far as is known by now. */
  get entryBytes(): number {
    return this.#longLengths ? 19 : this.#packs.size > 0x10000 ? 18 : this.#formats.size > 1 ? 17 : 16;
  }

  /** Whether all formats of another one have come here, too. */
  hasFormatsOf(other: V2EntryEncoder): boolean {
    return [...other.#formats.keys()].every((format) => this.#formats.has(format));
  }

  /** Writes an entry, its key first, to `out` from `keyAt`. */
  encode(entry: IndexEntry, out: Uint8Array, keyAt: number): void {
    checkEntry(entry, this.#keyBytes);
    const pack = numberOf(this.#packs, entry.packBlobId);
    const format = numberOf(this.#formats, entry.compressionId * 256 + entry.formatVersion);
    invariant(pack < PACKS_MAX && format < FORMATS_MAX, "Cannot build an index: it names too many packs or formats");
    const lengthsHigh = ((entry.originalLength >>> 24) << 4) | (entry.packedLength >>> 24);
    this.#longLengths ||= lengthsHigh !== 0;
    const at = keyAt + this.#keyBytes;
    // Byte by byte, as everywhere here: a call for so few costs more.
    for (let i = 0; i < this.#keyBytes; i++) out[keyAt + i] = entry.key[i] as number;
    put(out, at + V2_ENTRY_AT.timestamp, 4, entry.timestampSeconds);
    put(out, at + V2_ENTRY_AT.offset, 4, entry.deleted ? entry.packOffset + DELETED : entry.packOffset);
    put(out, at + V2_ENTRY_AT.originalLength, 3, entry.originalLength);
    put(out, at + V2_ENTRY_AT.packedLength, 3, entry.packedLength);
    put(out, at + V2_ENTRY_AT.packIndex, 2, pack);
    out[at + V2_ENTRY_AT.formatIndex] = format;
    out[at + V2_ENTRY_AT.packIndexHigh] = pack >>> 16;
    out[at + V2_ENTRY_AT.lengthsHigh] = lengthsHigh;
  }

  header(entryCount: number, entryBytes: number): Uint8Array {
    const header = Buffer.alloc(V2_HEADER_BYTES);
    header.writeUInt8(2, V2_HEADER_AT.version);
    header.writeUInt8(this.#keyBytes, V2_HEADER_AT.keySize);
    header.writeUInt16BE(entryBytes, V2_HEADER_AT.entrySize);
    header.writeUInt32BE(entryCount, V2_HEADER_AT.entryCount);
    header.writeUInt32BE(this.#packs.size, V2_HEADER_AT.packCount);
    header.writeUInt8(this.#formats.size, V2_HEADER_AT.formatCount);
    return header;
  }

  /** Packs, formats and names, as they stand behind entries that end at `entriesEnd`. */
  tables(entriesEnd: number): Uint8Array {
    const formatsAt = this.#packs.size * PACK_BYTES;
    const namesAt = formatsAt + this.#formats.size * FORMAT_BYTES;
    let namesLength = 0;
    for (const name of this.#packs.keys()) namesLength += name.length;
    const out = Buffer.alloc(namesAt + namesLength);
    let nameAt = namesAt;
    for (const [name, pack] of this.#packs) {
      out.writeUInt8(name.length, pack * PACK_BYTES);
      out.writeUInt32BE(entriesEnd + nameAt, pack * PACK_BYTES + 1);
      nameAt += out.write(name, nameAt, "latin1");
    }
    for (const [format, number] of this.#formats) {
      out.writeUInt32BE(Math.floor(format / 256), formatsAt + number * FORMAT_BYTES);
      out.writeUInt8(format % 256, formatsAt + number * FORMAT_BYTES + 4);
    }
    return out;
  }
}

/**
 * Builds an index from entries that come in ascending order of their keys.
 * Entries are kept in their stored form, at their widest, and narrowed at the end: a builder of a million entries takes some 40 MB.
 */
export class IndexV2Builder {
  readonly #encoder: V2EntryEncoder;
  #bytes: Uint8Array;
  #count = 0;

  /** @param keyBytes - bytes of each key
   *  @param expectedCount - entries that are likely to come */
  constructor(keyBytes: number, expectedCount = 64) {
    this.#encoder = new V2EntryEncoder(keyBytes);
    this.#bytes = new Uint8Array(V2_HEADER_BYTES + Math.max(expectedCount, 1) * this.#encoder.stride);
  }

  get entryCount(): number {
    return this.#count;
  }

  add(entry: IndexEntry): void {
    const { stride } = this.#encoder;
    if (V2_HEADER_BYTES + (this.#count + 1) * stride > this.#bytes.length) this.#grow();
    this.#encoder.encode(entry, this.#bytes, V2_HEADER_BYTES + this.#count * stride);
    this.#count++;
  }

  /** Whether each entry is shorter as long as those of another builder do not come to these. */
  isShorterWithout(other: IndexV2Builder): boolean {
    return this.#encoder.entryBytes === ENTRY_BYTES_MIN && !this.#encoder.hasFormatsOf(other.#encoder);
  }

  /** The index, with `trailer` behind it where one is given. Once: it takes over the memory of the builder where it can. */
  build(trailer: Uint8Array = new Uint8Array()): Uint8Array {
    invariant(this.#count > 0, "Cannot build an index: there is no entry");
    const { stride: widest, entryBytes } = this.#encoder;
    const stride = widest - ENTRY_BYTES_MAX + entryBytes;
    const entriesEnd = V2_HEADER_BYTES + this.#count * stride;
    const tables = this.#encoder.tables(entriesEnd);
    const length = entriesEnd + tables.length + trailer.length;
    // What narrowing leaves free mostly holds the tables: then there is no second copy.
    const from = this.#bytes;
    const inPlace = length <= from.length && from.length <= length * WASTE_MAX;
    const bytes = inPlace ? from.subarray(0, length) : new Uint8Array(length);
    for (let i = 0; i < this.#count; i++) {
      const at = V2_HEADER_BYTES + i * widest;
      const to = V2_HEADER_BYTES + i * stride;
      // To the front, or to where they are: no byte is overwritten before it is read.
      for (let byte = 0; byte < stride; byte++) bytes[to + byte] = from[at + byte] as number;
    }
    bytes.set(this.#encoder.header(this.#count, entryBytes));
    bytes.set(tables, entriesEnd);
    bytes.set(trailer, entriesEnd + tables.length);
    return bytes;
  }

  #grow(): void {
    // Small ones double; of large ones the guess was nearly right.
    const { length } = this.#bytes;
    const bytes = new Uint8Array(length + Math.max(this.#encoder.stride, length < GROWS_SLOWLY_FROM ? length : length >>> 3));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }
}

/** Writes the low bytes of a number, big-endian. */
function put(out: Uint8Array, at: number, bytes: number, value: number): void {
  for (let i = bytes - 1, rest = value; i >= 0; i--, rest >>>= 8) out[at + i] = rest;
}

function checkEntry(entry: IndexEntry, keyBytes: number): void {
  const { key, packOffset, packedLength, originalLength, packBlobId } = entry;
  // Asked first as a whole: what each message says is text, which is not to be made for every entry.
  if (key.length === keyBytes && packOffset < OFFSET_LIMIT && packedLength < LENGTH_LIMIT && originalLength < LENGTH_LIMIT && packBlobId.length <= 255) return;
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
