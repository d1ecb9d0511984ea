/**
 * Who goes first where several movers come up on one node. A PodVolumeBackup is waited for by its application: hooks hold it, its file system may be frozen, until the volume is read. Of a
 * DataUpload the snapshot is cut, and nobody waits. So an upload's mover is made a moment later where one of the former is under way on the node, whose processors two starting programs
 * would share; and a place for one data path is left to what comes up beside it. Both for a short time only, by which a backup of many hours is not longer.
 */
import type { DataUpload, PodVolumeBackup } from "@drayage/api";
import type { Clock } from "@drayage/base";
import type { Informer } from "@drayage/kube";
import { steadyAgeMs } from "../steady-age.ts";
import type { DataMovementCaches } from "./caches.ts";
import { endingOf } from "./movement.ts";

/** What a small volume takes from its mover's start to its end. */
const HEAD_START_MS = 1_500;
/** Longer than a mover takes to come up on a node that is busy. */
const TURN_MS = 30_000;

export interface PrecedenceDeps {
  readonly caches: { readonly volumeBackups: Pick<Informer<PodVolumeBackup>, "byIndex"> };
  readonly clock: Clock;
  readonly nodeName: string;
}

/** What an upload's mover is not made beside yet; undefined when it may be. */
export function startsAfter(deps: PrecedenceDeps, { metadata }: DataUpload): string | undefined {
  const first = [...preparing(deps), ...deps.caches.volumeBackups.byIndex("running", deps.nodeName)].find((backup) => endingOf(backup) === undefined);
  if (first === undefined || steadyAgeMs(deps.clock, `head start before ${metadata.uid}`) >= HEAD_START_MS) return undefined;
  return `pod volume backup "${first.metadata.name}", which its application waits for`;
}

/** What an upload leaves a free place to; undefined when it may take it. */
export function leavesPlaceTo(deps: PrecedenceDeps, { metadata }: DataUpload): string | undefined {
  const [first] = preparing(deps);
  if (first === undefined || steadyAgeMs(deps.clock, `place left by ${metadata.uid}`) >= TURN_MS) return undefined;
  return `pod volume backup "${first.metadata.name}", which its application waits for`;
}

/** Whether a PodVolumeBackup has come up, or has ended, so that who gave way to it may go on. */
export function letsOthersGo(before: PodVolumeBackup | undefined, after: PodVolumeBackup | undefined): boolean {
  return before !== undefined && (after === undefined || before.status?.phase !== after.status?.phase || endingOf(before)?.phase !== endingOf(after)?.phase);
}

/** Uploads that may have given way, of all nodes. */
export const thatGaveWay = ({ uploads }: Pick<DataMovementCaches, "uploads">): readonly DataUpload[] => uploads.byIndex("exposing", "true");

function preparing({ caches, nodeName }: PrecedenceDeps): readonly PodVolumeBackup[] {
  return caches.volumeBackups.byIndex("exposing", "true").filter((backup) => backup.spec.node === nodeName && endingOf(backup) === undefined);
}
