/**
 * The hot loops behind one interface each. Builds: the native addon (where it was compiled), and portable ones (WASM, node:crypto, plain); `createKernels` picks the best one that passes its self-test.
 * Every build gives the same bytes; one set of golden vectors runs against all. All calls are synchronous and allocate nothing per call beyond their result.
 */

import type { BatchFiles } from "./batch/batch-files.ts";
import type { CreateFiles } from "./batch/create-files.ts";
import type { FindKeys } from "./batch/find-keys.ts";
import type { OpenSealed } from "./batch/open-sealed.ts";
import type { UnattributedFiles } from "./batch/unattributed.ts";
import type { Aes256Ctr } from "./encryption/aes-256-ctr.ts";
import type { Poly1305 } from "./mac/poly1305.ts";
import type { OpenReadsAhead } from "./system/reads-ahead.ts";

/** Finds content-defined (or fixed) cut points in a stream that arrives in slices. */
export interface Splitter {
  /**
   * Looks for the next cut in `data[from, to)`, going on where the last call stopped.
   * Returns the offset in `data` just after the chunk's last byte, or -1 when the chunk goes on past `to`. After a cut the next call starts a new chunk.
   */
  next(data: Uint8Array, from: number, to: number): number;
  /** Forgets the stream: window zeroed, count 0. One splitter serves one object at a time. */
  reset(): void;
  readonly maxChunkBytes: number;
  /** No cut comes before so many bytes of a chunk: what is shorter is one chunk. */
  readonly minChunkBytes: number;
}

/** A keyed content hash with its key bound. */
export interface ContentHasher {
  readonly name: string;
  /** Bytes of a digest, after truncation. */
  readonly digestBytes: number;
  /** A fresh digest of the bytes. */
  hash(data: Uint8Array): Uint8Array;
  /** The digests of many inputs; builds with several lanes do them side by side. */
  hashMany(inputs: readonly Uint8Array[]): Uint8Array[];
  /** Writes the digests of ranges of one buffer to `out`, `digestBytes` each, one behind the other. */
  hashRanges(ranges: ByteRanges, out: Uint8Array): void;
  /** The key of the addon's BLAKE2b, where that is what hashes: for calls of the addon that hash what they have read. */
  readonly blake2bKey?: Uint8Array;
}

/** The first `count` of these ranges of a buffer. */
export interface ByteRanges {
  readonly data: Uint8Array;
  readonly starts: Uint32Array;
  readonly lengths: Uint32Array;
  readonly count: number;
}

/** Encryption of contents with its key-derivation secret bound (kopia-format.md 3.3). */
export interface ContentEncryptor {
  readonly name: string;
  /** Bytes that `seal` adds. */
  readonly overheadBytes: number;
  /** Writes nonce, ciphertext and tag into `out` at `at`, away from the plaintext, and returns the bytes written. `iv` is HMAC input and additional data. */
  seal(plaintext: Uint8Array, iv: Uint8Array, out: Uint8Array, at: number): number;
  /**
   * The plaintext: a view of `into` where that is given, has room, and the build writes into memory of its caller; an array of its own otherwise.
   * Throws REPO_CORRUPT when the tag does not match.
   */
  open(sealed: Uint8Array, iv: Uint8Array, into?: Uint8Array): Uint8Array;
  /** Whether what is sealed opens to this plaintext. */
  opensTo(sealed: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): boolean;
  /**
   * Seals range i under the i-th `ivBytes` of `ivs`, one behind the other from `at` on, and reads each back. The index of the first that opens to something else, or -1.
   * `out` must not overlap the data, and must have room for all.
   */
  sealRanges(ranges: ByteRanges, ivs: Uint8Array, ivBytes: number, out: Uint8Array, at: number): number;
  /** Opens a sealed text that is too large for memory. */
  opener(iv: Uint8Array): PieceOpener;
}

/** Decrypts a sealed text in pieces of any length, in order. What comes out is not authenticated before `end` has returned. */
export interface PieceOpener {
  /** The plaintext of what cannot be a part of the tag any more. */
  update(piece: Uint8Array): Uint8Array;
  /** Throws REPO_CORRUPT when the tag does not match what went before it. */
  end(): void;
}

/** One compression family member of kopia-format.md 3.4. Payloads carry no header here. */
export interface Compressor {
  readonly name: string;
  /** The 4-byte header id. */
  readonly headerId: number;
  /** Undefined where this program only reads the format. */
  readonly compress: ((data: Uint8Array) => Uint8Array) | undefined;
  /** The same into `out` from `at` on, without memory of its own: the bytes written, or 0 when there is no room for them. Only where the addon has it. */
  /** Whether a stream of `compressInto` expands to these bytes, without memory of its own. Where that is. */
  readonly expandsTo?: (stream: Uint8Array, data: Uint8Array) => boolean;
  readonly compressInto?: (data: Uint8Array, out: Uint8Array, at: number) => number;
  /** The level at which the addon's zstd makes the same, where that is what compresses: for calls of the addon that compress what they have made. */
  readonly zstdLevel?: number;
  /** `lengthMax` bounds the output: more is REPO_CORRUPT. */
  decompress(data: Uint8Array, lengthMax: number): Uint8Array;
  /** The same to the start of `out`, without memory of its own: how many bytes, or -1 when the stream is damaged or there is no room for them. Where that is. */
  readonly decompressInto?: (data: Uint8Array, out: Uint8Array) => number;
}

export interface Extent {
  readonly offset: number;
  readonly length: number;
}

export interface ExtendedAttribute {
  readonly name: string;
  readonly value: Uint8Array;
}

/** A path as the file system has it: bytes, since names need not be UTF-8. */
export type RawPath = Uint8Array | string;

/** System calls that Node lacks. Errors carry the errno name as `errno` in their context (`ENOTSUP`, `ENOSPC`, …). */
export interface SystemCalls {
  /** The data extents of an open regular file of `size` bytes, in order; one covering everything where the file system cannot tell. */
  dataExtents(fd: number, size: number): Extent[];
  /** Frees a range so that it reads as zeros. False where the file system cannot. */
  punchHole(fd: number, offset: number, length: number): boolean;
  /** Finds room on the disk for a range of a file, which reads as zeros until it is written. False where the file system does no such thing. */
  allocate(fd: number, offset: number, length: number): boolean;
  /** Extended attributes of a path itself, not of what it links to; sorted by name. Empty where there is no support. */
  listXattrs(path: RawPath): ExtendedAttribute[];
  setXattr(path: RawPath, name: string, value: Uint8Array): void;
  removeXattr(path: RawPath, name: string): void;
  /** Bytes of a block device (BLKGETSIZE64). */
  blockDeviceSize(fd: number): number;
  /** Times of a path itself in nanoseconds (utimensat with AT_SYMLINK_NOFOLLOW). */
  setTimes(path: RawPath, atimeNs: bigint, mtimeNs: bigint): void;
  makeNode(path: RawPath, mode: number, major: number, minor: number): void;
  /** Resolves when the file system that holds the open file has written everything; what failed in the background since it was opened is an error here. */
  syncFs(fd: number): Promise<void>;
  /** Memory aligned for direct I/O. Of the kernels of a thread, much of it lies in large pages, where the addon and the system have them. */
  alignedBuffer(bytes: number): Uint8Array;
}

/** Everything of this package, as `createKernels` chose it for this machine. One per thread; parts with a state of their own are made per use. */
export interface Kernels {
  /** A fresh splitter by Kopia's name. Throws REPO_UNSUPPORTED for one that is not known, as the other factories do. */
  splitter(name: string): Splitter;
  /** Binds a key to a hash. A hasher serves one thread, one call at a time. */
  hasher(name: string, key: Uint8Array): Promise<ContentHasher>;
  /** Binds a key-derivation secret (not the master key: kopia-format.md 2.8) to an encryption. */
  encryptor(name: string, keyDerivationSecret: Uint8Array): ContentEncryptor;
  readonly poly1305: Poly1305;
  readonly aes256Ctr: Aes256Ctr;
  compressor(name: string): Compressor;
  compressorByHeader(headerId: number): Compressor;
  readonly system: SystemCalls;
  /** Directories and small files many at a time. */
  readonly files: BatchFiles;
  /** Only where the addon is: key by key, other code is as good. */
  readonly findKeys: FindKeys | undefined;
  /** Only where the addon is: file by file, ordinary calls are as good. */
  readonly createFiles: CreateFiles | undefined;
  /** Only where the addon has it: one by one, `poly1305`, `aes256Ctr` and the compressor do the same. */
  readonly openSealed: OpenSealed | undefined;
  /** Only where the addon and the system have it: elsewhere a piece is read when it is wanted. */
  readonly readsAhead: OpenReadsAhead | undefined;
  /** Only where the addon is: elsewhere each file is asked for its attributes. */
  readonly unattributed: UnattributedFiles | undefined;
  readonly info: KernelInfo;
}

/** Which build was chosen, for logs and reports. */
export interface KernelInfo {
  readonly build: "native" | "portable";
  /** Why it is not the native one. */
  readonly reason?: string;
}
