/** The index of everything that was flushed, by us and by others, as of the last refresh. */
import { type Clock, DrayError, forEachLimit, hasCode } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { isGone } from "../epoch/epoch-index-blobs.ts";
import type { ActiveIndexBlobs, IndexBlobs } from "../index-blobs/index-blobs.ts";
import { decodeIndex } from "../index-blobs/index-codec.ts";
import { MemoryIndex } from "../index-blobs/memory-index.ts";
import { MergedIndex } from "../index-blobs/merged-index.ts";
import type { IndexEntry, PackIndex } from "../index-blobs/pack-index.ts";
import { inSharedMemory, type SharedIndex, sharedPart } from "../index-blobs/shared-index.ts";
import type { ContentCodec } from "./content-codec.ts";
import { shared } from "./shared-work.ts";

const FETCHES_AT_ONCE = 5;
const LOADS_MAX = 10;
const FIRST_DELAY_MS = 100;

export class CommittedIndex {
  readonly #storage: BlobStorage;
  readonly #codec: ContentCodec;
  readonly #blobs: IndexBlobs;
  readonly #clock: Clock;
  #merged = new MergedIndex();
  #deletionWatermark = 0;
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  /** Refreshes and commits one after the other: a refresh that listed before a commit must not drop what the commit added. */
  #queue: Promise<unknown> = Promise.resolve();
  #refreshing: Promise<void> | undefined;

  constructor(storage: BlobStorage, codec: ContentCodec, blobs: IndexBlobs, clock: Clock) {
    this.#storage = storage;
    this.#codec = codec;
    this.#blobs = blobs;
    this.#clock = clock;
  }

  /** How old the view is. */
  get ageMs(): number {
    return this.#clock.monotonicMs() - this.#loadedAtMs;
  }

  /** Entries and bytes in memory. */
  get size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#merged.entryCount, bytes: this.#merged.byteLength };
  }

  get deletionWatermark(): number {
    return this.#deletionWatermark;
  }

  /** The entry that holds, also one that is deleted for good; `isDropped` tells. */
  find(key: Uint8Array): IndexEntry | undefined {
    return this.#merged.find(key);
  }

  /** Whether a deletion is final, so that the content counts as never having been. */
  isDropped(entry: IndexEntry): boolean {
    return entry.deleted && entry.timestampSeconds <= this.#deletionWatermark;
  }

  indexes(): PackIndex[] {
    return this.#merged.indexes();
  }

  /** What is committed now, for the workers of this process: `attachIndex` opens it there. */
  share(): SharedIndex {
    const parts = this.#merged.indexes().filter((index) => index instanceof MemoryIndex);
    return { parts: parts.map(sharedPart), deletionWatermark: this.#deletionWatermark };
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
      for (const [i, plain] of indexes.entries()) this.#merged.add(names[i] ?? "", decodeIndex(inSharedMemory(plain)));
    });
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

  /** Fetches what is not yet here into the view, and drops what is no longer active. */
  async #take({ blobs }: ActiveIndexBlobs): Promise<void> {
    const next = this.#merged.copy();
    next.retain(new Set(blobs.map(({ id }) => id)));
    const missing = blobs.filter(({ id }) => !next.has(id));
    await forEachLimit(missing, FETCHES_AT_ONCE, async ({ id }) => next.add(id, this.#decode(id, await this.#storage.get(id))));
    this.#merged = next;
  }

  #decode(id: string, data: Uint8Array): PackIndex {
    try {
      return decodeIndex(inSharedMemory(this.#codec.openBlob(id, data)));
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
      throw new DrayError("REPO_CORRUPT", `Cannot use index blob "${id}": ${error.message}`, {
        cause: error,
        context: { blobId: id },
        hint: "Contents that only this index names are not found; other copies of the bucket may have it.",
      });
    }
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }
}
