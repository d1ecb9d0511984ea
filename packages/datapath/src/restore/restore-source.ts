/**
 * What a planned restore needs of a repository, whatever its format: the tree in order, where each file's contents lie, ranges of packs, and how a content is decoded.
 * `KopiaSource` is one; another format becomes restorable by giving one.
 *
 *   list ─► entries in order ─► pieces of each file ─┐
 *                                                    ├─► a window: contents by pack and offset, neighbours in one range ─► readRange ─► decoder (in threads) ─► written
 *                                                    └─► ranges that fail are read content by content with readContent, so that one damaged content costs its files only
 *
 * Contract:
 * - Entries and pieces are asked for one after the other, by one caller, in tree order. What they say is checked: names, lengths and order are not trusted.
 * - `pieces`, `list` and `readContent` throw REPO_CORRUPT or REPO_CONTENT_NOT_FOUND for what is damaged: the entry is then reported and, when it is to go on, left out.
 *   Every other error (BLOB_*, an aborted signal's reason) ends the restore.
 * - `readRange` and `readContent` run side by side, as many as the restore's memory holds. They do not retry: the storage below does.
 * - `into` is an offer of memory that is exactly as long as the answer. Who takes it gives back that very array; who does not gives an array of its own. The memory may be shared
 *   between threads, and belongs to the caller again when the promise has settled.
 * - A decoder belongs to one thread and serves one call at a time. `worker` says how another thread makes its own: its module exports `createDecoder(options)`; the options are
 *   copied to the thread, hold keys, and go nowhere else. Where there is none everything is decoded in the calling thread.
 */
import type { SealedContents } from "@drayage/kernels";
import type { Hole, SpecialKind, StoredAttribute } from "@drayage/repo";

export type RestoreEntryType = "file" | "directory" | "symlink" | SpecialKind;

/** One entry of the tree. `Ref` is the source's own: how it finds the entry's listing or pieces again. */
export interface RestoreEntry<Ref = unknown> {
  /** A byte string: one character a byte. */
  readonly name: string;
  readonly type: RestoreEntryType;
  /** The low 12 bits of st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  /** Bytes of a file or of a link's target. */
  readonly size: number;
  readonly ref: Ref;
  /** Where the format keeps a link's target in the listing; otherwise its pieces are the target. */
  readonly linkTarget?: Uint8Array;
  /** Of devices. */
  readonly device?: { readonly major: number; readonly minor: number };
  /** Entries of one tree with the same text are names of one file. */
  readonly linkGroup?: string;
  /** In order, within the size. Data that lies in one is written all the same unless it is zeros. */
  readonly holes?: readonly Hole[];
  readonly xattrs?: readonly StoredAttribute[];
  /** Of a directory: how many entries at any depth are not in it because they could not be read when it was stored. Undefined for none, and where the format does not count them. */
  readonly missing?: number;
}

/** Where a content lies. */
export interface ContentRef {
  /** Names the content in its repository; equal ids are equal bytes. */
  readonly id: string;
  /** The blob it lies in. Undefined when only `readContent` gets it. */
  readonly pack: string | undefined;
  readonly offset: number;
  /** Bytes as stored. */
  readonly length: number;
  /** Bytes after decoding. */
  readonly originalLength: number;
  /** What the decoder has to know besides, as the source likes it. @example the id of a compression */
  readonly form: number;
}

/** A stretch of a file: one whole content. */
export interface Piece {
  /** Where in the file. */
  readonly offset: number;
  readonly content: ContentRef;
}

export interface SourceListing<Ref> {
  /** The entries in order, some at a time; each directory is gone into before the entries after it. */
  batches(): AsyncIterable<readonly RestoreEntry<Ref>[]>;
  /** The directory's own extended attributes, once the batches were read. */
  readonly xattrs: readonly StoredAttribute[];
  /** As `missing` of the directory's entry, once the batches were read, where the listing says it by itself. */
  readonly missing?: number;
}

export interface ReadRangeOptions {
  readonly signal?: AbortSignal;
  readonly into?: Uint8Array;
}

export interface RestoreSource<Ref = unknown> {
  list(directory: RestoreEntry<Ref>, signal?: AbortSignal): SourceListing<Ref>;
  /** The pieces of a file or of a link's target, in order and without gaps; none for what is empty. An array where that is cheap: most files have one piece. */
  pieces(entry: RestoreEntry<Ref>, signal?: AbortSignal): readonly Piece[] | AsyncIterable<Piece>;
  /** Exactly these bytes of a pack. Throws BLOB_NOT_FOUND or REPO_CORRUPT when they are not there. */
  readRange(pack: string, offset: number, length: number, options?: ReadRangeOptions): Promise<Uint8Array>;
  /** One content, decoded, by whatever way there is: also when the pack that was named has gone and another one has it. */
  readContent(content: ContentRef, signal?: AbortSignal): Promise<Uint8Array>;
  /** A decoder for the calling thread. */
  createDecoder(): Promise<ContentDecoder>;
  readonly worker: DecoderModule | undefined;
  /** Whether ranges come from nearby, so that one ahead keeps writers busy. */
  readonly isLocal?: boolean;
  /** How long ranges are at most, where the decoder gains by more contents at once than ordinary ranges hold. */
  readonly rangeBytes?: number;
  /** How many bytes of contents are planned at once at most, where neighbours in a pack are far from each other in the tree. */
  readonly windowBytes?: number;
  /** Bytes fetched for listings, single contents and what had to be looked up since the source was made: everything but ranges. */
  readonly bytesFetched: number;
}

/** How a thread makes a decoder. */
export interface DecoderModule {
  /** URL of a module that exports `createDecoder: CreateDecoder`. */
  readonly module: string;
  /** What `structuredClone` can copy. */
  readonly options: unknown;
}

export type CreateDecoder = (options: unknown) => Promise<ContentDecoder>;

export interface ContentDecoder {
  /**
   * The plaintext of a stored content: a view of `scratch`, which has room for `length` and for `originalLength` bytes, or an array of its own; valid until the next call.
   * Throws REPO_CORRUPT naming the content, also when the plaintext has another length than was stated.
   */
  decode(stored: Uint8Array, content: StoredContent, scratch: Uint8Array): Uint8Array;
  /**
   * Decodes contents of one range side by side, where that is faster than one after the other: forms are in the last column, ids are hashes. `done` says which lie in `out` now,
   * whole and genuine; the others are decoded by themselves.
   */
  readonly decodeMany?: (contents: SealedContents) => void;
  /** Whether the plaintext is what its id says, where ids are hashes of it. */
  isGenuine(plain: Uint8Array, id: string): boolean;
  /** Damaged parts of stored bytes that error correction put right so far, where the format has any. */
  readonly repairedShards?: number;
}

export type StoredContent = Pick<ContentRef, "id" | "originalLength" | "form"> & { readonly pack: string };
