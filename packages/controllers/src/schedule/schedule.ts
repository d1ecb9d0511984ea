/**
 * Schedule: Backups by the clock.
 *
 *   New ──► Enabled ◄──► FailedValidation     the expression is read again whenever the Schedule changes
 *              │ due, not paused, and no earlier Backup of it waits or runs
 *              ▼
 *           a Backup is made, status.lastBackup is now
 *
 * Missed times are not caught up: whatever was missed gives one Backup. The next time is the first one after the last Backup, the last skip, or the creation of the Schedule,
 * whichever is latest; all of these are stored, so a restart forgets nothing.
 */
import type { Backup, Schedule, ScheduleStatus } from "@drayage/api";
import { messageOf, parseTime } from "@drayage/base";
import { type CronSchedule, parseCron } from "./cron.ts";

export type SchedulePhase = NonNullable<ScheduleStatus["phase"]>;

export interface ObservedSchedule {
  readonly phase: SchedulePhase;
  readonly deleting: boolean;
  readonly paused: boolean;
  /** The first time that has come since it was created is to be left out. */
  readonly skipAsked: boolean;
  readonly faults: readonly string[];
  /** The faults that are written down. */
  readonly storedFaults: readonly string[];
  /** The time it is due next; undefined when there is none. */
  readonly dueMs: number | undefined;
  readonly nowMs: number;
  /** A Backup that an earlier time made has not got past its own work. */
  readonly overlapping: string | undefined;
}

export type ScheduleDecision =
  | { readonly do: "nothing"; readonly recheckAfterMs?: number; readonly waitingFor?: string }
  | { readonly do: "judge"; readonly phase: SchedulePhase; readonly faults: readonly string[] }
  | { readonly do: "skip" }
  | { readonly do: "submit"; readonly dueMs: number };

/** The wall clock may be set, and a machine may sleep: nothing is awaited for longer without a look at it, which costs no request. */
const LOOK_EVERY_MS = 60_000;

export function decideSchedule(o: ObservedSchedule): ScheduleDecision {
  if (o.deleting) return { do: "nothing" };
  const phase = o.faults.length === 0 ? "Enabled" : "FailedValidation";
  if (o.phase !== phase || o.faults.join("\n") !== o.storedFaults.join("\n")) return { do: "judge", phase, faults: o.faults };
  if (o.faults.length > 0 || o.paused) return { do: "nothing" };
  if (o.skipAsked) return { do: "skip" };
  if (o.dueMs === undefined) return { do: "nothing" };
  if (o.nowMs < o.dueMs) return { do: "nothing", recheckAfterMs: Math.min(o.dueMs - o.nowMs, LOOK_EVERY_MS) };
  if (o.overlapping !== undefined) return { do: "nothing", waitingFor: `backup "${o.overlapping}" to end its work` };
  return { do: "submit", dueMs: o.dueMs };
}

const NOT_BEGUN_OR_RUNNING: ReadonlySet<string> = new Set(["New", "Queued", "ReadyToStart", "InProgress"]);
/** A Kubernetes name has 253 characters; the time takes 15 of them. */
const NAME_MAX = 238;

export interface ScheduleView {
  readonly nowMs: number;
  /** Of times that name no zone. */
  readonly zone: string;
  /** What a Schedule that does not say does with the time that has come since its creation. */
  readonly skipImmediately: boolean;
  /** The Backups of this Schedule. */
  readonly backups: readonly Backup[];
}

export function observeSchedule(schedule: Schedule, view: ScheduleView): ObservedSchedule {
  const { metadata, spec, status } = schedule;
  const { cron, faults } = judge(schedule, view.zone);
  return {
    phase: status?.phase ?? "New",
    deleting: metadata.deletionTimestamp !== undefined,
    paused: spec.paused === true,
    skipAsked: spec.skipImmediately ?? (view.skipImmediately && status?.lastSkipped == null && status?.lastBackup == null),
    faults,
    storedFaults: status?.validationErrors ?? [],
    dueMs: cron?.next(countsFromMs(schedule)),
    nowMs: view.nowMs,
    overlapping: view.backups.find((backup) => NOT_BEGUN_OR_RUNNING.has(backup.status?.phase ?? "New"))?.metadata.name,
  };
}

function judge({ metadata, spec }: Schedule, zone: string): { readonly cron: CronSchedule | undefined; readonly faults: readonly string[] } {
  const name = metadata.name ?? "";
  const tooLong = name.length > NAME_MAX ? [`the name has ${name.length} characters, and ${NAME_MAX} leave room for the time in the names of its backups`] : [];
  if (spec.schedule.trim() === "") return { cron: undefined, faults: [...tooLong, "Schedule must be a non-empty valid Cron expression"] };
  try {
    return { cron: parseCron(spec.schedule, zone), faults: tooLong };
  } catch (error) {
    return { cron: undefined, faults: [...tooLong, `invalid schedule: ${messageOf(error)}`] };
  }
}

function countsFromMs({ metadata, status }: Schedule): number {
  const lastMs = parseTime(status?.lastBackup) ?? parseTime(metadata.creationTimestamp) ?? 0;
  return Math.max(lastMs, parseTime(status?.lastSkipped) ?? lastMs);
}
