/**
 * A snapshot of restic's becomes one of Kopia's: the same tree and the same bytes under the names that today's restores look for.
 *
 *   resumed?  ─► import ─► manifest ─► flush ─► read back: every content decrypted, hashed and compared ─► done
 *
 * The chain of trust has no gap: what restic's packs give is compared with its SHA-256 before it is used, what is stored is named by its hash, and reading back proves that the store
 * has it. A snapshot that does not pass is removed again.
 *
 * An import that was cut off goes on from its last checkpoint; one that ended is found by its tag and made only once.
 */
import { type Clock, DrayError, hasCode, systemClock } from "@drayage/base";
import { type DirectoryEntry, emptyStats, type Labels, type ObjectId, type Repository, type Snapshot, type SnapshotSource } from "@drayage/repo";
import type { ResticRepository, ResticSnapshot } from "@drayage/restic";
import { type EntryProblem, ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { type DataPathProgress, type OnProgress, ProgressMeter } from "../progress.ts";
import { findInResticSnapshot, type ResticRef, ResticSource, resticRootOf } from "../restore/restic-source.ts";
import type { RestoreEntry } from "../restore/restore-source.ts";
import { Checkpoints } from "../upload/checkpoints.ts";
import { verifySnapshots } from "../verify/verify-snapshot.ts";
import type { ImportContext } from "./import-context.ts";
import { ImportTree } from "./import-tree.ts";

/** On a snapshot that was imported: the snapshot of restic's that it is. */
export const IMPORTED_TAG = "restic-snapshot";

export interface ImportResticOptions {
  readonly from: ResticRepository;
  readonly snapshot: ResticSnapshot;
  readonly repository: Repository;
  /** Under whose name it is kept. */
  readonly snapshotSource: SnapshotSource;
  readonly tags?: Labels;
  readonly description?: string;
  readonly pins?: readonly string[];
  /** It is a volume: restic keeps nothing of its own directory, which then belongs to whom everything directly in it belongs. @default false: root's, mode 755 */
  readonly isVolume?: boolean;
  /** Saves the snapshot without the files that cannot be read. @default false: nothing is saved then */
  readonly keepGoing?: boolean;
  /** Reads back what was stored. @default true */
  readonly verify?: boolean;
  /** Compressor of file data by Kopia's name. @default none */
  readonly compressor?: string;
  /** @default 5 minutes */
  readonly checkpointEveryMs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly clock?: Clock;
}

export interface ImportResult {
  readonly snapshotId: string;
  readonly rootEntry: DirectoryEntry;
  /** It had been imported before; it was read back again, and nothing was stored. */
  readonly isKnown: boolean;
  readonly files: number;
  /** Of these, files that were not read: a checkpoint had them, or they are further names of one. */
  readonly cachedFiles: number;
  /** Bytes of the files. */
  readonly bytes: number;
  readonly progress: DataPathProgress;
  /** Entries that are missing, the first thousand. */
  readonly problems: readonly EntryProblem[];
  readonly problemCount: number;
  /** Bytes of contents that were read back and are good. */
  readonly verifiedBytes: number;
}

const DEFAULT_CHECKPOINT_MS = 5 * 60_000;
const PROBLEMS_NAMED = 20;

/**
 * Imports one snapshot. Throws REPO_CORRUPT naming the files that are damaged unless it is to keep going, or when what was stored cannot be read back; REPO_* and BLOB_* when either
 * repository fails; the signal's reason. Nothing but checkpoints is left when it throws.
 */
export async function importResticSnapshot(options: ImportResticOptions): Promise<ImportResult> {
  const { repository, snapshot, signal, from } = options;
  const clock = options.clock ?? systemClock;
  const meter = new ProgressMeter(clock, options.onProgress);
  const problems = new ProblemList();
  let endedWell = false;
  try {
    meter.enter("preparing");
    meter.counts.bytesTotal = snapshot.summary?.bytes ?? 0;
    meter.counts.filesTotal = snapshot.summary?.files ?? 0;
    const { complete, checkpoints: before } = await findImports(repository, options);
    if (complete?.rootEntry !== undefined) {
      const verifiedBytes = await verified(options, complete);
      endedWell = true;
      const { files = 0, size: bytes = 0 } = complete.rootEntry.summary ?? {};
      meter.counts.filesDone = files;
      meter.counts.bytesDone = bytes;
      meter.close(true);
      return importResult(complete.id, complete.rootEntry, { files, bytes, cachedFiles: files, isKnown: true, verifiedBytes, problems, meter });
    }
    const checkpoints = new Checkpoints({
      ...{ repository, clock, source: options.snapshotSource, description: checkpointNote(snapshot), startTimeNs: snapshot.timeNs, fence: undefined, signal },
      everyMs: options.checkpointEveryMs ?? DEFAULT_CHECKPOINT_MS,
    });
    const counts = { files: 0, cachedFiles: 0, directories: 0, bytes: 0 };
    const context: ImportContext = {
      repository,
      signal,
      meter,
      checkpoints,
      problems,
      counts,
      pacer: new Pacer(clock, signal),
      compressor: options.compressor,
    };
    meter.enter("transferring");
    const parents = before.map(({ rootEntry }) => rootEntry?.objectId).filter((id): id is ObjectId => id !== undefined);
    const rootEntry = await new ImportTree(context, from).root(await rootOf(options), parents);
    if (problems.count > 0 && options.keepGoing !== true) throw damaged(snapshot, problems);
    meter.enter("finishing");
    const { tags = {}, pins = [], description = "" } = options;
    const snapshotId = await repository.snapshots.save(
      {
        ...{ source: options.snapshotSource, description, startTimeNs: snapshot.timeNs, endTimeNs: snapshot.timeNs, rootEntry, pins },
        stats: { ...emptyStats, totalSize: counts.bytes, fileCount: counts.files, dirCount: counts.directories, errorCount: problems.count },
        tags: { ...tags, [IMPORTED_TAG]: snapshot.id },
      },
      signal,
    );
    await checkpoints.discard();
    for (const { id } of before) await repository.snapshots.delete(id, signal);
    await repository.flush(signal);
    const verifiedBytes = await verified(options, await repository.snapshots.get(snapshotId, signal));
    endedWell = true;
    meter.close(true);
    return importResult(snapshotId, rootEntry, { ...counts, isKnown: false, verifiedBytes, problems, meter });
  } finally {
    if (!endedWell) meter.close(false);
  }
}

/**
 * The root that the snapshot gets. restic keeps what it was given by an absolute path below all the folders of that path, Kopia keeps the folder itself; what was given relative to its folder
 * (VolSync's mover: `restic backup .`) lies at the root already. A group that everything in a volume shares is what Kubernetes gave it by `fsGroup`, which also makes its directory writable for that group.
 */
async function rootOf({ from, snapshot, isVolume, signal }: ImportResticOptions): Promise<RestoreEntry<ResticRef>> {
  const root = resticRootOf(snapshot);
  if (isVolume !== true) {
    const [path, ...others] = snapshot.paths;
    if (path === undefined || others.length > 0) return root;
    const folder = await findInResticSnapshot(from, snapshot, path, signal).catch((error: unknown) => {
      if (hasCode(error, "PATH_NOT_FOUND")) return undefined;
      throw error;
    });
    return folder?.type === "directory" ? folder : root;
  }
  const owners = new Set<number>();
  const groups = new Set<number>();
  for await (const batch of new ResticSource(from).list(root, signal).batches()) {
    for (const { uid, gid } of batch) {
      owners.add(uid);
      groups.add(gid);
    }
  }
  const [uid = 0] = owners.size === 1 ? owners : [];
  const [gid = 0] = groups.size === 1 ? groups : [];
  return { ...root, uid, gid, mode: gid === 0 ? 0o755 : 0o2775 };
}

/** The snapshot of that source which this one of restic's became already; undefined when there is none. */
export async function findImported(
  repository: Repository,
  source: SnapshotSource,
  snapshot: Pick<ResticSnapshot, "id">,
  signal?: AbortSignal,
): Promise<Snapshot | undefined> {
  const { snapshots } = await repository.snapshots.list({ source, tags: { [IMPORTED_TAG]: snapshot.id }, ...(signal === undefined ? {} : { signal }) });
  return snapshots.findLast(({ incomplete, rootEntry }) => incomplete === undefined && rootEntry !== undefined);
}

/** One that left files out is made anew: its source may be whole by now. */
async function findImports(
  repository: Repository,
  { snapshotSource: source, snapshot, signal }: ImportResticOptions,
): Promise<{ readonly complete: Snapshot | undefined; readonly checkpoints: readonly Snapshot[] }> {
  const found = await findImported(repository, source, snapshot, signal);
  const { snapshots } = await repository.snapshots.list({ source, ...(signal === undefined ? {} : { signal }) });
  const note = checkpointNote(snapshot);
  return {
    complete: found !== undefined && found.stats.errorCount === 0 ? found : undefined,
    checkpoints: snapshots.filter(({ incomplete, description }) => incomplete !== undefined && description === note),
  };
}

/** Only a checkpoint of the very same snapshot is gone on from: equal times and sizes then mean equal bytes. */
function checkpointNote({ id }: ResticSnapshot): string {
  return `Import of restic snapshot ${id}`;
}

async function verified({ repository, verify = true, signal, clock }: ImportResticOptions, snapshot: Snapshot): Promise<number> {
  if (!verify) return 0;
  const common = { repository, snapshots: [snapshot], mode: "full" as const };
  const report = await verifySnapshots({ ...common, ...(signal === undefined ? {} : { signal }), ...(clock === undefined ? {} : { clock }) });
  if (report.problemCount === 0) return report.bytesRead;
  await repository.snapshots.delete(snapshot.id, signal);
  await repository.flush(signal);
  throw new DrayError(
    "REPO_CORRUPT",
    `Cannot keep the import of a restic snapshot: ${report.problemCount} entries could not be read back: ${named(report.problems)}`,
    {
      hint: "The store did not keep what was written; `dray repo validate-provider` examines it.",
    },
  );
}

function damaged({ id }: ResticSnapshot, problems: ProblemList): DrayError {
  const count = problems.count === 1 ? "1 entry" : `${problems.count} entries`;
  return new DrayError("REPO_CORRUPT", `Cannot import restic snapshot "${id}": ${count} cannot be read: ${named(problems.kept)}`, {
    hint: "--keep-going imports the rest.",
  });
}

function named(problems: readonly EntryProblem[]): string {
  const more = problems.length > PROBLEMS_NAMED ? "; and more" : "";
  return `${problems
    .slice(0, PROBLEMS_NAMED)
    .map(({ path, message }) => `"${path}": ${message}`)
    .join("; ")}${more}`;
}

function importResult(
  snapshotId: string,
  rootEntry: DirectoryEntry,
  of: Pick<ImportResult, "files" | "cachedFiles" | "bytes" | "isKnown" | "verifiedBytes"> & { readonly problems: ProblemList; readonly meter: ProgressMeter },
): ImportResult {
  const { files, cachedFiles, bytes, isKnown, verifiedBytes, problems, meter } = of;
  return {
    snapshotId,
    rootEntry,
    files,
    cachedFiles,
    bytes,
    isKnown,
    verifiedBytes,
    progress: meter.progress,
    problems: problems.kept,
    problemCount: problems.count,
  };
}
