/**
 * Kopia's two content encryptions (kopia-format.md 3.3).
 *
 *   key    = HMAC-SHA256(key-derivation secret, iv)
 *   stored = nonce (12) ‖ ciphertext ‖ tag (16),  additional data = iv
 *
 * Every key passes through a KeyObject, also one that is used once: given raw bytes Node 24 spends 25 µs per call on the key alone.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type DecipherGCM, type KeyObject } from "node:crypto";
import { DrayError, equalBytes, type RandomSource, systemRandom } from "@drayage/base";
import type { NativeAddon } from "../native/addon.ts";
import type { ByteRanges, ContentEncryptor } from "../types.ts";
import { createPieceOpener } from "./piece-opener.ts";

/** The encryption of new repositories. */
export const DEFAULT_ENCRYPTION = "AES256-GCM-HMAC-SHA256";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Bytes that sealing adds, for both algorithms. */
export const SEAL_OVERHEAD_BYTES: number = NONCE_BYTES + TAG_BYTES;
/** Drawing nonces one by one costs more than sealing a small file. */
const NONCES_AT_ONCE_MAX = 1024;
const NONCE_POOL_BYTES = NONCES_AT_ONCE_MAX * NONCE_BYTES;

/**
 * What node:crypto is given at once: it allocates each of its results, and one of several megabytes is memory that the kernel has to hand out page by page. A result of this size is given
 * back as soon as it was looked at, and the next one is the same memory, still in the processor's cache.
 */
const PIECE_BYTES = 64 << 10;

type Algorithm = "aes-256-gcm" | "chacha20-poly1305";
const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  "AES256-GCM-HMAC-SHA256": "aes-256-gcm",
  "CHACHA20-POLY1305-HMAC-SHA256": "chacha20-poly1305",
};

/** Names of all content encryptions. */
export const ENCRYPTIONS: readonly string[] = Object.keys(ALGORITHMS);

/**
 * Binds a key-derivation secret (32 bytes) to an encryption, over the addon where it is given and this Node shares its OpenSSL with it.
 * Throws REPO_UNSUPPORTED for a name that is not known.
 */
export function createEncryptor(name: string, keyDerivationSecret: Uint8Array, random: RandomSource = systemRandom, addon?: NativeAddon): ContentEncryptor {
  const algorithm = ALGORITHMS[name];
  if (algorithm === undefined) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot encrypt contents with "${name}": no such encryption is known`, {
      hint: `Known encryptions: ${ENCRYPTIONS.join(", ")}.`,
    });
  }
  const aead = addon?.hasAead === true ? nativeAead(addon, algorithm, keyDerivationSecret) : portableAead(algorithm, keyDerivationSecret);
  const nonces = noncePool(random);
  return {
    name,
    overheadBytes: SEAL_OVERHEAD_BYTES,
    seal(plaintext, iv, out, at) {
      const length = plaintext.length + SEAL_OVERHEAD_BYTES;
      if (out.length - at < length) {
        throw new DrayError("INVARIANT", `Cannot seal a content: ${length} bytes are needed at ${at}, the buffer has ${out.length}`);
      }
      aead.seal(nonces(1), iv, plaintext, out, at);
      return length;
    },
    open(sealed, iv, into) {
      if (sealed.length < SEAL_OVERHEAD_BYTES) {
        throw new DrayError("REPO_CORRUPT", `Cannot decrypt: ${SEAL_OVERHEAD_BYTES} bytes are the least, ${sealed.length} are there`);
      }
      return aead.open(sealed, iv, into);
    },
    opensTo: (sealed, iv, plaintext) => sealed.length === plaintext.length + SEAL_OVERHEAD_BYTES && aead.opensTo(sealed, iv, plaintext),
    sealRanges(ranges, ivs, ivBytes, out, at) {
      let to = at;
      for (let from = 0; from < ranges.count; from += NONCES_AT_ONCE_MAX) {
        const count = Math.min(NONCES_AT_ONCE_MAX, ranges.count - from);
        const part = from === 0 && count === ranges.count ? ranges : partOf(ranges, from, count);
        const bad = aead.sealRanges(nonces(count), part, ivs.subarray(ivBytes * from), ivBytes, out, to);
        if (bad >= 0) return from + bad;
        for (let i = 0; i < count; i++) to += (part.lengths[i] ?? 0) + SEAL_OVERHEAD_BYTES;
      }
      return -1;
    },
    opener: (iv) => createPieceOpener(algorithm, createHmac("sha256", keyDerivationSecret).update(iv).digest(), iv, wrongTag),
  };
}

function partOf({ data, starts, lengths }: ByteRanges, from: number, count: number): ByteRanges {
  return { data, starts: starts.subarray(from, from + count), lengths: lengths.subarray(from, from + count), count };
}

/** An algorithm with its secret, in one of two builds. Lengths were checked. */
interface Aead {
  /** Writes nonce, ciphertext and tag to `out` from `at`. */
  seal(nonce: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number): void;
  /** The plaintext, in `into` where that has room and the build can. Throws REPO_CORRUPT when the tag does not match. */
  open(sealed: Uint8Array, iv: Uint8Array, into: Uint8Array | undefined): Uint8Array;
  /** Whether the tag matches and the plaintext is this one. */
  opensTo(sealed: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): boolean;
  /** As the encryptor's, with 12 bytes of `nonces` for each. */
  sealRanges(nonces: Uint8Array, ranges: ByteRanges, ivs: Uint8Array, ivBytes: number, out: Uint8Array, at: number): number;
}

function portableAead(algorithm: Algorithm, keyDerivationSecret: Uint8Array): Aead {
  const secret = createSecretKey(keyDerivationSecret);
  const contentKey = (iv: Uint8Array): KeyObject => createSecretKey(createHmac("sha256", secret).update(iv).digest());
  const decipherOf = (sealed: Uint8Array, iv: Uint8Array): DecipherGCM => {
    const decipher = createDecipheriv(algorithm as "aes-256-gcm", contentKey(iv), sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(iv);
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    return decipher;
  };
  const aead: Omit<Aead, "sealRanges"> = {
    seal(nonce, iv, plaintext, out, at) {
      const cipher = createCipheriv(algorithm as "aes-256-gcm", contentKey(iv), nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(iv);
      out.set(nonce, at);
      for (const [from, to] of pieces(plaintext.length)) {
        const piece = cipher.update(plaintext.subarray(from, to));
        out.set(piece, at + NONCE_BYTES + from);
        giveBack(piece);
      }
      cipher.final();
      out.set(cipher.getAuthTag(), at + NONCE_BYTES + plaintext.length);
    },
    open(sealed, iv, into) {
      const length = sealed.length - SEAL_OVERHEAD_BYTES;
      const decipher = decipherOf(sealed, iv);
      const plaintext = into !== undefined && into.length >= length ? into.subarray(0, length) : new Uint8Array(length);
      for (const [from, to] of pieces(length)) {
        const piece = decipher.update(sealed.subarray(NONCE_BYTES + from, NONCE_BYTES + to));
        plaintext.set(piece, from);
        giveBack(piece);
      }
      if (!isWhole(decipher)) throw wrongTag();
      return plaintext;
    },
    opensTo(sealed, iv, plaintext) {
      const decipher = decipherOf(sealed, iv);
      for (const [from, to] of pieces(plaintext.length)) {
        const piece = decipher.update(sealed.subarray(NONCE_BYTES + from, NONCE_BYTES + to));
        if (!equalBytes(piece, plaintext.subarray(from, to))) return false;
        giveBack(piece);
      }
      return isWhole(decipher);
    },
  };
  return {
    ...aead,
    sealRanges(nonces, { data, starts, lengths, count }, ivs, ivBytes, out, at) {
      let to = at;
      for (let i = 0; i < count; i++) {
        const start = starts[i] ?? 0;
        const plaintext = data.subarray(start, start + (lengths[i] ?? 0));
        const iv = ivs.subarray(ivBytes * i, ivBytes * (i + 1));
        const end = to + plaintext.length + SEAL_OVERHEAD_BYTES;
        aead.seal(nonces.subarray(NONCE_BYTES * i, NONCE_BYTES * (i + 1)), iv, plaintext, out, to);
        if (!aead.opensTo(out.subarray(to, end), iv, plaintext)) return i;
        to = end;
      }
      return -1;
    },
  };
}

/** Whether the tag is that of what was decrypted. */
function isWhole(decipher: DecipherGCM): boolean {
  try {
    decipher.final();
    return true;
  } catch {
    return false;
  }
}

/** Frees a whole piece at once, where nothing else lies in its memory. Of short ones the collector has less work than this makes. */
function giveBack({ buffer, length }: Uint8Array): void {
  if (length === PIECE_BYTES && buffer.byteLength === length && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** Where pieces of so many bytes begin and end. */
function* pieces(bytes: number): Generator<readonly [from: number, to: number]> {
  for (let from = 0; from < bytes; from += PIECE_BYTES) yield [from, Math.min(from + PIECE_BYTES, bytes)];
}

/** Encrypts straight into the caller's buffer, where node:crypto allocates the ciphertext anew and has it copied. */
function nativeAead(addon: NativeAddon, algorithm: Algorithm, keyDerivationSecret: Uint8Array): Aead {
  const aead = addon.aeadBind(algorithm === "aes-256-gcm" ? 0 : 1, keyDerivationSecret);
  return {
    seal: (nonce, iv, plaintext, out, at) => addon.aeadSeal(aead, nonce, iv, plaintext, out, at),
    open(sealed, iv, into) {
      const length = sealed.length - SEAL_OVERHEAD_BYTES;
      const plaintext = into !== undefined && into.length >= length ? into.subarray(0, length) : new Uint8Array(length);
      if (!addon.aeadOpen(aead, sealed, iv, plaintext)) throw wrongTag();
      return plaintext;
    },
    opensTo: (sealed, iv, plaintext) => addon.aeadOpensTo(aead, sealed, iv, plaintext),
    sealRanges: (nonces, { data, starts, lengths, count }, ivs, ivBytes, out, at) =>
      addon.aeadSealRanges(aead, nonces, ivs, ivBytes, data, starts, lengths, count, out, at),
  };
}

function wrongTag(cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", "Cannot decrypt: the authentication tag does not match the data", cause === undefined ? {} : { cause });
}

/** Hands out nonces of 12 fresh bytes, one behind the other. They are a view that stays valid until the pool is filled again. */
function noncePool(random: RandomSource): (count: number) => Uint8Array {
  let pool = new Uint8Array(0);
  let at = 0;
  return (count) => {
    const bytes = NONCE_BYTES * count;
    if (pool.length - at < bytes) {
      pool = new Uint8Array(random.bytes(NONCE_POOL_BYTES));
      at = 0;
    }
    at += bytes;
    return pool.subarray(at - bytes, at);
  };
}
