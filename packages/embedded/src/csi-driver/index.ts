export { CSI_PROFILES, type CsiProfile, driverNameOf } from "./ceph/profiles.ts";
export type { TenantReader } from "./ceph/tenant-keys.ts";
export { CSI_DRIVER_NAME, type CsiDriver, type StartCsiDriverOptions, startCsiDriver, topologyKeyOf } from "./driver.ts";
export type { CsiFault, CsiFaults } from "./faults.ts";
export { detectHostAbilities, type HostAbilities } from "./host-abilities.ts";
export {
  type CsiControllerClient,
  type CsiNodeClient,
  type CsiNodeInfo,
  capabilityOf,
  createCsiControllerClient,
  createCsiNodeClient,
  type NodeVolume,
} from "./node-client.ts";
export { type Registration, registerDriver } from "./registration.ts";
export { type ReleasedStorage, releaseStorage } from "./release-storage.ts";
