/**
 * `pod-volume restore`: a snapshot into a volume of a pod that waits for it. At the end a file with the restore's UID in the volume's folder `.velero` lets the pod go on;
 * Velero's restore helper and ours look for it.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type PodVolumeRestore, podVolumeRestores } from "@drayage/api";
import { restoreResticPodVolume } from "../volsync/restore-restic-volume.ts";
import { restoreInto } from "./data-mover-restore.ts";
import { type DataMoverOptions, type Outcome, runDataMover, type TransferContext } from "./run-data-mover.ts";

export interface PodVolumeRestoreOptions extends Omit<DataMoverOptions, "volumeMode"> {
  readonly podVolumeRestoreName: string;
}

/** Where the file lies that tells that a volume is whole. */
export const DONE_FOLDER = ".velero";

/** Runs a PodVolumeRestore's data path and returns the exit code. Never throws. */
export function runPodVolumeRestore(options: PodVolumeRestoreOptions): Promise<number> {
  const all = { ...options, volumeMode: "Filesystem" as const };
  return runDataMover<PodVolumeRestore>(all, { type: podVolumeRestores, name: options.podVolumeRestoreName, run: (context) => restore(all, context) });
}

async function restore(options: DataMoverOptions, context: TransferContext<PodVolumeRestore>): Promise<Outcome> {
  const { object } = context;
  const outcome =
    object.spec.uploaderType === "restic"
      ? await restoreResticPodVolume(options, context)
      : await restoreInto(options, context, object.spec.snapshotID, object.spec.uploaderSettings ?? {});
  if (outcome.problem !== undefined) return outcome;
  const folder = join(options.volumePath, DONE_FOLDER);
  // What a backup of an earlier restore had in it is not of this one.
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o755 });
  const owner = object.metadata.ownerReferences?.find(({ kind }) => kind === "Restore");
  await writeFile(join(folder, owner?.uid ?? object.metadata.uid ?? ""), "", { mode: 0o644 });
  return outcome;
}
