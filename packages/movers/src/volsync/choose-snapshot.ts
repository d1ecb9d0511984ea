/** VolSync's way of choosing what is restored: the newest, that of a time or before, and so many before that. Pure. */
import type { VolSyncRestoreRequest } from "@drayage/api";
import { DrayError, parseTime } from "@drayage/base";

/** From `snapshots`, the oldest first. Undefined where none fits. Throws VALIDATION_FAILED for a time that is none. */
export function chooseByTime<T>(
  snapshots: readonly T[],
  timeMsOf: (snapshot: T) => number,
  { restoreAsOf, previous }: Pick<VolSyncRestoreRequest, "restoreAsOf" | "previous">,
): T | undefined {
  const untilMs = restoreAsOf === undefined ? Number.POSITIVE_INFINITY : parseTime(restoreAsOf);
  if (untilMs === undefined) throw new DrayError("VALIDATION_FAILED", `Cannot restore as of "${restoreAsOf}": a time such as 2026-05-01T12:00:00Z is wanted`);
  // Whole seconds are compared, as VolSync does: a snapshot of the second that is named counts.
  return snapshots.filter((snapshot) => Math.floor(timeMsOf(snapshot) / 1000) * 1000 <= untilMs).at(-1 - previous);
}
