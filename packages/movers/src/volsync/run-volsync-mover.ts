/** `dray volsync-mover`: the process of one pod of a ReplicationSource or ReplicationDestination. It asks the API server for nothing; its end is its termination message. */
import { readdirSync, writeFileSync } from "node:fs";
import { parseVolSyncRequest, VOLSYNC_EXIT, VOLSYNC_POD, type VolSyncRequest, type VolSyncResult } from "@drayage/api";
import { type Clock, dispositionOf, errorFields, isDrayError, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { backUpWithRestic } from "./back-up-with-restic.ts";
import { backUpWithKopia, restoreWithKopia } from "./move-with-kopia.ts";
import { type RepositorySecret, readRepositorySecret } from "./repository-secret.ts";
import { ResticProgram } from "./restic-program.ts";
import { restoreWithReader, type VolumeMoveOptions } from "./restore-with-reader.ts";

export interface VolSyncMoverOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly terminationLogPath?: string;
  /** Folders, where they are not where the pod has them. */
  readonly paths?: { readonly data: string; readonly cache: string; readonly repository: string; readonly customCa: string };
}

/** A termination message holds 4096 bytes. Of VolSync's status the logs are 1024 characters at most. */
const LOG_CHARS_MAX = 1024;
const MESSAGE_CHARS_MAX = 1500;
const TELLING =
  /^\s*(?:processed .*files|snapshot .*saved|created |repository .*opened|no parent snapshot|using parent snapshot|added to the repository|successfully|fatal|error)/i;
/** Of ext4; a volume that holds nothing else is empty. */
const IGNORED = "lost+found";

/** Moves and returns the exit code. Never throws. */
export async function runVolSyncMover(options: VolSyncMoverOptions): Promise<number> {
  const { logger, env, signal, terminationLogPath = "/dev/termination-log" } = options;
  const tell = (result: VolSyncResult): void => {
    try {
      writeFileSync(terminationLogPath, JSON.stringify(result));
    } catch (error) {
      logger.warn("The termination message cannot be written", { path: terminationLogPath, ...errorFields(error) });
    }
  };
  let log = (): string => "";
  try {
    const request = parseVolSyncRequest(env[VOLSYNC_POD.request]);
    const paths = options.paths ?? { data: VOLSYNC_POD.data, cache: VOLSYNC_POD.cache, repository: VOLSYNC_POD.repository, customCa: VOLSYNC_POD.customCa };
    const secret = readRepositorySecret(paths.repository, paths.customCa);
    const restic = programOf(options, secret, paths.cache);
    log = () => restic.log;
    const message = await move({ ...options, secret, dataPath: paths.data }, restic, request);
    const isBackup = request.operation === "backup";
    tell({ message, logs: logsOf(tellingLines(log()), message), pruned: isBackup && request.prune, unlocked: isBackup && request.unlock });
    logger.info("The volume is moved", { operation: request.operation, message });
    return VOLSYNC_EXIT.ok;
  } catch (error) {
    const hint = isDrayError(error) && error.hint !== undefined ? `. ${error.hint}` : "";
    const message = `${messageOf(error)}${hint}`.slice(0, MESSAGE_CHARS_MAX);
    logger.error("The volume could not be moved", errorFields(error));
    tell({ message, logs: logsOf(log(), message) });
    return signal.aborted || dispositionOf(error) === "retry" ? VOLSYNC_EXIT.failed : VOLSYNC_EXIT.hopeless;
  }
}

async function move(options: VolumeMoveOptions, restic: ResticProgram, request: VolSyncRequest): Promise<string> {
  if (request.operation === "restore") return await (request.format === "kopia" ? restoreWithKopia(options, request) : restoreWithReader(options, request));
  if (readdirSync(options.dataPath).every((name) => name === IGNORED)) return "Nothing was backed up: the volume is empty";
  if (request.format === "kopia") return await backUpWithKopia(options, request);
  await backUpWithRestic(restic, request, options.dataPath);
  return "The volume was backed up";
}

/** Only what the child needs of this process's environment. */
function programOf({ env, clock, logger, signal }: VolSyncMoverOptions, { environment, customCa }: RepositorySecret, cache: string): ResticProgram {
  const own = Object.fromEntries(["PATH", "HOME", "TMPDIR"].flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
  return new ResticProgram({
    program: env[VOLSYNC_POD.resticProgram] ?? "restic",
    environment: { ...own, ...environment },
    ...{ cache, clock, logger, signal },
    ...(customCa === undefined ? {} : { customCa }),
  });
}

/** What VolSync's own status keeps of the log of a mover that did well: how much there was and what became of it, and no table of snapshots. */
function tellingLines(log: string): string {
  return log
    .split("\n")
    .filter((line) => TELLING.test(line))
    .join("\n");
}

/** The end of restic's log, else the message. */
function logsOf(log: string, message: string): string {
  const text = log.trim() === "" ? message : log.trim();
  return text.slice(-LOG_CHARS_MAX);
}
