/** Decryption of a sealed text that comes in pieces: nonce ‖ ciphertext ‖ tag (encryptors.ts). One text after the other, so that node:crypto is fast enough. */
import { createDecipheriv, createSecretKey, type DecipherGCM } from "node:crypto";
import { concat, DrayError } from "@drayage/base";
import type { PieceOpener } from "../types.ts";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** @param wrongTag - makes the error for a text that was changed */
export function createPieceOpener(algorithm: string, key: Uint8Array, iv: Uint8Array, wrongTag: (cause?: unknown) => DrayError): PieceOpener {
  let decipher: DecipherGCM | undefined;
  // As many bytes as the tag has are held back, since the last of all are it.
  let held: Uint8Array = new Uint8Array(0);
  return {
    update(piece) {
      let bytes = held.length === 0 ? piece : concat([held, piece]);
      if (decipher === undefined && bytes.length >= NONCE_BYTES) {
        decipher = createDecipheriv(algorithm as "aes-256-gcm", createSecretKey(key), bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
        decipher.setAAD(iv);
        bytes = bytes.subarray(NONCE_BYTES);
      }
      const ready = decipher === undefined ? 0 : Math.max(0, bytes.length - TAG_BYTES);
      held = bytes.slice(ready);
      return decipher?.update(bytes.subarray(0, ready)) ?? new Uint8Array(0);
    },
    end() {
      if (decipher === undefined || held.length !== TAG_BYTES) {
        throw new DrayError("REPO_CORRUPT", `Cannot decrypt: ${NONCE_BYTES + TAG_BYTES} bytes are the least, fewer are there`);
      }
      try {
        decipher.setAuthTag(held);
        decipher.final();
      } catch (cause) {
        throw wrongTag(cause);
      }
    },
  };
}
