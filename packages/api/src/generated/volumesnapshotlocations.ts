// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotLocationSpec {
  config?: Record<string, string>;
  credential?: {
    key: string;
    name?: string;
    optional?: boolean;
  };
  provider: string;
}

export interface VolumeSnapshotLocationStatus {
  phase?: "Available" | "Unavailable";
}

export interface VolumeSnapshotLocation {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeSnapshotLocationSpec;
  status?: VolumeSnapshotLocationStatus;
}

export const volumeSnapshotLocations: KindDescriptor<VolumeSnapshotLocation> = { group: "velero.io", version: "v1", plural: "volumesnapshotlocations", kind: "VolumeSnapshotLocation", namespaced: true };
