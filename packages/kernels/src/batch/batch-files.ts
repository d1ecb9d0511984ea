/**
 * Directories and small files many at a time. A call for each file of a million costs more than the file: here one call lists a directory, one examines a stretch of its
 * entries, one reads files until a buffer is full.
 *
 * Names are bytes, one behind the other; `ends[i]` is where name i ends. Facts come in rows of a Float64Array, ROW_SLOTS numbers each; three of them are 64-bit words, which a
 * BigUint64Array over the same memory reads. native/files.h has the same layout.
 */
import type { RawPath } from "../types.ts";

export interface DirectoryNames {
  readonly names: Uint8Array;
  readonly ends: Uint32Array;
  /** So many come first that were directories; each part is in the order of bytes. */
  readonly directories: number;
  /** Whether all others were regular files when the directory was read. @default it is not known */
  readonly areFiles?: boolean;
}

export const ROW_SLOTS = 16;
/** Slots of a row. */
export const ROW = {
  /** 0, the number of an error, or one of FILE_STATUS. Without 0 the others mean nothing, where it is not said otherwise. */
  status: 0,
  mode: 1,
  size: 2,
  seconds: 3,
  nanoseconds: 4,
  uid: 5,
  gid: 6,
  links: 7,
  blocks: 8,
  attributes: 9,
  /** 64-bit words. */
  inode: 10,
  device: 11,
  special: 12,
  /** Of a file that was read: where its bytes begin in the arena, how many there are, and 1 when more were there than its size says. */
  start: 13,
  length: 14,
  grew: 15,
} as const;

/** Why a file was not read; its facts are in the row of the latter two. */
export const FILE_STATUS = { notRegular: -1, tooLarge: -2, hasHoles: -3 } as const;
/** What a row says of extended attributes besides `security.selinux`, which means nothing elsewhere. */
export const ATTRIBUTES = { none: 0, some: 1, unknown: 2 } as const;

/** Text of a parent's listing, from where its next entry begins. */
export interface ParentText {
  readonly bytes: Uint8Array;
  readonly at: number;
}

/** What is said of an entry beside a parent's listing, in so many words: its state, and where in the parent's text the entry of that name is, from its brace to behind the other. */
export const COMPARED_SLOTS = 3;
export const COMPARED = { state: 0, start: 1, end: 2 } as const;
/**
 * `same`: a regular file with one name, no attributes and no holes, in every byte of its text, with the id of one content and nothing more. `other`: there is an entry of that name,
 * not of a directory; whoever decodes it may find that it says the same. `absent`: there is none.
 */
export const COMPARED_STATE = { absent: 0, same: 1, other: 2 } as const;
/** Slots of a run: entries [from, to) that are the same and follow each other in the parent's text, too; of their files the bytes and the newest time of a change. */
export const RUN_SLOTS = 7;
export const RUN = { from: 0, to: 1, start: 2, end: 3, bytes: 4, seconds: 5, nanoseconds: 6 } as const;
/**
 * Slots of what is found: of how many entries something is said, where the parent's text goes on, how many are the same, in how many runs, and 1 when the parent's last entry was
 * passed. Of a directory also 1 when its parent's listing is the one that it would have, how many entries it has, its descriptor or -1, and its own row. Of one whose listing was
 * written anew, how many files were read for it, the bytes of its text, which are 0 where it was not, and of its payload, and all of its files' bytes and the newest time of a change.
 */
export const FOUND = {
  ...{ done: 0, at: 1, same: 2, runs: 3, ended: 4, whole: 5, count: 6, fd: 7, row: 8 },
  ...{ changed: 24, text: 25, payload: 26, bytes: 27, seconds: 28, nanoseconds: 29 },
} as const;
export const FOUND_SLOTS = 30;

/** Where calls that compare write what they find: memory that is made once, for so many entries as each of its arrays has room for. */
export interface Compared {
  readonly rows: Float64Array;
  /** Keys of contents, a zero and a hash, of those that are the same, in order. */
  readonly keys: Uint8Array;
  readonly entries: Uint32Array;
  readonly runs: Float64Array;
  readonly found: Float64Array;
}

export interface ComparedDirectory extends Compared {
  readonly names: Uint8Array;
  readonly ends: Uint32Array;
  /** Where the listing may be written anew, and how: only the addon does that. */
  readonly rewritten?: RewrittenDirectory | undefined;
}

/** How a listing is written anew where a few of its files have changed. */
export interface RewriteOptions {
  /** Of keyed BLAKE2b, and the bytes of its digests that are kept: contents are named by them. */
  readonly key: Uint8Array;
  readonly digestBytes: number;
  /** Of zstd for the listing; 0: it is not compressed. */
  readonly level: number;
  /** Files of so many bytes are too large. Below 2^32. */
  readonly bytesMax: number;
}

/**
 * Memory for the listing of a directory, written anew, and for the files that are not as the parent has them: their bytes, where each begins and behind all of those how long each is,
 * and their hashes with that of the listing behind the last. The payload has room for a header in front, as what is compressed is stored.
 */
export interface RewrittenDirectory extends RewriteOptions {
  readonly data: Uint8Array;
  readonly ranges: Uint32Array;
  readonly hashes: Uint8Array;
  readonly text: Uint8Array;
  readonly payload: Uint8Array;
}

/** Room for the usual: more files, or larger ones, are quicker read by threads side by side. */
export const REWRITTEN_FILES_MAX = 32;
const REWRITTEN_DATA_BYTES = 256 << 10;
const REWRITTEN_TEXT_BYTES = 192 << 10;

/** Of a name in a directory. */
const NAME_BYTES_MAX = 255;

/** Memory for comparing up to `count` entries, with keys of `keyBytes` bytes. @param rewrite - how listings are written anew; undefined where they are not */
export function comparedMemory(count: number, keyBytes: number, rewrite?: RewriteOptions): ComparedDirectory {
  return {
    ...(rewrite === undefined ? {} : { rewritten: rewrittenMemory(rewrite) }),
    rows: new Float64Array(count * ROW_SLOTS),
    keys: new Uint8Array(count * keyBytes),
    entries: new Uint32Array(count * COMPARED_SLOTS),
    runs: new Float64Array(count * RUN_SLOTS),
    found: new Float64Array(FOUND_SLOTS),
    names: new Uint8Array(count * NAME_BYTES_MAX),
    ends: new Uint32Array(count),
  };
}

function rewrittenMemory(options: RewriteOptions): RewrittenDirectory {
  return {
    ...options,
    data: new Uint8Array(REWRITTEN_DATA_BYTES),
    ranges: new Uint32Array(2 * REWRITTEN_FILES_MAX),
    hashes: new Uint8Array((REWRITTEN_FILES_MAX + 1) * options.digestBytes),
    text: new Uint8Array(REWRITTEN_TEXT_BYTES),
    payload: new Uint8Array(REWRITTEN_TEXT_BYTES),
  };
}

export type DirectoryCall = Readonly<Parameters<BatchFiles["compareDirectory"]>>;

/**
 * Calls of compareDirectory that other threads make beside this one, where there are any: each in a place of its own, in the order in which they were put there. Nothing of what a call
 * was given may be touched, nor its `fd` be closed, before it was finished or dropped; its place is free then.
 */
export interface ComparisonQueue {
  put(place: number, call: DirectoryCall): void;
  /** What the call returns. Made here where nobody has begun it; while another thread is at it, others of the queue are made meanwhile. */
  finish(place: number): boolean;
  /** The same of one that nobody wants: false where nobody had begun it. */
  drop(place: number): boolean;
}

/**
 * A look at the directories of a tree by another thread, where there is one, in the order of a walk, before it is known what to compare them with. A queue that is given it does not
 * look again at what is in a directory of files that was seen, once, where the directory has not changed since; of its files it says what they were then.
 */
export interface DirectoryScan {
  /** Ends it where it is. */
  stop(): void;
  /** Ends it and forgets what nobody has asked for. */
  drop(): void;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
}

export interface DirectoryScanOptions {
  readonly attributes: boolean;
  /** What it may keep. Below 2^32. */
  readonly bytesMax: number;
}

/** How files are read. */
export interface ReadFilesOptions {
  /** Asks for attributes, too. */
  readonly attributes: boolean;
  /** Files of so many bytes are too large. Below 2^32. */
  readonly bytesMax: number;
}

export interface BatchFiles {
  /** The names in an open directory. Throws an error with `code`, as node:fs does. */
  listDirectory(fd: number): DirectoryNames;
  /** The facts of entries [from, to), themselves and not what they link to, into rows from 0 on. `attributes` asks for them, too. */
  statEntries(fd: number, names: DirectoryNames, range: { readonly from: number; readonly to: number }, attributes: boolean, rows: Float64Array): void;
  /**
   * Reads the picked entries that are regular files, without following links, into the arena, as far as there is room; how many of the picks were dealt with. Row i is that of
   * pick i. A file is read to its size at opening; one with holes is left out, and so is one that is too large, or that the whole arena does not hold with a byte more.
   */
  readFiles(fd: number, names: DirectoryNames, picks: Uint32Array, options: ReadFilesOptions, rows: Float64Array, arena: Uint8Array): number;
  /**
   * The text of each picked regular file's entry in a listing, up to its object id: `{"name":…,"obj":"`. One that takes more than plain text has no bytes here.
   * `outEnds[i]` is where entry i ends in `out`; how many there was room for comes back.
   */
  encodeEntries(names: DirectoryNames, picks: Uint32Array, rows: Float64Array, out: Uint8Array, outEnds: Uint32Array): number;
  /**
   * The entries of those of the files [from, to) that were stored, whole, with a comma between each two, into `out` from `at` on; with one in front where that is not its beginning.
   * Row and hash 0 are those of file `from`; status 0 is one that was stored. `outEnds[i]` is where that of file i ends. Where they end comes back, or -1 where one of them takes more
   * than plain text, or room: then what is there means nothing.
   */
  encodeStored(
    names: DirectoryNames,
    range: { readonly from: number; readonly to: number },
    rows: Float64Array,
    hashes: { readonly bytes: Uint8Array; readonly digestBytes: number },
    text: { readonly out: Uint8Array; readonly at: number; readonly outEnds: Uint32Array },
  ): number;
  /**
   * What a parent's listing has of the names [from, to), whose rows are in `into` from 0 on; names and listing are in one order. It goes as far as the text is there and is in the
   * form that this program and Kopia write, with names that need no escapes: `found` says how far. Nothing in the text is trusted.
   */
  compareEntries(names: DirectoryNames, range: { readonly from: number; readonly to: number }, parent: ParentText, keyBytes: number, into: Compared): void;
  /**
   * The same of everything in a directory of an open directory, which is opened, listed and examined for it. False where it cannot be told: the directory cannot be opened or read,
   * has a directory in it, more entries than there is room for, or one of the names to avoid; or `parent`, which is a whole listing, is not in the usual form throughout. When it is
   * told and the directory is not as its parent's listing in every byte, its open descriptor is the caller's.
   * Where `into` has memory for it the addon also reads the files that the parent does not have as they are, and writes the listing anew; but for a directory with attributes, and where
   * a file has attributes, holes, several names or a name that takes an escape, failed, was written to meanwhile, or is one of too many: then `found` says that there is none. Of one that was written anew no descriptor is left.
   * @param avoid - names, each with a slash behind it
   */
  compareDirectory(
    fd: number,
    name: Uint8Array,
    options: { readonly attributes: boolean; readonly avoid: Uint8Array },
    parent: Uint8Array,
    keyBytes: number,
    into: ComparedDirectory,
  ): boolean;
  /** A queue of so many places, for which so many threads beside this one may work at a time. @param scan - of the same build */
  comparisonQueue(places: number, threads: number, scan?: DirectoryScan): ComparisonQueue;
  /** Begins to look at a directory and those below it, on the same file system. What cannot be read is left to the walk. */
  scanDirectories(path: RawPath, options: DirectoryScanOptions): DirectoryScan;
}

/** The bytes of one name. */
export function nameBytes({ names, ends }: DirectoryNames, index: number): Uint8Array {
  return names.subarray(index === 0 ? 0 : ends[index - 1], ends[index]);
}

/** The path by which calls without an `at` form reach into an open directory of this process. */
export function directoryPrefix(fd: number): string {
  return `/proc/self/fd/${fd}/`;
}
