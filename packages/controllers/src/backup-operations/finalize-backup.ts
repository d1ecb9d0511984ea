/** The last files of a backup: the DataUploads as they ended go into the tarball, since a restore finds the data by them, and into the record of volumes. */
import { type Backup, type BackupStatus, type DataUpload, dataUploads } from "@drayage/api";
import type { GenericObject, KubeClient } from "@drayage/kube";
import { DATA_UPLOADS } from "../actions/item-id.ts";
import { completeFromUpload } from "../backup/volume-records.ts";
import type { BackupStore } from "../ports.ts";

export interface FinalizeBackupOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly store: BackupStore;
  readonly backup: Backup;
  /** The status that is to be stored, in view of the volumes (`namespace/claim`) whose data was moved and whose DataUpload is gone: a restore will not find their data. */
  readonly ended: (lost: readonly string[]) => BackupStatus;
  readonly signal: AbortSignal;
}

/** Returns the status that was stored. Can be repeated: the same DataUploads give the same files. */
export async function finalizeBackup(options: FinalizeBackupOptions): Promise<BackupStatus> {
  const { client, namespace, store, signal } = options;
  const name = options.backup.metadata.name ?? "";
  const operations = await store.getItemOperations(name, signal);
  const uploads = new Map<string, DataUpload>();
  const lost: string[] = [];
  for (const { spec, status } of operations) {
    for (const item of spec.postOperationItems ?? []) {
      const upload = await client.find(dataUploads, { namespace: item.Namespace === "" ? namespace : item.Namespace, name: item.Name }, signal);
      if (upload !== undefined) uploads.set(spec.operationID, upload);
      else if (status.phase === "Completed") lost.push(`${spec.resourceIdentifier.Namespace}/${spec.resourceIdentifier.Name}`);
    }
  }
  const status = options.ended(lost);
  const backup: Backup = { ...options.backup, apiVersion: "velero.io/v1", kind: "Backup", status };
  if (uploads.size === 0) {
    await store.putBackup({ backup }, signal);
    return status;
  }
  const infos = await store.getVolumeInfos(name, signal);
  const volumeInfos = infos.map((info) => {
    const upload = uploads.get(info.snapshotDataMovementInfo?.operationID ?? "");
    return upload === undefined ? info : completeFromUpload(info, upload);
  });
  const archive = await store.updateArchive(
    name,
    [...uploads.values()].map((upload) => ({
      ref: {
        groupResource: DATA_UPLOADS,
        namespace: upload.metadata.namespace,
        name: upload.metadata.name ?? "",
        version: dataUploads.version,
        preferred: true,
      },
      object: { apiVersion: "velero.io/v2alpha1", kind: "DataUpload", ...upload } as unknown as GenericObject,
    })),
    signal,
  );
  try {
    await store.putBackup({ backup, archive, volumeInfos }, signal);
  } finally {
    await archive.dispose();
  }
  return status;
}
