/** What every part of one restore shares. */
import { type Clock, type DrayError, hasCode, type Semaphore } from "@drayage/base";
import type { SystemCalls } from "@drayage/kernels";
import type { ObjectId, Repository } from "@drayage/repo";
import { isPathProblem, type ProblemList } from "../entry-problems.ts";
import type { Pacer } from "../pacer.ts";
import type { ProgressMeter } from "../progress.ts";

export interface RestoreContext {
  readonly repository: Repository;
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
  /** Leave every block of zeros as a hole, not only those that were holes. */
  readonly sparse: boolean;
  /** Read back what was written. */
  readonly verify: boolean;
  /** Wait for the file system in the end. */
  readonly flush: boolean;
  readonly keepGoing: boolean;
  /** Files being written at once. */
  readonly fileSlots: Semaphore;
  /** Bytes of contents in memory at once. */
  readonly chunkBytes: Semaphore;
  /** Objects that were seen to hold nothing but zeros. */
  readonly zeroObjects: Set<ObjectId>;
}

/**
 * Runs the work of one entry. With `keepGoing` its failure is noted and the rest goes on; without, it is thrown.
 * A full target and everything that is not about this entry is thrown in any case.
 */
export async function guardEntry(context: RestoreContext, path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isEntryProblem(error) || error.code === "PATH_NO_SPACE") throw error;
    context.meter.counts.errors++;
    context.problems.add(path, error);
    if (!context.keepGoing) throw error;
  }
}

/** A defect of one entry: of its path, or of what the repository holds for it. */
function isEntryProblem(error: unknown): error is DrayError {
  return isPathProblem(error) || hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND");
}
