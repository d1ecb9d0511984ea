/**
 * What becomes of a VolumeGroupSnapshot: the snapshot controller's part.
 *
 *   of claims:     class ─▶ content made of the claims that its selector finds ─▶ (the driver cuts them, see group-content.ts) ─▶ members made ─▶ ready
 *   of a content:  content found and pointing here ─▶ bound ─▶ ready
 *   deleted:       nobody restores from a member ─▶ content marked ─▶ content deleted, by its policy ─▶ members deleted ─▶ finalizer gone
 */
import {
  type VolumeGroupSnapshot,
  type VolumeGroupSnapshotClass,
  type VolumeGroupSnapshotContent,
  type VolumeSnapshot,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshots,
} from "@drayage/api";
import { formatTime } from "@drayage/base";
import { hasFinalizer, isDeleting, type PersistentVolume, type PersistentVolumeClaim, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { isVolumeOfClaim } from "../claim/match-volume.ts";
import { annotationOf, sameJson, withAnnotations } from "../object-changes.ts";
import { create, type Decision, event, type KubeStep, nothing, remove, replace, replaceStatus } from "../steps.ts";
import { nextForMember, type ObservedMember } from "./members.ts";
import { DEFAULT_GROUP_CLASS, GROUP_BEING_DELETED, GROUP_BOUND, groupContentName } from "./names.ts";

export interface GroupClaim {
  readonly claim: PersistentVolumeClaim;
  readonly volume: PersistentVolume | undefined;
}

export interface ObservedGroup {
  readonly group: VolumeGroupSnapshot;
  /** The content that its spec, its status or its UID names. */
  readonly content: VolumeGroupSnapshotContent | undefined;
  /** The claims that its selector finds. */
  readonly claims: readonly GroupClaim[];
  readonly classes: readonly VolumeGroupSnapshotClass[];
  /** What was cut, from the content's status. */
  readonly members: readonly ObservedMember[];
  /** The snapshots that this group owns. */
  readonly owned: readonly VolumeSnapshot[];
  /** Owned snapshots that claims are being filled from. */
  readonly restoring: readonly string[];
  readonly nowMs: number;
}

export function decideGroup(o: ObservedGroup): Decision {
  const { group, content } = o;
  if (isDeleting(group)) return decideDeletion(o);
  const staticName = group.spec.source.volumeGroupSnapshotContentName;
  if (content === undefined) {
    if (staticName !== undefined || group.status?.readyToUse === true) return failed(o, "GroupSnapshotContentMissing", "VolumeGroupSnapshotContent is missing");
    return makeContent(o);
  }
  const { name, namespace, uid } = content.spec.volumeGroupSnapshotRef;
  const pointsHere = name === group.metadata.name && namespace === group.metadata.namespace;
  if (!pointsHere || ![...(staticName === undefined ? [] : [""]), group.metadata.uid].includes(uid ?? "")) {
    return failed(o, "GroupSnapshotContentMisbound", `VolumeGroupSnapshotContent [${content.metadata.name}] is bound to a different group snapshot`);
  }
  const isStatic = content.spec.source.groupSnapshotHandles !== undefined;
  if (isStatic !== (staticName !== undefined)) {
    const is = isStatic ? "pre-provisioned while expecting a dynamically provisioned one" : "dynamically provisioned while expecting a pre-provisioned one";
    return failed(o, "GroupSnapshotContentMismatch", `VolumeGroupSnapshotContent is ${is}`);
  }
  if (!hasFinalizer(group, GROUP_BOUND)) return { steps: [replace(volumeGroupSnapshots, withFinalizer(group, GROUP_BOUND))] };
  if ((uid ?? "") === "") {
    const volumeGroupSnapshotRef = { ...content.spec.volumeGroupSnapshotRef, uid: group.metadata.uid ?? "" };
    return { steps: [replace(volumeGroupSnapshotContents, { ...content, spec: { ...content.spec, volumeGroupSnapshotRef } })] };
  }
  // The members of a group that was found are whoever's who made it.
  const members = isStatic ? [] : o.members.flatMap((member) => nextForMember(group, content, member));
  return { steps: members.length > 0 ? members : bind(o, content) };
}

function makeContent(o: ObservedGroup): Decision {
  const { group, claims } = o;
  const refused = (why: string): Decision =>
    failed(o, "GroupSnapshotContentCreationFailed", `failed to create group snapshot content with error failed to get input parameters: ${why}`);
  if (claims.length === 0) return refused("label selector for group snapshot not applied to any PVC");
  const handles: string[] = [];
  const drivers = new Set<string>();
  for (const { claim, volume } of claims) {
    if (claim.status?.phase !== "Bound") return refused(`the PVC ${claim.metadata.name} is not yet bound to a PV, will not attempt to take a group snapshot`);
    if (volume === undefined || !isVolumeOfClaim(volume, claim)) return refused("claim in dataSource not bound or invalid");
    if (volume.spec.csi === undefined) return refused(`cannot snapshot a non-CSI volume: ${volume.metadata.name}`);
    handles.push(volume.spec.csi.volumeHandle);
    drivers.add(volume.spec.csi.driver);
  }
  const chosen = classOf(o, [...drivers][0] ?? "");
  if (typeof chosen === "string") return refused(chosen);
  const other = [...drivers].find((driver) => driver !== chosen.driver);
  if (other !== undefined) return refused(`Volume CSI driver (${other}) mismatch with VolumeGroupSnapshotClass (${chosen.driver})`);
  const volumeGroupSnapshotClassName = chosen.metadata.name ?? "";
  if (group.spec.volumeGroupSnapshotClassName === undefined)
    return { steps: [replace(volumeGroupSnapshots, { ...group, spec: { ...group.spec, volumeGroupSnapshotClassName } })] };
  const { name = "", namespace = "", uid = "" } = group.metadata;
  const content: VolumeGroupSnapshotContent = {
    apiVersion: "groupsnapshot.storage.k8s.io/v1beta2",
    kind: "VolumeGroupSnapshotContent",
    metadata: { name: groupContentName(group) },
    spec: {
      deletionPolicy: chosen.deletionPolicy,
      driver: chosen.driver,
      source: { volumeHandles: handles },
      volumeGroupSnapshotClassName,
      volumeGroupSnapshotRef: { apiVersion: "groupsnapshot.storage.k8s.io/v1beta2", kind: "VolumeGroupSnapshot", name, namespace, uid },
    },
  };
  return {
    steps: [
      create(volumeGroupSnapshotContents, content),
      event(group, "Normal", "CreatingGroupSnapshot", `Waiting for a group snapshot ${namespace}/${name} to be created by the CSI driver.`),
    ],
  };
}

/** The class that is named, else the only default one of the driver; why not, as text. */
function classOf({ group, classes }: ObservedGroup, driver: string): VolumeGroupSnapshotClass | string {
  const wanted = group.spec.volumeGroupSnapshotClassName;
  if (wanted !== undefined)
    return classes.find(({ metadata }) => metadata.name === wanted) ?? `volumegroupsnapshotclass.groupsnapshot.storage.k8s.io "${wanted}" not found`;
  const defaults = classes.filter((candidate) => annotationOf(candidate, DEFAULT_GROUP_CLASS) === "true" && candidate.driver === driver);
  const [only] = defaults;
  if (only === undefined) return "cannot find default group snapshot class";
  return defaults.length === 1 ? only : `${defaults.length} default snapshot classes were found`;
}

/** The group says what its content says. */
function bind({ group }: ObservedGroup, content: VolumeGroupSnapshotContent): KubeStep[] {
  const { creationTime, readyToUse, error } = content.status ?? {};
  const status = {
    boundVolumeGroupSnapshotContentName: content.metadata.name ?? "",
    readyToUse: readyToUse ?? false,
    ...(creationTime === undefined ? {} : { creationTime }),
    ...(error === undefined ? {} : { error }),
  };
  const about = `${group.metadata.namespace}/${group.metadata.name}`;
  const cut = creationTime !== undefined && group.status?.creationTime === undefined;
  const ready = status.readyToUse && group.status?.readyToUse !== true;
  return [
    ...(sameJson(status, group.status ?? {}) ? [] : [replaceStatus(volumeGroupSnapshots, { ...group, status })]),
    ...(cut ? [event(group, "Normal", "GroupSnapshotCreated", `GroupSnapshot ${about} was successfully created by the CSI driver.`)] : []),
    ...(ready ? [event(group, "Normal", "GroupSnapshotReady", `GroupSnapshot ${about} is ready to use.`)] : []),
  ];
}

/** Members that somebody took over go nowhere: they are no longer owned. */
function decideDeletion(o: ObservedGroup): Decision {
  const { group, owned } = o;
  const uid = o.content?.spec.volumeGroupSnapshotRef.uid;
  const content = o.content !== undefined && uid === group.metadata.uid ? o.content : undefined;
  const [used] = o.restoring;
  if (used !== undefined) {
    const about = `Snapshot ${group.metadata.namespace}/${used} belonging to VolumeGroupSnapshot ${group.metadata.namespace}/${group.metadata.name}`;
    return { steps: [event(group, "Warning", "SnapshotDeletePending", `${about} is being used to restore a PVC`)] };
  }
  const goesAlong = content?.spec.deletionPolicy === "Delete";
  const marked = content === undefined ? undefined : withAnnotations(content, { [GROUP_BEING_DELETED]: "yes" });
  const freed = goesAlong ? group : withoutFinalizer(group, GROUP_BOUND);
  const steps = [
    ...(marked === undefined || marked === content ? [] : [replace(volumeGroupSnapshotContents, marked)]),
    ...(content !== undefined && goesAlong && !isDeleting(content) ? [remove(volumeGroupSnapshotContents, content)] : []),
    ...owned.flatMap((snapshot) => (isDeleting(snapshot) ? [] : [remove(volumeSnapshots, snapshot)])),
    ...(freed === group ? [] : [replace(volumeGroupSnapshots, freed)]),
  ];
  return steps.length === 0 ? nothing : { steps, irreversible: true };
}

/** Says an error once; it is said again when it is another one. */
function failed({ group, nowMs }: ObservedGroup, reason: string, message: string): Decision {
  if (group.status?.error?.message === message) return nothing;
  const status = { ...group.status, readyToUse: false, error: { message, time: formatTime(nowMs) } };
  return { steps: [replaceStatus(volumeGroupSnapshots, { ...group, status }), event(group, "Warning", reason, message)] };
}
