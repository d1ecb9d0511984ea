// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface PodVolumeBackupSpec {
  /** Name of the backup location. */
  backupStorageLocation: string;
  /** Set to true to ask for cancellation; it cannot be taken back. */
  cancel?: boolean;
  /** Name of the node where it runs. */
  node: string;
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
  /** Tags of the snapshot in the repository. */
  tags?: Record<string, string>;
  /** Settings of the uploader. */
  uploaderSettings?: Record<string, string> | null;
  /** The uploader: kopia, or restic for what is old. */
  uploaderType?: "kopia" | "restic" | "";
  /** Name of the volume within the pod. */
  volume: string;
}

export interface PodVolumeBackupStatus {
  /** When it was taken up; the time limit for preparing counts from here. */
  acceptedTimestamp?: string | null;
  /** When it ended. */
  completionTimestamp?: string | null;
  /** Bytes that were new or changed. */
  incrementalBytes?: number;
  /** More about the state, for people. */
  message?: string;
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

export interface PodVolumeBackup {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: PodVolumeBackupSpec;
  status?: PodVolumeBackupStatus;
}

export const podVolumeBackups: KindDescriptor<PodVolumeBackup> = { group: "velero.io", version: "v1", plural: "podvolumebackups", kind: "PodVolumeBackup", namespaced: true };
