/** The VolumeSnapshotBackups of a backup, as its asynchronous operations see them, from the API server: one that a cache has not seen yet would fail its operation for good. */
import { type Backup, LABELS, type VolumeSnapshotBackup, VSB_ANNOTATIONS, volumeSnapshotBackups } from "@drayage/api";
import { hasCode } from "@drayage/base";
import { formatKey, type KubeClient, keyOf } from "@drayage/kube";
import { VOLUME_SNAPSHOT_CONTENT_ACTION } from "../actions/volume-snapshot-mover-actions.ts";
import { allOf } from "../all-of.ts";
import type { ItemOperation } from "../ports.ts";
import { progressOf } from "../volsync-era/moved-bytes.ts";
import type { Movement } from "./operations.ts";

/** They are not watched by who waits for them. */
export const MOVED_LOOK_MS = 2_000;

export function isOfVolumeSnapshotBackup({ spec }: Pick<ItemOperation, "spec">): boolean {
  return spec.backupItemAction === VOLUME_SNAPSHOT_CONTENT_ACTION;
}

/** By the ids of their operations; empty where no operation is of that kind. */
export async function loadVolumeSnapshotBackups(
  client: KubeClient,
  backup: Backup,
  operations: readonly ItemOperation[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, VolumeSnapshotBackup>> {
  if (!operations.some(isOfVolumeSnapshotBackup)) return new Map();
  return new Map((await listOf(client, backup, signal)).map((found) => [formatKey(keyOf(found)), found]));
}

/** The one of an operation; undefined for operations of another kind. */
export function movementsIn(found: ReadonlyMap<string, VolumeSnapshotBackup>, operationId: string): readonly Movement[] | undefined {
  const backup = found.get(operationId);
  return backup === undefined ? undefined : [movementOf(backup)];
}

function movementOf(backup: VolumeSnapshotBackup): Movement {
  const { status } = backup;
  const progress = progressOf(backup);
  const { phase = "", batchingStatus = "", startTimestamp, completionTimestamp, conditions } = status ?? {};
  const isOver = phase === "Completed" || phase === "Failed" || phase === "PartiallyFailed";
  return {
    status: {
      phase: phase === "PartiallyFailed" ? "Failed" : phase === "" || isOver ? phase : "InProgress",
      description: `Phase: ${phase} BatchingStatus: ${batchingStatus}`,
      ...(progress === undefined ? {} : { progress }),
      message: conditions?.find(({ type }) => type === "Reconciled")?.message ?? "",
      ...(startTimestamp === undefined ? {} : { startTimestamp }),
      ...(completionTimestamp === undefined ? {} : { completionTimestamp }),
    },
  };
}

/** Tells them to stop; those that have ended stay as they are. */
export async function cancelVolumeSnapshotBackups(client: KubeClient, found: Iterable<VolumeSnapshotBackup>, signal: AbortSignal): Promise<void> {
  for (const backup of found) {
    try {
      const patch = { metadata: { annotations: { [VSB_ANNOTATIONS.cancel]: "true" } } };
      await client.patch<VolumeSnapshotBackup>(volumeSnapshotBackups, keyOf(backup), "merge", patch, { signal });
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
}

/** Tells all of a backup that failed to stop. */
export async function cancelAllVolumeSnapshotBackups(client: KubeClient, backup: Backup, signal: AbortSignal): Promise<void> {
  try {
    await cancelVolumeSnapshotBackups(client, await listOf(client, backup, signal), signal);
  } catch (error) {
    // A cluster that does not know the kind has none.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

function listOf(client: KubeClient, { metadata }: Backup, signal: AbortSignal): Promise<VolumeSnapshotBackup[]> {
  return allOf(client.listAll<VolumeSnapshotBackup>(volumeSnapshotBackups, { labelSelector: `${LABELS.backupUid}=${metadata.uid ?? ""}`, signal }));
}
