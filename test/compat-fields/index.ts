/** Every field of every kind of Velero's, with the test that shows how it is treated. The page docs/velero-compatibility.md is made of this. */
import { backupFields, scheduleFields } from "./backup.ts";
import type { FieldTable } from "./evidence.ts";
import { backupRepositoryFields, backupStorageLocationFields, requestFields, volumeSnapshotLocationFields } from "./locations.ts";
import { dataDownloadFields, dataUploadFields, podVolumeBackupFields, podVolumeRestoreFields } from "./movements.ts";
import { restoreFields } from "./restore.ts";

export const fieldTables: Readonly<Record<string, FieldTable>> = {
  Backup: backupFields,
  Restore: restoreFields,
  Schedule: scheduleFields,
  BackupStorageLocation: backupStorageLocationFields,
  VolumeSnapshotLocation: volumeSnapshotLocationFields,
  BackupRepository: backupRepositoryFields,
  DataUpload: dataUploadFields,
  DataDownload: dataDownloadFields,
  PodVolumeBackup: podVolumeBackupFields,
  PodVolumeRestore: podVolumeRestoreFields,
  ...requestFields,
};
