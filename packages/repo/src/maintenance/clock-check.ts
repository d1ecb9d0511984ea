/**
 * Whether the clocks agree by which maintenance tells young from old (kopia-format.md 8.4, 9.2). Nothing is deleted while they do not: a writer whose clock is
 * ahead makes a stale entry win, one whose clock is behind makes fresh contents look old enough to collect.
 */
import { DrayError } from "@drayage/base";
import type { MaintenanceTimes } from "./pack-tasks.ts";

/** Kopia's limit. */
const CLOCK_SKEW_MAX_MS = 5 * 60_000;
/** A marker may be on its way for a while when the storage is slow; ages are told in hours. */
const BEHIND_MAX_MS = 3_600_000;

/** Our clock beside the storage's. Throws REPO_CLOCK_SKEW. */
export function checkOwnClock(place: string, { storageMs, nowMs }: { readonly storageMs: number; readonly nowMs: number }): void {
  const skewMs = Math.abs(storageMs - nowMs);
  if (skewMs <= CLOCK_SKEW_MAX_MS) return;
  throw new DrayError("REPO_CLOCK_SKEW", `Cannot maintain repository at "${place}": our clock and the storage's differ by ${Math.round(skewMs / 1000)} s`, {
    hint: "Set the clock of this machine, or of the storage, right: what is young enough to keep is told by both.",
  });
}

/**
 * The clocks of writers that were ahead: what they wrote is from a time that the storage has not reached.
 * @param latestSeconds - the latest time in the index, in unix seconds
 * Throws REPO_CLOCK_SKEW.
 */
export function checkWriterClock(place: string, latestSeconds: number, { startedMs }: Pick<MaintenanceTimes, "startedMs">): void {
  const aheadMs = latestSeconds * 1000 - startedMs;
  if (aheadMs <= CLOCK_SKEW_MAX_MS) return;
  throw new DrayError(
    "REPO_CLOCK_SKEW",
    `Cannot delete from repository at "${place}": a writer's clock was ${Math.round(aheadMs / 1000)} s ahead of the storage's`,
    {
      hint: `Set the clocks of all machines that write to it right. Maintenance goes on once the time that it wrote, ${new Date(latestSeconds * 1000).toISOString()}, is past.`,
    },
  );
}

/**
 * The clock of a writer that is at work: its marker says when it was written, and the storage when it arrived. Throws REPO_CLOCK_SKEW.
 * @param writtenMs - by the writer
 * @param storedMs - by the storage
 */
export function checkSessionClock(
  place: string,
  marker: { readonly id: string; readonly writer: string; readonly writtenMs: number; readonly storedMs: number },
): void {
  const skewMs = marker.storedMs - marker.writtenMs;
  if (skewMs >= -CLOCK_SKEW_MAX_MS && skewMs <= BEHIND_MAX_MS) return;
  const side = skewMs > 0 ? "behind" : "ahead of";
  throw new DrayError(
    "REPO_CLOCK_SKEW",
    `Cannot delete from repository at "${place}": the clock of writer "${marker.writer}" was ${Math.round(Math.abs(skewMs) / 1000)} s ${side} the storage's`,
    {
      context: { blobId: marker.id },
      hint: "Set the clock of that machine right and let it finish. Its marker stops counting four days after it was stored.",
    },
  );
}
