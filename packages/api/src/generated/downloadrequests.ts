// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DownloadRequestSpec {
  /** The file that is wanted. */
  target: {
    /** Which file. */
    kind: "BackupLog" | "BackupContents" | "BackupVolumeSnapshots" | "BackupItemOperations" | "BackupResourceList" | "BackupResults" | "RestoreLog" | "RestoreResults" | "RestoreResourceList" | "RestoreItemOperations" | "CSIBackupVolumeSnapshots" | "CSIBackupVolumeSnapshotContents" | "BackupVolumeInfos" | "RestoreVolumeInfo";
    /** Name of the backup or restore. */
    name: string;
  };
}

export interface DownloadRequestStatus {
  /** The address to fetch the file from. */
  downloadURL?: string;
  /** When it may be removed. */
  expiration?: string | null;
  /** Where it is in its life. */
  phase?: "New" | "Processed";
}

export interface DownloadRequest {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DownloadRequestSpec;
  status?: DownloadRequestStatus;
}

export const downloadRequests: KindDescriptor<DownloadRequest> = { group: "velero.io", version: "v1", plural: "downloadrequests", kind: "DownloadRequest", namespaced: true };
