/**
 * Volume → repository: one snapshot of a directory, a file or a block device.
 *
 *   walk ─► unchanged? take the parent's object ─► listing ─► … ─► root ─► manifest ─► flush
 *        └► read ─► split ─► hash ─► deduplicate ─► seal ─► pack ─► store
 *
 * The snapshot exists when its manifest is flushed; whatever happens before leaves a repository that is as it was, with data that the next run finds again.
 */
import { lstatSync, realpathSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, resolve } from "node:path";
import { type Clock, DrayError, type Logger, nullLogger, systemClock } from "@drayage/base";
import { createKernels, type DirectoryScan, type Kernels, portableFiles, type SystemCalls, systemCalls } from "@drayage/kernels";
import {
  byteStringOf,
  type DirectoryEntry,
  emptyStats,
  type Labels,
  type ObjectId,
  PolicyStore,
  type PolicyTree,
  policyLabels,
  type Repository,
  type Snapshot,
  type SnapshotSource,
  type SnapshotStats,
  veleroPathPolicy,
} from "@drayage/repo";
import { laneBufferBytes } from "@drayage/repo/sealing-lane";
import { AnchoredDirectory } from "../anchored-directory.ts";
import { CpuLimit } from "../cpu-limit.ts";
import { type EntryProblem, ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { atPath } from "../path-errors.ts";
import { type DataPathProgress, type OnProgress, ProgressMeter } from "../progress.ts";
import { DEVICE_BYTES_TAG } from "../restore/block-snapshot.ts";
import { BLOCK_FORMS, type BlockFormName } from "./block-form.ts";
import { CHANGE_TAGS, type ChangedBlocks } from "./changed-blocks.ts";
import { Checkpoints } from "./checkpoints.ts";
import { estimate } from "./estimate.ts";
import { READ_AHEAD_BYTES } from "./lanes/job-runner.ts";
import { UploadLanes } from "./lanes/upload-lanes.ts";
import { planMemory } from "./memory-plan.ts";
import { findParents, type ParentChoice, type Parents, staleCheckpoints } from "./parents.ts";
import { partingFrom } from "./parting.ts";
import { factsOf } from "./source-entry.ts";
import { storeOpenFile } from "./store-file.ts";
import { uploadBlockDevice } from "./upload-block.ts";
import { countStored, objectWritersOf, rewriteOf, type UploadContext } from "./upload-context.ts";
import { openRegularFile } from "./upload-file.ts";
import { TreeUpload } from "./upload-tree.ts";

export interface UploadSource {
  /** A `directory` may also be a single file. A `block` device is read raw. */
  readonly kind: "directory" | "block";
  readonly path: string;
  /** Of a device, what its storage knows of changes. */
  readonly changedBlocks?: ChangedBlocks;
  /** Of a device. @default "stream" */
  readonly form?: BlockFormName;
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
  /** Saves the policy that Velero saves for a source (nothing expires by itself), and goes by what then holds for it: the policies above it have their say as well. */
  readonly policy?: "velero";
  /** What the policies of the source say: what is left out, how files are stored, which errors count. @default everything is stored, or as `policy` has it */
  readonly policies?: PolicyTree;
  /** Compressor of file data by Kopia's name, whatever policies say; `none` for none. @default what policies say, else none */
  readonly compressor?: string;
  /** Extended attributes, ACLs among them. @default true */
  readonly xattrs?: boolean;
  /** That of withLookAhead, of the same source and options. */
  readonly scan?: DirectoryScan | undefined;
  /** Threads that read, hash and seal, as far as the memory budget allows, 8 at most; 0: only this one. @default one for each processor */
  readonly parallel?: number;
  /** Processors that the process may take while it uploads, in parts of one. @default all */
  readonly cpu?: number;
  /** Bytes that the process may take. @default 352 MiB, or what defaultMemoryBytes says of this container */
  readonly memoryBudget?: number;
  /** Called when there is a snapshot to go on from, before the source is read. */
  readonly onParents?: () => void;
  /** @default 5 minutes */
  readonly checkpointEveryMs?: number;
  /**
   * Called before a manifest is saved; what it throws ends the upload. A successor uses it to stop one that is believed dead. Before a checkpoint a failure that may pass leaves only
   * that checkpoint out.
   */
  readonly fence?: (before: "checkpoint" | "snapshot") => Promise<void>;
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

/** What Velero's policy says where nobody chose. */
const DEFAULT_PARALLEL = 2;
/** Counting reads every directory once more: an upload that is over within seconds needs no forecast. */
const ESTIMATE_AFTER_MS = 10_000;
const DEFAULT_CHECKPOINT_MS = 5 * 60_000;

/**
 * Uploads a source and saves its snapshot.
 *
 * Problems of single entries are in the result; the snapshot is then without them and its summary says so. Throws PATH_NOT_FOUND, NOT_PERMITTED or PATH_IO when the root itself
 * cannot be read, REPO_* and BLOB_* when the repository fails, and the signal's reason within a second of its abort. No snapshot is saved when it throws; an abort leaves a checkpoint where
 * the store takes less than that second for it, and the next upload goes on from there.
 *
 * Memory stays within `memoryBudget` for any volume: memory-plan.ts says how it is divided, and how little will do. USAGE when it is less than that.
 */
export async function uploadSnapshot(options: UploadSnapshotOptions): Promise<UploadResult> {
  options.signal?.throwIfAborted();
  let checkpoints: Checkpoints | undefined;
  const { signal, end } = partingFrom(options.signal, options.clock ?? systemClock, async () => checkpoints?.saveLast());
  try {
    return await upload({ ...options, ...(signal === undefined ? {} : { signal }) }, (begun) => {
      checkpoints = begun;
    });
  } finally {
    end();
  }
}

/** @param onBegin - is given what saves checkpoints from now on */
async function upload(options: UploadSnapshotOptions, onBegin: (checkpoints: Checkpoints) => void): Promise<UploadResult> {
  const { repository, snapshotSource, source, tags = {}, pins = [], description = "", signal, fence } = options;
  const clock = options.clock ?? systemClock;
  const startTimeNs = clock.nowNs();
  const meter = new ProgressMeter(clock, options.onProgress);
  let endedWell = false;
  let context: UploadContext | undefined;
  try {
    meter.enter("preparing");
    const parents = await findParents(repository, options.parent ?? "auto", snapshotSource, tags, signal);
    if (parents.complete !== undefined || parents.incomplete.length > 0) options.onParents?.();
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
    onBegin(checkpoints);
    const policies = options.policies ?? (options.policy === "velero" ? await veleroPolicies(options) : undefined);
    context = await contextOf({ ...options, ...(policies === undefined ? {} : { policies }) }, clock, meter, checkpoints);
    meter.enter("transferring");
    const rootEntry = await uploadRoot(context, options, parents);
    meter.enter("finishing");
    const stats = statsOf(context);
    await fence?.("snapshot");
    const identical = identicalParent(context, parents, rootEntry);
    const snapshotId =
      identical?.id ??
      (await repository.snapshots.save(
        {
          source: snapshotSource,
          description,
          startTimeNs,
          endTimeNs: clock.nowNs(),
          stats,
          rootEntry,
          tags: { ...tags, ...deviceTags(source, context) },
          pins,
        },
        signal,
      ));
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
    await context?.lanes?.close();
  }
}

/** How long the device of a padded object is, and what the next upload of it goes on from. */
function deviceTags({ changedBlocks, form }: UploadSource, { deviceReading = "everything", deviceBytes }: UploadContext): Labels {
  const size = form === "blocks" && deviceBytes !== undefined ? { [DEVICE_BYTES_TAG]: String(deviceBytes) } : {};
  if (changedBlocks === undefined) return size;
  const { changeId, volumeId } = changedBlocks;
  return { ...size, [CHANGE_TAGS.changeId]: changeId, [CHANGE_TAGS.volumeId]: volumeId, [CHANGE_TAGS.read]: deviceReading };
}

/** The parent that this upload only repeats, where a policy does not want that. As in Kopia the attributes of the root itself do not count. */
function identicalParent({ policies, problems }: UploadContext, { complete }: Parents, root: DirectoryEntry): Snapshot | undefined {
  if (policies?.effective.ignoreIdenticalSnapshots !== true || problems.count > 0) return undefined;
  return complete?.rootEntry?.objectId === root.objectId ? complete : undefined;
}

async function contextOf(options: UploadSnapshotOptions, clock: Clock, meter: ProgressMeter, checkpoints: Checkpoints): Promise<UploadContext> {
  const { signal, repository, logger = nullLogger, policies } = options;
  const compressor = options.compressor === "" ? undefined : options.compressor;
  const system = options.system ?? systemCalls;
  const processors = options.cpu ?? Number.POSITIVE_INFINITY;
  const pacer = new Pacer(clock, signal, new CpuLimit(processors));
  const kernels = await createKernels({ logger });
  const files = options.system === undefined ? kernels.files : portableFiles(system);
  const smallFileBytes = repository.objectWriters.createSplitter().minChunkBytes;
  const metadataWriters = objectWritersOf({ repository, policies });
  const { contents } = repository;
  return {
    ...{ repository, system, clock, logger, signal, pacer, meter, checkpoints, compressor, policies, files },
    lanes: openLanes(options, kernels, { clock, pacer, meter, processors }),
    splitter: repository.format.splitter,
    smallFileBytes,
    problems: new ProblemList(),
    warnings: new ProblemList(),
    counts: { files: 0, cachedFiles: 0, directories: 0, bytes: 0, cachedBytes: 0, excludedFiles: 0, excludedDirectories: 0, ignoredErrors: 0 },
    xattrs: options.xattrs ?? true,
    scan: options.scan,
    metadataWriters,
    rewrite: rewriteOf({ files, contents, smallFileBytes, metadataCompressor: metadataWriters.metadataCompressor }, kernels),
    deviceReading: undefined,
    deviceBytes: undefined,
  };
}

function openLanes(
  { repository, source, signal, memoryBudget, parallel = availableParallelism() }: UploadSnapshotOptions,
  kernels: Kernels,
  on: { readonly clock: Clock; readonly pacer: Pacer; readonly meter: ProgressMeter; readonly processors: number },
): UploadLanes | undefined {
  const lanes = repository.contents.openLanes?.();
  if (lanes === undefined) return undefined;
  const splitters = [undefined, BLOCK_FORMS[source.form ?? "stream"].splitter];
  const contentBytesMax = Math.max(...splitters.map((splitter) => repository.objectWriters.createSplitter(splitter).maxChunkBytes));
  const packBufferBytes = laneBufferBytes(lanes.options, contentBytesMax);
  const plan = planMemory({
    ...{ budgetBytes: memoryBudget, threadsWanted: Math.min(parallel, Math.ceil(on.processors)), maxChunkBytes: contentBytesMax, packBufferBytes },
    readAheadBytes: source.kind === "block" ? READ_AHEAD_BYTES : 0,
    packsAheadMax: Math.max(1, Math.floor(lanes.packBytesInFlightMax / lanes.options.maxPackBytes)),
  });
  return new UploadLanes({
    ...{ lanes, kernels, clock: on.clock, signal, contentBytesMax, ...plan },
    processors: on.processors,
    pace: () => on.pacer.pace(64),
    onCounts: countStored(on.meter),
  });
}

async function uploadRoot(
  context: UploadContext,
  { source, snapshotSource }: Pick<UploadSnapshotOptions, "source" | "snapshotSource">,
  parents: Parents,
): Promise<DirectoryEntry> {
  const path = byteStringOf(resolve(source.path));
  if (source.kind === "block") {
    const { changedBlocks, form = "stream" } = source;
    const stored = await uploadBlockDevice(
      context,
      // Velero names a device by where its link leads.
      atPath("find", path, () => realpathSync(Buffer.from(path, "latin1"), { encoding: "latin1" as BufferEncoding })),
      { form, snapshotSource, parent: parents.complete, ...(changedBlocks === undefined ? {} : { changedBlocks }) },
    );
    context.deviceBytes = stored.deviceBytes;
    return stored.rootEntry;
  }
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
    // Nothing is compared: its memory is for others.
    if (before.length === 0) context.scan?.drop();
    const written = await new TreeUpload(context, stat.dev).root(
      directory,
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
  // A short upload is over before counting has told anything; nobody waits for its end either.
  await clock.sleep(ESTIMATE_AFTER_MS, ended).catch(() => undefined);
  if (ended.aborted) return;
  await estimate(path, context.files, meter, new Pacer(clock, ended), () => !ended.aborted).catch(() => undefined);
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
    const { objectId, size } = await storeOpenFile(context, file, { path: name, where: path }, () => () => undefined);
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

/** As Velero does it: the source's own policy is saved, and what the repository's global policy and those of host and user say besides it holds. */
async function veleroPolicies({ repository, snapshotSource, parallel, signal }: UploadSnapshotOptions): Promise<PolicyTree> {
  await savePolicy(repository, snapshotSource, parallel ?? DEFAULT_PARALLEL, signal);
  return await new PolicyStore(repository.manifests).tree(snapshotSource, signal);
}

async function savePolicy(repository: Repository, source: SnapshotSource, parallel: number, signal: AbortSignal | undefined): Promise<void> {
  const labels = policyLabels(source);
  const policy = veleroPathPolicy(parallel);
  const [known, ...others] = await repository.manifests.find(labels, signal);
  // One that says the same is left, so that a backup a minute does not fill the repository with policies.
  if (known !== undefined && others.length === 0 && (await repository.manifests.get(known.id, signal)).data === policy) return;
  await repository.manifests.replace(labels, policy, signal);
}
