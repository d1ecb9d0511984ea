/**
 * What becomes of a VolumeSnapshotContent: the work of the snapshotter beside a driver.
 *
 *   with a volume handle:    finalizer ─▶ marked as being created ─▶ CreateSnapshot until it is ready ─▶ mark gone
 *   with a snapshot handle:  finalizer once bound ─▶ looked up in the storage until it is ready
 *   deleted:                 only once its snapshot is (mark), or never had one ─▶ DeleteSnapshot, by its policy ─▶ finalizer gone
 */
import { type VolumeSnapshotClass, type VolumeSnapshotContent, volumeSnapshotContents } from "@drayage/api";
import { hasFinalizer, isDeleting, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { GROUP_HANDLE } from "../group-snapshot/names.ts";
import { BEING_CREATED, BEING_DELETED, CONTENT_BOUND } from "../names.ts";
import { annotationOf, withAnnotations } from "../object-changes.ts";
import { type Decision, event, nothing, replace } from "../steps.ts";

export interface ObservedContent {
  readonly driverName: string;
  readonly content: VolumeSnapshotContent;
  readonly snapshotClass: VolumeSnapshotClass | undefined;
}

export type ContentStep =
  | { readonly do: "cut"; readonly content: VolumeSnapshotContent; readonly volumeHandle: string; readonly parameters: Readonly<Record<string, string>> }
  | { readonly do: "lookUp"; readonly content: VolumeSnapshotContent; readonly snapshotHandle: string }
  | { readonly do: "deleteSnapshot"; readonly content: VolumeSnapshotContent; readonly snapshotHandle: string };

export function decideContent({ driverName, content, snapshotClass }: ObservedContent): Decision<ContentStep> {
  const { source, volumeSnapshotRef } = content.spec;
  const cutInGroup = annotationOf(content, GROUP_HANDLE) !== undefined;
  if (content.spec.driver !== driverName) return nothing;
  if ((source.volumeHandle === undefined) === (source.snapshotHandle === undefined)) {
    return { steps: [event(content, "Warning", "ContentValidationError", "Exactly one of VolumeHandle and SnapshotHandle should be specified")] };
  }
  if (isDue(content)) return decideDeletion(content);
  if (!isDeleting(content) && (volumeSnapshotRef.uid ?? "") !== "" && !hasFinalizer(content, CONTENT_BOUND)) {
    return { steps: [replace(volumeSnapshotContents, withFinalizer(content, CONTENT_BOUND))] };
  }
  if (content.status?.readyToUse === true) {
    const unmarked = withAnnotations(content, { [BEING_CREATED]: undefined });
    return unmarked === content ? nothing : { steps: [replace(volumeSnapshotContents, unmarked)] };
  }
  if (source.snapshotHandle !== undefined) return { steps: [{ do: "lookUp", content, snapshotHandle: source.snapshotHandle }] };
  // A member of a group was cut with it; what the storage still does about it is asked by its own handle.
  const memberHandle = content.status?.snapshotHandle;
  if (cutInGroup) return memberHandle === undefined ? nothing : { steps: [{ do: "lookUp", content, snapshotHandle: memberHandle }] };
  // Nothing was begun for it and nothing will be.
  if (isDeleting(content) && annotationOf(content, BEING_CREATED) === undefined) return nothing;
  const parameters = Object.fromEntries(Object.entries(snapshotClass?.parameters ?? {}).filter(([key]) => !key.startsWith("csi.storage.k8s.io/")));
  return { steps: [{ do: "cut", content, volumeHandle: source.volumeHandle ?? "", parameters }] };
}

/** Whether a content that is being deleted may go: not while a snapshot that still exists is bound to it, nor while the driver may be cutting it. */
function isDue(content: VolumeSnapshotContent): boolean {
  if (!isDeleting(content)) return false;
  if (content.spec.source.snapshotHandle !== undefined && (content.spec.volumeSnapshotRef.uid ?? "") === "") return true;
  return annotationOf(content, BEING_CREATED) === undefined && annotationOf(content, BEING_DELETED) !== undefined;
}

function decideDeletion(content: VolumeSnapshotContent): Decision<ContentStep> {
  const snapshotHandle = content.status?.snapshotHandle;
  const freed = withoutFinalizer(content, CONTENT_BOUND);
  // What was cut as a member of a group is its group's to delete.
  const ofGroup = content.status?.volumeGroupSnapshotHandle !== undefined;
  if (content.spec.deletionPolicy === "Delete" && snapshotHandle !== undefined && !ofGroup) {
    return {
      steps: [{ do: "deleteSnapshot", content, snapshotHandle }, ...(freed === content ? [] : [replace(volumeSnapshotContents, freed)])],
      irreversible: true,
    };
  }
  return freed === content ? nothing : { steps: [replace(volumeSnapshotContents, freed)], irreversible: true };
}
