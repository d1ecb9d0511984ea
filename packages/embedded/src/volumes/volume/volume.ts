/**
 * The phases of a persistent volume, which follow from its claim alone.
 *
 *   Pending ──▶ Available ──claimed──▶ Bound ──its claim is gone──▶ Released ──reclaim policy Delete: see reclaim.ts──▶ gone
 *                   ▲──somebody takes the claim out of claimRef───────┘
 */
import { hasFinalizer, isDeleting, type PersistentVolume, type PersistentVolumeClaim, persistentVolumes, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { BOUND_BY_CONTROLLER, PROVISIONED_BY, VOLUME_PROTECTION } from "../names.ts";
import { annotationOf, type VolumePhase, volumeInPhase, withAnnotations } from "../object-changes.ts";
import { type Decision, nothing, replace, replaceStatus } from "../steps.ts";

export interface ObservedVolume {
  readonly volume: PersistentVolume;
  /** The claim of the name in claimRef, which may be another one of that name. */
  readonly claim: PersistentVolumeClaim | undefined;
  readonly nowMs: number;
}

export function decideVolume(o: ObservedVolume): Decision {
  const { volume } = o;
  const inUse = volume.status?.phase === "Bound";
  if (isDeleting(volume) && !inUse) {
    return hasFinalizer(volume, VOLUME_PROTECTION) ? { steps: [replace(persistentVolumes, withoutFinalizer(volume, VOLUME_PROTECTION))] } : nothing;
  }
  if (!isDeleting(volume) && !hasFinalizer(volume, VOLUME_PROTECTION)) return { steps: [replace(persistentVolumes, withFinalizer(volume, VOLUME_PROTECTION))] };
  const { claimRef } = volume.spec;
  // Reserved by name only: the claim's own pass completes it.
  if (claimRef === undefined || (claimRef.uid ?? "") === "") return phase(o, "Available");
  const claim = o.claim?.metadata.uid === claimRef.uid ? o.claim : undefined;
  if (claim === undefined) return released(o);
  // The claim's own pass binds it.
  if ((claim.spec.volumeName ?? "") === "") return nothing;
  return claim.spec.volumeName === volume.metadata.name ? phase(o, "Bound") : decideSpurned(o);
}

/** Its claim took another volume. */
function decideSpurned(o: ObservedVolume): Decision {
  const { volume } = o;
  const madeForIt = annotationOf(volume, PROVISIONED_BY) !== undefined && volume.spec.persistentVolumeReclaimPolicy === "Delete";
  if (madeForIt) return released(o);
  const { claimRef, ...spec } = volume.spec;
  const { uid: _, ...reservation } = claimRef ?? {};
  const freed: PersistentVolume =
    annotationOf(volume, BOUND_BY_CONTROLLER) === undefined
      ? { ...volume, spec: { ...spec, claimRef: reservation } }
      : withAnnotations({ ...volume, spec }, { [BOUND_BY_CONTROLLER]: undefined });
  return { steps: [replace(persistentVolumes, freed), ...phase({ ...o, volume: freed }, "Available").steps] };
}

/** Failed stays, so that people see it. What is released may be deleted, so a missing claim is looked for again. */
function released(o: ObservedVolume): Decision {
  if (o.volume.status?.phase === "Failed") return nothing;
  const { steps } = phase(o, "Released");
  return steps.length === 0 ? nothing : { steps, irreversible: true };
}

function phase({ volume, nowMs }: ObservedVolume, wanted: VolumePhase): Decision {
  const next = volumeInPhase(volume, wanted, nowMs);
  return next === undefined ? nothing : { steps: [replaceStatus(persistentVolumes, next)] };
}
