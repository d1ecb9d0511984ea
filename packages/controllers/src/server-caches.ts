/** What the server keeps in memory of its own kinds, for whoever only looks: one list and one watch of each. */
import {
  type Backup,
  type BackupRepository,
  type BackupStorageLocation,
  backupRepositories,
  backupStorageLocations,
  backups,
  type DeleteBackupRequest,
  deleteBackupRequests,
  type Restore,
  restores,
  type Schedule,
  schedules,
} from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type Informer, type KubeClient, startInformer } from "@drayage/kube";

export interface ServerCaches {
  readonly backups: Informer<Backup>;
  readonly restores: Informer<Restore>;
  readonly schedules: Informer<Schedule>;
  readonly deletions: Informer<DeleteBackupRequest>;
  readonly locations: Informer<BackupStorageLocation>;
  readonly repositories: Informer<BackupRepository>;
  stop(): void;
}

export interface ServerCachesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
}

export function startServerCaches(options: ServerCachesOptions): ServerCaches {
  const caches = {
    backups: startInformer(backups, options),
    restores: startInformer(restores, options),
    schedules: startInformer(schedules, options),
    deletions: startInformer(deleteBackupRequests, options),
    locations: startInformer(backupStorageLocations, options),
    repositories: startInformer(backupRepositories, options),
  };
  return {
    ...caches,
    stop: () => {
      for (const cache of Object.values(caches)) cache.stop();
    },
  };
}
