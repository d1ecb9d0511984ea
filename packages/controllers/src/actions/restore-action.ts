/** What happens to an item of a backup on its way back into a cluster. */
import { type Backup, DRAYAGE_ANNOTATIONS, LABELS, type Restore, validLabelValue } from "@drayage/api";
import { type Logger, parseTime } from "@drayage/base";
import type { GenericObject } from "@drayage/kube";
import type { ItemId } from "./item-id.ts";

export interface RestoreActionContext {
  readonly restore: Restore;
  readonly backup: Backup;
  /** The item as it lies in the backup, status and all. */
  readonly itemFromBackup: GenericObject;
  /** Where it goes; undefined at cluster scope. The item itself still carries the namespace it came from. */
  readonly targetNamespace: string | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface RestoreActionResult {
  readonly item: GenericObject;
  /** Items of the backup that are restored before this one; in the namespaces they came from. */
  readonly additionalItems?: readonly ItemId[];
  /** Resolves when the additional items are fit for use; throws when they do not become so. */
  readonly untilReady?: () => Promise<void>;
  /** The item itself is not restored. */
  readonly skip?: boolean;
  /** Id of work that goes on after the item was created. */
  readonly operationId?: string;
  /** When that work was asked for, where that was not just now. */
  readonly operationCreated?: string | undefined;
}

/** A step for items of one resource, on the result of the step before. One that throws keeps the item out and is recorded as an error. */
export interface RestoreAction {
  /** As operations name it: `velero.io/csi-pvc-restorer`. */
  readonly name: string;
  readonly groupResource: string;
  /** Instead of `groupResource`, for a step that chooses its items otherwise. */
  matches?(id: ItemId, item: GenericObject): boolean;
  /** Whether `matches` may hold of items of a resource; of every resource when left out. */
  matchesResource?(groupResource: string): boolean;
  execute(item: GenericObject, context: RestoreActionContext): Promise<RestoreActionResult>;
  /** Called once the item has been created, with the object as it is in the cluster. Not called for one that was there already. */
  created?(object: GenericObject, context: RestoreActionContext): Promise<void>;
}

/** The namespace that a restore puts the contents of another into. */
export function targetNamespaceOf(restore: Restore, namespace: string): string {
  return restore.spec.namespaceMapping?.[namespace] ?? namespace;
}

/** How often a process went on with a restore that another one had left InProgress. */
export function resumesOf({ metadata }: Restore): number {
  const count = Number(metadata.annotations?.[DRAYAGE_ANNOTATIONS.resumed] ?? 0);
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}

/**
 * Whether an object was created by this very restore, and not by one of that name which there was before: it carries its label and is no older.
 * What a process left half done when it ended is recognised by this. Both times are the API server's.
 */
export function isRestoredBy(restore: Restore, { metadata }: GenericObject): boolean {
  const [createdMs, restoreMs] = [parseTime(metadata.creationTimestamp), parseTime(restore.metadata.creationTimestamp)];
  const isLabelled = metadata.labels?.[LABELS.restoreName] === validLabelValue(restore.metadata.name ?? "");
  return isLabelled && createdMs !== undefined && restoreMs !== undefined && createdMs >= restoreMs;
}

/** Whether workloads are created only when their volumes have their data (restore/data-first.ts). */
export function isDataFirst({ metadata }: Restore): boolean {
  return metadata.annotations?.[DRAYAGE_ANNOTATIONS.dataFirst] === "true";
}
