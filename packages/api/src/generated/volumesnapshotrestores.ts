// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotRestoreSpec {
  /** Namespace of the installation, in which everything that is needed on the way is made. */
  protectedNamespace?: string;
  /** The Secret with the password of the restic repository, in the protected namespace. */
  resticSecretRef?: {
    /** Name of the Secret. */
    name?: string;
  };
  /** What its VolumeSnapshotBackup said. */
  volumeSnapshotMoverBackupRef?: {
    /** URL of the volume's restic repository. */
    resticrepository?: string;
    /** The claim that was backed up. */
    sourcePVCData?: {
      /** Name of the claim. */
      name?: string;
      /** Size of its volume. */
      size?: string;
      /** Its storage class. */
      storageClassName?: string;
    };
    /** Class of the snapshot. */
    volumeSnapshotClassName?: string;
  };
}

export interface VolumeSnapshotRestoreStatus {
  /** Where it is in the queue: Queued, Processing, Completed. */
  batchingStatus?: string;
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
  /** Where it is in its life: InProgress, SnapshotRestoreDone, Cleanup, Completed, PartiallyFailed, Failed. */
  phase?: string;
  /** The ReplicationDestination that moves the data. */
  replicationDestinationData?: {
    /** When it ended. */
    completionTimestamp?: string;
    /** Name of the ReplicationDestination. */
    name?: string;
    /** When it began. */
    startTimestamp?: string;
  };
  /** Snapshot that holds the data, where it came back as one. */
  snapshotHandle?: string;
  /** When it began. */
  startTimestamp?: string;
  /** VolumeSnapshotContent of that snapshot. */
  volumeSnapshotContentName?: string;
}

export interface VolumeSnapshotRestore {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeSnapshotRestoreSpec;
  status?: VolumeSnapshotRestoreStatus;
}

export const volumeSnapshotRestores: KindDescriptor<VolumeSnapshotRestore> = { group: "datamover.oadp.openshift.io", version: "v1alpha1", plural: "volumesnapshotrestores", kind: "VolumeSnapshotRestore", namespaced: true };
