/** Operations of a backup that wait for a snapshot which stays with its storage, and what they make of the snapshot and its content. */
import type { BackupStatus, VolumeSnapshot, VolumeSnapshotContent } from "@drayage/api";
import { volumeSnapshots } from "@drayage/api";
import { formatTime } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { contentOf, VOLUME_SNAPSHOT_ACTION } from "../actions/volume-snapshot-actions.ts";
import type { ItemOperation } from "../ports.ts";

export interface ObservedSnapshot {
  readonly snapshot: VolumeSnapshot;
  readonly content: VolumeSnapshotContent | undefined;
}

export function isOfSnapshot({ spec }: ItemOperation): boolean {
  return spec.backupItemAction === VOLUME_SNAPSHOT_ACTION;
}

/** The snapshots of operations that have not ended, and of those that have as far as they are there, by operation id. */
export async function loadSnapshots(
  client: KubeClient,
  operations: readonly ItemOperation[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ObservedSnapshot>> {
  const found = new Map<string, ObservedSnapshot>();
  for (const operation of operations.filter(isOfSnapshot)) {
    const { Namespace, Name } = operation.spec.resourceIdentifier;
    const snapshot = await client.find<VolumeSnapshot>(volumeSnapshots, { namespace: Namespace, name: Name }, signal);
    if (snapshot !== undefined) found.set(operation.spec.operationID, { snapshot, content: await contentOf(client, snapshot, signal) });
  }
  return found;
}

/** Where an operation stands in view of its snapshot. A fault of the snapshot itself passes, one of its content is final, as Velero takes them. */
export function snapshotStatus(operation: ItemOperation, seen: ObservedSnapshot | undefined, nowMs: number): ItemOperation["status"] {
  const started = operation.spec.operationID.split("/").at(-1) ?? "";
  const now = formatTime(nowMs);
  const base: ItemOperation["status"] = { ...operation.status, phase: "InProgress", started };
  const { Namespace, Name } = operation.spec.resourceIdentifier;
  if (seen === undefined) return { ...base, phase: "Failed", error: `VolumeSnapshot "${Namespace}/${Name}" does not exist any more`, updated: now };
  const { status } = seen.content ?? {};
  if (status?.readyToUse === true) return { ...base, phase: "Completed", updated: now };
  const complaint = status?.error?.message;
  return complaint === undefined ? base : { ...base, phase: "Failed", error: complaint, updated: now };
}

/** The counts of a backup's status; none where no snapshot stays. */
export function snapshotCounts(operations: readonly ItemOperation[]): BackupStatus {
  const own = operations.filter(isOfSnapshot);
  if (own.length === 0) return {};
  return { csiVolumeSnapshotsAttempted: own.length, csiVolumeSnapshotsCompleted: own.filter(({ status }) => status.phase === "Completed").length };
}
