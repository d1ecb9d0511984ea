/** What every part of one import shares. */
import type { Repository } from "@drayage/repo";
import type { ProblemList } from "../entry-problems.ts";
import type { Pacer } from "../pacer.ts";
import type { ProgressMeter } from "../progress.ts";
import type { Checkpoints } from "../upload/checkpoints.ts";

export interface ImportContext {
  /** Where it goes. */
  readonly repository: Repository;
  readonly signal: AbortSignal | undefined;
  readonly pacer: Pacer;
  readonly meter: ProgressMeter;
  readonly checkpoints: Checkpoints;
  /** Entries that the source could not give. */
  readonly problems: ProblemList;
  readonly compressor: string | undefined;
  readonly counts: ImportCounts;
}

export interface ImportCounts {
  files: number;
  /** Of these, files that a checkpoint had, or that are further names of one file. */
  cachedFiles: number;
  directories: number;
  bytes: number;
}
