/** The snapshotter's calls to the driver about groups, each with the status that follows from its answer. */
import { type VolumeGroupSnapshotContent, volumeGroupSnapshotContents } from "@drayage/api";
import { type Clock, formatTime, hasCode, messageOf } from "@drayage/base";
import { isDeleting } from "@drayage/kube";
import { type CsiVolumeGroupSnapshot, csiError, isFinal, type Timestamp } from "@drayage/protocols/csi";
import { sameJson, withAnnotations } from "../object-changes.ts";
import type { ActResult } from "../reconcile-with.ts";
import { event, replace, replaceStatus, type StepRunner } from "../steps.ts";
import type { StorageDriver } from "../storage-driver.ts";
import type { GroupContentStep } from "./group-content.ts";
import { GROUP_BEING_CREATED } from "./names.ts";

/** How soon a group that the storage still processes is asked for again. */
const UNREADY_RECHECK_MS = 1_000;

export async function actOnGroupContent(
  step: GroupContentStep,
  driver: StorageDriver,
  clock: Clock,
  runner: StepRunner,
  signal: AbortSignal,
): Promise<ActResult> {
  if (step.do === "cutGroup") return cutGroup(step, driver, clock, runner, signal);
  const { content, groupHandle, handles } = step;
  const request = { groupSnapshotId: groupHandle, snapshotIds: handles };
  try {
    if (step.do === "deleteGroup") {
      await driver.groups.DeleteVolumeGroupSnapshot(request, { signal });
      await runner.run(replaceStatus(volumeGroupSnapshotContents, { ...content, status: {} }));
      return {};
    }
    const { groupSnapshot } = await driver.groups.GetVolumeGroupSnapshot(request, { signal });
    return await showGroup(content, groupSnapshot, driver, runner);
  } catch (error) {
    if (signal.aborted || hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND")) throw error;
    if (step.do === "deleteGroup") await runner.run(event(content, "Warning", "GroupSnapshotDeleteError", "Failed to delete group snapshot"));
    else
      await tell(content, "GroupSnapshotContentCheckandUpdateFailed", `Failed to check and update group snapshot content: ${messageOf(error)}`, clock, runner);
    throw error;
  }
}

/** Has the driver cut the group, or asks again for one that it still processes. The mark is set and taken away as with single snapshots (see snapshot/act.ts). */
async function cutGroup(
  step: GroupContentStep & { do: "cutGroup" },
  driver: StorageDriver,
  clock: Clock,
  runner: StepRunner,
  signal: AbortSignal,
): Promise<ActResult> {
  const { content, volumeHandles, parameters } = step;
  const wasCut = content.status?.volumeGroupSnapshotHandle !== undefined;
  const marked = wasCut ? content : withAnnotations(content, { [GROUP_BEING_CREATED]: "yes" });
  if (marked !== content) await runner.run(replace(volumeGroupSnapshotContents, marked));
  const unmarked = withAnnotations(marked, { [GROUP_BEING_CREATED]: undefined });
  try {
    const name = `groupsnapshot-${content.spec.volumeGroupSnapshotRef.uid}`;
    const { groupSnapshot } = await driver.groups.CreateVolumeGroupSnapshot({ name, sourceVolumeIds: volumeHandles, parameters }, { signal });
    const shown = await showGroup(marked, groupSnapshot, driver, runner);
    if (unmarked !== marked) await runner.run(replace(volumeGroupSnapshotContents, unmarked));
    return shown;
  } catch (error) {
    if (signal.aborted || hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND")) throw error;
    const message = `Failed to create group snapshot: failed to take group snapshot of the volumes ${volumeHandles.join(", ")}: "${messageOf(error)}"`;
    await tell(marked, "GroupSnapshotCreationFailed", message, clock, runner);
    if (isDeleting(content) && isFinal(error)) await runner.run(replace(volumeGroupSnapshotContents, unmarked));
    throw error;
  }
}

/** Writes what the driver said into the status, when that is news. */
async function showGroup(
  content: VolumeGroupSnapshotContent,
  group: CsiVolumeGroupSnapshot | null,
  driver: StorageDriver,
  runner: StepRunner,
): Promise<ActResult> {
  if (group === null) throw csiError("INTERNAL", `Cannot take a group snapshot: driver "${driver.name}" answered without one`);
  const status = {
    volumeGroupSnapshotHandle: group.groupSnapshotId,
    creationTime: formatTime(Number(nanosecondsOf(group.creationTime) / 1_000_000n)),
    readyToUse: group.readyToUse,
    volumeSnapshotInfoList: group.snapshots.map(({ snapshotId, sourceVolumeId, creationTime, sizeBytes, readyToUse }) => ({
      volumeHandle: sourceVolumeId,
      snapshotHandle: snapshotId,
      creationTime: Number(nanosecondsOf(creationTime)),
      restoreSize: Number(sizeBytes),
      readyToUse,
    })),
  };
  if (!sameJson(status, content.status ?? {})) await runner.run(replaceStatus(volumeGroupSnapshotContents, { ...content, status }));
  return group.readyToUse ? {} : { again: { afterMs: UNREADY_RECHECK_MS } };
}

function nanosecondsOf(time: Timestamp | null): bigint {
  return time === null ? 0n : BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanos);
}

/** An error in the status, which the group repeats, and an Event; once for each message. */
async function tell(content: VolumeGroupSnapshotContent, reason: string, message: string, clock: Clock, runner: StepRunner): Promise<void> {
  if (content.status?.error?.message === message) return;
  const status = { ...content.status, readyToUse: false, error: { message, time: formatTime(clock.nowMs()) } };
  await runner.run(replaceStatus(volumeGroupSnapshotContents, { ...content, status }));
  await runner.run(event(content, "Warning", reason, message));
}
