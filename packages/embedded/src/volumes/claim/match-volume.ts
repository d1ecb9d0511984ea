/** Which volume made by hand fits a claim. */
import { isDeleting, matchesLabels, type PersistentVolume, type PersistentVolumeClaim, quantityValue } from "@drayage/kube";

/** Whether a volume is reserved for this claim: by name, and by UID when it says one. */
export function isVolumeOfClaim(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const { claimRef } = volume.spec;
  if (claimRef === undefined) return false;
  const sameName = claimRef.name === claim.metadata.name && claimRef.namespace === claim.metadata.namespace;
  return sameName && (claimRef.uid === undefined || claimRef.uid === "" || claimRef.uid === claim.metadata.uid);
}

/** Why a volume cannot serve a claim, in the words of kubectl describe; undefined when it can. */
export function volumeMismatch(volume: PersistentVolume, claim: PersistentVolumeClaim): string | undefined {
  if (isDeleting(volume)) return `the volume is marked for deletion "${volume.metadata.name}"`;
  if (!isLargeEnough(volume, claim)) return "requested PV is too small";
  if ((volume.spec.storageClassName ?? "") !== (claim.spec.storageClassName ?? "")) return "storageClassName does not match";
  if (!isOfMode(volume, claim)) return "incompatible volumeMode";
  const offered = volume.spec.accessModes ?? [];
  if (!(claim.spec.accessModes ?? []).every((mode) => offered.includes(mode))) return "incompatible accessMode";
  return undefined;
}

/**
 * The volume to bind: one that is reserved for the claim (whoever reserved it answers for its class, modes and labels), else the smallest that fits.
 * A claim that waits for its first consumer takes only what was reserved for it; the scheduler does that.
 */
export function findVolumeFor(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
  options: { readonly delayed: boolean },
): PersistentVolume | undefined {
  const fits = (volume: PersistentVolume): boolean => volumeMismatch(volume, claim) === undefined;
  const reserved = volumes.find((volume) => isVolumeOfClaim(volume, claim) && holds(volume, claim));
  if (reserved !== undefined || options.delayed) return reserved;
  const { selector } = claim.spec;
  return volumes
    .filter((volume) => volume.spec.claimRef === undefined && fits(volume) && (selector === undefined || matchesLabels(selector, volume.metadata.labels)))
    .toSorted((a, b) => compare(storageOf(a.spec.capacity), storageOf(b.spec.capacity)) || (nameOf(a) < nameOf(b) ? -1 : 1))[0];
}

function holds(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  return !isDeleting(volume) && isLargeEnough(volume, claim) && isOfMode(volume, claim);
}

function isLargeEnough(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  return storageOf(volume.spec.capacity) >= storageOf(claim.spec.resources?.requests);
}

function isOfMode(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  return (volume.spec.volumeMode ?? "Filesystem") === (claim.spec.volumeMode ?? "Filesystem");
}

function storageOf(amounts: Readonly<Record<string, string>> | undefined): bigint {
  const storage = amounts?.["storage"];
  return storage === undefined ? 0n : quantityValue(storage);
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function nameOf(volume: PersistentVolume): string {
  return volume.metadata.name ?? "";
}
