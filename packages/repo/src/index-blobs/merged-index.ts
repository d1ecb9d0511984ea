/**
 * Many indexes as one. A lookup asks each of them; so that this stays cheap with hundreds of small ones, all but the largest few are merged into one,
 * in the stored form, the first time somebody looks.
 */
import { compareBytes } from "@drayage/base";
import { decodeIndex } from "./index-codec.ts";
import { IndexV2Builder } from "./index-v2.ts";
import { findEntry, type IndexEntry, lowerBound, type PackIndex, prevails } from "./pack-index.ts";

/** So many indexes are asked one by one; more are merged. */
const SEPARATE_MAX = 6;

export class MergedIndex {
  #parts: readonly PackIndex[];
  #compacted = false;

  constructor(parts: readonly PackIndex[]) {
    this.#parts = parts;
  }

  /** Entries in all, duplicates counted. */
  get entryCount(): number {
    return this.#parts.reduce((sum, part) => sum + part.entryCount, 0);
  }

  /** Memory that the parts keep. */
  get byteLength(): number {
    return this.#parts.reduce((sum, part) => sum + part.byteLength, 0);
  }

  /** The entry that holds for a key, deleted ones included. */
  find(key: Uint8Array): IndexEntry | undefined {
    let winner: IndexEntry | undefined;
    for (const part of this.#compact()) {
      const entry = findEntry(part, key);
      if (entry !== undefined && (winner === undefined || prevails(entry, winner))) winner = entry;
    }
    return winner;
  }

  /** The entries that hold, deleted ones included, in order of their keys; only keys whose first byte is `firstByte`, where it is given. */
  entries(firstByte?: number): IterableIterator<IndexEntry> {
    return mergeEntries(this.#compact(), firstByte);
  }

  #compact(): readonly PackIndex[] {
    if (this.#compacted) return this.#parts;
    this.#compacted = true;
    if (this.#parts.length > SEPARATE_MAX) {
      const bySize = this.#parts.toSorted((a, b) => b.entryCount - a.entryCount);
      const small = bySize.slice(SEPARATE_MAX - 1).filter((part) => part.entryCount > 0);
      const merged = mergeToIndex(small);
      this.#parts = merged === undefined ? bySize.slice(0, SEPARATE_MAX - 1) : [...bySize.slice(0, SEPARATE_MAX - 1), merged];
    }
    return this.#parts;
  }
}

/** One index that says what these say together; undefined when they say nothing. */
export function mergeToIndex(parts: readonly PackIndex[]): PackIndex | undefined {
  const keyBytes = parts[0]?.keyBytes;
  if (keyBytes === undefined) return undefined;
  const builder = new IndexV2Builder(
    keyBytes,
    parts.reduce((sum, part) => sum + part.entryCount, 0),
  );
  for (const entry of mergeEntries(parts)) builder.add(entry);
  return builder.entryCount === 0 ? undefined : decodeIndex(builder.build());
}

/** A part and how far its entries were taken. */
interface Cursor {
  readonly part: PackIndex;
  position: number;
  key: Uint8Array;
}

/** Merges sorted parts through a heap of one cursor each; of entries with one key the one that prevails comes out. */
export function* mergeEntries(parts: readonly PackIndex[], firstByte?: number): IterableIterator<IndexEntry> {
  const heap: Cursor[] = [];
  for (const part of parts) {
    const position = firstByte === undefined ? 0 : lowerBound(part, Uint8Array.of(firstByte));
    if (position < part.entryCount) siftUp(heap, { part, position, key: part.keyAt(position) });
  }
  let pending: IndexEntry | undefined;
  for (let top = heap[0]; top !== undefined; top = heap[0]) {
    if (firstByte !== undefined && top.key[0] !== firstByte) break;
    const entry = top.part.entryAt(top.position);
    if (pending !== undefined && compareBytes(pending.key, entry.key) === 0) {
      if (prevails(entry, pending)) pending = entry;
    } else {
      if (pending !== undefined) yield pending;
      pending = entry;
    }
    advance(heap, top);
  }
  if (pending !== undefined) yield pending;
}

function advance(heap: Cursor[], top: Cursor): void {
  top.position++;
  if (top.position < top.part.entryCount) {
    top.key = top.part.keyAt(top.position);
    siftDown(heap, top);
    return;
  }
  const last = heap.pop();
  if (last !== undefined && last !== top) siftDown(heap, last);
}

function siftUp(heap: Cursor[], cursor: Cursor): void {
  let at = heap.length;
  heap.push(cursor);
  while (at > 0) {
    const above = (at - 1) >>> 1;
    const parent = heap[above];
    if (parent === undefined || compareBytes(parent.key, cursor.key) <= 0) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = cursor;
}

/** Puts a cursor at the top and lets it sink to its place. */
function siftDown(heap: Cursor[], cursor: Cursor): void {
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const a = heap[left];
    const b = heap[left + 1];
    const smaller = b !== undefined && a !== undefined && compareBytes(b.key, a.key) < 0 ? left + 1 : left;
    const child = heap[smaller];
    if (child === undefined || compareBytes(cursor.key, child.key) <= 0) break;
    heap[at] = child;
    at = smaller;
  }
  heap[at] = cursor;
}
