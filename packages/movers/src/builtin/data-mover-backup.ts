/** `data-mover backup`: a DataUpload's volume, by the built-in mover; its host's part is to tell it what the DataUpload says, and Velero what became of it. */
import { BLOCK_DATA_MOVER, type DataUpload, DRAYAGE_ANNOTATIONS, dataUploads, LABELS } from "@drayage/api";
import type { UploadResult } from "@drayage/datapath";
import type { BackupResult } from "@drayage/mover-sdk";
import type { Labels } from "@drayage/repo";
import { describeProblems, incrementalBytesOf } from "./built-in-mover.ts";
import { changedBlocksFromEnvironment } from "./changed-blocks.ts";
import { hostedMover, parametersOf } from "./hosted-mover.ts";
import { type DataMoverOptions, type Outcome, runDataMover, type TransferContext } from "./run-data-mover.ts";

export interface DataMoverBackupOptions extends DataMoverOptions {
  readonly dataUploadName: string;
  /** How often what is there so far is saved, so that another node can go on from it; five minutes when left out. */
  readonly checkpointEveryMs?: number;
}

/** Runs a DataUpload's data path and returns the exit code. Never throws: what went wrong is in the termination message and in Events. */
export function runDataMoverBackup(options: DataMoverBackupOptions): Promise<number> {
  return runDataMover<DataUpload>(options, { type: dataUploads, name: options.dataUploadName, run: (context) => backUp(options, context) });
}

async function backUp(options: DataMoverBackupOptions, context: TransferContext<DataUpload>): Promise<Outcome> {
  const { logger, volumePath, volumeMode, checkpointEveryMs } = options;
  const { metadata, spec } = context.object;
  const operationId = metadata.labels?.[LABELS.asyncOperationId];
  const tagsOf = (): Labels => (operationId === undefined ? {} : { [LABELS.asyncOperationId]: operationId });
  const changedBlocks = volumeMode === "Block" ? changedBlocksFromEnvironment() : undefined;
  const { mover, ...given } = hostedMover(options, context, {
    tagsOf,
    ...(spec.datamover === BLOCK_DATA_MOVER && volumeMode === "Block" ? { style: "blocks" } : {}),
    ...(checkpointEveryMs === undefined ? {} : { checkpointEveryMs }),
    ...(changedBlocks === undefined ? {} : { changedBlocks }),
  });
  const result = await mover.backup({
    ...given,
    id: operationId ?? metadata.uid ?? "",
    source: {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      namespace: spec.sourceNamespace,
      name: spec.sourcePVC,
      volume: { path: volumePath, mode: volumeMode },
    },
    parameters: parametersOf(mover, spec.dataMoverConfig, logger),
    isRepeated: metadata.annotations?.[DRAYAGE_ANNOTATIONS.epoch] !== undefined && operationId !== undefined,
    fence: context.fence,
  });
  return outcomeOf(result, volumePath, volumeMode);
}

/** What is told of an upload that another kind of object asked for. */
export function outcomeOfUpload(result: UploadResult, byPath: string, volumeMode: "Filesystem" | "Block"): Outcome {
  const { snapshotId, stats, problems } = result;
  const problem = stats.errorCount === 0 ? {} : { problem: describeProblems(problems, stats.errorCount, "read") };
  return outcomeOf({ snapshotId, totalBytes: stats.totalSize, incrementalBytes: incrementalBytesOf(result, volumeMode), ...problem }, byPath, volumeMode);
}

function outcomeOf({ snapshotId, totalBytes, incrementalBytes = 0, problem }: BackupResult, byPath: string, volumeMode: "Filesystem" | "Block"): Outcome {
  return {
    // In Velero's order, and without zeros as it writes them.
    result: {
      snapshotID: snapshotId,
      emptySnapshot: false,
      source: { byPath, volumeMode },
      ...(totalBytes === 0 ? {} : { totalBytes }),
      ...(incrementalBytes === 0 ? {} : { incrementalBytes }),
    },
    ...(problem === undefined ? {} : { problem }),
  };
}

/** A decimal number above zero, as a mover's parameters are written. */
export function positive(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : undefined;
}
