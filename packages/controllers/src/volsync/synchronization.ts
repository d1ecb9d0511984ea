/**
 * ReplicationSource and ReplicationDestination: one synchronization after the other, with VolSync's status and words.
 *
 *   Waiting ──(due)──► Synchronizing: volume ─► mover ─► image ──► CleaningUp ──► Waiting
 *     ▲                     │  ▲                                       │
 *     │                     └──┘ a mover that failed is tried again    │
 *     └────────────────────────────────────────────────────────────────┘
 *
 * Synchronizing is `status.lastSyncStartTime`; its end is one write of the status that also takes that away, so nothing is done twice. What was made for it goes afterwards, and
 * before the next one begins.
 */
import type { VolSyncResult } from "@drayage/api";
import { SYNCHRONIZING_REASONS } from "@drayage/api";
import { formatTime } from "@drayage/base";
import type { Work } from "../data-movement/work.ts";

export type Mover =
  | { readonly state: "absent" }
  | { readonly state: "starting"; readonly reason: string; readonly sinceMs: number }
  | { readonly state: "running" }
  /** `tag` is the manual one that it was started for. */
  | { readonly state: "succeeded"; readonly tag: string | undefined; readonly endedMs: number; readonly result: VolSyncResult }
  | {
      readonly state: "failed";
      readonly tag: string | undefined;
      readonly endedMs: number;
      readonly result: VolSyncResult;
      /** 1 is the first. */
      readonly attempt: number;
      /** Nothing will be different until somebody changes something. */
      readonly hopeless: boolean;
    };

export type Trigger = { readonly kind: "manual"; readonly tag: string } | { readonly kind: "schedule" } | { readonly kind: "always" };

export interface Observed {
  readonly nowMs: number;
  /** A VolSync runs in the cluster, or the method is that of somebody else. */
  readonly servedElsewhere: boolean;
  readonly deleting: boolean;
  readonly paused: boolean;
  readonly trigger: Trigger;
  readonly lastManualSync: string | undefined;
  /** Has been synchronized once. */
  readonly isSynchronized: boolean;
  /** By the schedule, after the last synchronization. */
  readonly dueMs: number | undefined;
  /** Of the synchronization that is under way. */
  readonly startedMs: number | undefined;
  /** What makes it impossible for now. */
  readonly fault: string | undefined;
  /** Towards a volume for the mover. */
  readonly volume: Work;
  /** What is to be told of a volume that is waited for all too long. */
  readonly overdue: string | undefined;
  readonly mover: Mover;
  /** Once the mover is done: towards what holds the state that arrived, or its owner being told that it was copied. */
  readonly image: Work;
  /** Whether something is left of what was made for the last synchronization. */
  readonly traces: boolean;
}

export type Step =
  | { readonly do: "start" | "deleteMover" | "cleanUp" }
  | { readonly do: "advance"; readonly work: Extract<Work, { state: "act" }> }
  | { readonly do: "createMover"; readonly attempt: number }
  | { readonly do: "recordFailure"; readonly result: VolSyncResult }
  | { readonly do: "finish"; readonly mover: Extract<Mover, { state: "succeeded" }> }
  | { readonly do: "setCondition"; readonly status: "True" | "False"; readonly reason: string; readonly message: string };

export interface Decision {
  readonly steps: readonly Step[];
  readonly recheckAfterMs?: number;
}

const SOON_MS = 2_000;
const FAULT_RECHECK_MS = 15_000;
/** Before its failure is told; a store may be away for a moment. */
const TRIES_UNTOLD = 3;
const FIRST_DELAY_MS = 10_000;
const HOPELESS_DELAY_MS = 60_000;
const DELAY_MAX_MS = 600_000;
/** A mover that has not started by then is told of as one that failed; it may start yet. */
const START_LIMIT_MS = 30 * 60_000;

const { inProgress, waitingForManual, waitingForSchedule, cleaningUp, error } = SYNCHRONIZING_REASONS;
const nothing: Decision = { steps: [] };
const say = (status: "True" | "False", reason: string, message: string): Step => ({ do: "setCondition", status, reason, message });

export function decide(observed: Observed): Decision {
  // The owner's end takes everything along: it owns all that is made.
  if (observed.deleting) return nothing;
  if (observed.servedElsewhere) return observed.traces ? { steps: [{ do: "cleanUp" }], recheckAfterMs: SOON_MS } : nothing;
  return observed.startedMs === undefined ? waiting(observed) : synchronizing(observed);
}

function waiting(observed: Observed): Decision {
  const { nowMs, trigger, traces, paused, fault, dueMs } = observed;
  if (traces) return { steps: [say("False", cleaningUp, "Cleaning up"), { do: "cleanUp" }], recheckAfterMs: SOON_MS };
  const idle = say("False", ...restingReason(trigger));
  if (paused) return { steps: [idle] };
  if (!isDue(observed)) return { steps: [idle], ...(dueMs === undefined ? {} : { recheckAfterMs: Math.max(dueMs - nowMs, 1_000) }) };
  if (fault !== undefined) return { steps: [say("False", error, fault)], recheckAfterMs: FAULT_RECHECK_MS };
  return { steps: [{ do: "start" }] };
}

function isDue({ nowMs, trigger, lastManualSync, isSynchronized, dueMs }: Observed): boolean {
  if (trigger.kind === "manual") return trigger.tag !== lastManualSync;
  return !isSynchronized || trigger.kind === "always" || (dueMs !== undefined && dueMs <= nowMs);
}

function restingReason({ kind }: Trigger): [string, string] {
  return kind === "manual" ? [waitingForManual, "Waiting for manual trigger"] : [waitingForSchedule, "Waiting for next scheduled synchronization"];
}

function synchronizing(observed: Observed): Decision {
  const { mover, image, volume, overdue, fault, paused, nowMs } = observed;
  if (mover.state === "succeeded") return arrived(mover, image);
  if (paused) return mover.state === "absent" ? nothing : { steps: [{ do: "deleteMover" }] };
  // A mover that runs already has found all that it needs.
  if (fault !== undefined && mover.state !== "running") return { steps: [say("False", error, fault)], recheckAfterMs: FAULT_RECHECK_MS };
  if (volume.state === "act") return { steps: [{ do: "advance", work: volume }], recheckAfterMs: SOON_MS };
  if (volume.state === "wait")
    return {
      steps: [...(overdue === undefined ? [] : [failureOf(overdue)]), say("True", inProgress, `Waiting for ${volume.reason}`)],
      recheckAfterMs: SOON_MS,
    };
  if (volume.state !== "done") return { steps: [say("False", error, volume.message)], recheckAfterMs: FAULT_RECHECK_MS };
  switch (mover.state) {
    case "absent":
      return { steps: [say("True", inProgress, "Synchronization in-progress"), { do: "createMover", attempt: 1 }] };
    case "starting": {
      const message = `Waiting for ${mover.reason}`;
      const late = nowMs - mover.sinceMs > START_LIMIT_MS;
      return { steps: [...(late ? [failureOf(message)] : []), say("True", inProgress, message)], recheckAfterMs: SOON_MS };
    }
    case "running":
      return { steps: [say("True", inProgress, "Synchronization in-progress")] };
    case "failed":
      return again(mover, observed);
  }
}

function arrived(mover: Extract<Mover, { state: "succeeded" }>, image: Work): Decision {
  switch (image.state) {
    case "done":
      return { steps: [{ do: "finish", mover }] };
    case "act":
      return { steps: [{ do: "advance", work: image }], recheckAfterMs: SOON_MS };
    case "wait":
      return { steps: [say("True", inProgress, `Waiting for ${image.reason}`)], recheckAfterMs: SOON_MS };
    default:
      return { steps: [say("False", error, image.message)], recheckAfterMs: FAULT_RECHECK_MS };
  }
}

/** Never given up, as with VolSync, but at a pace that does no harm; a new tag is tried at once. */
function again(mover: Extract<Mover, { state: "failed" }>, { trigger, nowMs }: Observed): Decision {
  const { attempt, hopeless, endedMs, result } = mover;
  const retry: Step[] = [{ do: "deleteMover" }, { do: "createMover", attempt: attempt + 1 }];
  if (trigger.kind === "manual" && trigger.tag !== mover.tag) return { steps: retry };
  const delayMs = Math.min((hopeless ? HOPELESS_DELAY_MS : FIRST_DELAY_MS) * 2 ** Math.min(attempt - 1, 10), DELAY_MAX_MS);
  const retryMs = endedMs + delayMs;
  if (nowMs >= retryMs) return { steps: retry };
  const told: Step[] = hopeless || attempt >= TRIES_UNTOLD ? [{ do: "recordFailure", result }] : [];
  const message = `The mover failed, and is tried again at ${formatTime(retryMs)}: ${result.message}`;
  return { steps: [...told, say("True", inProgress, message)], recheckAfterMs: Math.max(retryMs - nowMs, 1_000) };
}

function failureOf(message: string): Step {
  return { do: "recordFailure", result: { message, logs: message } };
}
