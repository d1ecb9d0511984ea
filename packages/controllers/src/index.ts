export * from "./backup-repository/index.ts";
export { type DataDownloadControllerDeps, startDataDownloadController } from "./data-download/data-download.ts";
export * from "./data-movement/index.ts";
export { type DataUploadControllerDeps, startDataUploadController } from "./data-upload/data-upload.ts";
export * from "./exposers/index.ts";
export * from "./ports.ts";
export { type BackupControllerDeps, type RunningController, startBackupController } from "./backup/backup-controller.ts";
export { type BackupOperationsControllerDeps, startBackupOperationsController } from "./backup-operations/backup-operations-controller.ts";
export * from "./server-settings.ts";
