/**
 * Backups whose time is over: a DeleteBackupRequest is made for each, and its controller does the rest.
 *
 *   before its expiration ──► awaited
 *   past it ──► DeleteBackupRequest, unless one for it is under way
 *           └─► not possible now: label velero.io/gc-failure says why, tried again each period, at once when the location changes
 */
import type { Backup, BackupStorageLocation, DeleteBackupRequest } from "@drayage/api";
import { parseTime } from "@drayage/base";

/** The label, and its values as Velero has them. */
export const GC_FAILURE = "velero.io/gc-failure";
export type GcFailure = "BSLNotFound" | "BSLReadOnly" | "BSLUnavailable";

export interface ObservedExpiry {
  readonly deleting: boolean;
  /** Its own work or its operations are under way. */
  readonly running: boolean;
  /** Until its expiration; undefined when it has none (yet). */
  readonly leftMs: number | undefined;
  readonly location: "absent" | "readOnly" | "unavailable" | "usable";
  /** The label as it is. */
  readonly storedFailure: string | undefined;
  /** Whether a DeleteBackupRequest for it has not been carried out. */
  readonly requested: boolean;
  /** For how long this process has known of the last request that went wrong; undefined when there was none. */
  readonly failedForMs: number | undefined;
}

export type ExpiryDecision =
  | { readonly do: "nothing"; readonly recheckAfterMs?: number }
  | { readonly do: "label"; readonly failure: GcFailure | undefined }
  | { readonly do: "request" };

/** How often what is in the way is looked at again; Velero's hour. */
export const GC_PERIOD_MS = 60 * 60_000;
/** Timers are set for no longer than this, since the wall clock may be set meanwhile. A look costs no request. */
const LOOK_EVERY_MS = 10 * 60_000;

const FAILURES: Readonly<Record<Exclude<ObservedExpiry["location"], "usable">, GcFailure>> = {
  absent: "BSLNotFound",
  readOnly: "BSLReadOnly",
  unavailable: "BSLUnavailable",
};

const RUNNING: ReadonlySet<string> = new Set([
  "New",
  "Queued",
  "ReadyToStart",
  "InProgress",
  "WaitingForPluginOperations",
  "WaitingForPluginOperationsPartiallyFailed",
  "Finalizing",
  "FinalizingPartiallyFailed",
]);

export function decideExpiry(o: ObservedExpiry, periodMs: number): ExpiryDecision {
  // One that has not ended is looked at again when it has.
  if (o.deleting || o.running || o.leftMs === undefined) return { do: "nothing" };
  if (o.leftMs > 0) return { do: "nothing", recheckAfterMs: Math.min(o.leftMs, LOOK_EVERY_MS) };
  const failure = o.location === "usable" ? undefined : FAILURES[o.location];
  if (failure !== o.storedFailure) return { do: "label", failure };
  if (failure !== undefined) return { do: "nothing", recheckAfterMs: periodMs };
  if (o.requested) return { do: "nothing" };
  // One that went wrong stays to be read; the next try is not made at once.
  if (o.failedForMs !== undefined && o.failedForMs < periodMs) return { do: "nothing", recheckAfterMs: periodMs - o.failedForMs };
  return { do: "request" };
}

export function observeExpiry(
  backup: Backup,
  location: BackupStorageLocation | undefined,
  requests: readonly DeleteBackupRequest[],
  nowMs: number,
  /** For how long this process has known of one. */
  knownForMs: (request: DeleteBackupRequest) => number,
): ObservedExpiry {
  const expiresMs = parseTime(backup.status?.expiration);
  const own = requests.filter(({ spec }) => spec.backupName === backup.metadata.name);
  const ended = own.filter(({ status }) => status?.phase === "Processed").map(knownForMs);
  return {
    deleting: backup.metadata.deletionTimestamp !== undefined || backup.status?.phase === "Deleting",
    running: RUNNING.has(backup.status?.phase ?? "New"),
    leftMs: expiresMs === undefined ? undefined : expiresMs - nowMs,
    location:
      location === undefined
        ? "absent"
        : location.spec.accessMode === "ReadOnly"
          ? "readOnly"
          : location.status?.phase === "Unavailable"
            ? "unavailable"
            : "usable",
    storedFailure: backup.metadata.labels?.[GC_FAILURE],
    requested: own.length > ended.length,
    failedForMs: ended.length === 0 ? undefined : Math.min(...ended),
  };
}
