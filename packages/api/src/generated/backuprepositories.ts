// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface BackupRepositorySpec {
  /** Name of the backup location. */
  backupStorageLocation: string;
  /** How often maintenance is due. */
  maintenanceFrequency: string;
  /** Settings of the repository. */
  repositoryConfig?: Record<string, string> | null;
  /** Format of the repository. */
  repositoryType?: "kopia" | "restic" | "";
  /** No longer used. */
  resticIdentifier?: string;
  /** The namespace whose volumes it holds; the last part of its folder. */
  volumeNamespace: string;
}

export interface BackupRepositoryStatus {
  /** When maintenance last succeeded. */
  lastMaintenanceTime?: string | null;
  /** More about the state, for people. */
  message?: string;
  /** Where it is in its life. */
  phase?: "New" | "Ready" | "NotReady";
  /** The last runs of maintenance. */
  recentMaintenance?: Array<{
    /** When it ended. */
    completeTimestamp?: string | null;
    /** More about the state, for people. */
    message?: string;
    /** How it ended. */
    result?: "Succeeded" | "Failed";
    /** When it began. */
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
