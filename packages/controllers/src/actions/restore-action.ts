/** What happens to an item of a backup on its way back into a cluster. */
import { type Backup, DRAYAGE_ANNOTATIONS, type Restore } from "@drayage/api";
import type { Logger } from "@drayage/base";
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
  /** The item itself is not restored. */
  readonly skip?: boolean;
  /** Id of work that goes on after the item was created. */
  readonly operationId?: string;
}

/** A step for items of one resource, on the result of the step before. One that throws keeps the item out and is recorded as an error. */
export interface RestoreAction {
  /** As operations name it: `velero.io/csi-pvc-restorer`. */
  readonly name: string;
  readonly groupResource: string;
  execute(item: GenericObject, context: RestoreActionContext): Promise<RestoreActionResult>;
  /** Called once the item has been created, with the object as it is in the cluster. Not called for one that was there already. */
  created?(object: GenericObject, context: RestoreActionContext): Promise<void>;
}

/** The namespace that a restore puts the contents of another into. */
export function targetNamespaceOf(restore: Restore, namespace: string): string {
  return restore.spec.namespaceMapping?.[namespace] ?? namespace;
}

/** Whether workloads are created only when their volumes have their data (restore/data-first.ts). */
export function isDataFirst({ metadata }: Restore): boolean {
  return metadata.annotations?.[DRAYAGE_ANNOTATIONS.dataFirst] === "true";
}
