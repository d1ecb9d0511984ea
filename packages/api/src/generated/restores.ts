// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface RestoreSpec {
  backupName?: string;
  excludedNamespaces?: string[] | null;
  excludedResources?: string[] | null;
  existingResourcePolicy?: string | null;
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
      postHooks?: Array<{
        exec?: {
          command: string[];
          container?: string;
          execTimeout?: string;
          onError?: "Continue" | "Fail";
          waitForReady?: boolean | null;
          waitTimeout?: string;
        };
        init?: {
          initContainers?: Record<string, unknown>[];
          timeout?: string;
        };
      }>;
    }>;
  };
  includeClusterResources?: boolean | null;
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
  namespaceMapping?: Record<string, string>;
  orLabelSelectors?: Array<{
    matchExpressions?: Array<{
      key: string;
      operator: string;
      values?: string[];
    }>;
    matchLabels?: Record<string, string>;
  }> | null;
  preserveNodePorts?: boolean | null;
  resourceModifier?: {
    apiGroup?: string;
    kind: string;
    name: string;
  } | null;
  resourcePolicy?: {
    apiGroup?: string;
    kind: string;
    name: string;
  } | null;
  restorePVs?: boolean | null;
  restoreStatus?: {
    excludedResources?: string[] | null;
    includedResources?: string[] | null;
  } | null;
  scheduleName?: string;
  uploaderConfig?: {
    parallelFilesDownload?: number;
    writeSparseFiles?: boolean | null;
  } | null;
}

export interface RestoreStatus {
  completionTimestamp?: string | null;
  errors?: number;
  failureReason?: string;
  hookStatus?: {
    hooksAttempted?: number;
    hooksFailed?: number;
  } | null;
  phase?: "New" | "FailedValidation" | "InProgress" | "WaitingForPluginOperations" | "WaitingForPluginOperationsPartiallyFailed" | "Completed" | "PartiallyFailed" | "Failed" | "Finalizing" | "FinalizingPartiallyFailed";
  progress?: {
    itemsRestored?: number;
    totalItems?: number;
  } | null;
  restoreItemOperationsAttempted?: number;
  restoreItemOperationsCompleted?: number;
  restoreItemOperationsFailed?: number;
  startTimestamp?: string | null;
  validationErrors?: string[] | null;
  warnings?: number;
}

export interface Restore {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: RestoreSpec;
  status?: RestoreStatus;
}

export const restores: KindDescriptor<Restore> = { group: "velero.io", version: "v1", plural: "restores", kind: "Restore", namespaced: true };
