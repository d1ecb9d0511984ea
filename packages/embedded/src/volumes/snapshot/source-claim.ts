/** A claim is held by a finalizer while snapshots of it are being cut, and let go afterwards. */
import { type VolumeSnapshot, volumeSnapshots } from "@drayage/api";
import { hasFinalizer, isDeleting, type ObjectKey, type PersistentVolumeClaim, persistentVolumeClaims, withoutFinalizer } from "@drayage/kube";
import { CLAIM_AS_SOURCE } from "../names.ts";
import { type Decision, nothing, type ObjectReader, replace } from "../steps.ts";
import { isSnapshotReady } from "./snapshot.ts";

export interface ObservedSourceClaim {
  readonly claim: PersistentVolumeClaim;
  /** All snapshots of the namespace. */
  readonly snapshots: readonly VolumeSnapshot[];
}

export async function observeSourceClaim(reader: ObjectReader, key: ObjectKey): Promise<ObservedSourceClaim | undefined> {
  const claim = await reader.find(persistentVolumeClaims, key);
  return claim === undefined ? undefined : { claim, snapshots: await reader.list(volumeSnapshots, key.namespace) };
}

export function decideSourceClaim({ claim, snapshots }: ObservedSourceClaim): Decision {
  const inCutting = snapshots.some(
    (snapshot) => snapshot.spec.source.persistentVolumeClaimName === claim.metadata.name && !isSnapshotReady(snapshot) && !isDeleting(snapshot),
  );
  if (inCutting || !hasFinalizer(claim, CLAIM_AS_SOURCE)) return nothing;
  return { steps: [replace(persistentVolumeClaims, withoutFinalizer(claim, CLAIM_AS_SOURCE))], irreversible: true };
}
