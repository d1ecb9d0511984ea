/**
 * Index, snapshot and lock files, once decrypted.
 *
 *   first byte  `{` or `[`   JSON: everything of version 1, and what a repository keeps from before its upgrade
 *               0x02         one zstd frame of JSON
 */
import { compressorByName } from "@drayage/kernels";
import { corrupt } from "./json.ts";

const ZSTD = 0x02;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
/** restic starts a new index file long before this. */
const PLAIN_BYTES_MAX = 256 << 20;

const zstd = compressorByName("zstd");

/** The JSON's bytes; empty for an empty file. Throws REPO_CORRUPT. */
export function decodeUnpacked(plaintext: Uint8Array, what: string): Uint8Array {
  if (plaintext.length === 0 || plaintext[0] === OPEN_BRACE || plaintext[0] === OPEN_BRACKET) return plaintext;
  if (plaintext[0] !== ZSTD) throw corrupt(what, `it begins with byte ${plaintext[0]}, which is neither JSON nor compressed`);
  return decompressZstd(plaintext.subarray(1), PLAIN_BYTES_MAX, what);
}

/** Throws REPO_CORRUPT when it is not zstd, or longer than `lengthMax`. */
export function decompressZstd(data: Uint8Array, lengthMax: number, what: string): Uint8Array {
  if (data.length === 0) throw corrupt(what, "it is said to be compressed, and nothing is there");
  try {
    return zstd.decompress(data, lengthMax);
  } catch (cause) {
    throw corrupt(what, "it does not decompress", cause);
  }
}
