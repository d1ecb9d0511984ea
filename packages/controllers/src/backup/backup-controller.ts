/** Reconciles Backups: observes, decides (backup.ts), applies. The backup itself runs as a job beside the workers. */
import {
  type Backup,
  type BackupStatus,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DataUpload,
  dataMoverBackups,
  dataUploads,
  type ItemPlugins,
  LABELS,
  NO_ITEM_PLUGINS,
  type VolumeSnapshotLocation,
  volumeSnapshotLocations,
} from "@drayage/api";
import { type Clock, errorFields, formatTime, hasCode, isAbort, isDrayError, type Logger, messageOf, type RandomSource } from "@drayage/base";
import {
  type ConfigMap,
  type Controller,
  configMaps,
  type Discovery,
  type Informer,
  isDeleting,
  type KubeClient,
  keyOf,
  type Namespace,
  type ObjectKey,
  type ReconcileResult,
  source,
  startController,
  startInformer,
} from "@drayage/kube";
import { removeOrphanSnapshots } from "../actions/orphan-snapshots.ts";
import { allOf } from "../all-of.ts";
import { cancelAllVolumeSnapshotBackups } from "../backup-operations/volume-snapshot-backups.ts";
import { JobTable } from "../jobs.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { claimsNamed } from "../mover-choice/mover-faults.ts";
import { loadMoverRegistry } from "../mover-choice/mover-registry.ts";
import { cancelAllMoves } from "../mover-moves/moves-of.ts";
import type { BackupStores } from "../ports.ts";
import { recordStatus } from "../record-status.ts";
import { defaultServerSettings, type ServerSettings } from "../server-settings.ts";
import { steadyAgeMs } from "../steady-age.ts";
import type { ResticEnvironment } from "../volsync-era/settings.ts";
import { CANCEL_REQUESTED, decideBackup, isBehind, type ObservedBackup, phaseOf, queuePlace } from "./backup.ts";
import { loadNamespaces } from "./collect-items.ts";
import type { ItemSpool } from "./item-spool.ts";
import { cancelPodVolumeBackups } from "./pod-volume-backups.ts";
import { prepareBackup } from "./prepare-backup.ts";
import { type RunBackupOptions, runBackup } from "./run-backup.ts";

export interface BackupControllerDeps {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** The namespace of the server, its Backups and its DataUploads. */
  readonly namespace: string;
  readonly stores: BackupStores;
  readonly settings?: ServerSettings;
  /** Where what only a running backup knows is counted; nowhere when left out. */
  readonly metrics?: Metrics;
  /** Plug-ins of others; none when left out. */
  readonly plugins?: ItemPlugins;
  /** Where the data mover of OADP 1.2 finds the stores; snapshots stay with their storage when left out. */
  readonly resticEnvironment?: ResticEnvironment;
  /** Where collected items wait; on local disk when left out. */
  readonly newSpool?: () => Promise<ItemSpool>;
}

/** A running controller. */
export interface RunningController {
  /** Resolves when nothing waits to be done now and no job runs. */
  idle(): Promise<void>;
  /** Ends the workers and the jobs. A job that is ended leaves its object as it is; the next start finds it. */
  stop(): Promise<void>;
}

/** A location that was made a moment ago is waited for this long. */
const LOCATION_GRACE_MS = 60_000;
const LOCATION_RECHECK_MS = 500;

/** Starts the controller of Backups, from New to the end of the backup proper. */
export function startBackupController(deps: BackupControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const informer = startInformer<Backup>(backups, { client, clock, random, logger, namespace });
  const queued = (): ObjectKey[] =>
    informer
      .list(namespace)
      .filter((other) => phaseOf(other) === "Queued")
      .map(keyOf);
  const jobs = new JobTable((name) => {
    for (const key of [{ namespace, name }, ...queued()]) controller.enqueue(key);
  });
  const reconciler = new BackupReconciler(deps, jobs, informer);
  const controller: Controller = startController({
    name: "backup",
    clock,
    random,
    logger,
    sources: [
      // A change of one backup may let others move up.
      source(informer, {
        toKeys: (backup) => [
          keyOf(backup),
          ...informer
            .list(namespace)
            .filter((other) => phaseOf(other) === "Queued")
            .map(keyOf),
        ],
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
      informer.stop();
    },
  };
}

class BackupReconciler {
  readonly #deps: BackupControllerDeps;
  readonly #settings: ServerSettings;
  readonly #jobs: JobTable;
  readonly #cache: Pick<Informer<Backup>, "get" | "list">;
  /** Why jobs of this process failed whose end could not be written down, by UID. */
  readonly #failures = new Map<string, string>();

  constructor(deps: BackupControllerDeps, jobs: JobTable, cache: Pick<Informer<Backup>, "get" | "list">) {
    this.#deps = deps;
    this.#settings = deps.settings ?? defaultServerSettings;
    this.#jobs = jobs;
    this.#cache = cache;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { client } = this.#deps;
    const cached = this.#cache.get(key);
    // What is not in the cache yet comes with an event of its own. So neither what has ended, nor what runs or waits is asked for one by one.
    if (cached !== undefined && !this.#jobs.isBusyWithAnother(key.name, cached.metadata.uid ?? "") && this.#wantsNothing(cached)) return {};
    const backup = await client.find(backups, key, signal);
    await this.#jobs.cancelOthers(key.name, backup?.metadata.uid, "The Backup was deleted");
    return backup === undefined ? {} : this.#advance(key, backup, signal);
  }

  /** The steps before the start are taken one after the other, each from what the one before it has written. */
  async #advance(key: ObjectKey, backup: Backup, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, logger } = this.#deps;
    const decision = decideBackup(this.#observe(backup));
    switch (decision.do) {
      case "nothing":
        return {};
      case "enqueue":
        return this.#advance(key, await this.#replaceStatus(backup, { ...backup.status, phase: "Queued", queuePosition: decision.position }, signal), signal);
      case "release": {
        const { queuePosition: _, ...status } = backup.status ?? {};
        return this.#advance(key, await this.#replaceStatus(backup, { ...status, phase: "ReadyToStart" }, signal), signal);
      }
      case "start":
        return this.#start(backup, signal);
      case "cancel":
        await this.#jobs.cancelOthers(key.name, undefined, decision.reason);
        // It may have got past its own work in the meantime; its operations are canceled by who asked.
        if (phaseOf((await client.find(backups, key, signal)) ?? backup) !== "InProgress") return {};
        await this.#cleanUp(backup, decision.reason, signal);
        await this.#record(backup, (current) => this.#failed(current, decision.reason), signal);
        return {};
      case "fail": {
        const uid = backup.metadata.uid ?? "";
        const reason = this.#failures.get(uid) ?? decision.reason;
        logger.warn("Failing a backup that was left InProgress", { backup: key.name, reason });
        await this.#cleanUp(backup, reason, signal);
        await this.#replaceStatus(backup, this.#failed(backup.status, reason), signal);
        this.#failures.delete(uid);
        return {};
      }
    }
  }

  #wantsNothing(backup: Backup): boolean {
    // A look at the queue is one at every Backup.
    return isBehind(phaseOf(backup)) || decideBackup(this.#observe(backup)).do === "nothing";
  }

  #observe(backup: Backup): ObservedBackup {
    const uid = backup.metadata.uid ?? "";
    const others = this.#cache.list(this.#deps.namespace).filter(({ metadata }) => metadata.uid !== uid);
    const place = queuePlace(backup, [...others, backup], this.#settings.concurrentBackups);
    return {
      phase: phaseOf(backup),
      deleting: isDeleting(backup),
      running: this.#jobs.has(backup.metadata.name ?? "", uid),
      cancelRequested: backup.metadata.annotations?.[CANCEL_REQUESTED],
      storedPosition: backup.status?.queuePosition ?? 0,
      position: place.position,
      // The cache may lag behind; the table of jobs never does.
      mayStart: place.mayStart && this.#jobs.size < this.#settings.concurrentBackups,
    };
  }

  async #start(backup: Backup, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, clock, discovery, logger, namespace } = this.#deps;
    const movers = await loadMoverRegistry(client, namespace, signal);
    const locations = await allOf(client.listAll<BackupStorageLocation>(backupStorageLocations, { namespace, signal }));
    const snapshotLocations = await allOf(client.listAll<VolumeSnapshotLocation>(volumeSnapshotLocations, { namespace, signal }));
    const clusterNamespaces = await loadNamespaces(client, signal);
    const prepared = prepareBackup(backup, {
      nowMs: clock.nowMs(),
      settings: this.#settings,
      locations,
      snapshotLocations,
      policyConfigMap: await this.#policyConfigMap(backup, signal),
      excludedNamespaces: clusterNamespaces.filter(isExcluded).map(({ metadata }) => metadata.name ?? ""),
      serverVersion: await discovery.serverVersion(signal),
      movers,
      claims: await claimsNamed(client, backup, backup.spec.snapshotMoveData ?? this.#settings.defaultSnapshotMoveData, signal),
    });
    const unchecked = locations.some(({ metadata, status }) => metadata.name === prepared.backup.spec.storageLocation && status?.phase === undefined);
    if (unchecked && steadyAgeMs(clock, `wait of Backup ${backup.metadata.uid}`) < LOCATION_GRACE_MS) {
      logger.info("Waiting for the backup's storage location to be checked", { backup: backup.metadata.name, location: prepared.backup.spec.storageLocation });
      return { requeueAfterMs: LOCATION_RECHECK_MS };
    }
    if (prepared.location === undefined) {
      const status: BackupStatus = { ...prepared.backup.status, phase: "FailedValidation", validationErrors: [...prepared.faults] };
      await client.replace<Backup>(backups, { ...prepared.backup, status }, { signal });
      return {};
    }
    const { location, policies } = prepared;
    // The compare-and-swap: whoever writes InProgress runs the backup.
    const started = await client.replace<Backup>(backups, { ...prepared.backup, status: { ...prepared.backup.status, phase: "InProgress" } }, { signal });
    this.#jobs.start(
      started.metadata.name ?? "",
      started.metadata.uid ?? "",
      (jobSignal) => this.#run(started, { location, policies, movers, clusterNamespaces }, jobSignal),
      (error) => logger.error("A backup's job ended by a defect", { backup: `${namespace}/${started.metadata.name}`, ...errorFields(error) }),
    );
    return {};
  }

  async #policyConfigMap({ spec }: Backup, signal: AbortSignal): Promise<ConfigMap | undefined> {
    const name = spec.resourcePolicy?.name ?? "";
    return name === "" ? undefined : this.#deps.client.find(configMaps, { namespace: this.#deps.namespace, name }, signal);
  }

  async #run(backup: Backup, found: Pick<RunBackupOptions, "location" | "policies" | "movers" | "clusterNamespaces">, signal: AbortSignal): Promise<void> {
    const { client, discovery, clock, random, logger, namespace, stores, newSpool, metrics } = this.#deps;
    const { itemBlockWorkers: blockWorkers, fsBackupTimeoutMs } = this.#settings;
    try {
      const status = await runBackup({
        client,
        discovery,
        clock,
        logger,
        namespace,
        stores,
        backup,
        ...found,
        newSpool,
        blockWorkers,
        fsBackupTimeoutMs,
        random,
        metrics,
        plugins: this.#deps.plugins ?? NO_ITEM_PLUGINS,
        resticEnvironment: this.#deps.resticEnvironment,
        signal,
      });
      await this.#record(backup, () => status, signal);
    } catch (error) {
      // A server that is shutting down leaves the phase: the next one finds a backup without a job. A Backup that was deleted has none to leave.
      if (isAbort(error, signal) || (hasCode(error, "KUBE_NOT_FOUND") && (await client.find(backups, keyOf(backup), signal)) === undefined)) return;
      logger.error("Backup failed", { backup: `${namespace}/${backup.metadata.name}`, ...errorFields(error) });
      const reason = `${messageOf(error)}${isDrayError(error) && error.hint !== undefined ? `. ${error.hint}` : ""}`;
      // When this does not succeed either, the reconcile that follows each job does it.
      this.#failures.set(backup.metadata.uid ?? "", reason);
      await this.#cleanUp(backup, `its backup failed: ${reason}`, signal);
      await this.#record(backup, (current) => this.#failed(current, reason), signal);
      this.#failures.delete(backup.metadata.uid ?? "");
    }
  }

  /** Writes the end of the job over what is there now. A write whose answer was lost is made again, and then another controller may have gone on from it. */
  #record(backup: Backup, statusOf: (current: BackupStatus | undefined) => BackupStatus, signal: AbortSignal): Promise<void> {
    const { client, clock, random } = this.#deps;
    const change = (current: Backup): Backup | undefined =>
      current.metadata.uid === backup.metadata.uid && current.status?.phase === "InProgress" ? { ...current, status: statusOf(current.status) } : undefined;
    return recordStatus<Backup>(backups, keyOf(backup), change, { client, clock, random, signal });
  }

  #failed(status: BackupStatus | undefined, failureReason: string): BackupStatus {
    return { ...status, phase: "Failed", failureReason, completionTimestamp: formatTime(this.#deps.clock.nowMs()) };
  }

  #replaceStatus(backup: Backup, status: BackupStatus, signal: AbortSignal): Promise<Backup> {
    return this.#deps.client.replace<Backup>(backups, { ...backup, status }, { signal });
  }

  /** After a failure: movers are told to stop, and snapshots that no DataUpload has taken over are removed. */
  async #cleanUp(backup: Backup, why: string, signal: AbortSignal): Promise<void> {
    const { client, clock, random, namespace, logger } = this.#deps;
    for await (const upload of client.listAll<DataUpload>(dataUploads, { namespace, labelSelector: `${LABELS.backupUid}=${backup.metadata.uid}`, signal })) {
      const phase = upload.status?.phase;
      if (phase === "Completed" || phase === "Failed" || phase === "Canceled" || upload.spec.cancel === true) continue;
      await client.patch<DataUpload>(dataUploads, keyOf(upload), "merge", { spec: { cancel: true }, status: { message: why } }, { signal });
    }
    await cancelAllMoves({ client, namespace, signal }, dataMoverBackups, `${LABELS.backupUid}=${backup.metadata.uid}`);
    await cancelPodVolumeBackups(client, backup, why, signal);
    await cancelAllVolumeSnapshotBackups(client, backup, signal);
    try {
      await removeOrphanSnapshots({ client, clock, random, backup, signal });
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      logger.warn("Snapshots of a failed backup may be left behind", { backup: backup.metadata.name, ...errorFields(error) });
    }
  }
}

function isExcluded({ metadata }: Namespace): boolean {
  return metadata.labels?.[LABELS.excludeFromBackup] === "true";
}
