/**
 * The seam inside the repository engine: contents below (packs, indexes, epochs), objects, manifests and snapshots above.
 * A content is a deduplicated unit: bytes up to a few MiB under an id that is a keyed hash of them (kopia-format.md 3.2).
 */
import type { ByteRanges, ContentHasher } from "@drayage/kernels";
import type { ContentLanes } from "./content/content-lanes.ts";

declare const contentIdBrand: unique symbol;
/** `[prefix letter g..z]` + lower-case hex of the hash. */
export type ContentId = string & { readonly [contentIdBrand]: true };

export interface ContentInfo {
  readonly id: ContentId;
  readonly packBlobId: string;
  readonly packOffset: number;
  /** Bytes as stored. */
  readonly packedLength: number;
  /** Bytes before compression and encryption. */
  readonly originalLength: number;
  /** Header id, 0 when not compressed. */
  readonly compressionId: number;
  readonly timestampSeconds: number;
  readonly deleted: boolean;
  readonly formatVersion: number;
}

export interface ReadContentOptions {
  /**
   * About so many bytes around a small content are fetched with it and kept, since its neighbours in the pack are likely to be wanted, too: a power of two up to 1 MiB that is enough.
   * 0 for one that is wanted alone. @default 1 MiB
   */
  readonly aroundBytes?: number;
}

export interface ContentReader {
  /** The plaintext, decompressed. Throws REPO_CONTENT_NOT_FOUND, REPO_CORRUPT (naming content and pack). Refreshes the index once before giving up. */
  get(id: ContentId, signal?: AbortSignal, options?: ReadContentOptions): Promise<Uint8Array>;
  /** What the index says, or undefined. Memory only, once the index is open. */
  info(id: ContentId): ContentInfo | undefined;
  /** Whether a content with this key (a byte 0 and the hash, for file data) is there and not deleted: `info` without making text and objects. */
  hasKey?(key: Uint8Array): boolean;
  /** Every content of a prefix class (`undefined`: all), by id; deleted ones only when asked for. */
  list(options?: { readonly prefix?: string; readonly includeDeleted?: boolean }): IterableIterator<ContentInfo>;
  /** Loads index changes of other writers. */
  refresh(signal?: AbortSignal): Promise<void>;
  /** Contents as they lie in packs; undefined where they lie in none. */
  readonly packed?: PackedContents;
}

/** For readers that plan their order: they fetch ranges with many contents at once, and decode them in threads of their own. */
export interface PackedContents {
  /**
   * Bytes of a pack as they are stored, past every cache. `into` is memory of exactly that length which the answer may be put into.
   * Throws BLOB_NOT_FOUND when the pack is gone or not yet stored, REPO_CORRUPT when it is too short.
   */
  readRange(packBlobId: string, offset: number, length: number, options?: { readonly signal?: AbortSignal; readonly into?: Uint8Array }): Promise<Uint8Array>;
  /** What `createContentDecoder` needs, in any thread: it holds the keys of the repository and is kept in memory only. */
  readonly decoderOptions: ContentDecoderOptions;
  /** Bytes fetched so far for indexes and for single contents, blocks around them included. */
  readonly bytesFetched: number;
}

/** How contents of a repository are encoded, with its keys. Made of what `structuredClone` copies. */
export interface ContentDecoderOptions {
  readonly hash: string;
  readonly secret: Uint8Array;
  readonly encryption: string;
  readonly masterKey: Uint8Array;
  readonly ecc: string;
  readonly eccOverheadPercent: number;
  readonly indexVersion: number;
}

export interface WriteContentOptions {
  /** One letter g..z: `k` directories, `x` indirect lists, `m` manifests; none for file data. */
  readonly prefix?: string;
  /** Name of a compressor; stored raw when that is not shorter. */
  readonly compressor?: string;
}

/** Contents that were hashed, and compressed if at all, elsewhere. */
export interface ReadyContents {
  readonly prefix: string;
  /** One behind the other. */
  readonly hashes: Uint8Array;
  /** As they are to be sealed: with a header where they are compressed, which were then expanded and compared with what they had been made of. */
  readonly payloads: ByteRanges;
  /** Bytes of each before compression, and the id of its header, or 0. */
  readonly originalLengths: Uint32Array;
  readonly compressionIds: Uint32Array;
}

export interface WrittenContent {
  readonly id: ContentId;
  /** False when the content was there already. */
  readonly isNew: boolean;
  /** Bytes added to the pack; 0 when deduplicated. */
  readonly packedLength: number;
}

export interface ContentWriter extends ContentReader {
  /** Of those keys of file data, one behind the other, how many come first whose contents are stored. Present with `hasKey`. */
  storedKeys?(keys: Uint8Array, count: number): number;
  /** Bytes of a key of file data. Present with `hasKey`. */
  readonly keyBytes?: number;
  /** Lanes for one writer of file data; absent where contents do not lie in packs. */
  openLanes?(): ContentLanes;
  /** Damaged parts of stored bytes that error correction put right since opening: the storage has lost them. */
  readonly repairedShards: number;
  /**
   * Stores a content unless it is there. `data` is fully read before the call returns its promise, so the caller may reuse the memory at once;
   * the promise is the back-pressure: it resolves when there is room for more.
   */
  write(data: Uint8Array, options?: WriteContentOptions, signal?: AbortSignal): Promise<WrittenContent>;
  /** What names contents here. Present where `writeReady` is. */
  readonly hasher?: Pick<ContentHasher, "digestBytes" | "blake2bKey">;
  /** Whether `writeReady` may be called: not with error correction, whose contents are sealed one by one, and where nothing is read back. */
  readonly takesReady?: boolean;
  /**
   * The same as `write` of contents that others have made ready: what of them was there already, and what was added to packs, in bytes. Their memory is not to be touched before it has
   * resolved. Absent where contents do not lie in packs.
   */
  writeReady?(contents: ReadyContents, signal?: AbortSignal): Promise<{ readonly knownBytes: number; readonly packedBytes: number }>;
  /** Marks a content deleted. */
  delete(id: ContentId): Promise<void>;
  /** Uploads open packs, then the index blobs that make them exist. What was written before a flush is durable after it. */
  flush(signal?: AbortSignal): Promise<void>;
}
