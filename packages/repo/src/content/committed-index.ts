/**
 * The index of everything that was flushed, by us and by others, as of the last refresh.
 *
 *   storage ─ index blobs, decrypted once ─► runs in local files (small ones in shared memory) ─► a filter in front of each ─► lookups
 *
 * Memory: 2.25 to 2.5 bytes a content, small indexes up to 1 MiB each, and the cache of blocks; the entries themselves stay in files. Lookups are
 * synchronous. There are never more than `SEGMENTS_MAX` indexes to ask: when a refresh or a commit leaves more, all but the largest are merged.
 *
 * Workers look up what this class knows through `share()` and `attachIndex` (index-blobs/shared-index.ts):
 *
 *   main thread   worker.postMessage(contents.shareIndex())          again after each refresh and flush
 *   worker        const index = attachIndex(handle); index.has(keyOf(id)) …; index.close()
 */
import { type Clock, forEachLimit, type Logger, type RandomSource } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { type FindKeys, FOUND_KEY_BYTES_MIN, KEY_STATE } from "@drayage/kernels";
import { isGone } from "../epoch/epoch-index-blobs.ts";
import type { ActiveIndexBlobs, IndexBlobs } from "../index-blobs/index-blobs.ts";
import { closeSegment, type IndexLimits, IndexLoader, type IndexSegment, indexesOf } from "../index-blobs/index-loader.ts";
import type { IndexEntry, PackIndex } from "../index-blobs/pack-index.ts";
import { RunFolder } from "../index-blobs/run-folder.ts";
import { findIn, isHeldAt, isHeldBy, type SharedIndex, sharedPart } from "../index-blobs/shared-index.ts";
import type { ContentCodec } from "./content-codec.ts";
import { shared } from "./shared-work.ts";

const FETCHES_AT_ONCE = 8;
const LOADS_MAX = 10;
const FIRST_DELAY_MS = 100;
/** More than this are merged, so that these stay as they are and the rest is one. */
const SEGMENTS_MAX = 16;
const SEGMENTS_KEPT = 6;
/** Fewer keys are as quickly looked up one by one. */
const MANY_KEYS = 4;

/** Where copies of indexes are kept between commands. */
export interface IndexCachePlace {
  /** Of all repositories for `openContents`, which adds one for each; of this one for `CommittedIndex`. */
  readonly folder: string;
  /** Of all repositories together. @default 2 GiB */
  readonly bytesMax?: number;
}

export interface CommittedIndexDependencies {
  readonly storage: BlobStorage;
  readonly codec: ContentCodec;
  readonly blobs: IndexBlobs;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Without it what is too large for memory goes to temporary files. */
  readonly cache?: IndexCachePlace | undefined;
  readonly limits?: IndexLimits;
  /** Looks up many keys at once, where the kernels have that. */
  readonly findKeys?: FindKeys | undefined;
}

export class CommittedIndex {
  readonly #blobs: IndexBlobs;
  readonly #clock: Clock;
  readonly #runs: RunFolder;
  readonly #loader: IndexLoader;
  #segments: readonly IndexSegment[] = [];
  #indexes: readonly PackIndex[] = [];
  /** Of these, by the first byte of keys, those that have any such: indexes of small snapshots hold listings alone, and each of a hundred thousand files would ask them all. */
  #indexesOfPrefix: (readonly PackIndex[] | undefined)[] = [];
  readonly #findKeys: FindKeys | undefined;
  #states = new Uint8Array(0);
  #deletionWatermark = 0;
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  /** Refreshes and commits one after the other: a refresh that listed before a commit must not drop what the commit added. */
  #queue: Promise<unknown> = Promise.resolve();
  #refreshing: Promise<void> | undefined;

  constructor({ storage, codec, blobs, clock, random, logger, cache, limits, findKeys }: CommittedIndexDependencies) {
    this.#findKeys = findKeys;
    this.#blobs = blobs;
    this.#clock = clock;
    this.#runs = new RunFolder({ folder: cache?.folder, bytesMax: cache?.bytesMax, clock, random, logger });
    this.#loader = new IndexLoader(storage, codec, this.#runs, limits);
  }

  /** How old the view is. */
  get ageMs(): number {
    return this.#clock.monotonicMs() - this.#loadedAtMs;
  }

  /** Entries, duplicates counted, and the memory that they take. */
  get size(): { readonly entries: number; readonly bytes: number } {
    return {
      entries: this.#indexes.reduce((sum, { entryCount }) => sum + entryCount, 0),
      bytes: this.#indexes.reduce((sum, { byteLength }) => sum + byteLength, 0),
    };
  }

  get deletionWatermark(): number {
    return this.#deletionWatermark;
  }

  /** The entry that holds, also one that is deleted for good; `isDropped` tells. */
  find(key: Uint8Array): IndexEntry | undefined {
    return findIn(this.#indexesWith(key[0] ?? 0), key);
  }

  /** Whether a content is there that is not deleted. */
  has(key: Uint8Array): boolean {
    return isHeldBy(this.#indexesWith(key[0] ?? 0), key);
  }

  /** The same of a key that begins at `at`. */
  hasAt(keys: Uint8Array, at: number, keyBytes: number): boolean {
    return isHeldAt(this.#indexesWith(keys[at] ?? 0), keys, at, keyBytes);
  }

  /**
   * How many of the keys one behind the other come first of which it is quickly told that they are held: by the addon, in one call for each index. What follows may be held all the
   * same. 0 without the addon.
   */
  heldFirst(keys: Uint8Array, count: number, keyBytes: number): number {
    if (this.#findKeys === undefined || keyBytes < FOUND_KEY_BYTES_MIN || count < MANY_KEYS) return 0;
    if (this.#states.length < count) this.#states = new Uint8Array(count);
    const states = this.#states;
    states.fill(KEY_STATE.absent, 0, count);
    for (const index of this.#indexesWith(keys[0] ?? 0)) {
      if (index.keyBytes !== keyBytes) continue;
      // It may say that what another one holds is deleted.
      if (index.keyPart === undefined) return 0;
      this.#findKeys(keys, count, index.keyPart, states);
    }
    let held = 0;
    while (held < count && states[held] === KEY_STATE.held) held++;
    return held;
  }

  #indexesWith(prefix: number): readonly PackIndex[] {
    const indexes = this.#indexesOfPrefix[prefix] ?? this.#indexes.filter((index) => index.mayHavePrefix(prefix));
    this.#indexesOfPrefix[prefix] = indexes;
    return indexes;
  }

  /** Whether a deletion is final, so that the content counts as never having been. */
  isDropped(entry: IndexEntry): boolean {
    return entry.deleted && entry.timestampSeconds <= this.#deletionWatermark;
  }

  indexes(): PackIndex[] {
    return [...this.#indexes];
  }

  /** Opens index blobs beside the view, for whoever merges them. */
  get loader(): IndexLoader {
    return this.#loader;
  }

  /** What is committed now, for the workers of this process: `attachIndex` opens it there. */
  share(): SharedIndex {
    return { parts: this.#segments.map(({ index }) => sharedPart(index)), deletionWatermark: this.#deletionWatermark };
  }

  /** Loads what others wrote. Callers at the same time share one load. */
  refresh(signal?: AbortSignal): Promise<void> {
    this.#refreshing ??= this.#enqueue(() => this.#load()).finally(() => {
      this.#refreshing = undefined;
    });
    return shared(this.#refreshing, signal);
  }

  /** Writes indexes of our own and takes them up. */
  commit(indexes: readonly Uint8Array[], sessionId: string, signal?: AbortSignal): Promise<void> {
    return this.#enqueue(async () => {
      const names = await this.#blobs.write(indexes, sessionId, signal);
      const added: IndexSegment[] = [];
      for (const [i, plain] of indexes.entries()) added.push(await this.#loader.take(names[i] ?? "", plain));
      await this.#use([...this.#segments, ...added]);
    });
  }

  /** Gives back files. Nothing is looked up afterwards. */
  close(): void {
    for (const segment of this.#segments) closeSegment(segment);
    this.#segments = [];
    this.#indexes = [];
    this.#indexesOfPrefix = [];
  }

  async #load(): Promise<void> {
    let delayMs = FIRST_DELAY_MS;
    for (let attempt = 1; ; attempt++) {
      const startedMs = this.#clock.monotonicMs();
      try {
        const active = await this.#blobs.active();
        await this.#take(active);
        this.#deletionWatermark = active.deletionWatermark;
        this.#loadedAtMs = startedMs;
        return;
      } catch (error) {
        if (!isGone(error) || attempt === LOADS_MAX) throw error;
      }
      await this.#clock.sleep(delayMs);
      delayMs *= 2;
    }
  }

  /** Fetches what is not yet here into the view, and drops what is no longer active: a merged index cannot be taken apart, so what it held is fetched again. */
  async #take({ blobs }: ActiveIndexBlobs): Promise<void> {
    const wanted = new Set(blobs.map(({ id }) => id));
    const segments = this.#segments.filter(({ names }) => [...names].every((name) => wanted.has(name)));
    for (const { names } of segments) for (const name of names) wanted.delete(name);
    if (wanted.size > 0) {
      const merged = this.#loader.loadMerged(wanted);
      for (const { names } of merged) for (const name of names) wanted.delete(name);
      segments.push(...merged);
    }
    const missing = blobs.filter(({ id }) => wanted.has(id));
    await forEachLimit(missing, FETCHES_AT_ONCE, async (blob) => void segments.push(await this.#loader.load(blob)));
    await this.#use(segments);
    if (missing.length > 0 || this.#loadedAtMs === Number.NEGATIVE_INFINITY) this.#runs.sweep(new Set(blobs.map(({ id }) => id)));
  }

  /** Makes segments the ones that are asked, after merging the small ones when they are many. */
  async #use(segments: readonly IndexSegment[]): Promise<void> {
    let next = segments;
    if (segments.length > SEGMENTS_MAX) {
      const bySize = segments.toSorted((a, b) => b.index.entryCount - a.index.entryCount);
      const merged = await this.#loader.merge(bySize.slice(SEGMENTS_KEPT));
      next = [...bySize.slice(0, SEGMENTS_KEPT), ...(merged === undefined ? [] : [merged])];
    }
    this.#segments = next;
    this.#indexes = indexesOf(next);
    this.#indexesOfPrefix = [];
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }
}
