/**
 * The members of a group that was cut: a VolumeSnapshot with its content for each volume. They are made in this order:
 *
 *   content ─▶ snapshot ─▶ the content points back ─▶ the content says what was cut ─▶ the snapshot is bound
 *
 * so that nobody who looks at one in between takes it for a snapshot that is still to be cut.
 */
import {
  type VolumeGroupSnapshot,
  type VolumeGroupSnapshotContent,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import type { PersistentVolume } from "@drayage/kube";
import { create, type KubeStep, replace, replaceStatus } from "../steps.ts";
import { GROUP_HANDLE, IN_GROUP, memberName } from "./names.ts";

export type CutMember = NonNullable<NonNullable<VolumeGroupSnapshotContent["status"]>["volumeSnapshotInfoList"]>[number];

/** A member as it was cut, and what of it is in the cluster. */
export interface ObservedMember {
  readonly cut: CutMember;
  readonly volume: PersistentVolume | undefined;
  readonly snapshot: VolumeSnapshot | undefined;
  readonly content: VolumeSnapshotContent | undefined;
}

/** What is to be done next for a member; nothing when it is whole. */
export function nextForMember(group: VolumeGroupSnapshot, groupContent: VolumeGroupSnapshotContent, member: ObservedMember): KubeStep[] {
  const { cut, snapshot, content } = member;
  const { name = "", uid } = group.metadata;
  const making = snapshot === undefined ? [create(volumeSnapshots, snapshotOfMember(group, member))] : [];
  if (content === undefined) return [create(volumeSnapshotContents, contentOfMember(group, groupContent, member)), ...making];
  if (snapshot === undefined) return making;
  if (snapshot.metadata.ownerReferences?.some((owner) => owner.uid === uid) !== true) return [];
  if ((content.spec.volumeSnapshotRef.uid ?? "") === "") {
    const volumeSnapshotRef = { ...content.spec.volumeSnapshotRef, uid: snapshot.metadata.uid ?? "" };
    return [replace(volumeSnapshotContents, { ...content, spec: { ...content.spec, volumeSnapshotRef } })];
  }
  if (content.status?.snapshotHandle === undefined) return [replaceStatus(volumeSnapshotContents, { ...content, status: statusOfMember(groupContent, cut) })];
  if (snapshot.status?.boundVolumeSnapshotContentName !== undefined) return [];
  const status = { boundVolumeSnapshotContentName: content.metadata.name ?? "", volumeGroupSnapshotName: name };
  return [replaceStatus(volumeSnapshots, { ...snapshot, status })];
}

function contentOfMember(group: VolumeGroupSnapshot, { spec, status }: VolumeGroupSnapshotContent, { cut, volume }: ObservedMember): VolumeSnapshotContent {
  const volumeHandle = cut.volumeHandle ?? "";
  return {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotContent",
    metadata: {
      name: memberName("snapcontent", group, volumeHandle),
      annotations: { [GROUP_HANDLE]: status?.volumeGroupSnapshotHandle ?? "" },
    },
    spec: {
      deletionPolicy: spec.deletionPolicy,
      driver: spec.driver,
      source: { volumeHandle },
      ...(volume === undefined ? {} : { sourceVolumeMode: volume.spec.volumeMode ?? "Filesystem" }),
      volumeSnapshotRef: { kind: "VolumeSnapshot", name: memberName("snapshot", group, volumeHandle), namespace: group.metadata.namespace ?? "" },
    },
  };
}

function snapshotOfMember(group: VolumeGroupSnapshot, { cut, volume }: ObservedMember): VolumeSnapshot {
  const { name = "", namespace = "", uid = "" } = group.metadata;
  return {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshot",
    metadata: {
      name: memberName("snapshot", group, cut.volumeHandle ?? ""),
      namespace,
      ownerReferences: [{ apiVersion: "groupsnapshot.storage.k8s.io/v1beta2", kind: "VolumeGroupSnapshot", name, uid }],
      finalizers: [IN_GROUP],
    },
    // A volume that has left the cluster since has no claim to name; the field is wanted all the same.
    spec: { source: { persistentVolumeClaimName: volume?.spec.claimRef?.name ?? "" } },
  };
}

function statusOfMember({ status }: VolumeGroupSnapshotContent, cut: CutMember): NonNullable<VolumeSnapshotContent["status"]> {
  return {
    ...(cut.snapshotHandle === undefined ? {} : { snapshotHandle: cut.snapshotHandle }),
    ...(cut.creationTime === undefined ? {} : { creationTime: cut.creationTime }),
    ...(cut.restoreSize === undefined ? {} : { restoreSize: cut.restoreSize }),
    ...(status?.volumeGroupSnapshotHandle === undefined ? {} : { volumeGroupSnapshotHandle: status.volumeGroupSnapshotHandle }),
    readyToUse: cut.readyToUse ?? false,
  };
}
