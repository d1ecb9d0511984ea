/** Are backups made when they should be, kept as long as they should be, and deleted when they should be? */
import { type Backup, backups, deleteBackupRequests, LABELS, type Schedule, schedules, validLabelValue } from "@drayage/api";
import { messageOf, parseTime } from "@drayage/base";
import { parseCron } from "@drayage/controllers";
import { counted } from "../output/counted.ts";
import { formatElapsed } from "../output/table.ts";
import type { DoctorContext, Finding, Question } from "./finding.ts";

/** How long a due backup may wait for its turn before it is missed. */
const LATE_MS = 60 * 60_000;
/** Expired backups are looked for once an hour; what is still there after two was forgotten. */
const EXPIRED_MS = 2 * 60 * 60_000;
/** A deletion waits for operations to end, within a limit of an hour. */
const DELETION_MS = 2 * 60 * 60_000;

const ENDED: ReadonlySet<string> = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation"]);

export const scheduledBackups: Question["ask"] = async ({ client, namespace, nowMs, signal }) => {
  const bySchedule = new Map<string, Backup[]>();
  for await (const backup of client.listAll(backups, { namespace, signal })) {
    const name = backup.metadata.labels?.[LABELS.scheduleName];
    if (name !== undefined) bySchedule.set(name, [...(bySchedule.get(name) ?? []), backup]);
  }
  const findings: Finding[] = [];
  let healthy = 0;
  for await (const schedule of client.listAll(schedules, { namespace, signal })) {
    const trouble = troubleOf(schedule, bySchedule.get(validLabelValue(schedule.metadata.name ?? "")) ?? [], nowMs);
    if (trouble === undefined) healthy++;
    else findings.push(trouble);
  }
  return healthy === 0 ? findings : [...findings, { severity: "ok", what: `${counted(healthy, "schedule is", "schedules are")} on time` }];
};

function troubleOf(schedule: Schedule, made: readonly Backup[], nowMs: number): Finding | undefined {
  const name = schedule.metadata.name ?? "";
  const describe = `dray schedule describe ${name}`;
  if (schedule.status?.phase === "FailedValidation")
    return { severity: "error", what: `Schedule "${name}" is not valid`, why: (schedule.status.validationErrors ?? []).join("; "), fix: describe };
  if (schedule.spec.paused === true)
    return { severity: "warning", what: `Schedule "${name}" is paused`, why: "It makes no backups.", fix: `dray schedule unpause ${name}` };
  const ended = made.filter(({ status }) => ENDED.has(status?.phase ?? "")).sort((a, b) => startMs(b) - startMs(a));
  const [latest] = ended;
  if (latest !== undefined && latest.status?.phase !== "Completed") {
    const good = ended.find(({ status }) => status?.phase === "Completed");
    return {
      severity: latest.status?.phase === "PartiallyFailed" ? "warning" : "error",
      what: `The latest backup of schedule "${name}" is ${latest.status?.phase}: "${latest.metadata.name}"`,
      why: `${latest.status?.failureReason ?? `${latest.status?.errors ?? 0} errors`}; ${good === undefined ? "no backup of it has completed" : `the last one that completed is ${formatElapsed(nowMs - startMs(good))} old`}.`,
      fix: `dray backup describe ${latest.metadata.name} --details`,
    };
  }
  return overdue(schedule, nowMs);
}

function overdue(schedule: Schedule, nowMs: number): Finding | undefined {
  const name = schedule.metadata.name ?? "";
  const sinceMs = parseTime(schedule.status?.lastBackup) ?? parseTime(schedule.status?.lastSkipped) ?? parseTime(schedule.metadata.creationTimestamp);
  if (sinceMs === undefined) return undefined;
  let dueMs: number | undefined;
  try {
    dueMs = parseCron(schedule.spec.schedule, "UTC").next(sinceMs);
  } catch (error) {
    return { severity: "error", what: `Schedule "${name}" has no time that can be understood`, why: messageOf(error), fix: `dray schedule describe ${name}` };
  }
  if (dueMs === undefined || nowMs - dueMs < LATE_MS) return undefined;
  return {
    severity: "error",
    what: `Schedule "${name}" is ${formatElapsed(nowMs - dueMs)} late`,
    why: "A backup was due and none was begun: the server does not run, or its location is not available.",
    fix: `dray schedule run ${name}`,
  };
}

export const leftovers: Question["ask"] = async (context) => [...(await expiredBackups(context)), ...(await slowDeletions(context))];

async function expiredBackups({ client, namespace, nowMs, signal }: DoctorContext): Promise<readonly Finding[]> {
  const expired: string[] = [];
  for await (const { metadata, status } of client.listAll(backups, { namespace, signal })) {
    const expirationMs = parseTime(status?.expiration);
    if (expirationMs !== undefined && nowMs - expirationMs > EXPIRED_MS) expired.push(metadata.name ?? "");
  }
  if (expired.length === 0) return [];
  return [
    {
      severity: "warning",
      what: `${counted(expired.length, "expired backup is", "expired backups are")} still there: ${shortList(expired)}`,
      why: "Their location cannot be reached or is read-only, or their deletion fails.",
      fix: `dray backup delete ${expired[0]}`,
    },
  ];
}

async function slowDeletions({ client, namespace, nowMs, signal }: DoctorContext): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for await (const { metadata, spec, status } of client.listAll(deleteBackupRequests, { namespace, signal })) {
    const errors = status?.errors ?? [];
    const ageMs = nowMs - (parseTime(metadata.creationTimestamp) ?? nowMs);
    if (status?.phase === "Processed" ? errors.length === 0 : ageMs < DELETION_MS) continue;
    findings.push({
      severity: "warning",
      what:
        status?.phase === "Processed"
          ? `Backup "${spec.backupName}" could not be deleted`
          : `Backup "${spec.backupName}" has been deleted for ${formatElapsed(ageMs)}`,
      why: errors.length > 0 ? errors.join("; ") : "The server has not finished.",
      fix: `dray backup delete ${spec.backupName}`,
    });
  }
  return findings;
}

const startMs = ({ metadata, status }: Backup): number => parseTime(status?.startTimestamp) ?? parseTime(metadata.creationTimestamp) ?? 0;

const shortList = (names: readonly string[]): string => (names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`);
