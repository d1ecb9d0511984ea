/**
 * Kopia's eleven keyed content hashes (kopia-format.md 3.1), each from the source that is fastest for it here:
 * BLAKE2b from the addon (several inputs side by side where the machine has the vectors for it), else two inputs side by side from WASM; BLAKE2s from WASM, BLAKE3 from WASM for short inputs and from the prebuilt
 * native package for long ones (ten times faster from 16 KiB on, but 6 µs a call), HMAC from node:crypto.
 */
import { createHmac, createSecretKey } from "node:crypto";
import { createRequire } from "node:module";
import { asBuffer, DrayError, utf8 } from "@drayage/base";
import { createBLAKE2b, createBLAKE2s, createBLAKE3, type IHasher } from "hash-wasm";
import type { NativeLoops } from "../native/addon.ts";
import type { ContentHasher } from "../types.ts";
import { type Blake2bPairs, createBlake2bPairs } from "./blake2b-pairs.ts";

/** The hash of new repositories. */
export const DEFAULT_HASH = "BLAKE2B-256-128";

/** From here on a native BLAKE3 call is worth its fixed cost. */
const NATIVE_FROM_BYTES = 12 * 1024;
const BLAKE2B_DIGEST_BYTES = 32;
const BLAKE2B_KEY_BYTES_MAX = 64;
const BLAKE3_KEY_BYTES = 32;
/** What Kopia derives a full BLAKE3 key with when the secret is too short to be one. */
const BLAKE3_KEY_CONTEXT = "kopia blake3 derived key v1";

type Digest = (data: Uint8Array) => Uint8Array;
interface Construction {
  readonly digestBytes: number;
  readonly bind: (key: Uint8Array) => Promise<Digest>;
}

const blake2b: Construction["bind"] = async (key) => wasmDigest(await createBLAKE2b(256, key));
// The length parameter is part of BLAKE2's input block: BLAKE2B-256-128 says 32 and is cut afterwards, BLAKE2S-128 really says 16.
const CONSTRUCTIONS: Readonly<Record<string, Construction>> = {
  "BLAKE2B-256": { digestBytes: 32, bind: blake2b },
  "BLAKE2B-256-128": { digestBytes: 16, bind: blake2b },
  "BLAKE2S-128": { digestBytes: 16, bind: async (key) => wasmDigest(await createBLAKE2s(128, key)) },
  "BLAKE2S-256": { digestBytes: 32, bind: async (key) => wasmDigest(await createBLAKE2s(256, key)) },
  "BLAKE3-256": { digestBytes: 32, bind: blake3 },
  "BLAKE3-256-128": { digestBytes: 16, bind: blake3 },
  "HMAC-SHA224": { digestBytes: 28, bind: hmac("sha224") },
  "HMAC-SHA256": { digestBytes: 32, bind: hmac("sha256") },
  "HMAC-SHA256-128": { digestBytes: 16, bind: hmac("sha256") },
  "HMAC-SHA3-224": { digestBytes: 28, bind: hmac("sha3-224") },
  "HMAC-SHA3-256": { digestBytes: 32, bind: hmac("sha3-256") },
};

/** Names of all content hashes. */
export const HASHES: readonly string[] = Object.keys(CONSTRUCTIONS);

/** Binds a key to a hash, over the addon's loops where they are given and have it. Throws REPO_UNSUPPORTED for a name that is not known. */
export async function createHasher(name: string, key: Uint8Array, loops?: NativeLoops): Promise<ContentHasher> {
  const construction = CONSTRUCTIONS[name];
  if (construction === undefined) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot hash contents with "${name}": no such hash is known`, { hint: `Known hashes: ${HASHES.join(", ")}.` });
  }
  const { digestBytes } = construction;
  if (construction.bind === blake2b && key.length >= 1 && key.length <= BLAKE2B_KEY_BYTES_MAX) {
    if (loops !== undefined) return nativeBlake2b(name, digestBytes, key.slice(), loops);
    const pairs = createBlake2bPairs(key);
    if (pairs !== undefined) return pairedBlake2b(name, digestBytes, pairs);
  }
  const digest = await construction.bind(key);
  const hash: Digest = (data) => {
    const full = digest(data);
    return full.length === digestBytes ? full : full.subarray(0, digestBytes);
  };
  return {
    ...{ name, digestBytes, hash },
    hashMany: (inputs) => inputs.map(hash),
    hashRanges({ data, starts, lengths, count }, out) {
      for (let i = 0; i < count; i++) {
        const start = starts[i] ?? 0;
        out.set(hash(data.subarray(start, start + (lengths[i] ?? 0))), digestBytes * i);
      }
    },
  };
}

function nativeBlake2b(name: string, digestBytes: number, key: Uint8Array, loops: NativeLoops): ContentHasher {
  const full = new Uint8Array(BLAKE2B_DIGEST_BYTES);
  return {
    ...{ name, digestBytes, blake2bKey: key },
    hash(data) {
      loops.blake2b(key, data, full);
      return full.slice(0, digestBytes);
    },
    hashMany(inputs) {
      const all = new Uint8Array(BLAKE2B_DIGEST_BYTES * inputs.length);
      loops.blake2bMany(key, inputs, all);
      return inputs.map((_, i) => all.slice(BLAKE2B_DIGEST_BYTES * i, BLAKE2B_DIGEST_BYTES * i + digestBytes));
    },
    hashRanges({ data, starts, lengths, count }, out) {
      loops.blake2bRanges(key, data, starts, lengths, count, out, digestBytes);
    },
  };
}

function pairedBlake2b(name: string, digestBytes: number, pairs: Blake2bPairs): ContentHasher {
  const hashMany = (inputs: readonly Uint8Array[]): Uint8Array[] => {
    const digests = inputs.map(() => new Uint8Array(digestBytes));
    pairs(
      inputs.length,
      (i) => inputs[i] as Uint8Array,
      (i, digest) => digests[i]?.set(digest.subarray(0, digestBytes)),
    );
    return digests;
  };
  return {
    ...{ name, digestBytes, hashMany },
    hash: (data) => hashMany([data])[0] as Uint8Array,
    hashRanges({ data, starts, lengths, count }, out) {
      const rangeOf = (i: number): Uint8Array => data.subarray(starts[i] ?? 0, (starts[i] ?? 0) + (lengths[i] ?? 0));
      pairs(count, rangeOf, (i, digest) => out.set(digest.subarray(0, digestBytes), digestBytes * i), data.buffer);
    },
  };
}

function wasmDigest(hasher: IHasher): Digest {
  return (data) => {
    hasher.init();
    hasher.update(data);
    return hasher.digest("binary");
  };
}

function hmac(algorithm: string): Construction["bind"] {
  // Always through a KeyObject: with a raw key Node 24 spends some 25 µs a call on looking one up.
  return (key) => {
    const secret = createSecretKey(key);
    return Promise.resolve((data) => createHmac(algorithm, secret).update(data).digest());
  };
}

async function blake3(secret: Uint8Array): Promise<Digest> {
  const key = secret.length < BLAKE3_KEY_BYTES ? deriveBlake3Key(secret) : secret.subarray(0, BLAKE3_KEY_BYTES);
  const short = wasmDigest(await createBLAKE3(256, key));
  const native = loadNative();
  if (native === undefined) return short;
  return (data) => {
    if (data.length < NATIVE_FROM_BYTES) return short(data);
    const hasher = native.Blake3Hasher.newKeyed(asBuffer(key));
    hasher.update(data);
    return hasher.digestBuffer();
  };
}

function deriveBlake3Key(secret: Uint8Array): Uint8Array {
  const native = loadNative();
  if (native === undefined) {
    throw new DrayError("NOT_SUPPORTED", `Cannot derive a BLAKE3 key from a secret of ${secret.length} bytes: the native package is missing on this platform`);
  }
  const hasher = native.Blake3Hasher.newDeriveKey(BLAKE3_KEY_CONTEXT);
  hasher.update(secret);
  return hasher.digestBuffer();
}

type NativeBlake = typeof import("@napi-rs/blake-hash");
let loaded: { readonly native: NativeBlake | undefined } | undefined;

/** The native package, where there is a build for this platform. */
function loadNative(): NativeBlake | undefined {
  if (loaded === undefined) {
    try {
      loaded = { native: createRequire(import.meta.url)("@napi-rs/blake-hash") as NativeBlake };
    } catch {
      loaded = { native: undefined };
    }
  }
  return loaded.native;
}

/** The digest of `abc` under a key that the self-test of `createKernels` expects. */
export const SELF_TEST = { hash: "BLAKE2B-256-128", message: utf8("abc"), digest: "d63a32d3e44738d7907f964316c241ad" } as const;
