/**
 * One restore from the first item of its backup to its files in the bucket. Data comes back after that (DataDownloads); `restore-operations` waits for it and finalizes.
 * Items that are there already are left alone, so a restore that failed can be followed by another one.
 */

import { type Backup, type BackupStorageLocation, type ItemPlugins, type PodVolumeBackup, type Restore, type RestoreStatus, restores } from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type Discovery, type KubeClient, keyOf } from "@drayage/kube";
import { createPluginRestoreActions } from "../actions/plugin-actions.ts";
import { advanceOperations } from "../backup-operations/operations.ts";
import { RestoreHookRuns } from "../hooks/restore-hook-runs.ts";
import { OperationLog } from "../operation-log/operation-log.ts";
import type { BackupArchiveReader, BackupStore, BackupStores, ItemOperation } from "../ports.ts";
import type { ModifierRule } from "../resource-modifiers/resource-modifiers.ts";
import { loadPodData, loadRestoreMovements } from "../restore-operations/restore-movements.ts";
import type { ServerSettings } from "../server-settings.ts";
import type { VolSyncEraSettings } from "../volsync-era/settings.ts";
import type { ItemRestore } from "./item-restore.ts";
import { restoreItems } from "./restore-items.ts";
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
  /** Volumes of OADP 1.1 and 1.2 come back by VolSync; we fill them when left out. */
  readonly volSyncEra?: VolSyncEraSettings | undefined;
  /** Of the init container that holds a pod until its volumes are filled. */
  readonly helperImage: string;
  readonly restore: Restore;
  readonly backup: Backup;
  readonly location: BackupStorageLocation;
  /** What is changed in objects before they are created. */
  readonly modifiers: readonly ModifierRule[];
  readonly plugins: ItemPlugins;
  readonly signal: AbortSignal;
}

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

class RestoreRun {
  readonly #options: RunRestoreOptions;
  readonly #operationLog: OperationLog;
  readonly #log: Logger;
  readonly #store: BackupStore;
  readonly #archive: BackupArchiveReader;

  constructor(options: RunRestoreOptions, operationLog: OperationLog, store: BackupStore, archive: BackupArchiveReader) {
    this.#options = options;
    this.#operationLog = operationLog;
    this.#log = operationLog.logger;
    this.#store = store;
    this.#archive = archive;
  }

  async run(): Promise<RestoreStatus> {
    const { client, clock, random, namespace, settings, restore, backup, plugins, discovery, signal } = this.#options;
    const { resourceTimeoutMs } = settings;
    const backupName = backup.metadata.name ?? "";
    const items = await restoreItems({
      ...this.#options,
      archive: this.#archive,
      volumeInfos: await this.#store.getVolumeInfos(backupName, signal),
      podVolumeBackups: (await this.#store.getPodVolumeBackups(backupName, signal)) as unknown as readonly PodVolumeBackup[],
      operationLog: this.#operationLog,
      pluginActions: await createPluginRestoreActions(plugins.restore, { discovery, clock, resourceTimeoutMs, signal }),
      waitForData: (operations) => waitForData({ client, clock, random, namespace, restore, operations: this.#movements(operations), log: this.#log, signal }),
      onProgress: (done, total) => this.#writeProgress(done, total),
    });
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

  /** Operations that bring data back: those of plug-ins have nothing to do with volumes that pods wait for. */
  #movements(operations: readonly ItemOperation[]): readonly ItemOperation[] {
    const names = new Set(this.#options.plugins.restore.map(({ name }) => name));
    return operations.filter(({ spec }) => !names.has(spec.restoreItemAction ?? ""));
  }

  /** Runs the hooks of pods whose own volumes are filled, while others are not. */
  async #offerHooks(hookRuns: RestoreHookRuns, operations: readonly ItemOperation[]): Promise<void> {
    const { client, clock, namespace, restore, signal } = this.#options;
    const movements = await loadRestoreMovements({ client, namespace }, restore, operations, signal);
    // Whether one took too long is decided later, by the controller that waits for them.
    const { operations: current } = advanceOperations(this.#movements(operations), {
      kind: "DataDownload",
      nowMs: clock.nowMs(),
      timeoutMs: Number.POSITIVE_INFINITY,
      movementsOf: (id) => movements.movementsOf(id),
    });
    await hookRuns.offer(await loadPodData({ client, namespace }, restore, current, movements, signal));
  }

  async #writeProgress(itemsRestored: number, totalItems: number): Promise<void> {
    const { client, restore, signal } = this.#options;
    await client.patch<Restore>(restores, keyOf(restore), "merge", { status: { progress: { itemsRestored, totalItems } } }, { signal });
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
