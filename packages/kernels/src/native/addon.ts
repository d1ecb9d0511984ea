/** What native/kernels.cc exports. Wrong arguments throw a TypeError (`ERR_INVALID_ARG_VALUE`); no argument makes it read or write outside the arrays given. */
import { createRequire } from "node:module";
import type { DirectoryNames } from "../batch/batch-files.ts";

/** The loops that exist more than once: with the best vector instructions of the machine, with those of AVX2, and without. */
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
  /** The same of the first `count` ranges of one buffer, with the first `kept` bytes of each digest, 1 to 32. */
  blake2bRanges(key: Uint8Array, data: Uint8Array, starts: Uint32Array, lengths: Uint32Array, count: number, out: Uint8Array, kept: number): void;
  /** SHA-256 of the first `count` ranges of one buffer, 32 bytes each, one after the other. */
  sha256Ranges(data: Uint8Array, starts: Uint32Array, lengths: Uint32Array, count: number, out: Uint8Array): void;
  /** Needs `hasAead`. 0 is AES-256-GCM, 1 is ChaCha20-Poly1305. What is sealed is read back by vector code where that is the faster one. */
  aeadBind(algorithm: 0 | 1, secret: Uint8Array): NativeAead;
}

/** An algorithm with its secret, as `aeadBind` makes it. It belongs to its thread. */
export interface NativeAead {
  readonly __nativeAead: never;
}

export interface NativeAddon extends NativeLoops {
  readonly plain: NativeLoops;
  /** Without AVX-512. */
  readonly narrow: NativeLoops;
  /** Whether the loops above use vector instructions here. */
  readonly hasVectors: boolean;
  /** Whether some of them use AVX-512. */
  readonly hasWideVectors: boolean;
  /** Whether this Node shares its OpenSSL. Without it functions for AEAD throw. */
  readonly hasAead: boolean;
  /** Writes nonce, ciphertext and tag to `out` from `at`, which must not overlap the plaintext. */
  aeadSeal(aead: NativeAead, nonce: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, out: Uint8Array, at: number): void;
  /** Whether the tag matches. Then `out`, of the plaintext's length, holds it; otherwise it is zeroed. */
  aeadOpen(aead: NativeAead, sealed: Uint8Array, iv: Uint8Array, out: Uint8Array): boolean;
  /** Whether the tag matches and this is the plaintext. */
  aeadOpensTo(aead: NativeAead, sealed: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): boolean;
  /**
   * Seals the first `count` ranges of `data` one behind the other, range i under nonce i (12 bytes) and iv i (`ivLength` bytes), and reads each back.
   * The index of the first that opens to something else, or -1.
   */
  aeadSealRanges(
    aead: NativeAead,
    nonces: Uint8Array,
    ivs: Uint8Array,
    ivLength: number,
    data: Uint8Array,
    starts: Uint32Array,
    lengths: Uint32Array,
    count: number,
    out: Uint8Array,
    at: number,
  ): number;
  /** Whether this Node shares its zstd. Without it the next three functions throw. */
  readonly hasZstd: boolean;
  /** Writes one frame to `out` from `at`; its length, or 0 when it does not fit. */
  zstdCompress(data: Uint8Array, level: number, out: Uint8Array, at: number): number;
  /** Whether one frame expands to these bytes, of which there are some. */
  zstdExpandsTo(frame: Uint8Array, data: Uint8Array): boolean;
  /** Writes all frames of `frames` to the start of `out`, which must not overlap them: how many bytes that are, or -1 when they are damaged or do not fit. */
  zstdExpand(frames: Uint8Array, out: Uint8Array): number;
  /** Needs `hasAead`. Writes `data`, encrypted or decrypted, to the start of `out`, which must not overlap it. Keys have 32 bytes, the first counter block 16. */
  aes256Ctr(key: Uint8Array, counter: Uint8Array, data: Uint8Array, out: Uint8Array): void;
  /** The names in an open directory, or the number of the error. Rows and names: batch/batch-files.ts. */
  listDirectory(fd: number): DirectoryNames | number;
  statEntries(fd: number, names: Uint8Array, ends: Uint32Array, from: number, to: number, prefix: Uint8Array, rows: Float64Array): void;
  readFiles(
    fd: number,
    names: Uint8Array,
    ends: Uint32Array,
    picks: Uint32Array,
    attributes: 0 | 1,
    bytesMax: number,
    rows: Float64Array,
    arena: Uint8Array,
  ): number;
  encodeEntries(names: Uint8Array, ends: Uint32Array, picks: Uint32Array, rows: Float64Array, out: Uint8Array, outEnds: Uint32Array): number;
  encodeStored(
    names: Uint8Array,
    ends: Uint32Array,
    from: number,
    to: number,
    rows: Float64Array,
    hashes: Uint8Array,
    digestBytes: number,
    out: Uint8Array,
    at: number,
    outEnds: Uint32Array,
  ): number;
  /** What they find: batch/batch-files.ts. */
  compareEntries(
    names: Uint8Array,
    ends: Uint32Array,
    from: number,
    to: number,
    parent: Uint8Array,
    at: number,
    keyBytes: number,
    rows: Float64Array,
    keys: Uint8Array,
    entries: Uint32Array,
    runs: Float64Array,
    found: Float64Array,
  ): void;
  compareDirectory(
    fd: number,
    name: Uint8Array,
    attributes: 0 | 1,
    avoid: Uint8Array,
    parent: Uint8Array,
    keyBytes: number,
    names: Uint8Array,
    ends: Uint32Array,
    rows: Float64Array,
    keys: Uint8Array,
    entries: Uint32Array,
    runs: Float64Array,
    found: Float64Array,
    // All of them, or none: batch/batch-files.ts, RewrittenDirectory.
    key?: Uint8Array,
    digestBytes?: number,
    level?: number,
    bytesMax?: number,
    data?: Uint8Array,
    ranges?: Uint32Array,
    hashes?: Uint8Array,
    text?: Uint8Array,
    payload?: Uint8Array,
  ): boolean;
  /** batch/batch-files.ts, ComparisonQueue. The object belongs to the thread that makes it. */
  comparisonQueue(places: number, threads: number, scan?: object): object;
  putComparison(queue: object, place: number, call: Parameters<NativeAddon["compareDirectory"]>): void;
  finishComparison(queue: object, place: number): boolean;
  dropComparison(queue: object, place: number): boolean;
  /** batch/batch-files.ts, DirectoryScan: an object for the calls below and for a queue, and a promise that ends with it. */
  directoryScan(path: Uint8Array, attributes: number, bytesMax: number): [object, Promise<void>];
  stopScan(scan: object): void;
  dropScan(scan: object): void;
  /** batch/unattributed.ts, for all threads of the process. `everywhere` is 1 for tests, whose folders may lie on any file system. */
  rememberUnattributed(keys: Uint8Array, ageMs: number, everywhere: number): void;
  metUnattributed(): ArrayBuffer | undefined;
  /** Asks the system for large pages behind memory that begins on a page: fewer to find, to clear and to look up. Does nothing where there are none. */
  adviseHugePages(memory: Uint8Array): void;
  /** batch/find-keys.ts. */
  findKeys(
    keys: Uint8Array,
    count: number,
    shape: Uint32Array,
    filter: Uint8Array,
    bytes: Uint8Array,
    owners: Uint32Array,
    blocks: Uint32Array,
    states: Uint8Array,
  ): void;
  /** Rows and `done`: batch/create-files.ts. */
  createFiles(names: Uint8Array, ends: Uint32Array, rows: Float64Array, count: number, data: Uint8Array, replace: 0 | 1, done: Uint8Array): void;
  /** Needs `hasAead`. Blocks of 128 * r bytes, one behind the other, through scrypt's ROMix, on a thread of its own. Left out where the compiler has no vectors. */
  scryptMix?(blocks: Uint8Array, N: number, r: number): Promise<Uint8Array>;
  /** Writes the Poly1305 tag of `data` to the start of `out`; keys have 32 bytes. Left out where the compiler has no integers of 128 bits. */
  poly1305?(key: Uint8Array, data: Uint8Array, out: Uint8Array): void;
  /** Rows and `done`: batch/open-sealed.ts. Needs `poly1305`, and a Node that shares OpenSSL and zstd; left out otherwise. */
  openSealed?(key: Uint8Array, data: Uint8Array, rows: Float64Array, count: number, ids: Uint8Array, out: Uint8Array, done: Uint8Array): void;
  /** system/reads-ahead.ts; undefined where the system lets nobody have it, and all three are left out where it has none. */
  readsAhead?(count: number): NativeReads | undefined;
  beginRead?(reads: NativeReads, slot: number, fd: number, memory: Uint8Array, at: number, length: number, offset: number): boolean;
  endRead?(reads: NativeReads, slot: number): number;
}

/** What reads are on their way with, as `readsAhead` makes it. It belongs to its thread. */
export interface NativeReads {
  readonly __nativeReads: never;
}

/** Loads a compiled addon into this process. Throws what the loader of Node throws. */
export function requireAddon(path: string): NativeAddon {
  return createRequire(import.meta.url)(path) as NativeAddon;
}

/** The same addon with the vector code left out: what a machine without AVX2 runs. */
export function withoutVectors(addon: NativeAddon): NativeAddon {
  return { ...addon, ...addon.plain, narrow: addon.plain, hasVectors: false, hasWideVectors: false };
}

/** What a machine with AVX2 and no AVX-512 runs. */
export function withNarrowVectors(addon: NativeAddon): NativeAddon {
  return { ...addon, ...addon.narrow, hasWideVectors: false };
}
