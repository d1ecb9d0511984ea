/** The last files of a backup: the DataUploads as they ended go into the tarball, since a restore finds the data by them, and into the record of volumes. */
import { type Backup, type DataUpload, dataUploads } from "@drayage/api";
import type { Clock } from "@drayage/base";
import type { GenericObject, KubeClient } from "@drayage/kube";
import { DATA_UPLOADS } from "../actions/item-id.ts";
import { completeFromUpload } from "../backup/volume-records.ts";
import type { BackupStore } from "../ports.ts";

export interface FinalizeBackupOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  readonly store: BackupStore;
  /** With the status that is to be stored. */
  readonly backup: Backup;
  readonly signal: AbortSignal;
}

/** Can be repeated: the same DataUploads give the same files. A DataUpload that is gone is left as its operation recorded it. */
export async function finalizeBackup(options: FinalizeBackupOptions): Promise<void> {
  const { client, namespace, store, backup, signal } = options;
  const name = backup.metadata.name ?? "";
  const operations = await store.getItemOperations(name, signal);
  const uploads = new Map<string, DataUpload>();
  for (const { spec } of operations) {
    for (const item of spec.postOperationItems ?? []) {
      const upload = await client.find(dataUploads, { namespace: item.Namespace === "" ? namespace : item.Namespace, name: item.Name }, signal);
      if (upload !== undefined) uploads.set(spec.operationID, upload);
    }
  }
  if (uploads.size === 0) {
    await store.putBackup({ backup }, signal);
    return;
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
}
