/**
 * What maintenance does to epochs (kopia-format.md 6.5): one step of each kind a run, never more, so that readers and writers that are one step behind still agree.
 *
 *   advance        xe<W+1>, when epoch W is old enough and has many or large index blobs
 *   compact        the oldest settled epoch without xs: all its xn in one xs
 *   compact range  seven or more settled epochs behind the last range: all of them in one xr
 *   clean up       xn of epochs compacted long ago, markers and watermarks that say nothing any more
 *
 * Only the one owner of maintenance may run this, and never twice at the same time: nothing in the format excludes two of them from each other.
 */
import { errorFields, forEachLimit, type Logger, mapLimit, type RandomSource, randomHex, utf8 } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { type ContentCodec, invariantReadBack } from "../content/content-codec.ts";
import type { RepositoryFormat } from "../format/repository-format.ts";
import { encodeInShards } from "../index-blobs/index-codec.ts";
import { closeSegment, type IndexLoader, indexesOf } from "../index-blobs/index-loader.ts";
import { mergeEntries } from "../index-blobs/merged-index.ts";
import { removeTornBlob } from "../index-blobs/remove-torn-blob.ts";
import type { EpochIndexBlobs } from "./epoch-index-blobs.ts";
import { EPOCH_PREFIX, MARKER_CONTENT, numberOfName, WATERMARK_CONTENT } from "./epoch-names.ts";
import { type EpochState, isSettled, listUncompacted } from "./epoch-state.ts";

const FETCHES_AT_ONCE = 5;
const SUFFIX_BYTES = 8;
/** A compaction is written as shards of this size, so that memory holds one of them encoded and encrypted, about 25 MB. Kopia reads any number of shards. */
const COMPACTED_SHARD_ENTRIES = 250_000;

export interface EpochMaintenanceDependencies {
  readonly storage: BlobStorage;
  readonly format: RepositoryFormat;
  readonly codec: ContentCodec;
  readonly random: RandomSource;
  readonly epochs: EpochIndexBlobs;
  readonly loader: IndexLoader;
  readonly logger: Logger;
}

/** Epochs whose indexes are to be merged. */
export interface CompactionPlan {
  readonly first: number;
  readonly last: number;
  readonly prefix: string;
  readonly blobs: readonly BlobMetadata[];
}

export class EpochMaintenance {
  readonly #on: EpochMaintenanceDependencies;

  constructor(dependencies: EpochMaintenanceDependencies) {
    this.#on = dependencies;
  }

  /** The epoch to be opened, when this one has lasted and grown; undefined when not. */
  async planAdvance(signal?: AbortSignal): Promise<number | undefined> {
    const state = await this.#on.epochs.state(0, signal);
    return this.#isFull(state.uncompacted.get(state.writeEpoch) ?? []) ? state.writeEpoch + 1 : undefined;
  }

  async advanceTo(epoch: number, signal?: AbortSignal): Promise<void> {
    await this.#put(`${EPOCH_PREFIX.marker}${epoch}`, utf8(MARKER_CONTENT), signal);
    this.#on.epochs.invalidate();
  }

  /** The oldest settled epoch that is not compacted; undefined when there is none, or when it has no index at all. */
  async planSingle(signal?: AbortSignal): Promise<CompactionPlan | undefined> {
    const state = await this.#on.epochs.state(0, signal);
    let epoch = firstUncovered(state);
    while (state.single.has(epoch)) epoch++;
    if (!isSettled(state, epoch)) return undefined;
    const blobs = await this.#uncompacted(state, epoch, signal);
    return blobs.length === 0 ? undefined : { first: epoch, last: epoch, prefix: `${EPOCH_PREFIX.single}${epoch}_`, blobs };
  }

  /** All settled epochs behind the last range, when they are enough; undefined when not. */
  async planRange(signal?: AbortSignal): Promise<CompactionPlan | undefined> {
    const { epochs } = this.#on;
    const state = await epochs.state(0, signal);
    const first = firstUncovered(state);
    const last = state.writeEpoch - 2;
    if (last - first < epochs.parameters.fullCheckpointFrequency) return undefined;
    const blobs: BlobMetadata[] = [];
    for (let epoch = first; epoch <= last; epoch++) blobs.push(...(state.single.get(epoch) ?? (await this.#uncompacted(state, epoch, signal))));
    return blobs.length === 0 ? undefined : { first, last, prefix: `${EPOCH_PREFIX.range}${first}_${last}_`, blobs };
  }

  /** Opens the next epoch when it is time. Returns it, or undefined. */
  async advance(signal?: AbortSignal): Promise<number | undefined> {
    const epoch = await this.planAdvance(signal);
    if (epoch !== undefined) await this.advanceTo(epoch, signal);
    return epoch;
  }

  /** Compacts the oldest settled epoch that is not. Returns it, or undefined. */
  async compactSingle(signal?: AbortSignal): Promise<number | undefined> {
    const plan = await this.planSingle(signal);
    if (plan !== undefined) await this.compact(plan, signal);
    return plan?.first;
  }

  /** Compacts all settled epochs behind the last range, when they are enough. Returns the first and the last, or undefined. */
  async compactRange(signal?: AbortSignal): Promise<readonly [first: number, last: number] | undefined> {
    const plan = await this.planRange(signal);
    if (plan === undefined) return undefined;
    await this.compact(plan, signal);
    return [plan.first, plan.last];
  }

  /** Names of index blobs whose epoch was compacted longer ago than anybody may still read them. */
  async supersededIndexes(signal?: AbortSignal): Promise<string[]> {
    const state = await this.#on.epochs.state(0, signal);
    const nowMs = storageClock(state);
    if (nowMs === undefined) return [];
    const marginMs = this.#on.epochs.parameters.cleanupSafetyMarginMs;
    const names: string[] = [];
    for (const [epoch, blobs] of state.single) {
      if (isSettled(state, epoch) && newest(blobs) < nowMs - marginMs) names.push(...(await this.#uncompacted(state, epoch, signal)).map(({ id }) => id));
    }
    return names;
  }

  /** Names of markers of epochs long past, and of watermarks that another has overtaken long enough ago. */
  async spentMarkers(signal?: AbortSignal): Promise<string[]> {
    const state = await this.#on.epochs.state(0, signal);
    const nowMs = storageClock(state);
    const markers = state.markers.filter(({ id }) => (numberOfName(id) ?? 0) < state.writeEpoch - 1);
    const watermarks = state.watermarks.filter(
      ({ id, timestampMs }) =>
        nowMs !== undefined && numberOfName(id) !== state.deletionWatermark && timestampMs < nowMs - this.#on.epochs.parameters.cleanupSafetyMarginMs,
    );
    return [...markers, ...watermarks].map(({ id }) => id);
  }

  async delete(names: readonly string[], signal?: AbortSignal): Promise<void> {
    const parallel = Math.max(1, this.#on.epochs.parameters.deleteParallelism);
    await forEachLimit(names, parallel, (id) => this.#on.storage.delete(id, signal), signal);
    this.#on.epochs.invalidate();
  }

  /** Makes deletions up to this time final. Returns false when they are already. */
  async advanceWatermark(unixSeconds: number, signal?: AbortSignal): Promise<boolean> {
    const state = await this.#on.epochs.state(0, signal);
    if (unixSeconds <= state.deletionWatermark) return false;
    await this.#put(`${EPOCH_PREFIX.watermark}${unixSeconds}`, utf8(WATERMARK_CONTENT), signal);
    this.#on.epochs.invalidate();
    return true;
  }

  /** Old enough by the storage's own clock, and many or large enough. */
  #isFull(blobs: readonly BlobMetadata[]): boolean {
    const { minEpochDurationMs, advanceOnCount, advanceOnTotalBytes } = this.#on.epochs.parameters;
    if (blobs.length === 0) return false;
    const oldest = Math.min(...blobs.map(({ timestampMs }) => timestampMs));
    const bytes = blobs.reduce((sum, { length }) => sum + length, 0);
    return newest(blobs) - oldest >= minEpochDurationMs && (blobs.length >= advanceOnCount || bytes >= advanceOnTotalBytes);
  }

  /**
   * Merges indexes, deleted entries included: only the watermark may hide those. They are read from local files; of what is written only one shard at a time
   * is encoded, the others are entries in their stored form.
   */
  async compact({ blobs, prefix }: CompactionPlan, signal?: AbortSignal): Promise<void> {
    const { loader, codec, format, random, epochs } = this.#on;
    const segments = await mapLimit(blobs, FETCHES_AT_ONCE, (blob) => loader.load(blob), signal);
    const indexes = indexesOf(segments);
    const entries = indexes.reduce((sum, { entryCount }) => sum + entryCount, 0);
    const shards = encodeInShards(format.block.indexVersion, mergeEntries(indexes), entries, COMPACTED_SHARD_ENTRIES);
    const suffix = `s${randomHex(random, SUFFIX_BYTES)}-c${shards.count}`;
    const written: string[] = [];
    let last: { readonly id: string; readonly data: Uint8Array } | undefined;
    try {
      for (const plain of shards.encode()) {
        const { id, data } = codec.sealBlob(prefix, plain, suffix);
        invariantReadBack(Buffer.from(codec.openBlob(id, data)).equals(plain), `index "${id}"`);
        // Named before the put: one that fails may have taken effect, or half of it.
        written.push(id);
        last = { id, data };
        await this.#put(id, data, signal);
      }
    } catch (error) {
      // With the last of them the set may be complete, and others may have deleted what it was made of while this process was held up.
      if (written.length < shards.count) await this.#takeBack(written);
      else if (last !== undefined) await removeTornBlob(this.#on.storage, last, this.#on.logger);
      throw error;
    } finally {
      for (const segment of segments) closeSegment(segment);
      epochs.invalidate();
    }
  }

  /** Deletes what a failed compaction left, a part of a set that nobody uses. */
  async #takeBack(names: readonly string[]): Promise<void> {
    for (const name of names) {
      try {
        await this.#on.storage.delete(name);
      } catch (error) {
        this.#on.logger.warn("Cannot take back an index blob", { blobId: name, ...errorFields(error) });
      }
    }
  }

  async #uncompacted(state: EpochState, epoch: number, signal?: AbortSignal): Promise<readonly BlobMetadata[]> {
    return state.uncompacted.get(epoch) ?? (await listUncompacted(this.#on.storage, epoch, signal));
  }

  async #put(id: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#on.storage.put(id, data, this.#on.format.putOptionsOf(id, signal));
  }
}

/** The first epoch behind the chain of ranges. */
function firstUncovered(state: EpochState): number {
  return (state.ranges.at(-1)?.last ?? -1) + 1;
}

function newest(blobs: readonly BlobMetadata[]): number {
  return blobs.reduce((max, { timestampMs }) => Math.max(max, timestampMs), 0);
}

/** The time of the storage, told from the latest index blob; undefined where there is none. */
function storageClock(state: EpochState): number | undefined {
  const blobs = [...state.uncompacted.values()].flat();
  return blobs.length === 0 ? undefined : newest(blobs);
}
