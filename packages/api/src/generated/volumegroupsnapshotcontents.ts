// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeGroupSnapshotContentSpec {
  /** What becomes of the snapshot in the storage system when the object goes: Delete or Retain. */
  deletionPolicy: "Delete" | "Retain";
  /** Name of the CSI driver. */
  driver: string;
  /** What the snapshot is of. */
  source: {
    /** Names of the group and its snapshots in the storage system. */
    groupSnapshotHandles?: {
      /** Name of the group in the storage system. */
      volumeGroupSnapshotHandle: string;
      /** Names of the snapshots in the storage system. */
      volumeSnapshotHandles: string[];
    };
    /** Names of the volumes in the storage system. */
    volumeHandles?: string[];
  };
  /** Name of the VolumeGroupSnapshotClass. */
  volumeGroupSnapshotClassName?: string;
  /** The VolumeGroupSnapshot it belongs to. */
  volumeGroupSnapshotRef: {
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

export interface VolumeGroupSnapshotContentStatus {
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
  /** Name of the group in the storage system. */
  volumeGroupSnapshotHandle?: string;
  /** The snapshots of the group. */
  volumeSnapshotInfoList?: Array<{
    /** When the snapshot was cut, by the storage system. */
    creationTime?: number;
    /** Whether a volume can be made from it. */
    readyToUse?: boolean;
    /** Bytes a volume made from it needs at least. */
    restoreSize?: number;
    /** Name of the snapshot in the storage system. */
    snapshotHandle?: string;
    /** Name of the volume in the storage system. */
    volumeHandle?: string;
  }>;
}

export interface VolumeGroupSnapshotContent {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeGroupSnapshotContentSpec;
  status?: VolumeGroupSnapshotContentStatus;
}

export const volumeGroupSnapshotContents: KindDescriptor<VolumeGroupSnapshotContent> = { group: "groupsnapshot.storage.k8s.io", version: "v1beta2", plural: "volumegroupsnapshotcontents", kind: "VolumeGroupSnapshotContent", namespaced: false };
