/** What StorageClasses and VolumeSnapshotClasses of the Ceph drivers may say. Names are those of ceph-csi's own classes where it has one; `cloneSeconds` and `fault` are of this simulation. */
import { csiError } from "@drayage/protocols/csi";

export type VolumeFault = "clone-failed" | "clone-stuck" | "no-space";
export type SnapshotFault = "failed" | "stuck";

export interface CephParameters {
  /** Whether the class is for volumes that show a snapshot; undefined when the class does not say, which for readers of a snapshot means yes. */
  readonly backingSnapshot: boolean | undefined;
  readonly encrypted: boolean;
  /** How long a full copy of a snapshot takes. */
  readonly cloneMs: number;
  readonly fault: VolumeFault | undefined;
  /** The namespace of the claim, as the provisioner tells it. */
  readonly tenant: string | undefined;
}

const VOLUME_FAULTS: readonly VolumeFault[] = ["clone-failed", "clone-stuck", "no-space"];
const SNAPSHOT_FAULTS: readonly SnapshotFault[] = ["failed", "stuck"];
/** As slow as to be noticed, as fast as to be waited for. */
const CLONE_SECONDS = 10;
const CLONE_SECONDS_MAX = 3600;
const CLAIM_NAMESPACE = "csi.storage.k8s.io/pvc/namespace";
/** Where and how Ceph keeps a volume: there is one place here, and no choice. */
const PLACES: ReadonlySet<string> = new Set([
  "clusterID",
  "fsName",
  "pool",
  "dataPool",
  "imageFormat",
  "imageFeatures",
  "mounter",
  "volumeNamePrefix",
  "snapshotNamePrefix",
  "encryptionKMSID",
  "encryptionType",
]);

/** Throws INVALID_ARGUMENT naming the parameter and what it may be. */
export function volumeParameters(name: string, parameters: Readonly<Record<string, string>>): CephParameters {
  const action = `create volume "${name}"`;
  let cloneMs = CLONE_SECONDS * 1000;
  let backingSnapshot: boolean | undefined;
  let encrypted = false;
  let fault: VolumeFault | undefined;
  for (const [key, value] of Object.entries(parameters)) {
    if (key.startsWith("csi.storage.k8s.io/") || PLACES.has(key)) continue;
    if (key === "backingSnapshot") backingSnapshot = booleanOf(action, key, value);
    else if (key === "encrypted") encrypted = booleanOf(action, key, value);
    else if (key === "cloneSeconds") cloneMs = secondsOf(action, key, value) * 1000;
    else if (key === "fault") fault = oneOf(action, key, value, VOLUME_FAULTS);
    else throw wrong(action, key, value, "backingSnapshot, encrypted, cloneSeconds and fault are known, and what says where Ceph keeps it");
  }
  if (backingSnapshot === true && parameters["pool"] !== undefined) {
    throw wrong(action, "pool", parameters["pool"], "a volume that shows a snapshot is where the snapshot is: leave it out");
  }
  return { backingSnapshot, encrypted, cloneMs, fault, tenant: parameters[CLAIM_NAMESPACE] };
}

/** Throws INVALID_ARGUMENT. */
export function snapshotFault(name: string, parameters: Readonly<Record<string, string>>): SnapshotFault | undefined {
  const action = `create snapshot "${name}"`;
  let fault: SnapshotFault | undefined;
  for (const [key, value] of Object.entries(parameters)) {
    if (key.startsWith("csi.storage.k8s.io/") || PLACES.has(key)) continue;
    if (key !== "fault") throw wrong(action, key, value, "fault is known, and what says where Ceph keeps it");
    fault = oneOf(action, key, value, SNAPSHOT_FAULTS);
  }
  return fault;
}

function booleanOf(action: string, key: string, value: string): boolean {
  return oneOf(action, key, value, ["true", "false"]) === "true";
}

function secondsOf(action: string, key: string, value: string): number {
  const seconds = Number(value);
  if (/^\d+$/.test(value) && seconds <= CLONE_SECONDS_MAX) return seconds;
  throw wrong(action, key, value, `a number up to ${CLONE_SECONDS_MAX} is wanted`);
}

function oneOf<T extends string>(action: string, key: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw wrong(action, key, value, `one of ${allowed.join(", ")} is wanted`);
  return found;
}

function wrong(action: string, key: string, value: string, wanted: string): Error {
  return csiError("INVALID_ARGUMENT", `Cannot ${action}: parameter "${key}" is "${value}": ${wanted}`);
}
