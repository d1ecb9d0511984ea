/**
 * Many indexes as one. A lookup asks each segment; so that this stays cheap with hundreds of small indexes, all but the largest few are merged into one
 * segment, in the stored form, when somebody looks the next time. A segment remembers which blobs it speaks for.
 */
import { decodeIndex } from "./index-codec.ts";
import { IndexV2Builder } from "./index-v2.ts";
import type { MemoryIndex } from "./memory-index.ts";
import { compareKeys, compareScans, findEntry, type IndexEntry, type IndexScan, type PackIndex, prevails } from "./pack-index.ts";

/** More segments than the first are merged down to the second. Asking one takes less than a microsecond; merging takes as long for each of its entries. */
const SEGMENTS_MAX = 48;
const SEGMENTS_AFTER_MERGE = 4;

interface Segment {
  /** Names of the indexes that it stands for. */
  readonly names: ReadonlySet<string>;
  readonly index: PackIndex;
}

export class MergedIndex {
  #segments: Segment[] = [];
  readonly #segmentsMax: number;

  constructor(segmentsMax: number = SEGMENTS_MAX) {
    this.#segmentsMax = segmentsMax;
  }

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
    const copy = new MergedIndex(this.#segmentsMax);
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
    if (this.#segments.length <= this.#segmentsMax) return;
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

/**
 * Merges sorted parts through a heap of one scan each; of entries with one key the one that prevails comes out. The key of an entry is a view that stays as it
 * is for a thousand further entries at least: copy it to keep it.
 */
export function* mergeEntries(parts: readonly PackIndex[], firstByte?: number): IterableIterator<IndexEntry> {
  const filled = parts.filter(({ entryCount }) => entryCount > 0);
  const heap = new ScanHeap(Math.max(0, ...filled.map(({ keyBytes }) => keyBytes)));
  for (const part of filled) {
    const scan = part.scan(firstByte === undefined ? 0 : part.lowerBound(Uint8Array.of(firstByte)));
    if (scan.next()) heap.add(scan);
  }
  let pending: IndexEntry | undefined;
  for (let top = heap.top; top !== undefined; top = heap.top) {
    if (firstByte !== undefined && top.bytes[top.at] !== firstByte) break;
    const entry = top.entry();
    if (pending !== undefined && compareKeys(pending.key, entry.key) === 0) {
      if (prevails(entry, pending)) pending = entry;
    } else {
      if (pending !== undefined) yield pending;
      pending = entry;
    }
    heap.advance();
  }
  if (pending !== undefined) yield pending;
}

/** Scans, of which the one with the least key is on top. */
class ScanHeap {
  readonly #scans: IndexScan[] = [];
  readonly #keyBytes: number;

  constructor(keyBytes: number) {
    this.#keyBytes = keyBytes;
  }

  get top(): IndexScan | undefined {
    return this.#scans[0];
  }

  add(scan: IndexScan): void {
    const heap = this.#scans;
    let at = heap.length;
    heap.push(scan);
    while (at > 0) {
      const above = (at - 1) >>> 1;
      const parent = heap[above];
      if (parent === undefined || compareScans(parent, scan, this.#keyBytes) <= 0) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = scan;
  }

  /** Moves the top on to its next entry, and to its place. */
  advance(): void {
    const [top] = this.#scans;
    if (top === undefined) return;
    if (top.next()) {
      if (this.#scans.length > 1) this.#sink(top);
      return;
    }
    const last = this.#scans.pop();
    if (last !== undefined && last !== top) this.#sink(last);
  }

  /** Puts a scan on top and lets it sink. */
  #sink(scan: IndexScan): void {
    const heap = this.#scans;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const a = heap[left];
      const b = heap[left + 1];
      const smaller = b !== undefined && a !== undefined && compareScans(b, a, this.#keyBytes) < 0 ? left + 1 : left;
      const child = heap[smaller];
      if (child === undefined || compareScans(scan, child, this.#keyBytes) <= 0) break;
      heap[at] = child;
      at = smaller;
    }
    heap[at] = scan;
  }
}
