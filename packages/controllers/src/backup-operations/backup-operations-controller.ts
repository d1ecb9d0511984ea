/**
 * Carries a Backup from the end of its own work to its end: waits for the asynchronous operations (DataUploads), then finalizes.
 *
 *   WaitingForPluginOperations ──────────────► Finalizing ───────────────► Completed
 *        │ (an operation failed)                                              ▲ only without any error
 *        ▼
 *   WaitingForPluginOperationsPartiallyFailed ► FinalizingPartiallyFailed ► PartiallyFailed
 *
 * Changes of DataUploads are watched, so nothing polls; the only clock is each operation's timeout, counted from its stored creation. Mere progress is seen in the caches that the watches
 * keep and asks nothing of anybody. Once they show an end, everything is read again: the operations lie in the bucket, their state is in the DataUploads.
 */

import {
  type Backup,
  type BackupStatus,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DataMoverBackup,
  type DataUpload,
  dataMoverBackups,
  dataUploads,
  type ItemPlugins,
  LABELS,
  NO_ITEM_PLUGINS,
  type VolumeSnapshotContent,
  validLabelValue,
  volumeSnapshotContents,
} from "@drayage/api";
import { type Clock, formatTime, hasCode, type Logger, type RandomSource } from "@drayage/base";
import type { Discovery } from "@drayage/kube";
import {
  type Controller,
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
import { CLAIM_SNAPSHOT_ACTION } from "../actions/claim-snapshot-action.ts";
import { allOf } from "../all-of.ts";
import type { RunningController } from "../backup/backup-controller.ts";
import { cancelMoves, isMoverOperation, MOVES_LOOK_MS, movesOfBackup, withOperation } from "../mover-moves/moves-of.ts";
import type { BackupStore, BackupStores, ItemOperation } from "../ports.ts";
import { finalizeBackup } from "./finalize-backup.ts";
import { advanceOperations, hasEnded, type OperationsOutcome } from "./operations.ts";
import { askPlugins, backupOperationPlugins, cancelPluginOperations, PLUGIN_LOOK_MS } from "./plugin-operations.ts";
import { isOfSnapshot, loadSnapshots, snapshotCounts } from "./snapshot-operations.ts";
import { cancelVolumeSnapshotBackups, loadVolumeSnapshotBackups, movementsIn } from "./volume-snapshot-backups.ts";

export interface BackupOperationsControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
  /** Needed where plug-ins are. */
  readonly discovery?: Discovery;
  /** Plug-ins of others; none when left out. */
  readonly plugins?: ItemPlugins;
  /** How often they are asked how far their operations are; every 10 s when left out. */
  readonly pluginLookMs?: number;
}

/** Changes of snapshots are watched too; this is for what a watch that is only being started may miss. */
const SNAPSHOT_LOOK_MS = 10_000;

/** Starts the controller of Backups that wait for operations or are to be finalized. */
export function startBackupOperationsController(deps: BackupOperationsControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const informerOptions = { client, clock, random, logger, namespace };
  const backupCache = startInformer<Backup>(backups, informerOptions);
  const uploadCache = startInformer<DataUpload>(dataUploads, informerOptions);
  let snapshotCache: Informer<VolumeSnapshotContent> | undefined;
  // Only a cluster whose backups keep snapshots is sure to know the kind.
  const watchSnapshots = (): void => {
    if (snapshotCache !== undefined) return;
    snapshotCache = startInformer<VolumeSnapshotContent>(volumeSnapshotContents, { client, clock, random, logger, labelSelector: LABELS.backupName });
    snapshotCache.onChange((_before, content) => {
      const name = content?.metadata.labels?.[LABELS.backupName];
      for (const backup of backupCache.list())
        if (isWaiting(backup.status) && validLabelValue(backup.metadata.name ?? "") === name) controller.enqueue(keyOf(backup));
    });
  };
  const locationCache = startInformer<BackupStorageLocation>(backupStorageLocations, informerOptions);
  const reconciler = new BackupOperationsReconciler(deps, { backups: backupCache, uploads: uploadCache, locations: locationCache }, watchSnapshots);
  const controller: Controller = startController({
    name: "backup-operations",
    clock,
    random,
    logger,
    sources: [
      source(backupCache, { when: (_before, after) => after !== undefined && isOurs(after) }),
      // A Backup is the only owner that a DataUpload has.
      source(uploadCache, {
        toKeys: ({ metadata }) => (metadata.ownerReferences ?? []).filter(({ kind }) => kind === "Backup").map(({ name }) => ({ namespace, name })),
      }),
    ],
    reconcile: (key, signal) => reconciler.reconcile(key, signal),
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      backupCache.stop();
      uploadCache.stop();
      locationCache.stop();
      snapshotCache?.stop();
    },
  };
}

function isOurs({ status }: Backup): boolean {
  return isWaiting(status) || isFinalizing(status);
}

function isWaiting(status: BackupStatus | undefined): boolean {
  return status?.phase === "WaitingForPluginOperations" || status?.phase === "WaitingForPluginOperationsPartiallyFailed";
}

function isFinalizing(status: BackupStatus | undefined): boolean {
  return status?.phase === "Finalizing" || status?.phase === "FinalizingPartiallyFailed";
}

/** What is watched anyway. */
interface Caches {
  readonly backups: Pick<Informer<Backup>, "get">;
  readonly uploads: Pick<Informer<DataUpload>, "list">;
  readonly locations: Pick<Informer<BackupStorageLocation>, "get">;
}

class BackupOperationsReconciler {
  readonly #deps: BackupOperationsControllerDeps;
  readonly #caches: Caches;
  /** Operations as they were read from the bucket, by UID; they change there only by our own hand. */
  readonly #operations = new Map<string, readonly ItemOperation[]>();

  readonly #watchSnapshots: () => void;

  constructor(deps: BackupOperationsControllerDeps, caches: Caches, watchSnapshots: () => void) {
    this.#deps = deps;
    this.#caches = caches;
    this.#watchSnapshots = watchSnapshots;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, stores } = this.#deps;
    const progress = this.#onlyProgress(key);
    if (progress !== undefined) return progress;
    const backup = await client.find(backups, key, signal);
    if (backup === undefined || isDeleting(backup) || !isOurs(backup)) return {};
    const place = { ...key, name: backup.spec.storageLocation ?? "" };
    // What is not in the cache may have been made a moment ago.
    const location = this.#caches.locations.get(place) ?? (await client.find<BackupStorageLocation>(backupStorageLocations, place, signal));
    const why = location === undefined ? "does not exist any more" : location.spec.accessMode === "ReadOnly" ? "has become read-only" : undefined;
    if (location === undefined || why !== undefined) {
      await this.#write(
        backup,
        {
          ...this.#ended(backup, "PartiallyFailed"),
          failureReason: `backup storage location "${backup.spec.storageLocation}" ${why}; the backup cannot be completed there`,
        },
        signal,
      );
      return {};
    }
    const store = await stores.open(location, signal);
    return isWaiting(backup.status) ? this.#wait(backup, store, signal) : this.#finalize(backup, store, signal);
  }

  /**
   * When to look again, if at all, where the caches show that no operation has ended since the last look. Undefined where one may have, or where what they show is not all there is to know:
   * an operation whose DataUpload they do not have yet counts as one that has failed, and is looked for where it would be.
   */
  #onlyProgress(key: ObjectKey): ReconcileResult | undefined {
    const backup = this.#caches.backups.get(key);
    // That it comes to wait or to be finalized is a change that is seen.
    if (backup !== undefined && !isOurs(backup)) return {};
    const uid = backup?.metadata.uid ?? "";
    const operations = this.#operations.get(uid);
    if (backup === undefined || operations === undefined || isDeleting(backup) || !isWaiting(backup.status)) return undefined;
    const location = this.#caches.locations.get({ ...key, name: backup.spec.storageLocation ?? "" });
    if (location === undefined || location.spec.accessMode === "ReadOnly") return undefined;
    const { clock, namespace } = this.#deps;
    if (!operations.every((operation) => hasEnded(operation) || (operation.spec.backupItemAction === CLAIM_SNAPSHOT_ACTION && !isMoverOperation(operation))))
      return undefined;
    const uploads = this.#caches.uploads.list(namespace).filter(({ metadata }) => metadata.labels?.[LABELS.backupUid] === uid);
    const nowMs = clock.nowMs();
    const outcome = advanceOperations(operations, { kind: "DataUpload", nowMs, timeoutMs: timeoutOf(backup), movementsOf: (id) => withOperation(uploads, id) });
    if (outcome.hasNewFailure || outcome.nextTimeoutMs === undefined) return undefined;
    if (!sameCounts(backup.status ?? {}, statusAfter(backup.status ?? {}, outcome))) return undefined;
    return { requeueAfterMs: outcome.nextTimeoutMs - nowMs };
  }

  async #wait(backup: Backup, store: BackupStore, signal: AbortSignal): Promise<ReconcileResult> {
    const { clock, logger } = this.#deps;
    const uid = backup.metadata.uid ?? "";
    const name = backup.metadata.name ?? "";
    const operations = this.#operations.get(uid) ?? (await store.getItemOperations(name, signal));
    const attempted = backup.status?.backupItemOperationsAttempted ?? 0;
    if (operations.length < attempted) {
      // Without the record nobody knows whether the data was moved, and no operations at all would pass for all of them done.
      const failureReason = `the bucket has the record of ${operations.length} of its ${attempted} operations; whether their data is whole is not known`;
      await this.#write(backup, { ...this.#ended(backup, "PartiallyFailed"), failureReason }, signal);
      return {};
    }
    const uploads = await this.#uploads(uid, signal);
    const snapshots = await loadSnapshots(
      this.#deps.client,
      operations.filter((operation) => !hasEnded(operation)),
      signal,
    );
    const moving = { client: this.#deps.client, namespace: this.#deps.namespace, signal };
    const moves = await movesOfBackup(moving, uid, operations);
    const moved = await loadVolumeSnapshotBackups(this.#deps.client, backup, operations, signal);
    const plugins = backupOperationPlugins(this.#deps.plugins ?? NO_ITEM_PLUGINS, backup, signal);
    const pluginAnswers = await askPlugins(operations, plugins, logger);
    const outcome = advanceOperations(operations, {
      kind: "DataUpload",
      pluginAnswers,
      snapshotOf: (id) => snapshots.get(id),
      nowMs: clock.nowMs(),
      timeoutMs: timeoutOf(backup),
      movementsOf: (id) => movementsIn(moved, id) ?? withOperation<DataUpload | DataMoverBackup>([...uploads, ...moves], id),
    });
    await cancelPluginOperations(operations, outcome.toCancel, plugins, logger);
    for (const upload of uploads) if (outcome.toCancel.includes(upload.metadata.labels?.[LABELS.asyncOperationId] ?? "")) await this.#cancel(upload, signal);
    await cancelMoves(moving, dataMoverBackups, moves, outcome.toCancel);
    await cancelVolumeSnapshotBackups(
      this.#deps.client,
      outcome.toCancel.flatMap((id) => moved.get(id) ?? []),
      signal,
    );
    const status = statusAfter(backup.status ?? {}, outcome);
    // What has gone wrong or has ended is stored before the status says so; mere progress can be seen in the DataUploads.
    if (outcome.hasNewFailure || !outcome.inProgress)
      await store.putBackup({ backup: { ...backup, apiVersion: "velero.io/v1", kind: "Backup", status }, itemOperations: outcome.operations }, signal);
    if (outcome.inProgress) this.#operations.set(uid, outcome.operations);
    else this.#operations.delete(uid);
    const written = sameCounts(backup.status ?? {}, status) ? backup : await this.#write(backup, status, signal);
    if (isFinalizing(written.status)) return this.#finalize(written, store, signal);
    if (outcome.nextTimeoutMs === undefined) return {};
    logger.debug("Waiting for DataUploads", { backup: name, completed: outcome.completed, failed: outcome.failed, of: outcome.operations.length });
    const timeoutMs = Math.max(outcome.nextTimeoutMs - clock.nowMs(), 0);
    const movesMs = moves.length > 0 || moved.size > 0 ? Math.min(timeoutMs, MOVES_LOOK_MS) : timeoutMs;
    const lookMs = pluginAnswers.size > 0 ? Math.min(movesMs, this.#deps.pluginLookMs ?? PLUGIN_LOOK_MS) : movesMs;
    if (!outcome.operations.some((operation) => isOfSnapshot(operation) && !hasEnded(operation))) return { requeueAfterMs: lookMs };
    this.#watchSnapshots();
    return { requeueAfterMs: Math.min(lookMs, SNAPSHOT_LOOK_MS) };
  }

  async #finalize(backup: Backup, store: BackupStore, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, namespace } = this.#deps;
    const ended = (lost: readonly string[]): BackupStatus => {
      if (lost.length === 0) return this.#ended(backup, backup.status?.phase === "Finalizing" ? "Completed" : "PartiallyFailed");
      const failureReason = `the DataUploads of ${lost.join(", ")} are gone, so a restore will not find the data that they moved`;
      return { ...this.#ended(backup, "PartiallyFailed"), failureReason };
    };
    await this.#write(
      backup,
      await finalizeBackup({ client, clock: this.#deps.clock, namespace, store, backup, ended, discovery: this.#deps.discovery, signal }),
      signal,
    );
    return {};
  }

  #ended(backup: Backup, phase: "Completed" | "PartiallyFailed"): BackupStatus {
    return { ...backup.status, phase, completionTimestamp: formatTime(this.#deps.clock.nowMs()) };
  }

  /** From the API server, not from a cache: one that is not there yet would fail its operation for good. */
  #uploads(backupUid: string, signal: AbortSignal): Promise<DataUpload[]> {
    const { client, namespace } = this.#deps;
    return allOf(client.listAll<DataUpload>(dataUploads, { namespace, labelSelector: `${LABELS.backupUid}=${backupUid}`, signal }));
  }

  async #cancel(upload: DataUpload, signal: AbortSignal): Promise<void> {
    try {
      await this.#deps.client.patch<DataUpload>(dataUploads, keyOf(upload), "merge", { spec: { cancel: true } }, { signal });
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }

  #write(backup: Backup, status: BackupStatus, signal: AbortSignal): Promise<Backup> {
    return this.#deps.client.replace<Backup>(backups, { ...backup, status }, { signal });
  }
}

function timeoutOf({ spec }: Backup): number {
  return requireDuration(spec.itemOperationTimeout ?? "0s", "spec.itemOperationTimeout");
}

function statusAfter(status: BackupStatus, outcome: OperationsOutcome): BackupStatus {
  const troubled = status.phase === "WaitingForPluginOperationsPartiallyFailed" || outcome.failed > 0;
  const phase = outcome.inProgress ? ("WaitingForPluginOperations" as const) : ("Finalizing" as const);
  const newlyFailed = outcome.failed - (status.backupItemOperationsFailed ?? 0);
  return {
    ...status,
    phase: troubled ? `${phase}PartiallyFailed` : phase,
    ...(outcome.completed > 0 ? { backupItemOperationsCompleted: outcome.completed } : {}),
    ...(outcome.failed > 0 ? { backupItemOperationsFailed: outcome.failed } : {}),
    ...snapshotCounts(outcome.operations),
    // Each failure counts once among the errors, whenever it is seen.
    ...(newlyFailed > 0 ? { errors: (status.errors ?? 0) + newlyFailed } : {}),
  };
}

function sameCounts(a: BackupStatus, b: BackupStatus): boolean {
  return (
    a.phase === b.phase && a.backupItemOperationsCompleted === b.backupItemOperationsCompleted && a.backupItemOperationsFailed === b.backupItemOperationsFailed
  );
}
