// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataUploadSpec {
  backupStorageLocation: string;
  cancel?: boolean;
  csiSnapshot?: {
    driver?: string;
    snapshotClass?: string;
    storageClass: string;
    volumeSnapshot: string;
  } | null;
  dataMoverConfig?: Record<string, string> | null;
  datamover?: string;
  operationTimeout: string;
  snapshotType: string;
  sourceNamespace: string;
  sourcePVC: string;
}

export interface DataUploadStatus {
  acceptedByNode?: string;
  acceptedTimestamp?: string | null;
  completionTimestamp?: string | null;
  dataMoverResult?: Record<string, string> | null;
  incrementalBytes?: number;
  message?: string;
  node?: string;
  nodeOS?: "auto" | "linux" | "windows";
  path?: string;
  phase?: "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";
  progress?: {
    bytesDone?: number;
    totalBytes?: number;
  };
  snapshotID?: string;
  startTimestamp?: string | null;
}

export interface DataUpload {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataUploadSpec;
  status?: DataUploadStatus;
}

export const dataUploads: KindDescriptor<DataUpload> = { group: "velero.io", version: "v2alpha1", plural: "datauploads", kind: "DataUpload", namespaced: true };
