/**
 * The life of a Backup up to the end of its own work.
 *
 *   New ──► Queued ──► ReadyToStart ──► InProgress ──► WaitingForPluginOperations[PartiallyFailed] ──► (backup-operations)
 *                           │               │     └──► Finalizing[PartiallyFailed] ──────────────────► (backup-operations)
 *                           ▼               ▼
 *                   FailedValidation      Failed: it could not be written, or the server was restarted meanwhile
 *
 * A backup runs as a job of this process, so one that is InProgress without a job was lost with its process.
 */
import type { Backup, BackupStatus } from "@drayage/api";
import { parseTime } from "@drayage/base";
import { NameFilter } from "../resource-selection/name-filter.ts";

export type BackupPhase = NonNullable<BackupStatus["phase"]>;

export interface ObservedBackup {
  readonly phase: BackupPhase;
  readonly deleting: boolean;
  /** Whether this process works on it. */
  readonly running: boolean;
  /** It is to stop, and why. */
  readonly cancelRequested: string | undefined;
  /** Its place in the queue as it is stored, and as it should be. */
  readonly storedPosition: number;
  readonly position: number;
  /** Whether it may leave the queue now. */
  readonly mayStart: boolean;
}

export type BackupDecision =
  | { readonly do: "nothing" }
  | { readonly do: "enqueue"; readonly position: number }
  | { readonly do: "release" }
  | { readonly do: "start" }
  | { readonly do: "fail"; readonly reason: string }
  /** Ends the work of this process on it, then fails it. */
  | { readonly do: "cancel"; readonly reason: string };

/** On a Backup that is to be deleted and has not ended. */
export const CANCEL_REQUESTED = "drayage.io/cancel-requested";

const nothing: BackupDecision = { do: "nothing" };

const wantsNothing = (): BackupDecision => nothing;

export const backupPhases: Readonly<Record<BackupPhase, (o: ObservedBackup) => BackupDecision>> = {
  New: (o) => ({ do: "enqueue", position: o.position }),
  Queued: (o) => (o.mayStart ? { do: "release" } : o.storedPosition === o.position ? nothing : { do: "enqueue", position: o.position }),
  ReadyToStart: (o) => (o.running ? nothing : { do: "start" }),
  InProgress: (o) =>
    o.cancelRequested !== undefined
      ? { do: "cancel", reason: `it was canceled: ${o.cancelRequested}` }
      : o.running
        ? nothing
        : { do: "fail", reason: "the server was restarted while the backup was InProgress; what it had written is not usable" },
  FailedValidation: wantsNothing,
  WaitingForPluginOperations: wantsNothing,
  WaitingForPluginOperationsPartiallyFailed: wantsNothing,
  Finalizing: wantsNothing,
  FinalizingPartiallyFailed: wantsNothing,
  Completed: wantsNothing,
  PartiallyFailed: wantsNothing,
  Failed: wantsNothing,
  Deleting: wantsNothing,
};

export const decideBackup = (o: ObservedBackup): BackupDecision => (o.deleting ? nothing : backupPhases[o.phase](o));

/** Whether nothing is ever wanted in a phase, whatever else is so. */
export const isBehind = (phase: BackupPhase): boolean => backupPhases[phase] === wantsNothing;

export function phaseOf(backup: Backup): BackupPhase {
  return backup.status?.phase ?? "New";
}

/** Where a backup stands in the queue (from 1), and whether it may start. Those that have no place yet come last, by age. */
export function queuePlace(backup: Backup, all: readonly Backup[], concurrentMax: number): { readonly position: number; readonly mayStart: boolean } {
  const queue = all.filter((other) => phaseOf(other) === "Queued" || phaseOf(other) === "New" || other.metadata.uid === backup.metadata.uid).sort(byPlace);
  const at = queue.findIndex(({ metadata }) => metadata.uid === backup.metadata.uid);
  const running = all.filter((other) => phaseOf(other) === "ReadyToStart" || phaseOf(other) === "InProgress");
  const ahead = queue.slice(0, at);
  // One that waits for a namespace holds back nobody but those that want the same namespace.
  const blocked = [...running, ...ahead].some((other) => sharesNamespace(backup, other));
  const free = concurrentMax - running.length;
  const startingBefore = ahead.filter((other, index) => ![...running, ...ahead.slice(0, index)].some((earlier) => sharesNamespace(other, earlier))).length;
  return { position: at + 1, mayStart: !blocked && startingBefore < free };
}

function byPlace(a: Backup, b: Backup): number {
  const place = (backup: Backup): number => backup.status?.queuePosition ?? Number.MAX_SAFE_INTEGER;
  const created = (backup: Backup): number => parseTime(backup.metadata.creationTimestamp) ?? 0;
  return place(a) - place(b) || created(a) - created(b) || ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1);
}

/** Whether two backups may want the same namespace. Two globs are taken to, unless one is plainly a name that the other does not fit. */
export function sharesNamespace(a: Backup, b: Backup): boolean {
  const [left, right] = [includedOf(a), includedOf(b)];
  return left.some((x) => right.some((y) => new NameFilter([x], []).has(y) || new NameFilter([y], []).has(x) || (hasGlob(x) && hasGlob(y))));
}

function includedOf(backup: Backup): readonly string[] {
  const included = backup.spec.includedNamespaces ?? [];
  return included.length === 0 ? ["*"] : included;
}

function hasGlob(pattern: string): boolean {
  return /[*?[]/.test(pattern);
}
