// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DownloadRequestSpec {
  target: {
    kind: "BackupLog" | "BackupContents" | "BackupVolumeSnapshots" | "BackupItemOperations" | "BackupResourceList" | "BackupResults" | "RestoreLog" | "RestoreResults" | "RestoreResourceList" | "RestoreItemOperations" | "CSIBackupVolumeSnapshots" | "CSIBackupVolumeSnapshotContents" | "BackupVolumeInfos" | "RestoreVolumeInfo";
    name: string;
  };
}

export interface DownloadRequestStatus {
  downloadURL?: string;
  expiration?: string | null;
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
