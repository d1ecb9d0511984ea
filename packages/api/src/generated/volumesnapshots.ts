// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotSpec {
  /** What the snapshot is of. */
  source: {
    /** The claim whose volume is cut. */
    persistentVolumeClaimName?: string;
    /** Name of a VolumeSnapshotContent that exists. */
    volumeSnapshotContentName?: string;
  };
  /** Name of the VolumeSnapshotClass. */
  volumeSnapshotClassName?: string;
}

export interface VolumeSnapshotStatus {
  /** Name of the VolumeSnapshotContent it is bound to. */
  boundVolumeSnapshotContentName?: string;
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
  /** Bytes a volume made from it needs at least. */
  restoreSize?: number | string;
  /** The group snapshot it is part of. */
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
