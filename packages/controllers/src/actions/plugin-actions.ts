/**
 * Plug-ins of others as steps of a backup, a restore and a deletion. They come after the steps of our own, so that they see items as they are stored and as they are created.
 */
import {
  ANNOTATIONS,
  type Backup,
  type BackupItemPlugin,
  type DeleteItemPlugin,
  type ItemPlugins,
  type PluginItem,
  type PluginItemId,
  type RestoreItemPlugin,
} from "@drayage/api";
import { type Clock, DrayError } from "@drayage/base";
import { type Discovery, type GenericObject, groupResourceOf, matchesLabels, type ParsedSelector, parseLabelSelector } from "@drayage/kube";
import type { BackupArchiveReader } from "../ports.ts";
import { NameFilter } from "../resource-selection/name-filter.ts";
import type { BackupAction } from "./backup-action.ts";
import type { ItemId } from "./item-id.ts";
import type { RestoreAction } from "./restore-action.ts";

/** Which items a plug-in is for, with its resources as the cluster names them. */
interface ItemFilter {
  matches(id: ItemId, object: GenericObject): boolean;
  matchesResource(groupResource: string): boolean;
}

const READY_LOOK_MS = 2_000;

async function filterOf(plugin: BackupItemPlugin | RestoreItemPlugin | DeleteItemPlugin, discovery: Discovery, signal: AbortSignal): Promise<ItemFilter> {
  const { includedNamespaces, excludedNamespaces, includedResources, excludedResources, selector } = await plugin.appliesTo(signal);
  const resolved = async (names: readonly string[]): Promise<string[]> => {
    const found: string[] = [];
    for (const name of names) {
      const resource = name === "*" ? undefined : await discovery.find(name, signal);
      found.push(resource === undefined ? name : groupResourceOf(resource));
    }
    return found;
  };
  const resources = new NameFilter(await resolved(includedResources), await resolved(excludedResources));
  const namespaces = new NameFilter(includedNamespaces, excludedNamespaces);
  const everywhere = includedNamespaces.length === 0 || includedNamespaces.includes("*");
  let labels: ParsedSelector | undefined;
  try {
    labels = selector === "" ? undefined : parseLabelSelector(selector);
  } catch (cause) {
    throw new DrayError("PLUGIN_FAILED", `Cannot use plug-in "${plugin.name}": its label selector is ${JSON.stringify(selector)}, which cannot be read`, {
      cause,
    });
  }
  return {
    matchesResource: (groupResource) => resources.has(groupResource),
    matches: ({ groupResource, namespace }, object) =>
      resources.has(groupResource) &&
      (namespace === undefined ? everywhere : namespaces.has(namespace)) &&
      (labels === undefined || matchesLabels(labels, object.metadata.labels)),
  };
}

function itemIdOfPlugin({ group, resource, namespace, name }: PluginItemId): ItemId {
  return { groupResource: group === "" ? resource : `${resource}.${group}`, namespace: namespace === "" ? undefined : namespace, name };
}

function pluginIdOf({ groupResource, namespace, name }: ItemId): PluginItemId {
  const dot = groupResource.indexOf(".");
  return {
    group: dot < 0 ? "" : groupResource.slice(dot + 1),
    resource: dot < 0 ? groupResource : groupResource.slice(0, dot),
    namespace: namespace ?? "",
    name,
  };
}

/** Asks each plug-in once what it is for. One that cannot say fails the backup: nobody knows what would be missing. */
export async function createPluginBackupActions(plugins: readonly BackupItemPlugin[], discovery: Discovery, signal: AbortSignal): Promise<BackupAction[]> {
  const actions: BackupAction[] = [];
  for (const plugin of plugins) {
    const filter = await filterOf(plugin, discovery, signal);
    actions.push({
      name: plugin.name,
      groupResource: "*",
      matches: filter.matches,
      async execute(item, { backup, signal: ending }) {
        const result = await plugin.execute(item as PluginItem, backup, ending);
        const { item: stored, mustInclude } = withoutMustInclude(result.item as GenericObject, ANNOTATIONS.mustIncludeAdditionalItems);
        return {
          item: stored,
          mustInclude,
          additionalItems: result.additionalItems.map(itemIdOfPlugin),
          ...(result.operationId === "" ? {} : { operation: { id: result.operationId, postOperationItems: result.postOperationItems.map(itemIdOfPlugin) } }),
        };
      },
    });
  }
  return actions;
}

/** The annotation speaks to the server, and is not stored. */
function withoutMustInclude(item: GenericObject, annotation: string): { readonly item: GenericObject; readonly mustInclude: boolean } {
  const { [annotation]: value, ...annotations } = item.metadata.annotations ?? {};
  return value === undefined ? { item, mustInclude: false } : { item: { ...item, metadata: { ...item.metadata, annotations } }, mustInclude: value === "true" };
}

export interface PluginRestoreOptions {
  readonly discovery: Discovery;
  readonly clock: Clock;
  /** How long additional items may take to be ready when the plug-in does not say. */
  readonly resourceTimeoutMs: number;
  readonly signal: AbortSignal;
}

export async function createPluginRestoreActions(plugins: readonly RestoreItemPlugin[], options: PluginRestoreOptions): Promise<RestoreAction[]> {
  const { discovery, clock, resourceTimeoutMs, signal } = options;
  const actions: RestoreAction[] = [];
  for (const plugin of plugins) {
    const filter = await filterOf(plugin, discovery, signal);
    actions.push({
      name: plugin.name,
      groupResource: "*",
      matches: filter.matches,
      matchesResource: filter.matchesResource,
      async execute(item, { restore, itemFromBackup, signal: ending }) {
        const result = await plugin.execute({ item: item as PluginItem, itemFromBackup: itemFromBackup as PluginItem, restore }, ending);
        const additionalItems = result.additionalItems.map(itemIdOfPlugin);
        const { readyTimeoutMs } = result;
        const untilReady = async (): Promise<void> => {
          const limitMs = readyTimeoutMs === undefined || readyTimeoutMs <= 0 ? resourceTimeoutMs : readyTimeoutMs;
          const untilMs = clock.monotonicMs() + limitMs;
          while (!(await plugin.areAdditionalItemsReady(additionalItems.map(pluginIdOf), restore, ending))) {
            if (clock.monotonicMs() >= untilMs)
              throw new DrayError("TIMED_OUT", `Plug-in "${plugin.name}" has not found the additional items ready within ${limitMs / 1000} s`);
            await clock.sleep(READY_LOOK_MS, ending);
          }
        };
        return {
          item: result.item as GenericObject,
          additionalItems,
          skip: result.skipRestore,
          ...(readyTimeoutMs === undefined ? {} : { untilReady }),
          ...(result.operationId === "" ? {} : { operationId: result.operationId }),
        };
      },
    });
  }
  return actions;
}

/** Runs the deletion plug-ins on every item of a backup that they are for, before its files go. Throws what a plug-in throws. */
export async function runDeletePlugins(
  { delete: plugins }: ItemPlugins,
  backup: Backup,
  openArchive: () => Promise<BackupArchiveReader>,
  { discovery, signal }: { readonly discovery: Discovery; readonly signal: AbortSignal },
): Promise<void> {
  if (plugins.length === 0) return;
  const archive = await openArchive();
  try {
    for (const plugin of plugins) {
      const filter = await filterOf(plugin, discovery, signal);
      for (const groupResource of archive.resources().filter((resource) => filter.matchesResource(resource))) {
        for (const ref of archive.items(groupResource)) {
          const object = await archive.read(ref);
          if (filter.matches({ groupResource, namespace: ref.namespace, name: ref.name }, object)) await plugin.execute(object as PluginItem, backup, signal);
        }
      }
    }
  } finally {
    await archive.dispose();
  }
}
