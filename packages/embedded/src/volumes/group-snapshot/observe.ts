import {
  type VolumeGroupSnapshot,
  type VolumeGroupSnapshotContent,
  volumeGroupSnapshotClasses,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import type { Clock } from "@drayage/base";
import { type LabelSelector, matchesLabels, type ObjectKey, type PersistentVolumeClaim, persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import { isFilledFrom } from "../snapshot/observe.ts";
import type { ObjectReader } from "../steps.ts";
import type { GroupClaim, ObservedGroup } from "./group.ts";
import type { ObservedGroupContent } from "./group-content.ts";
import type { ObservedMember } from "./members.ts";
import { groupContentName, memberName } from "./names.ts";

export async function observeGroup(reader: ObjectReader, key: ObjectKey, clock: Clock): Promise<ObservedGroup | undefined> {
  const group = await reader.find(volumeGroupSnapshots, key);
  if (group === undefined) return undefined;
  const content = await reader.find(volumeGroupSnapshotContents, { name: groupContentNameOf(group) });
  const owned = (await reader.list(volumeSnapshots, key.namespace)).filter(({ metadata }) =>
    metadata.ownerReferences?.some(({ uid }) => uid === group.metadata.uid),
  );
  const inNamespace = await reader.list(persistentVolumeClaims, key.namespace);
  return {
    group,
    content,
    claims: content === undefined ? await claimsOf(reader, group) : [],
    classes: await reader.list(volumeGroupSnapshotClasses),
    members: content === undefined ? [] : await membersOf(reader, group, content),
    owned,
    restoring: owned.flatMap(({ metadata: { name = "" } }) => (inNamespace.some((claim) => isFilledFrom(claim, name)) ? [name] : [])),
    nowMs: clock.nowMs(),
  };
}

export async function observeGroupContent(reader: ObjectReader, key: ObjectKey, driverName: string): Promise<ObservedGroupContent | undefined> {
  const content = await reader.find(volumeGroupSnapshotContents, key);
  if (content === undefined) return undefined;
  const className = content.spec.volumeGroupSnapshotClassName ?? "";
  return { driverName, content, groupClass: className === "" ? undefined : await reader.find(volumeGroupSnapshotClasses, { name: className }) };
}

/** The content that a group names, or that was made for it. */
function groupContentNameOf(group: VolumeGroupSnapshot): string {
  return group.spec.source.volumeGroupSnapshotContentName ?? group.status?.boundVolumeGroupSnapshotContentName ?? groupContentName(group);
}

/** Whether a group's selector finds a claim. */
export function isSelected({ spec }: VolumeGroupSnapshot, { metadata }: PersistentVolumeClaim): boolean {
  const { selector } = spec.source;
  // The definition leaves the operators open; one that is none selects nothing.
  return selector !== undefined && matchesLabels(selector as LabelSelector, metadata.labels);
}

async function claimsOf(reader: ObjectReader, group: VolumeGroupSnapshot): Promise<GroupClaim[]> {
  const found: GroupClaim[] = [];
  for (const claim of await reader.list(persistentVolumeClaims, group.metadata.namespace)) {
    if (!isSelected(group, claim)) continue;
    const name = claim.spec.volumeName ?? "";
    found.push({ claim, volume: name === "" ? undefined : await reader.find(persistentVolumes, { name }) });
  }
  return found;
}

async function membersOf(reader: ObjectReader, group: VolumeGroupSnapshot, { spec, status }: VolumeGroupSnapshotContent): Promise<ObservedMember[]> {
  const cuts = status?.volumeSnapshotInfoList ?? [];
  if (cuts.length === 0) return [];
  const volumes = new Map((await reader.list(persistentVolumes)).map((volume) => [`${volume.spec.csi?.driver}/${volume.spec.csi?.volumeHandle}`, volume]));
  const members: ObservedMember[] = [];
  for (const cut of cuts) {
    const handle = cut.volumeHandle ?? "";
    members.push({
      cut,
      volume: volumes.get(`${spec.driver}/${handle}`),
      snapshot: await reader.find(volumeSnapshots, { namespace: group.metadata.namespace, name: memberName("snapshot", group, handle) }),
      content: await reader.find(volumeSnapshotContents, { name: memberName("snapcontent", group, handle) }),
    });
  }
  return members;
}
