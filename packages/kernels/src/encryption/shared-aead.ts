/**
 * Authenticated encryption by the OpenSSL that the Node binary exports, called through koffi: as node:crypto does it, but from and into memory of the caller, where node:crypto allocates
 * and copies each result. Three times as fast with what is sealed read back.
 */
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { DrayError, equalBytes } from "@drayage/base";
import { type Aead, type Algorithm, NONCE_BYTES, oneByOne, pieces, roomFor, SEAL_OVERHEAD_BYTES, TAG_BYTES, wrongTag } from "./aead.ts";
import { contentKeys, nodeAead } from "./node-aead.ts";

/** A cipher context, or an algorithm: pointers that only OpenSSL looks into. */
type Pointer = unknown;

/** Functions of OpenSSL by its names; those that return a number return 1 when they are done. No argument may be an array of nothing. */
export interface SharedOpenSsl {
  newContext(): Pointer;
  freeContext(context: Pointer): void;
  readonly algorithms: Readonly<Record<Algorithm, Pointer>>;
  init(context: Pointer, algorithm: Pointer, engine: null, key: Uint8Array, nonce: Uint8Array, encrypts: 0 | 1): number;
  /** `out` is null for additional data. */
  update(context: Pointer, out: Uint8Array | null, written: Int32Array, data: Uint8Array, length: number): number;
  final(context: Pointer, out: Uint8Array, written: Int32Array): number;
  control(context: Pointer, command: number, length: number, data: Uint8Array): number;
  clearErrors(): void;
}

const CTRL_GET_TAG = 0x10;
const CTRL_SET_TAG = 0x11;
/** Plaintext, ciphertext and what is read back of it stay in the processor's cache. Whole groups of six blocks, which is what OpenSSL's code for AES-GCM works on. */
const PIECE_BYTES = 96 << 10;

/** Of this thread, like the two below: nothing of a content stays in them but what was read back of it last. */
let readBack: Uint8Array | undefined;
const written = new Int32Array(1);
const none = new Uint8Array(TAG_BYTES);

/** The algorithm under a key-derivation secret (32 bytes). Throws INVARIANT where OpenSSL fails otherwise than by a wrong tag. */
export function sharedAead(ssl: SharedOpenSsl, algorithm: Algorithm, keyDerivationSecret: Uint8Array): Aead {
  const keyOf = contentKeys(keyDerivationSecret);
  const check = (result: number): void => {
    if (result === 1) return;
    ssl.clearErrors();
    throw new DrayError("INVARIANT", `Cannot encrypt or decrypt with ${algorithm}: OpenSSL failed`);
  };
  /** Runs `work` with a context under the content's key that has taken in the additional data; key and context are there only meanwhile. */
  const during = <T>(key: Uint8Array, nonce: Uint8Array, iv: Uint8Array, encrypts: 0 | 1, work: (context: Pointer) => T): T => {
    const context = ssl.newContext();
    try {
      check(ssl.init(context, ssl.algorithms[algorithm], null, key, nonce, encrypts));
      if (iv.length > 0) check(ssl.update(context, null, written, iv, iv.length));
      return work(context);
    } finally {
      ssl.freeContext(context);
    }
  };
  const turn = (context: Pointer, out: Uint8Array, data: Uint8Array): void => check(ssl.update(context, out, written, data, data.length));
  const finishSealing = (context: Pointer, tag: Uint8Array): void => {
    check(ssl.final(context, none, written));
    check(ssl.control(context, CTRL_GET_TAG, TAG_BYTES, tag));
  };
  const endsWith = (context: Pointer, tag: Uint8Array): boolean => {
    check(ssl.control(context, CTRL_SET_TAG, TAG_BYTES, tag));
    if (ssl.final(context, none, written) === 1) return true;
    ssl.clearErrors();
    return false;
  };
  const opensTo = (context: Pointer, ciphertext: Uint8Array, plaintext: Uint8Array): boolean => {
    readBack ??= new Uint8Array(PIECE_BYTES);
    turn(context, readBack, ciphertext);
    return equalBytes(readBack.subarray(0, plaintext.length), plaintext);
  };
  return {
    seal(nonce, iv, plaintext, out, at) {
      const { ciphertext, tag } = partsIn(out, at, plaintext.length);
      out.set(nonce, at);
      during(keyOf(iv), nonce, iv, 1, (context) => {
        for (const [from, to] of pieces(plaintext.length, PIECE_BYTES)) turn(context, ciphertext.subarray(from), plaintext.subarray(from, to));
        finishSealing(context, tag);
      });
    },
    open(sealed, iv, into) {
      const { nonce, ciphertext, tag } = partsOf(sealed);
      const plaintext = roomFor(ciphertext.length, into);
      const isWhole = during(keyOf(iv), nonce, iv, 0, (context) => {
        for (const [from, to] of pieces(ciphertext.length, PIECE_BYTES)) turn(context, plaintext.subarray(from), ciphertext.subarray(from, to));
        return endsWith(context, tag);
      });
      if (isWhole) return plaintext;
      plaintext.fill(0);
      throw wrongTag();
    },
    opensTo(sealed, iv, plaintext) {
      const { nonce, ciphertext, tag } = partsOf(sealed);
      return during(keyOf(iv), nonce, iv, 0, (context) => {
        for (const [from, to] of pieces(ciphertext.length, PIECE_BYTES)) {
          if (!opensTo(context, ciphertext.subarray(from, to), plaintext.subarray(from, to))) return false;
        }
        return endsWith(context, tag);
      });
    },
    // Both ways piece by piece, so that what was written and what it was made from are still in the cache when they are compared.
    sealRanges: oneByOne((nonce, iv, plaintext, out, at) => {
      const { ciphertext, tag } = partsIn(out, at, plaintext.length);
      const key = keyOf(iv);
      out.set(nonce, at);
      return during(key, nonce, iv, 1, (sealing) =>
        during(key, out.subarray(at, at + NONCE_BYTES), iv, 0, (opening) => {
          for (const [from, to] of pieces(plaintext.length, PIECE_BYTES)) {
            const piece = plaintext.subarray(from, to);
            turn(sealing, ciphertext.subarray(from), piece);
            if (!opensTo(opening, ciphertext.subarray(from, to), piece)) return false;
          }
          finishSealing(sealing, tag);
          return endsWith(opening, tag);
        }),
      );
    }),
  };
}

/** What a plaintext is sealed to; pointers have no lengths, so that all is checked here. */
function partsIn(out: Uint8Array, at: number, plaintextBytes: number): ReturnType<typeof partsOf> {
  const bytes = plaintextBytes + SEAL_OVERHEAD_BYTES;
  if (out.length - at < bytes) throw new DrayError("INVARIANT", `Cannot seal a content: ${bytes} bytes are needed at ${at}, the buffer has ${out.length}`);
  return partsOf(out.subarray(at, at + bytes));
}

function partsOf(sealed: Uint8Array): { readonly nonce: Uint8Array; readonly ciphertext: Uint8Array; readonly tag: Uint8Array } {
  const tagAt = sealed.length - TAG_BYTES;
  return { nonce: sealed.subarray(0, NONCE_BYTES), ciphertext: sealed.subarray(NONCE_BYTES, tagAt), tag: sealed.subarray(tagAt) };
}

let loaded: { readonly ssl: SharedOpenSsl | undefined } | undefined;

/** The OpenSSL of this Node. Undefined where koffi is not there, where the Node exports none, and where it gives other bytes than node:crypto. */
export function sharedOpenSsl(): SharedOpenSsl | undefined {
  loaded ??= { ssl: loadTested() };
  return loaded.ssl;
}

function loadTested(): SharedOpenSsl | undefined {
  try {
    const ssl = load();
    return (["aes-256-gcm", "chacha20-poly1305"] as const).every((algorithm) => agrees(ssl, algorithm)) ? ssl : undefined;
  } catch {
    return undefined;
  }
}

function load(): SharedOpenSsl {
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  // What the program itself exports, or the libraries that it was linked with.
  const program = koffi.load(null);
  const algorithm = (name: string): Pointer => program.func(`const void *${name}()`)();
  return {
    newContext: program.func("void *EVP_CIPHER_CTX_new()"),
    freeContext: program.func("void EVP_CIPHER_CTX_free(void *context)"),
    algorithms: { "aes-256-gcm": algorithm("EVP_aes_256_gcm"), "chacha20-poly1305": algorithm("EVP_chacha20_poly1305") },
    init: program.func("int EVP_CipherInit_ex(void *context, const void *type, void *engine, const void *key, const void *nonce, int encrypts)"),
    update: program.func("int EVP_CipherUpdate(void *context, void *out, void *written, const void *data, int length)"),
    final: program.func("int EVP_CipherFinal_ex(void *context, void *out, void *written)"),
    control: program.func("int EVP_CIPHER_CTX_ctrl(void *context, int command, int length, void *data)"),
    clearErrors: program.func("void ERR_clear_error()"),
  };
}

/** What one of them seals the other opens: it is the same algorithm, and pointers arrive where they should. */
function agrees(ssl: SharedOpenSsl, algorithm: Algorithm): boolean {
  const secret = randomBytes(32);
  const [iv, plaintext] = [secret.subarray(0, 16), randomBytes(100)];
  const builds = [sharedAead(ssl, algorithm, secret), nodeAead(algorithm, secret)] as const;
  const sealed = builds.map((aead) => {
    const out = new Uint8Array(plaintext.length + SEAL_OVERHEAD_BYTES);
    aead.seal(secret.subarray(16, 16 + NONCE_BYTES), iv, plaintext, out, 0);
    return out;
  });
  return equalBytes(sealed[0] ?? new Uint8Array(), sealed[1] ?? new Uint8Array()) && builds[0].opensTo(sealed[1] ?? new Uint8Array(), iv, plaintext);
}
