// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface BackupStorageLocationSpec {
  /** Whether backups may be written there. */
  accessMode?: "ReadOnly" | "ReadWrite";
  /** How often the bucket's backups are looked for; 0s turns it off. */
  backupSyncPeriod?: string | null;
  /** Settings of the provider, such as region and s3Url. */
  config?: Record<string, string>;
  /** The key of a Secret that holds credentials for the store. */
  credential?: {
    /** The key within it. */
    key: string;
    /** Name. */
    name?: string;
    /** Whether it may be missing. */
    optional?: boolean;
  };
  /** Whether backups without a location go here. */
  default?: boolean;
  /** The bucket. */
  objectStorage: {
    /** Name of the bucket. */
    bucket: string;
    /** PEM of a certificate authority to trust, in base64. */
    caCert?: string;
    /** The key of a Secret that holds the certificate authority. */
    caCertRef?: {
      /** The key within it. */
      key: string;
      /** Name. */
      name?: string;
      /** Whether it may be missing. */
      optional?: boolean;
    };
    /** A folder in the bucket. */
    prefix?: string;
  };
  /** Name of the provider. */
  provider: string;
  /** How often the location is tried; 0s turns it off. */
  validationFrequency?: string | null;
}

export interface BackupStorageLocationStatus {
  /** No longer used. */
  accessMode?: "ReadOnly" | "ReadWrite";
  /** No longer used. */
  lastSyncedRevision?: string;
  /** When the bucket was last looked through. */
  lastSyncedTime?: string | null;
  /** When the location was last tried. */
  lastValidationTime?: string | null;
  /** More about the state, for people. */
  message?: string;
  /** Where it is in its life. */
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
