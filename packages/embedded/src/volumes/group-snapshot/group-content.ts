/**
 * What becomes of a VolumeGroupSnapshotContent: the work of the snapshotter beside a driver.
 *
 *   with volume handles:   finalizer ─▶ marked as being created ─▶ CreateVolumeGroupSnapshot until it is ready ─▶ mark gone
 *   with a group's handle: finalizer once bound ─▶ looked up in the storage until it is ready
 *   deleted:               only once its group is (mark), or never had one ─▶ DeleteVolumeGroupSnapshot, by its policy ─▶ finalizer gone
 */
import { type VolumeGroupSnapshotClass, type VolumeGroupSnapshotContent, volumeGroupSnapshotContents } from "@drayage/api";
import { hasFinalizer, isDeleting, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { annotationOf, withAnnotations } from "../object-changes.ts";
import { type Decision, nothing, replace } from "../steps.ts";
import { GROUP_BEING_CREATED, GROUP_BEING_DELETED, GROUP_CONTENT_BOUND } from "./names.ts";

export interface ObservedGroupContent {
  readonly driverName: string;
  readonly content: VolumeGroupSnapshotContent;
  readonly groupClass: VolumeGroupSnapshotClass | undefined;
}

export type GroupContentStep =
  | {
      readonly do: "cutGroup";
      readonly content: VolumeGroupSnapshotContent;
      readonly volumeHandles: readonly string[];
      readonly parameters: Readonly<Record<string, string>>;
    }
  | {
      readonly do: "lookUpGroup" | "deleteGroup";
      readonly content: VolumeGroupSnapshotContent;
      readonly groupHandle: string;
      readonly handles: readonly string[];
    };

export function decideGroupContent({ driverName, content, groupClass }: ObservedGroupContent): Decision<GroupContentStep> {
  const { source, driver, volumeGroupSnapshotRef } = content.spec;
  if (driver !== driverName) return nothing;
  if (isDue(content)) return decideDeletion(content);
  if (!isDeleting(content) && (volumeGroupSnapshotRef.uid ?? "") !== "" && !hasFinalizer(content, GROUP_CONTENT_BOUND))
    return { steps: [replace(volumeGroupSnapshotContents, withFinalizer(content, GROUP_CONTENT_BOUND))] };
  if (content.status?.readyToUse === true) {
    const unmarked = withAnnotations(content, { [GROUP_BEING_CREATED]: undefined });
    return unmarked === content ? nothing : { steps: [replace(volumeGroupSnapshotContents, unmarked)] };
  }
  const { groupSnapshotHandles: found } = source;
  if (found !== undefined)
    return { steps: [{ do: "lookUpGroup", content, groupHandle: found.volumeGroupSnapshotHandle, handles: found.volumeSnapshotHandles }] };
  // Nothing was begun for it and nothing will be.
  if (isDeleting(content) && annotationOf(content, GROUP_BEING_CREATED) === undefined) return nothing;
  const parameters = Object.fromEntries(Object.entries(groupClass?.parameters ?? {}).filter(([key]) => !key.startsWith("csi.storage.k8s.io/")));
  return { steps: [{ do: "cutGroup", content, volumeHandles: source.volumeHandles ?? [], parameters }] };
}

/** Whether a content that is being deleted may go: not while a group that still exists is bound to it, nor while the driver may be cutting it. */
function isDue(content: VolumeGroupSnapshotContent): boolean {
  if (!isDeleting(content)) return false;
  if (content.spec.source.groupSnapshotHandles !== undefined && (content.spec.volumeGroupSnapshotRef.uid ?? "") === "") return true;
  return annotationOf(content, GROUP_BEING_CREATED) === undefined && annotationOf(content, GROUP_BEING_DELETED) !== undefined;
}

function decideDeletion(content: VolumeGroupSnapshotContent): Decision<GroupContentStep> {
  const { status } = content;
  const groupHandle = status?.volumeGroupSnapshotHandle;
  const freed = withoutFinalizer(content, GROUP_CONTENT_BOUND);
  const freeing = freed === content ? [] : [replace(volumeGroupSnapshotContents, freed)];
  if (content.spec.deletionPolicy === "Delete" && groupHandle !== undefined) {
    const cut = status?.volumeSnapshotInfoList?.flatMap(({ snapshotHandle }) => (snapshotHandle === undefined ? [] : [snapshotHandle]));
    const handles = cut ?? content.spec.source.groupSnapshotHandles?.volumeSnapshotHandles ?? [];
    return { steps: [{ do: "deleteGroup", content, groupHandle, handles }, ...freeing], irreversible: true };
  }
  return freeing.length === 0 ? nothing : { steps: freeing, irreversible: true };
}
