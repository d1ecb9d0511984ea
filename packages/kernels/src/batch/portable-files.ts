/** The calls of batch-files.ts by node:fs, one file after the other. */
import { type BigIntStats, closeSync, constants, type Dirent, fstatSync, lstatSync, opendirSync, openSync, readSync } from "node:fs";
import type { SystemCalls } from "../types.ts";
import {
  ATTRIBUTES,
  type BatchFiles,
  type ComparisonQueue,
  type DirectoryCall,
  type DirectoryNames,
  type DirectoryScan,
  directoryPrefix,
  FILE_STATUS,
  nameBytes,
  type ReadFilesOptions,
  ROW,
  ROW_SLOTS,
} from "./batch-files.ts";
import { compareDirectory, compareEntries } from "./portable-comparison.ts";

const BUFFERED_ENTRIES = 512;
const BLOCK_BYTES = 512n;
const NS_PER_S = 1_000_000_000n;
const OF_THE_NODE = "security.selinux";

export function portableFiles(system: SystemCalls): BatchFiles {
  const files: BatchFiles = {
    listDirectory,
    statEntries(fd, names, { from, to }, attributes, rows) {
      const words = new BigUint64Array(rows.buffer, rows.byteOffset, rows.length);
      for (let i = from; i < to; i++) {
        const at = (i - from) * ROW_SLOTS;
        const path = pathOf(fd, names, i);
        rows[at + ROW.status] = statusOf(() => {
          putFacts(rows, words, at, lstatSync(path, { bigint: true }));
          rows[at + ROW.attributes] = attributes ? attributesOf(system, path) : ATTRIBUTES.none;
          return 0;
        });
      }
    },
    readFiles(fd, names, picks, options, rows, arena) {
      const words = new BigUint64Array(rows.buffer, rows.byteOffset, rows.length);
      let used = 0;
      for (const [i, pick] of picks.entries()) {
        const at = i * ROW_SLOTS;
        const path = pathOf(fd, names, pick);
        rows[at + ROW.start] = used;
        rows[at + ROW.length] = 0;
        rows[at + ROW.grew] = 0;
        const status = statusOf(() => readOne(system, path, options, rows, words, at, arena.subarray(used)));
        // Too large for what is left, not for the arena: the next call has room.
        if (status === FILE_STATUS.tooLarge && used > 0 && (rows[at + ROW.size] ?? 0) < options.bytesMax) return i;
        rows[at + ROW.status] = status;
        if (status === 0) used += rows[at + ROW.length] ?? 0;
      }
      return picks.length;
    },
    // Text is made where the rest of the entry is.
    encodeEntries(_names, picks, _rows, _out, outEnds) {
      outEnds.fill(0, 0, picks.length);
      return picks.length;
    },
    encodeStored: () => -1,
    compareEntries,
    compareDirectory: (fd, name, options, parent, keyBytes, into) => compareDirectory(files, fd, name, options, parent, keyBytes, into),
    comparisonQueue: (places) => new PortableQueue(files, places),
    scanDirectories: () => NO_SCAN,
  };
  return files;
}

/** There are no threads for it. */
const NO_SCAN: DirectoryScan = { stop: () => undefined, drop: () => undefined, ended: Promise.resolve() };

/** There are no threads for it: whoever wants one of the comparisons makes it. */
class PortableQueue implements ComparisonQueue {
  readonly #files: BatchFiles;
  readonly #calls: (DirectoryCall | undefined)[];

  constructor(files: BatchFiles, places: number) {
    this.#files = files;
    this.#calls = Array.from({ length: places });
  }

  put(place: number, call: DirectoryCall): void {
    if (place >= this.#calls.length || this.#calls[place] !== undefined) throw new TypeError("a free place is wanted");
    this.#calls[place] = call;
  }

  finish(place: number): boolean {
    return this.#files.compareDirectory(...this.#take(place));
  }

  drop(place: number): boolean {
    this.#take(place);
    return false;
  }

  #take(place: number): DirectoryCall {
    const call = this.#calls[place];
    if (call === undefined) throw new TypeError("a place with a comparison is wanted");
    this.#calls[place] = undefined;
    return call;
  }
}

function listDirectory(fd: number): DirectoryNames {
  const directories: string[] = [];
  const others: string[] = [];
  let areFiles = true;
  // The types know text only, but names come in whatever encoding is asked for; as bytes, so that all of them survive.
  const handle = opendirSync(`${directoryPrefix(fd)}.`, { encoding: "buffer" as BufferEncoding, bufferSize: BUFFERED_ENTRIES });
  try {
    for (let entry = handle.readSync() as unknown as Dirent<Buffer> | null; entry !== null; entry = handle.readSync() as unknown as Dirent<Buffer> | null) {
      const isDirectory = entry.isDirectory();
      (isDirectory ? directories : others).push(entry.name.toString("latin1"));
      areFiles &&= isDirectory || entry.isFile();
    }
  } finally {
    handle.closeSync();
  }
  // Byte strings sort by bytes.
  const sorted = [...directories.sort(), ...others.sort()];
  const ends = new Uint32Array(sorted.length);
  let end = 0;
  for (const [i, name] of sorted.entries()) {
    end += name.length;
    ends[i] = end;
  }
  return { names: new Uint8Array(Buffer.from(sorted.join(""), "latin1")), ends, directories: directories.length, areFiles };
}

function pathOf(fd: number, names: DirectoryNames, index: number): Buffer {
  return Buffer.concat([Buffer.from(directoryPrefix(fd)), nameBytes(names, index)]);
}

/** What `work` gives, or the number of the error that it throws. */
function statusOf(work: () => number): number {
  try {
    return work();
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (typeof errno !== "number") throw error;
    return Math.abs(errno);
  }
}

function putFacts(rows: Float64Array, words: BigUint64Array, at: number, stat: BigIntStats): void {
  const nanoseconds = ((stat.mtimeNs % NS_PER_S) + NS_PER_S) % NS_PER_S;
  rows[at + ROW.mode] = Number(stat.mode);
  rows[at + ROW.size] = Number(stat.size);
  rows[at + ROW.seconds] = Number((stat.mtimeNs - nanoseconds) / NS_PER_S);
  rows[at + ROW.nanoseconds] = Number(nanoseconds);
  rows[at + ROW.uid] = Number(stat.uid);
  rows[at + ROW.gid] = Number(stat.gid);
  rows[at + ROW.links] = Number(stat.nlink);
  rows[at + ROW.blocks] = Number(stat.blocks);
  words[at + ROW.inode] = stat.ino;
  words[at + ROW.device] = stat.dev;
  words[at + ROW.special] = stat.rdev;
}

function attributesOf(system: SystemCalls, path: Uint8Array): number {
  try {
    return system.listXattrs(path).some(({ name }) => name !== OF_THE_NODE) ? ATTRIBUTES.some : ATTRIBUTES.none;
  } catch {
    return ATTRIBUTES.unknown;
  }
}

function readOne(
  system: SystemCalls,
  path: Buffer,
  { attributes, bytesMax }: ReadFilesOptions,
  rows: Float64Array,
  words: BigUint64Array,
  at: number,
  arena: Uint8Array,
): number {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) return FILE_STATUS.notRegular;
    putFacts(rows, words, at, stat);
    const size = Number(stat.size);
    if (size >= arena.length || size >= bytesMax) return FILE_STATUS.tooLarge;
    if (size > 0 && stat.blocks < (stat.size + BLOCK_BYTES - 1n) / BLOCK_BYTES && hasHoles(system, fd, size)) return FILE_STATUS.hasHoles;
    rows[at + ROW.attributes] = attributes ? attributesOf(system, path) : ATTRIBUTES.none;
    let done = 0;
    while (done < size) {
      // One byte more than there should be shows growth.
      const count = readSync(fd, arena, done, size - done + 1, done);
      if (count === 0) break;
      if (count > size - done) rows[at + ROW.grew] = 1;
      done += Math.min(count, size - done);
    }
    rows[at + ROW.length] = done;
    return 0;
  } finally {
    closeSync(fd);
  }
}

/** Reading shows whatever else is wrong with the file. */
/** Also where it cannot be told: it is asked again where the file is read by itself, and reading would name the disk for what is wrong with the file system. */
function hasHoles(system: SystemCalls, fd: number, size: number): boolean {
  try {
    const [first, ...others] = system.dataExtents(fd, size);
    return others.length > 0 || first?.offset !== 0 || first.length < size;
  } catch {
    return true;
  }
}
