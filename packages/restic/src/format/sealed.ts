/**
 * restic's encrypted unit: everything in a repository but the key files.
 *
 *   offset  size  field
 *        0    16  iv           the whole first counter block of AES-256-CTR; never zero
 *       16     n  ciphertext
 *   16 + n    16  tag          Poly1305-AES of the ciphertext alone: r, and s = AES-128(k, iv)
 *
 * restic: internal/crypto. The tag is compared in constant time, and before anything is decrypted.
 */
import { createCipheriv, createSecretKey, timingSafeEqual } from "node:crypto";
import { DrayError } from "@drayage/base";
import { type Kernels, POLY1305_TAG_BYTES } from "@drayage/kernels";

const IV_BYTES = 16;
/** Bytes that sealing adds. */
export const SEALED_OVERHEAD_BYTES: number = IV_BYTES + POLY1305_TAG_BYTES;
/** AES-256 key, then k and r of the authentication. */
export const SEAL_KEY_BYTES = 64;

const AT = { encryption: 0, k: 32, r: 48 } as const;

/** Opens what was sealed with one key. */
export interface Opener {
  /**
   * The plaintext, or undefined when the tag does not match: wrong key, or damaged. It may be a view of `room`, which then must not overlap `sealed`.
   * Throws REPO_CORRUPT for what is too short to be sealed.
   */
  open(sealed: Uint8Array, room?: Uint8Array): Uint8Array | undefined;
}

export type SealKernels = Pick<Kernels, "poly1305" | "aes256Ctr">;

/** @param key - 64 bytes: encryption, k, r; kept as it is now. Throws REPO_CORRUPT for a key of zeros. */
export function createOpener(key: Uint8Array, { poly1305, aes256Ctr }: SealKernels): Opener {
  if (key.length !== SEAL_KEY_BYTES) throw new DrayError("INVARIANT", `Cannot decrypt: the key has ${key.length} bytes, ${SEAL_KEY_BYTES} are wanted`);
  for (const part of [key.subarray(AT.encryption, AT.k), key.subarray(AT.k, AT.r), key.subarray(AT.r)])
    if (part.every((byte) => byte === 0)) throw new DrayError("REPO_CORRUPT", "Cannot decrypt: a part of the key is zero");
  const encryption = key.slice(AT.encryption, AT.k);
  // One block at a time in ECB: the cipher has no state, so one serves for all.
  const blockCipher = createCipheriv("aes-128-ecb", createSecretKey(key.subarray(AT.k, AT.r)), null).setAutoPadding(false);
  const macKey = new Uint8Array(32);
  macKey.set(key.subarray(AT.r));
  return {
    open(sealed, room) {
      if (sealed.length < SEALED_OVERHEAD_BYTES) {
        throw new DrayError("REPO_CORRUPT", `Cannot decrypt: ${SEALED_OVERHEAD_BYTES} bytes are the least, ${sealed.length} are there`);
      }
      const tagAt = sealed.length - POLY1305_TAG_BYTES;
      const iv = sealed.subarray(0, IV_BYTES);
      const ciphertext = sealed.subarray(IV_BYTES, tagAt);
      macKey.set(blockCipher.update(iv), 16);
      if (iv.every((byte) => byte === 0) || !timingSafeEqual(poly1305(macKey, ciphertext), sealed.subarray(tagAt))) return undefined;
      return aes256Ctr(encryption, iv, ciphertext, room);
    },
  };
}
