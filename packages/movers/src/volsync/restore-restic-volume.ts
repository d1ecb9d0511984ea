/** Restores from restic repositories: what VolSync moved for OADP 1.1 and 1.2 (a DataDownload), and what Velero's file-system backup wrote before it had Kopia (a PodVolumeRestore). */
import { type DataDownload, NEWEST_SNAPSHOT, type PodVolumeRestore, VOLSYNC_MOVER_CONFIG } from "@drayage/api";
import { DrayError, formatTime, hasCode, type Logger } from "@drayage/base";
import { ResticSource, resticRootOf, restoreFrom } from "@drayage/datapath";
import type { ResticRepository, ResticSnapshot } from "@drayage/restic";
import { describeProblems } from "../builtin/built-in-mover.ts";
import type { DataMoverOptions, Outcome, TransferContext } from "../builtin/run-data-mover.ts";
import { type ResticAccess, withResticRepository } from "./restic-store.ts";

/** What VolSync's mover backed up: the volume, as the folder it worked in. Its tree is that of the volume itself. */
const VOLSYNC_PATH = "/data";
/** Of the node that the volume was on. Put on another one, it would keep the application from its own files. */
const FOREIGN_ATTRIBUTE = "security.selinux";

/** VolSync's way of choosing a snapshot. */
export async function restoreResticVolume(options: DataMoverOptions, context: TransferContext<DataDownload>): Promise<Outcome> {
  const { snapshotID, dataMoverConfig } = context.object.spec;
  return restoreResticSnapshot(options, context, {
    snapshotID,
    path: dataMoverConfig?.[VOLSYNC_MOVER_CONFIG.repositoryPath] ?? "",
    mayBeEmpty: dataMoverConfig?.[VOLSYNC_MOVER_CONFIG.mayBeEmpty] === "true",
  });
}

/** Velero's: one repository for each namespace, in the folder `restic` of the location's own prefix, and a snapshot that is named. */
export async function restoreResticPodVolume(options: DataMoverOptions, context: TransferContext<PodVolumeRestore>): Promise<Outcome> {
  const { snapshotID, sourceNamespace } = context.object.spec;
  const prefix = (context.access.location.spec.objectStorage.prefix ?? "").replaceAll(/^\/+|\/+$/g, "");
  const path = [...(prefix === "" ? [] : [prefix]), "restic", sourceNamespace].join("/");
  return restoreResticSnapshot(options, context, { snapshotID, path, mayBeEmpty: false });
}

interface ResticSubject {
  /** Or `latest`. */
  readonly snapshotID: string;
  /** Of the repository, below the bucket. */
  readonly path: string;
  /** Whether it is right for a volume to have no snapshot. */
  readonly mayBeEmpty: boolean;
}

async function restoreResticSnapshot(
  options: DataMoverOptions,
  { access, signal, onProgress }: Pick<TransferContext<unknown>, "access" | "signal" | "onProgress">,
  { snapshotID, path, mayBeEmpty }: ResticSubject,
): Promise<Outcome> {
  const { clock, logger, volumePath: byPath, volumeMode, memoryBudget } = options;
  if (volumeMode === "Block") throw new DrayError("NOT_SUPPORTED", "Cannot restore to a block volume: the backup holds files");
  const restic: ResticAccess = { ...access, path };
  const target = { byPath, volumeMode };
  try {
    return await withResticRepository(restic, options, signal, async (repository) => {
      const snapshot = await chooseSnapshot(repository, snapshotID, logger, signal);
      if (snapshot === undefined) return emptyVolume(target, mayBeEmpty, `restic repository "${repository.description}" has no snapshot`, logger);
      const result = await restoreFrom({
        source: new ResticSource(repository, { keepsAttribute: (name) => name !== FOREIGN_ATTRIBUTE }),
        root: resticRootOf(snapshot),
        // restic keeps nothing of the volume's own directory: the new volume's is as its driver made it.
        keepRootAttributes: true,
        target: { kind: "directory", path: byPath },
        ...(snapshot.summary === undefined ? {} : { expected: snapshot.summary }),
        // A volume that a first mover left half written is written over by the second; nobody else has ever seen it.
        overwrite: true,
        // The volume changes hands as soon as this ends.
        flush: true,
        // A damaged pack costs files here and there: the message names them all, and not the first alone.
        keepGoing: true,
        signal,
        clock,
        onProgress,
        ...(memoryBudget === undefined ? {} : { memoryBudget }),
      });
      for (const { path, message } of result.warnings) logger.warn("An entry was not restored as it was", { path, message });
      const { progress, problems, problemCount } = result;
      return {
        result: { target, ...(progress.bytesDone === 0 ? {} : { totalBytes: progress.bytesDone }) },
        ...(problemCount === 0 ? {} : { problem: describeProblems(problems, problemCount, "restored") }),
      };
    });
  } catch (error) {
    // VolSync made no repository for a volume with nothing in it.
    if (!hasCode(error, "REPO_NOT_FOUND") || !mayBeEmpty) throw error;
    return emptyVolume(target, mayBeEmpty, error.message, logger);
  }
}

/** The snapshot of that id; for `latest` the newest of what VolSync backed up, else the newest of all. Undefined where there is none. */
async function chooseSnapshot(repository: ResticRepository, id: string, logger: Logger, signal: AbortSignal): Promise<ResticSnapshot | undefined> {
  if (id !== NEWEST_SNAPSHOT) return await repository.findSnapshot(id, signal);
  const { snapshots, unreadable } = await repository.listSnapshots(signal);
  const [damaged] = unreadable;
  // An older one would come back without a word.
  if (damaged !== undefined) throw damaged.error;
  const chosen = snapshots.findLast(({ paths }) => paths.includes(VOLSYNC_PATH)) ?? snapshots.at(-1);
  if (chosen !== undefined) {
    logger.info("Restoring a snapshot of a restic repository", {
      ...{ repository: repository.description, snapshot: chosen.id, host: chosen.hostName, of: snapshots.length },
      time: formatTime(Number(chosen.timeNs / 1_000_000n)),
    });
  }
  return chosen;
}

/** Nothing to restore is right for a volume that had nothing in it, which only the backup knows. */
function emptyVolume(target: Readonly<Record<string, unknown>>, mayBeEmpty: boolean, why: string, logger: Logger): Outcome {
  if (!mayBeEmpty) {
    throw new DrayError("REPO_MANIFEST_NOT_FOUND", `Cannot restore the volume: ${why}`, {
      hint: "The backup does not say that its data was moved: it may never have come so far, or its data was deleted since.",
    });
  }
  logger.warn("The volume stays empty: its backup was completed, and there is nothing for it in the bucket", { why });
  return { result: { target } };
}
