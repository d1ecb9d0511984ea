/**
 * The steps that take a backup away. What goes wrong in one is written down and the next is made all the same, except that
 * the bucket's files go only when the data they point to has gone, and the Backup only when everything has: either is what a second try starts from.
 */
import type { ItemPlugins } from "@drayage/api";
import {
  type Backup,
  type BackupStorageLocation,
  backups,
  dataUploads,
  LABELS,
  restores,
  type VolumeSnapshotBackup,
  type VolumeSnapshotRestore,
  validLabelValue,
  volumeSnapshotBackups,
  volumeSnapshotRestores,
  volumeSnapshots,
} from "@drayage/api";
import { type Clock, DrayError, errorFields, forEachLimit, hasCode, isAbort, type Logger, messageOf } from "@drayage/base";
import type { Discovery } from "@drayage/kube";
import { configMaps, type KubeClient, keyOf } from "@drayage/kube";
import { isOfThisRun } from "../actions/of-this-run.ts";
import { runDeletePlugins } from "../actions/plugin-actions.ts";
import { removeSnapshot } from "../actions/remove-snapshot.ts";
import { allOf } from "../all-of.ts";
import { ensureBackupRepository, findBackupRepository } from "../backup-repository/ensure-backup-repository.ts";
import type { BackupStore, BackupStores, RepositoryService } from "../ports.ts";
import { deleteKeptSnapshot, type KeptSnapshot, liveHandles, removeLeftContents } from "./kept-snapshots.ts";
import { type BackupSnapshots, snapshotsOf } from "./moved-snapshots.ts";
import { deleteMoverData } from "./mover-data.ts";

export interface DeleteBackupDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of the installation. */
  readonly namespace: string;
  readonly stores: BackupStores;
  readonly repositories: RepositoryService;
  /** How long a repository is waited for. */
  readonly resourceTimeoutMs: number;
  /** Plug-ins of others, and where their resources are looked up. */
  readonly plugins?: { readonly items: ItemPlugins; readonly discovery: Discovery };
}

const RESTORES_GONE_MS = 60_000;
const SNAPSHOTS_AT_ONCE = 4;
const LOOK_EVERY_MS = 1_000;

/** Returns what went wrong, for status.errors; nothing: the backup is gone. */
export async function deleteBackup(deps: DeleteBackupDeps, backup: Backup, location: BackupStorageLocation, signal: AbortSignal): Promise<readonly string[]> {
  const { client, namespace, logger } = deps;
  const name = backup.metadata.name ?? "";
  const problems: string[] = [];
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      logger.warn("A step of a backup's deletion failed", { backup: name, step: what, ...errorFields(error) });
      problems.push(`${what}: ${messageOf(error)}`);
    }
  };

  let store: BackupStore | undefined;
  await attempt("error getting the backup store", async () => {
    store = await deps.stores.open(location, signal);
  });
  if (store === undefined) return problems;
  const opened: BackupStore = store;

  const { plugins } = deps;
  // Before anything goes that they may want to look at.
  if (plugins !== undefined)
    await attempt("error invoking delete item actions", () =>
      runDeletePlugins(plugins.items, backup, () => opened.openArchive(name, signal, { anyVersion: true }), { discovery: plugins.discovery, signal }),
    );
  let kept: readonly KeptSnapshot[] = [];
  let isDataGone = false;
  await attempt("error deleting moved snapshot data", async () => {
    const found = await snapshotsOf(client, opened, backup, signal);
    kept = found.kept;
    await forgetSnapshots(deps, location, found, signal);
    await deleteMoverData(deps, opened, backup, signal);
    for (const info of found.configMaps) await client.delete(configMaps, keyOf(info), { signal });
    isDataGone = true;
  });
  let live: ReadonlySet<string> = new Set();
  await attempt("error deleting volume snapshots", async () => {
    live = await deleteVolumeSnapshots(deps, backup, signal);
  });
  const unclaimed = kept.filter(({ handle }) => !live.has(handle));
  await forEachLimit(unclaimed, SNAPSHOTS_AT_ONCE, (snapshot) =>
    attempt("error deleting a snapshot", () => deleteKeptSnapshot(backup, snapshot, { client, clock: deps.clock, timeoutMs: deps.resourceTimeoutMs, signal })),
  );
  await attempt("error deleting volumesnapshotbackup", () => deleteVolumeSnapshotMovers(deps, backup, signal));
  // Until then they are what says which snapshots there are.
  if (isDataGone)
    await attempt("error deleting dataupload", async () => {
      const labelSelector = `${LABELS.backupName}=${validLabelValue(name)}`;
      for (const upload of await allOf(client.listAll(dataUploads, { namespace, labelSelector, signal })))
        await client.delete(dataUploads, keyOf(upload), { signal });
    });
  if (problems.length === 0) await attempt("error removing backup from backup storage", () => opened.deleteBackup(name, signal));
  else logger.info("The backup's files stay in the bucket because of earlier problems", { backup: name });
  await attempt("error deleting restore", () => deleteRestores(deps, name, signal));
  if (problems.length === 0) {
    const { uid } = backup.metadata;
    await attempt("error deleting backup", async () => {
      await client.delete(backups, keyOf(backup), { signal, ...(uid === undefined ? {} : { preconditions: { uid } }) });
    });
  }
  return problems;
}

async function forgetSnapshots(
  deps: DeleteBackupDeps,
  location: BackupStorageLocation,
  { snapshots, untold }: BackupSnapshots,
  signal: AbortSignal,
): Promise<void> {
  const told = Map.groupBy(snapshots, ({ volumeNamespace }) => volumeNamespace);
  const tagged = Map.groupBy(untold, ({ volumeNamespace }) => volumeNamespace);
  for (const volumeNamespace of new Set([...told.keys(), ...tagged.keys()])) {
    const key = { volumeNamespace, location: location.metadata.name ?? "" };
    const manifestIds = (told.get(volumeNamespace) ?? []).map(({ manifestId }) => manifestId);
    // None is made for what may never have been stored.
    if (manifestIds.length === 0 && (await findBackupRepository(deps, key, signal)) === undefined) continue;
    const repository = await ensureBackupRepository(deps, key, { timeoutMs: deps.resourceTimeoutMs, signal });
    const tags = (tagged.get(volumeNamespace) ?? []).map((entry) => entry.tags);
    await deps.repositories.forget(repository, location, { manifestIds, tags }, signal);
    deps.logger.info("Snapshots of the backup were deleted", { ...key, manifestIds, untold: tags.length });
  }
}

/** Snapshots of the cluster that the backup left (it failed, or has not ended): their storage snapshots go with them. Returns the handles of those. */
async function deleteVolumeSnapshots({ client, clock }: DeleteBackupDeps, backup: Backup, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const labelSelector = `${LABELS.backupName}=${validLabelValue(backup.metadata.name ?? "")}`;
  try {
    const handles = await liveHandles(client, backup, signal);
    for (const snapshot of await allOf(client.listAll(volumeSnapshots, { labelSelector, signal })))
      if (isOfThisRun(snapshot, backup)) await removeSnapshot(snapshot, { client, clock, backup, signal });
    await removeLeftContents(client, backup, signal);
    return handles;
  } catch (error) {
    // A cluster without the snapshot API has none.
    if (hasCode(error, "KUBE_NOT_FOUND")) return new Set();
    throw error;
  }
}

/** What the data mover of OADP 1.2 left of the backup in the cluster; each takes what was made for it along. */
async function deleteVolumeSnapshotMovers({ client, namespace }: DeleteBackupDeps, { metadata }: Backup, signal: AbortSignal): Promise<void> {
  const labelSelector = `${LABELS.backupName}=${validLabelValue(metadata.name ?? "")}`;
  try {
    for (const type of [volumeSnapshotBackups, volumeSnapshotRestores])
      for (const object of await allOf(client.listAll<VolumeSnapshotBackup | VolumeSnapshotRestore>(type, { labelSelector, signal })))
        if (object.spec.protectedNamespace === namespace) await client.delete<VolumeSnapshotBackup | VolumeSnapshotRestore>(type, keyOf(object), { signal });
  } catch (error) {
    // A cluster that does not know the kinds has none.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

/** A restore's files in the bucket are removed by its finalizer; that is waited for. */
async function deleteRestores({ client, clock, namespace, logger }: DeleteBackupDeps, backupName: string, signal: AbortSignal): Promise<void> {
  const ofBackup = async () => (await allOf(client.listAll(restores, { namespace, signal }))).filter(({ spec }) => spec.backupName === backupName);
  const deadlineMs = clock.monotonicMs() + RESTORES_GONE_MS;
  for (const restore of await ofBackup()) {
    logger.info("Restore of the deleted backup is deleted", { restore: restore.metadata.name });
    await client.delete(restores, keyOf(restore), { signal });
  }
  for (let left = await ofBackup(); left.length > 0; left = await ofBackup()) {
    if (clock.monotonicMs() >= deadlineMs) {
      const names = left.map(({ metadata }) => `"${metadata.name}"`).join(", ");
      throw new DrayError("TIMED_OUT", `Cannot delete restores ${names}: they are still there after ${RESTORES_GONE_MS / 1000} s`);
    }
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}
