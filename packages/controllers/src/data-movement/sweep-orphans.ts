/**
 * Removes backup VolumeSnapshots whose DataUpload is gone. Pods, claims and Secrets are owned by their object and go with it; a VolumeSnapshotContent is cluster-scoped and cannot be,
 * so snapshots are found by the UID that they carry. What carries none was not made by us and is left alone.
 */
import { dataUploads, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { hasCode, type Logger } from "@drayage/base";
import { type KubeClient, type KubeObject, keyOf } from "@drayage/kube";
import { retireContent } from "../exposers/retire-content.ts";
import type { DataMovementCaches } from "./caches.ts";
import { MOVEMENT_ANNOTATIONS } from "./movement.ts";

export interface SweepDeps {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly namespace: string;
  readonly caches: Pick<DataMovementCaches, "uploads">;
}

/** Returns how many objects were deleted; a content that its driver does not know yet is left to the next time. The caches must be filled: an empty one would make everything an orphan. */
export async function sweepOrphans({ client, logger, namespace, caches }: SweepDeps): Promise<number> {
  const owners = new Set(caches.uploads.list().map(({ metadata }) => metadata.uid));
  const isOrphan = async ({ metadata }: KubeObject): Promise<boolean> => {
    const owner = metadata.annotations?.[MOVEMENT_ANNOTATIONS.ownerUid];
    if (owner === undefined || owners.has(owner) || metadata.deletionTimestamp !== undefined) return false;
    // The cache may lag behind another node that took up a new object just now; the copies carry its name, so the server is asked.
    const alive = await client.find(dataUploads, { namespace, name: metadata.name ?? "" });
    return alive?.metadata.uid !== owner;
  };
  let count = 0;
  try {
    for await (const snapshot of client.listAll(volumeSnapshots, { namespace })) {
      if (!(await isOrphan(snapshot))) continue;
      logger.warn("Deleting a volume snapshot whose data upload is gone", { name: snapshot.metadata.name });
      if (await client.delete(volumeSnapshots, keyOf(snapshot))) count++;
    }
    for await (const content of client.listAll(volumeSnapshotContents)) {
      // The copies of other installations in this cluster are theirs.
      if (content.spec.volumeSnapshotRef.namespace !== namespace || !(await isOrphan(content))) continue;
      logger.warn("Deleting a volume snapshot content whose data upload is gone", { name: content.metadata.name });
      if (await retireContent(client, content)) count++;
    }
  } catch (error) {
    // A cluster without the snapshot kinds has nothing to sweep.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
  return count;
}
