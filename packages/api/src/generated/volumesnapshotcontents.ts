// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotContentSpec {
  /** What becomes of the snapshot in the storage system when the object goes: Delete or Retain. */
  deletionPolicy: "Delete" | "Retain";
  /** Name of the CSI driver. */
  driver: string;
  /** What the snapshot is of. */
  source: {
    /** Name of the snapshot in the storage system. */
    snapshotHandle?: string;
    /** Name of the volume in the storage system. */
    volumeHandle?: string;
  };
  /** Whether the volume was a file system or a block device. */
  sourceVolumeMode?: string;
  /** Name of the VolumeSnapshotClass. */
  volumeSnapshotClassName?: string;
  /** The VolumeSnapshot it belongs to. */
  volumeSnapshotRef: {
    /** The version of the schema this object is written in. */
    apiVersion?: string;
    /** A part of the object meant. */
    fieldPath?: string;
    /** The kind of this object. */
    kind?: string;
    /** Name. */
    name?: string;
    /** Namespace. */
    namespace?: string;
    /** Version of the object meant. */
    resourceVersion?: string;
    /** Uid of the object meant. */
    uid?: string;
  };
}

export interface VolumeSnapshotContentStatus {
  /** When the snapshot was cut, by the storage system. */
  creationTime?: number;
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
  restoreSize?: number;
  /** Name of the snapshot in the storage system. */
  snapshotHandle?: string;
  /** Name of the group in the storage system. */
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
