/**
 * Volume → repository: one snapshot of a directory, a file or a block device.
 *
 *   walk ─► unchanged? take the parent's object ─► listing ─► … ─► root ─► manifest ─► flush
 *        └► read ─► split ─► hash ─► deduplicate ─► seal ─► pack ─► store
 *
 * The snapshot exists when its manifest is flushed; whatever happens before leaves a repository that is as it was, with data that the next run finds again.
 */
import { lstatSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { type Clock, DrayError, type Logger, nullLogger, systemClock } from "@drayage/base";
import { type SystemCalls, systemCalls } from "@drayage/kernels";
import {
  byteStringOf,
  type DirectoryEntry,
  emptyStats,
  type Labels,
  type ObjectId,
  type PolicyTree,
  policyLabels,
  type Repository,
  type Snapshot,
  type SnapshotSource,
  type SnapshotStats,
  veleroPathPolicy,
} from "@drayage/repo";
import { AnchoredDirectory } from "../anchored-directory.ts";
import { type EntryProblem, ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { atPath } from "../path-errors.ts";
import { type DataPathProgress, type OnProgress, ProgressMeter } from "../progress.ts";
import { Checkpoints } from "./checkpoints.ts";
import { estimate } from "./estimate.ts";
import { findParents, type ParentChoice, type Parents, staleCheckpoints } from "./parents.ts";
import { factsOf } from "./source-entry.ts";
import { uploadBlockDevice } from "./upload-block.ts";
import type { UploadContext } from "./upload-context.ts";
import { openRegularFile, uploadFile } from "./upload-file.ts";
import { TreeUpload } from "./upload-tree.ts";

export interface UploadSource {
  /** A `directory` may also be a single file. A `block` device is read raw. */
  readonly kind: "directory" | "block";
  readonly path: string;
}

export interface UploadSnapshotOptions {
  readonly repository: Repository;
  readonly source: UploadSource;
  /** Under whose name it is kept, and whose line it continues. */
  readonly snapshotSource: SnapshotSource;
  readonly tags?: Labels;
  readonly description?: string;
  readonly pins?: readonly string[];
  /** @default "auto" */
  readonly parent?: ParentChoice;
  /** Saves the policy that Velero saves for a source: nothing expires by itself. */
  readonly policy?: "velero";
  /** What the policies of the source say: what is left out, how files are stored, which errors count. @default everything is stored */
  readonly policies?: PolicyTree;
  /** Compressor of file data by Kopia's name, whatever policies say; `none` for none. @default what policies say, else none */
  readonly compressor?: string;
  /** Extended attributes, ACLs among them. @default true */
  readonly xattrs?: boolean;
  /** Large files read side by side, as far as the memory budget allows. @default 2 */
  readonly parallel?: number;
  /** Bytes that the process may take. @default 352 MiB */
  readonly memoryBudget?: number;
  /** @default 5 minutes */
  readonly checkpointEveryMs?: number;
  /** Called before a manifest is saved; what it throws ends the upload. A successor uses it to stop one that is believed dead. */
  readonly fence?: () => Promise<void>;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly system?: SystemCalls;
}

export interface UploadResult {
  /** Id of the manifest: the snapshot's name in Kopia and in Velero. */
  readonly snapshotId: string;
  readonly rootEntry: DirectoryEntry;
  readonly stats: SnapshotStats;
  /** Bytes of the files that were read: those that the parent did not have as they are. */
  readonly changedBytes: number;
  /** Id of the parent that it went on from. */
  readonly parentId: string | undefined;
  /** A policy wants no snapshot that equals the one before, and this would have been one: `snapshotId` is that of its parent, and nothing was saved. */
  readonly isIdentical: boolean;
  readonly progress: DataPathProgress;
  /** Entries that are missing from the snapshot, the first thousand; `stats.errorCount` counts all. */
  readonly problems: readonly EntryProblem[];
  readonly warnings: readonly EntryProblem[];
  readonly warningCount: number;
}

const DEFAULT_PARALLEL = 2;
const DEFAULT_MEMORY_BYTES = 352 << 20;
/** Node, the index, packs under way, and what encryption leaves to the garbage collector: measured on large files. */
const BASE_MEMORY_BYTES = 224 << 20;
/** A chunk of the largest size with room to read, two pieces read ahead, and its share of what waits to be collected. */
const MEMORY_PER_FILE_BYTES = 80 << 20;
const DEFAULT_CHECKPOINT_MS = 5 * 60_000;

/**
 * Uploads a source and saves its snapshot.
 *
 * Problems of single entries are in the result; the snapshot is then without them and its summary says so. Throws PATH_NOT_FOUND, NOT_PERMITTED or PATH_IO when the root itself
 * cannot be read, REPO_* and BLOB_* when the repository fails, and the signal's reason within a second of its abort. Nothing is saved when it throws.
 *
 * Memory stays within `memoryBudget` for any volume, from 304 MiB on: 224 MiB, and 80 MiB for each file that is read side by side, of which fewer are read where the budget is
 * small. The names of the directories on the way down (some 60 bytes each) come on top, and packs on their way to the store take what the repository was opened with.
 */
export async function uploadSnapshot(options: UploadSnapshotOptions): Promise<UploadResult> {
  const { repository, snapshotSource, source, tags = {}, pins = [], description = "", signal, fence } = options;
  const clock = options.clock ?? systemClock;
  const startTimeNs = clock.nowNs();
  signal?.throwIfAborted();
  const meter = new ProgressMeter(clock, options.onProgress);
  let endedWell = false;
  try {
    meter.enter("preparing");
    const parents = await findParents(repository, options.parent ?? "auto", snapshotSource, tags, signal);
    const checkpoints = new Checkpoints({
      repository,
      clock,
      source: snapshotSource,
      description,
      startTimeNs,
      everyMs: options.checkpointEveryMs ?? DEFAULT_CHECKPOINT_MS,
      fence,
      signal,
    });
    const context = contextOf(options, clock, meter, checkpoints);
    if (options.policy === "velero") await savePolicy(repository, snapshotSource, context.parallel, signal);
    meter.enter("transferring");
    const rootEntry = await uploadRoot(context, source, parents);
    meter.enter("finishing");
    const stats = statsOf(context);
    await fence?.();
    const identical = identicalParent(context, parents, rootEntry);
    const snapshotId =
      identical?.id ??
      (await repository.snapshots.save({ source: snapshotSource, description, startTimeNs, endTimeNs: clock.nowNs(), stats, rootEntry, tags, pins }, signal));
    await checkpoints.discard();
    for (const stale of await staleCheckpoints(repository, snapshotSource, startTimeNs, signal)) await repository.snapshots.delete(stale.id, signal);
    await repository.flush(signal);
    endedWell = true;
    meter.close(true);
    return {
      snapshotId,
      rootEntry,
      stats,
      changedBytes: context.counts.bytes - context.counts.cachedBytes,
      parentId: parents.complete?.id,
      isIdentical: identical !== undefined,
      progress: meter.progress,
      problems: context.problems.kept,
      warnings: context.warnings.kept,
      warningCount: context.warnings.count,
    };
  } finally {
    if (!endedWell) meter.close(false);
  }
}

/** The parent that this upload only repeats, where a policy does not want that. As in Kopia the attributes of the root itself do not count. */
function identicalParent({ policies, problems }: UploadContext, { complete }: Parents, root: DirectoryEntry): Snapshot | undefined {
  if (policies?.effective.ignoreIdenticalSnapshots !== true || problems.count > 0) return undefined;
  return complete?.rootEntry?.objectId === root.objectId ? complete : undefined;
}

function contextOf(options: UploadSnapshotOptions, clock: Clock, meter: ProgressMeter, checkpoints: Checkpoints): UploadContext {
  const { signal, repository, compressor, policies } = options;
  const affordable = Math.floor(((options.memoryBudget ?? DEFAULT_MEMORY_BYTES) - BASE_MEMORY_BYTES) / MEMORY_PER_FILE_BYTES);
  return {
    repository,
    system: options.system ?? systemCalls,
    clock,
    logger: options.logger ?? nullLogger,
    signal,
    pacer: new Pacer(clock, signal),
    meter,
    problems: new ProblemList(),
    warnings: new ProblemList(),
    counts: { files: 0, cachedFiles: 0, directories: 0, bytes: 0, cachedBytes: 0, excludedFiles: 0, excludedDirectories: 0, ignoredErrors: 0 },
    checkpoints,
    parallel: Math.max(1, Math.min(options.parallel ?? DEFAULT_PARALLEL, affordable)),
    compressor: compressor === "" ? undefined : compressor,
    policies,
    xattrs: options.xattrs ?? true,
  };
}

async function uploadRoot(context: UploadContext, source: UploadSource, parents: Parents): Promise<DirectoryEntry> {
  const path = byteStringOf(resolve(source.path));
  // Velero names a device by where its link leads.
  if (source.kind === "block")
    return await uploadBlockDevice(
      context,
      atPath("find", path, () => realpathSync(Buffer.from(path, "latin1"), { encoding: "latin1" as BufferEncoding })),
    );
  const isDirectory = atPath("open", path, () => statSync(Buffer.from(path, "latin1"))).isDirectory();
  return isDirectory ? await uploadDirectory(context, path, parents) : await uploadSingleFile(context, path);
}

async function uploadDirectory(context: UploadContext, path: string, parents: Parents): Promise<DirectoryEntry> {
  const directory = AnchoredDirectory.open(path);
  const estimating = new AbortController();
  const { complete } = parents;
  const counted = expectTotals(context, path, complete?.rootEntry, estimating.signal);
  try {
    const stat = atPath("examine", path, () => lstatSync(directory.self, { bigint: true }));
    const entry = { name: basename(path), type: "directory" as const, size: 0, ...factsOf(stat) };
    const before = [complete, ...parents.incomplete].map((snapshot) => snapshot?.rootEntry).filter((root) => root?.type === "directory");
    const written = await new TreeUpload(context, stat.dev).directory(
      directory,
      "",
      entry,
      before.map((root) => root?.objectId).filter((id): id is ObjectId => id !== undefined),
    );
    return { ...entry, ...written };
  } finally {
    estimating.abort();
    await counted;
    directory.close();
  }
}

/** Totals from the parent where there is one, else counted beside the upload. Never fails. */
async function expectTotals(context: UploadContext, path: string, parentRoot: DirectoryEntry | undefined, ended: AbortSignal): Promise<void> {
  const { meter, clock } = context;
  if (parentRoot?.summary !== undefined) {
    meter.counts.bytesTotal = parentRoot.summary.size;
    meter.counts.filesTotal = parentRoot.summary.files;
    return;
  }
  await estimate(path, meter, new Pacer(clock, ended), () => !ended.aborted).catch(() => undefined);
}

async function uploadSingleFile(context: UploadContext, path: string): Promise<DirectoryEntry> {
  const directory = AnchoredDirectory.open(dirname(path));
  try {
    const name = basename(path);
    const file = openRegularFile(context, directory, name);
    if (file === undefined) {
      throw new DrayError("USAGE", `Cannot upload "${path}": it is neither a directory nor a regular file`);
    }
    const facts = factsOf(file.stat);
    const { objectId, size } = await uploadFile(context, file, { path: name, where: path }, () => () => undefined);
    context.counts.files++;
    context.counts.bytes += size;
    context.meter.counts.filesDone++;
    const summary = { size, files: 1, symlinks: 0, directories: 0, maxTimeNs: facts.mtimeNs, failed: 0, ignoredErrors: 0, errors: [] };
    return { name, type: "file", size, ...facts, objectId, summary };
  } finally {
    directory.close();
  }
}

function statsOf({ counts, problems }: UploadContext): SnapshotStats {
  return {
    ...emptyStats,
    totalSize: counts.bytes,
    fileCount: counts.files,
    cachedFiles: counts.cachedFiles,
    nonCachedFiles: counts.files - counts.cachedFiles,
    dirCount: counts.directories,
    excludedFileCount: counts.excludedFiles,
    excludedDirCount: counts.excludedDirectories,
    ignoredErrorCount: counts.ignoredErrors,
    errorCount: problems.count,
  };
}

async function savePolicy(repository: Repository, source: SnapshotSource, parallel: number, signal: AbortSignal | undefined): Promise<void> {
  const labels = policyLabels(source);
  const policy = veleroPathPolicy(parallel);
  const [known, ...others] = await repository.manifests.find(labels, signal);
  // One that says the same is left, so that a backup a minute does not fill the repository with policies.
  if (known !== undefined && others.length === 0 && (await repository.manifests.get(known.id, signal)).data === policy) return;
  await repository.manifests.replace(labels, policy, signal);
}
