// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface ScheduleSpec {
  paused?: boolean;
  schedule: string;
  skipImmediately?: boolean;
  template: {
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
  };
  useOwnerReferencesInBackup?: boolean | null;
}

export interface ScheduleStatus {
  lastBackup?: string | null;
  lastSkipped?: string | null;
  phase?: "New" | "Enabled" | "FailedValidation";
  validationErrors?: string[];
}

export interface Schedule {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: ScheduleSpec;
  status?: ScheduleStatus;
}

export const schedules: KindDescriptor<Schedule> = { group: "velero.io", version: "v1", plural: "schedules", kind: "Schedule", namespaced: true };
