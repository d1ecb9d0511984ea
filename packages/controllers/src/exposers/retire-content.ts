/**
 * VolumeSnapshotContents whose VolumeSnapshot went before the two were bound. The snapshot controller tells the driver to delete one only for a VolumeSnapshot that is there, and one that
 * names none is deleted as it is (external-snapshotter 8.7, syncContent and shouldDelete): deleted like any other object it would stay for ever, and its snapshot in the storage.
 */
import { type VolumeSnapshotContent, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { hasFinalizer, isDeleting, type KubeClient } from "@drayage/kube";
import { CONTENT_FINALIZER } from "../backup-deletion/kept-snapshots.ts";

/** How external-snapshotter says on a content that its class is not to be had. */
const CLASS_MISSING = "failed to get snapshot class";

/**
 * The change by which a content stands for itself; undefined where it does. A driver that is not asked for it since its class is gone is asked without: a content only has of a class which
 * Secret to ask with.
 */
export function standingAlone({ spec, status }: VolumeSnapshotContent): object | undefined {
  const lacksClass = spec.volumeSnapshotClassName !== undefined && status?.error?.message?.includes(CLASS_MISSING) === true;
  if (!lacksClass && spec.volumeSnapshotRef.uid === undefined) return undefined;
  return { spec: { volumeSnapshotRef: { uid: null, resourceVersion: null }, ...(lacksClass ? { volumeSnapshotClassName: null } : {}) } };
}

/** Whether nobody will ever tell the driver to delete its snapshot. */
export async function isForsaken(client: KubeClient, content: VolumeSnapshotContent): Promise<boolean> {
  const { namespace = "", name = "" } = content.spec.volumeSnapshotRef;
  return hasFinalizer(content, CONTENT_FINALIZER) && (await client.find(volumeSnapshots, { namespace, name })) === undefined;
}

/** Deletes a content and its snapshot. False while its driver has not said yet that it knows it: then it is to be asked again. */
export async function retireContent(client: KubeClient, content: VolumeSnapshotContent): Promise<boolean> {
  const { name = "", uid } = content.metadata;
  if (await isForsaken(client, content)) {
    const change = standingAlone(content);
    if (change !== undefined) await client.patch(volumeSnapshotContents, { name }, "merge", change);
    // Deleted now, it would go without its snapshot.
    if (content.status?.snapshotHandle === undefined) return isDeleting(content);
  }
  await client.delete(volumeSnapshotContents, { name }, uid === undefined ? {} : { preconditions: { uid } });
  return true;
}
