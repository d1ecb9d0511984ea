/** Takes a VolumeSnapshot away together with what it stands for in the storage. */
import { type Backup, type VolumeSnapshot, type VolumeSnapshotContent, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { type Clock, hasCode } from "@drayage/base";
import { type KubeClient, keyOf } from "@drayage/kube";
import { deleteKeptSnapshot } from "../backup-deletion/kept-snapshots.ts";

export interface RemoveSnapshotOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Of which the snapshot is. */
  readonly backup: Backup;
  readonly signal: AbortSignal;
}

/** How long a driver may take to know, and again to delete, a member of a group. */
const MEMBER_TIMEOUT_MS = 30_000;

/** Deletes a VolumeSnapshot and, whatever its class says, the snapshot in the storage. Can be repeated. Throws TIMED_OUT when the driver does not delete a member of a group. */
export async function removeSnapshot(snapshot: VolumeSnapshot, options: RemoveSnapshotOptions): Promise<void> {
  const { client, signal } = options;
  const current = await client.find(volumeSnapshots, keyOf(snapshot), signal);
  const contentName = current?.status?.boundVolumeSnapshotContentName;
  if (contentName !== undefined) await removeContent(contentName, options);
  await client.delete(volumeSnapshots, keyOf(snapshot), { signal });
}

async function removeContent(name: string, { client, clock, backup, signal }: RemoveSnapshotOptions): Promise<void> {
  const content = await client.find<VolumeSnapshotContent>(volumeSnapshotContents, { name }, signal);
  if (content === undefined) return;
  const { driver, volumeSnapshotClassName: className } = content.spec;
  const { snapshotHandle: handle, volumeGroupSnapshotHandle } = content.status ?? {};
  if (volumeGroupSnapshotHandle !== undefined && handle !== undefined) {
    // The snapshotter (external-snapshotter 8.7) leaves what was cut as a member of a group to its group, which is gone: it deletes it for a content that knows of no group.
    // First, so that a process that ends here leaves a VolumeSnapshot to be found by.
    const kept = { driver, handle, className, annotations: content.metadata.annotations ?? {} };
    await deleteKeptSnapshot(backup, kept, { client, clock, timeoutMs: MEMBER_TIMEOUT_MS, signal });
  }
  try {
    await client.patch<VolumeSnapshotContent>(volumeSnapshotContents, { name }, "merge", { spec: { deletionPolicy: "Delete" } }, { signal });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}
