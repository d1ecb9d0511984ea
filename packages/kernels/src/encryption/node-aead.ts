/** Authenticated encryption by node:crypto, which writes into memory of its own: what runs where neither the addon nor a call into OpenSSL is to be had. */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type DecipherGCM, type KeyObject } from "node:crypto";
import { asBuffer, equalBytes } from "@drayage/base";
import { type Aead, type Algorithm, NONCE_BYTES, oneByOne, pieces, roomFor, SEAL_OVERHEAD_BYTES, TAG_BYTES, wrongTag } from "./aead.ts";

/**
 * What node:crypto is given at once: it allocates each of its results, and one of several megabytes is memory that the kernel has to hand out page by page. A result of this size is given
 * back as soon as it was looked at, and the next one is the same memory, still in the processor's cache.
 */
const PIECE_BYTES = 64 << 10;

/** The key of a content, 32 bytes, from its initialization vector. The secret is kept as a KeyObject: given raw bytes Node 24 spends 25 µs per call on the key alone. */
export function contentKeys(keyDerivationSecret: Uint8Array): (iv: Uint8Array) => Buffer {
  const secret = createSecretKey(keyDerivationSecret);
  return (iv) => createHmac("sha256", secret).update(iv).digest();
}

/** The algorithm under a key-derivation secret (32 bytes). Its keys are KeyObjects for the same reason. */
export function nodeAead(algorithm: Algorithm, keyDerivationSecret: Uint8Array): Aead {
  const keyOf = contentKeys(keyDerivationSecret);
  const contentKey = (iv: Uint8Array): KeyObject => createSecretKey(keyOf(iv));
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
      // A buffer's copy is twice as fast as that of an array where one of them is shared memory.
      const target = asBuffer(out);
      for (const [from, to] of pieces(plaintext.length, PIECE_BYTES)) {
        const piece = cipher.update(plaintext.subarray(from, to));
        piece.copy(target, at + NONCE_BYTES + from);
        giveBack(piece);
      }
      cipher.final();
      out.set(cipher.getAuthTag(), at + NONCE_BYTES + plaintext.length);
    },
    open(sealed, iv, into) {
      const length = sealed.length - SEAL_OVERHEAD_BYTES;
      const decipher = decipherOf(sealed, iv);
      const plaintext = roomFor(length, into);
      const target = asBuffer(plaintext);
      for (const [from, to] of pieces(length, PIECE_BYTES)) {
        const piece = decipher.update(sealed.subarray(NONCE_BYTES + from, NONCE_BYTES + to));
        piece.copy(target, from);
        giveBack(piece);
      }
      if (!isWhole(decipher)) throw wrongTag();
      return plaintext;
    },
    opensTo(sealed, iv, plaintext) {
      const decipher = decipherOf(sealed, iv);
      for (const [from, to] of pieces(plaintext.length, PIECE_BYTES)) {
        const piece = decipher.update(sealed.subarray(NONCE_BYTES + from, NONCE_BYTES + to));
        if (!equalBytes(piece, plaintext.subarray(from, to))) return false;
        giveBack(piece);
      }
      return isWhole(decipher);
    },
  };
  const sealAndCheck: Parameters<typeof oneByOne>[0] = (nonce, iv, plaintext, out, at) => {
    aead.seal(nonce, iv, plaintext, out, at);
    return aead.opensTo(out.subarray(at, at + plaintext.length + SEAL_OVERHEAD_BYTES), iv, plaintext);
  };
  return { ...aead, sealRanges: oneByOne(sealAndCheck) };
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
