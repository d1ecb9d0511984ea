// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface VolumeSnapshotClass {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  deletionPolicy: "Delete" | "Retain";
  driver: string;
  parameters?: Record<string, string>;
}

export const volumeSnapshotClasses: KindDescriptor<VolumeSnapshotClass> = { group: "snapshot.storage.k8s.io", version: "v1", plural: "volumesnapshotclasses", kind: "VolumeSnapshotClass", namespaced: false };
