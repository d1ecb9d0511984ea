// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface SnapshotMetadataServiceSpec {
  /** Host and port. */
  address: string;
  /** Which tokens it takes: those that were made for this audience. */
  audience: string;
  /** PEM of the authority behind its certificate. */
  caCert: string;
}

export interface SnapshotMetadataService {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: SnapshotMetadataServiceSpec;
}

export const snapshotMetadataServices: KindDescriptor<SnapshotMetadataService> = { group: "cbt.storage.k8s.io", version: "v1beta1", plural: "snapshotmetadataservices", kind: "SnapshotMetadataService", namespaced: false };
