export { type BackupControllerDeps, type RunningController, startBackupController } from "./backup/backup-controller.ts";
export { type BackupDeletionControllerDeps, startBackupDeletionController } from "./backup-deletion/backup-deletion-controller.ts";
export { type BackupLocationControllerDeps, startBackupLocationController } from "./backup-location/backup-location-controller.ts";
export { type BackupOperationsControllerDeps, startBackupOperationsController } from "./backup-operations/backup-operations-controller.ts";
export * from "./backup-repository/index.ts";
export { type BackupSyncControllerDeps, startBackupSyncController } from "./backup-sync/backup-sync-controller.ts";
export { type DataDownloadControllerDeps, startDataDownloadController } from "./data-download/data-download.ts";
export * from "./data-movement/index.ts";
export { type DataUploadControllerDeps, startDataUploadController } from "./data-upload/data-upload.ts";
export { type DownloadRequestControllerDeps, startDownloadRequestController } from "./download-request/download-request-controller.ts";
export { type DpaControllerDeps, startDpaController } from "./dpa/dpa-controller.ts";
export * from "./exposers/index.ts";
export { type GarbageCollectionControllerDeps, startGarbageCollectionController } from "./garbage-collection/garbage-collection-controller.ts";
export { type MovedSnapshotRecordsDeps, startMovedSnapshotRecordsController } from "./guest/moved-snapshot-records-controller.ts";
export * from "./metrics/index.ts";
export { loadMoverRegistry, MoverRegistry } from "./mover-choice/mover-registry.ts";
export { type MoverMovesControllerDeps, startMoverMovesController } from "./mover-moves/mover-moves-controller.ts";
export * from "./ports.ts";
export { type RepositoryMaintenanceControllerDeps, startRepositoryMaintenanceController } from "./repository-maintenance/maintenance-controller.ts";
export type { FetchEstimate } from "./restore/fetch-estimate.ts";
export type { RestoredItem } from "./restore/item-restore.ts";
export { type PlannedVolume, type PlanRestoreOptions, planRestore, type RestorePlan } from "./restore/plan-restore.ts";
export { type RestoreControllerDeps, startRestoreController } from "./restore/restore-controller.ts";
export { type RestoreOperationsControllerDeps, startRestoreOperationsController } from "./restore-operations/restore-operations-controller.ts";
export * from "./schedule/index.ts";
export { type ServerCaches, startServerCaches } from "./server-caches.ts";
export * from "./server-settings.ts";
export type { PluginInfo } from "./server-status/server-status.ts";
export { type ServerStatusControllerDeps, startServerStatusController } from "./server-status/server-status-controller.ts";
export { startVolSyncController, type VolSyncControllerDeps } from "./volsync/volsync-controller.ts";
export { defaultVolSyncEraSettings, type ResticEnvironment, type VolSyncEraSettings } from "./volsync-era/settings.ts";
export { isIntoSnapshot } from "./volsync-restore/observe.ts";
export { startVolSyncRestoreController, type VolSyncRestoreControllerDeps } from "./volsync-restore/volsync-restore-controller.ts";
export { startVolumeSnapshotBackupController, type VolumeSnapshotBackupControllerDeps } from "./volume-snapshot-backup/volume-snapshot-backup-controller.ts";
export {
  startVolumeSnapshotRestoreController,
  type VolumeSnapshotRestoreControllerDeps,
} from "./volume-snapshot-restore/volume-snapshot-restore-controller.ts";
