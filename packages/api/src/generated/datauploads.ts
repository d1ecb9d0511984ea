// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataUploadSpec {
  /** Name of the backup location. */
  backupStorageLocation: string;
  /** Set to true to ask for cancellation; it cannot be taken back. */
  cancel?: boolean;
  /** The CSI snapshot whose data is moved. */
  csiSnapshot?: {
    /** Name of the CSI driver. */
    driver?: string;
    /** The VolumeSnapshotClass it was made with. */
    snapshotClass?: string;
    /** The StorageClass of the source claim. */
    storageClass: string;
    /** Name of the VolumeSnapshot. */
    volumeSnapshot: string;
  } | null;
  /** Settings of the mover. */
  dataMoverConfig?: Record<string, string> | null;
  /** Name of the mover; empty and velero mean the built-in one. */
  datamover?: string;
  /** How long single steps of the preparation may take. */
  operationTimeout: string;
  /** How the snapshot was made; CSI. */
  snapshotType: string;
  /** The namespace the data came from; its repository is named after it. */
  sourceNamespace: string;
  /** Name of the claim the data is of. */
  sourcePVC: string;
}

export interface DataUploadStatus {
  /** The node-agent that took this up. */
  acceptedByNode?: string;
  /** When it was taken up; the time limit for preparing counts from here. */
  acceptedTimestamp?: string | null;
  /** When it ended. */
  completionTimestamp?: string | null;
  /** Facts that a mover of a vendor wants handed to its restore. */
  dataMoverResult?: Record<string, string> | null;
  /** Bytes that were new or changed. */
  incrementalBytes?: number;
  /** More about the state, for people. */
  message?: string;
  /** Name of the node where it runs. */
  node?: string;
  /** Operating system of that node. */
  nodeOS?: "auto" | "linux" | "windows";
  /** Where the volume is mounted in the mover. */
  path?: string;
  /** Where it is in its life. */
  phase?: "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";
  /** How far it is. */
  progress?: {
    /** Bytes that are through. */
    bytesDone?: number;
    /** Bytes in all. */
    totalBytes?: number;
  };
  /** Id of the snapshot's manifest in the repository. */
  snapshotID?: string;
  /** When it began. */
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
