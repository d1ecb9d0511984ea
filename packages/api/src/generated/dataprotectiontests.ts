// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataProtectionTestSpec {
  /** The backup location that is tried. */
  backupLocationName?: string;
  /** In the place of a name: a location as Velero has it. */
  backupLocationSpec?: {
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
  };
  /** Snapshots that are tried, all at once. */
  csiVolumeSnapshotTestConfigs?: Array<{
    /** The VolumeSnapshotClass. */
    snapshotClassName?: string;
    /** How long it may take to be ready; 2m when left out. */
    timeout?: string;
    /** The claim. */
    volumeSnapshotSource?: {
      /** Its name. */
      persistentVolumeClaimName?: string;
      /** Its namespace. */
      persistentVolumeClaimNamespace?: string;
    };
  }>;
  /** Whether one that has ended is run again; taken back when that is done. */
  forceRun?: boolean;
  /** Whether the store's certificate is left unchecked. It is checked as the location says, whatever stands here. */
  skipTLSVerify?: boolean;
  /** A file that is uploaded. */
  uploadSpeedTestConfig?: {
    /** Its size, such as 100MB; 200MiB at most. */
    fileSize?: string;
    /** How long the upload may take; 30s when left out. */
    timeout?: string;
  };
}

export interface DataProtectionTestStatus {
  /** Of the bucket. */
  bucketMetadata?: {
    /** How it encrypts: AES256, aws:kms or None. */
    encryptionAlgorithm?: string;
    /** Why it could not be asked. */
    errorMessage?: string;
    /** Whether it keeps old versions: Enabled, Suspended or None. */
    versioningStatus?: string;
  };
  /** Why nothing could be tried. */
  errorMessage?: string;
  /** When it was run last. */
  lastTested?: string;
  /** InProgress, Complete or Failed. */
  phase?: string;
  /** Who made the store, as far as it says. */
  s3Vendor?: string;
  /** How many snapshots became ready. */
  snapshotSummary?: string;
  /** Each snapshot. */
  snapshotTests?: Array<{
    /** Why it failed. */
    errorMessage?: string;
    /** The claim. */
    persistentVolumeClaimName?: string;
    /** Its namespace. */
    persistentVolumeClaimNamespace?: string;
    /** How long it took to be ready. */
    readyDuration?: string;
    /** Ready or Failed. */
    status?: string;
  }>;
  /** The upload. */
  uploadTest?: {
    /** How long it took. */
    duration?: string;
    /** Why it failed. */
    errorMessage?: string;
    /** Megabits a second. */
    speedMbps?: number;
    /** Whether the file arrived. */
    success?: boolean;
  };
}

export interface DataProtectionTest {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataProtectionTestSpec;
  status?: DataProtectionTestStatus;
}

export const dataProtectionTests: KindDescriptor<DataProtectionTest> = { group: "oadp.openshift.io", version: "v1alpha1", plural: "dataprotectiontests", kind: "DataProtectionTest", namespaced: true };
