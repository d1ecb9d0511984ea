// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface PodVolumeBackupSpec {
  backupStorageLocation: string;
  cancel?: boolean;
  node: string;
  pod: {
    apiVersion?: string;
    fieldPath?: string;
    kind?: string;
    name?: string;
    namespace?: string;
    resourceVersion?: string;
    uid?: string;
  };
  repoIdentifier: string;
  tags?: Record<string, string>;
  uploaderSettings?: Record<string, string> | null;
  uploaderType?: "kopia" | "restic" | "";
  volume: string;
}

export interface PodVolumeBackupStatus {
  acceptedTimestamp?: string | null;
  completionTimestamp?: string | null;
  incrementalBytes?: number;
  message?: string;
  path?: string;
  phase?: "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";
  progress?: {
    bytesDone?: number;
    totalBytes?: number;
  };
  snapshotID?: string;
  startTimestamp?: string | null;
}

export interface PodVolumeBackup {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: PodVolumeBackupSpec;
  status?: PodVolumeBackupStatus;
}

export const podVolumeBackups: KindDescriptor<PodVolumeBackup> = { group: "velero.io", version: "v1", plural: "podvolumebackups", kind: "PodVolumeBackup", namespaced: true };
