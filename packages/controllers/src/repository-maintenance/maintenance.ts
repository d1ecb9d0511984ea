/**
 * Maintenance of a repository: a Job a time, one at once a repository.
 *
 *   due (the last try is maintenanceFrequency ago) ──► Job ──► ended: status.recentMaintenance, and lastMaintenanceTime when it succeeded
 *                                                              older Jobs than the latest few are deleted
 *
 * What has been done is in the BackupRepository and in the Jobs, so a restart forgets nothing: a Job under way is awaited, one that ended meanwhile is written down.
 */
import type { BackupRepository, BackupRepositoryStatus, BackupStorageLocation } from "@drayage/api";
import { parseTime } from "@drayage/base";
import { type Job, parseDuration } from "@drayage/kube";

export type MaintenanceRecord = NonNullable<BackupRepositoryStatus["recentMaintenance"]>[number];

export interface ObservedMaintenance {
  /** Ready, of our type, and its location can be written. */
  readonly possible: boolean;
  readonly running: string | undefined;
  /** Names of Jobs that have ended and are not written down, the oldest first. */
  readonly unrecorded: readonly string[];
  /** Names of Jobs that are written down and no longer kept. */
  readonly surplus: readonly string[];
  /** Until the next one; 0 or less: it is due. */
  readonly dueInMs: number;
}

export type MaintenanceDecision =
  | { readonly do: "nothing"; readonly recheckAfterMs?: number; readonly waitingFor?: string }
  | { readonly do: "record"; readonly job: string }
  | { readonly do: "delete"; readonly job: string }
  | { readonly do: "start" };

/** The wall clock may be set; a look costs no request. */
const LOOK_EVERY_MS = 10 * 60_000;
/** Velero's length of the history. */
const HISTORY_MAX = 25;

export function decideMaintenance(o: ObservedMaintenance): MaintenanceDecision {
  const [ended] = o.unrecorded;
  if (ended !== undefined) return { do: "record", job: ended };
  const [surplus] = o.surplus;
  if (surplus !== undefined) return { do: "delete", job: surplus };
  if (o.running !== undefined) return { do: "nothing", waitingFor: `job "${o.running}"` };
  if (!o.possible) return { do: "nothing" };
  return o.dueInMs <= 0 ? { do: "start" } : { do: "nothing", recheckAfterMs: Math.min(o.dueInMs, LOOK_EVERY_MS) };
}

export interface MaintenanceView {
  readonly nowMs: number;
  readonly location: BackupStorageLocation | undefined;
  /** Of this repository. */
  readonly jobs: readonly Job[];
  readonly keepLatest: number;
}

export function observeMaintenance(repository: BackupRepository, { nowMs, location, jobs, keepLatest }: MaintenanceView): ObservedMaintenance {
  const { spec, status, metadata } = repository;
  const byStart = [...jobs].sort((a, b) => startedMs(a) - startedMs(b) || ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1));
  const recordedMs = Math.max(0, ...(status?.recentMaintenance ?? []).map(({ startTimestamp }) => parseTime(startTimestamp) ?? 0));
  const ended = byStart.filter((job) => endOf(job) !== undefined);
  const isRecorded = (job: Job): boolean => startedMs(job) <= recordedMs;
  const lastMs = Math.max(recordedMs, parseTime(status?.lastMaintenanceTime) ?? parseTime(metadata.creationTimestamp) ?? 0);
  return {
    possible:
      status?.phase === "Ready" &&
      spec.repositoryType === "kopia" &&
      location !== undefined &&
      location.spec.accessMode !== "ReadOnly" &&
      metadata.deletionTimestamp === undefined,
    running: byStart.find((job) => endOf(job) === undefined)?.metadata.name,
    unrecorded: ended.filter((job) => !isRecorded(job)).map(({ metadata: { name = "" } }) => name),
    surplus: ended
      .filter(isRecorded)
      .slice(0, Math.max(0, ended.length - keepLatest))
      .filter((job) => job.metadata.deletionTimestamp === undefined)
      .map(({ metadata: { name = "" } }) => name),
    dueInMs: lastMs + (parseDuration(spec.maintenanceFrequency) ?? 0) - nowMs,
  };
}

/** How a Job ended; undefined while it has not. */
export function endOf({ status }: Job): { readonly succeeded: boolean; readonly at: string | undefined } | undefined {
  const finished = status?.conditions?.find(({ type, status: holds }) => (type === "Complete" || type === "Failed") && holds === "True");
  if (finished !== undefined) return { succeeded: finished.type === "Complete", at: status?.completionTime ?? finished.lastTransitionTime };
  if ((status?.succeeded ?? 0) > 0) return { succeeded: true, at: status?.completionTime };
  return (status?.failed ?? 0) > 0 && (status?.active ?? 0) === 0 ? { succeeded: false, at: undefined } : undefined;
}

function startedMs({ metadata, status }: Job): number {
  return parseTime(status?.startTime) ?? parseTime(metadata.creationTimestamp) ?? 0;
}

/** The status with the end of a Job written down. */
export function withRecord(status: BackupRepositoryStatus | undefined, job: Job, now: string, message: string | undefined): BackupRepositoryStatus {
  const end = endOf(job);
  const startTimestamp = job.status?.startTime ?? job.metadata.creationTimestamp ?? now;
  const completeTimestamp = end?.at ?? now;
  const record: MaintenanceRecord = {
    result: end?.succeeded === true ? "Succeeded" : "Failed",
    startTimestamp,
    completeTimestamp,
    ...(message === undefined ? {} : { message }),
  };
  return {
    ...status,
    ...(end?.succeeded === true ? { lastMaintenanceTime: completeTimestamp } : {}),
    recentMaintenance: [...(status?.recentMaintenance ?? []), record].slice(-HISTORY_MAX),
  };
}
