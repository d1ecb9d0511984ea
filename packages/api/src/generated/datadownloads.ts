// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataDownloadSpec {
  /** Name of the backup location. */
  backupStorageLocation: string;
  /** Set to true to ask for cancellation; it cannot be taken back. */
  cancel?: boolean;
  /** Settings of the mover. */
  dataMoverConfig?: Record<string, string>;
  /** Name of the mover; empty and velero mean the built-in one. */
  datamover?: string;
  /** Operating system of that node. */
  nodeOS?: "auto" | "linux" | "windows";
  /** How long single steps of the preparation may take. */
  operationTimeout: string;
  /** Id of the snapshot's manifest in the repository. */
  snapshotID: string;
  /** Bytes to expect. */
  snapshotSize?: number;
  /** The namespace the data came from; its repository is named after it. */
  sourceNamespace: string;
  /** Where the data goes. */
  targetVolume: {
    /** Namespace. */
    namespace: string;
    /** The volume; filled in when it is known. */
    pv: string;
    /** Name of the claim. */
    pvc: string;
  };
}

export interface DataDownloadStatus {
  /** The node-agent that took this up. */
  acceptedByNode?: string;
  /** When it was taken up; the time limit for preparing counts from here. */
  acceptedTimestamp?: string | null;
  /** When it ended. */
  completionTimestamp?: string | null;
  /** More about the state, for people. */
  message?: string;
  /** Name of the node where it runs. */
  node?: string;
  /** Where it is in its life. */
  phase?: "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";
  /** How far it is. */
  progress?: {
    /** Bytes that are through. */
    bytesDone?: number;
    /** Bytes in all. */
    totalBytes?: number;
  };
  /** When it began. */
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
