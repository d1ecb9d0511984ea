// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeGroupSnapshotClass {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  deletionPolicy: "Delete" | "Retain";
  driver: string;
  parameters?: Record<string, string>;
}

export const volumeGroupSnapshotClasses: KindDescriptor<VolumeGroupSnapshotClass> = { group: "groupsnapshot.storage.k8s.io", version: "v1beta2", plural: "volumegroupsnapshotclasses", kind: "VolumeGroupSnapshotClass", namespaced: false };
