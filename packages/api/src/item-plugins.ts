/**
 * What a plug-in can do with the items of a backup or a restore, in the terms of Velero's plug-in interfaces (BackupItemAction v2, RestoreItemAction v2, DeleteItemAction, ItemBlockAction).
 * Velero's own plug-in binaries are offered in this form by @drayage/plugin-host; an action of ours may have it as well.
 */
import type { Backup } from "./generated/backups.ts";
import type { Restore } from "./generated/restores.ts";
import type { ObjectMeta } from "./meta.ts";

/** Any object of the API. */
export interface PluginItem {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}

/** Names an item; the namespace is empty at cluster scope, and so is the group of core kinds. */
export interface PluginItemId {
  readonly group: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

/** Which items a plug-in is for. An empty list leaves nothing out; resources are written in any form that discovery understands. */
export interface PluginSelector {
  readonly includedNamespaces: readonly string[];
  readonly excludedNamespaces: readonly string[];
  readonly includedResources: readonly string[];
  readonly excludedResources: readonly string[];
  /** A label selector as text; empty selects everything. */
  readonly selector: string;
}

/** How far work is that goes on after its item was dealt with. */
export interface PluginProgress {
  readonly completed: boolean;
  /** Why it failed; empty when it did not. */
  readonly error: string;
  readonly done: number;
  readonly total: number;
  readonly units: string;
  readonly description: string;
  /** RFC 3339. */
  readonly started?: string;
  readonly updated?: string;
}

/** A plug-in that fails, ends or does not answer throws PLUGIN_FAILED or PLUGIN_LOST with its name. */
export interface BackupItemPlugin {
  /** `example.com/name`, unique among its kind. */
  readonly name: string;
  appliesTo(signal?: AbortSignal): Promise<PluginSelector>;
  execute(
    item: PluginItem,
    backup: Backup,
    signal?: AbortSignal,
  ): Promise<{
    readonly item: PluginItem;
    readonly additionalItems: readonly PluginItemId[];
    /** Empty when nothing goes on. */
    readonly operationId: string;
    readonly postOperationItems: readonly PluginItemId[];
  }>;
  progress(operationId: string, backup: Backup, signal?: AbortSignal): Promise<PluginProgress>;
  cancel(operationId: string, backup: Backup, signal?: AbortSignal): Promise<void>;
}

export interface RestoreItemPlugin {
  readonly name: string;
  appliesTo(signal?: AbortSignal): Promise<PluginSelector>;
  execute(
    input: { readonly item: PluginItem; readonly itemFromBackup: PluginItem; readonly restore: Restore },
    signal?: AbortSignal,
  ): Promise<{
    readonly item: PluginItem;
    readonly additionalItems: readonly PluginItemId[];
    readonly skipRestore: boolean;
    readonly operationId: string;
    /** How long the additional items may take to be ready, in milliseconds; undefined when they are not waited for, 0 for the server's own limit. */
    readonly readyTimeoutMs: number | undefined;
  }>;
  progress(operationId: string, restore: Restore, signal?: AbortSignal): Promise<PluginProgress>;
  cancel(operationId: string, restore: Restore, signal?: AbortSignal): Promise<void>;
  areAdditionalItemsReady(items: readonly PluginItemId[], restore: Restore, signal?: AbortSignal): Promise<boolean>;
}

export interface DeleteItemPlugin {
  readonly name: string;
  appliesTo(signal?: AbortSignal): Promise<PluginSelector>;
  execute(item: PluginItem, backup: Backup, signal?: AbortSignal): Promise<void>;
}

/** What an installation has beside its own actions. */
export interface ItemPlugins {
  readonly backup: readonly BackupItemPlugin[];
  readonly restore: readonly RestoreItemPlugin[];
  readonly delete: readonly DeleteItemPlugin[];
}

export const NO_ITEM_PLUGINS: ItemPlugins = { backup: [], restore: [], delete: [] };
