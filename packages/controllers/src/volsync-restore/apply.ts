/** Carries out one step of a VolumeSnapshotRestore that VolSync carries out. Each can be repeated. */
import { type VolumeSnapshotRestore, type VolumeSnapshotRestoreStatus, VSM_FINALIZER, VSR_ANNOTATIONS, volumeSnapshotRestores } from "@drayage/api";
import { formatTime, type Logger } from "@drayage/base";
import { type KubeClient, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { withProgress } from "../volsync-era/moved-bytes.ts";
import { reconciled } from "../volsync-era/reconciled.ts";
import { childNames } from "./prepare.ts";
import { isTerminal, type Step } from "./volsync-restore.ts";

export interface ApplierDeps {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

export async function apply(deps: ApplierDeps, restore: VolumeSnapshotRestore, step: Step): Promise<void> {
  const { client, logger } = deps;
  const subject = { name: restore.metadata.name, namespace: restore.metadata.namespace };
  switch (step.do) {
    case "addFinalizer": {
      // Whoever reads it later sees how it is carried out.
      const annotations = { ...restore.metadata.annotations, [VSR_ANNOTATIONS.into]: "snapshot" };
      await client.replace(volumeSnapshotRestores, withFinalizer({ ...restore, metadata: { ...restore.metadata, annotations } }, VSM_FINALIZER));
      return;
    }
    case "removeFinalizer":
      await client.replace(volumeSnapshotRestores, withoutFinalizer(restore, VSM_FINALIZER));
      return;
    case "work":
      logger.debug(`VolumeSnapshotRestore: ${step.work.what}`, subject);
      await step.work.run();
      return;
    case "noteProgress":
      await client.replace(volumeSnapshotRestores, withProgress(restore, step.bytes));
      return;
    case "recordDestination":
      await client.replaceStatus(volumeSnapshotRestores, {
        ...restore,
        status: { ...restore.status, replicationDestinationData: { name: childNames(restore).destination, startTimestamp: formatTime(deps.nowMs()) } },
      });
      return;
    case "setPhase":
      await client.replaceStatus(volumeSnapshotRestores, { ...restore, status: statusAfter(deps, restore, step) });
      logger.info(`VolumeSnapshotRestore is ${step.to}`, { ...subject, message: step.message });
  }
}

function statusAfter(
  { nowMs }: ApplierDeps,
  { status = {}, metadata }: VolumeSnapshotRestore,
  step: Extract<Step, { do: "setPhase" }>,
): VolumeSnapshotRestoreStatus {
  const now = formatTime(nowMs());
  const destination = status.replicationDestinationData;
  const isBegun = step.batching === "Processing" || isTerminal(step.to);
  return {
    ...status,
    phase: step.to,
    batchingStatus: step.batching,
    ...(isBegun ? { startTimestamp: status.startTimestamp ?? now } : {}),
    ...(isTerminal(step.to) ? { completionTimestamp: now } : {}),
    ...(step.snapshot === undefined ? {} : { snapshotHandle: step.snapshot.handle, volumeSnapshotContentName: step.snapshot.content }),
    ...(step.snapshot === undefined || destination === undefined ? {} : { replicationDestinationData: { ...destination, completionTimestamp: now } }),
    conditions: reconciled(status.conditions, { failed: step.to === "Failed", message: step.message, now, generation: metadata.generation }),
  };
}
