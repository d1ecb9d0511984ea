/** Copies a repository to another storage: what is missing there, read back and compared, in an order that is safe at any point. */
import { createHash } from "node:crypto";
import { DrayError, forEachLimit, hasCode, Semaphore } from "@drayage/base";
import type { BlobMetadata, BlobStorage, PutBlobOptions } from "@drayage/blob";
import { Contents } from "../content/contents.ts";
import type { Repository } from "../repository.ts";
import { type ListedStorage, planSync, type SyncPlan } from "./sync-plan.ts";

export interface SyncRepositoryOptions {
  readonly delete?: boolean;
  /** Read every blob back from the target and compare. @default true */
  readonly readBack?: boolean;
  /** Blobs on their way at once. @default 8 */
  readonly parallel?: number;
  readonly onProgress?: (progress: SyncProgress) => void;
  readonly signal?: AbortSignal;
}

export interface SyncProgress {
  readonly blobsDone: number;
  readonly blobsTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export interface SyncReport {
  readonly copiedBlobs: number;
  readonly copiedBytes: number;
  readonly deletedBlobs: number;
  readonly unchangedBlobs: number;
  readonly unchangedBytes: number;
}

const DEFAULT_PARALLEL = 8;
/** Bytes of blobs in memory at once, whatever their number. */
const BYTES_IN_FLIGHT_MAX = 96 << 20;
/** Maintenance of the source may take away what was listed; then both are compared again. */
const ATTEMPTS_MAX = 3;

/**
 * Brings a copy of the repository at `target` up to date. Throws REPO_ALREADY_EXISTS when something else is there, REPO_CORRUPT when the target gives other bytes than it was given,
 * and what the storages throw; whatever was copied before stays and counts the next time.
 */
export async function syncRepository(repository: Repository, target: BlobStorage, options: SyncRepositoryOptions = {}): Promise<SyncReport> {
  const source = repository.storage;
  let copiedBlobs = 0;
  let copiedBytes = 0;
  for (let attempt = 1; ; attempt++) {
    const plan = await planSync(source, target, options);
    try {
      await copyAll(plan, source, target, options, lockOf(repository, target), (bytes) => {
        copiedBlobs++;
        copiedBytes += bytes;
      });
      for (const id of plan.deletions) await target.delete(id, options.signal);
      return { ...reportOf(plan), copiedBlobs, copiedBytes };
    } catch (error) {
      if (!hasCode(error, "BLOB_NOT_FOUND") || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

/** What `syncRepository` would do. */
export async function planRepositorySync(
  repository: Repository,
  target: ListedStorage,
  options: Pick<SyncRepositoryOptions, "delete" | "signal"> = {},
): Promise<SyncReport> {
  return reportOf(await planSync(repository.storage, target, options));
}

function reportOf({ stages, copiedBytes, deletions, unchangedBlobs, unchangedBytes }: SyncPlan): SyncReport {
  return { copiedBlobs: stages.flat().length, copiedBytes, deletedBlobs: deletions.length, unchangedBlobs, unchangedBytes };
}

async function copyAll(
  plan: SyncPlan,
  source: BlobStorage,
  target: BlobStorage,
  options: SyncRepositoryOptions,
  lock: (id: string) => PutBlobOptions,
  onCopied: (bytes: number) => void,
): Promise<void> {
  const { signal, readBack = true, parallel = DEFAULT_PARALLEL } = options;
  const inFlight = new Semaphore(BYTES_IN_FLIGHT_MAX);
  const total = plan.stages.flat().length;
  let [blobsDone, bytesDone] = [0, 0];
  const copy = async (blob: BlobMetadata): Promise<void> => {
    // What is read back takes as much again.
    await inFlight.run(() => copyBlob(source, target, blob, { readBack, lock, signal }), blob.length * (readBack ? 2 : 1), signal);
    onCopied(blob.length);
    bytesDone += blob.length;
    options.onProgress?.({ blobsDone: ++blobsDone, blobsTotal: total, bytesDone, bytesTotal: plan.copiedBytes });
  };
  for (const stage of plan.stages) await forEachLimit(stage, parallel, copy, signal);
}

async function copyBlob(
  source: BlobStorage,
  target: BlobStorage,
  { id }: BlobMetadata,
  { readBack, lock, signal }: { readonly readBack: boolean; readonly lock: (id: string) => PutBlobOptions; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const aborting = signal === undefined ? {} : { signal };
  const bytes = await source.get(id, aborting);
  const wanted = digestOf(bytes);
  await target.put(id, bytes, { ...lock(id), ...aborting });
  if (!readBack) return;
  if (digestOf(await target.get(id, aborting)) === wanted) return;
  throw new DrayError("REPO_CORRUPT", `Cannot copy "${id}" to "${target.description}": other bytes came back than were stored`, {
    hint: "The target loses or changes data; do not trust it with a repository.",
    context: { blobId: id },
  });
}

/** The object lock of a blob, where the repository has one and the target can hold it. */
function lockOf({ contents }: Repository, target: BlobStorage): (id: string) => PutBlobOptions {
  if (!target.capabilities.retention || !(contents instanceof Contents)) return () => ({});
  return (id) => contents.format.putOptionsOf(id);
}

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
