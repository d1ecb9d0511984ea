export { type BackupRepositoryControllerDeps, startBackupRepositoryController } from "./backup-repository.ts";
export * from "./ensure-backup-repository.ts";
