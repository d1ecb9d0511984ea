/** `pod-volume backup`: a volume of a running pod into the repository of its namespace, in the form that Velero's file-system backup writes (velero.md 8.3). */
import { ANNOTATIONS, type PodVolumeBackup, podVolumeBackups } from "@drayage/api";
import { type LookAhead, type UploadResult, uploadSnapshot, withLookAhead } from "@drayage/datapath";
import { type Repository, veleroIdentity } from "@drayage/repo";
import { outcomeOfUpload, positive } from "./data-mover-backup.ts";
import { withRepository } from "./open-repository.ts";
import { type DataMoverOptions, type Outcome, runDataMover, type TransferContext } from "./run-data-mover.ts";

export interface PodVolumeBackupOptions extends Omit<DataMoverOptions, "volumeMode"> {
  readonly podVolumeBackupName: string;
}

/** What Velero calls snapshots of this kind, and looks them up by. */
export const POD_VOLUME_REQUESTER = "pod-volume-backup-restore";
const UPLOADER = "kopia";

/** Runs a PodVolumeBackup's data path and returns the exit code. Never throws: what went wrong is in the termination message and in Events. */
export function runPodVolumeBackup(options: PodVolumeBackupOptions): Promise<number> {
  const all = { ...options, volumeMode: "Filesystem" as const };
  return runDataMover<PodVolumeBackup>(all, { type: podVolumeBackups, name: options.podVolumeBackupName, run: (context) => backUp(all, context) });
}

async function backUp(options: DataMoverOptions, { object, access, signal, onProgress, fence }: TransferContext<PodVolumeBackup>): Promise<Outcome> {
  const { clock, random, logger, volumePath, memoryBudget, sha256Ranges } = options;
  const { pod, volume, tags, uploaderSettings } = object.spec;
  // By the claim where there is one, so that the next backup finds its parent whatever the volume is called in the pod.
  const name = object.metadata.annotations?.[ANNOTATIONS.pvcName] ?? volume;
  const parallel = positive(uploaderSettings?.["ParallelFilesUpload"]);
  const reading = { source: { kind: "directory" as const, path: volumePath }, ...(parallel === undefined ? {} : { parallel }) };
  const upload = (repository: Repository, scan: LookAhead | undefined): Promise<UploadResult> =>
    uploadSnapshot({
      repository,
      ...reading,
      scan,
      snapshotSource: { ...veleroIdentity, path: `${POD_VOLUME_REQUESTER}/${UPLOADER}/${pod.namespace}/${pod.name}/${name}` },
      description: "Kopia Uploader",
      tags: { ...tags, "snapshot-requester": POD_VOLUME_REQUESTER, "snapshot-uploader": UPLOADER },
      pins: ["velero-pin"],
      policy: "velero",
      fence,
      signal,
      onProgress,
      clock,
      logger,
      ...(memoryBudget === undefined ? {} : { memoryBudget }),
    });
  const result = await withLookAhead(reading, (scan) =>
    withRepository(access, { clock, random, logger, signal, sha256Ranges }, (repository) => upload(repository, scan)),
  );
  for (const { path, message } of result.warnings) logger.warn("An entry was not kept as it is", { path, message });
  return outcomeOfUpload(result, volumePath, "Filesystem");
}
