/**
 * Many indexes as one. A lookup asks each segment; so that this stays cheap with hundreds of small indexes, all but the largest few are merged into one
 * segment, in the stored form, when somebody looks the next time. A segment remembers which blobs it speaks for.
 */
import { decodeIndex } from "./index-codec.ts";
import { IndexV2Builder } from "./index-v2.ts";
import type { MemoryIndex } from "./memory-index.ts";
import { compareKeys, findEntry, type IndexEntry, type IndexScan, type PackIndex, prevails } from "./pack-index.ts";

/** More segments than the first are merged down to the second. */
const SEGMENTS_MAX = 12;
const SEGMENTS_AFTER_MERGE = 4;

interface Segment {
  /** Names of the indexes that it stands for. */
  readonly names: ReadonlySet<string>;
  readonly index: PackIndex;
}

export class MergedIndex {
  #segments: Segment[] = [];

  /** Entries in all, duplicates counted. */
  get entryCount(): number {
    return this.#segments.reduce((sum, { index }) => sum + index.entryCount, 0);
  }

  /** Memory that the segments keep. */
  get byteLength(): number {
    return this.#segments.reduce((sum, { index }) => sum + index.byteLength, 0);
  }

  /** A view of its own over the same segments. */
  copy(): MergedIndex {
    const copy = new MergedIndex();
    copy.#segments = [...this.#segments];
    return copy;
  }

  has(name: string): boolean {
    return this.#segments.some(({ names }) => names.has(name));
  }

  add(name: string, index: PackIndex): void {
    this.#segments.push({ names: new Set([name]), index });
  }

  /** Forgets every segment that stands for an index which is not among these: merged ones cannot be taken apart, so what they held is to be added again. */
  retain(names: ReadonlySet<string>): void {
    this.#segments = this.#segments.filter((segment) => [...segment.names].every((name) => names.has(name)));
  }

  /** The entry that holds for a key, deleted ones included. */
  find(key: Uint8Array): IndexEntry | undefined {
    this.#compact();
    let winner: IndexEntry | undefined;
    for (const { index } of this.#segments) {
      const entry = findEntry(index, key);
      if (entry !== undefined && (winner === undefined || prevails(entry, winner))) winner = entry;
    }
    return winner;
  }

  /** The entries that hold, deleted ones included, in order of their keys; only keys whose first byte is `firstByte`, where it is given. */
  entries(firstByte?: number): IterableIterator<IndexEntry> {
    return mergeEntries(this.indexes(), firstByte);
  }

  /** What the segments are made of, to be merged with others. */
  indexes(): PackIndex[] {
    return this.#segments.map(({ index }) => index);
  }

  #compact(): void {
    if (this.#segments.length <= SEGMENTS_MAX) return;
    const bySize = this.#segments.toSorted((a, b) => b.index.entryCount - a.index.entryCount);
    const small = bySize.slice(SEGMENTS_AFTER_MERGE - 1);
    const merged = mergeToIndex(small.map(({ index }) => index));
    const names = new Set(small.flatMap((segment) => [...segment.names]));
    this.#segments = bySize.slice(0, SEGMENTS_AFTER_MERGE - 1);
    if (merged !== undefined) this.#segments.push({ names, index: merged });
  }
}

/** One index that says what these say together; undefined when they say nothing. */
export function mergeToIndex(parts: readonly PackIndex[]): MemoryIndex | undefined {
  const filled = parts.filter((part) => part.entryCount > 0);
  const keyBytes = filled[0]?.keyBytes;
  if (keyBytes === undefined) return undefined;
  const builder = new IndexV2Builder(
    keyBytes,
    filled.reduce((sum, part) => sum + part.entryCount, 0),
  );
  for (const entry of mergeEntries(filled)) builder.add(entry);
  return decodeIndex(builder.build());
}

/** Merges sorted parts through a heap of one scan each; of entries with one key the one that prevails comes out. */
export function* mergeEntries(parts: readonly PackIndex[], firstByte?: number): IterableIterator<IndexEntry> {
  const heap: IndexScan[] = [];
  for (const part of parts) {
    const scan = part.scan(firstByte === undefined ? 0 : part.lowerBound(Uint8Array.of(firstByte)));
    if (scan.next()) siftUp(heap, scan);
  }
  let pending: IndexEntry | undefined;
  for (let top = heap[0]; top !== undefined; top = heap[0]) {
    if (firstByte !== undefined && top.key[0] !== firstByte) break;
    const entry = top.entry();
    if (pending !== undefined && compareKeys(pending.key, entry.key) === 0) {
      if (prevails(entry, pending)) pending = entry;
    } else {
      if (pending !== undefined) yield pending;
      pending = entry;
    }
    advance(heap, top);
  }
  if (pending !== undefined) yield pending;
}

function advance(heap: IndexScan[], top: IndexScan): void {
  if (top.next()) {
    if (heap.length > 1) siftDown(heap, top);
    return;
  }
  const last = heap.pop();
  if (last !== undefined && last !== top) siftDown(heap, last);
}

function siftUp(heap: IndexScan[], scan: IndexScan): void {
  let at = heap.length;
  heap.push(scan);
  while (at > 0) {
    const above = (at - 1) >>> 1;
    const parent = heap[above];
    if (parent === undefined || compareKeys(parent.key, scan.key) <= 0) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = scan;
}

/** Puts a scan at the top and lets it sink to its place. */
function siftDown(heap: IndexScan[], scan: IndexScan): void {
  const { key } = scan;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const a = heap[left];
    const b = heap[left + 1];
    const smaller = b !== undefined && a !== undefined && compareKeys(b.key, a.key) < 0 ? left + 1 : left;
    const child = heap[smaller];
    if (child === undefined || compareKeys(key, child.key) <= 0) break;
    heap[at] = child;
    at = smaller;
  }
  heap[at] = scan;
}
