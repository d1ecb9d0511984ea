/** Reconciles Restores: observes, decides (restore.ts), applies. The restore itself runs as a job beside the workers. */
import {
  type Backup,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DataDownload,
  DRAYAGE_ANNOTATIONS,
  dataDownloads,
  dataMoverRestores,
  FINALIZERS,
  LABELS,
  NO_ITEM_PLUGINS,
  type Restore,
  type RestoreStatus,
  restores,
} from "@drayage/api";
import { errorFields, formatTime, hasCode, isAbort, isDrayError, messageOf } from "@drayage/base";
import {
  type Controller,
  hasFinalizer,
  type Informer,
  isDeleting,
  keyOf,
  type ObjectKey,
  type ReconcileResult,
  source,
  startController,
  startInformer,
  withFinalizer,
  withoutFinalizer,
} from "@drayage/kube";
import { resumesOf } from "../actions/restore-action.ts";
import type { BackupControllerDeps, RunningController } from "../backup/backup-controller.ts";
import { JobTable } from "../jobs.ts";
import { cancelAllMoves } from "../mover-moves/moves-of.ts";
import { recordStatus } from "../record-status.ts";
import type { ModifierRule } from "../resource-modifiers/resource-modifiers.ts";
import { cancelVolumeSnapshotRestores } from "../restore-operations/restore-movements.ts";
import { defaultServerSettings, type ServerSettings } from "../server-settings.ts";
import type { VolSyncEraSettings } from "../volsync-era/settings.ts";
import { type PreparedRestore, prepareRestore } from "./prepare-restore.ts";
import { decideRestore, type RestoreDecision, restorePhaseOf } from "./restore.ts";
import { loadRestoreFacts } from "./restore-facts.ts";
import { deleteDataUploadResults } from "./restore-items.ts";
import { runRestore } from "./run-restore.ts";
import { cancelPodVolumeRestores } from "./wait-for-pod-volumes.ts";

export interface RestoreControllerDeps extends Omit<BackupControllerDeps, "movers" | "newSpool" | "resticEnvironment"> {
  /** Of the init container that holds a restored pod until its volumes are filled: the image of this program. */
  readonly helperImage: string;
  /** Volumes of OADP 1.1 and 1.2 come back by VolSync; we fill them when left out. */
  readonly volSyncEra?: VolSyncEraSettings | undefined;
}

/** Two restores at once might want the same objects. */
const CONCURRENT_RESTORES = 1;
const WAIT_FOR_SLOT_MS = 1_000;

/** Starts the controller of Restores, from New to the end of the restore proper, and of what is left of them in the bucket. */
export function startRestoreController(deps: RestoreControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const informer = startInformer<Restore>(restores, { client, clock, random, logger, namespace });
  const waiting = (): ObjectKey[] =>
    informer
      .list(namespace)
      .filter((other) => restorePhaseOf(other) === "New")
      .map(keyOf);
  const jobs = new JobTable((name) => {
    for (const key of [{ namespace, name }, ...waiting()]) controller.enqueue(key);
  });
  const reconciler = new RestoreReconciler(deps, jobs, informer);
  const controller: Controller = startController({
    name: "restore",
    clock,
    random,
    logger,
    sources: [
      // When one ends, the next may start.
      source(informer, { toKeys: (restore) => [keyOf(restore), ...waiting()] }),
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

class RestoreReconciler {
  readonly #deps: RestoreControllerDeps;
  readonly #settings: ServerSettings;
  readonly #jobs: JobTable;
  readonly #cache: Pick<Informer<Restore>, "get">;
  /** Why jobs of this process failed whose end could not be written down, by UID. */
  readonly #failures = new Map<string, string>();

  constructor(deps: RestoreControllerDeps, jobs: JobTable, cache: Pick<Informer<Restore>, "get">) {
    this.#deps = deps;
    this.#settings = deps.settings ?? defaultServerSettings;
    this.#jobs = jobs;
    this.#cache = cache;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const { client, logger } = this.#deps;
    const cached = this.#cache.get(key);
    // What is not in the cache yet comes with an event of its own. So neither what has ended, nor what runs or waits is asked for one by one.
    if (cached !== undefined && !isDeleting(cached) && !this.#jobs.isBusyWithAnother(key.name, cached.metadata.uid ?? "")) {
      const first = this.#decide(cached).do;
      if (first === "nothing") return {};
      if (first === "wait") return this.#wait(key);
    }
    const restore = await client.find(restores, key, signal);
    const goingOn = restore !== undefined && !isDeleting(restore);
    await this.#jobs.cancelOthers(key.name, goingOn ? restore.metadata.uid : undefined, "The Restore was deleted");
    if (restore === undefined) return {};
    const decision = this.#decide(restore);
    const failure = decision.do === "resume" ? this.#failures.get(restore.metadata.uid ?? "") : undefined;
    if (failure !== undefined) {
      await this.#fail(restore, failure, signal);
      return {};
    }
    switch (decision.do) {
      case "nothing":
        return {};
      case "wait":
        return this.#wait(key);
      case "addFinalizer":
        await client.replace<Restore>(restores, withFinalizer(restore, FINALIZERS.restoreFiles), { signal });
        return {};
      case "removeFiles":
        await this.#removeFiles(restore, signal);
        await client.replace<Restore>(restores, withoutFinalizer(restore, FINALIZERS.restoreFiles), { signal });
        return {};
      case "start":
        await this.#start(restore, signal);
        return {};
      case "resume":
        await this.#resume(restore, signal);
        return {};
      case "fail":
        logger.warn("Failing a restore that was lost with its process once more", { restore: key.name });
        await this.#fail(restore, decision.reason, signal);
        return {};
    }
  }

  async #fail(restore: Restore, reason: string, signal: AbortSignal): Promise<void> {
    await this.#cleanUp(restore, reason, signal);
    await this.#deps.client.replace<Restore>(restores, { ...restore, status: this.#failed(restore.status, reason) }, { signal });
    this.#failures.delete(restore.metadata.uid ?? "");
  }

  async #prepare(restore: Restore, signal: AbortSignal): Promise<PreparedRestore> {
    const { client, clock, namespace } = this.#deps;
    return prepareRestore(restore, await loadRestoreFacts(restore, { client, namespace, settings: this.#settings, nowMs: clock.nowMs(), signal }));
  }

  #decide(restore: Restore): RestoreDecision {
    return decideRestore({
      phase: restorePhaseOf(restore),
      deleting: isDeleting(restore),
      hasFinalizer: hasFinalizer(restore, FINALIZERS.restoreFiles),
      running: this.#jobs.has(restore.metadata.name ?? "", restore.metadata.uid ?? ""),
      slotFree: this.#jobs.size < CONCURRENT_RESTORES,
      resumes: resumesOf(restore),
    });
  }

  #wait(key: ObjectKey): ReconcileResult {
    this.#deps.logger.debug("A restore waits for the one that runs", { restore: key.name });
    return { requeueAfterMs: WAIT_FOR_SLOT_MS };
  }

  async #start(restore: Restore, signal: AbortSignal): Promise<void> {
    const { client } = this.#deps;
    const prepared = await this.#prepare(restore, signal);
    const { source: from } = prepared;
    if (from === undefined) {
      // The start of what never started is of no use; everything else is shown.
      await client.replace<Restore>(
        restores,
        { ...prepared.restore, status: { phase: "FailedValidation", validationErrors: [...prepared.faults] } },
        { signal },
      );
      return;
    }
    const started = await client.replace<Restore>(restores, { ...prepared.restore, status: { ...prepared.restore.status, phase: "InProgress" } }, { signal });
    this.#startJob(started, from, prepared.modifiers);
  }

  /** Goes on with a restore that an earlier process left. That this was tried is stored first, so that tries are counted. */
  async #resume(restore: Restore, signal: AbortSignal): Promise<void> {
    const { client, logger, namespace } = this.#deps;
    const prepared = await this.#prepare(restore, signal);
    if (prepared.source === undefined) {
      const reason = `the server was restarted while the restore was InProgress, and cannot go on: ${prepared.faults.join("; ")}`;
      await this.#fail(restore, reason, signal);
      return;
    }
    logger.info("Going on with a restore that was left InProgress", { restore: `${namespace}/${restore.metadata.name}`, resumes: resumesOf(restore) + 1 });
    const annotations = { ...restore.metadata.annotations, [DRAYAGE_ANNOTATIONS.resumed]: String(resumesOf(restore) + 1) };
    const resumed = await client.replace<Restore>(restores, { ...restore, metadata: { ...restore.metadata, annotations } }, { signal });
    this.#startJob(resumed, prepared.source, prepared.modifiers);
  }

  #startJob(restore: Restore, from: NonNullable<PreparedRestore["source"]>, modifiers: readonly ModifierRule[]): void {
    const { logger, namespace } = this.#deps;
    this.#jobs.start(
      restore.metadata.name ?? "",
      restore.metadata.uid ?? "",
      (signal) => this.#run(restore, from, modifiers, signal),
      (error) => logger.error("A restore's job ended by a defect", { restore: `${namespace}/${restore.metadata.name}`, ...errorFields(error) }),
    );
  }

  async #run(
    restore: Restore,
    { backup, location }: NonNullable<PreparedRestore["source"]>,
    modifiers: readonly ModifierRule[],
    signal: AbortSignal,
  ): Promise<void> {
    const { client, discovery, clock, random, logger, namespace, stores, helperImage } = this.#deps;
    try {
      const status = await runRestore({
        client,
        helperImage,
        discovery,
        clock,
        random,
        logger,
        namespace,
        stores,
        settings: this.#settings,
        volSyncEra: this.#deps.volSyncEra,
        restore,
        backup,
        location,
        modifiers,
        plugins: this.#deps.plugins ?? NO_ITEM_PLUGINS,
        signal,
      });
      await this.#record(restore, () => status, signal);
    } catch (error) {
      // A server that is shutting down leaves the phase: the next one finds a restore without a job. A Restore that was deleted has none to leave.
      if (isAbort(error, signal) || (hasCode(error, "KUBE_NOT_FOUND") && (await client.find(restores, keyOf(restore), signal)) === undefined)) return;
      logger.error("Restore failed", { restore: `${namespace}/${restore.metadata.name}`, ...errorFields(error) });
      const reason = `${messageOf(error)}${isDrayError(error) && error.hint !== undefined ? `. ${error.hint}` : ""}`;
      // When this does not succeed either, the reconcile that follows each job does it.
      this.#failures.set(restore.metadata.uid ?? "", reason);
      await this.#cleanUp(restore, `its restore failed: ${reason}`, signal);
      await this.#record(restore, (current) => this.#failed(current, reason), signal);
      this.#failures.delete(restore.metadata.uid ?? "");
    }
  }

  /** Writes the end of the job over what is there now. A write whose answer was lost is made again, and then another controller may have gone on from it. */
  #record(restore: Restore, statusOf: (current: RestoreStatus | undefined) => RestoreStatus, signal: AbortSignal): Promise<void> {
    const { client, clock, random } = this.#deps;
    const change = (current: Restore): Restore | undefined =>
      current.metadata.uid === restore.metadata.uid && current.status?.phase === "InProgress" ? { ...current, status: statusOf(current.status) } : undefined;
    return recordStatus<Restore>(restores, keyOf(restore), change, { client, clock, random, signal });
  }

  #failed(status: RestoreStatus | undefined, failureReason: string): RestoreStatus {
    return { ...status, phase: "Failed", failureReason, completionTimestamp: formatTime(this.#deps.clock.nowMs()) };
  }

  /** After a failure: movers are told to stop, and what the parts of the restore had told each other is removed. */
  async #cleanUp(restore: Restore, why: string, signal: AbortSignal): Promise<void> {
    const { client, namespace } = this.#deps;
    for await (const download of client.listAll<DataDownload>(dataDownloads, {
      namespace,
      labelSelector: `${LABELS.restoreUid}=${restore.metadata.uid}`,
      signal,
    })) {
      const phase = download.status?.phase;
      if (phase === "Completed" || phase === "Failed" || phase === "Canceled" || download.spec.cancel === true) continue;
      await client.patch<DataDownload>(dataDownloads, keyOf(download), "merge", { spec: { cancel: true }, status: { message: why } }, { signal });
    }
    await cancelAllMoves({ client, namespace, signal }, dataMoverRestores, `${LABELS.restoreUid}=${restore.metadata.uid}`);
    await cancelPodVolumeRestores(client, restore, why, signal);
    await cancelVolumeSnapshotRestores(client, restore, signal);
    await deleteDataUploadResults(client, restore, signal);
  }

  /** Removes the restore's files. Where the location is gone, they are out of reach, and nobody will look for them. */
  async #removeFiles(restore: Restore, signal: AbortSignal): Promise<void> {
    const { client, namespace, stores, logger } = this.#deps;
    const backup = await client.find<Backup>(
      backups,
      { namespace, name: restore.spec.backupName === undefined || restore.spec.backupName === "" ? "-" : restore.spec.backupName },
      signal,
    );
    const location = await client.find<BackupStorageLocation>(backupStorageLocations, { namespace, name: backup?.spec.storageLocation ?? "-" }, signal);
    if (location === undefined || location.spec.accessMode === "ReadOnly") {
      logger.info("The files of a deleted restore stay where they are: its location is gone or read-only", { restore: restore.metadata.name });
      return;
    }
    try {
      await (await stores.open(location, signal)).deleteRestore(restore.metadata.name ?? "", signal);
    } catch (error) {
      // A bucket that is gone holds no files, and must not keep the Restore for ever.
      if (!hasCode(error, "BLOB_BUCKET_NOT_FOUND")) throw error;
      logger.warn("The files of a deleted restore are gone with their bucket", { restore: restore.metadata.name, ...errorFields(error) });
    }
  }
}
