/**
 * DeleteBackupRequest: a backup goes with everything that belongs to it.
 *
 *   New ──► InProgress ──► Processed ──► deleted: at once when nothing went wrong, otherwise after a day, so that its status.errors can be read
 *    └─────── refused ────────┘
 *
 * A backup that has not ended is told to stop first, and its end is awaited within a limit, as is that of its movements: one that completes in spite of it tells only then which
 * snapshot it has left.
 * A request found InProgress was begun by a server that ended; it is carried out again, since every step can be repeated.
 * Order of the steps: velero.md 7.3 (Velero: backup_deletion_controller); they are in `delete-backup.ts`.
 */
import type { Backup, BackupStorageLocation, DeleteBackupRequest, DeleteBackupRequestStatus } from "@drayage/api";
import { parseTime } from "@drayage/base";

export interface Observed {
  readonly phase: NonNullable<DeleteBackupRequestStatus["phase"]>;
  readonly ageMs: number;
  /** For how long this process has known of it, whatever clocks say. */
  readonly knownForMs: number;
  /** status.errors has something to read. */
  readonly failed: boolean;
  readonly backupName: string;
  /** Moving: the backup itself has ended, what moves its data has not. */
  readonly backup: "absent" | "running" | "moving" | "ended";
  readonly locationName: string;
  readonly location: "absent" | "readOnly" | "unavailable" | "usable";
}

export type Decision =
  | { readonly do: "carryOut" }
  /** The backup is told to stop; its end is seen. */
  | { readonly do: "cancel"; readonly recheckAfterMs: number }
  /** Processed, with this as its one error. */
  | { readonly do: "refuse"; readonly why: string }
  /** Everything is gone already. */
  | { readonly do: "finish" }
  | { readonly do: "delete" }
  | { readonly do: "nothing"; readonly recheckAfterMs: number };

const KEPT_MS = 24 * 3_600_000;
/** Movers answer within seconds; one on a node that was lost is ended by another agent within minutes. */
const STOP_LIMIT_MS = 15 * 60_000;

const phases: Record<Observed["phase"], (o: Observed) => Decision> = {
  New: (o) =>
    o.backupName === ""
      ? { do: "refuse", why: "spec.backupName is required" }
      : o.backup === "absent"
        ? { do: "refuse", why: "backup not found" }
        : carryOutUnless(o),
  // The Backup is the last thing to go.
  InProgress: (o) => (o.ageMs >= KEPT_MS ? { do: "delete" } : o.backup === "absent" ? { do: "finish" } : carryOutUnless(o)),
  Processed: (o) => (o.ageMs >= KEPT_MS || !o.failed ? { do: "delete" } : { do: "nothing", recheckAfterMs: KEPT_MS - o.ageMs }),
};

export const decide = (o: Observed): Decision => phases[o.phase](o);

function carryOutUnless(o: Observed): Decision {
  switch (o.location) {
    case "absent":
      return { do: "refuse", why: `backup storage location ${o.locationName} not found` };
    case "readOnly":
      return { do: "refuse", why: `cannot delete backup because backup storage location ${o.locationName} is currently in read-only mode` };
    case "unavailable":
      return { do: "refuse", why: `cannot delete backup because backup storage location ${o.locationName} is currently in Unavailable state` };
    case "usable":
      if (o.backup === "ended" || o.backup === "absent") return { do: "carryOut" };
      // A movement that nobody ends is deleted like the others; its mover, if there is one, sees that.
      if (o.backup === "moving" && o.knownForMs >= STOP_LIMIT_MS) return { do: "carryOut" };
      return o.knownForMs >= STOP_LIMIT_MS
        ? { do: "refuse", why: `backup is still in progress: it was told to stop and has not ended within ${STOP_LIMIT_MS / 60_000} minutes` }
        : { do: "cancel", recheckAfterMs: STOP_LIMIT_MS - o.knownForMs };
  }
}

const RUNNING: ReadonlySet<string | undefined> = new Set([
  "InProgress",
  "WaitingForPluginOperations",
  "WaitingForPluginOperationsPartiallyFailed",
  "Finalizing",
  "FinalizingPartiallyFailed",
]);

export interface Seen {
  /** For how long this process has known of the request, in milliseconds. */
  readonly knownForMs: number;
  readonly backup: Backup | undefined;
  /** Whether one of its movements has not ended. */
  readonly moving: boolean;
  readonly location: BackupStorageLocation | undefined;
}

export function observe(request: DeleteBackupRequest, { backup, moving, location, knownForMs }: Seen, nowMs: number): Observed {
  return {
    phase: request.status?.phase ?? "New",
    ageMs: nowMs - (parseTime(request.metadata.creationTimestamp) ?? nowMs),
    knownForMs,
    failed: (request.status?.errors ?? []).length > 0,
    backupName: request.spec.backupName,
    backup: backup === undefined ? "absent" : RUNNING.has(backup.status?.phase) ? "running" : moving ? "moving" : "ended",
    locationName: backup?.spec.storageLocation ?? "",
    location:
      location === undefined
        ? "absent"
        : location.spec.accessMode === "ReadOnly"
          ? "readOnly"
          : location.status?.phase === "Available"
            ? "usable"
            : "unavailable",
  };
}
