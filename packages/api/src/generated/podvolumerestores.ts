// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface PodVolumeRestoreSpec {
  backupStorageLocation: string;
  cancel?: boolean;
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
  snapshotID: string;
  snapshotSize?: number;
  sourceNamespace: string;
  uploaderSettings?: Record<string, string> | null;
  uploaderType?: "kopia" | "restic" | "";
  volume: string;
}

export interface PodVolumeRestoreStatus {
  acceptedTimestamp?: string | null;
  completionTimestamp?: string | null;
  message?: string;
  node?: string;
  phase?: "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";
  progress?: {
    bytesDone?: number;
    totalBytes?: number;
  };
  startTimestamp?: string | null;
}

export interface PodVolumeRestore {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: PodVolumeRestoreSpec;
  status?: PodVolumeRestoreStatus;
}

export const podVolumeRestores: KindDescriptor<PodVolumeRestore> = { group: "velero.io", version: "v1", plural: "podvolumerestores", kind: "PodVolumeRestore", namespaced: true };
