/**
 * Directories and small files many at a time. A call for each file of a million costs more than the file: here one call lists a directory, one examines a stretch of its
 * entries, one reads files until a buffer is full.
 *
 * Names are bytes, one behind the other; `ends[i]` is where name i ends. Facts come in rows of a Float64Array, ROW_SLOTS numbers each; three of them are 64-bit words, which a
 * BigUint64Array over the same memory reads. native/files.h has the same layout.
 */

export interface DirectoryNames {
  readonly names: Uint8Array;
  readonly ends: Uint32Array;
  /** So many come first that were directories; each part is in the order of bytes. */
  readonly directories: number;
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

export interface BatchFiles {
  /** The names in an open directory. Throws an error with `code`, as node:fs does. */
  listDirectory(fd: number): DirectoryNames;
  /** The facts of entries [from, to), themselves and not what they link to, into rows from 0 on. `attributes` asks for them, too. */
  statEntries(fd: number, names: DirectoryNames, range: { readonly from: number; readonly to: number }, attributes: boolean, rows: Float64Array): void;
  /**
   * Reads the picked entries that are regular files, without following links, into the arena, as far as there is room; how many of the picks were dealt with. Row i is that of
   * pick i. A file is read to its size at opening; one with holes is left out, and so is one that the whole arena does not hold with a byte more.
   */
  readFiles(fd: number, names: DirectoryNames, picks: Uint32Array, attributes: boolean, rows: Float64Array, arena: Uint8Array): number;
  /**
   * The text of each picked regular file's entry in a listing, up to its object id: `{"name":…,"obj":"`. One that takes more than plain text has no bytes here.
   * `outEnds[i]` is where entry i ends in `out`; how many there was room for comes back.
   */
  encodeEntries(names: DirectoryNames, picks: Uint32Array, rows: Float64Array, out: Uint8Array, outEnds: Uint32Array): number;
}

/** The bytes of one name. */
export function nameBytes({ names, ends }: DirectoryNames, index: number): Uint8Array {
  return names.subarray(index === 0 ? 0 : ends[index - 1], ends[index]);
}

/** The path by which calls without an `at` form reach into an open directory of this process. */
export function directoryPrefix(fd: number): string {
  return `/proc/self/fd/${fd}/`;
}
