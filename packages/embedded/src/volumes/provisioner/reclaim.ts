/**
 * Deletes volumes that were made here and are released, and keeps on each of them the finalizer that says whether its storage goes with it: people may change
 * the reclaim policy at any time (a data mover does, to hand a volume to another claim).
 */
import { hasFinalizer, isDeleting, type PersistentVolume, persistentVolumes, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { PROVISIONED_BY, PROVISIONER_FINALIZER } from "../names.ts";
import { annotationOf } from "../object-changes.ts";
import { type Decision, nothing, remove, replace } from "../steps.ts";

export interface ObservedReclaim {
  readonly driverName: string;
  readonly volume: PersistentVolume;
}

export interface DeleteVolumeStep {
  readonly do: "deleteVolume";
  readonly volume: PersistentVolume;
  readonly handle: string;
}

export function decideReclaim({ driverName, volume }: ObservedReclaim): Decision<DeleteVolumeStep> {
  const { csi, persistentVolumeReclaimPolicy: policy } = volume.spec;
  if (annotationOf(volume, PROVISIONED_BY) !== driverName || csi?.driver !== driverName) return nothing;
  if (policy !== "Delete") {
    return hasFinalizer(volume, PROVISIONER_FINALIZER) ? { steps: [replace(persistentVolumes, withoutFinalizer(volume, PROVISIONER_FINALIZER))] } : nothing;
  }
  if (!isDeleting(volume) && !hasFinalizer(volume, PROVISIONER_FINALIZER))
    return { steps: [replace(persistentVolumes, withFinalizer(volume, PROVISIONER_FINALIZER))] };
  if (!isDue(volume)) return nothing;
  const next = isDeleting(volume) ? replace(persistentVolumes, withoutFinalizer(volume, PROVISIONER_FINALIZER)) : remove(persistentVolumes, volume);
  return { steps: [{ do: "deleteVolume", volume, handle: csi.volumeHandle }, next], irreversible: true };
}

/** Nobody has it any more: released by its claim, or thrown away before anybody claimed it. */
function isDue(volume: PersistentVolume): boolean {
  const phase = volume.status?.phase;
  if (phase === "Released" || phase === "Failed") return true;
  return isDeleting(volume) && hasFinalizer(volume, PROVISIONER_FINALIZER) && phase !== "Bound";
}
