/** Repository → volume: a snapshot, or a part of one, into a directory, a file or a block device. */
import { opendirSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { type Clock, DrayError, makeFolders, systemClock } from "@drayage/base";
import { type SystemCalls, systemCalls } from "@drayage/kernels";
import { byteStringOf, type DirectoryEntry, type Repository, textOfByteString } from "@drayage/repo";
import { AnchoredDirectory } from "../anchored-directory.ts";
import { CpuLimit } from "../cpu-limit.ts";
import { type EntryProblem, ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { atPath, pathError } from "../path-errors.ts";
import { type DataPathProgress, type OnProgress, ProgressMeter } from "../progress.ts";
import { KopiaSource, restoreEntryOf } from "./kopia-source.ts";
import type { TransferStatistics } from "./planned-transfer.ts";
import { restoreBlockDevice } from "./restore-block.ts";
import type { RestoreContext, RestoreLimits } from "./restore-context.ts";
import { restoreLimits, withWritePool } from "./restore-limits.ts";
import type { RestoreEntry, RestoreSource } from "./restore-source.ts";
import { TreeRestore } from "./restore-tree.ts";
import type { WritePool } from "./write-pool.ts";

export interface RestoreTarget {
  /** A `directory` is made where there is none; for a root that is a file, it may be the file's new path. A `block` device is written raw. */
  readonly kind: "directory" | "block";
  readonly path: string;
}

interface RestoreOptions {
  readonly target: RestoreTarget;
  /** How much of a device's data is wanted: what follows is padding. @default all of it */
  readonly deviceBytes?: number;
  /** Into a directory that is not empty, replacing what has the same name. @default false */
  readonly overwrite?: boolean;
  /**
   * With `overwrite`: remove what the directories that are restored hold and the snapshot does not; the `lost+found` of the target stays, and so does, with a warning, what lies on another file system
   * and everything where the snapshot says that it lacks what could not be read. What the directories that lead to where the restore is held before is kept by name, beside `memoryBudget`.
   * @default false
   */
  readonly deleteOthers?: boolean;
  /** Threads that decode and write. @default the CPUs that this process may use, 4 at most */
  readonly parallel?: number;
  /** Processors that the process may take while it restores, in parts of one. @default all */
  readonly cpu?: number;
  /** Leave every block of zeros as a hole. @default false: only what was a hole */
  readonly sparse?: boolean;
  /** Read back what was written. @default false */
  readonly verify?: boolean;
  /** Wait until the target's file system has written everything, and fail when it could not. Block devices are always flushed. @default false */
  readonly flush?: boolean;
  /** Go on after a failed entry. @default false */
  readonly keepGoing?: boolean;
  /** Bytes that the process may take; with too few for anything it fails with USAGE. @default 352 MiB, or what defaultMemoryBytes says of this container */
  readonly memoryBudget?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly clock?: Clock;
  /** Other calls than the system's; everything is then done in the calling thread. */
  readonly system?: SystemCalls;
  /** Other bounds than those that follow from the memory budget. */
  readonly limits?: Partial<RestoreLimits>;
}

export interface RestoreSnapshotOptions extends RestoreOptions {
  readonly repository: Repository;
  /** The entry to restore: the root of a snapshot, or what `findInSnapshot` gives. */
  readonly root: DirectoryEntry;
}

export interface RestoreFromOptions extends RestoreOptions {
  readonly source: RestoreSource;
  readonly root: RestoreEntry;
  /** Leave owner, mode and times of the target directory as they are, for formats that know nothing of the root. @default false */
  readonly keepRootAttributes?: boolean;
  /** What is below the root, where that is known. */
  readonly expected?: { readonly bytes: number; readonly files: number };
}

/** What was asked of the store. */
export interface RestoreReading {
  /** Ranges of packs that were fetched. */
  readonly requests: number;
  /** Bytes fetched, listings and what lay between contents included. */
  readonly bytesFetched: number;
  /** Bytes of the contents that were wanted, as they are stored: what of `bytesFetched` is more was read for nothing. */
  readonly bytesNeeded: number;
}

export interface RestoreResult {
  readonly progress: DataPathProgress;
  /** Entries that were not restored, the first thousand. */
  readonly problems: readonly EntryProblem[];
  readonly problemCount: number;
  readonly warnings: readonly EntryProblem[];
  readonly warningCount: number;
  readonly read: RestoreReading;
}

/** What a fresh ext4 volume holds. */
const BELONGS_TO_THE_FILE_SYSTEM = "lost+found";

/**
 * Restores an entry of a snapshot.
 *
 * Owners, modes, times to the nanosecond, extended attributes, hard links and holes come back; what the target or the caller's rights do not allow is a warning. Nothing is ever
 * written outside of the target: names that would lead out are refused (PATH_ESCAPES_TARGET) and symbolic links are made but never followed. A file that fails on the way is
 * removed again.
 *
 * Throws PATH_NOT_EMPTY when the target holds anything and `overwrite` is off, PATH_NO_SPACE naming the path when the target is full, PATH_* and REPO_* for the first entry that
 * fails unless `keepGoing`, and the signal's reason within a second of its abort.
 *
 * Memory stays within `memoryBudget`: beside 112 MiB for the process and 32 for each thread, ranges under way take what is left, however many files there are.
 */
export async function restoreSnapshot({ repository, root, ...options }: RestoreSnapshotOptions): Promise<RestoreResult> {
  const { summary } = root;
  return await restoreFrom({
    ...options,
    source: new KopiaSource(repository, root),
    root: restoreEntryOf(root),
    ...(summary === undefined ? {} : { expected: { bytes: summary.size, files: summary.files } }),
  });
}

/** Restores an entry of any source, as `restoreSnapshot` does. */
export async function restoreFrom(options: RestoreFromOptions): Promise<RestoreResult> {
  const clock = options.clock ?? systemClock;
  options.signal?.throwIfAborted();
  const meter = new ProgressMeter(clock, options.onProgress);
  let endedWell = false;
  try {
    const context = contextOf(options, clock, meter);
    const { root, expected } = options;
    meter.counts.bytesTotal = expected?.bytes ?? root.size;
    meter.counts.filesTotal = expected?.files ?? 1;
    meter.counts.totalIsExact = expected !== undefined || root.type === "file";
    meter.enter("transferring");
    const statistics = await withWritePool(context, options, (pool) => restoreRoot(context, pool, options));
    endedWell = true;
    meter.close(true);
    return {
      progress: meter.progress,
      problems: context.problems.kept,
      problemCount: context.problems.count,
      warnings: context.warnings.kept,
      warningCount: context.warnings.count,
      read: { ...statistics, bytesFetched: statistics.bytesFetched + options.source.bytesFetched },
    };
  } finally {
    if (!endedWell) meter.close(false);
  }
}

function contextOf(options: RestoreFromOptions, clock: Clock, meter: ProgressMeter): RestoreContext {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  return {
    source: options.source,
    system: options.system ?? systemCalls,
    clock,
    signal,
    stop,
    pacer: new Pacer(clock, signal, new CpuLimit(options.cpu ?? Number.POSITIVE_INFINITY)),
    meter,
    problems: new ProblemList(),
    warnings: new ProblemList(),
    overwrite: options.overwrite ?? false,
    deleteOthers: options.overwrite === true && options.deleteOthers === true,
    sparse: options.sparse ?? false,
    verify: options.verify ?? false,
    flush: options.flush ?? false,
    keepGoing: options.keepGoing ?? false,
    limits: restoreLimits(options),
  };
}

async function restoreRoot(context: RestoreContext, pool: WritePool, options: RestoreFromOptions): Promise<TransferStatistics> {
  const { root, target } = options;
  const path = byteStringOf(resolve(target.path));
  if (root.type !== "directory" && root.type !== "file") {
    const what = root.type === "symlink" ? "symbolic link" : root.type;
    throw new DrayError("USAGE", `Cannot restore the ${what} "${textOfByteString(root.name)}" alone: restore the directory that it is in`);
  }
  if (target.kind === "block") {
    const file = root.type === "directory" ? await onlyFileOf(context, root) : root;
    if (file === undefined) throw new DrayError("USAGE", "Cannot restore to a block device: the snapshot holds a directory, not the bytes of a device");
    return await restoreBlockDevice(context, pool, file, path, options.deviceBytes);
  }
  return root.type === "file" ? await restoreSingleFile(context, pool, root, path) : await restoreDirectory(context, pool, options, path);
}

async function onlyFileOf({ source, signal }: RestoreContext, root: RestoreEntry): Promise<RestoreEntry | undefined> {
  let only: RestoreEntry | undefined;
  for await (const batch of source.list(root, signal).batches()) {
    for (const entry of batch) {
      if (only !== undefined || entry.type !== "file") return undefined;
      only = entry;
    }
  }
  return only;
}

async function restoreDirectory(context: RestoreContext, pool: WritePool, options: RestoreFromOptions, path: string): Promise<TransferStatistics> {
  const at = Buffer.from(path, "latin1");
  const made = atPath("create directory", path, () => makeFolders(at, 0o700));
  if (!made && !context.overwrite) assertEmpty(path);
  const directory = AnchoredDirectory.open(path);
  try {
    const tree = new TreeRestore(context, pool, directory);
    await tree.runDirectory(options.root, options.keepRootAttributes === true);
    await flush(context, directory);
    return tree.statistics;
  } finally {
    directory.close();
  }
}

async function restoreSingleFile(context: RestoreContext, pool: WritePool, root: RestoreEntry, path: string): Promise<TransferStatistics> {
  const existing = statSync(Buffer.from(path, "latin1"), { throwIfNoEntry: false });
  const [folder, name] = existing?.isDirectory() === true ? [path, basename(root.name)] : [dirname(path), basename(path)];
  if (existing !== undefined && !existing.isDirectory() && !context.overwrite) throw notEmpty(path, "it exists");
  const directory = AnchoredDirectory.open(folder);
  try {
    const tree = new TreeRestore(context, pool, directory);
    await tree.runFile({ ...root, name });
    await flush(context, directory);
    return tree.statistics;
  } finally {
    directory.close();
  }
}

/** What the kernel took and could not write afterwards (a thin volume that is full, a server that is gone) is told by nothing but a flush. */
async function flush({ flush: isWanted, system, meter }: RestoreContext, directory: AnchoredDirectory): Promise<void> {
  if (!isWanted) return;
  meter.enter("finishing");
  await system.syncFs(directory.fd).catch((error: unknown) => {
    throw pathError("flush", directory.path, error);
  });
}

function assertEmpty(path: string): void {
  atPath("open target", path, () => {
    const handle = opendirSync(Buffer.from(path, "latin1"), { encoding: "latin1" });
    try {
      for (let entry = handle.readSync(); entry !== null; entry = handle.readSync()) {
        if (!isOfTheFileSystem(path, entry.name)) throw notEmpty(path, `it holds "${textOfByteString(entry.name)}"`);
      }
    } finally {
      handle.closeSync();
    }
  });
}

function isOfTheFileSystem(path: string, name: string): boolean {
  if (name !== BELONGS_TO_THE_FILE_SYSTEM) return false;
  try {
    return readdirSync(Buffer.from(`${path}/${name}`, "latin1")).length === 0;
  } catch {
    return false;
  }
}

function notEmpty(path: string, why: string): DrayError {
  return new DrayError("PATH_NOT_EMPTY", `Cannot restore to "${textOfByteString(path)}": ${why}, nothing was wanted there`, {
    hint: "Choose an empty directory, or allow overwriting.",
  });
}
