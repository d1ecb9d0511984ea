// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataDownloadSpec {
  backupStorageLocation: string;
  cancel?: boolean;
  dataMoverConfig?: Record<string, string>;
  datamover?: string;
  nodeOS?: "auto" | "linux" | "windows";
  operationTimeout: string;
  snapshotID: string;
  snapshotSize?: number;
  sourceNamespace: string;
  targetVolume: {
    namespace: string;
    pv: string;
    pvc: string;
  };
}

export interface DataDownloadStatus {
  acceptedByNode?: string;
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

export interface DataDownload {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataDownloadSpec;
  status?: DataDownloadStatus;
}

export const dataDownloads: KindDescriptor<DataDownload> = { group: "velero.io", version: "v2alpha1", plural: "datadownloads", kind: "DataDownload", namespaced: true };
