/**
 * LZ4 frames with independent blocks, as Kopia wrote them until it gave the codec up. Reading only.
 *
 *   frame  = magic 184D2204 LE · flags u8 (version 01, block independence, block checksum, content size, content checksum, –, dictionary)
 *          · block size u8 · [content size u64 LE] · header checksum u8 · blocks · end mark u32 0 · [content checksum u32 LE]
 *   block  = length u32 LE (bit 31: stored as it is) · bytes · [checksum u32 LE]
 *
 * The checksums are not verified: contents are authenticated as a whole before they reach a decoder.
 */
import { concat, DrayError } from "@drayage/base";

const MAGIC = 0x184d2204;
const FLAG = { dictionary: 0x01, contentChecksum: 0x04, contentSize: 0x08, blockChecksum: 0x10, independent: 0x20 } as const;
const MATCH_BYTES_MIN = 4;

/** Decodes frames of at most `lengthMax` bytes in all. Throws REPO_CORRUPT, and REPO_UNSUPPORTED for blocks that depend on each other or on a dictionary. */
export function decodeLz4Frame(data: Uint8Array, lengthMax: number): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const parts: Uint8Array[] = [];
  let room = lengthMax;
  let at = 0;
  const take = (bytes: number): number => {
    if (bytes > data.length - at) throw corrupt("frame is cut off");
    at += bytes;
    return at - bytes;
  };
  while (at < data.length) {
    if (view.getUint32(take(4), true) !== MAGIC) throw corrupt("no frame begins here");
    const flags = view.getUint8(take(1));
    if (flags >>> 6 !== 1) throw corrupt(`frame version is ${flags >>> 6}, 1 is wanted`);
    if ((flags & FLAG.independent) === 0 || (flags & FLAG.dictionary) !== 0) {
      throw new DrayError("REPO_UNSUPPORTED", "Cannot decode LZ4 frame: its blocks depend on each other or on a dictionary");
    }
    const sizeCode = (view.getUint8(take(1)) >>> 4) & 7;
    if (sizeCode < 4) throw corrupt(`block size code is ${sizeCode}, 4 to 7 are known`);
    const blockBytesMax = 1 << (8 + 2 * sizeCode);
    take((flags & FLAG.contentSize ? 8 : 0) + 1);
    for (let length = view.getUint32(take(4), true); length !== 0; length = view.getUint32(take(4), true)) {
      const stored = length >>> 31 === 1;
      const bytes = length & 0x7fffffff;
      const start = take(bytes);
      const limit = Math.min(blockBytesMax, room);
      const block = data.subarray(start, start + bytes);
      if (stored && bytes > limit) throw corrupt("block is too long");
      const plain = stored ? block : decodeBlock(block, limit);
      room -= plain.length;
      parts.push(plain);
      take(flags & FLAG.blockChecksum ? 4 : 0);
    }
    take(flags & FLAG.contentChecksum ? 4 : 0);
  }
  return concat(parts);
}

function decodeBlock(block: Uint8Array, lengthMax: number): Uint8Array {
  const out = new Uint8Array(lengthMax);
  let at = 0;
  let filled = 0;
  const next = (): number => {
    const byte = block[at++];
    if (byte === undefined) throw corrupt("block is cut off");
    return byte;
  };
  const extended = (code: number): number => {
    if (code < 15) return code;
    let length = 15;
    for (let byte = next(); ; byte = next()) {
      length += byte;
      if (byte !== 255) return length;
      if (length > lengthMax) throw corrupt("length is out of range");
    }
  };
  while (at < block.length) {
    const token = next();
    const literals = extended(token >>> 4);
    if (literals > block.length - at || literals > lengthMax - filled) throw corrupt("literals are cut off");
    out.set(block.subarray(at, at + literals), filled);
    at += literals;
    filled += literals;
    if (at === block.length) break;
    const offset = next() | (next() << 8);
    const length = extended(token & 15) + MATCH_BYTES_MIN;
    if (offset === 0 || offset > filled || length > lengthMax - filled) throw corrupt("match reaches outside the block");
    for (let i = 0; i < length; i++) out[filled + i] = out[filled + i - offset] as number;
    filled += length;
  }
  // A copy: a view would keep the whole of the largest block alive for each small one.
  return out.slice(0, filled);
}

function corrupt(what: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot decode LZ4 frame: ${what}`);
}
