/**
 * One restore from the first item of its backup to its files in the bucket. Data comes back after that (DataDownloads); `restore-operations` waits for it and finalizes.
 * Items that are there already are left alone, so a restore that failed can be followed by another one.
 */
import {
  type Backup,
  type BackupStorageLocation,
  LABELS,
  type PodVolumeBackup,
  RESOURCE_USAGE_DATA_UPLOAD,
  type Restore,
  type RestoreStatus,
  restores,
  type VolumeSnapshot,
} from "@drayage/api";
import { type Clock, errorFields, isAbort, type Logger, type RandomSource } from "@drayage/base";
import { configMaps, type Discovery, type KubeClient, keyOf, type Pod } from "@drayage/kube";
import { createSecretRestoreAction, roleBindingRestoreActions, serviceAccountRestoreAction } from "../actions/account-restore-actions.ts";
import { claimRestoreAction, createClaimDataRestoreAction } from "../actions/claim-restore-action.ts";
import { createDataUploadRestoreAction, DataUploadResults } from "../actions/data-upload-restore-action.ts";
import { admissionRestoreActions, apiServiceRestoreAction, definitionRestoreAction } from "../actions/definition-restore-actions.ts";
import { CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, VOLUME_SNAPSHOTS } from "../actions/item-id.ts";
import { jobRestoreAction } from "../actions/job-restore-action.ts";
import { createImageActions, createNodeSelectionAction, createStorageClassActions } from "../actions/mapping-restore-actions.ts";
import { claimsOfPod } from "../actions/pod-backup-action.ts";
import { createPodRestoreAction } from "../actions/pod-restore-action.ts";
import { createPodVolumeRestoreAction } from "../actions/pod-volume-restore-action.ts";
import { isDataFirst, type RestoreAction, resumesOf, targetNamespaceOf } from "../actions/restore-action.ts";
import { serviceRestoreAction } from "../actions/service-restore-action.ts";
import { snapshotRestoreActions } from "../actions/snapshot-restore.ts";
import { createVolumeSnapshotBackupRestoreAction, MovedVolumes } from "../actions/volume-snapshot-backup-restore-action.ts";
import { advanceOperations } from "../backup-operations/operations.ts";
import { RestoreHookRuns } from "../hooks/restore-hook-runs.ts";
import { RestoreHooks } from "../hooks/restore-hooks.ts";
import { OperationLog } from "../operation-log/operation-log.ts";
import type { ArchivedItemRef, BackupArchiveReader, BackupStore, BackupStores, BackupVolumeInfo, ItemOperation } from "../ports.ts";
import type { ModifierRule } from "../resource-modifiers/resource-modifiers.ts";
import { loadPodData, loadRestoreMovements } from "../restore-operations/restore-movements.ts";
import type { ServerSettings } from "../server-settings.ts";
import { splitAtData } from "./data-first.ts";
import { ItemRestore } from "./item-restore.ts";
import { restoreOrder } from "./restore-order.ts";
import { RestoreSelection } from "./restore-selection.ts";
import { waitForData } from "./wait-for-data.ts";
import { waitForPodVolumes } from "./wait-for-pod-volumes.ts";

export interface RunRestoreOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
  readonly settings: ServerSettings;
  /** Of the init container that holds a pod until its volumes are filled. */
  readonly helperImage: string;
  readonly restore: Restore;
  readonly backup: Backup;
  readonly location: BackupStorageLocation;
  /** What is changed in objects before they are created. */
  readonly modifiers: readonly ModifierRule[];
  readonly signal: AbortSignal;
}

/** Progress is written at most this often. */
const PROGRESS_EVERY_MS = 1_000;

/** Runs the restore and returns the status that is to be stored. Throws what makes the restore Failed. */
export async function runRestore(options: RunRestoreOptions): Promise<RestoreStatus> {
  const { restore, backup, location, stores, clock, logger, namespace, signal } = options;
  const log = new OperationLog({ clock, server: logger, fields: { restore: `${namespace}/${restore.metadata.name}` } });
  const store = await stores.open(location, signal);
  log.logger.info(`Starting restore of backup ${namespace}/${backup.metadata.name}`);
  const archive = await store.openArchive(backup.metadata.name ?? "", signal);
  try {
    return await new RestoreRun(options, log, store, archive).run();
  } finally {
    await archive.dispose();
  }
}

/** Removes the ConfigMaps through which the restore of DataUploads spoke with that of their claims. */
export async function deleteDataUploadResults(client: KubeClient, restore: Restore, signal: AbortSignal): Promise<void> {
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid},${LABELS.resourceUsage}=${RESOURCE_USAGE_DATA_UPLOAD}`;
  await client.deleteCollection(configMaps, { namespace: restore.metadata.namespace, labelSelector, signal });
}

class RestoreRun {
  readonly #options: RunRestoreOptions;
  readonly #operationLog: OperationLog;
  readonly #log: Logger;
  readonly #store: BackupStore;
  readonly #archive: BackupArchiveReader;
  readonly #moved = new MovedVolumes();
  /** Claims (`namespace/name`, where they go) that a pod's restore fills. */
  readonly #filled = new Set<string>();
  #progressWrittenMs = 0;

  constructor(options: RunRestoreOptions, operationLog: OperationLog, store: BackupStore, archive: BackupArchiveReader) {
    this.#options = options;
    this.#operationLog = operationLog;
    this.#log = operationLog.logger;
    this.#store = store;
    this.#archive = archive;
  }

  async run(): Promise<RestoreStatus> {
    const { client, discovery, clock, settings, restore, backup, signal } = this.#options;
    discovery.invalidate();
    if (resumesOf(restore) > 0) {
      this.#log.info("An earlier process ended while it worked on this restore: what it created is taken for done");
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
      volumeInfos: await this.#volumeInfos(),
      selection,
      modifiers: this.#options.modifiers,
      actions: this.#actions(await this.#podVolumeBackups()),
      hasMovedData: (namespace, claim) => this.#moved.of(namespace, claim) !== undefined,
      operationLog: this.#operationLog,
      resourceTimeoutMs: settings.resourceTimeoutMs,
      signal,
    });
    try {
      if (this.#archive.resources().length === 0) this.#operationLog.warn(undefined, "the backup has no items");
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
      this.#operationLog.error(
        target,
        `claim "${name}" comes back empty: its data was read through a pod, and no pod that mounts it was restored together with it`,
      );
    }
    const { random, namespace } = this.#options;
    const hookRuns = new RestoreHookRuns({ client, clock, restore, waitTimeoutMs: settings.resourceTimeoutMs, log: this.#log, signal });
    await waitForPodVolumes({
      client,
      clock,
      random,
      namespace,
      restore,
      operationLog: this.#operationLog,
      timeoutMs: settings.fsBackupTimeoutMs,
      onSomeEnded: () => this.#offerHooks(hookRuns, items.operations),
      signal,
    });
    // Whoever goes on with the restore finds their notes.
    await hookRuns.results();
    return this.#persist(items);
  }

  async #restoreDataFirst(order: readonly string[], selection: RestoreSelection, items: ItemRestore): Promise<void> {
    const { client, clock, random, namespace, restore, signal } = this.#options;
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
    this.#log.info("Workloads wait until their volumes have their data", { operations: items.operations.length });
    items.withoutData = await waitForData({ client, clock, random, namespace, restore, operations: items.operations, log: this.#log, signal });
    await this.#restoreAll(refs, items);
  }

  /** Runs the hooks of pods whose own volumes are filled, while others are not. */
  async #offerHooks(hookRuns: RestoreHookRuns, operations: readonly ItemOperation[]): Promise<void> {
    const { client, clock, namespace, restore, signal } = this.#options;
    const movements = await loadRestoreMovements({ client, namespace }, restore, operations, signal);
    // Whether one took too long is decided later, by the controller that waits for them.
    const { operations: current } = advanceOperations(operations, {
      kind: "DataDownload",
      nowMs: clock.nowMs(),
      timeoutMs: Number.POSITIVE_INFINITY,
      movementsOf: (id) => movements.movementsOf(id),
    });
    await hookRuns.offer(await loadPodData({ client, namespace }, restore, current, movements, signal));
  }

  #actions(backups: readonly PodVolumeBackup[]): RestoreAction[] {
    const { client, random, namespace, helperImage, restore } = this.#options;
    const results = new DataUploadResults();
    return [
      createVolumeSnapshotBackupRestoreAction({ client, namespace, moved: this.#moved }),
      createDataUploadRestoreAction(client, results),
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
        storedSnapshot: (ofNamespace, name) => this.#storedSnapshot(ofNamespace, name),
      }),
      ...snapshotRestoreActions,
      createPodRestoreAction(new RestoreHooks(restore.spec), random),
      // After the hooks' containers were put in: the one that waits for the data comes before them.
      createPodVolumeRestoreAction({ client, namespace, helperImage, backups, filled: this.#filled }),
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

  async #volumeInfos(): Promise<ReadonlyMap<string, BackupVolumeInfo>> {
    const infos = await this.#store.getVolumeInfos(this.#options.backup.metadata.name ?? "", this.#options.signal);
    return new Map(infos.map((info) => [info.pvName ?? "", info]));
  }

  /** Items that the spec asks for, in the order of their resources. */
  async #selected(resources: readonly string[], selection: RestoreSelection): Promise<ArchivedItemRef[]> {
    const refs: ArchivedItemRef[] = [];
    for (const resource of resources) {
      if (!selection.hasResource(resource)) {
        this.#log.info("Skipping restore of resource because the restore spec excludes it", { resource });
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
    const { restore, clock, signal } = this.#options;
    for (const ref of refs) {
      signal.throwIfAborted();
      // Namespaces are made with the first thing that goes into them, and here when nothing does.
      if (ref.groupResource === NAMESPACES) await this.#ensureNamespace(ref.name, items);
      else await items.restore(ref);
      if (clock.nowMs() - this.#progressWrittenMs >= PROGRESS_EVERY_MS) await this.#writeProgress(items.count, Math.max(refs.length, items.count));
    }
    this.#log.info(`Restored ${items.count} items`, { restore: restore.metadata.name });
  }

  async #ensureNamespace(name: string, items: ItemRestore): Promise<void> {
    try {
      await items.ensureNamespace(name, targetNamespaceOf(this.#options.restore, name));
    } catch (error) {
      if (isAbort(error, this.#options.signal)) throw error;
      this.#operationLog.error(undefined, error instanceof Error ? error.message : String(error));
    }
  }

  async #writeProgress(itemsRestored: number, totalItems: number): Promise<void> {
    const { client, clock, restore, signal } = this.#options;
    this.#progressWrittenMs = clock.nowMs();
    await client.patch<Restore>(restores, keyOf(restore), "merge", { status: { progress: { itemsRestored, totalItems } } }, { signal });
  }

  async #forgetResults(): Promise<void> {
    const { client, restore, signal } = this.#options;
    try {
      await deleteDataUploadResults(client, restore, signal);
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      this.#log.info("Results of DataUploads were left behind", { ...errorFields(error), context: undefined });
    }
  }

  async #podVolumeBackups(): Promise<readonly PodVolumeBackup[]> {
    const { backup, signal } = this.#options;
    return (await this.#store.getPodVolumeBackups(backup.metadata.name ?? "", signal)) as unknown as readonly PodVolumeBackup[];
  }

  async #storedSnapshot(namespace: string, name: string): Promise<VolumeSnapshot | undefined> {
    const ref = this.#archive.find(VOLUME_SNAPSHOTS, namespace, name);
    return ref === undefined ? undefined : ((await this.#archive.read(ref)) as unknown as VolumeSnapshot);
  }

  async #persist(items: ItemRestore): Promise<RestoreStatus> {
    const { restore, signal } = this.#options;
    const { errorCount, warningCount, results } = this.#operationLog;
    const waits = items.operations.length > 0;
    const phase = waits ? ("WaitingForPluginOperations" as const) : ("Finalizing" as const);
    await this.#writeProgress(items.count, items.count);
    this.#log.info("Everything but the data is restored", { errors: errorCount, warnings: warningCount, operations: items.operations.length });
    await this.#store.putRestore(
      {
        restoreName: restore.metadata.name ?? "",
        log: this.#operationLog.bytes(),
        results,
        itemOperations: items.operations,
        resourceList: items.resourceList,
      },
      signal,
    );
    return {
      ...restore.status,
      phase: errorCount > 0 ? `${phase}PartiallyFailed` : phase,
      progress: { itemsRestored: items.count, totalItems: items.count },
      ...(waits ? { restoreItemOperationsAttempted: items.operations.length } : {}),
      ...(errorCount > 0 ? { errors: errorCount } : {}),
      ...(warningCount > 0 ? { warnings: warningCount } : {}),
    };
  }
}
