// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeGroupSnapshotSpec {
  source: {
    selector?: {
      matchExpressions?: Array<{
        key: string;
        operator: string;
        values?: string[];
      }>;
      matchLabels?: Record<string, string>;
    };
    volumeGroupSnapshotContentName?: string;
  };
  volumeGroupSnapshotClassName?: string;
}

export interface VolumeGroupSnapshotStatus {
  boundVolumeGroupSnapshotContentName?: string;
  creationTime?: string;
  error?: {
    message?: string;
    time?: string;
  };
  readyToUse?: boolean;
}

export interface VolumeGroupSnapshot {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeGroupSnapshotSpec;
  status?: VolumeGroupSnapshotStatus;
}

export const volumeGroupSnapshots: KindDescriptor<VolumeGroupSnapshot> = { group: "groupsnapshot.storage.k8s.io", version: "v1beta2", plural: "volumegroupsnapshots", kind: "VolumeGroupSnapshot", namespaced: true };
