/**
 * The committed index for the workers of a process: a handle that `postMessage` clones, made of shared memory, and lookups over it that never wait.
 *
 *   main thread   const handle = contents.shareIndex()       after every refresh and flush that the worker must know of
 *   worker        const index = attachIndex(handle)          index.find(key) · index.close() before the next one is attached
 *
 * A handle is a snapshot: what is committed afterwards is in the next one. What lies in files is opened by their path: attaching throws BLOB_NOT_FOUND when
 * a file has gone since the handle was made, and a fresh handle helps.
 */
import { decodeIndex } from "./index-codec.ts";
import { KeyFilter } from "./key-filter.ts";
import { MemoryIndex } from "./memory-index.ts";
import { findEntry, type IndexEntry, type PackIndex, prevails } from "./pack-index.ts";

/** One sorted part of an index. */
export interface SharedPart {
  /** The index as it is stored. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly filter?: SharedArrayBuffer;
}

export interface SharedIndex {
  readonly parts: readonly SharedPart[];
  /** Deletions up to this time, in unix seconds, are final. */
  readonly deletionWatermark: number;
}

/** Lookups over a handle, in whichever thread. */
export class AttachedIndex {
  readonly #parts: readonly PackIndex[];
  readonly #deletionWatermark: number;

  constructor(parts: readonly PackIndex[], deletionWatermark: number) {
    this.#parts = parts;
    this.#deletionWatermark = deletionWatermark;
  }

  /** The entry that holds for a key (`keyOf` of a content id), deleted ones included unless their deletion is final. Its key is valid until the next call. */
  find(key: Uint8Array): IndexEntry | undefined {
    const winner = findIn(this.#parts, key);
    return winner === undefined || (winner.deleted && winner.timestampSeconds <= this.#deletionWatermark) ? undefined : winner;
  }

  /** Whether a content needs not be written again. */
  has(key: Uint8Array): boolean {
    return this.find(key)?.deleted === false;
  }

  /** Gives back what attaching opened. */
  close(): void {}
}

/** Opens a handle in this thread. Throws REPO_CORRUPT for one that is none. */
export function attachIndex({ parts, deletionWatermark }: SharedIndex): AttachedIndex {
  return new AttachedIndex(
    parts.map(({ bytes, filter }) => (filter === undefined ? decodeIndex(bytes) : withFilter(bytes, new KeyFilter(filter)))),
    deletionWatermark,
  );
}

/** An index in memory as a part of a handle. */
export function sharedPart(index: MemoryIndex): SharedPart {
  const { bytes, filter } = index;
  return { bytes: inSharedMemory(bytes), ...(filter === undefined ? {} : { filter: filter.memory }) };
}

/** The same bytes where all threads of the process see them. */
export function inSharedMemory(bytes: Uint8Array): Uint8Array<SharedArrayBuffer> {
  if (bytes.buffer instanceof SharedArrayBuffer) return bytes as Uint8Array<SharedArrayBuffer>;
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
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

function withFilter(bytes: Uint8Array, filter: KeyFilter): MemoryIndex {
  return new MemoryIndex(bytes, decodeIndex(bytes).format, filter);
}
