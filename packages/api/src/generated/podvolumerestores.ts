// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface PodVolumeRestoreSpec {
  /** Name of the backup location. */
  backupStorageLocation: string;
  /** Set to true to ask for cancellation; it cannot be taken back. */
  cancel?: boolean;
  /** The pod whose volume it is. */
  pod: {
    /** The version of the schema this object is written in. */
    apiVersion?: string;
    /** A part of the object meant. */
    fieldPath?: string;
    /** The kind of this object. */
    kind?: string;
    /** Name. */
    name?: string;
    /** Namespace. */
    namespace?: string;
    /** Version of the object meant. */
    resourceVersion?: string;
    /** Uid of the object meant. */
    uid?: string;
  };
  /** The repository, as the uploader names it. */
  repoIdentifier: string;
  /** Id of the snapshot's manifest in the repository. */
  snapshotID: string;
  /** Bytes to expect. */
  snapshotSize?: number;
  /** The namespace the data came from; its repository is named after it. */
  sourceNamespace: string;
  /** Settings of the uploader. */
  uploaderSettings?: Record<string, string> | null;
  /** The uploader: kopia, or restic for what is old. */
  uploaderType?: "kopia" | "restic" | "";
  /** Name of the volume within the pod. */
  volume: string;
}

export interface PodVolumeRestoreStatus {
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

export interface PodVolumeRestore {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: PodVolumeRestoreSpec;
  status?: PodVolumeRestoreStatus;
}

export const podVolumeRestores: KindDescriptor<PodVolumeRestore> = { group: "velero.io", version: "v1", plural: "podvolumerestores", kind: "PodVolumeRestore", namespaced: true };
