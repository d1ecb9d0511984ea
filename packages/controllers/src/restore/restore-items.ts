/**
 * Everything of a restore but the waiting: chooses the items, in their order, and brings each of them back. A plan is made by the same code, with a client that writes nothing.
 */

import { type Backup, type DataMoverBackup, LABELS, type PodVolumeBackup, RESOURCE_USAGE_DATA_UPLOAD, type Restore, type VolumeSnapshot } from "@drayage/api";
import { type Clock, errorFields, forEachLimit, isAbort, type RandomSource } from "@drayage/base";
import { configMaps, type Discovery, type KubeClient, type Pod } from "@drayage/kube";
import { createSecretRestoreAction, roleBindingRestoreActions, serviceAccountRestoreAction } from "../actions/account-restore-actions.ts";
import { claimRestoreAction, createClaimDataRestoreAction } from "../actions/claim-restore-action.ts";
import { createDataUploadRestoreAction, DataUploadResults } from "../actions/data-upload-restore-action.ts";
import { admissionRestoreActions, apiServiceRestoreAction, definitionRestoreAction } from "../actions/definition-restore-actions.ts";
import { CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, VOLUME_SNAPSHOTS } from "../actions/item-id.ts";
import { jobRestoreAction } from "../actions/job-restore-action.ts";
import { kubeVirtRestoreActions } from "../actions/kubevirt-actions.ts";
import { createImageActions, createNodeSelectionAction, createStorageClassActions } from "../actions/mapping-restore-actions.ts";
import { createMoverRestoreActions, moverBackupsIn } from "../actions/mover-restore-action.ts";
import { createOpenShiftRestoreActions } from "../actions/openshift-actions.ts";
import { claimsOfPod } from "../actions/pod-backup-action.ts";
import { createPodRestoreAction } from "../actions/pod-restore-action.ts";
import { createPodVolumeRestoreAction } from "../actions/pod-volume-restore-action.ts";
import { isDataFirst, type RestoreAction, resumesOf, targetNamespaceOf } from "../actions/restore-action.ts";
import { serviceRestoreAction } from "../actions/service-restore-action.ts";
import { snapshotRestoreActions } from "../actions/snapshot-restore.ts";
import { createVolSyncSnapshotAction } from "../actions/volsync-snapshot-restore.ts";
import { createVolumeSnapshotBackupRestoreActions, MovedVolumes } from "../actions/volume-snapshot-backup-restore-action.ts";
import { RestoreHooks } from "../hooks/restore-hooks.ts";
import type { OperationLog } from "../operation-log/operation-log.ts";
import type { ArchivedItemRef, BackupArchiveReader, BackupVolumeInfo, ItemOperation } from "../ports.ts";
import type { ModifierRule } from "../resource-modifiers/resource-modifiers.ts";
import type { ServerSettings } from "../server-settings.ts";
import type { VolSyncEraSettings } from "../volsync-era/settings.ts";
import { splitAtData } from "./data-first.ts";
import { ItemRestore } from "./item-restore.ts";
import { restoreOrder } from "./restore-order.ts";
import { RestoreSelection } from "./restore-selection.ts";

export interface RestoreItemsOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Of the installation. */
  readonly namespace: string;
  readonly settings: ServerSettings;
  /** Volumes of OADP 1.1 and 1.2 come back by VolSync; we fill them when left out. */
  readonly volSyncEra?: VolSyncEraSettings | undefined;
  /** Of the init container that holds a pod until its volumes are filled. */
  readonly helperImage: string;
  readonly restore: Restore;
  readonly backup: Backup;
  /** What is changed in objects before they are created. */
  readonly modifiers: readonly ModifierRule[];
  readonly archive: BackupArchiveReader;
  readonly volumeInfos: readonly BackupVolumeInfo[];
  readonly podVolumeBackups: readonly PodVolumeBackup[];
  readonly operationLog: OperationLog;
  /** Steps of plug-ins, after our own. None while a restore is only planned: what they do is theirs to know. */
  readonly pluginActions?: readonly RestoreAction[];
  /** Called in the ordered mode, between what volumes need and what runs. Says which claims (`namespace/name`) have no data, with the reason. */
  readonly waitForData: (operations: readonly ItemOperation[]) => Promise<ReadonlyMap<string, string>>;
  /** Called at most once a second. */
  readonly onProgress: (done: number, total: number) => Promise<void>;
  readonly signal: AbortSignal;
}

const PROGRESS_EVERY_MS = 1_000;
/** Items of one kind that are restored at once. Each is two requests, so this is also what the API server has to do at once for a restore. */
const ITEMS_AT_ONCE = 16;
/** Volumes and what mounts them: one item says how the next comes back. Definitions change what is served. */
const ONE_AT_A_TIME: ReadonlySet<string> = new Set([PODS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, CUSTOM_RESOURCE_DEFINITIONS]);

/** What was tried, and what came of it. Whatever goes wrong with an item is in the log; only what ends the restore is thrown. */
export async function restoreItems(options: RestoreItemsOptions): Promise<ItemRestore> {
  return new RestoreItems(options).run();
}

/** Removes the ConfigMaps through which the restore of DataUploads spoke with that of their claims. */
export async function deleteDataUploadResults(client: KubeClient, restore: Restore, signal: AbortSignal): Promise<void> {
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid},${LABELS.resourceUsage}=${RESOURCE_USAGE_DATA_UPLOAD}`;
  await client.deleteCollection(configMaps, { namespace: restore.metadata.namespace, labelSelector, signal });
}

class RestoreItems {
  readonly #options: RestoreItemsOptions;
  readonly #archive: BackupArchiveReader;
  readonly #moved = new MovedVolumes();
  /** Claims (`namespace/name`, where they go) that a pod's restore fills. */
  readonly #filled = new Set<string>();
  /** Resources whose items bring others along, or pass something on to them; the items of all others are restored beside each other. */
  readonly #oneAtATime = new Set(ONE_AT_A_TIME);
  #progressToldMs = 0;

  constructor(options: RestoreItemsOptions) {
    this.#options = options;
    this.#archive = options.archive;
  }

  async run(): Promise<ItemRestore> {
    const { client, discovery, clock, settings, restore, backup, operationLog, signal } = this.#options;
    discovery.invalidate();
    if (resumesOf(restore) > 0) {
      operationLog.logger.info("An earlier process ended while it worked on this restore: what it created is taken for done");
      await this.#forgetResults();
    }
    const selection = await RestoreSelection.of(restore.spec, discovery, signal);
    const items = new ItemRestore({
      client,
      discovery,
      clock,
      restore,
      backup,
      archive: this.#archive,
      volumeInfos: new Map(this.#options.volumeInfos.map((info) => [info.pvName ?? "", info])),
      selection,
      modifiers: this.#options.modifiers,
      actions: [...this.#actions(await moverBackupsIn(this.#archive)), ...(this.#options.pluginActions ?? [])],
      hasMovedData: (namespace, claim) => this.#moved.of(namespace, claim) !== undefined,
      operationLog,
      resourceTimeoutMs: settings.resourceTimeoutMs,
      signal,
    });
    try {
      if (this.#archive.resources().length === 0) operationLog.warn(undefined, "the backup has no items");
      // Definitions first: what they define is found out about only then.
      await this.#restoreAll(await this.#selected([CUSTOM_RESOURCE_DEFINITIONS], selection), items);
      const order = (await restoreOrder(this.#archive.resources(), settings.restorePriorities, discovery, signal)).filter(
        (resource) => resource !== CUSTOM_RESOURCE_DEFINITIONS,
      );
      if (isDataFirst(restore)) await this.#restoreDataFirst(order, selection, items);
      else await this.#restoreAll(await this.#selected(order, selection), items);
    } finally {
      await this.#forgetResults();
    }
    for (const { namespace: target, name } of items.toFill) {
      if (this.#filled.has(`${target}/${name}`)) continue;
      operationLog.error(target, `claim "${name}" comes back empty: its data was read through a pod, and no pod that mounts it was restored together with it`);
    }
    return items;
  }

  async #restoreDataFirst(order: readonly string[], selection: RestoreSelection, items: ItemRestore): Promise<void> {
    const { before, after } = splitAtData(order);
    await this.#restoreAll(await this.#selected(before, selection), items);
    const refs = await this.#selected(after, selection);
    // A pod brings its claims along, whatever their labels; here they come before it.
    for (const ref of refs.filter(({ groupResource }) => groupResource === PODS)) {
      const pod = (await this.#archive.read(ref)) as unknown as Pod;
      if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") continue;
      for (const { groupResource, namespace: ofNamespace, name } of claimsOfPod(pod)) {
        const claim = this.#archive.find(groupResource, ofNamespace, name);
        if (claim !== undefined) await items.restore(claim);
      }
    }
    this.#options.operationLog.logger.info("Workloads wait until their volumes have their data", { operations: items.operations.length });
    items.withoutData = await this.#options.waitForData(items.operations);
    await this.#restoreAll(refs, items);
  }

  #actions(moves: readonly DataMoverBackup[]): RestoreAction[] {
    const { client, random, namespace, helperImage, restore, podVolumeBackups } = this.#options;
    const results = new DataUploadResults();
    const { volSyncEra, clock } = this.#options;
    const volSync = volSyncEra === undefined ? undefined : { client, clock, namespace, moved: this.#moved, timeoutMs: volSyncEra.moveTimeoutMs };
    const inOrder = <T extends RestoreAction>(...actions: readonly T[]): readonly T[] => {
      for (const { groupResource } of actions) this.#oneAtATime.add(groupResource);
      return actions;
    };
    return [
      // First what leaves items out: nothing is made for them.
      ...createOpenShiftRestoreActions(client, this.#options.discovery),
      ...inOrder(...kubeVirtRestoreActions),
      ...inOrder(...createVolumeSnapshotBackupRestoreActions({ client, namespace, moved: this.#moved, intoSnapshot: volSync !== undefined })),
      ...inOrder(createDataUploadRestoreAction(client, results)),
      claimRestoreAction,
      // Before a DataDownload is made, whose volume is of the class and on the node that the claim names.
      ...createStorageClassActions({ client, namespace }),
      createNodeSelectionAction({ client, namespace }),
      createClaimDataRestoreAction({
        client,
        random,
        namespace,
        results,
        moved: this.#moved,
        volSync,
        storedSnapshot: (ofNamespace, name) => this.#storedSnapshot(ofNamespace, name),
      }),
      ...inOrder(...createMoverRestoreActions({ client, namespace }, moves)),
      ...(volSync === undefined ? [] : inOrder(createVolSyncSnapshotAction(volSync))),
      ...inOrder(...snapshotRestoreActions),
      createPodRestoreAction(new RestoreHooks(restore.spec), random),
      // After the hooks' containers were put in: the one that waits for the data comes before them.
      createPodVolumeRestoreAction({ client, namespace, helperImage, backups: podVolumeBackups, filled: this.#filled }),
      serviceRestoreAction,
      serviceAccountRestoreAction,
      createSecretRestoreAction(client),
      jobRestoreAction,
      ...roleBindingRestoreActions,
      ...createImageActions({ client, namespace }),
      definitionRestoreAction,
      apiServiceRestoreAction,
      ...admissionRestoreActions,
    ];
  }

  /** Items that the spec asks for, in the order of their resources. */
  async #selected(resources: readonly string[], selection: RestoreSelection): Promise<ArchivedItemRef[]> {
    const refs: ArchivedItemRef[] = [];
    for (const resource of resources) {
      if (!selection.hasResource(resource)) {
        this.#options.operationLog.logger.info("Skipping restore of resource because the restore spec excludes it", { resource });
        continue;
      }
      for (const ref of this.#archive.items(resource)) {
        if (!selection.hasPlace(resource, ref.namespace)) continue;
        if (selection.readsLabels && !selection.hasLabels(resource, (await this.#archive.read(ref)).metadata.labels)) continue;
        refs.push(ref);
      }
    }
    return refs;
  }

  async #restoreAll(refs: readonly ArchivedItemRef[], items: ItemRestore): Promise<void> {
    const { restore, clock, operationLog, onProgress, signal } = this.#options;
    const restoreOne = async (ref: ArchivedItemRef): Promise<void> => {
      signal.throwIfAborted();
      // Namespaces are made with the first thing that goes into them, and here when nothing does.
      if (ref.groupResource === NAMESPACES) await this.#ensureNamespace(ref.name, items);
      else await items.restore(ref);
      if (clock.nowMs() - this.#progressToldMs < PROGRESS_EVERY_MS) return;
      this.#progressToldMs = clock.nowMs();
      await onProgress(items.count, Math.max(refs.length, items.count));
    };
    // One kind after the other: what comes later relies on what came before.
    for (const [groupResource, ofKind] of Map.groupBy(refs, (ref) => ref.groupResource))
      await forEachLimit(ofKind, this.#isOneAtATime(groupResource) ? 1 : ITEMS_AT_ONCE, restoreOne, signal);
    operationLog.logger.info(`Restored ${items.count} items`, { restore: restore.metadata.name });
  }

  #isOneAtATime(groupResource: string): boolean {
    if (this.#oneAtATime.has(groupResource)) return true;
    // What a plug-in of others does for its items is theirs to know.
    return (this.#options.pluginActions ?? []).some(({ matchesResource }) => matchesResource?.(groupResource) ?? true);
  }

  async #ensureNamespace(name: string, items: ItemRestore): Promise<void> {
    try {
      await items.ensureNamespace(name, targetNamespaceOf(this.#options.restore, name));
    } catch (error) {
      if (isAbort(error, this.#options.signal)) throw error;
      this.#options.operationLog.error(undefined, error instanceof Error ? error.message : String(error));
    }
  }

  async #forgetResults(): Promise<void> {
    const { client, restore, operationLog, signal } = this.#options;
    try {
      await deleteDataUploadResults(client, restore, signal);
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      operationLog.logger.info("Results of DataUploads were left behind", { ...errorFields(error), context: undefined });
    }
  }

  async #storedSnapshot(namespace: string, name: string): Promise<VolumeSnapshot | undefined> {
    const ref = this.#archive.find(VOLUME_SNAPSHOTS, namespace, name);
    return ref === undefined ? undefined : ((await this.#archive.read(ref)) as unknown as VolumeSnapshot);
  }
}
