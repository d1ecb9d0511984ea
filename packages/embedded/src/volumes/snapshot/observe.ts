import { type VolumeSnapshot, volumeGroupSnapshots, volumeSnapshotClasses, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import type { Clock } from "@drayage/base";
import { type ObjectKey, type PersistentVolumeClaim, persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import { SNAPSHOT_GROUP } from "../names.ts";
import type { ObjectReader } from "../steps.ts";
import type { ObservedContent } from "./content.ts";
import { dynamicContentName, type ObservedSnapshot } from "./snapshot.ts";

export async function observeSnapshot(reader: ObjectReader, key: ObjectKey, clock: Clock): Promise<ObservedSnapshot | undefined> {
  const snapshot = await reader.find(volumeSnapshots, key);
  if (snapshot === undefined) return undefined;
  const claimName = snapshot.spec.source.persistentVolumeClaimName;
  const claim = claimName === undefined ? undefined : await reader.find(persistentVolumeClaims, { namespace: key.namespace, name: claimName });
  const volumeName = claim?.spec.volumeName ?? "";
  const groupName = snapshot.status?.volumeGroupSnapshotName;
  return {
    snapshot,
    content: await reader.find(volumeSnapshotContents, { name: contentNameOf(snapshot) }),
    claim,
    volume: volumeName === "" ? undefined : await reader.find(persistentVolumes, { name: volumeName }),
    classes: await reader.list(volumeSnapshotClasses),
    restoring: (await reader.list(persistentVolumeClaims, key.namespace))
      .filter((other) => isFilledFrom(other, key.name))
      .map((other) => other.metadata.name ?? ""),
    group: groupName === undefined ? undefined : await reader.find(volumeGroupSnapshots, { namespace: key.namespace, name: groupName }),
    nowMs: clock.nowMs(),
  };
}

export async function observeContent(reader: ObjectReader, key: ObjectKey, driverName: string): Promise<ObservedContent | undefined> {
  const content = await reader.find(volumeSnapshotContents, key);
  if (content === undefined) return undefined;
  const className = content.spec.volumeSnapshotClassName ?? "";
  return { driverName, content, snapshotClass: className === "" ? undefined : await reader.find(volumeSnapshotClasses, { name: className }) };
}

/** The content that a snapshot names, or that was made for it. */
export function contentNameOf(snapshot: VolumeSnapshot): string {
  return snapshot.spec.source.volumeSnapshotContentName ?? snapshot.status?.boundVolumeSnapshotContentName ?? dynamicContentName(snapshot);
}

/** Whether a claim waits to be filled from the snapshot of this name. */
export function isFilledFrom(claim: PersistentVolumeClaim, snapshotName: string): boolean {
  const source = claim.spec.dataSourceRef ?? claim.spec.dataSource;
  return source?.kind === "VolumeSnapshot" && source.apiGroup === SNAPSHOT_GROUP && source.name === snapshotName && claim.status?.phase === "Pending";
}
