/**
 * What maintenance does to index blobs of repositories without epochs (kopia-format.md 6.6).
 *
 *   n…  n…  n…  ──compact──►  n (merged)  ·  m: these inputs, this output        inputs no longer count from here on
 *   an hour later, told by the times of the m blobs:   inputs deleted  ·  l: these m blobs may go
 *   another hour later, told by the times of l blobs:  m deleted, then l
 *
 * Each step waits until nobody can still be reading by an older listing. An m blob outlives its inputs: without it they would count again.
 */

import { errorFields, type Logger, mapLimit, type RandomSource, utf8 } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { type ContentCodec, invariantReadBack } from "../content/content-codec.ts";
import { listBlobs } from "../epoch/epoch-state.ts";
import { formatGoTime, JsonReader, parseJsonObject, stringifyGo } from "../format/go-json.ts";
import type { RepositoryFormat } from "../format/repository-format.ts";
import { encodeInShards } from "./index-codec.ts";
import { closeSegment, type IndexLoader, indexesOf } from "./index-loader.ts";
import { COMPACTION_LOG_PREFIX, INDEX_PREFIX, type LegacyIndexBlobs } from "./legacy-index-blobs.ts";
import { mergeEntries } from "./merged-index.ts";
import type { IndexEntry, PackIndex } from "./pack-index.ts";
import { removeTornBlob } from "./remove-torn-blob.ts";

const CLEANUP_PREFIX = "l";
/** Fewer are left as they are. */
const COMPACT_FROM_BLOBS = 8;
/** An index below this part of a pack is very small, and compacted with its like only. */
const VERY_SMALL = 1 / 20;
const FETCHES_AT_ONCE = 5;
/** Makes every compacted index one of its own kind: with the same entries it would otherwise get the name of one that is about to be deleted. */
const TRAILER_BYTES = 32;
/** Shards of a compacted index, so that memory holds one of them encoded and encrypted. */
const COMPACTED_SHARD_ENTRIES = 250_000;

export interface LegacyMaintenanceDependencies {
  readonly storage: BlobStorage;
  readonly format: RepositoryFormat;
  readonly codec: ContentCodec;
  readonly random: RandomSource;
  readonly indexBlobs: LegacyIndexBlobs;
  readonly loader: IndexLoader;
  readonly logger: Logger;
  /** How long whatever was replaced stays. */
  readonly settleMs: number;
}

/** Logs that may go. */
interface CleanupNote {
  readonly id: string;
  /** By the storage's clock. */
  readonly timestampMs: number;
  readonly logs: readonly string[];
  readonly scheduledMs: number;
}

export class LegacyIndexMaintenance {
  readonly #on: LegacyMaintenanceDependencies;

  constructor(dependencies: LegacyMaintenanceDependencies) {
    this.#on = dependencies;
  }

  /** The index blobs that are worth merging. */
  async planCompaction(signal?: AbortSignal): Promise<readonly BlobMetadata[]> {
    const { blobs } = await this.#on.indexBlobs.active(signal);
    return chooseSmall(blobs, this.#on.format.block.maxPackBytes);
  }

  /** Merges index blobs into one, and deletes what earlier compactions left when it is time. Returns how many blobs were merged. */
  async compact(signal?: AbortSignal): Promise<number> {
    const inputs = await this.planCompaction(signal);
    if (inputs.length > 1) await this.#replace(inputs, undefined, signal);
    await this.#cleanUp(signal);
    return inputs.length > 1 ? inputs.length : 0;
  }

  /** Rewrites all indexes without the deletions up to a time, in unix seconds, which are final from then on. Returns how many there were. */
  async dropDeleted(untilSeconds: number, signal?: AbortSignal): Promise<number> {
    const { blobs } = await this.#on.indexBlobs.active(signal);
    const dropped = blobs.length === 0 ? 0 : await this.#replace(blobs, untilSeconds, signal);
    await this.#cleanUp(signal);
    return dropped;
  }

  /** Stores the inputs as one index and says so in a log. Without deletions to drop nothing is replaced. */
  async #replace(inputs: readonly BlobMetadata[], dropUntilSeconds: number | undefined, signal?: AbortSignal): Promise<number> {
    const { codec, format, random } = this.#on;
    const segments = await mapLimit(inputs, FETCHES_AT_ONCE, (blob) => this.#on.loader.load(blob), signal);
    const parts = indexesOf(segments);
    const isDropped = ({ deleted, timestampSeconds }: IndexEntry): boolean => dropUntilSeconds !== undefined && deleted && timestampSeconds <= dropUntilSeconds;
    // Counted first: merging twice is cheaper than holding every entry.
    let kept = 0;
    let dropped = 0;
    for (const entry of mergeEntries(parts)) {
      if (isDropped(entry)) dropped++;
      else kept++;
    }
    if (dropUntilSeconds !== undefined && dropped === 0) return 0;
    const shards = encodeInShards(format.block.indexVersion, keptOf(parts, isDropped), kept, COMPACTED_SHARD_ENTRIES);
    const outputs: BlobMetadata[] = [];
    const written: string[] = [];
    let log: BlobMetadata;
    let mayCount = false;
    try {
      for (const plain of shards.encode(() => random.bytes(TRAILER_BYTES))) {
        const sealed = codec.sealBlob(INDEX_PREFIX, plain, "");
        // Named before the put: one that fails may have taken effect, or half of it.
        written.push(sealed.id);
        outputs.push(await this.#put(sealed, plain, signal));
      }
      mayCount = true;
      log = await this.#putJson(COMPACTION_LOG_PREFIX, { inputMetadata: metadataOf(inputs), outputMetadata: metadataOf(outputs) }, signal);
    } catch (error) {
      // Once the log may be there the inputs may be deleted by others at any time, and the outputs are all there is.
      if (!mayCount) await this.#takeBack(written);
      throw error;
    } finally {
      for (const segment of segments) closeSegment(segment);
    }
    await this.#deleteSettled(log.timestampMs, signal);
    return dropped;
  }

  /** Deletes what a failed compaction left: what it was made of is still there. */
  async #takeBack(names: readonly string[]): Promise<void> {
    for (const name of names) {
      try {
        await this.#on.storage.delete(name);
      } catch (error) {
        this.#on.logger.warn("Cannot take back an index blob", { blobId: name, ...errorFields(error) });
      }
    }
  }

  /** Deletes the inputs of compactions that are old enough by the storage's clock, and notes that their logs may go. What still counts stays, whatever a log says. */
  async #deleteSettled(nowMs: number, signal?: AbortSignal): Promise<void> {
    const { storage, indexBlobs, settleMs } = this.#on;
    const noted = new Set((await this.#notes(signal)).flatMap(({ logs }) => logs));
    const active = new Set((await indexBlobs.active(signal)).blobs.map(({ id }) => id));
    const spent: string[] = [];
    for (const { id, timestampMs } of await listBlobs(storage, COMPACTION_LOG_PREFIX, signal)) {
      if (nowMs - timestampMs < settleMs || noted.has(id)) continue;
      const { inputs } = await indexBlobs.compaction(id, signal);
      if (inputs.some((input) => active.has(input))) continue;
      for (const input of inputs) await storage.delete(input, signal);
      spent.push(id);
    }
    if (spent.length > 0) await this.#putJson(CLEANUP_PREFIX, { blobIDs: spent, cleanupScheduleTime: formatGoTime(nowMs) }, signal);
  }

  /** Deletes logs whose inputs are long gone. */
  async #cleanUp(signal?: AbortSignal): Promise<void> {
    const { storage, settleMs } = this.#on;
    const notes = await this.#notes(signal);
    const nowMs = notes.reduce((max, { timestampMs }) => Math.max(max, timestampMs), 0);
    for (const { id, logs, scheduledMs } of notes) {
      if (nowMs - scheduledMs < settleMs) continue;
      for (const log of logs) await storage.delete(log, signal);
      await storage.delete(id, signal);
    }
  }

  async #notes(signal?: AbortSignal): Promise<CleanupNote[]> {
    const blobs = await listBlobs(this.#on.storage, CLEANUP_PREFIX, signal);
    return mapLimit(blobs, FETCHES_AT_ONCE, async ({ id, timestampMs }) => {
      const document = `cleanup note "${id}"`;
      const json = new JsonReader(parseJsonObject(await this.#open(id, signal), document), document);
      return { id, timestampMs, logs: json.texts("blobIDs"), scheduledMs: json.timeMs("cleanupScheduleTime") };
    });
  }

  async #open(id: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#on.codec.openBlob(id, await this.#on.storage.get(id, signal === undefined ? {} : { signal }));
  }

  async #putJson(prefix: string, value: object, signal?: AbortSignal): Promise<BlobMetadata> {
    const plain = utf8(stringifyGo(value));
    const sealed = this.#on.codec.sealBlob(prefix, plain, "");
    try {
      return await this.#put(sealed, plain, signal);
    } catch (error) {
      await removeTornBlob(this.#on.storage, sealed, this.#on.logger);
      throw error;
    }
  }

  /** Stores a sealed blob; its metadata are the storage's. */
  async #put({ id, data }: { readonly id: string; readonly data: Uint8Array }, plain: Uint8Array, signal?: AbortSignal): Promise<BlobMetadata> {
    const { storage, codec, format } = this.#on;
    invariantReadBack(Buffer.from(codec.openBlob(id, data)).equals(plain), `blob "${id}"`);
    await storage.put(id, data, format.putOptionsOf(id, signal));
    return await storage.head(id, signal);
  }
}

function* keptOf(parts: readonly PackIndex[], isDropped: (entry: IndexEntry) => boolean): IterableIterator<IndexEntry> {
  for (const entry of mergeEntries(parts)) if (!isDropped(entry)) yield entry;
}

/** All that are not large, or only the very small ones where those are most and few others would join them. */
function chooseSmall(blobs: readonly BlobMetadata[], maxPackBytes: number): readonly BlobMetadata[] {
  const small = blobs.filter(({ length }) => length <= maxPackBytes);
  const verySmall = small.filter(({ length }) => length < maxPackBytes * VERY_SMALL);
  if (small.length < COMPACT_FROM_BLOBS) return [];
  return verySmall.length > small.length / 2 && small.length - verySmall.length + 1 < COMPACT_FROM_BLOBS ? verySmall : small;
}

/** As Go writes a list of them: null when there is none. */
function metadataOf(blobs: readonly BlobMetadata[]): readonly object[] | null {
  return blobs.length === 0 ? null : blobs.map(({ id, length, timestampMs }) => ({ id, length, timestamp: formatGoTime(timestampMs) }));
}
