/** `data-mover backup`: one exposed volume into the repository of its namespace, in the form that Velero writes (velero.md 8.3). */
import { type DataUpload, DRAYAGE_ANNOTATIONS, dataUploads, LABELS } from "@drayage/api";
import type { Logger } from "@drayage/base";
import { type EntryProblem, type UploadResult, uploadSnapshot } from "@drayage/datapath";
import { type Repository, type SnapshotSource, veleroIdentity } from "@drayage/repo";
import { Superseded } from "./movement-watch.ts";
import { withRepository } from "./open-repository.ts";
import { type DataMoverOptions, type Outcome, runDataMover, type TransferContext } from "./run-data-mover.ts";

export interface DataMoverBackupOptions extends DataMoverOptions {
  readonly dataUploadName: string;
  /** How often what is there so far is saved, so that another node can go on from it; five minutes when left out. */
  readonly checkpointEveryMs?: number;
}

/** What Velero calls snapshots of this kind, and looks them up by. */
export const DATA_MOVER_REQUESTER = "snapshot-data-upload-download";
const UPLOADER = "kopia";

/** Runs a DataUpload's data path and returns the exit code. Never throws: what went wrong is in the termination message and in Events. */
export function runDataMoverBackup(options: DataMoverBackupOptions): Promise<number> {
  return runDataMover<DataUpload>(options, { type: dataUploads, name: options.dataUploadName, run: (context) => backUp(options, context) });
}

async function backUp(options: DataMoverBackupOptions, { object, access, signal, onProgress, fence }: TransferContext<DataUpload>): Promise<Outcome> {
  const { clock, random, logger, volumePath, volumeMode, memoryBudget, checkpointEveryMs } = options;
  const { sourceNamespace, sourcePVC, dataMoverConfig } = object.spec;
  const operationId = object.metadata.labels?.[LABELS.asyncOperationId];
  const snapshotSource = { ...veleroIdentity, path: `${DATA_MOVER_REQUESTER}/${UPLOADER}/${sourceNamespace}/${sourcePVC}` };
  const parallel = positive(dataMoverConfig?.["ParallelFilesUpload"]);
  const result = await withRepository(access, { clock, random, logger, signal }, async (repository) => {
    const uploaded = await uploadSnapshot({
      repository,
      source: { kind: volumeMode === "Block" ? "block" : "directory", path: volumePath },
      snapshotSource,
      description: "Kopia Uploader",
      tags: {
        "snapshot-requester": DATA_MOVER_REQUESTER,
        "snapshot-uploader": UPLOADER,
        ...(operationId === undefined ? {} : { [LABELS.asyncOperationId]: operationId }),
      },
      pins: ["velero-pin"],
      policy: "velero",
      fence,
      signal,
      onProgress,
      clock,
      logger,
      ...(parallel === undefined ? {} : { parallel }),
      ...(memoryBudget === undefined ? {} : { memoryBudget }),
      ...(checkpointEveryMs === undefined ? {} : { checkpointEveryMs }),
    });
    await keepOne(repository, { snapshotId: uploaded.snapshotId, snapshotSource, operationId, object, fence, logger });
    return uploaded;
  });
  for (const { path, message } of result.warnings) logger.warn("An entry was not kept as it is", { path, message });
  return outcomeOf(result, volumePath, volumeMode);
}

interface Kept {
  readonly snapshotId: string;
  readonly snapshotSource: SnapshotSource;
  readonly operationId: string | undefined;
  readonly object: DataUpload;
  readonly fence: TransferContext<DataUpload>["fence"];
  readonly logger: Logger;
}

/**
 * Of the movers of one DataUpload only one leaves a snapshot. Between a fence and the manifest that it lets pass lies a moment in which a successor may have been named: who finds that
 * out takes its own away, and a successor takes away what one before it left.
 */
async function keepOne(repository: Repository, { snapshotId, snapshotSource, operationId, object, fence, logger }: Kept): Promise<void> {
  try {
    await fence("snapshot");
  } catch (error) {
    // A cancel comes too late, and of an API server that does not answer nothing is known.
    if (!(error instanceof Superseded)) return;
    await repository.snapshots.delete(snapshotId);
    await repository.flush();
    throw error;
  }
  if (object.metadata.annotations?.[DRAYAGE_ANNOTATIONS.epoch] === undefined || operationId === undefined) return;
  const { snapshots } = await repository.snapshots.list({ source: snapshotSource });
  const others = snapshots.filter(({ id, incomplete, tags }) => id !== snapshotId && incomplete === undefined && tags[LABELS.asyncOperationId] === operationId);
  for (const { id } of others) {
    logger.warn("Deleting the snapshot of a mover that was taken for dead", { snapshot: id });
    await repository.snapshots.delete(id);
  }
  if (others.length > 0) await repository.flush();
}

/** What is told of an upload. */
export function outcomeOf(result: UploadResult, byPath: string, volumeMode: "Filesystem" | "Block"): Outcome {
  const { snapshotId, stats, problems, progress, changedBytes } = result;
  // Of files, those that the parent did not have, whole, as Velero counts; a device is always read whole, so of it what the repository did not have.
  const incrementalBytes = volumeMode === "Block" ? progress.bytesHashed - progress.bytesDeduplicated : changedBytes;
  const missing = stats.errorCount === 0 ? undefined : describeProblems(problems, stats.errorCount, "read");
  return {
    // In Velero's order, and without zeros as it writes them.
    result: {
      snapshotID: snapshotId,
      emptySnapshot: false,
      source: { byPath, volumeMode },
      ...(stats.totalSize === 0 ? {} : { totalBytes: stats.totalSize }),
      ...(incrementalBytes === 0 ? {} : { incrementalBytes }),
    },
    ...(missing === undefined ? {} : { problem: missing }),
  };
}

/** `3 entries could not be read: "a": permission denied; "b": …`: as many as a message holds. */
export function describeProblems(problems: readonly EntryProblem[], count: number, verb: "read" | "restored"): string {
  const shown = problems.slice(0, 20).map(({ path, message }) => `"${path}": ${message}`);
  const more = count > shown.length ? `; and ${count - shown.length} more` : "";
  return `${count} ${count === 1 ? "entry" : "entries"} could not be ${verb}: ${shown.join("; ")}${more}`;
}

/** A decimal number above zero, as a mover's parameters are written. */
export function positive(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : undefined;
}
