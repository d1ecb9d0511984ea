import {
  type Backup,
  backupStorageLocations,
  backups,
  type DataUpload,
  type DeleteBackupRequest,
  dataUploads,
  deleteBackupRequests,
  LABELS,
  type PodVolumeBackup,
  podVolumeBackups,
  validLabelValue,
} from "@drayage/api";
import type { RandomSource } from "@drayage/base";
import { type Controller, type KubeObject, keyOf, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import { CANCEL_REQUESTED } from "../backup/backup.ts";
import { cancelPodVolumeBackups, hasEnded } from "../backup/pod-volume-backups.ts";
import { steadyAgeMs } from "../steady-age.ts";
import { decide, observe, type Seen } from "./backup-deletion.ts";
import { type DeleteBackupDeps, deleteBackup } from "./delete-backup.ts";

export interface BackupDeletionControllerDeps extends DeleteBackupDeps {
  readonly random: RandomSource;
}

/** Carries out DeleteBackupRequests, one after the other: two of the same backup would each take the other for a remnant. */
export function startBackupDeletionController(deps: BackupDeletionControllerDeps): Controller {
  const { client, clock, random, logger, namespace } = deps;
  const informer = startInformer(deleteBackupRequests, { client, clock, random, logger, namespace });
  const backupCache = startInformer(backups, { client, clock, random, logger, namespace });
  const uploadCache = startInformer(dataUploads, { client, clock, random, logger, namespace });
  const volumeCache = startInformer(podVolumeBackups, { client, clock, random, logger, namespace });
  const endOfMovement = {
    when: (before: DataUpload | PodVolumeBackup | undefined, after: DataUpload | PodVolumeBackup | undefined) =>
      before !== undefined && !hasEnded(before) && (after === undefined || hasEnded(after)),
    toKeys: ({ metadata }: KubeObject) =>
      informer.list().flatMap((request) => (validLabelValue(request.spec.backupName) === metadata.labels?.[LABELS.backupName] ? [keyOf(request)] : [])),
  };
  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const request = await client.find(deleteBackupRequests, key, signal);
    if (request === undefined) return {};
    const seen = await lookUp(deps, request, signal);
    const { backup, location } = seen;
    const decision = decide(observe(request, seen, clock.nowMs()));
    switch (decision.do) {
      case "nothing":
        return { requeueAfterMs: decision.recheckAfterMs };
      case "delete":
        await client.delete(deleteBackupRequests, key, { signal });
        return {};
      case "refuse":
        logger.info("Deletion of a backup was refused", { backup: request.spec.backupName, why: decision.why });
        await end(deps, request, [`backup deletion failed: ${decision.why}`], signal);
        return {};
      case "cancel":
        if (backup !== undefined) await stopBackup(deps, backup, signal);
        return { requeueAfterMs: decision.recheckAfterMs };
      case "finish":
        await end(deps, request, [], signal);
        return {};
      case "carryOut": {
        if (backup === undefined || location === undefined) return {};
        const others = informer.list().filter(({ spec, metadata }) => spec.backupName === backup.metadata.name && metadata.name !== request.metadata.name);
        const claimed = await claim(deps, request, others, backup, signal);
        await end(deps, claimed, await deleteBackup(deps, backup, location, signal), signal);
        return {};
      }
    }
  };
  const controller = startController({
    name: "backup-deletion",
    sources: [
      source(informer),
      // One that was told to stop has stopped.
      source(backupCache, {
        when: (before, after) => before !== undefined && before.status?.phase !== after?.status?.phase,
        toKeys: ({ metadata }) => informer.list().flatMap((request) => (request.spec.backupName === metadata.name ? [keyOf(request)] : [])),
      }),
      source<DataUpload>(uploadCache, endOfMovement),
      source<PodVolumeBackup>(volumeCache, endOfMovement),
    ],
    reconcile,
    clock,
    random,
    logger,
  });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      for (const cache of [informer, backupCache, uploadCache, volumeCache]) cache.stop();
    },
  };
}

async function lookUp(deps: BackupDeletionControllerDeps, { spec, metadata }: DeleteBackupRequest, signal: AbortSignal): Promise<Seen> {
  const { client, namespace } = deps;
  const backup = spec.backupName === "" ? undefined : await client.find(backups, { namespace, name: spec.backupName }, signal);
  const locationName = backup?.spec.storageLocation ?? "";
  const location = locationName === "" ? undefined : await client.find(backupStorageLocations, { namespace, name: locationName }, signal);
  const knownForMs = steadyAgeMs(deps.clock, `DeleteBackupRequest ${metadata.uid}`);
  return { backup, location, knownForMs, moving: backup !== undefined && (await isMoving(deps, backup, signal)) };
}

async function isMoving({ client, namespace }: BackupDeletionControllerDeps, backup: Backup, signal: AbortSignal): Promise<boolean> {
  const labelSelector = `${LABELS.backupUid}=${backup.metadata.uid}`;
  for await (const upload of client.listAll<DataUpload>(dataUploads, { namespace, labelSelector, signal })) if (!hasEnded(upload)) return true;
  for await (const volume of client.listAll<PodVolumeBackup>(podVolumeBackups, { namespace, labelSelector, signal })) if (!hasEnded(volume)) return true;
  return false;
}

/** Tells everything that works for a backup to stop; can be repeated. Its own controllers then bring it to an end. */
async function stopBackup({ client, namespace, logger }: BackupDeletionControllerDeps, backup: Backup, signal: AbortSignal): Promise<void> {
  const why = "its backup is being deleted";
  if (backup.metadata.annotations?.[CANCEL_REQUESTED] === undefined) {
    await client.patch(backups, keyOf(backup), "merge", { metadata: { annotations: { [CANCEL_REQUESTED]: why } } }, { signal });
    logger.info("A backup that is to be deleted was told to stop", { backup: backup.metadata.name, phase: backup.status?.phase });
  }
  const labelSelector = `${LABELS.backupUid}=${backup.metadata.uid}`;
  for await (const upload of client.listAll<DataUpload>(dataUploads, { namespace, labelSelector, signal })) {
    if (hasEnded(upload) || upload.spec.cancel === true) continue;
    await client.patch<DataUpload>(dataUploads, keyOf(upload), "merge", { spec: { cancel: true }, status: { message: why } }, { signal });
  }
  await cancelPodVolumeBackups(client, backup, why, signal);
}

/** Marks request and backup; `others`, the other requests for the backup, have no more to do. One that is not seen yet finds no backup when its turn comes. */
async function claim(
  deps: BackupDeletionControllerDeps,
  request: DeleteBackupRequest,
  others: readonly DeleteBackupRequest[],
  backup: Backup,
  signal: AbortSignal,
): Promise<DeleteBackupRequest> {
  const { client } = deps;
  for (const other of others) await client.delete(deleteBackupRequests, keyOf(other), { signal });
  const labels = { [LABELS.backupName]: validLabelValue(request.spec.backupName), [LABELS.backupUid]: backup.metadata.uid ?? "", ...request.metadata.labels };
  const claimed = await client.patch(
    deleteBackupRequests,
    keyOf(request),
    "merge",
    { metadata: { labels, resourceVersion: request.metadata.resourceVersion }, status: { phase: "InProgress" } },
    { signal },
  );
  await client.patch(backups, keyOf(backup), "merge", { status: { phase: "Deleting" } }, { signal });
  return claimed;
}

/** Without errors the request has served its purpose and goes at once, together with any other for the same backup. */
async function end(
  { client, namespace }: BackupDeletionControllerDeps,
  request: DeleteBackupRequest,
  errors: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await client.patch(deleteBackupRequests, keyOf(request), "merge", { status: { phase: "Processed", ...(errors.length === 0 ? {} : { errors }) } }, { signal });
  const uid = request.metadata.labels?.[LABELS.backupUid];
  if (errors.length > 0) return;
  if (uid === undefined) {
    await client.delete(deleteBackupRequests, keyOf(request), { signal });
    return;
  }
  const labelSelector = `${LABELS.backupName}=${validLabelValue(request.spec.backupName)},${LABELS.backupUid}=${uid}`;
  await client.deleteCollection(deleteBackupRequests, { namespace, labelSelector, signal });
}
