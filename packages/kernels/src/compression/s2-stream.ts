/**
 * S2 streams: the framing of Snappy with the block extensions of S2 (repeat offsets, blocks of up to 4 MiB).
 *
 *   stream  = identifier chunk, chunks …
 *   chunk   = type u8, length u24 LE, body
 *   0x00      compressed:    masked CRC-32C u32 LE of the plain bytes, block
 *   0x01      uncompressed:  masked CRC-32C u32 LE, plain bytes
 *   0xff      identifier:    "S2sTwO" or "sNaPpY"
 *   0x80-0xfe skippable (0xfe padding, 0x99 index)
 *
 *   block   = length of the plain bytes as uvarint, elements
 *   element = tag u8: 00 literal · 01 copy, offset in 11 bits; offset 0 repeats the last one · 10 copy, u16 LE · 11 copy, u32 LE
 */
import { concat, DrayError } from "@drayage/base";
import { crc32c } from "./crc32c.ts";
import { encodeSnappyBlock } from "./snappy-block.ts";

const IDENTIFIER = 0xff;
const COMPRESSED = 0x00;
const UNCOMPRESSED = 0x01;
const SKIPPABLE_FROM = 0x80;
const CHUNK_HEADER_BYTES = 4;
const CHECKSUM_BYTES = 4;
/** The largest plain block of an S2 stream. */
const BLOCK_BYTES_MAX = 4 << 20;
/** Blocks of our own encoder; the largest that plain Snappy knows. */
const ENCODED_BLOCK_BYTES = 65_536;
const MAGIC = Uint8Array.from([IDENTIFIER, 6, 0, 0, 0x53, 0x32, 0x73, 0x54, 0x77, 0x4f]);

/** Decodes a stream of at most `lengthMax` bytes. Throws REPO_CORRUPT. */
export function decodeS2Stream(data: Uint8Array, lengthMax: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let at = 0; at < data.length; ) {
    if (data.length - at < CHUNK_HEADER_BYTES) throw corrupt("chunk header is cut off");
    const type = byteAt(data, at);
    const length = byteAt(data, at + 1) | (byteAt(data, at + 2) << 8) | (byteAt(data, at + 3) << 16);
    at += CHUNK_HEADER_BYTES;
    if (length > data.length - at) throw corrupt(`chunk of ${length} bytes is cut off`);
    const body = data.subarray(at, at + length);
    at += length;
    if (type === COMPRESSED || type === UNCOMPRESSED) {
      const plain = decodeChunk(type, body, lengthMax - total);
      total += plain.length;
      parts.push(plain);
    } else if (type < SKIPPABLE_FROM) {
      throw corrupt(`chunk type 0x${type.toString(16)} is not known`);
    }
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : concat(parts);
}

/** Encodes a stream with the elements that Snappy has, which every S2 reader takes: one pass, greedy, blocks of 64 KiB. */
export function encodeS2Stream(data: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [MAGIC];
  for (let at = 0; at < data.length; at += ENCODED_BLOCK_BYTES) {
    const plain = data.subarray(at, at + ENCODED_BLOCK_BYTES);
    const packed = encodeSnappyBlock(plain);
    const type = packed.length < plain.length ? COMPRESSED : UNCOMPRESSED;
    const body = type === COMPRESSED ? packed : plain;
    const length = body.length + CHECKSUM_BYTES;
    const header = new Uint8Array(CHUNK_HEADER_BYTES + CHECKSUM_BYTES);
    const view = new DataView(header.buffer);
    view.setUint8(0, type);
    view.setUint16(1, length & 0xffff, true);
    view.setUint8(3, length >>> 16);
    view.setUint32(4, maskedChecksum(plain), true);
    parts.push(header, body);
  }
  return concat(parts);
}

function decodeChunk(type: number, body: Uint8Array, room: number): Uint8Array {
  if (body.length < CHECKSUM_BYTES) throw corrupt("checksum is cut off");
  const checksum = (byteAt(body, 0) | (byteAt(body, 1) << 8) | (byteAt(body, 2) << 16) | (byteAt(body, 3) << 24)) >>> 0;
  const rest = body.subarray(CHECKSUM_BYTES);
  if (type === UNCOMPRESSED && rest.length > room) throw corrupt("output is too long");
  const plain = type === UNCOMPRESSED ? rest : decodeBlock(rest, room);
  if (maskedChecksum(plain) !== checksum) throw corrupt("checksum does not match");
  return plain;
}

function decodeBlock(block: Uint8Array, room: number): Uint8Array {
  const header = readLength(block);
  if (header.value > room || header.value > BLOCK_BYTES_MAX) throw corrupt(`block of ${header.value} bytes is too long`);
  const out = new Uint8Array(header.value);
  let at = header.next;
  let filled = 0;
  let offset = 1;
  while (at < block.length) {
    const tag = byteAt(block, at++);
    if ((tag & 3) === 0) {
      let length = tag >>> 2;
      if (length >= 60) {
        const extra = length - 59;
        length = littleEndian(block, at, extra);
        at += extra;
      }
      length++;
      if (length > block.length - at || length > out.length - filled) throw corrupt("literal is cut off");
      out.set(block.subarray(at, at + length), filled);
      at += length;
      filled += length;
      continue;
    }
    const copy = readCopy(block, at, tag, offset);
    at = copy.next;
    offset = copy.offset;
    if (offset === 0 || offset > filled || copy.length > out.length - filled) throw corrupt("copy reaches outside the block");
    copyWithin(out, filled, offset, copy.length);
    filled += copy.length;
  }
  if (filled !== out.length) throw corrupt(`block has ${filled} bytes, ${out.length} were promised`);
  return out;
}

interface Copy {
  readonly offset: number;
  readonly length: number;
  readonly next: number;
}

function readCopy(block: Uint8Array, at: number, tag: number, lastOffset: number): Copy {
  const kind = tag & 3;
  if (kind === 2) return { offset: littleEndian(block, at, 2), length: (tag >>> 2) + 1, next: at + 2 };
  if (kind === 3) return { offset: littleEndian(block, at, 4), length: (tag >>> 2) + 1, next: at + 4 };
  const offset = ((tag & 0xe0) << 3) | byteAt(block, at);
  const code = (tag >>> 2) & 7;
  if (offset !== 0) return { offset, length: code + 4, next: at + 1 };
  // S2's extension: offset 0 repeats the last one, and the codes 5, 6, 7 announce 1, 2, 3 more bytes of length.
  const next = at + 1;
  if (code === 5) return { offset: lastOffset, length: littleEndian(block, next, 1) + 4 + 4, next: next + 1 };
  if (code === 6) return { offset: lastOffset, length: littleEndian(block, next, 2) + 256 + 4, next: next + 2 };
  if (code === 7) return { offset: lastOffset, length: littleEndian(block, next, 3) + 65_536 + 4, next: next + 3 };
  return { offset: lastOffset, length: code + 4, next };
}

/** Copies from what was written before; the ranges may overlap, which repeats a pattern. */
function copyWithin(out: Uint8Array, to: number, offset: number, length: number): void {
  if (offset >= length) {
    out.copyWithin(to, to - offset, to - offset + length);
    return;
  }
  for (let i = to; i < to + length; i++) out[i] = out[i - offset] as number;
}

function readLength(block: Uint8Array): { readonly value: number; readonly next: number } {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = byteAt(block, i);
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, next: i + 1 };
  }
  throw corrupt("block length is not a number");
}

function littleEndian(data: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) value += byteAt(data, at + i) * 2 ** (8 * i);
  return value;
}

function byteAt(data: Uint8Array, at: number): number {
  const byte = data[at];
  if (byte === undefined) throw corrupt("data is cut off");
  return byte;
}

/** Snappy masks its checksums, so that a checksum of data that holds checksums stays meaningful. */
function maskedChecksum(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

function corrupt(what: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot decode S2 stream: ${what}`);
}
