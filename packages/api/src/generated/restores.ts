// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface RestoreSpec {
  /** Name of the backup. */
  backupName?: string;
  /** Namespaces to leave out. */
  excludedNamespaces?: string[] | null;
  /** Resources to leave out. */
  excludedResources?: string[] | null;
  /** What to do with a resource that exists already: none or update. */
  existingResourcePolicy?: string | null;
  /** Commands run in pods once they are back. */
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
      /** Hooks run after the pod is created. */
      postHooks?: Array<{
        /** A command run in a container. */
        exec?: {
          /** The command and its arguments; no shell is added. */
          command: string[];
          /** Name of the container; the pod's first one when empty. */
          container?: string;
          /** How long the command may take. */
          execTimeout?: string;
          /** Whether a failure of the command fails the pod's backup: Continue or Fail. */
          onError?: "Continue" | "Fail";
          /** Whether the container must be ready first. */
          waitForReady?: boolean | null;
          /** How long to wait for the container. */
          waitTimeout?: string;
        };
        /** Containers run before the pod's own. */
        init?: {
          /** The containers to add. */
          initContainers?: Record<string, unknown>[];
          /** How long it may take. */
          timeout?: string;
        };
      }>;
    }>;
  };
  /** Whether cluster-scoped resources are taken: all, none, or as needed when empty. */
  includeClusterResources?: boolean | null;
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
  /** Namespaces to restore into, by the name they had. */
  namespaceMapping?: Record<string, string>;
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
  /** Whether services keep their node ports. */
  preserveNodePorts?: boolean | null;
  /** A ConfigMap with changes made to resources on their way. */
  resourceModifier?: {
    /** API group of the object meant. */
    apiGroup?: string;
    /** configmap. */
    kind: string;
    /** Name. */
    name: string;
  } | null;
  /** A ConfigMap that says what happens to which volume. */
  resourcePolicy?: {
    /** API group of the object meant. */
    apiGroup?: string;
    /** The kind of this object. */
    kind: string;
    /** Name. */
    name: string;
  } | null;
  /** Whether volumes and their data come back. */
  restorePVs?: boolean | null;
  /** Resources whose status comes back too. */
  restoreStatus?: {
    /** Resources to leave out. */
    excludedResources?: string[] | null;
    /** Resources to take; all when empty. */
    includedResources?: string[] | null;
  } | null;
  /** The schedule whose newest backup is meant, when no backup is named. */
  scheduleName?: string;
  /** Settings of the uploader. */
  uploaderConfig?: {
    /** Files written at once. */
    parallelFilesDownload?: number;
    /** Whether runs of zeros become holes. */
    writeSparseFiles?: boolean | null;
  } | null;
}

export interface RestoreStatus {
  /** When it ended. */
  completionTimestamp?: string | null;
  /** What went wrong. */
  errors?: number;
  /** Why it failed. */
  failureReason?: string;
  /** How the hooks went. */
  hookStatus?: {
    /** Hooks that were run. */
    hooksAttempted?: number;
    /** Hooks that failed. */
    hooksFailed?: number;
  } | null;
  /** Where it is in its life. */
  phase?: "New" | "FailedValidation" | "InProgress" | "WaitingForPluginOperations" | "WaitingForPluginOperationsPartiallyFailed" | "Completed" | "PartiallyFailed" | "Failed" | "Finalizing" | "FinalizingPartiallyFailed";
  /** How far it is. */
  progress?: {
    /** Items that are back. */
    itemsRestored?: number;
    /** Items in all, as far as is known. */
    totalItems?: number;
  } | null;
  /** Asynchronous operations that were begun. */
  restoreItemOperationsAttempted?: number;
  /** Asynchronous operations that succeeded. */
  restoreItemOperationsCompleted?: number;
  /** Asynchronous operations that failed. */
  restoreItemOperationsFailed?: number;
  /** When it began. */
  startTimestamp?: string | null;
  /** What is wrong with the spec. */
  validationErrors?: string[] | null;
  /** What was odd. */
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
