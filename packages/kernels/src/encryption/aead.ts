/** What the builds of authenticated encryption have in common: the form of what is stored (encryptors.ts), and what an encryptor asks of each. */
import { DrayError } from "@drayage/base";
import type { ByteRanges } from "../types.ts";

export type Algorithm = "aes-256-gcm" | "chacha20-poly1305";

export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;
/** Bytes that sealing adds, for both algorithms. */
export const SEAL_OVERHEAD_BYTES: number = NONCE_BYTES + TAG_BYTES;

/** An algorithm with its secret, in one of several builds. Lengths were checked. */
export interface Aead {
  /** Writes nonce, ciphertext and tag to `out` from `at`. */
  seal(nonce: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number): void;
  /** The plaintext, in `into` where that has room. Throws REPO_CORRUPT when the tag does not match. */
  open(sealed: Uint8Array, iv: Uint8Array, into: Uint8Array | undefined): Uint8Array;
  /** Whether the tag matches and the plaintext is this one. */
  opensTo(sealed: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): boolean;
  /** As the encryptor's, with 12 bytes of `nonces` for each. */
  sealRanges(nonces: Uint8Array, ranges: ByteRanges, ivs: Uint8Array, ivBytes: number, out: Uint8Array, at: number): number;
}

/** `sealRanges` of a build that seals one content and reads it back at a time; `sealAndCheck` says whether it opens to what it was sealed from. */
export function oneByOne(sealAndCheck: (nonce: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number) => boolean): Aead["sealRanges"] {
  return (nonces, { data, starts, lengths, count }, ivs, ivBytes, out, at) => {
    for (let i = 0, to = at; i < count; i++) {
      const start = starts[i] ?? 0;
      const plaintext = data.subarray(start, start + (lengths[i] ?? 0));
      const nonce = nonces.subarray(NONCE_BYTES * i, NONCE_BYTES * (i + 1));
      if (!sealAndCheck(nonce, ivs.subarray(ivBytes * i, ivBytes * (i + 1)), plaintext, out, to)) return i;
      to += plaintext.length + SEAL_OVERHEAD_BYTES;
    }
    return -1;
  };
}

/** Where the plaintext of something sealed goes. */
export function roomFor(length: number, into: Uint8Array | undefined): Uint8Array {
  return into !== undefined && into.length >= length ? into.subarray(0, length) : new Uint8Array(length);
}

/** Where pieces of so many bytes begin and end. */
export function* pieces(bytes: number, pieceBytes: number): Generator<readonly [from: number, to: number]> {
  for (let from = 0; from < bytes; from += pieceBytes) yield [from, Math.min(from + pieceBytes, bytes)];
}

export function wrongTag(cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", "Cannot decrypt: the authentication tag does not match the data", cause === undefined ? {} : { cause });
}
