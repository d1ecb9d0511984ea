/**
 * Snapshots that stay with their storage: the VolumeSnapshot goes into the backup with its content and its class, and with what a restore needs to find the snapshot again
 * (Velero's actions `velero.io/csi-volumesnapshot-backupper`, `-volumesnapshotcontent-backupper` and `-volumesnapshotclass-backupper`).
 * When it is ready, the backup is finalized and the objects leave the cluster (`retainSnapshot`): the backup alone says where the snapshot is, so no deleted namespace takes it along.
 */
import {
  ANNOTATIONS,
  DRAYAGE_ANNOTATIONS,
  LABELS,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  validLabelValue,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { type Clock, DrayError, formatTime, hasCode } from "@drayage/base";
import { formatQuantity, type GenericObject, type KubeClient, keyOf } from "@drayage/kube";
import type { BackupAction } from "./backup-action.ts";
import { type ItemId, VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS } from "./item-id.ts";
import { DELETION_SECRET, LIST_SECRET, secretNamedBy } from "./snapshot-secrets.ts";

export const VOLUME_SNAPSHOT_ACTION = "velero.io/csi-volumesnapshot-backupper";

/** Actions for the snapshots, contents and classes that a backup makes or uses. */
export function createVolumeSnapshotActions({ client, clock }: { readonly client: KubeClient; readonly clock: Clock }): BackupAction[] {
  return [
    {
      name: VOLUME_SNAPSHOT_ACTION,
      groupResource: VOLUME_SNAPSHOTS,
      async execute(item, { backup, signal }) {
        const snapshot = item as unknown as VolumeSnapshot;
        const content = await contentOf(client, snapshot, signal);
        const { namespace = "", name = "" } = snapshot.metadata;
        if (content === undefined) throw new DrayError("SNAPSHOT_FAILED", `Cannot back up VolumeSnapshot "${namespace}/${name}": it has no content`);
        const annotations = notesOf(content);
        // In the cluster too: what is stored at the end is the object as it is then.
        await client.patch<VolumeSnapshot>(volumeSnapshots, keyOf(snapshot), "merge", { metadata: { annotations } }, { signal });
        const labels = { [LABELS.backupName]: validLabelValue(backup.metadata.name ?? "") };
        const marks = { labels, annotations: { [DRAYAGE_ANNOTATIONS.backupNamespace]: backup.metadata.namespace ?? "" } };
        await client.patch<VolumeSnapshotContent>(volumeSnapshotContents, keyOf(content), "merge", { metadata: marks }, { signal });
        const contentId: ItemId = { groupResource: VOLUME_SNAPSHOT_CONTENTS, namespace: undefined, name: content.metadata.name ?? "" };
        const className = snapshot.spec.volumeSnapshotClassName;
        const stored = structuredClone(snapshot);
        stored.metadata.annotations = { ...stored.metadata.annotations, ...annotations, [ANNOTATIONS.mustIncludeAdditionalItems]: "true" };
        return {
          item: stored as unknown as GenericObject,
          additionalItems: [...(className === undefined ? [] : [{ groupResource: VOLUME_SNAPSHOT_CLASSES, namespace: undefined, name: className }]), contentId],
          mustInclude: true,
          operation: {
            id: `${namespace}/${name}/${formatTime(clock.nowMs())}`,
            postOperationItems: [{ groupResource: VOLUME_SNAPSHOTS, namespace, name }, contentId],
          },
        };
      },
    },
    secretAction("velero.io/csi-volumesnapshotcontent-backupper", VOLUME_SNAPSHOT_CONTENTS, DELETION_SECRET),
    secretAction("velero.io/csi-volumesnapshotclass-backupper", VOLUME_SNAPSHOT_CLASSES, LIST_SECRET),
  ];
}

/** Brings the Secret along that an object's annotations name. */
function secretAction(name: string, groupResource: string, keys: Parameters<typeof secretNamedBy>[1]): BackupAction {
  return {
    name,
    groupResource,
    async execute(item) {
      const additionalItems = secretNamedBy(item, keys);
      return additionalItems.length === 0 ? { item } : { item, additionalItems, mustInclude: true };
    },
  };
}

/** What a restore makes a content from. */
function notesOf({ spec, status }: VolumeSnapshotContent): Record<string, string> {
  const size = status?.restoreSize;
  return {
    [ANNOTATIONS.contentDeletionPolicy]: spec.deletionPolicy,
    ...(status?.snapshotHandle === undefined ? {} : { [ANNOTATIONS.snapshotHandle]: status.snapshotHandle, [ANNOTATIONS.csiDriverName]: spec.driver }),
    ...(size === undefined ? {} : { [ANNOTATIONS.snapshotRestoreSize]: formatQuantity({ nanos: BigInt(size) * 1_000_000_000n, format: "BinarySI" }) }),
    ...(status?.volumeGroupSnapshotHandle === undefined ? {} : { [ANNOTATIONS.volumeGroupSnapshotHandle]: status.volumeGroupSnapshotHandle }),
  };
}

/** The content that a snapshot is bound to, if it is there. */
export async function contentOf(client: KubeClient, snapshot: VolumeSnapshot, signal: AbortSignal): Promise<VolumeSnapshotContent | undefined> {
  const name = snapshot.status?.boundVolumeSnapshotContentName;
  return name === undefined ? undefined : client.find(volumeSnapshotContents, { name }, signal);
}

/** Takes a snapshot and its content out of the cluster and leaves the snapshot in the storage. Can be repeated. */
export async function retainSnapshot(client: KubeClient, key: { readonly namespace: string; readonly name: string }, signal: AbortSignal): Promise<void> {
  const snapshot = await client.find(volumeSnapshots, key, signal);
  if (snapshot === undefined) return;
  const contentName = snapshot.status?.boundVolumeSnapshotContentName;
  if (contentName !== undefined) {
    try {
      await client.patch<VolumeSnapshotContent>(volumeSnapshotContents, { name: contentName }, "merge", { spec: { deletionPolicy: "Retain" } }, { signal });
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
  await client.delete(volumeSnapshots, key, { signal });
  if (contentName !== undefined) await client.delete(volumeSnapshotContents, { name: contentName }, { signal });
}
