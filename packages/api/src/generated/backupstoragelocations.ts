// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface BackupStorageLocationSpec {
  accessMode?: "ReadOnly" | "ReadWrite";
  backupSyncPeriod?: string | null;
  config?: Record<string, string>;
  credential?: {
    key: string;
    name?: string;
    optional?: boolean;
  };
  default?: boolean;
  objectStorage: {
    bucket: string;
    caCert?: string;
    caCertRef?: {
      key: string;
      name?: string;
      optional?: boolean;
    };
    prefix?: string;
  };
  provider: string;
  validationFrequency?: string | null;
}

export interface BackupStorageLocationStatus {
  accessMode?: "ReadOnly" | "ReadWrite";
  lastSyncedRevision?: string;
  lastSyncedTime?: string | null;
  lastValidationTime?: string | null;
  message?: string;
  phase?: "Available" | "Unavailable";
}

export interface BackupStorageLocation {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: BackupStorageLocationSpec;
  status?: BackupStorageLocationStatus;
}

export const backupStorageLocations: KindDescriptor<BackupStorageLocation> = { group: "velero.io", version: "v1", plural: "backupstoragelocations", kind: "BackupStorageLocation", namespaced: true };
