/** What every part of one restore shares. */
import { type Clock, type DrayError, hasCode } from "@drayage/base";
import type { SystemCalls } from "@drayage/kernels";
import { isPathProblem, type ProblemList } from "../entry-problems.ts";
import type { Pacer } from "../pacer.ts";
import type { ProgressMeter } from "../progress.ts";
import type { RestoreSource } from "./restore-source.ts";

export interface RestoreContext {
  readonly source: RestoreSource;
  readonly system: SystemCalls;
  readonly clock: Clock;
  /** Aborted by the caller, or by `stop`. */
  readonly signal: AbortSignal;
  /** Ends what is under way when something fails that ends the restore. */
  readonly stop: AbortController;
  readonly pacer: Pacer;
  readonly meter: ProgressMeter;
  /** Entries that were not restored. */
  readonly problems: ProblemList;
  /** Entries that were, but not with everything: owners that only root can give, attributes that the target does not take. */
  readonly warnings: ProblemList;
  readonly overwrite: boolean;
  /** Remove what the target holds and the snapshot does not. */
  readonly deleteOthers: boolean;
  /** Leave every block of zeros as a hole, not only those that were holes. */
  readonly sparse: boolean;
  /** Read back what was written. */
  readonly verify: boolean;
  /** Wait for the file system in the end. */
  readonly flush: boolean;
  readonly keepGoing: boolean;
  readonly limits: RestoreLimits;
}

/** What bounds memory, requests and descriptors; tests make them small. */
export interface RestoreLimits {
  /** Threads that decode and write; 0 for the calling one. */
  readonly threads: number;
  /** Bytes of ranges in memory. */
  readonly memoryBytes: number;
  readonly rangeBytes: number;
  readonly gapBytes: number;
  /** Places for contents in one window. */
  readonly windowTargets: number;
  /** Bytes of contents in one window. */
  readonly windowBytes: number;
  /** Large files open at once. */
  readonly openFiles: number;
  /** Directories open at once, beside those that lead to where the walk is. */
  readonly openDirectories: number;
}

/**
 * The failure of one entry: with `keepGoing` it is noted and the rest goes on; without, it is thrown.
 * A full target and everything that is not about this entry is thrown in any case.
 */
export function noteFailure(context: RestoreContext, path: string, error: unknown): void {
  if (!isEntryProblem(error) || error.code === "PATH_NO_SPACE") throw error;
  context.meter.counts.errors++;
  context.problems.add(path, error);
  if (!context.keepGoing) throw error;
}

/** Runs the work of one entry, and notes its failure. */
export async function guardEntry(context: RestoreContext, path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    noteFailure(context, path, error);
  }
}

/** A defect of one entry: of its path, or of what the repository holds for it. */
function isEntryProblem(error: unknown): error is DrayError {
  return isPathProblem(error) || hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND");
}
