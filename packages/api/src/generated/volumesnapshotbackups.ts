// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotBackupSpec {
  /** Namespace of the installation, in which everything that is needed on the way is made. */
  protectedNamespace?: string;
  /** The Secret with the password of the restic repository, in the protected namespace. */
  resticSecretRef?: {
    /** Name of the Secret. */
    name?: string;
  };
  /** The snapshot; only its name counts. */
  volumeSnapshotContent?: {
    /** Its API version. */
    apiVersion?: string;
    /** A part of it. */
    fieldPath?: string;
    /** Its kind. */
    kind?: string;
    /** Its name. */
    name?: string;
    /** Its namespace. */
    namespace?: string;
    /** Its version. */
    resourceVersion?: string;
    /** Its UID. */
    uid?: string;
  };
}

export interface VolumeSnapshotBackupStatus {
  /** Where it is in the queue: Queued, Processing, Completed. */
  batchingStatus?: string;
  /** Not used. */
  completed?: boolean;
  /** When it ended. */
  completionTimestamp?: string;
  /** What is known of it, one entry for each aspect. */
  conditions?: Array<{
    /** When this status began. */
    lastTransitionTime: string;
    /** For people; may be empty. */
    message: string;
    /** The generation of the object that this was said of. */
    observedGeneration?: number;
    /** For programs. */
    reason: string;
    /** Whether it holds. */
    status: "True" | "False" | "Unknown";
    /** The aspect. */
    type: string;
  }>;
  /** Where it is in its life: InProgress, SnapshotBackupDone, Cleanup, Completed, PartiallyFailed, Failed. */
  phase?: string;
  /** The ReplicationSource that moves the data. */
  replicationSourceData?: {
    /** When it ended. */
    completionTimestamp?: string;
    /** Name of the ReplicationSource. */
    name?: string;
    /** When it began. */
    startTimestamp?: string;
  };
  /** URL of the volume's restic repository. */
  resticrepository?: string;
  /** The claim that the snapshot is of. */
  sourcePVCData?: {
    /** Name of the claim. */
    name?: string;
    /** Size of its volume. */
    size?: string;
    /** Its storage class. */
    storageClassName?: string;
  };
  /** When it began. */
  startTimestamp?: string;
  /** Class of the snapshot. */
  volumeSnapshotClassName?: string;
}

export interface VolumeSnapshotBackup {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeSnapshotBackupSpec;
  status?: VolumeSnapshotBackupStatus;
}

export const volumeSnapshotBackups: KindDescriptor<VolumeSnapshotBackup> = { group: "datamover.oadp.openshift.io", version: "v1alpha1", plural: "volumesnapshotbackups", kind: "VolumeSnapshotBackup", namespaced: true };
