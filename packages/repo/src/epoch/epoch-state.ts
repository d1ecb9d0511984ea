/** What a listing says about epochs: which one is written, which are compacted, what is deleted for good. */
import { mapLimit } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { EPOCH_PREFIX, findCompleteSet, numberOfName, rangeOfName } from "./epoch-names.ts";

/** Epochs first to last, merged into these blobs. */
export interface EpochRange {
  readonly first: number;
  readonly last: number;
  readonly blobs: readonly BlobMetadata[];
}

export interface EpochState {
  /** The epoch that is written now. */
  readonly writeEpoch: number;
  /** Deletions up to this time, in unix seconds, are final; 0 when none are. */
  readonly deletionWatermark: number;
  readonly markers: readonly BlobMetadata[];
  readonly watermarks: readonly BlobMetadata[];
  /** Complete single-epoch compactions, by epoch. */
  readonly single: ReadonlyMap<number, readonly BlobMetadata[]>;
  /** The ranges that follow each other from epoch 0 on. */
  readonly ranges: readonly EpochRange[];
  /** Index blobs of the epochs before, of, and after the write epoch, by epoch. */
  readonly uncompacted: ReadonlyMap<number, readonly BlobMetadata[]>;
}

const LISTS_AT_ONCE = 4;

/** Lists what the protocol needs. How long the answer may be used is its caller's business. */
export async function loadEpochState(storage: BlobStorage, signal?: AbortSignal): Promise<EpochState> {
  const [markers = [], watermarks = [], singles = [], ranges = []] = await mapLimit(
    [EPOCH_PREFIX.marker, EPOCH_PREFIX.watermark, EPOCH_PREFIX.single, EPOCH_PREFIX.range],
    LISTS_AT_ONCE,
    (prefix) => listBlobs(storage, prefix, signal),
  );
  const writeEpoch = largest(markers);
  const recent = [writeEpoch - 1, writeEpoch, writeEpoch + 1].filter((epoch) => epoch >= 0);
  const uncompacted = await mapLimit(recent, recent.length, (epoch) => listUncompacted(storage, epoch, signal));
  return {
    writeEpoch,
    deletionWatermark: largest(watermarks),
    markers,
    watermarks,
    single: completeSingles(singles),
    ranges: longestChain(completeRanges(ranges)),
    uncompacted: new Map(recent.map((epoch, i) => [epoch, uncompacted[i] ?? []])),
  };
}

/** The epoch that is written now, by one list. */
export async function loadWriteEpoch(storage: BlobStorage, signal?: AbortSignal): Promise<number> {
  return largest(await listBlobs(storage, EPOCH_PREFIX.marker, signal));
}

/** The index blobs that were written in an epoch and not yet compacted away. */
export function listUncompacted(storage: BlobStorage, epoch: number, signal?: AbortSignal): Promise<BlobMetadata[]> {
  return listBlobs(storage, `${EPOCH_PREFIX.uncompacted}${epoch}_`, signal);
}

/** Whether nobody writes to an epoch any more: the protocol lets a writer be late by one. */
export function isSettled(state: EpochState, epoch: number): boolean {
  return epoch <= state.writeEpoch - 2;
}

export async function listBlobs(storage: BlobStorage, prefix: string, signal?: AbortSignal): Promise<BlobMetadata[]> {
  const blobs: BlobMetadata[] = [];
  for await (const blob of storage.list(prefix, signal)) blobs.push(blob);
  return blobs;
}

function largest(blobs: readonly BlobMetadata[]): number {
  return blobs.reduce((max, { id }) => Math.max(max, numberOfName(id) ?? 0), 0);
}

function completeSingles(blobs: readonly BlobMetadata[]): Map<number, readonly BlobMetadata[]> {
  const complete = new Map<number, readonly BlobMetadata[]>();
  for (const [epoch, members] of groupBy(blobs, ({ id }) => numberOfName(id))) {
    const set = findCompleteSet(members);
    if (set !== undefined) complete.set(epoch, set);
  }
  return complete;
}

function completeRanges(blobs: readonly BlobMetadata[]): EpochRange[] {
  const complete: EpochRange[] = [];
  for (const [key, members] of groupBy(blobs, ({ id }) => rangeOfName(id)?.join("_"))) {
    const [first = 0, last = 0] = key.split("_").map(Number);
    const set = findCompleteSet(members);
    if (set !== undefined && last >= first) complete.push({ first, last, blobs: set });
  }
  return complete;
}

/** Of the chains from epoch 0 on, in which each range begins where the last one ended, the one that reaches farthest; of equal ones that with fewer ranges. */
export function longestChain(ranges: readonly EpochRange[]): readonly EpochRange[] {
  interface Chain {
    readonly end: number;
    readonly links: readonly EpochRange[];
  }
  const known = new Map<number, Chain>();
  // From the last start to the first, so that what may follow a range is known already; ranges end after they begin.
  const byStart = ranges.toSorted((a, b) => b.first - a.first);
  for (const range of byStart) {
    const rest = known.get(range.last + 1);
    const chain: Chain = { end: rest?.end ?? range.last, links: [range, ...(rest?.links ?? [])] };
    const best = known.get(range.first);
    if (best === undefined || chain.end > best.end || (chain.end === best.end && chain.links.length < best.links.length)) known.set(range.first, chain);
  }
  return known.get(0)?.links ?? [];
}

function groupBy<K>(blobs: readonly BlobMetadata[], keyOf: (blob: BlobMetadata) => K | undefined): Map<K, BlobMetadata[]> {
  const groups = new Map<K, BlobMetadata[]>();
  for (const blob of blobs) {
    const key = keyOf(blob);
    if (key === undefined) continue;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [blob]);
    else group.push(blob);
  }
  return groups;
}
