// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotLocationSpec {
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
  /** Name of the provider. */
  provider: string;
}

export interface VolumeSnapshotLocationStatus {
  /** Where it is in its life. */
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
