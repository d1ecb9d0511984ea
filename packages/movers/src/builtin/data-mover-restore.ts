/** `data-mover restore`: a snapshot of the repository into one exposed, empty volume. */
import { type DataDownload, dataDownloads, VOLSYNC_DATA_MOVER } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { deviceBytesOf, restoreSnapshot } from "@drayage/datapath";
import { restoreResticVolume } from "../volsync/restore-restic-volume.ts";
import { describeProblems, positive } from "./data-mover-backup.ts";
import { withRepository } from "./open-repository.ts";
import { type DataMoverOptions, type Outcome, runDataMover, type TransferContext } from "./run-data-mover.ts";

export interface DataMoverRestoreOptions extends DataMoverOptions {
  readonly dataDownloadName: string;
}

/** Runs a DataDownload's data path and returns the exit code. Never throws: what went wrong is in the termination message and in Events. */
export function runDataMoverRestore(options: DataMoverRestoreOptions): Promise<number> {
  return runDataMover<DataDownload>(options, {
    type: dataDownloads,
    name: options.dataDownloadName,
    run: (context) => (context.object.spec.datamover === VOLSYNC_DATA_MOVER ? restoreResticVolume(options, context) : restore(options, context)),
  });
}

function restore(options: DataMoverRestoreOptions, context: TransferContext<DataDownload>): Promise<Outcome> {
  const { snapshotID, dataMoverConfig } = context.object.spec;
  return restoreInto(options, context, snapshotID, dataMoverConfig ?? {});
}

/** Writes a snapshot into the volume. `settings` are those that Velero hands to an uploader: ParallelFilesDownload, WriteSparseFiles. */
export async function restoreInto<T>(
  options: DataMoverOptions,
  { access, signal, onProgress }: TransferContext<T>,
  snapshotID: string,
  settings: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const { clock, random, logger, volumePath: byPath, volumeMode, memoryBudget } = options;
  const parallel = positive(settings["ParallelFilesDownload"]);
  return withRepository(access, { clock, random, logger, signal, readOnly: true }, async (repository) => {
    const snapshot = await repository.snapshots.get(snapshotID, signal);
    const root = snapshot.rootEntry;
    if (root === undefined) throw new DrayError("REPO_CORRUPT", `Cannot restore snapshot "${snapshotID}": its manifest has no root`);
    const deviceBytes = deviceBytesOf(snapshot);
    const { progress, problems, problemCount, warnings } = await restoreSnapshot({
      repository,
      root,
      target: { kind: volumeMode === "Block" ? "block" : "directory", path: byPath },
      // A volume that a first mover left half written is written over by the second; nobody else has ever seen it.
      overwrite: true,
      // The volume changes hands as soon as this ends.
      flush: true,
      sparse: settings["WriteSparseFiles"] === "true",
      signal,
      onProgress,
      clock,
      ...(deviceBytes === undefined ? {} : { deviceBytes }),
      ...(parallel === undefined ? {} : { parallel }),
      ...(memoryBudget === undefined ? {} : { memoryBudget }),
    });
    for (const { path, message } of warnings) logger.warn("An entry was not restored as it was", { path, message });
    return {
      result: { target: { byPath, volumeMode }, ...(progress.bytesDone === 0 ? {} : { totalBytes: progress.bytesDone }) },
      ...(problemCount === 0 ? {} : { problem: describeProblems(problems, problemCount, "restored") }),
    };
  });
}
