// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotSpec {
  source: {
    persistentVolumeClaimName?: string;
    volumeSnapshotContentName?: string;
  };
  volumeSnapshotClassName?: string;
}

export interface VolumeSnapshotStatus {
  boundVolumeSnapshotContentName?: string;
  creationTime?: string;
  error?: {
    message?: string;
    time?: string;
  };
  readyToUse?: boolean;
  restoreSize?: number | string;
  volumeGroupSnapshotName?: string;
}

export interface VolumeSnapshot {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeSnapshotSpec;
  status?: VolumeSnapshotStatus;
}

export const volumeSnapshots: KindDescriptor<VolumeSnapshot> = { group: "snapshot.storage.k8s.io", version: "v1", plural: "volumesnapshots", kind: "VolumeSnapshot", namespaced: true };
