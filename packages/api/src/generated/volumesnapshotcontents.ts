// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotContentSpec {
  deletionPolicy: "Delete" | "Retain";
  driver: string;
  source: {
    snapshotHandle?: string;
    volumeHandle?: string;
  };
  sourceVolumeMode?: string;
  volumeSnapshotClassName?: string;
  volumeSnapshotRef: {
    apiVersion?: string;
    fieldPath?: string;
    kind?: string;
    name?: string;
    namespace?: string;
    resourceVersion?: string;
    uid?: string;
  };
}

export interface VolumeSnapshotContentStatus {
  creationTime?: number;
  error?: {
    message?: string;
    time?: string;
  };
  readyToUse?: boolean;
  restoreSize?: number;
  snapshotHandle?: string;
  volumeGroupSnapshotHandle?: string;
}

export interface VolumeSnapshotContent {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeSnapshotContentSpec;
  status?: VolumeSnapshotContentStatus;
}

export const volumeSnapshotContents: KindDescriptor<VolumeSnapshotContent> = { group: "snapshot.storage.k8s.io", version: "v1", plural: "volumesnapshotcontents", kind: "VolumeSnapshotContent", namespaced: false };
