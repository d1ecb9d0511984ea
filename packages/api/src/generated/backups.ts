// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface BackupSpec {
  csiSnapshotTimeout?: string;
  datamover?: string;
  defaultVolumesToFsBackup?: boolean | null;
  defaultVolumesToRestic?: boolean | null;
  excludedClusterScopedResources?: string[] | null;
  excludedNamespaceScopedResources?: string[] | null;
  excludedNamespaces?: string[] | null;
  excludedResources?: string[] | null;
  hooks?: {
    resources?: Array<{
      excludedNamespaces?: string[] | null;
      excludedResources?: string[] | null;
      includedNamespaces?: string[] | null;
      includedResources?: string[] | null;
      labelSelector?: {
        matchExpressions?: Array<{
          key: string;
          operator: string;
          values?: string[];
        }>;
        matchLabels?: Record<string, string>;
      } | null;
      name: string;
      post?: Array<{
        exec: {
          command: string[];
          container?: string;
          onError?: "Continue" | "Fail";
          timeout?: string;
        };
      }>;
      pre?: Array<{
        exec: {
          command: string[];
          container?: string;
          onError?: "Continue" | "Fail";
          timeout?: string;
        };
      }>;
    }> | null;
  };
  includeClusterResources?: boolean | null;
  includedClusterScopedResources?: string[] | null;
  includedNamespaceScopedResources?: string[] | null;
  includedNamespaces?: string[] | null;
  includedResources?: string[] | null;
  itemOperationTimeout?: string;
  labelSelector?: {
    matchExpressions?: Array<{
      key: string;
      operator: string;
      values?: string[];
    }>;
    matchLabels?: Record<string, string>;
  } | null;
  metadata?: {
    labels?: Record<string, string>;
  };
  orLabelSelectors?: Array<{
    matchExpressions?: Array<{
      key: string;
      operator: string;
      values?: string[];
    }>;
    matchLabels?: Record<string, string>;
  }> | null;
  orderedResources?: Record<string, string> | null;
  resourcePolicy?: {
    apiGroup?: string;
    kind: string;
    name: string;
  };
  snapshotMoveData?: boolean | null;
  snapshotVolumes?: boolean | null;
  storageLocation?: string;
  ttl?: string;
  uploaderConfig?: {
    parallelFilesUpload?: number;
  } | null;
  volumeGroupSnapshotLabelKey?: string;
  volumeSnapshotLocations?: string[];
}

export interface BackupStatus {
  backupItemOperationsAttempted?: number;
  backupItemOperationsCompleted?: number;
  backupItemOperationsFailed?: number;
  completionTimestamp?: string | null;
  csiVolumeSnapshotsAttempted?: number;
  csiVolumeSnapshotsCompleted?: number;
  errors?: number;
  expiration?: string | null;
  failureReason?: string;
  formatVersion?: string;
  hookStatus?: {
    hooksAttempted?: number;
    hooksFailed?: number;
  } | null;
  phase?: "New" | "Queued" | "ReadyToStart" | "FailedValidation" | "InProgress" | "WaitingForPluginOperations" | "WaitingForPluginOperationsPartiallyFailed" | "Finalizing" | "FinalizingPartiallyFailed" | "Completed" | "PartiallyFailed" | "Failed" | "Deleting";
  progress?: {
    itemsBackedUp?: number;
    totalItems?: number;
  } | null;
  queuePosition?: number;
  startTimestamp?: string | null;
  validationErrors?: string[] | null;
  version?: number;
  volumeSnapshotsAttempted?: number;
  volumeSnapshotsCompleted?: number;
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
