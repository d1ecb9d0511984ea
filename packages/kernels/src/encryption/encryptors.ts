/**
 * Kopia's two content encryptions (kopia-format.md 3.3).
 *
 *   key    = HMAC-SHA256(key-derivation secret, iv)
 *   stored = nonce (12) ‖ ciphertext ‖ tag (16),  additional data = iv
 *
 * By the addon, else by calls into Node's own OpenSSL, else by node:crypto.
 */
import { createHmac } from "node:crypto";
import { DrayError, type RandomSource, systemRandom } from "@drayage/base";
import type { NativeAddon } from "../native/addon.ts";
import type { ByteRanges, ContentEncryptor } from "../types.ts";
import { type Aead, type Algorithm, NONCE_BYTES, roomFor, SEAL_OVERHEAD_BYTES, wrongTag } from "./aead.ts";
import { nodeAead } from "./node-aead.ts";
import { createPieceOpener } from "./piece-opener.ts";
import { type SharedOpenSsl, sharedAead, sharedOpenSsl } from "./shared-aead.ts";

/** The encryption of new repositories. */
export const DEFAULT_ENCRYPTION = "AES256-GCM-HMAC-SHA256";

/** Drawing nonces one by one costs more than sealing a small file. */
const NONCES_AT_ONCE_MAX = 1024;
const NONCE_POOL_BYTES = NONCES_AT_ONCE_MAX * NONCE_BYTES;

/** Where an encryption is computed, the best that is given; node:crypto where none is. */
export interface EncryptionSources {
  readonly addon?: NativeAddon | undefined;
  readonly ssl?: SharedOpenSsl | undefined;
}

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  "AES256-GCM-HMAC-SHA256": "aes-256-gcm",
  "CHACHA20-POLY1305-HMAC-SHA256": "chacha20-poly1305",
};

/** Names of all content encryptions. */
export const ENCRYPTIONS: readonly string[] = Object.keys(ALGORITHMS);

/** The best of this machine, given the addon or none. */
export function encryptionSources(addon: NativeAddon | undefined): EncryptionSources {
  return addon?.hasAead === true ? { addon } : { ssl: sharedOpenSsl() };
}

/** Binds a key-derivation secret (32 bytes) to an encryption. Throws REPO_UNSUPPORTED for a name that is not known. */
export function createEncryptor(
  name: string,
  keyDerivationSecret: Uint8Array,
  random: RandomSource = systemRandom,
  sources: EncryptionSources = {},
): ContentEncryptor {
  const algorithm = ALGORITHMS[name];
  if (algorithm === undefined) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot encrypt contents with "${name}": no such encryption is known`, {
      hint: `Known encryptions: ${ENCRYPTIONS.join(", ")}.`,
    });
  }
  const aead = bindAead(sources, algorithm, keyDerivationSecret);
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

function bindAead({ addon, ssl }: EncryptionSources, algorithm: Algorithm, keyDerivationSecret: Uint8Array): Aead {
  if (addon?.hasAead === true) return nativeAead(addon, algorithm, keyDerivationSecret);
  return ssl === undefined ? nodeAead(algorithm, keyDerivationSecret) : sharedAead(ssl, algorithm, keyDerivationSecret);
}

/** Encrypts straight into the caller's buffer, where node:crypto allocates the ciphertext anew and has it copied. */
function nativeAead(addon: NativeAddon, algorithm: Algorithm, keyDerivationSecret: Uint8Array): Aead {
  const aead = addon.aeadBind(algorithm === "aes-256-gcm" ? 0 : 1, keyDerivationSecret);
  return {
    seal: (nonce, iv, plaintext, out, at) => addon.aeadSeal(aead, nonce, iv, plaintext, out, at),
    open(sealed, iv, into) {
      const plaintext = roomFor(sealed.length - SEAL_OVERHEAD_BYTES, into);
      if (!addon.aeadOpen(aead, sealed, iv, plaintext)) throw wrongTag();
      return plaintext;
    },
    opensTo: (sealed, iv, plaintext) => addon.aeadOpensTo(aead, sealed, iv, plaintext),
    sealRanges: (nonces, { data, starts, lengths, count }, ivs, ivBytes, out, at) =>
      addon.aeadSealRanges(aead, nonces, ivs, ivBytes, data, starts, lengths, count, out, at),
  };
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
