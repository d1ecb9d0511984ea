/**
 * What becomes of a VolumeSnapshot: the work of the snapshot controller.
 *
 *   of a claim:    finalizer ─▶ the claim is held ─▶ content made ─▶ bound ─▶ (the driver cuts it, see content.ts) ─▶ ready ─▶ the claim is let go
 *   of a content:  finalizer ─▶ content found and pointing here ─▶ bound ─▶ ready
 *   deleted:       nobody restores from it ─▶ content marked ─▶ content deleted, by its policy ─▶ finalizers gone
 *
 * The status says what the content says; an error there is an error here.
 */

import {
  type VolumeGroupSnapshot,
  type VolumeSnapshot,
  type VolumeSnapshotClass,
  type VolumeSnapshotContent,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { formatTime } from "@drayage/base";
import {
  bytesQuantity,
  hasFinalizer,
  isDeleting,
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  withFinalizer,
  withoutFinalizer,
} from "@drayage/kube";
import { isVolumeOfClaim } from "../claim/match-volume.ts";
import { IN_GROUP } from "../group-snapshot/names.ts";
import { BEING_DELETED, CLAIM_AS_SOURCE, DEFAULT_SNAPSHOT_CLASS, SNAPSHOT_AS_SOURCE, SNAPSHOT_BOUND } from "../names.ts";
import { annotationOf, sameJson, withAnnotations } from "../object-changes.ts";
import { create, type Decision, event, type KubeStep, nothing, remove, replace, replaceStatus } from "../steps.ts";

export interface ObservedSnapshot {
  readonly snapshot: VolumeSnapshot;
  /** The content that its spec, its status or its UID names. */
  readonly content: VolumeSnapshotContent | undefined;
  readonly claim: PersistentVolumeClaim | undefined;
  /** The volume of that claim. */
  readonly volume: PersistentVolume | undefined;
  readonly classes: readonly VolumeSnapshotClass[];
  /** Claims that are being filled from it. */
  readonly restoring: readonly string[];
  /** The group that it was cut with, while that is there. */
  readonly group: VolumeGroupSnapshot | undefined;
  readonly nowMs: number;
}

type SnapshotStatus = NonNullable<VolumeSnapshot["status"]>;

export function dynamicContentName(snapshot: VolumeSnapshot): string {
  return `snapcontent-${snapshot.metadata.uid}`;
}

export function isSnapshotReady(snapshot: VolumeSnapshot): boolean {
  return snapshot.status?.readyToUse === true;
}

export function decideSnapshot(o: ObservedSnapshot): Decision {
  const { snapshot } = o;
  const { persistentVolumeClaimName: claimName, volumeSnapshotContentName: contentName } = snapshot.spec.source;
  if (isDeleting(snapshot)) return decideDeletion(o);
  if ((claimName === undefined) === (contentName === undefined)) {
    return failed(o, "SnapshotValidationError", "Exactly one of PersistentVolumeClaimName and VolumeSnapshotContentName should be specified");
  }
  if (!hasFinalizer(snapshot, SNAPSHOT_AS_SOURCE)) return { steps: [replace(volumeSnapshots, withFinalizer(snapshot, SNAPSHOT_AS_SOURCE))] };
  if (isSnapshotReady(snapshot) && snapshot.status?.boundVolumeSnapshotContentName !== undefined) return checkReady(o);
  return contentName === undefined ? decideDynamic(o) : decideStatic(o);
}

/** What was ready stays so while its content is there and points here. */
function checkReady(o: ObservedSnapshot): Decision {
  if (o.content === undefined) return missing(o);
  if (!pointsHere(o.content, o.snapshot)) return failed(o, "SnapshotMisbound", "VolumeSnapshotContent is not bound to the VolumeSnapshot correctly");
  return { steps: withBoundFinalizer(o.snapshot, o.content) };
}

/** Its content was made by hand. */
function decideStatic(o: ObservedSnapshot): Decision {
  const { snapshot, content } = o;
  if (content === undefined) return missing(o);
  const ref = content.spec.volumeSnapshotRef;
  if (content.spec.source.snapshotHandle === undefined) {
    return failed(o, "SnapshotContentMismatch", "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one");
  }
  if (ref.name !== snapshot.metadata.name || ref.namespace !== snapshot.metadata.namespace || !["", snapshot.metadata.uid].includes(ref.uid ?? "")) {
    return failed(o, "SnapshotContentMisbound", `VolumeSnapshotContent [${content.metadata.name}] is bound to a different snapshot`);
  }
  const className = content.spec.volumeSnapshotClassName ?? snapshot.spec.volumeSnapshotClassName;
  const spec = {
    ...content.spec,
    volumeSnapshotRef: { ...ref, uid: snapshot.metadata.uid ?? "" },
    ...(className === undefined ? {} : { volumeSnapshotClassName: className }),
  };
  const bound = sameJson(spec, content.spec) ? content : { ...content, spec };
  return { steps: [...(bound === content ? [] : [replace(volumeSnapshotContents, bound)]), ...bind(o, bound)] };
}

/** Its content is made here. */
function decideDynamic(o: ObservedSnapshot): Decision {
  const { snapshot, content } = o;
  // The content of a group's member is made with it; another one would be cut at another moment.
  if (content === undefined) return isMemberOfGroup(snapshot) ? nothing : makeContent(o);
  if (content.spec.source.volumeHandle === undefined) {
    return failed(
      o,
      "SnapshotContentMismatch",
      `VolumeSnapshotContent ${content.metadata.name} is pre-provisioned while expecting a dynamically provisioned one`,
    );
  }
  if (!pointsHere(content, snapshot))
    return failed(o, "SnapshotContentMisbound", `VolumeSnapshotContent [${content.metadata.name}] is bound to a different snapshot`);
  return { steps: bind(o, content) };
}

function makeContent(o: ObservedSnapshot): Decision {
  const { snapshot, claim, volume } = o;
  const refused = (why: string): Decision => failed(o, "SnapshotContentCreationFailed", `Failed to create snapshot content with error ${why}`);
  const claimName = snapshot.spec.source.persistentVolumeClaimName ?? "";
  if (claim === undefined)
    return refused(
      `snapshot controller failed to update ${snapshot.metadata.name} on API server: cannot get claim from snapshot: persistentvolumeclaim "${claimName}" not found`,
    );
  if (claim.status?.phase !== "Bound") return refused(`the PVC ${claimName} is not yet bound to a PV, will not attempt to take a snapshot`);
  if (volume === undefined || !isVolumeOfClaim(volume, claim)) return refused("claim in dataSource not bound or invalid");
  const { csi } = volume.spec;
  if (csi === undefined) return refused(`volume ${volume.metadata.name} is not a CSI volume`);
  const chosen = classOf(o, csi.driver);
  if (typeof chosen === "string") return refused(chosen);
  if (snapshot.spec.volumeSnapshotClassName === undefined) {
    const spec = { ...snapshot.spec, volumeSnapshotClassName: chosen.metadata.name ?? "" };
    return { steps: [replace(volumeSnapshots, { ...snapshot, spec })] };
  }
  const content = contentFor(snapshot, chosen, volume, csi.volumeHandle);
  const about = `${snapshot.metadata.namespace}/${snapshot.metadata.name}`;
  return {
    steps: [
      ...(hasFinalizer(claim, CLAIM_AS_SOURCE) ? [] : [replace(persistentVolumeClaims, withFinalizer(claim, CLAIM_AS_SOURCE))]),
      create(volumeSnapshotContents, content),
      event(snapshot, "Normal", "CreatingSnapshot", `Waiting for a snapshot ${about} to be created by the CSI driver.`),
      ...bind(o, content),
    ],
  };
}

/** The class that is named, else the only default one of the driver; why not, as text. */
function classOf({ snapshot, classes }: ObservedSnapshot, driver: string): VolumeSnapshotClass | string {
  const name = snapshot.spec.volumeSnapshotClassName;
  if (name !== undefined) {
    const found = classes.find((candidate) => candidate.metadata.name === name);
    if (found === undefined)
      return `failed to retrieve snapshot class ${name} from the informer: volumesnapshotclass.snapshot.storage.k8s.io "${name}" not found`;
    return found.driver === driver ? found : `snapshot class ${name} has driver ${found.driver}, the volume has ${driver}`;
  }
  const defaults = classes.filter((candidate) => annotationOf(candidate, DEFAULT_SNAPSHOT_CLASS) === "true" && candidate.driver === driver);
  const [only] = defaults;
  if (only === undefined) return "cannot find default snapshot class";
  return defaults.length === 1 ? only : `${defaults.length} default snapshot classes were found`;
}

function contentFor(snapshot: VolumeSnapshot, snapshotClass: VolumeSnapshotClass, volume: PersistentVolume, volumeHandle: string): VolumeSnapshotContent {
  const { name, namespace, uid, resourceVersion } = snapshot.metadata;
  return {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotContent",
    metadata: { name: dynamicContentName(snapshot) },
    spec: {
      deletionPolicy: snapshotClass.deletionPolicy,
      driver: snapshotClass.driver,
      source: { volumeHandle },
      sourceVolumeMode: volume.spec.volumeMode ?? "Filesystem",
      volumeSnapshotClassName: snapshotClass.metadata.name ?? "",
      volumeSnapshotRef: {
        apiVersion: "snapshot.storage.k8s.io/v1",
        kind: "VolumeSnapshot",
        ...Object.fromEntries(Object.entries({ name, namespace, resourceVersion, uid }).filter(([, value]) => value !== undefined)),
      },
    },
  };
}

/** The snapshot says what its content says, and holds it by a finalizer when the content goes with it. */
function bind(o: ObservedSnapshot, content: VolumeSnapshotContent): KubeStep[] {
  const { snapshot } = o;
  const status = statusFrom(snapshot, content);
  const about = `${snapshot.metadata.namespace}/${snapshot.metadata.name}`;
  const cut = status.creationTime !== undefined && snapshot.status?.creationTime === undefined;
  const ready = status.readyToUse === true && !isSnapshotReady(snapshot);
  return [
    ...(sameJson(status, snapshot.status ?? {}) ? [] : [replaceStatus(volumeSnapshots, { ...snapshot, status })]),
    ...(cut ? [event(snapshot, "Normal", "SnapshotCreated", `Snapshot ${about} was successfully created by the CSI driver.`)] : []),
    ...(ready ? [event(snapshot, "Normal", "SnapshotReady", `Snapshot ${about} is ready to use.`)] : []),
    ...withBoundFinalizer({ ...snapshot, status }, content),
  ];
}

function withBoundFinalizer(snapshot: VolumeSnapshot, content: VolumeSnapshotContent): KubeStep[] {
  if (content.spec.deletionPolicy !== "Delete" || hasFinalizer(snapshot, SNAPSHOT_BOUND)) return [];
  return [replace(volumeSnapshots, withFinalizer(snapshot, SNAPSHOT_BOUND))];
}

function statusFrom(snapshot: VolumeSnapshot, content: VolumeSnapshotContent): SnapshotStatus {
  const { creationTime, restoreSize, readyToUse, error } = content.status ?? {};
  const groupName = snapshot.status?.volumeGroupSnapshotName;
  return {
    boundVolumeSnapshotContentName: content.metadata.name ?? "",
    readyToUse: readyToUse ?? false,
    ...(creationTime === undefined ? {} : { creationTime: formatTime(creationTime / 1_000_000) }),
    ...(restoreSize === undefined ? {} : { restoreSize: bytesQuantity(restoreSize) }),
    ...(error === undefined ? {} : { error }),
    ...(groupName === undefined ? {} : { volumeGroupSnapshotName: groupName }),
  };
}

function isMemberOfGroup({ metadata }: VolumeSnapshot): boolean {
  return metadata.ownerReferences?.some(({ kind }) => kind === "VolumeGroupSnapshot") === true;
}

/** Deletion waits until no claim is filled from it, then takes the content along or leaves it, as its policy says. */
function decideDeletion(o: ObservedSnapshot): Decision {
  const { snapshot } = o;
  if (![SNAPSHOT_AS_SOURCE, SNAPSHOT_BOUND, IN_GROUP].some((finalizer) => hasFinalizer(snapshot, finalizer))) return nothing;
  if (o.group !== undefined) {
    const member = `the individual volume snapshot ${snapshot.metadata.namespace}/${snapshot.metadata.name}`;
    const group = `group snapshot ${o.group.metadata.namespace}/${o.group.metadata.name}`;
    return { steps: [event(snapshot, "Warning", "SnapshotDeletePending", `deletion of ${member} is not allowed as it belongs to ${group}.`)] };
  }
  const content = o.content !== undefined && pointsHere(o.content, snapshot) ? o.content : undefined;
  if (content !== undefined && o.restoring.length > 0) {
    return { steps: [event(snapshot, "Warning", "SnapshotDeletePending", "Snapshot is being used to restore a PVC")] };
  }
  const goesAlong = content?.spec.deletionPolicy === "Delete";
  const withoutSource = withoutFinalizer(withoutFinalizer(snapshot, SNAPSHOT_AS_SOURCE), IN_GROUP);
  const freed = goesAlong ? withoutSource : withoutFinalizer(withoutSource, SNAPSHOT_BOUND);
  const marked = content === undefined ? undefined : withAnnotations(content, { [BEING_DELETED]: "yes" });
  const steps = [
    ...(marked === undefined || marked === content ? [] : [replace(volumeSnapshotContents, marked)]),
    ...(content !== undefined && goesAlong && !isDeleting(content) ? [remove(volumeSnapshotContents, content)] : []),
    ...(freed === snapshot ? [] : [replace(volumeSnapshots, freed)]),
  ];
  return steps.length === 0 ? nothing : { steps, irreversible: true };
}

function missing(o: ObservedSnapshot): Decision {
  return failed(o, "SnapshotContentMissing", "VolumeSnapshotContent is missing");
}

/** Says an error once; it is said again when it is another one. */
function failed({ snapshot, nowMs }: ObservedSnapshot, reason: string, message: string): Decision {
  if (snapshot.status?.error?.message === message) return nothing;
  const status = { ...snapshot.status, readyToUse: false, error: { message, time: formatTime(nowMs) } };
  return { steps: [replaceStatus(volumeSnapshots, { ...snapshot, status }), event(snapshot, "Warning", reason, message)] };
}

function pointsHere(content: VolumeSnapshotContent, snapshot: VolumeSnapshot): boolean {
  const { name, namespace, uid } = content.spec.volumeSnapshotRef;
  return name === snapshot.metadata.name && namespace === snapshot.metadata.namespace && uid === snapshot.metadata.uid;
}
