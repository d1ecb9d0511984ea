/** A volume from a restic repository with our own reader: nothing is written to the repository, and no lock is taken. */
import type { VolSyncRestoreRequest } from "@drayage/api";
import { type Clock, DrayError, formatTime, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { RetryingObjectStore } from "@drayage/blob";
import { openObjectStoreUrl } from "@drayage/blob/locations";
import { ResticSource, resticRootOf, restoreFrom } from "@drayage/datapath";
import { openResticRepository, type ResticRepository, type ResticSnapshot } from "@drayage/restic";
import { describeProblems } from "../builtin/built-in-mover.ts";
import { chooseByTime } from "./choose-snapshot.ts";
import { type RepositorySecret, storageUrlOf, storeEnvironment } from "./repository-secret.ts";

export interface VolumeMoveOptions {
  readonly secret: RepositorySecret;
  readonly dataPath: string;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What VolSync's mover backs up is this folder. */
const VOLSYNC_PATH = "/data";
/** VolSync gives back these alone: others name a node's security context, or need rights that a mover has not. */
const RESTORED_ATTRIBUTES = "user.";

/** Returns what was done, as a sentence. Throws what opening and restoring throw, and PATH_IO naming what is missing. */
export async function restoreWithReader(options: VolumeMoveOptions, request: VolSyncRestoreRequest): Promise<string> {
  const { secret, clock, random, signal } = options;
  const store = new RetryingObjectStore(await openObjectStoreUrl(storageUrlOf(secret), { env: storeEnvironment(secret), clock, random }), { clock, random });
  try {
    const repository = await openResticRepository(store, { password: secret.password, signal });
    try {
      return await restore(options, request, repository);
    } finally {
      await repository.close();
    }
  } catch (error) {
    // As with VolSync, whose users bring a new cluster up with the same manifests as one that has backups already.
    if (!hasCode(error, "REPO_NOT_FOUND")) throw error;
    return `Nothing was restored: there is no repository yet (${error.message})`;
  } finally {
    await store.close();
  }
}

async function restore({ dataPath, clock, logger, signal }: VolumeMoveOptions, request: VolSyncRestoreRequest, repository: ResticRepository): Promise<string> {
  const { snapshots, unreadable } = await repository.listSnapshots(signal);
  const [damaged] = unreadable;
  // An older one would come back without a word.
  if (damaged !== undefined) throw damaged.error;
  const fitting = snapshots.filter(({ paths }) => paths.some((path) => path === VOLSYNC_PATH || path.startsWith(`${VOLSYNC_PATH}/`)));
  const snapshot = chooseByTime(fitting, ({ timeNs }: ResticSnapshot) => Number(timeNs / 1_000_000n), request);
  if (snapshot === undefined) return `Nothing was restored: of ${snapshots.length} snapshots none fits`;
  logger.info("Restoring a snapshot", { repository: repository.description, snapshot: snapshot.id });
  const result = await restoreFrom({
    source: new ResticSource(repository, { keepsAttribute: (name) => name.startsWith(RESTORED_ATTRIBUTES) }),
    root: resticRootOf(snapshot),
    keepRootAttributes: true,
    target: { kind: "directory", path: dataPath },
    ...(snapshot.summary === undefined ? {} : { expected: snapshot.summary }),
    overwrite: true,
    deleteOthers: request.deleteOthers === true,
    flush: true,
    keepGoing: true,
    signal,
    clock,
  });
  for (const { path, message } of result.warnings) logger.warn("An entry was not restored as it was", { path, message });
  if (result.problemCount > 0)
    throw new DrayError("PATH_IO", `Cannot restore the whole volume: ${describeProblems(result.problems, result.problemCount, "restored")}`);
  const { filesDone, bytesDone } = result.progress;
  return `Restored snapshot ${snapshot.id.slice(0, 8)} of ${formatTime(Number(snapshot.timeNs / 1_000_000n))}: ${filesDone} files, ${bytesDone} bytes`;
}
