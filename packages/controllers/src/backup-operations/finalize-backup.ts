/** The last files of a backup: the DataUploads as they ended, and the snapshots that stay, go into the tarball, since a restore finds the data by them, and into the record of volumes. */
import { type Backup, type BackupStatus, type DataUpload, dataUploads, volumeSnapshots } from "@drayage/api";
import type { Clock } from "@drayage/base";
import { apiVersionOf, type Discovery, type GenericObject, groupResourceOf, type KubeClient, type KubeObject } from "@drayage/kube";
import { DATA_UPLOADS, type StoredIdentifier, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS } from "../actions/item-id.ts";
import { removeSnapshot } from "../actions/remove-snapshot.ts";
import { retainSnapshot } from "../actions/volume-snapshot-actions.ts";
import { VOLUME_SNAPSHOT_BACKUPS } from "../actions/volume-snapshot-backup-restore-action.ts";
import { withStatusNoted } from "../actions/volume-snapshot-mover-actions.ts";
import { completeFromSnapshot, completeFromUpload } from "../backup/volume-records.ts";
import { mergeMessages, ResultCollector } from "../operation-log/operation-log.ts";
import type { ArchivedItemRef, BackupStore, ItemOperation, OperationResults } from "../ports.ts";
import { isOfSnapshot, loadSnapshots } from "./snapshot-operations.ts";
import { isOfVolumeSnapshotBackup } from "./volume-snapshot-backups.ts";

export interface FinalizeBackupOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  readonly store: BackupStore;
  readonly backup: Backup;
  /** The status that is to be stored, in view of the volumes (`namespace/claim`) whose data was moved and whose DataUpload is gone: a restore will not find their data. */
  readonly ended: (lost: readonly string[]) => BackupStatus;
  /** Where resources of others are looked up: what a plug-in's operation names is read again when it has ended. */
  readonly discovery?: Discovery | undefined;
  readonly signal: AbortSignal;
}

/** Returns the status that was stored. Can be repeated: the same DataUploads give the same files. */
export async function finalizeBackup(options: FinalizeBackupOptions): Promise<BackupStatus> {
  const { client, clock, namespace, store, signal } = options;
  const name = options.backup.metadata.name ?? "";
  const operations = await store.getItemOperations(name, signal);
  const uploads = new Map<string, DataUpload>();
  const lost: string[] = [];
  const others: StoredItem[] = [];
  const kept = operations.filter(isOfSnapshot);
  for (const { spec, status } of operations.filter((operation) => !isOfSnapshot(operation))) {
    for (const item of spec.postOperationItems ?? []) {
      if (!isUpload(item)) {
        const read = await readAgain(options, item);
        if (read !== undefined) others.push(read);
        continue;
      }
      const upload = await client.find(dataUploads, { namespace: item.Namespace === "" ? namespace : item.Namespace, name: item.Name }, signal);
      if (upload !== undefined) uploads.set(spec.operationID, upload);
      else if (status.phase === "Completed") lost.push(`${spec.resourceIdentifier.Namespace}/${spec.resourceIdentifier.Name}`);
    }
  }
  const failures = await resultsWithFailures(store, name, operations, signal);
  const results = failures === undefined ? {} : { results: failures };
  const status = options.ended(lost);
  const backup: Backup = { ...options.backup, apiVersion: "velero.io/v1", kind: "Backup", status };
  const snapshots = await loadSnapshots(client, kept, signal);
  if (uploads.size === 0 && kept.length === 0 && others.length === 0) {
    await store.putBackup({ backup, ...results }, signal);
    return status;
  }
  const infos = await store.getVolumeInfos(name, signal);
  const volumeInfos = infos.map((info) => {
    const upload = uploads.get(info.snapshotDataMovementInfo?.operationID ?? "");
    if (upload !== undefined) return completeFromUpload(info, upload);
    const operation = kept.find(({ spec }) => spec.operationID === info.csiSnapshotInfo?.operationID);
    return operation === undefined ? info : completeFromSnapshot(info, operation, snapshots.get(operation.spec.operationID));
  });
  const objects = [
    ...others,
    ...[...uploads.values()].map((upload) => stored(DATA_UPLOADS, dataUploads.version, "velero.io/v2alpha1", "DataUpload", upload)),
    ...[...snapshots.values()].flatMap(({ snapshot, content }) => [
      stored(VOLUME_SNAPSHOTS, "v1", "snapshot.storage.k8s.io/v1", "VolumeSnapshot", snapshot),
      ...(content === undefined ? [] : [stored(VOLUME_SNAPSHOT_CONTENTS, "v1", "snapshot.storage.k8s.io/v1", "VolumeSnapshotContent", content)]),
    ]),
  ];
  if (objects.length === 0) {
    await store.putBackup({ backup, volumeInfos, ...results }, signal);
    return status;
  }
  const archive = await store.updateArchive(name, objects, signal);
  try {
    await store.putBackup({ backup, archive, volumeInfos, ...results }, signal);
  } finally {
    await archive.dispose();
  }
  // Last: from now on the bucket alone says where they are. What is not usable stays to be looked at, and goes with the backup.
  const moved = new Set(operations.filter(isOfVolumeSnapshotBackup).map(({ spec }) => spec.resourceIdentifier.Name));
  for (const { spec, status: ended } of kept) {
    const { Namespace: ofNamespace, Name } = spec.resourceIdentifier;
    const snapshot = await client.find(volumeSnapshots, { namespace: ofNamespace, name: Name }, signal);
    // Its data is in the bucket, or is lost: either way nothing will be made from the snapshot.
    if (snapshot !== undefined && moved.has(snapshot.status?.boundVolumeSnapshotContentName ?? ""))
      await removeSnapshot(snapshot, { client, clock, backup, signal });
    else if (ended.phase === "Completed") await retainSnapshot(client, { namespace: ofNamespace, name: Name }, signal);
  }
  return status;
}

/** What went wrong with the data stands beside what went wrong before, where people look for it: in the results. Undefined where there is nothing to add. */
async function resultsWithFailures(
  store: BackupStore,
  name: string,
  operations: readonly ItemOperation[],
  signal: AbortSignal,
): Promise<OperationResults | undefined> {
  const failed = operations.filter(({ status }) => status.phase === "Failed");
  if (failed.length === 0) return undefined;
  const { errors, warnings } = await store.getResults(name, signal);
  const failures = new ResultCollector();
  for (const { spec, status } of failed) {
    const { Namespace, Name, Resource } = spec.resourceIdentifier;
    const what =
      Resource === "persistentvolumeclaims" ? "the data of claim" : isOfVolumeSnapshotBackup({ spec }) ? "the data of volume snapshot content" : Resource;
    const message = `${what} "${Namespace}/${Name}" is not in the backup: ${status.error ?? "its operation failed"}`;
    // Finalizing can be repeated; each failure is told once.
    if (errors.namespaces?.[Namespace]?.includes(message) !== true) failures.add(Namespace, message);
  }
  return failures.count === 0 ? undefined : { errors: mergeMessages(errors, failures.messages()), warnings };
}

interface StoredItem {
  readonly ref: ArchivedItemRef;
  readonly object: GenericObject;
}

function isUpload({ Group, Resource }: StoredIdentifier): boolean {
  return Resource === dataUploads.plural && (Group === "" || Group === dataUploads.group);
}

/** An item that is gone by now stays in the backup as it was. */
async function readAgain(
  { client, discovery, signal }: FinalizeBackupOptions,
  { Group, Resource, Namespace, Name }: StoredIdentifier,
): Promise<StoredItem | undefined> {
  const groupResource = Group === "" ? Resource : `${Resource}.${Group}`;
  const type = await discovery?.find(groupResource, signal);
  if (type === undefined) return undefined;
  const object = await client.find<GenericObject>(type, { ...(Namespace === "" ? {} : { namespace: Namespace }), name: Name }, signal);
  if (object === undefined) return undefined;
  return stored(
    groupResourceOf(type),
    type.version,
    apiVersionOf(type),
    type.kind,
    groupResource === VOLUME_SNAPSHOT_BACKUPS ? withStatusNoted(object) : object,
  );
}

function stored(groupResource: string, version: string, apiVersion: string, kind: string, object: KubeObject): StoredItem {
  const { namespace, name = "" } = object.metadata;
  return { ref: { groupResource, namespace, name, version, preferred: true }, object: { apiVersion, kind, ...object } as unknown as GenericObject };
}
