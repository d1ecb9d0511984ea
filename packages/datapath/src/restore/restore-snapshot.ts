/** Repository → volume: a snapshot, or a part of one, into a directory, a file or a block device. */
import { mkdirSync, opendirSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { type Clock, DrayError, Semaphore, systemClock } from "@drayage/base";
import { type SystemCalls, systemCalls } from "@drayage/kernels";
import { byteStringOf, type DirectoryEntry, DirectoryListing, type ObjectId, type Repository, textOfByteString } from "@drayage/repo";
import { AnchoredDirectory } from "../anchored-directory.ts";
import { type EntryProblem, ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { atPath, pathError } from "../path-errors.ts";
import { type DataPathProgress, type OnProgress, ProgressMeter } from "../progress.ts";
import { restoreBlockDevice } from "./restore-block.ts";
import type { RestoreContext } from "./restore-context.ts";
import { restoreFile } from "./restore-file.ts";
import { TreeRestore } from "./restore-tree.ts";

export interface RestoreTarget {
  /** A `directory` is made where there is none; for a root that is a file, it may be the file's new path. A `block` device is written raw. */
  readonly kind: "directory" | "block";
  readonly path: string;
}

export interface RestoreSnapshotOptions {
  readonly repository: Repository;
  /** The entry to restore: the root of a snapshot, or what `findInSnapshot` gives. */
  readonly root: DirectoryEntry;
  readonly target: RestoreTarget;
  /** Into a directory that is not empty, replacing what has the same name. @default false */
  readonly overwrite?: boolean;
  /** Files being written side by side. @default 8 */
  readonly parallel?: number;
  /** Leave every block of zeros as a hole. @default false: only what was a hole */
  readonly sparse?: boolean;
  /** Read back what was written. @default false */
  readonly verify?: boolean;
  /** Wait until the target's file system has written everything, and fail when it could not. Block devices are always flushed. @default false */
  readonly flush?: boolean;
  /** Go on after a failed entry. @default false */
  readonly keepGoing?: boolean;
  /** Bytes that the process may take. @default 352 MiB */
  readonly memoryBudget?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly clock?: Clock;
  readonly system?: SystemCalls;
}

export interface RestoreResult {
  readonly progress: DataPathProgress;
  /** Entries that were not restored, the first thousand. */
  readonly problems: readonly EntryProblem[];
  readonly problemCount: number;
  readonly warnings: readonly EntryProblem[];
  readonly warningCount: number;
}

const DEFAULT_PARALLEL = 8;
const DEFAULT_MEMORY_BYTES = 352 << 20;
const BASE_MEMORY_BYTES = 160 << 20;
const CHUNK_MEMORY_MIN_BYTES = 16 << 20;
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
 * Memory stays within `memoryBudget`: beside 160 MiB for the process, contents under way take what is left, however many files there are.
 */
export async function restoreSnapshot(options: RestoreSnapshotOptions): Promise<RestoreResult> {
  const clock = options.clock ?? systemClock;
  options.signal?.throwIfAborted();
  const meter = new ProgressMeter(clock, options.onProgress);
  let endedWell = false;
  try {
    const context = contextOf(options, clock, meter);
    expectTotals(meter, options.root);
    meter.enter("transferring");
    await restoreRoot(context, options);
    endedWell = true;
    meter.close(true);
    return {
      progress: meter.progress,
      problems: context.problems.kept,
      problemCount: context.problems.count,
      warnings: context.warnings.kept,
      warningCount: context.warnings.count,
    };
  } finally {
    if (!endedWell) meter.close(false);
  }
}

function contextOf(options: RestoreSnapshotOptions, clock: Clock, meter: ProgressMeter): RestoreContext {
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  return {
    repository: options.repository,
    system: options.system ?? systemCalls,
    clock,
    signal,
    stop,
    pacer: new Pacer(clock, signal),
    meter,
    problems: new ProblemList(),
    warnings: new ProblemList(),
    overwrite: options.overwrite ?? false,
    sparse: options.sparse ?? false,
    verify: options.verify ?? false,
    flush: options.flush ?? false,
    keepGoing: options.keepGoing ?? false,
    fileSlots: new Semaphore(Math.max(1, options.parallel ?? DEFAULT_PARALLEL)),
    chunkBytes: new Semaphore(Math.max(CHUNK_MEMORY_MIN_BYTES, ((options.memoryBudget ?? DEFAULT_MEMORY_BYTES) - BASE_MEMORY_BYTES) / 2)),
    zeroObjects: new Set(),
  };
}

function expectTotals(meter: ProgressMeter, root: DirectoryEntry): void {
  meter.counts.bytesTotal = root.summary?.size ?? root.size;
  meter.counts.filesTotal = root.summary?.files ?? 1;
  meter.counts.totalIsExact = root.summary !== undefined;
}

async function restoreRoot(context: RestoreContext, { root, target }: RestoreSnapshotOptions): Promise<void> {
  const path = byteStringOf(resolve(target.path));
  if (root.type === "symlink")
    throw new DrayError("USAGE", `Cannot restore the symbolic link "${textOfByteString(root.name)}" alone: restore the directory that it is in`);
  if (target.kind === "block") {
    const file = root.type === "directory" ? await blockFileOf(context.repository, root.objectId, context.signal) : root;
    if (file === undefined) throw new DrayError("USAGE", "Cannot restore to a block device: the snapshot holds a directory, not the bytes of a device");
    await restoreBlockDevice(context, file, path);
    return;
  }
  if (root.type === "file") await restoreSingleFile(context, root, path);
  else await restoreDirectory(context, root, path);
}

async function restoreDirectory(context: RestoreContext, root: DirectoryEntry, path: string): Promise<void> {
  const at = Buffer.from(path, "latin1");
  const made = atPath("create directory", path, () => mkdirSync(at, { recursive: true, mode: 0o700 })) !== undefined;
  if (!made && !context.overwrite) assertEmpty(path);
  const directory = AnchoredDirectory.open(path);
  try {
    await new TreeRestore(context, directory).run(root.objectId, root);
    await flush(context, directory);
  } finally {
    directory.close();
  }
}

async function restoreSingleFile(context: RestoreContext, root: DirectoryEntry, path: string): Promise<void> {
  const existing = statSync(Buffer.from(path, "latin1"), { throwIfNoEntry: false });
  const [folder, name] = existing?.isDirectory() === true ? [path, basename(root.name)] : [dirname(path), basename(path)];
  if (existing !== undefined && !existing.isDirectory() && !context.overwrite) throw notEmpty(path, "it exists");
  const directory = AnchoredDirectory.open(folder);
  try {
    await restoreFile(context, directory, { ...root, name }, name);
    await flush(context, directory);
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

/** The file of a block snapshot's root directory: its only entry, a file. Undefined when the directory is another one. */
export async function blockFileOf(repository: Repository, root: ObjectId, signal?: AbortSignal): Promise<DirectoryEntry | undefined> {
  let only: DirectoryEntry | undefined;
  for await (const entry of new DirectoryListing(repository.objects, root, signal).entries()) {
    if (only !== undefined || entry.type !== "file") return undefined;
    only = entry;
  }
  return only;
}

/** Whether a root entry is that of a block snapshot: its only entry is a file whose name is a path, which no file of a directory can have. */
export async function isBlockSnapshot(repository: Repository, root: DirectoryEntry, signal?: AbortSignal): Promise<boolean> {
  if (root.type !== "directory" || (root.summary !== undefined && root.summary.files !== 1)) return false;
  return (await blockFileOf(repository, root.objectId, signal))?.name.includes("/") === true;
}
