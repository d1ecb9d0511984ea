/**
 * The committed index for the workers of a process: a handle that `postMessage` clones, made of shared memory, and lookups over it that never wait.
 *
 *   main thread   const handle = contents.shareIndex()       after every refresh and flush that the worker must know of
 *   worker        const index = attachIndex(handle)          index.find(key) · index.close() before the next one is attached
 *
 * A handle is a snapshot: what is committed afterwards is in the next one. What lies in files is opened by their path: attaching throws BLOB_UNAVAILABLE
 * when a file has gone since the handle was made, and a fresh handle helps. The handle keeps no file open: attach before the main thread refreshes again.
 * Each attached index has a small cache of blocks of its own (`blockBytesMax`), everything else is shared.
 */
import { fstatSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { BlockCache } from "./block-cache.ts";
import { decodeIndex } from "./index-codec.ts";
import { KeyFilter } from "./key-filter.ts";
import { MemoryIndex } from "./memory-index.ts";
import { findEntry, type IndexEntry, type PackIndex, prevails } from "./pack-index.ts";
import { formatOfRun, openForReading, type RunFile, type RunParts } from "./run-file.ts";
import { RunIndex } from "./run-index.ts";

/** One sorted part of an index: in memory, or in a file. */
export type SharedPart = SharedMemoryPart | SharedFilePart;

interface SharedMemoryPart {
  readonly kind: "memory";
  /** The index as it is stored. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly filter?: SharedArrayBuffer;
}

interface SharedFilePart {
  readonly kind: "file";
  readonly path: string;
  /** Which file it must be. */
  readonly identity: string;
  readonly parts: RunParts;
}

const DEFAULT_BLOCK_BYTES = 1 << 20;

export interface SharedIndex {
  readonly parts: readonly SharedPart[];
  /** Deletions up to this time, in unix seconds, are final. */
  readonly deletionWatermark: number;
}

/** Lookups over a handle, in whichever thread. */
export class AttachedIndex {
  readonly #parts: readonly (MemoryIndex | RunIndex)[];
  readonly #deletionWatermark: number;

  constructor(parts: readonly (MemoryIndex | RunIndex)[], deletionWatermark: number) {
    this.#parts = parts;
    this.#deletionWatermark = deletionWatermark;
  }

  /** The entry that holds for a key (`keyOf` of a content id), deleted ones included unless their deletion is final. */
  find(key: Uint8Array): IndexEntry | undefined {
    const winner = findIn(this.#parts, key);
    return winner === undefined || (winner.deleted && winner.timestampSeconds <= this.#deletionWatermark) ? undefined : winner;
  }

  /** Whether any key may begin with this byte: a quick look, which says yes where it is not known. */
  mayHavePrefix(firstByte: number): boolean {
    return this.#parts.some((part) => part.mayHavePrefix(firstByte));
  }

  /** Whether a content needs not be written again. */
  has(key: Uint8Array): boolean {
    return isHeldBy(this.#parts, key);
  }

  /** Gives back what attaching opened. */
  close(): void {
    for (const part of this.#parts) if (part instanceof RunIndex) part.file.close();
  }
}

/** Opens a handle in this thread. Throws BLOB_UNAVAILABLE when a file of it has gone. */
export function attachIndex({ parts, deletionWatermark }: SharedIndex, options: { readonly blockBytesMax?: number } = {}): AttachedIndex {
  const cache = new BlockCache(options.blockBytesMax ?? DEFAULT_BLOCK_BYTES);
  const opened: (MemoryIndex | RunIndex)[] = [];
  try {
    for (const part of parts) opened.push(part.kind === "memory" ? attachMemory(part) : attachFile(part, cache));
  } catch (error) {
    new AttachedIndex(opened, 0).close();
    throw error;
  }
  return new AttachedIndex(opened, deletionWatermark);
}

function attachMemory({ bytes, filter }: SharedMemoryPart): MemoryIndex {
  const index = decodeIndex(bytes);
  return filter === undefined ? index : new MemoryIndex(bytes, index.format, new KeyFilter(filter));
}

function attachFile({ path, identity, parts }: SharedFilePart, cache: BlockCache): RunIndex {
  const gone = (cause?: unknown): DrayError =>
    new DrayError("BLOB_UNAVAILABLE", `Cannot open the shared index at "${path}": the file is another one by now`, {
      cause,
      hint: "Share the index anew, and attach that.",
    });
  let file: RunFile;
  try {
    file = openForReading(path);
  } catch (cause) {
    throw gone(cause);
  }
  if (identityOf(file.fd) === identity) return new RunIndex(file, formatOfRun(file, parts.indexBytes), parts, cache);
  file.close();
  throw gone();
}

/** What no other file has while this one is open. */
function identityOf(fd: number): string {
  const { dev, ino, size } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}:${size}`;
}

/** An index as a part of a handle. */
export function sharedPart(index: MemoryIndex | RunIndex): SharedPart {
  if (index instanceof RunIndex) {
    const { file, parts } = index;
    return { kind: "file", path: file.sharedPath, identity: identityOf(file.fd), parts };
  }
  const { bytes, filter } = index;
  return { kind: "memory", bytes: inSharedMemory(bytes), ...(filter === undefined ? {} : { filter: filter.memory }) };
}

/** The same bytes where all threads of the process see them. */
export function inSharedMemory(bytes: Uint8Array): Uint8Array<SharedArrayBuffer> {
  if (bytes.buffer instanceof SharedArrayBuffer) return bytes as Uint8Array<SharedArrayBuffer>;
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
}

/** Whether the entry that holds over several indexes is one of a content that is not deleted. Nearly every key is in one of them: then no entry is made. */
export function isHeldBy(parts: readonly PackIndex[], key: Uint8Array): boolean {
  return isHeldAt(parts, key, 0, key.length);
}

/** The same of a key of `keyBytes` bytes that begins at `keyAt`. */
export function isHeldAt(parts: readonly PackIndex[], keys: Uint8Array, keyAt: number, keyBytes: number): boolean {
  let only: PackIndex | undefined;
  let position = -1;
  for (const part of parts) {
    const found = part.keyBytes === keyBytes ? part.findAt(keys, keyAt) : -1;
    if (found === -1) continue;
    if (only !== undefined) return findIn(parts, keys.subarray(keyAt, keyAt + keyBytes))?.deleted === false;
    only = part;
    position = found;
  }
  return only !== undefined && !only.isDeletedAt(position);
}

/** The entry that holds over several indexes. */
export function findIn(parts: readonly PackIndex[], key: Uint8Array): IndexEntry | undefined {
  let winner: IndexEntry | undefined;
  for (const part of parts) {
    const entry = findEntry(part, key);
    if (entry !== undefined && (winner === undefined || prevails(entry, winner))) winner = entry;
  }
  return winner;
}
