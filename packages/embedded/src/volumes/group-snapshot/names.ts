/** Annotations, finalizers and derived names of group snapshots. Source: external-snapshotter 8.7. */
import { createHash } from "node:crypto";
import type { VolumeGroupSnapshot } from "@drayage/api";

export const GROUP_BOUND = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-bound-protection";
export const GROUP_CONTENT_BOUND = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshotcontent-bound-protection";
export const GROUP_BEING_CREATED = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-created";
export const GROUP_BEING_DELETED = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-deleted";
export const DEFAULT_GROUP_CLASS = "groupsnapshot.storage.kubernetes.io/is-default-class";
/** On a VolumeSnapshot: it goes with its group only. */
export const IN_GROUP = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";
/** On a VolumeSnapshotContent: it was cut as a member of this group, and is not cut alone. */
export const GROUP_HANDLE = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle";

export function groupContentName({ metadata }: VolumeGroupSnapshot): string {
  return `groupsnapcontent-${metadata.uid}`;
}

export function memberName(kind: "snapshot" | "snapcontent", { metadata }: VolumeGroupSnapshot, volumeHandle: string): string {
  return `${kind}-${createHash("sha256").update(`${metadata.uid}${volumeHandle}`).digest("hex")}`;
}
