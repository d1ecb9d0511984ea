// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface BackupSpec {
  /** How long a CSI snapshot may take to get its handle; 10m when empty. */
  csiSnapshotTimeout?: string;
  /** Name of the mover; empty and velero mean the built-in one. */
  datamover?: string;
  /** Whether volumes are read through the file system unless a pod says otherwise. */
  defaultVolumesToFsBackup?: boolean | null;
  /** The old name of defaultVolumesToFsBackup. */
  defaultVolumesToRestic?: boolean | null;
  /** Cluster-scoped resources to leave out. */
  excludedClusterScopedResources?: string[] | null;
  /** Namespaced resources to leave out. */
  excludedNamespaceScopedResources?: string[] | null;
  /** Namespaces to leave out. */
  excludedNamespaces?: string[] | null;
  /** Resources to leave out. */
  excludedResources?: string[] | null;
  /** Commands run in pods around the work. */
  hooks?: {
    /** Which pods, and what is run. */
    resources?: Array<{
      /** Namespaces to leave out. */
      excludedNamespaces?: string[] | null;
      /** Resources to leave out. */
      excludedResources?: string[] | null;
      /** Namespaces to take; all when empty. Patterns with * are understood. */
      includedNamespaces?: string[] | null;
      /** Resources to take; all when empty. */
      includedResources?: string[] | null;
      /** Only what carries these labels. */
      labelSelector?: {
        /** Conditions on labels; all must hold. */
        matchExpressions?: Array<{
          /** The key within it. */
          key: string;
          /** In, NotIn, Exists or DoesNotExist. */
          operator: string;
          /** The values meant. */
          values?: string[];
        }>;
        /** Labels with these values; all must be there. */
        matchLabels?: Record<string, string>;
      } | null;
      /** Name. */
      name: string;
      /** Commands run after. */
      post?: Array<{
        /** A command run in a container. */
        exec: {
          /** The command and its arguments; no shell is added. */
          command: string[];
          /** Name of the container; the pod's first one when empty. */
          container?: string;
          /** Whether a failure of the command fails the pod's backup: Continue or Fail. */
          onError?: "Continue" | "Fail";
          /** How long it may take. */
          timeout?: string;
        };
      }>;
      /** Commands run before. */
      pre?: Array<{
        /** A command run in a container. */
        exec: {
          /** The command and its arguments; no shell is added. */
          command: string[];
          /** Name of the container; the pod's first one when empty. */
          container?: string;
          /** Whether a failure of the command fails the pod's backup: Continue or Fail. */
          onError?: "Continue" | "Fail";
          /** How long it may take. */
          timeout?: string;
        };
      }>;
    }> | null;
  };
  /** Whether cluster-scoped resources are taken: all, none, or as needed when empty. */
  includeClusterResources?: boolean | null;
  /** Cluster-scoped resources to take. */
  includedClusterScopedResources?: string[] | null;
  /** Namespaced resources to take. */
  includedNamespaceScopedResources?: string[] | null;
  /** Namespaces to take; all when empty. Patterns with * are understood. */
  includedNamespaces?: string[] | null;
  /** Resources to take; all when empty. */
  includedResources?: string[] | null;
  /** How long asynchronous work such as moving data may take; 4h when empty. */
  itemOperationTimeout?: string;
  /** Only what carries these labels. */
  labelSelector?: {
    /** Conditions on labels; all must hold. */
    matchExpressions?: Array<{
      /** The key within it. */
      key: string;
      /** In, NotIn, Exists or DoesNotExist. */
      operator: string;
      /** The values meant. */
      values?: string[];
    }>;
    /** Labels with these values; all must be there. */
    matchLabels?: Record<string, string>;
  } | null;
  /** Labels and annotations for what is made. */
  metadata?: {
    /** Labels. */
    labels?: Record<string, string>;
  };
  /** What matches any of these selectors. */
  orLabelSelectors?: Array<{
    /** Conditions on labels; all must hold. */
    matchExpressions?: Array<{
      /** The key within it. */
      key: string;
      /** In, NotIn, Exists or DoesNotExist. */
      operator: string;
      /** The values meant. */
      values?: string[];
    }>;
    /** Labels with these values; all must be there. */
    matchLabels?: Record<string, string>;
  }> | null;
  /** Order within a resource: its plural, then namespace/name in a comma list. */
  orderedResources?: Record<string, string> | null;
  /** A ConfigMap that says what happens to which volume. */
  resourcePolicy?: {
    /** API group of the object meant. */
    apiGroup?: string;
    /** configmap. */
    kind: string;
    /** Name. */
    name: string;
  };
  /** Whether the data of snapshots is moved to the backup location. */
  snapshotMoveData?: boolean | null;
  /** Whether snapshots are taken of volumes. */
  snapshotVolumes?: boolean | null;
  /** Name of the backup location; the default one when empty. */
  storageLocation?: string;
  /** How long it is kept; 720h when empty. */
  ttl?: string;
  /** Settings of the uploader. */
  uploaderConfig?: {
    /** Files read at once. */
    parallelFilesUpload?: number;
  } | null;
  /** The label whose value joins volumes that are cut at one moment. */
  volumeGroupSnapshotLabelKey?: string;
  /** Places of native snapshots. */
  volumeSnapshotLocations?: string[];
}

export interface BackupStatus {
  /** Asynchronous operations that were begun. */
  backupItemOperationsAttempted?: number;
  /** Asynchronous operations that succeeded. */
  backupItemOperationsCompleted?: number;
  /** Asynchronous operations that failed. */
  backupItemOperationsFailed?: number;
  /** When it ended. */
  completionTimestamp?: string | null;
  /** CSI snapshots that were begun. */
  csiVolumeSnapshotsAttempted?: number;
  /** CSI snapshots that were made. */
  csiVolumeSnapshotsCompleted?: number;
  /** What went wrong. */
  errors?: number;
  /** When it may be removed. */
  expiration?: string | null;
  /** Why it failed. */
  failureReason?: string;
  /** Version of the layout in the bucket. */
  formatVersion?: string;
  /** How the hooks went. */
  hookStatus?: {
    /** Hooks that were run. */
    hooksAttempted?: number;
    /** Hooks that failed. */
    hooksFailed?: number;
  } | null;
  /** Where it is in its life. */
  phase?: "New" | "Queued" | "ReadyToStart" | "FailedValidation" | "InProgress" | "WaitingForPluginOperations" | "WaitingForPluginOperationsPartiallyFailed" | "Finalizing" | "FinalizingPartiallyFailed" | "Completed" | "PartiallyFailed" | "Failed" | "Deleting";
  /** How far it is. */
  progress?: {
    /** Items that are written. */
    itemsBackedUp?: number;
    /** Items in all, as far as is known. */
    totalItems?: number;
  } | null;
  /** Place in the queue, from 1; 0 when it does not wait. */
  queuePosition?: number;
  /** When it began. */
  startTimestamp?: string | null;
  /** What is wrong with the spec. */
  validationErrors?: string[] | null;
  /** Version of the layout, as a whole number; superseded by formatVersion. */
  version?: number;
  /** Native snapshots that were begun. */
  volumeSnapshotsAttempted?: number;
  /** Native snapshots that were made. */
  volumeSnapshotsCompleted?: number;
  /** What was odd. */
  warnings?: number;
}

export interface Backup {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: BackupSpec;
  status?: BackupStatus;
}

export const backups: KindDescriptor<Backup> = { group: "velero.io", version: "v1", plural: "backups", kind: "Backup", namespaced: true };
