/** The controllers that the leading server of a simulation runs: what apps/dray's server runs, over the simulated bucket and repository. */
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type Discovery, type KubeClient, shareInformers } from "@drayage/kube";
import { startBackupController } from "../../backup/backup-controller.ts";
import { startBackupDeletionController } from "../../backup-deletion/backup-deletion-controller.ts";
import { startBackupLocationController } from "../../backup-location/backup-location-controller.ts";
import { startBackupOperationsController } from "../../backup-operations/backup-operations-controller.ts";
import { startBackupRepositoryController } from "../../backup-repository/index.ts";
import { startBackupSyncController } from "../../backup-sync/backup-sync-controller.ts";
import { startGarbageCollectionController } from "../../garbage-collection/garbage-collection-controller.ts";
import { startMoverAcceptanceController } from "../../mover-acceptance/mover-acceptance-controller.ts";
import { startMoverMovesController } from "../../mover-moves/mover-moves-controller.ts";
import type { RepositoryService } from "../../ports.ts";
import { startRepositoryMaintenanceController } from "../../repository-maintenance/maintenance-controller.ts";
import { startRestoreController } from "../../restore/restore-controller.ts";
import { startRestoreOperationsController } from "../../restore-operations/restore-operations-controller.ts";
import { startScheduleController } from "../../schedule/index.ts";
import { startServerCaches } from "../../server-caches.ts";
import { defaultServerSettings } from "../../server-settings.ts";
import { defaultVolSyncEraSettings } from "../../volsync-era/settings.ts";
import { isIntoSnapshot } from "../../volsync-restore/observe.ts";
import { startVolSyncRestoreController } from "../../volsync-restore/volsync-restore-controller.ts";
import { startVolumeSnapshotBackupController } from "../../volume-snapshot-backup/volume-snapshot-backup-controller.ts";
import { startVolumeSnapshotRestoreController } from "../../volume-snapshot-restore/volume-snapshot-restore-controller.ts";
import type { MemoryBackupStore } from "../memory-backup-store.ts";
import { createMemorySpool } from "../memory-spool.ts";
import type { Cast } from "./cast.ts";

export const IMAGE = "drayage/dray:test";
export const MOVER_ACCOUNT = "drayage-mover";
/** A pod whose volumes did not come back waits for ever; its restore waits this long. */
const FS_TIMEOUT_MS = 30 * 60_000;

export interface ServerControllersDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly discovery: Discovery;
  readonly store: MemoryBackupStore;
  readonly repositories: RepositoryService;
  readonly cast: Cast;
}

/** Runs them until the signal; resolves when all have stopped. */
export async function runServerControllers(deps: ServerControllersDeps, signal: AbortSignal): Promise<void> {
  const { client, clock, random, logger, namespace, discovery, store: stores, repositories, cast } = deps;
  const base = { client, clock, random, logger, namespace };
  const endSharing = shareInformers(client);
  const caches = startServerCaches(base);
  const volSyncEra = cast === "volsync" ? defaultVolSyncEraSettings : undefined;
  const environment = async (): Promise<Record<string, string>> => ({ AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "secret" });
  const settings = { ...base, discovery, stores, newSpool: createMemorySpool, settings: { ...defaultServerSettings, fsBackupTimeoutMs: FS_TIMEOUT_MS } };
  const running = [
    startBackupLocationController({ ...base, stores }),
    startBackupSyncController({ ...base, stores }),
    startBackupRepositoryController({ ...base, repositories }),
    startRepositoryMaintenanceController({ ...base, image: IMAGE, serviceAccount: MOVER_ACCOUNT }),
    startBackupController({ ...settings, ...(volSyncEra === undefined ? {} : { resticEnvironment: environment }) }),
    startBackupOperationsController({ ...settings }),
    startRestoreController({ ...settings, helperImage: IMAGE, volSyncEra }),
    startRestoreOperationsController(settings),
    startBackupDeletionController({ ...base, stores, repositories, resourceTimeoutMs: 600_000 }),
    startScheduleController({ ...base, zone: "UTC" }),
    startGarbageCollectionController({ ...base, periodMs: 3_600_000 }),
    ...(cast === "others"
      ? [startMoverAcceptanceController(base), startMoverMovesController({ ...base, discovery, pod: { image: IMAGE, serviceAccount: MOVER_ACCOUNT } })]
      : []),
    ...(volSyncEra === undefined
      ? []
      : [
          startVolumeSnapshotRestoreController({ ...base, except: isIntoSnapshot }),
          startVolSyncRestoreController({ ...base, settings: volSyncEra, environment }),
          startVolumeSnapshotBackupController({ ...base, settings: volSyncEra, environment, holder: { image: IMAGE, command: ["/velero", "hold-volume"] } }),
        ]),
  ];
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  for (const controller of running.reverse()) await controller.stop();
  caches.stop();
  endSharing();
}
