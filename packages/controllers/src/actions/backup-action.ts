/** What happens to an item on its way into a backup. */
import type { Backup } from "@drayage/api";
import type { Logger } from "@drayage/base";
import type { GenericObject } from "@drayage/kube";
import type { ItemId } from "./item-id.ts";

export interface BackupActionContext {
  /** The backup as it was prepared: every default is filled in. */
  readonly backup: Backup;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface BackupActionResult {
  /** The item as it is stored; actions change a copy. */
  readonly item: GenericObject;
  /** Items that are backed up before this one, if they exist. */
  readonly additionalItems?: readonly ItemId[];
  /** Additional items come along whatever the spec includes. */
  readonly mustInclude?: boolean;
  /** Work that goes on after the item was stored. */
  readonly operation?: { readonly id: string; readonly postOperationItems: readonly ItemId[] };
  /** Why no data of the volume goes into the backup. */
  readonly volumeSkipped?: string;
}

/**
 * A step for items of one resource. Steps run one after the other, each on the result of the one before. One that throws keeps the item out of the backup and is
 * recorded as an error; it must have removed what it made.
 */
export interface BackupAction {
  /** As operations name it: `velero.io/csi-pvc-backupper`. */
  readonly name: string;
  readonly groupResource: string;
  /** Instead of `groupResource`, for a step that chooses its items otherwise. */
  matches?(id: ItemId, item: GenericObject): boolean;
  execute(item: GenericObject, context: BackupActionContext): Promise<BackupActionResult>;
}

/** Whether a step is for an item. */
export function isFor(action: Pick<BackupAction, "groupResource" | "matches">, id: ItemId, item: GenericObject): boolean {
  return action.matches === undefined ? action.groupResource === id.groupResource : action.matches(id, item);
}
