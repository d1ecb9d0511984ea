/** Carries out one step of a VolumeSnapshotBackup. Each can be repeated. */
import { type VolumeSnapshotBackup, type VolumeSnapshotBackupStatus, VSM_FINALIZER, volumeSnapshotBackups } from "@drayage/api";
import { formatTime, type Logger } from "@drayage/base";
import { type KubeClient, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { withProgress } from "../volsync-era/moved-bytes.ts";
import { reconciled } from "../volsync-era/reconciled.ts";
import { childNames } from "./prepare.ts";
import { isTerminal, type Step } from "./volume-snapshot-backup.ts";

export interface ApplierDeps {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

export async function apply(deps: ApplierDeps, backup: VolumeSnapshotBackup, step: Step): Promise<void> {
  const { client, logger } = deps;
  const subject = { name: backup.metadata.name, namespace: backup.metadata.namespace };
  switch (step.do) {
    case "addFinalizer":
      await client.replace(volumeSnapshotBackups, withFinalizer(backup, VSM_FINALIZER));
      return;
    case "removeFinalizer":
      await client.replace(volumeSnapshotBackups, withoutFinalizer(backup, VSM_FINALIZER));
      return;
    case "work":
      logger.debug(`VolumeSnapshotBackup: ${step.work.what}`, subject);
      await step.work.run();
      return;
    case "noteProgress":
      await client.replace(volumeSnapshotBackups, withProgress(backup, step.bytes));
      return;
    case "recordSource":
      await client.replaceStatus(volumeSnapshotBackups, {
        ...backup,
        status: { ...backup.status, replicationSourceData: { name: childNames(backup).source, startTimestamp: formatTime(deps.nowMs()) } },
      });
      return;
    case "setPhase":
      await client.replaceStatus(volumeSnapshotBackups, { ...backup, status: statusAfter(deps, backup, step) });
      logger.info(`VolumeSnapshotBackup is ${step.to}`, { ...subject, message: step.message });
  }
}

function statusAfter(
  { nowMs }: ApplierDeps,
  { status = {}, metadata }: VolumeSnapshotBackup,
  step: Extract<Step, { do: "setPhase" }>,
): VolumeSnapshotBackupStatus {
  const now = formatTime(nowMs());
  const isBegun = step.batching === "Processing" || isTerminal(step.to);
  const source = status.replicationSourceData;
  const isMoved = step.to === "SnapshotBackupDone" && source !== undefined;
  return {
    ...status,
    phase: step.to,
    batchingStatus: step.batching,
    // Waiting in the queue does not count: the time to prepare begins here.
    ...(isBegun ? { startTimestamp: status.startTimestamp ?? now } : {}),
    ...(isTerminal(step.to) ? { completionTimestamp: now } : {}),
    ...(isMoved ? { replicationSourceData: { ...source, completionTimestamp: now } } : {}),
    conditions: reconciled(status.conditions, {
      failed: step.to === "Failed" || step.to === "PartiallyFailed",
      message: step.message,
      now,
      generation: metadata.generation,
    }),
  };
}
