/**
 * The keys of a repository (kopia-format.md 2.1, 2.2, 2.8).
 *
 *   password ──KDF(salt uniqueID)──► format key ──HKDF(info AES / CHECKSUM)──► encrypts the block format and kopia.blobcfg
 *   block format: secret ──► content hash key
 *                 masterKey ──HKDF(salt "encryption")──► key-derivation secret ──HMAC(iv)──► key of one content
 *                 masterKey ──HKDF(salt uniqueID, info "maintenance schedule")──► key of kopia.maintenance
 *
 * Trap: for contents the purpose is HKDF's *salt*, everywhere else its *info*.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, pbkdf2 } from "node:crypto";
import { concat, DrayError, type RandomSource, utf8 } from "@drayage/base";
import { scryptKey } from "@drayage/kernels";

/** The KDF of new repositories. */
export const DEFAULT_KEY_ALGORITHM = "scrypt-65536-8-1";
const PBKDF2 = "pbkdf2-sha256-600000";
/** Names of all password KDFs. */
export const KEY_ALGORITHMS: readonly string[] = [DEFAULT_KEY_ALGORITHM, PBKDF2];

const KEY_BYTES = 32;
const SALT_BYTES_MIN = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SCRYPT = { N: 65_536, r: 8, p: 1 } as const;
const PBKDF2_ITERATIONS = 600_000;

const NO_SALT = new Uint8Array();

/** Turns a password into the format key. */
export type DeriveFormatKey = (password: string, uniqueId: Uint8Array, keyAlgorithm: string) => Promise<Uint8Array>;

/** A derivation that remembers its results, for who opens one repository many times. The keys stay in memory as long as it does. */
export function rememberingKeys(): DeriveFormatKey {
  const known = new Map<string, Promise<Uint8Array>>();
  return (password, uniqueId, keyAlgorithm) => {
    const subject = JSON.stringify([password, Buffer.from(uniqueId).toString("hex"), keyAlgorithm]);
    const derived = known.get(subject) ?? deriveFormatKey(password, uniqueId, keyAlgorithm);
    known.set(subject, derived);
    derived.catch(() => known.delete(subject));
    return derived;
  };
}

/**
 * The format key of a password, in UTF-8 as it is, untrimmed. Takes about 0.2 s on a thread of its own.
 * Throws REPO_UNSUPPORTED for a KDF that is not known, REPO_CORRUPT for a salt that is too short.
 */
export function deriveFormatKey(password: string, uniqueId: Uint8Array, keyAlgorithm: string): Promise<Uint8Array> {
  if (uniqueId.length < SALT_BYTES_MIN) {
    throw new DrayError("REPO_CORRUPT", `Cannot derive the format key: the unique id has ${uniqueId.length} bytes, ${SALT_BYTES_MIN} are the least`);
  }
  const secret = utf8(password);
  if (keyAlgorithm === DEFAULT_KEY_ALGORITHM) {
    return scryptKey(secret, uniqueId, SCRYPT, KEY_BYTES);
  }
  if (keyAlgorithm === PBKDF2) return settled((done) => pbkdf2(secret, uniqueId, PBKDF2_ITERATIONS, KEY_BYTES, "sha256", done));
  throw new DrayError("REPO_UNSUPPORTED", `Cannot derive the format key: key algorithm "${keyAlgorithm}" is not known`, {
    hint: `Known key algorithms: ${KEY_ALGORITHMS.join(", ")}.`,
  });
}

/** The secret from which the key of each content is derived. */
export function deriveContentSecret(masterKey: Uint8Array): Uint8Array {
  return hkdf(masterKey, utf8("encryption"), "", KEY_BYTES);
}

/** The key of `kopia.maintenance`; `parent` is the master key, or the format key where the password cannot be changed. */
export function deriveMaintenanceKey(parent: Uint8Array, uniqueId: Uint8Array): Uint8Array {
  return hkdf(parent, uniqueId, "maintenance schedule", KEY_BYTES);
}

/** Encrypts what only the password opens: the block format, `kopia.blobcfg`. */
export function sealWithFormatKey(formatKey: Uint8Array, uniqueId: Uint8Array, plaintext: Uint8Array, random: RandomSource): Uint8Array {
  return sealAes(formatCipherKey(formatKey, uniqueId), formatChecksumKey(formatKey, uniqueId), plaintext, random);
}

/** Decrypts it. Undefined when the key is not the one. */
export function openWithFormatKey(formatKey: Uint8Array, uniqueId: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  return openAes(formatCipherKey(formatKey, uniqueId), formatChecksumKey(formatKey, uniqueId), sealed);
}

/** nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16). */
export function sealAes(key: Uint8Array, additionalData: Uint8Array, plaintext: Uint8Array, random: RandomSource): Uint8Array {
  const nonce = random.bytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", createSecretKey(key), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData);
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  return concat([nonce, ciphertext, cipher.getAuthTag()]);
}

/** The plaintext, or undefined when key, additional data or bytes are not those that were sealed. */
export function openAes(key: Uint8Array, additionalData: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const tagAt = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv("aes-256-gcm", createSecretKey(key), sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData);
  decipher.setAuthTag(sealed.subarray(tagAt));
  const plaintext = decipher.update(sealed.subarray(NONCE_BYTES, tagAt));
  try {
    decipher.final();
    return plaintext;
  } catch {
    return undefined;
  }
}

export function hkdf(keyMaterial: Uint8Array, salt: Uint8Array, info: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", keyMaterial, salt.length === 0 ? NO_SALT : salt, info, length));
}

const formatCipherKey = (formatKey: Uint8Array, uniqueId: Uint8Array): Uint8Array => hkdf(formatKey, uniqueId, "AES", KEY_BYTES);
const formatChecksumKey = (formatKey: Uint8Array, uniqueId: Uint8Array): Uint8Array => hkdf(formatKey, uniqueId, "CHECKSUM", KEY_BYTES);

function settled(start: (done: (error: Error | null, key: Buffer) => void) => void): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    start((error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    }),
  );
}
