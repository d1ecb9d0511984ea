// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeGroupSnapshotContentSpec {
  deletionPolicy: "Delete" | "Retain";
  driver: string;
  source: {
    groupSnapshotHandles?: {
      volumeGroupSnapshotHandle: string;
      volumeSnapshotHandles: string[];
    };
    volumeHandles?: string[];
  };
  volumeGroupSnapshotClassName?: string;
  volumeGroupSnapshotRef: {
    apiVersion?: string;
    fieldPath?: string;
    kind?: string;
    name?: string;
    namespace?: string;
    resourceVersion?: string;
    uid?: string;
  };
}

export interface VolumeGroupSnapshotContentStatus {
  creationTime?: string;
  error?: {
    message?: string;
    time?: string;
  };
  readyToUse?: boolean;
  volumeGroupSnapshotHandle?: string;
  volumeSnapshotInfoList?: Array<{
    creationTime?: number;
    readyToUse?: boolean;
    restoreSize?: number;
    snapshotHandle?: string;
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
