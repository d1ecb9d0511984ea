/**
 * Carries a Restore from the end of its own work to its end: waits for the asynchronous operations (DataDownloads), then finalizes.
 *
 *   WaitingForPluginOperations ──────────────► Finalizing ───────────────► Completed
 *        │ (an operation failed)                                              ▲ only without any error
 *        ▼
 *   WaitingForPluginOperationsPartiallyFailed ► FinalizingPartiallyFailed ► PartiallyFailed
 *
 * Mere progress is seen in the caches and asks nothing of anybody; once they show an end, everything is read again. Finalizing may wait for volumes and pods, so it runs as a job; one that was lost with its process is simply run again.
 */
import {
  type Backup,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DataDownload,
  dataDownloads,
  dataMoverRestores,
  type ItemPlugins,
  LABELS,
  NO_ITEM_PLUGINS,
  type Restore,
  type RestoreStatus,
  restores,
  type VolumeSnapshotRestore,
  VSR_ANNOTATIONS,
  volumeSnapshotRestores,
} from "@drayage/api";
import { type Clock, dispositionOf, errorFields, formatTime, hasCode, type Logger, messageOf, type RandomSource } from "@drayage/base";
import {
  type Informer,
  isDeleting,
  type KubeClient,
  keyOf,
  type ObjectKey,
  type ReconcileResult,
  requireDuration,
  source,
  startController,
  startInformer,
} from "@drayage/kube";
import { CLAIM_RESTORE_ACTION } from "../actions/claim-restore-action.ts";
import type { RunningController } from "../backup/backup-controller.ts";
import { advanceOperations, hasEnded, type OperationsOutcome } from "../backup-operations/operations.ts";
import { askPlugins, cancelPluginOperations, PLUGIN_LOOK_MS, restoreOperationPlugins } from "../backup-operations/plugin-operations.ts";
import { RestoreHookRuns } from "../hooks/restore-hook-runs.ts";
import { JobTable } from "../jobs.ts";
import { cancelMoves, isMoverOperation, withOperation } from "../mover-moves/moves-of.ts";
import type { BackupStore, BackupStores, ItemOperation } from "../ports.ts";
import { recordStatus } from "../record-status.ts";
import { defaultServerSettings, type ServerSettings } from "../server-settings.ts";
import { finalizeRestore } from "./finalize-restore.ts";
import { loadPodData, loadRestoreMovements, MOVED_RECHECK_MS, operationIdOf, type RestoreMovements } from "./restore-movements.ts";

export interface RestoreOperationsControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
  readonly settings?: ServerSettings;
  /** Plug-ins of others; none when left out. */
  readonly plugins?: ItemPlugins;
  /** How often they are asked how far their operations are; every 10 s when left out. */
  readonly pluginLookMs?: number;
}

/** After a failure of finalizing that may pass. */
const FINALIZE_AGAIN_MS = 5_000;

/** Starts the controller of Restores that wait for operations or are to be finalized. */
export function startRestoreOperationsController(deps: RestoreOperationsControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const informerOptions = { client, clock, random, logger, namespace };
  const restoreCache = startInformer<Restore>(restores, informerOptions);
  const downloadCache = startInformer<DataDownload>(dataDownloads, informerOptions);
  const backupCache = startInformer<Backup>(backups, informerOptions);
  const locationCache = startInformer<BackupStorageLocation>(backupStorageLocations, informerOptions);
  const caches = { restores: restoreCache, downloads: downloadCache, backups: backupCache, locations: locationCache };
  const jobs = new JobTable();
  const reconciler = new RestoreOperationsReconciler(deps, caches, jobs, (key, afterMs) => controller.enqueue(key, afterMs));
  const controller = startController({
    name: "restore-operations",
    clock,
    random,
    logger,
    sources: [
      source(restoreCache, { when: (before, after) => (after !== undefined && isOurs(after)) || (before !== undefined && isOurs(before)) }),
      // A Restore is the only owner that a DataDownload has.
      source(downloadCache, {
        toKeys: ({ metadata }) => (metadata.ownerReferences ?? []).filter(({ kind }) => kind === "Restore").map(({ name }) => ({ namespace, name })),
      }),
    ],
    reconcile: (key, signal) => reconciler.reconcile(key, signal),
  });
  return {
    async idle() {
      await controller.idle();
      await jobs.idle();
      await controller.idle();
    },
    async stop() {
      await controller.stop();
      await jobs.stop();
      reconciler.stop();
      for (const cache of Object.values(caches)) cache.stop();
    },
  };
}

function isOurs({ status }: Restore): boolean {
  return isWaiting(status) || isFinalizing(status);
}

function isWaiting(status: RestoreStatus | undefined): boolean {
  return status?.phase === "WaitingForPluginOperations" || status?.phase === "WaitingForPluginOperationsPartiallyFailed";
}

function isFinalizing(status: RestoreStatus | undefined): boolean {
  return status?.phase === "Finalizing" || status?.phase === "FinalizingPartiallyFailed";
}

interface KnownRestore {
  readonly uid: string;
  readonly abort: AbortController;
  readonly hookRuns: RestoreHookRuns;
  /** As they were read from the bucket; they change there only by our own hand. */
  operations: readonly ItemOperation[] | undefined;
  /** How many operations had ended when pods were last looked at. */
  hooksOfferedAt: number;
}

/** What is watched anyway. */
interface Caches {
  readonly restores: Pick<Informer<Restore>, "get">;
  readonly downloads: Pick<Informer<DataDownload>, "list">;
  readonly backups: Pick<Informer<Backup>, "get">;
  readonly locations: Pick<Informer<BackupStorageLocation>, "get">;
}

class RestoreOperationsReconciler {
  readonly #deps: RestoreOperationsControllerDeps;
  readonly #caches: Caches;
  readonly #settings: ServerSettings;
  readonly #jobs: JobTable;
  readonly #enqueue: (key: ObjectKey, afterMs: number) => void;
  /** What is kept of restores between two looks, by name. */
  readonly #known = new Map<string, KnownRestore>();

  constructor(deps: RestoreOperationsControllerDeps, caches: Caches, jobs: JobTable, enqueue: (key: ObjectKey, afterMs: number) => void) {
    this.#deps = deps;
    this.#caches = caches;
    this.#settings = deps.settings ?? defaultServerSettings;
    this.#jobs = jobs;
    this.#enqueue = enqueue;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, stores, namespace } = this.#deps;
    const progress = this.#onlyProgress(key);
    if (progress !== undefined) return progress;
    const restore = await client.find(restores, key, signal);
    const goingOn = restore !== undefined && !isDeleting(restore) && isOurs(restore);
    await this.#jobs.cancelOthers(key.name, goingOn ? restore.metadata.uid : undefined, "The Restore was deleted");
    const known = this.#knownOf(key.name, goingOn ? restore : undefined);
    if (!goingOn || known === undefined) return {};
    const backup = await client.find<Backup>(backups, { namespace, name: restore.spec.backupName ?? "" }, signal);
    const location =
      backup === undefined
        ? undefined
        : await client.find<BackupStorageLocation>(backupStorageLocations, { namespace, name: backup.spec.storageLocation ?? "" }, signal);
    if (backup === undefined || location === undefined) {
      const gone = backup === undefined ? `backup "${restore.spec.backupName}"` : `backup storage location "${backup.spec.storageLocation}"`;
      await this.#write(
        restore,
        { ...this.#ended(restore.status, "PartiallyFailed"), failureReason: `${gone} does not exist any more, so the restore cannot be finalized` },
        signal,
      );
      return {};
    }
    const store = await stores.open(location, signal);
    if (!isWaiting(restore.status)) {
      this.#startFinalizing(restore, known, backup, store);
      return {};
    }
    const { result, written } = await this.#wait(restore, known, store, signal);
    if (written !== undefined && isFinalizing(written.status)) this.#startFinalizing(written, known, backup, store);
    return result;
  }

  /**
   * When to look again, if at all, where the caches show that nothing has ended since the last look, or that a job is at it. Undefined where something may have, or where what they show is not all
   * there is to know: an operation whose DataDownload they do not have yet counts as one that has failed, and is looked for where it would be.
   */
  #onlyProgress(key: ObjectKey): ReconcileResult | undefined {
    const { restores: seen, downloads: seenDownloads, backups: seenBackups, locations } = this.#caches;
    const restore = seen.get(key);
    const uid = restore?.metadata.uid ?? "";
    const known = this.#known.get(key.name);
    if (restore === undefined || isDeleting(restore)) return undefined;
    // That it comes to wait or to be finalized is a change that is seen.
    if (!isOurs(restore)) return known === undefined ? {} : undefined;
    // The job goes by what it reads itself, and its end is a change of the restore.
    if (this.#jobs.has(key.name, uid)) return {};
    const operations = known?.uid === uid ? known.operations : undefined;
    if (known === undefined || operations === undefined || !isWaiting(restore.status)) return undefined;
    const backup = seenBackups.get({ ...key, name: restore.spec.backupName ?? "" });
    if (backup === undefined || locations.get({ ...key, name: backup.spec.storageLocation ?? "" }) === undefined) return undefined;
    if (!operations.every((operation) => hasEnded(operation) || (operation.spec.restoreItemAction === CLAIM_RESTORE_ACTION && !isMoverOperation(operation))))
      return undefined;
    const { clock, namespace } = this.#deps;
    const downloads = seenDownloads.list(namespace).filter(({ metadata }) => metadata.labels?.[LABELS.restoreUid] === uid);
    const nowMs = clock.nowMs();
    const outcome = advanceOperations(operations, {
      kind: "DataDownload",
      nowMs,
      timeoutMs: timeoutOf(restore),
      movementsOf: (id) => withOperation(downloads, id),
    });
    if (outcome.hasNewFailure || outcome.nextTimeoutMs === undefined || outcome.completed + outcome.failed !== known.hooksOfferedAt) return undefined;
    if (!sameCounts(restore.status ?? {}, statusAfter(restore.status ?? {}, outcome))) return undefined;
    return { requeueAfterMs: outcome.nextTimeoutMs - nowMs };
  }

  #startFinalizing(restore: Restore, known: KnownRestore, backup: Backup, store: BackupStore): void {
    const key = keyOf(restore);
    this.#jobs.start(
      key.name,
      restore.metadata.uid ?? "",
      (signal) => this.#finalize(restore, known, backup, store, signal).catch((error: unknown) => this.#endIfHopeless(restore, error, signal)),
      (error) => {
        this.#deps.logger.warn("Finalizing a restore failed and is tried again", { restore: key.name, ...errorFields(error) });
        this.#enqueue(key, FINALIZE_AGAIN_MS);
      },
    );
  }

  /** Ends what hooks of others run, too. */
  stop(): void {
    for (const name of [...this.#known.keys()]) this.#knownOf(name, undefined);
  }

  /** What is kept of a restore. Of one that is over, or is another by now, nothing is, and its hooks are ended. */
  #knownOf(name: string, restore: Restore | undefined): KnownRestore | undefined {
    const before = this.#known.get(name);
    if (before !== undefined && before.uid === restore?.metadata.uid) return before;
    before?.abort.abort(new DOMException("The Restore has ended", "AbortError"));
    this.#known.delete(name);
    if (restore === undefined) return undefined;
    const { client, clock, logger, namespace } = this.#deps;
    const abort = new AbortController();
    const log = logger.child({ restore: `${namespace}/${name}` });
    const hookRuns = new RestoreHookRuns({ client, clock, restore, waitTimeoutMs: this.#settings.resourceTimeoutMs, log, signal: abort.signal });
    const known: KnownRestore = { uid: restore.metadata.uid ?? "", abort, hookRuns, operations: undefined, hooksOfferedAt: -1 };
    this.#known.set(name, known);
    return known;
  }

  /** Also the restore as it was written, where it was. */
  async #wait(
    restore: Restore,
    known: KnownRestore,
    store: BackupStore,
    signal: AbortSignal,
  ): Promise<{ readonly result: ReconcileResult; readonly written?: Restore }> {
    const { client, clock, logger, namespace } = this.#deps;
    const { name = "" } = restore.metadata;
    const operations = known.operations ?? (await store.getRestoreItemOperations(name, signal));
    const attempted = restore.status?.restoreItemOperationsAttempted ?? 0;
    if (operations.length < attempted) {
      const failureReason = `the bucket has the record of ${operations.length} of its ${attempted} operations; whether their data came back is not known`;
      await this.#write(restore, { ...this.#ended(restore.status, "PartiallyFailed"), failureReason }, signal);
      return { result: {} };
    }
    const movements = await loadRestoreMovements({ client, namespace }, restore, operations, signal);
    const { downloads, moves, volumeSnapshotRestores: moved } = movements;
    const plugins = restoreOperationPlugins(this.#deps.plugins ?? NO_ITEM_PLUGINS, restore, signal);
    const pluginAnswers = await askPlugins(operations, plugins, logger);
    const outcome = advanceOperations(operations, {
      kind: "DataDownload",
      pluginAnswers,
      nowMs: clock.nowMs(),
      timeoutMs: timeoutOf(restore),
      movementsOf: (id) => movements.movementsOf(id),
    });
    await cancelPluginOperations(operations, outcome.toCancel, plugins, logger);
    for (const id of outcome.toCancel) for (const found of moved?.get(id) ?? []) await this.#cancelVolumeSnapshotRestore(found, signal);
    await cancelMoves({ client, namespace, signal }, dataMoverRestores, moves, outcome.toCancel);
    for (const download of downloads) if (outcome.toCancel.includes(operationIdOf(download))) await this.#cancel(download, signal);
    const status = statusAfter(restore.status ?? {}, outcome);
    // What has gone wrong or has ended is stored before the status says so; mere progress can be seen in the DataDownloads.
    if (outcome.hasNewFailure || !outcome.inProgress) await store.putRestore({ restoreName: name, itemOperations: outcome.operations }, signal);
    known.operations = outcome.operations;
    await this.#offerHooks(restore, known, outcome, movements, signal);
    const written = sameCounts(restore.status ?? {}, status) ? restore : await this.#write(restore, status, signal);
    if (outcome.nextTimeoutMs === undefined) return { result: {}, written };
    const timeoutMs = Math.max(outcome.nextTimeoutMs - clock.nowMs(), 0);
    const lookMs = pluginAnswers.size > 0 ? Math.min(timeoutMs, this.#deps.pluginLookMs ?? PLUGIN_LOOK_MS) : timeoutMs;
    return { result: { requeueAfterMs: moved === undefined && moves.length === 0 ? lookMs : Math.min(lookMs, MOVED_RECHECK_MS) } };
  }

  /** Pods whose own data is there need not wait for that of others. */
  async #offerHooks(restore: Restore, known: KnownRestore, outcome: OperationsOutcome, movements: RestoreMovements, signal: AbortSignal): Promise<void> {
    const ended = outcome.completed + outcome.failed;
    if (ended === known.hooksOfferedAt || !outcome.inProgress) return;
    const { client, namespace } = this.#deps;
    await known.hookRuns.offer(await loadPodData({ client, namespace }, restore, outcome.operations, movements, signal));
    known.hooksOfferedAt = ended;
  }

  async #cancelVolumeSnapshotRestore(found: VolumeSnapshotRestore, signal: AbortSignal): Promise<void> {
    try {
      const patch = { metadata: { annotations: { [VSR_ANNOTATIONS.cancel]: "true" } } };
      await this.#deps.client.patch<VolumeSnapshotRestore>(volumeSnapshotRestores, keyOf(found), "merge", patch, { signal });
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }

  async #finalize(restore: Restore, { hookRuns }: KnownRestore, backup: Backup, store: BackupStore, signal: AbortSignal): Promise<void> {
    const { client, clock, random, logger, namespace } = this.#deps;
    const { hooks, errors, warnings } = await finalizeRestore({
      client,
      clock,
      logger,
      namespace,
      store,
      restore,
      backup,
      hookRuns,
      resourceTimeoutMs: this.#settings.resourceTimeoutMs,
      signal,
    });
    await recordStatus<Restore>(
      restores,
      keyOf(restore),
      (current) => {
        if (!isFinalizing(current.status)) return undefined;
        const troubled = current.status?.phase === "FinalizingPartiallyFailed" || errors > 0;
        return {
          ...current,
          status: {
            ...this.#ended(current.status, troubled ? "PartiallyFailed" : "Completed"),
            ...(hooks.attempted > 0 ? { hookStatus: { hooksAttempted: hooks.attempted, ...(hooks.failed > 0 ? { hooksFailed: hooks.failed } : {}) } } : {}),
            ...(errors > 0 ? { errors: (current.status?.errors ?? 0) + errors } : {}),
            ...(warnings > 0 ? { warnings: (current.status?.warnings ?? 0) + warnings } : {}),
          },
        };
      },
      { client, clock, random, signal },
    );
  }

  /** What is missing from the bucket for good would be looked for without end. Throws what may pass. */
  async #endIfHopeless(restore: Restore, error: unknown, signal: AbortSignal): Promise<void> {
    if (dispositionOf(error) !== "terminal") throw error;
    const { client, clock, random } = this.#deps;
    await recordStatus<Restore>(
      restores,
      keyOf(restore),
      (current) =>
        isFinalizing(current.status)
          ? { ...current, status: { ...this.#ended(current.status, "PartiallyFailed"), failureReason: `it could not be finalized: ${messageOf(error)}` } }
          : undefined,
      { client, clock, random, signal },
    );
  }

  #ended(status: RestoreStatus | undefined, phase: "Completed" | "PartiallyFailed"): RestoreStatus {
    return { ...status, phase, completionTimestamp: formatTime(this.#deps.clock.nowMs()) };
  }

  async #cancel(download: DataDownload, signal: AbortSignal): Promise<void> {
    try {
      await this.#deps.client.patch<DataDownload>(dataDownloads, keyOf(download), "merge", { spec: { cancel: true } }, { signal });
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }

  #write(restore: Restore, status: RestoreStatus, signal: AbortSignal): Promise<Restore> {
    return this.#deps.client.replace<Restore>(restores, { ...restore, status }, { signal });
  }
}

function timeoutOf({ spec }: Restore): number {
  return requireDuration(spec.itemOperationTimeout ?? "0s", "spec.itemOperationTimeout");
}

function statusAfter(status: RestoreStatus, outcome: OperationsOutcome): RestoreStatus {
  const troubled = status.phase === "WaitingForPluginOperationsPartiallyFailed" || outcome.failed > 0;
  const phase = outcome.inProgress ? ("WaitingForPluginOperations" as const) : ("Finalizing" as const);
  return {
    ...status,
    phase: troubled ? `${phase}PartiallyFailed` : phase,
    ...(outcome.completed > 0 ? { restoreItemOperationsCompleted: outcome.completed } : {}),
    ...(outcome.failed > 0 ? { restoreItemOperationsFailed: outcome.failed } : {}),
  };
}

function sameCounts(a: RestoreStatus, b: RestoreStatus): boolean {
  return (
    a.phase === b.phase &&
    a.restoreItemOperationsCompleted === b.restoreItemOperationsCompleted &&
    a.restoreItemOperationsFailed === b.restoreItemOperationsFailed
  );
}
