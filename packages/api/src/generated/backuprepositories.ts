// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface BackupRepositorySpec {
  backupStorageLocation: string;
  maintenanceFrequency: string;
  repositoryConfig?: Record<string, string> | null;
  repositoryType?: "kopia" | "restic" | "";
  resticIdentifier?: string;
  volumeNamespace: string;
}

export interface BackupRepositoryStatus {
  lastMaintenanceTime?: string | null;
  message?: string;
  phase?: "New" | "Ready" | "NotReady";
  recentMaintenance?: Array<{
    completeTimestamp?: string | null;
    message?: string;
    result?: "Succeeded" | "Failed";
    startTimestamp?: string | null;
  }>;
}

export interface BackupRepository {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: BackupRepositorySpec;
  status?: BackupRepositoryStatus;
}

export const backupRepositories: KindDescriptor<BackupRepository> = { group: "velero.io", version: "v1", plural: "backuprepositories", kind: "BackupRepository", namespaced: true };
