export { profileManifests } from "./ceph-manifests.ts";
export { announce, startSnapshotMetadataGateway } from "./snapshot-metadata-gateway.ts";
export { type StartVolumeControllersOptions, startVolumeControllers, type VolumeControllers } from "./start-volume-controllers.ts";
export type { StorageDriver } from "./storage-driver.ts";
export { type CsiDriverObject, csiDrivers, defaultStorageManifests, type StorageManifest } from "./storage-manifests.ts";
