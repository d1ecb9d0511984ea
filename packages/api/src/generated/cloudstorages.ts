// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface CloudStorageSpec {
  /** The key of a Secret with the credentials that make the bucket. */
  creationSecret: {
    /** The key within it. */
    key: string;
    /** Name. */
    name?: string;
    /** Whether it may be missing. */
    optional?: boolean;
  };
  /** Whether the shared configuration file is read for credentials. */
  enableSharedConfig?: boolean;
  /** Name of the bucket. */
  name: string;
  /** Name of the provider. */
  provider: "aws";
  /** Its region; us-east-1 when left out. */
  region?: string;
  /** Tags of the bucket. */
  tags?: Record<string, string>;
}

export interface CloudStorageStatus {
  /** When the bucket was looked at last. */
  lastSyncTimestamp?: string;
  /** Name of the bucket. */
  name?: string;
}

export interface CloudStorage {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: CloudStorageSpec;
  status?: CloudStorageStatus;
}

export const cloudStorages: KindDescriptor<CloudStorage> = { group: "oadp.openshift.io", version: "v1alpha1", plural: "cloudstorages", kind: "CloudStorage", namespaced: true };
