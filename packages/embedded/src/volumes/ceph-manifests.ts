import { type VolumeSnapshotClass, volumeSnapshotClasses } from "@drayage/api";
import { type StorageClass, storageClasses } from "@drayage/kube";
import { type CsiProfile, driverNameOf } from "../csi-driver/index.ts";
import { csiDriverManifest, manifest, type StorageManifest } from "./storage-manifests.ts";

/**
 * The classes of a profile:
 * - `cephfs`: for applications and for restores; `cephfs-shallow`: for backups only, shows snapshots; VolumeSnapshotClass `cephfs-snapshots`;
 * - `rbd`: file systems and block devices; `rbd-encrypted`: for namespaces that have a token; VolumeSnapshotClass `rbd-snapshots`.
 *
 * Snapshots are kept when their VolumeSnapshot goes, as OpenShift's documentation has it for its data mover, and Velero finds the class by its label.
 */
export function profileManifests(profile: CsiProfile): readonly StorageManifest[] {
  const driverName = driverNameOf(profile);
  const storageClass = (name: string, parameters: Record<string, string>): StorageManifest => {
    const object: StorageClass = {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name },
      provisioner: driverName,
      reclaimPolicy: "Delete",
      volumeBindingMode: "Immediate",
      allowVolumeExpansion: false,
      parameters,
    };
    return manifest(storageClasses, object);
  };
  const snapshotClass: VolumeSnapshotClass = {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotClass",
    metadata: { name: `${profile}-snapshots`, labels: { "velero.io/csi-volumesnapshot-class": "true" } },
    driver: driverName,
    deletionPolicy: "Retain",
  };
  const classes =
    profile === "cephfs"
      ? [storageClass("cephfs", {}), storageClass("cephfs-shallow", { backingSnapshot: "true" })]
      : [storageClass("rbd", {}), storageClass("rbd-encrypted", { encrypted: "true" })];
  return [csiDriverManifest(driverName), ...classes, manifest(volumeSnapshotClasses, snapshotClass)];
}
