/** The mover that is built in: filesystem and block volumes, in Kopia's repository format as Velero uses it. */
export { type BuiltInMoverOptions, createBuiltInMover, DATA_MOVER_REQUESTER, type OpenTargetRepository } from "./built-in-mover.ts";
export { type DataMoverBackupOptions, runDataMoverBackup } from "./data-mover-backup.ts";
export { type DataMoverRestoreOptions, runDataMoverRestore } from "./data-mover-restore.ts";
export { POD_VOLUME_REQUESTER, type PodVolumeBackupOptions, runPodVolumeBackup } from "./pod-volume-backup.ts";
export { DONE_FOLDER, type PodVolumeRestoreOptions, runPodVolumeRestore } from "./pod-volume-restore.ts";
export { loadClusterAccess, openRepositoryStorage, type RepositoryAccess, readMountedAccess } from "./repository-access.ts";
export { type RepositoryMaintenanceOptions, runRepositoryMaintenance } from "./repository-maintenance.ts";
export type { DataMoverOptions } from "./run-data-mover.ts";
export { openInStore } from "./store-repository.ts";
