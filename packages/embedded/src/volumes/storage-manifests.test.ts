import { expect, it } from "vitest";
import { defaultStorageManifests } from "./storage-manifests.ts";

it("defaultStorageManifests() has one default class of each sort, all of one driver, and the label by which Velero finds snapshots", () => {
  const objects = defaultStorageManifests("d.example.com").map(({ object }) => object as typeof object & { provisioner?: string; driver?: string });
  const isDefault = (annotation: string): unknown[] =>
    objects.filter(({ metadata }) => metadata.annotations?.[annotation] === "true").map(({ metadata }) => metadata.name);
  expect(isDefault("storageclass.kubernetes.io/is-default-class")).toEqual(["drayage-fs"]);
  expect(isDefault("snapshot.storage.kubernetes.io/is-default-class")).toEqual(["drayage-snapshots"]);
  expect(objects.map(({ kind, metadata, provisioner, driver }) => provisioner ?? driver ?? (kind === "CSIDriver" ? metadata.name : undefined))).toEqual(
    Array(6).fill("d.example.com"),
  );
  expect(isDefault("groupsnapshot.storage.kubernetes.io/is-default-class")).toEqual(["drayage-group-snapshots"]);
  expect(objects.find(({ kind }) => kind === "VolumeGroupSnapshotClass")?.metadata.labels).toEqual({ "velero.io/csi-volumegroupsnapshot-class": "true" });
  expect(objects.find(({ kind }) => kind === "VolumeSnapshotClass")?.metadata.labels).toEqual({ "velero.io/csi-volumesnapshot-class": "true" });
});
