/**
 * Items that must be backed up together: a pod, the claims it mounts, their volumes, every other pod that mounts one of those claims, and the claims of a group whose snapshots are cut
 * at one moment. The pre hooks of all its pods
 * run before any of a block's items is backed up, and the post hooks after the last one.
 */
import { hasCode, type Logger } from "@drayage/base";
import {
  type DiscoveredResource,
  type Discovery,
  type GenericObject,
  type KubeClient,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
} from "@drayage/kube";
import { volumeOfClaim } from "../actions/claim-backup-action.ts";
import { formatItemName, type ItemId, itemKey, PERSISTENT_VOLUME_CLAIMS, PODS } from "../actions/item-id.ts";
import { claimsOfPod } from "../actions/pod-backup-action.ts";
import type { CollectedItem } from "./collect-items.ts";
import type { ItemBackup } from "./item-backup.ts";
import type { ItemSpool } from "./item-spool.ts";
import { isRunning, type NamespacePods } from "./namespace-pods.ts";

export interface BlockItem {
  readonly id: ItemId;
  readonly resource: DiscoveredResource;
  readonly object: GenericObject;
}

export interface ItemBlocksOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly items: readonly CollectedItem[];
  readonly spool: ItemSpool;
  readonly itemBackup: Pick<ItemBackup, "belongs">;
  readonly pods: NamespacePods;
  /** The label by which claims belong together; "" when none does that. */
  readonly groupLabel: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The blocks, in the order of their first items; each item is in one of them. */
export async function* itemBlocks(options: ItemBlocksOptions): AsyncGenerator<readonly BlockItem[], void, undefined> {
  const builder = new BlockBuilder(options);
  let block: BlockItem[] = [];
  for (const [index, item] of options.items.entries()) {
    await builder.add(item.id, block);
    const next = options.items[index + 1];
    // Items of an order that the user gave are one block, so that hooks see them as one.
    if (item.ordered && next?.ordered === true && next.id.groupResource === item.id.groupResource) continue;
    if (block.length > 0) yield block;
    block = [];
  }
}

class BlockBuilder {
  readonly #options: ItemBlocksOptions;
  readonly #collected: ReadonlyMap<string, CollectedItem>;
  readonly #taken = new Set<string>();

  constructor(options: ItemBlocksOptions) {
    this.#options = options;
    this.#collected = new Map(options.items.map((item) => [itemKey(item.id), item]));
  }

  /** Adds an item and all that hangs on it. */
  async add(id: ItemId, block: BlockItem[]): Promise<void> {
    const waiting = [id];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const key = itemKey(next);
      if (this.#taken.has(key)) continue;
      this.#taken.add(key);
      const item = await this.#load(next);
      if (item === undefined) continue;
      block.push(item);
      // Depth first, so that a pod's claims follow their pod.
      waiting.unshift(...(await this.#related(item)));
    }
  }

  async #load(id: ItemId): Promise<BlockItem | undefined> {
    const { client, discovery, spool, itemBackup, log, signal } = this.#options;
    const collected = this.#collected.get(itemKey(id));
    if (collected !== undefined) {
      const object = await spool.read(collected.spooled);
      return itemBackup.belongs(object, collected.resource) ? { id, resource: collected.resource, object } : undefined;
    }
    const resource = await discovery.find(id.groupResource, signal);
    if (resource === undefined) return undefined;
    try {
      const object = await client.get<GenericObject>(resource, { namespace: id.namespace, name: id.name }, signal);
      return itemBackup.belongs(object, resource) ? { id, resource, object } : undefined;
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
      log.warn(`Related item ${id.groupResource} "${formatItemName(id)}" does not exist`);
      return undefined;
    }
  }

  async #related({ id, object }: BlockItem): Promise<ItemId[]> {
    if (id.groupResource === PODS) return claimsOfPod(object as unknown as Pod);
    if (id.groupResource !== PERSISTENT_VOLUME_CLAIMS) return [];
    const volume = volumeOfClaim(object as unknown as PersistentVolumeClaim);
    if (volume === undefined) return [];
    const users = (await this.#options.pods.using(object as unknown as PersistentVolumeClaim)).filter(isRunning);
    return [
      volume,
      ...(await this.#grouped(object)),
      ...users.map((pod) => ({ groupResource: PODS, namespace: pod.metadata.namespace, name: pod.metadata.name ?? "" })),
    ];
  }

  /** The other claims of a claim's group. */
  async #grouped({ metadata }: GenericObject): Promise<ItemId[]> {
    const { client, groupLabel, signal } = this.#options;
    const group = groupLabel === "" ? undefined : metadata.labels?.[groupLabel];
    if (group === undefined || group === "") return [];
    const ids: ItemId[] = [];
    const { namespace } = metadata;
    for await (const claim of client.listAll<PersistentVolumeClaim>(persistentVolumeClaims, { namespace, labelSelector: `${groupLabel}=${group}`, signal }))
      ids.push({ groupResource: PERSISTENT_VOLUME_CLAIMS, namespace, name: claim.metadata.name ?? "" });
    return ids;
  }
}
