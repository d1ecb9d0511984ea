import {
  type Backup,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type PodVolumeBackup,
  podVolumeBackups,
  type Schedule,
  schedules,
} from "@drayage/api";
import { type Clock, errorFields, formatTime, hasCode, isAbort, type Logger, type RandomSource } from "@drayage/base";
import { type Controller, type KubeClient, keyOf, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { periodOf, specText } from "../backup-location/backup-location.ts";
import type { BackupStore, BackupStores } from "../ports.ts";
import { decide, importedBackup, importedPodVolumeBackup, observe, orphans, phaseToImport } from "./backup-sync.ts";

export interface BackupSyncControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
  /** For locations that name no period; 1 min when left out. */
  readonly syncPeriodMs?: number;
}

const PERIOD_MS = 60_000;

/** Keeps the Backups of the cluster in step with the buckets. */
export function startBackupSyncController(deps: BackupSyncControllerDeps): Controller {
  const { client, clock, logger } = deps;
  const defaultPeriodMs = deps.syncPeriodMs ?? PERIOD_MS;
  const informer = startInformer(backupStorageLocations, { client, clock, random: deps.random, logger, namespace: deps.namespace });
  // By name. Lost at a restart, which only makes the server look once more.
  const syncedSpecs = new Map<string, string>();

  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const location = await client.find(backupStorageLocations, key, signal);
    if (location === undefined) {
      syncedSpecs.delete(key.name);
      return {};
    }
    const decision = decide(observe(location, syncedSpecs.get(key.name) === specText(location), defaultPeriodMs, clock.nowMs()));
    if (decision.do === "nothing") return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
    await syncLocation(deps, location, signal);
    await client.patch(backupStorageLocations, key, "merge", { status: { lastSyncedTime: formatTime(clock.nowMs()) } }, { signal });
    syncedSpecs.set(key.name, specText(location));
    return { requeueAfterMs: periodOf(location.spec.backupSyncPeriod, defaultPeriodMs) };
  };

  const controller = startController({
    name: "backup-sync",
    sources: [
      source(informer, {
        when: (before, after) =>
          before === undefined || after === undefined || specText(before) !== specText(after) || before.status?.phase !== after.status?.phase,
      }),
    ],
    reconcile,
    clock,
    random: deps.random,
    logger,
  });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      informer.stop();
    },
  };
}

/** One pass. What is wrong with one backup is logged and does not keep the others; a bucket that cannot be listed is thrown. */
async function syncLocation(deps: BackupSyncControllerDeps, location: BackupStorageLocation, signal: AbortSignal): Promise<void> {
  const { client, namespace, logger } = deps;
  const store = await deps.stores.open(location, signal);
  const stored = await store.listBackups(signal);
  const cluster = await allOf(client.listAll(backups, { namespace, signal }));
  const known = new Set(cluster.map(({ metadata }) => metadata.name ?? ""));
  const live = stored.every((name) => known.has(name)) ? [] : await allOf(client.listAll(schedules, { namespace, signal }));
  for (const name of stored) {
    if (!known.has(name))
      await tryEach(deps, "Backup cannot be brought into the cluster", name, signal, () => importBackup(deps, store, location, name, live, signal));
  }
  for (const backup of orphans(cluster, location.metadata.name ?? "", new Set(stored))) {
    const name = backup.metadata.name ?? "";
    await tryEach(deps, "Backup that is no longer in the bucket cannot be deleted", name, signal, async () => {
      // It may have ended and been stored between the two listings.
      if (await store.backupExists(name, signal)) return;
      logger.info("Backup is no longer in the bucket and is deleted from the cluster", { backup: name, location: location.metadata.name });
      const { uid } = backup.metadata;
      await client.delete(backups, keyOf(backup), { signal, ...(uid === undefined ? {} : { preconditions: { uid } }) });
    });
  }
}

async function importBackup(
  deps: BackupSyncControllerDeps,
  store: BackupStore,
  location: BackupStorageLocation,
  name: string,
  live: readonly Schedule[],
  signal: AbortSignal,
): Promise<void> {
  const { client, logger } = deps;
  const stored = await store.getBackup(name, signal);
  const phase = phaseToImport(stored, deps.clock.nowMs());
  if (phase === undefined) {
    logger.debug("Backup in the bucket has not ended and is left alone", { backup: name, phase: stored.status?.phase });
    return;
  }
  const created = await createOnce(() => client.create(backups, importedBackup(stored, phase, location, live), { signal }));
  if (created === undefined) return;
  logger.info("Backup was brought into the cluster", { backup: name, location: location.metadata.name, phase });
  await importPodVolumeBackups(deps, store, location, created, signal);
}

async function importPodVolumeBackups(
  { client, logger }: BackupSyncControllerDeps,
  store: BackupStore,
  location: BackupStorageLocation,
  backup: Backup,
  signal: AbortSignal,
): Promise<void> {
  for (const stored of (await store.getPodVolumeBackups(backup.metadata.name ?? "", signal)) as unknown as PodVolumeBackup[]) {
    try {
      await createOnce(() => client.create(podVolumeBackups, importedPodVolumeBackup(stored, backup, location), { signal }));
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      logger.warn("PodVolumeBackup cannot be brought into the cluster", { name: stored.metadata.name, ...errorFields(error) });
    }
  }
}

/** What was created, or undefined when it is there already. */
async function createOnce<T>(create: () => Promise<T>): Promise<T | undefined> {
  try {
    return await create();
  } catch (error) {
    if (hasCode(error, "KUBE_ALREADY_EXISTS")) return undefined;
    throw error;
  }
}

async function tryEach({ logger }: BackupSyncControllerDeps, message: string, backup: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    logger.warn(message, { backup, ...errorFields(error) });
  }
}
