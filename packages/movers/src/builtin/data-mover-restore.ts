/** `data-mover restore`: a snapshot of the repository into one exposed, empty volume. */
import { BUILT_IN_PARAMETERS, type DataDownload, dataDownloads, VOLSYNC_DATA_MOVER } from "@drayage/api";
import type { RestoreResult } from "@drayage/mover-sdk";
import { restoreResticVolume } from "../volsync/restore-restic-volume.ts";
import { restoreVolume } from "./built-in-mover.ts";
import { positive } from "./data-mover-backup.ts";
import { hostedMover, parametersOf } from "./hosted-mover.ts";
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

async function restore(options: DataMoverRestoreOptions, context: TransferContext<DataDownload>): Promise<Outcome> {
  const { logger, volumePath, volumeMode } = options;
  const { snapshotID, dataMoverConfig, targetVolume } = context.object.spec;
  const { mover, ...given } = hostedMover(options, context, {});
  const result = await mover.restore({
    ...given,
    moved: { snapshotId: snapshotID },
    source: {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      namespace: targetVolume.namespace,
      name: targetVolume.pvc,
      volume: { path: volumePath, mode: volumeMode },
    },
    parameters: parametersOf(mover, dataMoverConfig, logger),
  });
  return outcomeOf(result, options);
}

/** Writes a snapshot into the volume of a pod. `settings` are those that Velero hands to an uploader, under the names of our parameters. */
export async function restoreInto<T>(
  options: DataMoverOptions,
  { access, signal, onProgress }: TransferContext<T>,
  snapshotID: string,
  settings: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const { clock, random, logger, volumePath: path, volumeMode: mode, memoryBudget, cacheFolder } = options;
  const parallel = positive(settings[BUILT_IN_PARAMETERS.parallelDownload]);
  const sparse = settings[BUILT_IN_PARAMETERS.sparse] === "true";
  const result = await withRepository(access, { clock, random, logger, signal, cacheFolder, readOnly: true }, (repository) =>
    restoreVolume(repository, snapshotID, {
      ...{ volume: { path, mode }, settings: { parallel, sparse }, signal, log: logger, onProgress, clock },
      ...(memoryBudget === undefined ? {} : { memoryBudget }),
    }),
  );
  return outcomeOf(result, options);
}

function outcomeOf({ totalBytes, problem }: RestoreResult, { volumePath: byPath, volumeMode }: DataMoverOptions): Outcome {
  return { result: { target: { byPath, volumeMode }, ...(totalBytes === 0 ? {} : { totalBytes }) }, ...(problem === undefined ? {} : { problem }) };
}
