/**
 * VolumeSnapshotRestore: a volume of OADP 1.1 or 1.2 on its way back. A DataDownload whose mover reads restic does the work; this is what its user sees of it.
 *
 *   "" ──► InProgress ─────────────────────────► SnapshotRestoreDone ──► Cleanup ──► Completed
 *           Queued ─► Processing ─► DataDownload ──┤ (it completed)
 *                                                  └──────────────────────────────► Failed
 *
 * SnapshotRestoreDone and Cleanup are passed through as they were: programs wait for them. Deleting it takes the DataDownload along, canceled first when it still runs.
 */

export type RestorePhase = "" | "InProgress" | "SnapshotRestoreDone" | "Cleanup" | "Completed" | "PartiallyFailed" | "Failed";
export type BatchingStatus = "" | "Queued" | "Processing" | "Completed";

/** What the node-agents make of the DataDownload. */
export type Download =
  | { readonly state: "absent" }
  | { readonly state: "running"; readonly started: boolean; readonly cancelRequested: boolean }
  | { readonly state: "completed" }
  | { readonly state: "failed"; readonly message: string };

export interface Observed {
  readonly phase: RestorePhase;
  readonly batching: BatchingStatus;
  readonly deleting: boolean;
  readonly finalizer: boolean;
  readonly cancelRequested: boolean;
  /** What makes it impossible: a field that is missing, a Secret, a location, a storage class. Looked for until the DataDownload is made. */
  readonly fault: string | undefined;
  readonly download: Download;
  /** Whether the claim is there that the volume is for: a restore makes it after this object. */
  readonly claimIsThere: boolean;
  /** Whether another one may be worked on now. */
  readonly slotFree: boolean;
}

export type Step =
  | { readonly do: "addFinalizer" | "removeFinalizer" | "createDownload" | "cancelDownload" | "deleteDownload" }
  | { readonly do: "setPhase"; readonly to: RestorePhase; readonly batching: BatchingStatus; readonly message: string };

export interface Decision {
  readonly steps: readonly Step[];
  readonly recheckAfterMs?: number;
}

const QUEUE_RECHECK_MS = 5_000;
/** The restore that asked for it has a time limit of its own, so a claim that never comes is not waited for without end. */
const CLAIM_RECHECK_MS = 2_000;

const nothing: Decision = { steps: [] };
const doing = (...steps: Step[]): Decision => ({ steps });
const move = (to: RestorePhase, batching: BatchingStatus, message = ""): Decision => doing({ do: "setPhase", to, batching, message });
const fail = (message: string): Decision => move("Failed", "Completed", message);

export const phases: Readonly<Record<RestorePhase, (o: Observed) => Decision>> = {
  "": (o) =>
    !o.finalizer
      ? doing({ do: "addFinalizer" })
      : o.cancelRequested
        ? fail("it was canceled before it began")
        : o.fault !== undefined
          ? fail(o.fault)
          : move("InProgress", o.slotFree ? "Processing" : "Queued"),
  InProgress: (o) => {
    if (o.download.state === "completed") return move("SnapshotRestoreDone", "Completed");
    if (o.download.state === "failed") return fail(o.download.message);
    if (o.download.state === "running") return o.cancelRequested && !o.download.cancelRequested ? doing({ do: "cancelDownload" }) : nothing;
    if (o.cancelRequested) return fail("it was canceled before it began");
    if (o.fault !== undefined) return fail(o.fault);
    if (!o.claimIsThere) return { steps: [], recheckAfterMs: CLAIM_RECHECK_MS };
    if (o.batching === "Processing") return doing({ do: "createDownload" });
    return o.slotFree ? move("InProgress", "Processing") : { steps: [], recheckAfterMs: QUEUE_RECHECK_MS };
  },
  // Volume, pod and Secret of the mover were taken away with the end of the DataDownload.
  SnapshotRestoreDone: () => move("Cleanup", "Completed"),
  Cleanup: () => move("Completed", "Completed", "Completed"),
  Completed: () => nothing,
  PartiallyFailed: () => nothing,
  Failed: () => nothing,
};

/** Total: whatever phase another program wrote is taken for one that is over. */
export function decide(observed: Observed): Decision {
  if (!observed.deleting) return (phases[observed.phase] ?? (() => nothing))(observed);
  const { download, finalizer } = observed;
  if (download.state === "running") return download.cancelRequested ? nothing : doing({ do: "cancelDownload" });
  if (download.state !== "absent") return doing({ do: "deleteDownload" });
  return finalizer ? doing({ do: "removeFinalizer" }) : nothing;
}

export function isTerminal(phase: RestorePhase): boolean {
  return phase === "Completed" || phase === "PartiallyFailed" || phase === "Failed";
}
