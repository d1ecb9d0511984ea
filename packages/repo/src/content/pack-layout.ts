/**
 * What surrounds the contents of a pack blob (kopia-format.md 5.1, 5.3). Reading a content needs none of it; `kopia index recover` does.
 *
 *   [copy of kopia.repository]      only where the password cannot be changed
 *   preamble                        32 random bytes
 *   contents                        back to back
 *   padding                         1..4096 random bytes, up to a multiple of 4096
 *   local index                     seal(index of this pack ‖ 32 random bytes, iv = their hash, whole)
 *   postamble                       body · CRC-32 of the body u32 BE · length of body and CRC u8
 *     body                          uvarint 1 · uvarint length of iv · iv · uvarint offset · uvarint length of the local index
 */
import { crc32 } from "node:zlib";
import { concat, DrayError, type RandomSource } from "@drayage/base";
import { decodeIndex } from "../index-blobs/index-codec.ts";
import type { PackIndex } from "../index-blobs/pack-index.ts";
import { type ContentCodec, invariantReadBack } from "./content-codec.ts";
import type { PackEntries } from "./pack-entries.ts";

export const PREAMBLE_BYTES = 32;
const PADDING_UNIT_BYTES = 4096;
const INDEX_TRAILER_BYTES = 32;
const POSTAMBLE_VERSION = 1;
const CRC_BYTES = 4;
const IV_BYTES_MAX = 64;

export interface Postamble {
  readonly iv: Uint8Array;
  /** Of the local index, from the start of the blob. */
  readonly offset: number;
  readonly length: number;
}

export function encodePostamble({ iv, offset, length }: Postamble): Uint8Array {
  const body = concat([uvarint(POSTAMBLE_VERSION), uvarint(iv.length), iv, uvarint(offset), uvarint(length)]);
  const crc = new Uint8Array(CRC_BYTES);
  new DataView(crc.buffer).setUint32(0, crc32(body));
  return concat([body, crc, Uint8Array.of(body.length + CRC_BYTES)]);
}

/** Decodes the postamble at the end of `tail`, the last bytes of a pack. Throws REPO_CORRUPT. */
export function decodePostamble(tail: Uint8Array): Postamble {
  const length = tail.at(-1) ?? 0;
  if (length <= CRC_BYTES || length >= tail.length) throw corrupt(`its length is ${length}, ${tail.length} bytes are there`);
  const body = tail.subarray(tail.length - 1 - length, tail.length - 1 - CRC_BYTES);
  const crcAt = tail.length - 1 - CRC_BYTES;
  if (new DataView(tail.buffer, tail.byteOffset + crcAt, CRC_BYTES).getUint32(0) !== crc32(body)) throw corrupt("its checksum does not match");
  const reader = uvarintReader(body);
  const version = reader.next();
  if (version !== POSTAMBLE_VERSION) throw corrupt(`its version is ${version}, ${POSTAMBLE_VERSION} is wanted`);
  const ivLength = reader.next();
  if (ivLength > IV_BYTES_MAX) throw corrupt(`its iv has ${ivLength} bytes`);
  return { iv: reader.take(ivLength), offset: reader.next(), length: reader.next() };
}

/** Random bytes between the contents and the local index of a pack of `length` bytes so far. */
export function paddingLength(length: number): number {
  return PADDING_UNIT_BYTES - (length % PADDING_UNIT_BYTES);
}

export interface PackTail {
  /** Local index and postamble. */
  readonly bytes: Uint8Array;
  /** The local index, decoded. */
  readonly index: PackIndex;
}

/**
 * Builds what follows the padding of a pack whose first `offset` bytes are done, then decodes it as a recovery would and compares every entry.
 * Throws INVARIANT when they differ.
 */
export function buildPackTail(codec: ContentCodec, indexVersion: number, entries: PackEntries, offset: number, random: RandomSource): PackTail {
  const plain = entries.encode(indexVersion, random.bytes(INDEX_TRAILER_BYTES));
  const iv = codec.hasher.hash(plain);
  const sealed = codec.sealWith(plain, iv);
  const bytes = concat([sealed, encodePostamble({ iv, offset, length: sealed.length })]);
  const index = decodeIndex(openPackTail(codec, bytes, offset + bytes.length).subarray(0, plain.length - INDEX_TRAILER_BYTES));
  invariantReadBack(entries.isSaidBy(index), `the index of pack "${entries.packBlobId}"`);
  return { bytes, index };
}

/** The plain local index out of the last bytes of a pack of `packLength` bytes. Throws REPO_CORRUPT, also when `tail` does not reach back far enough. */
export function openPackTail(codec: ContentCodec, tail: Uint8Array, packLength: number): Uint8Array {
  const { iv, offset, length } = decodePostamble(tail);
  const at = offset - (packLength - tail.length);
  if (at < 0 || at + length > tail.length) throw corrupt(`its index at ${offset} with ${length} bytes lies outside the bytes at hand`);
  return codec.openWith(tail.subarray(at, at + length), iv, "the index of a pack");
}

function uvarint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

function uvarintReader(body: Uint8Array): { next(): number; take(length: number): Uint8Array } {
  let at = 0;
  return {
    next() {
      let value = 0;
      for (let factor = 1; factor < 2 ** 49; factor *= 0x80) {
        const byte = body[at++];
        if (byte === undefined) throw corrupt("it is cut off");
        value += (byte & 0x7f) * factor;
        if (byte < 0x80) return value;
      }
      throw corrupt("a number in it is too long");
    },
    take(length) {
      if (length > body.length - at) throw corrupt("it is cut off");
      at += length;
      return body.subarray(at - length, at);
    },
  };
}

function corrupt(what: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read the postamble of a pack: ${what}`);
}
