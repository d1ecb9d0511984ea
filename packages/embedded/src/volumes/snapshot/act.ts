/** The snapshotter's calls to the driver, each with the status that follows from its answer. */

import { type VolumeSnapshotContent, volumeSnapshotContents } from "@drayage/api";
import { type Clock, formatTime, hasCode, messageOf } from "@drayage/base";
import { isDeleting } from "@drayage/kube";
import { type CsiSnapshot, csiError, isFinal } from "@drayage/protocols/csi";
import { BEING_CREATED } from "../names.ts";
import { sameJson, withAnnotations } from "../object-changes.ts";
import type { ActResult } from "../reconcile-with.ts";
import { event, replace, replaceStatus, type StepRunner } from "../steps.ts";
import type { StorageDriver } from "../storage-driver.ts";
import type { ContentStep } from "./content.ts";

/** How soon a snapshot that the storage still processes is asked for again. */
const UNREADY_RECHECK_MS = 1_000;

export async function actOnContent(step: ContentStep, driver: StorageDriver, clock: Clock, runner: StepRunner, signal: AbortSignal): Promise<ActResult> {
  switch (step.do) {
    case "cut":
      return cut(step, driver, clock, runner, signal);
    case "lookUp":
      return lookUp(step, driver, clock, runner, signal);
    case "deleteSnapshot":
      return deleteSnapshot(step, driver, runner, signal);
  }
}

/**
 * Has the driver cut the snapshot, or asks again for one that it still processes. The content carries a mark from before the first call until the driver has
 * answered, so that a snapshot which may exist is not forgotten when its content is deleted meanwhile. While attempts fail the mark stays: taking it away and
 * setting it again would be two changes for each attempt, and each change another attempt.
 */
async function cut(step: ContentStep & { do: "cut" }, driver: StorageDriver, clock: Clock, runner: StepRunner, signal: AbortSignal): Promise<ActResult> {
  const { content } = step;
  const wasCut = content.status?.snapshotHandle !== undefined;
  const marked = wasCut ? content : withAnnotations(content, { [BEING_CREATED]: "yes" });
  if (marked !== content) await runner.run(replace(volumeSnapshotContents, marked));
  const unmarked = withAnnotations(marked, { [BEING_CREATED]: undefined });
  try {
    const name = `snapshot-${content.spec.volumeSnapshotRef.uid}`;
    const { snapshot } = await driver.CreateSnapshot({ name, sourceVolumeId: step.volumeHandle, parameters: step.parameters }, { signal });
    if (snapshot === null) throw csiError("INTERNAL", `Cannot take a snapshot: driver "${driver.name}" answered without one`);
    await showSnapshot(marked, snapshot, runner);
    if (unmarked !== marked) await runner.run(replace(volumeSnapshotContents, unmarked));
    return snapshot.readyToUse ? {} : { again: { afterMs: UNREADY_RECHECK_MS } };
  } catch (error) {
    if (signal.aborted || hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND")) throw error;
    const message = `Failed to check and update snapshot content: failed to take snapshot of the volume ${step.volumeHandle}: "${messageOf(error)}"`;
    await tell(marked, "SnapshotCreationFailed", message, clock, runner);
    if (isDeleting(content) && isFinal(error)) await runner.run(replace(volumeSnapshotContents, unmarked));
    throw error;
  }
}

/** Asks the storage about a snapshot that somebody else made. */
async function lookUp(step: ContentStep & { do: "lookUp" }, driver: StorageDriver, clock: Clock, runner: StepRunner, signal: AbortSignal): Promise<ActResult> {
  const { content, snapshotHandle } = step;
  try {
    const { entries } = await driver.ListSnapshots({ snapshotId: snapshotHandle }, { signal });
    const snapshot = entries.find((entry) => entry.snapshot?.snapshotId === snapshotHandle)?.snapshot;
    if (snapshot === undefined || snapshot === null) throw csiError("NOT_FOUND", `Cannot find snapshot "${snapshotHandle}": driver "${driver.name}" has none`);
    await showSnapshot(content, snapshot, runner);
    return snapshot.readyToUse ? {} : { again: { afterMs: UNREADY_RECHECK_MS } };
  } catch (error) {
    if (signal.aborted || hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND")) throw error;
    await tell(content, "SnapshotContentCheckandUpdateFailed", `Failed to check and update snapshot content: ${messageOf(error)}`, clock, runner);
    throw error;
  }
}

/** Deletes the snapshot and takes it out of the status, so that it is deleted once only. */
async function deleteSnapshot(
  step: ContentStep & { do: "deleteSnapshot" },
  driver: StorageDriver,
  runner: StepRunner,
  signal: AbortSignal,
): Promise<ActResult> {
  const { content, snapshotHandle } = step;
  try {
    await driver.DeleteSnapshot({ snapshotId: snapshotHandle }, { signal });
  } catch (error) {
    if (!signal.aborted) await runner.run(event(content, "Warning", "SnapshotDeleteError", "Failed to delete snapshot"));
    throw error;
  }
  await runner.run(replaceStatus(volumeSnapshotContents, { ...content, status: {} }));
  return {};
}

/** Writes what the driver said into the status, when that is news. */
async function showSnapshot(content: VolumeSnapshotContent, snapshot: CsiSnapshot, runner: StepRunner): Promise<void> {
  const { seconds, nanos } = snapshot.creationTime ?? { seconds: "0", nanos: 0 };
  const status = {
    snapshotHandle: snapshot.snapshotId,
    creationTime: Number(BigInt(seconds) * 1_000_000_000n + BigInt(nanos)),
    restoreSize: Number(snapshot.sizeBytes),
    readyToUse: snapshot.readyToUse,
    ...groupHandleOf(content, snapshot),
  };
  if (!sameJson(status, content.status ?? {})) await runner.run(replaceStatus(volumeSnapshotContents, { ...content, status }));
}

function groupHandleOf({ status }: VolumeSnapshotContent, { groupSnapshotId }: CsiSnapshot): { volumeGroupSnapshotHandle?: string } {
  const handle = groupSnapshotId === "" ? status?.volumeGroupSnapshotHandle : groupSnapshotId;
  return handle === undefined ? {} : { volumeGroupSnapshotHandle: handle };
}

/** An error in the status, which the snapshot repeats, and an Event; once for each message. */
async function tell(content: VolumeSnapshotContent, reason: string, message: string, clock: Clock, runner: StepRunner): Promise<void> {
  if (content.status?.error?.message === message) return;
  const status = { ...content.status, readyToUse: false, error: { message, time: formatTime(clock.nowMs()) } };
  await runner.run(replaceStatus(volumeSnapshotContents, { ...content, status }));
  await runner.run(event(content, "Warning", reason, message));
}
