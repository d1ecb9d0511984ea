/**
 * A volume into and out of a repository of Kopia's format, by choice (`drayage.io/repository-format: kopia`). The repository lies where `RESTIC_REPOSITORY` says and opens with `RESTIC_PASSWORD`;
 * the volume is `<name>@<namespace>:/data` in it, as the fork of VolSync that has a Kopia mover names volumes.
 */
import type { VolSyncBackupRequest, VolSyncRestoreRequest, VolSyncRetention } from "@drayage/api";
import { DrayError, formatTime, hasCode } from "@drayage/base";
import { type BlobStorage, RetryingStorage } from "@drayage/blob";
import { openObjectStoreUrl, openStorageUrl } from "@drayage/blob/locations";
import { KopiaSource, restoreEntryOf, restoreFrom, uploadSnapshot } from "@drayage/datapath";
import {
  createRepository,
  emptyPolicy,
  executeExpiry,
  fullSafety,
  maintainRepository,
  openRepository,
  PolicyStore,
  planExpiry,
  type Repository,
  type Snapshot,
  type SnapshotSource,
  withValue,
} from "@drayage/repo";
import { describeProblems } from "../builtin/built-in-mover.ts";
import { chooseByTime } from "./choose-snapshot.ts";
import { storageUrlOf, storeEnvironment } from "./repository-secret.ts";
import type { VolumeMoveOptions } from "./restore-with-reader.ts";

const VOLSYNC_PATH = "/data";
/** restic keeps this file where its repositories begin. */
const RESTIC_MARK = "config";

/** Returns what was done, as a sentence. Throws what opening and uploading throw, PATH_IO naming what could not be read, VALIDATION_FAILED where restic's repository is. */
export async function backUpWithKopia(options: VolumeMoveOptions, request: VolSyncBackupRequest): Promise<string> {
  const { dataPath, clock, logger, signal } = options;
  const source = sourceOf(request.identity);
  return await withRepository(options, { mayCreate: true }, async (repository) => {
    await keepPolicy(repository, source, request.retain, signal);
    const uploaded = await uploadSnapshot({
      repository,
      source: { kind: "directory", path: dataPath },
      snapshotSource: source,
      description: "ReplicationSource",
      ...{ signal, clock, logger },
    });
    for (const { path, message } of uploaded.warnings) logger.warn("An entry was not kept as it is", { path, message });
    await executeExpiry(repository, await planExpiry(repository, source, signal), signal);
    if (request.prune) await maintainRepository(repository, { mode: "full", safety: fullSafety, logger, signal });
    const { errorCount, totalSize } = uploaded.stats;
    if (errorCount > 0) throw new DrayError("PATH_IO", `Cannot back up the whole volume: ${describeProblems(uploaded.problems, errorCount, "read")}`);
    return `Snapshot ${uploaded.snapshotId} of ${totalSize} bytes`;
  });
}

/** Returns what was done. A repository that is not there yet leaves the volume as it is. */
export async function restoreWithKopia(options: VolumeMoveOptions, request: VolSyncRestoreRequest): Promise<string> {
  const { dataPath, clock, logger, signal } = options;
  try {
    return await withRepository(options, { mayCreate: false }, async (repository) => {
      const snapshot = chooseByTime(await snapshotsOf(repository, request.identity, signal), timeMsOf, request);
      if (snapshot === undefined) return "Nothing was restored: no snapshot fits";
      const entry = snapshot.rootEntry;
      if (entry === undefined) throw new DrayError("REPO_CORRUPT", `Cannot restore snapshot "${snapshot.id}": it has no root`);
      const source = new KopiaSource(repository, entry);
      const result = await restoreFrom({
        ...{ source, root: restoreEntryOf(entry), clock, signal },
        target: { kind: "directory", path: dataPath },
        ...{ overwrite: true, deleteOthers: request.deleteOthers === true, flush: true, keepGoing: true },
      });
      for (const { path, message } of result.warnings) logger.warn("An entry was not restored as it was", { path, message });
      if (result.problemCount > 0)
        throw new DrayError("PATH_IO", `Cannot restore the whole volume: ${describeProblems(result.problems, result.problemCount, "restored")}`);
      return `Restored snapshot ${snapshot.id} of ${formatTime(timeMsOf(snapshot))}: ${result.progress.filesDone} files, ${result.progress.bytesDone} bytes`;
    });
  } catch (error) {
    if (!hasCode(error, "REPO_NOT_FOUND")) throw error;
    return `Nothing was restored: there is no repository yet (${error.message})`;
  }
}

function timeMsOf({ startTimeNs }: Snapshot): number {
  return Number(startTimeNs / 1_000_000n);
}

function sourceOf(identity: string): SnapshotSource {
  const [userName = "", host = ""] = identity.split("@");
  return { userName, host, path: VOLSYNC_PATH };
}

/** Complete ones, the oldest first. Throws VALIDATION_FAILED where the repository holds several volumes and none is named. */
async function snapshotsOf(repository: Repository, identity: string | undefined, signal: AbortSignal): Promise<readonly Snapshot[]> {
  const { snapshots, unreadable } = await repository.snapshots.list({ signal, ...(identity === undefined ? {} : { source: sourceOf(identity) }) });
  const [damaged] = unreadable;
  if (damaged !== undefined) throw damaged.error;
  const complete = snapshots.filter(({ incomplete, source }) => incomplete === undefined && source.path === VOLSYNC_PATH);
  const identities = [...new Set(complete.map(({ source }) => `${source.userName}@${source.host}`))];
  if (identities.length > 1) {
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot choose a snapshot: the repository holds ${identities.length} volumes: ${identities.slice(0, 10).join(", ")}`,
      {
        hint: 'Name one with the annotation "drayage.io/source-identity" of the ReplicationDestination.',
      },
    );
  }
  return complete.toSorted((a, b) => (a.startTimeNs < b.startTimeNs ? -1 : 1));
}

/** What `retain` says, as the policy of the volume, so that `kopia` shows and keeps it too. VolSync keeps the last one where nothing is said. */
async function keepPolicy(repository: Repository, source: SnapshotSource, retain: VolSyncRetention, signal: AbortSignal): Promise<void> {
  const { hourly = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0, last } = retain;
  const given = { keepHourly: hourly, keepDaily: daily, keepWeekly: weekly, keepMonthly: monthly, keepAnnual: yearly };
  const counts = { ...given, keepLatest: Number(last ?? 0) };
  if (Object.values(counts).every((count) => count === 0)) counts.keepLatest = 1;
  const policies = new PolicyStore(repository.manifests);
  const before = (await policies.get(source, signal))?.document ?? emptyPolicy;
  await policies.set(source, withValue(before, ["retention"], counts), signal);
}

async function withRepository<T>(
  options: VolumeMoveOptions,
  { mayCreate }: { readonly mayCreate: boolean },
  work: (repository: Repository) => Promise<T>,
): Promise<T> {
  const { secret, clock, random, logger, signal } = options;
  const url = storageUrlOf(secret);
  const context = { env: storeEnvironment(secret), clock, random };
  const storage: BlobStorage = new RetryingStorage(await openStorageUrl(url, context, { create: mayCreate }), { clock, random });
  try {
    // Kopia's own programs take none with space around it.
    const access = { password: secret.password.trim(), clock, random, logger, signal };
    let repository: Repository;
    try {
      repository = await openRepository(storage, { ...access, readOnly: !mayCreate });
    } catch (error) {
      if (!mayCreate || !hasCode(error, "REPO_NOT_FOUND")) throw error;
      await refuseRestic(url, context, signal);
      repository = await createRepository(storage, access);
    }
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  } finally {
    await storage.close();
  }
}

/** Two formats in one folder: restic's own programs would take the other's files for damage. */
async function refuseRestic(url: string, context: Parameters<typeof openObjectStoreUrl>[1], signal: AbortSignal): Promise<void> {
  const store = await openObjectStoreUrl(url, context);
  try {
    await store.head(RESTIC_MARK, signal);
  } catch (error) {
    if (hasCode(error, "BLOB_NOT_FOUND") || hasCode(error, "PATH_NOT_FOUND")) return;
    throw error;
  } finally {
    await store.close();
  }
  throw new DrayError("VALIDATION_FAILED", "Cannot create a repository of Kopia's format: a restic repository is in its place", {
    hint: 'Give "RESTIC_REPOSITORY" another path, or leave the annotation "drayage.io/repository-format" out.',
  });
}
