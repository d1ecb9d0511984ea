/**
 * VolumeSnapshotBackup: one volume on its way into a restic repository of its own, as the data mover of OADP 1.1 and 1.2 did it, by VolSync.
 *
 *   "" ──► InProgress ────────────────────────────────────────► SnapshotBackupDone ──► Cleanup ──► Completed
 *           Queued ─► Processing ─► prepare ─► ReplicationSource ──┤ (it synchronized)   (all is taken away)
 *                                                                  ├──► Failed            (all is taken away)
 *                                                                  └──► PartiallyFailed   its Backup has ended meanwhile
 *
 * Prepared are, in the protected namespace: a copy of the snapshot, a volume made from it, a pod that has it bound, and the Secret of its repository. `prepare.ts` knows the order.
 * What ends it, also badly, leaves nothing of that behind; deleting it neither.
 */
import type { Work } from "../data-movement/work.ts";
import type { Synchronization } from "../volsync-era/synchronization.ts";

export type BackupPhase = "" | "InProgress" | "SnapshotBackupDone" | "Cleanup" | "Completed" | "PartiallyFailed" | "Failed";
export type BatchingStatus = "" | "Queued" | "Processing" | "Completed";

export interface Observed {
  readonly phase: BackupPhase;
  readonly batching: BatchingStatus;
  readonly deleting: boolean;
  readonly finalizer: boolean;
  readonly cancelRequested: boolean;
  /** What its Backup ended as, where that was badly. */
  readonly backupEnded: string | undefined;
  /** Whether another one may be worked on now. */
  readonly slotFree: boolean;
  /** What is next before the data moves. Looked for only while it is worked on. */
  readonly preparation: Work;
  /** Since it is worked on. */
  readonly preparingForMs: number;
  readonly synchronization: Synchronization;
  /** Whether the status names the ReplicationSource. */
  readonly sourceRecorded: boolean;
  /** Whether an annotation has how much was moved. */
  readonly progressNoted: boolean;
  /** Since its ReplicationSource was made. */
  readonly movingForMs: number;
  /** What is next until nothing of it is left. */
  readonly cleanUp: Work;
  readonly limits: { readonly prepareMs: number; readonly moveMs: number };
}

export type Step =
  | { readonly do: "addFinalizer" | "removeFinalizer" | "recordSource" }
  | { readonly do: "noteProgress"; readonly bytes: number }
  | { readonly do: "work"; readonly work: Extract<Work, { state: "act" }> }
  | { readonly do: "setPhase"; readonly to: BackupPhase; readonly batching: BatchingStatus; readonly message: string };

export interface Decision {
  readonly steps: readonly Step[];
  readonly recheckAfterMs?: number;
  /** Why nothing is done now. */
  readonly waitingFor?: string;
}

/** OADP looked every 5 s; what is watched is seen at once. */
const RECHECK_MS = 5_000;
const CLEAN_UP_RECHECK_MS = 1_000;

const nothing: Decision = { steps: [] };
const doing = (...steps: Step[]): Decision => ({ steps });
const waitFor = (waitingFor: string, recheckAfterMs = RECHECK_MS): Decision => ({ steps: [], waitingFor, recheckAfterMs });
const move = (to: BackupPhase, batching: BatchingStatus, message = ""): Decision => doing({ do: "setPhase", to, batching, message });
const fail = (message: string): Decision => move("Failed", "Completed", message);
const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;

/** Why it must not go on, whatever it is doing. */
function stopped(o: Observed): Decision | undefined {
  if (o.backupEnded !== undefined) return move("PartiallyFailed", "Completed", `its Backup ended ${o.backupEnded}`);
  return o.cancelRequested ? fail("it was canceled") : undefined;
}

const phases: Readonly<Record<BackupPhase, (o: Observed) => Decision>> = {
  "": (o) => (!o.finalizer ? doing({ do: "addFinalizer" }) : (stopped(o) ?? move("InProgress", o.slotFree ? "Processing" : "Queued"))),
  InProgress: (o) => {
    if (o.synchronization.state !== "absent" && !o.sourceRecorded) return doing({ do: "recordSource" });
    if (o.synchronization.state === "done" && o.synchronization.bytes !== undefined && !o.progressNoted)
      return doing({ do: "noteProgress", bytes: o.synchronization.bytes });
    if (o.synchronization.state === "done") return move("SnapshotBackupDone", "Completed");
    const stop = stopped(o);
    if (stop !== undefined) return stop;
    if (o.batching !== "Processing") return o.slotFree ? move("InProgress", "Processing") : waitFor("another volume to be done");
    return o.synchronization.state === "absent" ? preparing(o) : moving(o, o.synchronization);
  },
  SnapshotBackupDone: () => move("Cleanup", "Completed"),
  Cleanup: (o) => cleaning(o) ?? move("Completed", "Completed", "Completed"),
  Completed: over,
  PartiallyFailed: over,
  Failed: over,
};

/** Once nothing is left it is let go of, so that its namespace can go when nobody runs the data mover any more. */
function over(o: Observed): Decision {
  return cleaning(o) ?? (o.finalizer ? doing({ do: "removeFinalizer" }) : nothing);
}

function preparing({ preparation, preparingForMs, limits }: Observed): Decision {
  const isLate = preparingForMs >= limits.prepareMs;
  switch (preparation.state) {
    case "failed":
    case "unrecoverable":
      return fail(preparation.message);
    case "act":
      return isLate
        ? fail(`it was not prepared within ${seconds(limits.prepareMs)}: still to do was to ${preparation.what}`)
        : doing({ do: "work", work: preparation });
    case "wait":
      return isLate ? fail(`it was not prepared within ${seconds(limits.prepareMs)}: it waited for ${preparation.reason}`) : waitFor(preparation.reason);
    case "done":
      // Its ReplicationSource has just been made, or is gone by another hand; preparing makes it, so it is looked at again.
      return waitFor("its ReplicationSource to be seen");
  }
}

function moving({ movingForMs, limits }: Observed, synchronization: Synchronization): Decision {
  if (synchronization.state === "failed") return fail(`VolSync could not move the data: ${synchronization.message}`);
  if (synchronization.state === "silent" && movingForMs >= limits.prepareMs) {
    return fail(
      `VolSync did not answer within ${seconds(limits.prepareMs)}: nobody has taken up its ReplicationSource; see that VolSync runs and serves the protected namespace`,
    );
  }
  if (movingForMs >= limits.moveMs) return fail(`the data was not moved within ${seconds(limits.moveMs)}`);
  return waitFor("VolSync to move the data");
}

/** Undefined when nothing is left. What cannot be taken away now is tried again without end: it would be left behind otherwise. */
function cleaning({ cleanUp }: Observed): Decision | undefined {
  if (cleanUp.state === "done") return undefined;
  if (cleanUp.state === "act") return doing({ do: "work", work: cleanUp });
  return waitFor(cleanUp.state === "wait" ? cleanUp.reason : cleanUp.message, CLEAN_UP_RECHECK_MS);
}

/** Total: whatever phase another program wrote is taken for one that is over. */
export function decide(observed: Observed): Decision {
  if (observed.deleting) return observed.finalizer ? (cleaning(observed) ?? doing({ do: "removeFinalizer" })) : nothing;
  return (phases[observed.phase] ?? (() => nothing))(observed);
}

export function isTerminal(phase: BackupPhase): boolean {
  return phase === "Completed" || phase === "PartiallyFailed" || phase === "Failed";
}
