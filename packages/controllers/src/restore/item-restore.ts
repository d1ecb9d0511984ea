/**
 * Brings single items back: checks that they belong, makes their namespace, runs the actions for their resource, restores first what those name, and creates the object.
 * What exists already is left as it is, unless the restore says otherwise.
 */
import type { Backup, Restore } from "@drayage/api";
import { type Clock, DrayError, formatTime, hasCode, isAbort, type Logger, messageOf } from "@drayage/base";
import { type DiscoveredResource, type Discovery, type GenericObject, type Job, type KubeClient, type Namespace, namespaces, type Pod } from "@drayage/kube";
import { isFor } from "../actions/backup-action.ts";
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  formatItemName,
  type ItemId,
  NAMESPACES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  storedIdentifier,
} from "../actions/item-id.ts";
import { isRestoredBy, type RestoreAction, targetNamespaceOf } from "../actions/restore-action.ts";
import type { OperationLog, OperationLogPart } from "../operation-log/operation-log.ts";
import type { ArchivedItemRef, BackupArchiveReader, BackupVolumeInfo, ItemOperation } from "../ports.ts";
import { modified } from "../resource-modifiers/apply-patches.ts";
import type { ModifierRule } from "../resource-modifiers/resource-modifiers.ts";
import { mountedBy } from "./data-first.ts";
import { meetExisting } from "./existing-object.ts";
import { creatorOf, withFieldManagersOf, writeFieldManagers } from "./field-managers.ts";
import type { RestoreSelection } from "./restore-selection.ts";
import { cleaned, sameJson, withRestoreLabels } from "./restored-form.ts";
import { RestoredVolumes } from "./restored-volumes.ts";

export interface ItemRestoreOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly restore: Restore;
  readonly backup: Backup;
  readonly archive: BackupArchiveReader;
  /** By the name of the volume. */
  readonly volumeInfos: ReadonlyMap<string, BackupVolumeInfo>;
  readonly selection: RestoreSelection;
  readonly actions: readonly RestoreAction[];
  /** Applied after the actions. */
  readonly modifiers: readonly ModifierRule[];
  /** Whether a claim of the backup gets its data back into a volume of its own, though no record of volumes says so. */
  readonly hasMovedData: (namespace: string, claim: string) => boolean;
  readonly operationLog: OperationLog;
  /** How long a namespace that is going away, or a definition that is not served yet, is waited for. */
  readonly resourceTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** What became of an item. */
export interface RestoredItem {
  /** `apps/v1/Deployment` */
  readonly kind: string;
  /** `namespace/name` where it goes. */
  readonly name: string;
  readonly outcome: "created" | "updated" | "failed" | "skipped";
  /** Why it was not created, or how it differs from the one in the backup. */
  readonly reason?: string;
}

/** Where it is written down what becomes of an item. */
interface Notes {
  readonly log: Logger;
  readonly operationLog: OperationLogPart;
}

interface Entry {
  readonly kind: string;
  readonly name: string;
  reason?: string;
  outcome: "created" | "updated" | "failed" | "skipped" | undefined;
  /** Whether the object is in the cluster now, whoever made it. */
  exists: boolean;
}

const POLL_FIRST_MS = 50;
const POLL_FACTOR = 1.5;
const POLL_MAX_MS = 1_000;
/** Set by the API server on every namespace, from its own name. */
const NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name";
/** Actions by which users have things changed. */
const MAPPINGS: ReadonlySet<string> = new Set(["velero.io/change-storage-class", "velero.io/change-pvc-node-selector", "velero.io/change-image-name"]);
const MIRROR_POD = "kubernetes.io/config.mirror";

export class ItemRestore {
  readonly operations: ItemOperation[] = [];
  /** Items that were not tried at all, with the reason. */
  readonly leftOut: RestoredItem[] = [];
  /** Kinds (`example.com/v1 Database`) that the cluster does not serve. */
  readonly missingKinds = new Set<string>();
  /** Claims (`namespace/name`) whose data was waited for and did not come, with the reason: what mounts them is left out. */
  withoutData: ReadonlyMap<string, string> = new Map();
  readonly #options: ItemRestoreOptions;
  readonly #entries = new Map<string, Entry>();
  /** Those that are there, or are being made. */
  readonly #namespaces = new Map<string, Promise<void>>();
  readonly #volumes: RestoredVolumes;

  constructor(options: ItemRestoreOptions) {
    this.#options = options;
    this.#volumes = new RestoredVolumes(options);
  }

  /** Claims, where they go, whose data comes back only through a pod that mounts them. */
  get toFill(): readonly { readonly namespace: string; readonly name: string }[] {
    return this.#volumes.toFill;
  }

  /** What was tried, in that order. */
  get items(): readonly RestoredItem[] {
    return [...this.#entries.values()].map(({ kind, name, outcome, reason }) => ({
      kind,
      name,
      outcome: outcome ?? "skipped",
      ...(reason === undefined ? {} : { reason }),
    }));
  }

  /** How many items were tried. */
  get count(): number {
    return this.#entries.size;
  }

  /** `v1/Pod` → [`ns/name(created)`], both sorted. */
  get resourceList(): Record<string, string[]> {
    const byKind = new Map<string, string[]>();
    for (const { kind, name, outcome } of this.#entries.values()) {
      const names = byKind.get(kind) ?? [];
      names.push(`${name}(${outcome ?? "skipped"})`);
      byKind.set(kind, names);
    }
    return Object.fromEntries([...byKind].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, names]) => [kind, names.sort()]));
  }

  /**
   * Restores one item of the tarball. Whatever goes wrong is recorded; only an abort is thrown. Several items may be restored at once, as long as no two of them bring the same third one along:
   * whoever meets an item that is under way does not wait for it, since it may be its own.
   */
  async restore(ref: ArchivedItemRef): Promise<boolean> {
    const { restore, archive, signal } = this.#options;
    const operationLog = this.#options.operationLog.part();
    const target = ref.namespace === undefined ? undefined : targetNamespaceOf(restore, ref.namespace);
    const id: ItemId = { groupResource: ref.groupResource, namespace: target, name: ref.name };
    let entry: Entry | undefined;
    try {
      if (!this.#options.selection.admits(ref)) return false;
      const item = await archive.read(ref);
      if (target !== undefined) await this.ensureNamespace(ref.namespace ?? "", target);
      if (isCompleted(item, ref.groupResource)) {
        operationLog.logger.info(`${ref.groupResource} "${formatItemName(ref)}" is complete and is not restored`);
        this.leftOut.push({ kind: `${item.apiVersion}/${item.kind}`, name: formatItemName(id), outcome: "skipped", reason: "it has done its work" });
        return false;
      }
      const key = `${ref.groupResource} ${formatItemName(id)}`;
      const known = this.#entries.get(key);
      if (known !== undefined) return known.exists;
      entry = { kind: `${item.apiVersion}/${item.kind}`, name: formatItemName(id), outcome: undefined, exists: false };
      this.#entries.set(key, entry);
      await this.#restoreItem(item, id, ref, entry, operationLog);
      entry.outcome ??= operationLog.troubleCount() > 0 ? "failed" : "skipped";
      return entry.exists;
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      if (entry !== undefined) Object.assign(entry, { outcome: "failed", reason: messageOf(error) });
      operationLog.error(target ?? "", `error restoring ${ref.groupResource}/${formatItemName(id)}: ${messageOf(error)}`);
      return false;
    }
  }

  /** Makes the namespace when it is not there, with the labels and annotations of the one in the backup; waits for one that is going away. */
  async ensureNamespace(original: string, target: string): Promise<void> {
    const known = this.#namespaces.get(target);
    if (known !== undefined) return known;
    const making = this.#makeNamespace(original, target);
    this.#namespaces.set(target, making);
    try {
      await making;
    } catch (error) {
      // The next item that goes there looks again.
      this.#namespaces.delete(target);
      throw error;
    }
  }

  async #makeNamespace(original: string, target: string): Promise<void> {
    const { client, archive, signal } = this.#options;
    const existing = await this.#untilNotTerminating(target);
    if (existing === undefined) {
      const ref = archive.find(NAMESPACES, undefined, original);
      const { labels, annotations } = (ref === undefined ? undefined : await archive.read(ref))?.metadata ?? {};
      const { [NAMESPACE_NAME_LABEL]: _, ...kept } = labels ?? {};
      const namespace: Namespace = {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: target, ...(Object.keys(kept).length === 0 ? {} : { labels: kept }), ...(annotations === undefined ? {} : { annotations }) },
      };
      try {
        await client.create(namespaces, namespace, { signal });
        this.#entries.set(`${NAMESPACES} ${target}`, { kind: "v1/Namespace", name: target, outcome: "created", exists: true });
      } catch (error) {
        if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
      }
    }
  }

  async #untilNotTerminating(name: string): Promise<Namespace | undefined> {
    const { client, signal } = this.#options;
    return this.#until(async () => {
      const namespace = await client.find(namespaces, { name }, signal);
      if (namespace === undefined) return { found: undefined };
      return namespace.metadata.deletionTimestamp === undefined && namespace.status?.phase !== "Terminating" ? { found: namespace } : undefined;
    }, `Cannot restore into namespace "${name}": it is being deleted`);
  }

  async #restoreItem(item: GenericObject, id: ItemId, ref: ArchivedItemRef, entry: Entry, operationLog: OperationLogPart): Promise<void> {
    const { restore, backup } = this.#options;
    const log = operationLog.logger.child({ groupResource: id.groupResource, namespace: id.namespace ?? "", "original name": ref.name });
    if (id.groupResource === PODS && item.metadata.annotations?.[MIRROR_POD] !== undefined) {
      log.info("Not restoring a mirror pod: its kubelet makes it");
      entry.reason = "it is a mirror pod: its kubelet makes it";
      return;
    }
    const original = id.groupResource === PERSISTENT_VOLUMES ? this.#volumes.toRestore(item, log) : item;
    if (original === undefined) {
      // What there is to say of it was said of its claim.
      Object.assign(entry, { outcome: "skipped", reason: "its claim gets a new volume" });
      return;
    }
    const changes = id.namespace === ref.namespace ? [] : [`namespace "${ref.namespace}" becomes "${id.namespace}"`];
    let object: GenericObject | undefined = cleaned(original);
    for (const action of this.#options.actions) {
      if (!isFor(action, id, object)) continue;
      const before: GenericObject = object;
      object = await this.#act(action, object, { itemFromBackup: item, id, log, operationLog });
      if (object === undefined) {
        entry.reason = `${action.name} takes care of it`;
        return;
      }
      if (MAPPINGS.has(action.name) && !sameJson(before, object)) changes.push(`changed by ${action.name}`);
    }
    this.#needData(object, id);
    if (id.groupResource === PERSISTENT_VOLUME_CLAIMS) this.#volumes.unbind(object, log);
    const unmodified = object;
    object = modified(object, id.groupResource, this.#options.modifiers, {
      log,
      onError: (message) => operationLog.error(id.namespace ?? "", message),
    });
    if (!sameJson(unmodified, object)) changes.push("changed by the resource modifiers");
    if (changes.length > 0) entry.reason = changes.join("; ");
    const wanted = withRestoreLabels(
      id.namespace === undefined ? object : { ...object, metadata: { ...object.metadata, namespace: id.namespace } },
      restore.metadata.name ?? "",
      backup.metadata.name ?? "",
    );
    const resource = await this.#resourceOf(wanted);
    const created = await this.#create(wanted, item, resource, { ...id, name: wanted.metadata.name ?? id.name }, { entry, log, operationLog });
    if (created === undefined) return;
    const context = { restore, backup, itemFromBackup: item, targetNamespace: id.namespace, log, signal: this.#options.signal };
    for (const action of this.#options.actions) if (isFor(action, id, created)) await action.created?.(created, context);
  }

  /** Runs an action; undefined when the item is not to be restored. */
  async #act(
    action: RestoreAction,
    object: GenericObject,
    { itemFromBackup, id, log, operationLog }: Notes & { readonly itemFromBackup: GenericObject; readonly id: ItemId },
  ): Promise<GenericObject | undefined> {
    const { restore, backup, clock, archive, signal } = this.#options;
    const result = await action.execute(object, { restore, backup, itemFromBackup, targetNamespace: id.namespace, log, signal });
    if (result.operationId !== undefined) {
      this.operations.push({
        spec: {
          restoreName: restore.metadata.name ?? "",
          restoreUID: restore.metadata.uid ?? "",
          restoreItemAction: action.name,
          resourceIdentifier: storedIdentifier(id),
          operationID: result.operationId,
        },
        status: { phase: "New", created: result.operationCreated ?? formatTime(clock.nowMs()) },
      });
    }
    if (result.skip === true) return undefined;
    for (const additional of result.additionalItems ?? []) {
      const ref = archive.find(additional.groupResource, additional.namespace, additional.name);
      if (ref !== undefined) await this.restore(ref);
      else
        operationLog.warn(
          id.namespace ?? "",
          `${additional.groupResource} "${formatItemName(additional)}", which ${id.groupResource} "${formatItemName(id)}" uses, is not in the backup`,
        );
    }
    await result.untilReady?.();
    return result.item;
  }

  /** Throws when the item mounts a claim that was to be filled before it, and was not. */
  #needData(object: GenericObject, id: ItemId): void {
    if (this.withoutData.size === 0 || id.namespace === undefined) return;
    const prefix = `${id.namespace}/`;
    const empty = [...this.withoutData.keys()].filter((claim) => claim.startsWith(prefix)).map((claim) => claim.slice(prefix.length));
    const [claim] = mountedBy(object, empty);
    if (claim === undefined) return;
    throw new DrayError(
      "DATA_MOVEMENT_FAILED",
      `it mounts claim "${claim}", which was to be filled before it and was not: ${this.withoutData.get(prefix + claim)}`,
      {
        hint: "Delete the claim and restore again.",
      },
    );
  }

  async #resourceOf(object: GenericObject): Promise<DiscoveredResource> {
    const { discovery, signal } = this.#options;
    const resource = await discovery.forKind(object.apiVersion ?? "", object.kind ?? "", signal);
    if (resource === undefined) {
      this.missingKinds.add(`${object.apiVersion} ${object.kind}`);
      throw new DrayError("KUBE_NOT_FOUND", `the cluster does not serve ${object.apiVersion} ${object.kind}`);
    }
    return resource;
  }

  /** The object when this restore created it; undefined when it was there. */
  async #create(
    wanted: GenericObject,
    item: GenericObject,
    resource: DiscoveredResource,
    id: ItemId,
    { entry, log, operationLog }: Notes & { readonly entry: Entry },
  ): Promise<GenericObject | undefined> {
    const { client, signal } = this.#options;
    log.info(`Attempting to restore ${wanted.kind}: ${wanted.metadata.name}`);
    const fieldManager = creatorOf(item, wanted);
    let created: GenericObject;
    let hasManagers = fieldManager !== undefined;
    try {
      created =
        fieldManager === undefined
          ? await client.create<GenericObject>(resource, wanted, { signal })
          : await client.create<GenericObject>(resource, withFieldManagersOf(item, wanted), { fieldManager, signal });
    } catch (error) {
      const existing =
        hasCode(error, "KUBE_ALREADY_EXISTS") || isPortTaken(error) ? await client.find<GenericObject>(resource, keyOfId(id), signal) : undefined;
      if (existing === undefined) throw error;
      if (!isRestoredBy(this.#options.restore, existing)) {
        entry.exists = true;
        Object.assign(entry, await meetExisting({ ...this.#options, operationLog }, { existing, wanted, resource, key: keyOfId(id), log }));
        return undefined;
      }
      // Made by this restore: by a process that ended before it was done, or by a request whose answer was lost.
      created = existing;
      hasManagers = false;
    }
    Object.assign(entry, { outcome: "created", exists: true });
    await this.#restoreStatus(created, item, resource, { id, operationLog });
    if (!hasManagers) await writeFieldManagers(this.#options, { item, resource, key: keyOfId(id), log });
    if (id.groupResource === CUSTOM_RESOURCE_DEFINITIONS) await this.#untilServed(id.name);
    return created;
  }

  async #restoreStatus(
    created: GenericObject,
    item: GenericObject,
    resource: DiscoveredResource,
    { id, operationLog }: { readonly id: ItemId; readonly operationLog: OperationLogPart },
  ): Promise<void> {
    const { client, selection, signal } = this.#options;
    if (item["status"] === undefined || !selection.restoresStatus(id.groupResource, item)) return;
    try {
      await client.replaceStatus<GenericObject>(resource, { ...created, status: item["status"] }, { signal });
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      operationLog.warn(id.namespace ?? "", `could not restore the status of ${item.kind} "${id.name}": ${messageOf(error)}`);
    }
  }

  async #untilServed(name: string): Promise<void> {
    const { client, discovery, signal } = this.#options;
    const definitions = await discovery.find(CUSTOM_RESOURCE_DEFINITIONS, signal);
    if (definitions === undefined) return;
    await this.#until(async () => {
      const definition = await client.find<GenericObject>(definitions, { name }, signal);
      const { conditions } = (definition?.["status"] ?? {}) as { conditions?: { type: string; status: string }[] };
      return conditions?.some(({ type, status }) => type === "Established" && status === "True") === true ? { found: undefined } : undefined;
    }, `CustomResourceDefinition "${name}" was created, but is not established`);
    discovery.invalidate();
  }

  async #until<T>(look: () => Promise<{ readonly found: T } | undefined>, what: string): Promise<T> {
    const { clock, resourceTimeoutMs, signal } = this.#options;
    const untilMs = clock.nowMs() + resourceTimeoutMs;
    for (let delayMs = POLL_FIRST_MS; ; delayMs = Math.min(delayMs * POLL_FACTOR, POLL_MAX_MS)) {
      const answer = await look();
      if (answer !== undefined) return answer.found;
      if (clock.nowMs() + delayMs > untilMs) throw new DrayError("TIMED_OUT", `${what} (waited ${resourceTimeoutMs / 1000} s)`);
      await clock.sleep(delayMs, signal);
    }
  }
}

function keyOfId(id: ItemId): { readonly namespace: string | undefined; readonly name: string } {
  return { namespace: id.namespace, name: id.name };
}

/** Pods and jobs that have done their work are not run again. */
function isCompleted(item: GenericObject, groupResource: string): boolean {
  if (groupResource === PODS) {
    const phase = (item as unknown as Pod).status?.phase;
    return phase === "Failed" || phase === "Succeeded";
  }
  return groupResource === "jobs.batch" && ((item as unknown as Job).status?.completionTime ?? "") !== "";
}

/** A service whose node port is taken is refused as invalid, also when it is its own port because the service is there already. */
function isPortTaken(error: unknown): boolean {
  return hasCode(error, "KUBE_INVALID") && /provided port is already allocated/.test(messageOf(error));
}
