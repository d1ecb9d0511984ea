/** Puts single items into the tarball: checks that they belong, runs the actions for their resource, and backs up first what those name. */
import { type Backup, LABELS } from "@drayage/api";
import { type Clock, DrayError, formatTime, hasCode, type Logger, Semaphore } from "@drayage/base";
import { apiVersionOf, type DiscoveredResource, type Discovery, type GenericObject, groupResourceOf, type KubeClient } from "@drayage/kube";
import { type BackupAction, isFor } from "../actions/backup-action.ts";
import { formatItemName, type ItemId, itemIdOf, itemKey, NAMESPACES, PERSISTENT_VOLUMES, storedIdentifier } from "../actions/item-id.ts";
import type { BackupArchiveWriter, ItemOperation } from "../ports.ts";
import type { BackupSelection } from "./collect-items.ts";
import type { VolumeRecords } from "./volume-records.ts";

export interface ItemBackupOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly backup: Backup;
  readonly selection: BackupSelection;
  readonly actions: readonly BackupAction[];
  readonly archive: BackupArchiveWriter;
  readonly volumes: VolumeRecords;
  /** Resolves when the block that an item is in has been worked on; undefined for one in no block that is being worked on. */
  readonly underWay?: (id: ItemId) => Promise<void> | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const NO_BLOCK: ReadonlySet<string> = new Set();

export class ItemBackup {
  readonly operations: ItemOperation[] = [];
  readonly #options: ItemBackupOptions;
  /** Items that are in the tarball, or were given up; nothing is tried twice. */
  readonly #seen = new Set<string>();
  readonly #stored = new Map<string, string[]>();
  readonly #resources = new Map<string, DiscoveredResource>();
  /** The tarball takes one entry at a time. */
  readonly #archiveTurn = new Semaphore(1);
  #count = 0;

  constructor(options: ItemBackupOptions) {
    this.#options = options;
  }

  /** How many items are in the tarball. */
  get count(): number {
    return this.#count;
  }

  /** `v1/Pod` → [`ns/name`], both sorted. */
  get resourceList(): Record<string, string[]> {
    return Object.fromEntries([...this.#stored].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, names]) => [kind, [...names].sort()]));
  }

  /** Resources of which something is in the tarball. */
  get resources(): readonly DiscoveredResource[] {
    return [...this.#resources.values()];
  }

  hasSeen(id: ItemId): boolean {
    return this.#seen.has(itemKey(id));
  }

  /** Keeps an item out from now on. */
  giveUp(id: ItemId): void {
    this.#seen.add(itemKey(id));
  }

  /** Whether an item may be in this backup; the reason why not is logged. */
  belongs(object: GenericObject, resource: DiscoveredResource, mustInclude = false): boolean {
    const { selection } = this.#options;
    const { namespace, labels, deletionTimestamp } = object.metadata;
    const log = this.#logOf(itemIdOf(resource, object));
    const no = (why: string): false => {
      log.info(`Excluding item because ${why}`);
      return false;
    };
    if (!mustInclude) {
      if (labels?.[LABELS.excludeFromBackup] === "true") return no(`it has label ${LABELS.excludeFromBackup}=true`);
      if (namespace !== undefined && !selection.namespaces.has(namespace)) return no("its namespace is excluded");
      if (namespace !== undefined && !selection.resources.has(resource)) return no("its resource is excluded");
      // Namespaces come along with what is in them.
      if (namespace === undefined && groupResourceOf(resource) !== NAMESPACES && selection.resources.refuses(resource)) return no("its resource is excluded");
    }
    if (deletionTimestamp !== undefined) return no("it is being deleted");
    return true;
  }

  /**
   * Backs an item up, unless it does not belong or was met before. Throws what an action throws; the item is then not in the tarball. What its actions name and a block that is not `own`
   * has is left to that block: a virtual machine names pods and claims, whose snapshots are cut while the hooks of their own block have frozen what writes to them.
   */
  async backUp(
    object: GenericObject,
    resource: DiscoveredResource,
    { mustInclude = false, own = NO_BLOCK }: { readonly mustInclude?: boolean; readonly own?: ReadonlySet<string> } = {},
  ): Promise<boolean> {
    const id = itemIdOf(resource, object);
    if (!this.belongs(object, resource, mustInclude)) return false;
    if (this.hasSeen(id)) return true;
    this.#seen.add(itemKey(id));
    const log = this.#logOf(id);
    log.info("Backing up item");
    let item = object;
    for (const action of this.#options.actions) if (isFor(action, id, item)) item = await this.#act(action, item, { id, own }, log);
    if (id.groupResource === PERSISTENT_VOLUMES) this.#options.volumes.add(item);
    await this.#archiveTurn.run(() =>
      this.#options.archive.add(
        { groupResource: id.groupResource, namespace: id.namespace, name: id.name, version: resource.version, preferred: resource.preferred },
        item,
      ),
    );
    this.#record(resource, id);
    return true;
  }

  async #act(
    action: BackupAction,
    item: GenericObject,
    { id, own }: { readonly id: ItemId; readonly own: ReadonlySet<string> },
    log: Logger,
  ): Promise<GenericObject> {
    const { backup, signal, clock, volumes } = this.#options;
    log.debug(`Executing action ${action.name}`);
    const result = await action.execute(item, { backup, log, signal });
    if (result.volumeSkipped !== undefined) volumes.skip(id.namespace ?? "", id.name, result.volumeSkipped);
    if (result.operation !== undefined) {
      this.operations.push({
        spec: {
          backupName: backup.metadata.name ?? "",
          backupUID: backup.metadata.uid ?? "",
          backupItemAction: action.name,
          resourceIdentifier: storedIdentifier(id),
          operationID: result.operation.id,
          postOperationItems: result.operation.postOperationItems.map(storedIdentifier),
        },
        status: { phase: "New", created: formatTime(clock.nowMs()) },
      });
    }
    for (const additional of result.additionalItems ?? []) await this.#backUpAdditional(additional, { mustInclude: result.mustInclude ?? false, own }, log);
    return result.item;
  }

  async #backUpAdditional(id: ItemId, options: { readonly mustInclude: boolean; readonly own: ReadonlySet<string> }, log: Logger): Promise<void> {
    if (!options.own.has(itemKey(id))) await this.#options.underWay?.(id);
    if (this.hasSeen(id)) return;
    const { client, discovery, signal } = this.#options;
    const resource = await discovery.find(id.groupResource, signal);
    if (resource === undefined)
      throw new DrayError("KUBE_NOT_FOUND", `Cannot back up ${id.groupResource} "${formatItemName(id)}": the cluster does not serve this resource`);
    try {
      await this.backUp(await client.get<GenericObject>(resource, { namespace: id.namespace, name: id.name }, signal), resource, options);
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
      log.warn(`Additional item ${id.groupResource} "${formatItemName(id)}" does not exist`);
    }
  }

  #record(resource: DiscoveredResource, id: ItemId): void {
    this.#count++;
    this.#resources.set(groupResourceOf(resource), resource);
    const kind = `${apiVersionOf(resource)}/${resource.kind}`;
    const names = this.#stored.get(kind) ?? [];
    names.push(formatItemName(id));
    this.#stored.set(kind, names);
  }

  #logOf(id: ItemId): Logger {
    return this.#options.log.child({ resource: id.groupResource, name: id.name, ...(id.namespace === undefined ? {} : { namespace: id.namespace }) });
  }
}
