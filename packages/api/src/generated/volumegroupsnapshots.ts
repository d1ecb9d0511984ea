// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeGroupSnapshotSpec {
  /** What the snapshot is of. */
  source: {
    /** Which claims. */
    selector?: {
      /** Conditions on labels; all must hold. */
      matchExpressions?: Array<{
        /** The key within it. */
        key: string;
        /** In, NotIn, Exists or DoesNotExist. */
        operator: string;
        /** The values meant. */
        values?: string[];
      }>;
      /** Labels with these values; all must be there. */
      matchLabels?: Record<string, string>;
    };
    /** Name of a VolumeGroupSnapshotContent that exists. */
    volumeGroupSnapshotContentName?: string;
  };
  /** Name of the VolumeGroupSnapshotClass. */
  volumeGroupSnapshotClassName?: string;
}

export interface VolumeGroupSnapshotStatus {
  /** Name of the VolumeGroupSnapshotContent it is bound to. */
  boundVolumeGroupSnapshotContentName?: string;
  /** When the snapshot was cut, by the storage system. */
  creationTime?: string;
  /** What went wrong last. */
  error?: {
    /** More about the state, for people. */
    message?: string;
    /** When. */
    time?: string;
  };
  /** Whether a volume can be made from it. */
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
