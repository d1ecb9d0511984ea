/** What a new cluster is given, so that claims and snapshots work as a newcomer writes them. */
import { type VolumeGroupSnapshotClass, type VolumeSnapshotClass, volumeGroupSnapshotClasses, volumeSnapshotClasses } from "@drayage/api";
import type { KubeObject, ResourceType, StorageClass } from "@drayage/kube";
import { storageClasses } from "@drayage/kube";
import { CSI_DRIVER_NAME } from "../csi-driver/index.ts";
import { DEFAULT_GROUP_CLASS } from "./group-snapshot/names.ts";
import { DEFAULT_SNAPSHOT_CLASS, DEFAULT_STORAGE_CLASS } from "./names.ts";

/** The registration of a driver: how Kubernetes is to treat it. */
export interface CsiDriverObject extends KubeObject {
  spec: { attachRequired?: boolean; podInfoOnMount?: boolean; fsGroupPolicy?: string; volumeLifecycleModes?: string[] };
}

export const csiDrivers: ResourceType<CsiDriverObject> = { group: "storage.k8s.io", version: "v1", plural: "csidrivers", kind: "CSIDriver", namespaced: false };

export interface StorageManifest {
  readonly type: ResourceType<KubeObject>;
  readonly object: KubeObject;
}

/**
 * The classes of the embedded cluster, for `volumeMode` Filesystem and Block alike:
 * - `drayage-fs` (default): volumes at once, reached from every node;
 * - `drayage-fs-wait`: made when their first pod has a node, and only there;
 * - `drayage-fs-image`: with a file system of their own, so that they are full when they are full (as root);
 * - VolumeSnapshotClass `drayage-snapshots` and VolumeGroupSnapshotClass `drayage-group-snapshots` (defaults), which Velero finds by their labels.
 */
export function defaultStorageManifests(driverName = CSI_DRIVER_NAME): readonly StorageManifest[] {
  const storageClass = (name: string, fields: Partial<StorageClass>, annotations: Record<string, string> = {}): StorageManifest => {
    const object: StorageClass = {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name, annotations },
      provisioner: driverName,
      reclaimPolicy: "Delete",
      volumeBindingMode: "Immediate",
      allowVolumeExpansion: false,
      ...fields,
    };
    return manifest(storageClasses, object);
  };
  const snapshotClass: VolumeSnapshotClass = {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotClass",
    metadata: { name: "drayage-snapshots", labels: { "velero.io/csi-volumesnapshot-class": "true" }, annotations: { [DEFAULT_SNAPSHOT_CLASS]: "true" } },
    driver: driverName,
    deletionPolicy: "Delete",
  };
  const groupClass: VolumeGroupSnapshotClass = {
    apiVersion: "groupsnapshot.storage.k8s.io/v1beta2",
    kind: "VolumeGroupSnapshotClass",
    metadata: {
      name: "drayage-group-snapshots",
      labels: { "velero.io/csi-volumegroupsnapshot-class": "true" },
      annotations: { [DEFAULT_GROUP_CLASS]: "true" },
    },
    driver: driverName,
    deletionPolicy: "Delete",
  };
  return [
    csiDriverManifest(driverName),
    storageClass("drayage-fs", {}, { [DEFAULT_STORAGE_CLASS]: "true" }),
    storageClass("drayage-fs-wait", { volumeBindingMode: "WaitForFirstConsumer", parameters: { topology: "node" } }),
    storageClass("drayage-fs-image", { parameters: { backing: "image" } }),
    manifest(volumeSnapshotClasses, snapshotClass),
    manifest(volumeGroupSnapshotClasses, groupClass),
  ];
}

export function csiDriverManifest(driverName: string): StorageManifest {
  const driver: CsiDriverObject = {
    apiVersion: "storage.k8s.io/v1",
    kind: "CSIDriver",
    metadata: { name: driverName },
    spec: { attachRequired: false, podInfoOnMount: false, fsGroupPolicy: "File", volumeLifecycleModes: ["Persistent"] },
  };
  return manifest(csiDrivers, driver);
}

export function manifest<T extends KubeObject>(type: ResourceType<T>, object: T): StorageManifest {
  return { type: type as unknown as ResourceType<KubeObject>, object };
}
