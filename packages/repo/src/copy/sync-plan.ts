/**
 * What has to be copied so that one storage holds the repository of another, as a plan.
 *
 * Order is what makes a copy safe at any point: packs before the indexes that name them, `kopia.repository` last. A first copy that is cut off does not open; a later one that is cut off
 * opens as it was, or as far as it came.
 */
import { DrayError, equalBytes, hasCode } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { BLOB_CONFIG_ID } from "../format/blob-config.ts";
import { decodeFormatBlob, FORMAT_BLOB_ID } from "../format/format-blob.ts";

export interface SyncPlan {
  /** In stages, one after the other. */
  readonly stages: readonly (readonly BlobMetadata[])[];
  /** Names at the target that the source does not have, index blobs first. Only when asked for. */
  readonly deletions: readonly string[];
  readonly copiedBytes: number;
  readonly unchangedBlobs: number;
  readonly unchangedBytes: number;
}

/** What a plan asks of a storage. */
export type ListedStorage = Pick<BlobStorage, "description" | "get" | "head" | "list">;

/** A place that is not there yet: for plans. */
export function absentStorage(description: string): ListedStorage {
  const notFound = (id: string): Promise<never> =>
    Promise.reject(new DrayError("BLOB_NOT_FOUND", `Cannot read blob "${id}" of ${description}: it is not there`));
  return { description, get: notFound, head: notFound, list: async function* () {} };
}

export interface SyncPlanOptions {
  /** Plan to delete what the source does not have. */
  readonly delete?: boolean;
  readonly signal?: AbortSignal;
}

/** Blobs that are replaced under their name; everything else keeps its bytes as long as it is there. */
const REPLACED: readonly string[] = [FORMAT_BLOB_ID, BLOB_CONFIG_ID, "kopia.maintenance", "udmrepo.Repository"];
const SESSION_PREFIX = "s";
const PACK = /^[pq]/;
const INDEX = /^[xnml]/;
const REPLACED_BYTES_MAX = 1 << 20;

/**
 * Plans a copy. Throws REPO_ALREADY_EXISTS when the target holds another repository or anything else, REPO_NOT_FOUND when the source holds none.
 * Memory: the names of what is to be copied or deleted.
 */
export async function planSync(source: ListedStorage, target: ListedStorage, options: SyncPlanOptions = {}): Promise<SyncPlan> {
  const { signal } = options;
  const isKnown = await checkTarget(source, target, signal);
  // Indexes are listed first: whatever they name was stored before, so the packs that are listed afterwards are all there.
  const indexes = await compare(source, target, (id) => INDEX.test(id), signal);
  const packs = await compare(source, target, (id) => PACK.test(id), signal);
  const rest = await compare(source, target, (id) => !INDEX.test(id) && !PACK.test(id) && !id.startsWith(SESSION_PREFIX), signal);
  const foreign = [...indexes.extra, ...packs.extra, ...rest.extra];
  if (!isKnown && foreign.length > 0) {
    throw new DrayError("REPO_ALREADY_EXISTS", `Cannot copy the repository to "${target.description}": there is something else, "${foreign[0]}" for one`, {
      hint: "Choose an empty place.",
    });
  }
  const last = rest.missing.filter(({ id }) => id === FORMAT_BLOB_ID || id === BLOB_CONFIG_ID);
  const logs = indexes.missing.filter(({ id }) => id.startsWith("m") || id.startsWith("l"));
  const stages = [
    packs.missing,
    indexes.missing.filter((blob) => !logs.includes(blob)),
    // A compaction log counts when its outputs are there.
    logs,
    rest.missing.filter((blob) => !last.includes(blob)),
    last.filter(({ id }) => id === BLOB_CONFIG_ID),
    last.filter(({ id }) => id === FORMAT_BLOB_ID),
  ].filter((stage) => stage.length > 0);
  return {
    stages,
    deletions: options.delete === true ? [...indexes.extra, ...packs.extra, ...rest.extra] : [],
    copiedBytes: stages.flat().reduce((sum, { length }) => sum + length, 0),
    unchangedBlobs: indexes.same + packs.same + rest.same,
    unchangedBytes: indexes.sameBytes + packs.sameBytes + rest.sameBytes,
  };
}

/** Whether the target holds this repository already. */
async function checkTarget(source: ListedStorage, target: ListedStorage, signal: AbortSignal | undefined): Promise<boolean> {
  const ours = await getSmall(source, FORMAT_BLOB_ID, signal);
  if (ours === undefined) throw new DrayError("REPO_NOT_FOUND", `Cannot copy the repository at "${source.description}": there is none`);
  const theirs = await getSmall(target, FORMAT_BLOB_ID, signal);
  const known = theirs === undefined ? undefined : uniqueIdOf(theirs);
  // What cannot be read may be what a store left of a copy that was cut off; it is written over where nothing else is foreign.
  if (known === undefined) return false;
  if (!equalBytes(decodeFormatBlob(ours).uniqueId, known)) {
    throw new DrayError("REPO_ALREADY_EXISTS", `Cannot copy the repository to "${target.description}": another repository is there`, {
      hint: "Choose an empty place, or the copy of this repository.",
    });
  }
  return true;
}

function uniqueIdOf(bytes: Uint8Array): Uint8Array | undefined {
  try {
    return decodeFormatBlob(bytes).uniqueId;
  } catch (error) {
    if (hasCode(error, "REPO_CORRUPT", "REPO_UNSUPPORTED")) return undefined;
    throw error;
  }
}

interface Comparison {
  readonly missing: BlobMetadata[];
  readonly extra: string[];
  same: number;
  sameBytes: number;
}

/** Walks both listings side by side: they are in one order. */
async function compare(source: ListedStorage, target: ListedStorage, isMeant: (id: string) => boolean, signal: AbortSignal | undefined): Promise<Comparison> {
  const result: Comparison = { missing: [], extra: [], same: 0, sameBytes: 0 };
  const [left, right] = [source.list("", signal)[Symbol.asyncIterator](), target.list("", signal)[Symbol.asyncIterator]()];
  const next = async (iterator: AsyncIterator<BlobMetadata>): Promise<BlobMetadata | undefined> => {
    for (;;) {
      const item = await iterator.next();
      if (item.done === true) return undefined;
      if (isMeant(item.value.id)) return item.value;
    }
  };
  let [a, b] = [await next(left), await next(right)];
  while (a !== undefined || b !== undefined) {
    const order = a === undefined ? 1 : b === undefined ? -1 : a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
    if (order > 0 && b !== undefined) result.extra.push(b.id);
    if (order < 0 && a !== undefined) result.missing.push(a);
    if (order === 0 && a !== undefined && b !== undefined) {
      if (a.length === b.length && (!REPLACED.includes(a.id) || (await haveSameBytes(source, target, a.id, signal)))) {
        result.same++;
        result.sameBytes += a.length;
      } else result.missing.push(a);
    }
    const step = order;
    if (step <= 0) a = await next(left);
    if (step >= 0) b = await next(right);
  }
  return result;
}

async function haveSameBytes(source: ListedStorage, target: ListedStorage, id: string, signal: AbortSignal | undefined): Promise<boolean> {
  const [ours, theirs] = [await getSmall(source, id, signal), await getSmall(target, id, signal)];
  return ours !== undefined && theirs !== undefined && equalBytes(ours, theirs);
}

async function getSmall(storage: ListedStorage, id: string, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
  try {
    const { length } = await storage.head(id, signal);
    if (length > REPLACED_BYTES_MAX) throw new DrayError("REPO_CORRUPT", `Cannot read "${id}" at "${storage.description}": it has ${length} bytes`);
    return await storage.get(id, signal === undefined ? {} : { signal });
  } catch (error) {
    if (hasCode(error, "BLOB_NOT_FOUND")) return undefined;
    throw error;
  }
}
