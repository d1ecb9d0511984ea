/** `repo-maintenance`: the process of one maintenance Job. What went wrong is its termination message, after the words by which Velero's server finds it. */
import { writeFileSync } from "node:fs";
import { MOVER_SECRET_PATH, MOVER_SECRET_PATH_ENV } from "@drayage/api";
import { type Clock, errorFields, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { fullSafety, maintainRepository } from "@drayage/repo";
import { withRepository } from "./open-repository.ts";
import { type RepositoryAccess, readMountedAccess } from "./repository-access.ts";

export interface RepositoryMaintenanceOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Where the mover's Secret is mounted; the variable of the pod, else its usual place. */
  readonly secretPath?: string;
  /** How the repository is opened where no Secret is mounted: a pod that Velero's own server made. */
  readonly fallback: () => Promise<RepositoryAccess>;
  readonly terminationLogPath?: string;
  readonly signal: AbortSignal;
}

/** Maintains the repository as far as it is due and returns the exit code. Never throws. */
export async function runRepositoryMaintenance(options: RepositoryMaintenanceOptions): Promise<number> {
  const { clock, random, logger, signal, terminationLogPath = "/dev/termination-log" } = options;
  try {
    const mounted = await readMountedAccess(options.secretPath ?? process.env[MOVER_SECRET_PATH_ENV] ?? MOVER_SECRET_PATH);
    const report = await withRepository(mounted ?? (await options.fallback()), { clock, random, logger, signal }, (repository) =>
      maintainRepository(repository, { mode: "auto", safety: fullSafety, signal }),
    );
    logger.info("Maintenance is done", { mode: report.mode, tasks: report.tasks });
    return 0;
  } catch (error) {
    logger.error("Maintenance failed", errorFields(error));
    try {
      writeFileSync(terminationLogPath, `Repo maintenance error: ${messageOf(error)}`.slice(0, 4096));
    } catch (failure) {
      logger.warn("The termination message cannot be written", { path: terminationLogPath, ...errorFields(failure) });
    }
    return 1;
  }
}
