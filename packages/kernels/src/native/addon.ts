/** What native/kernels.cc exports. Wrong arguments throw a TypeError (`ERR_INVALID_ARG_VALUE`); no argument makes it read or write outside the arrays given. */
import { createRequire } from "node:module";

/** The loops that exist twice: with the vector instructions of the machine, and without. */
export interface NativeLoops {
  /**
   * The offset after the first byte of `data[from, to)` where the buzhash of the last 64 bytes has no bit of `mask`, or -1.
   * `window` holds the 64 bytes before `from`; nothing in front of `from` is read from `data`.
   */
  buzhashScan(table: Int32Array, window: Uint8Array, data: Uint8Array, from: number, to: number, mask: number): number;
  /** Writes the keyed BLAKE2b-256 digest to the start of `out`. Keys have 1 to 64 bytes. */
  blake2b(key: Uint8Array, data: Uint8Array, out: Uint8Array): void;
  /** Writes the digests of all inputs, 32 bytes each, one after the other. */
  blake2bMany(key: Uint8Array, inputs: readonly Uint8Array[], out: Uint8Array): void;
}

/** An algorithm with its secret, as `aeadBind` makes it. It belongs to its thread. */
export interface NativeAead {
  readonly __nativeAead: never;
}

export interface NativeAddon extends NativeLoops {
  readonly plain: NativeLoops;
  /** Whether the loops above use vector instructions here. */
  readonly hasVectors: boolean;
  /** Whether this Node shares its OpenSSL. Without it the next three functions throw. */
  readonly hasAead: boolean;
  /** 0 is AES-256-GCM, 1 is ChaCha20-Poly1305. */
  aeadBind(algorithm: 0 | 1, secret: Uint8Array): NativeAead;
  /** Writes nonce, ciphertext and tag to `out` from `at`, which must not overlap the plaintext. */
  aeadSeal(aead: NativeAead, nonce: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number): void;
  /** Whether the tag matches. Then `out`, of the plaintext's length, holds it; otherwise it is zeroed. */
  aeadOpen(aead: NativeAead, sealed: Uint8Array, iv: Uint8Array, out: Uint8Array): boolean;
}

/** Loads a compiled addon into this process. Throws what the loader of Node throws. */
export function requireAddon(path: string): NativeAddon {
  return createRequire(import.meta.url)(path) as NativeAddon;
}

/** The same addon with the vector code left out: what a machine without AVX2 runs. */
export function withoutVectors(addon: NativeAddon): NativeAddon {
  const { plain, hasAead } = addon;
  return {
    ...{ plain, hasAead, hasVectors: false },
    buzhashScan: plain.buzhashScan,
    blake2b: plain.blake2b,
    blake2bMany: plain.blake2bMany,
    aeadBind: addon.aeadBind,
    aeadSeal: addon.aeadSeal,
    aeadOpen: addon.aeadOpen,
  };
}
