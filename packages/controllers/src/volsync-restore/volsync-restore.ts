/**
 * VolumeSnapshotRestore as OADP 1.2 did it: VolSync fills a volume of its own and snapshots it, and the claim is made from the snapshot.
 *
 *   "" ──► InProgress ──────────────────────────────────────────────► SnapshotRestoreDone ──► Cleanup ──► Completed
 *           Queued ─► Processing ─► Secret, ReplicationDestination ──┤ (its snapshot can be used)
 *                                                                    └──► Failed
 *
 * From SnapshotRestoreDone on the status names the snapshot in the storage; once it is Completed, the Restore takes it over, and until then it is not let go of. However it ends,
 * everything else is taken away, and a snapshot that nobody was told of or took as well. What fills claims without a snapshot is `volume-snapshot-restore`.
 */
import type { Work } from "../data-movement/work.ts";
import type { Synchronization } from "../volsync-era/synchronization.ts";
import { type BatchingStatus, isTerminal, type RestorePhase } from "../volume-snapshot-restore/volume-snapshot-restore.ts";

/** What VolSync left of the data. */
export type Image =
  | { readonly state: "pending"; readonly why: string }
  /** Its content would go with the objects of VolSync's. */
  | { readonly state: "ready"; readonly keep: Work; readonly handle: string; readonly content: string };

export interface Observed {
  readonly phase: RestorePhase;
  readonly batching: BatchingStatus;
  readonly deleting: boolean;
  readonly finalizer: boolean;
  readonly cancelRequested: boolean;
  readonly slotFree: boolean;
  readonly preparation: Work;
  readonly preparingForMs: number;
  readonly synchronization: Synchronization;
  readonly destinationRecorded: boolean;
  /** Whether an annotation has how much was moved. */
  readonly progressNoted: boolean;
  /** Since its ReplicationDestination was made. */
  readonly movingForMs: number;
  readonly image: Image;
  readonly cleanUp: Work;
  /** What is left to do with the content of its snapshot when everything else is gone. */
  readonly handOver: Work;
  readonly limits: { readonly prepareMs: number; readonly moveMs: number };
}

export type Step =
  | { readonly do: "addFinalizer" | "removeFinalizer" | "recordDestination" }
  | { readonly do: "noteProgress"; readonly bytes: number }
  | { readonly do: "work"; readonly work: Extract<Work, { state: "act" }> }
  | {
      readonly do: "setPhase";
      readonly to: RestorePhase;
      readonly batching: BatchingStatus;
      readonly message: string;
      readonly snapshot?: { readonly handle: string; readonly content: string };
    };

export interface Decision {
  readonly steps: readonly Step[];
  readonly recheckAfterMs?: number;
  readonly waitingFor?: string;
}

const RECHECK_MS = 5_000;
const CLEAN_UP_RECHECK_MS = 1_000;

const nothing: Decision = { steps: [] };
const doing = (...steps: Step[]): Decision => ({ steps });
const waitFor = (waitingFor: string, recheckAfterMs = RECHECK_MS): Decision => ({ steps: [], waitingFor, recheckAfterMs });
const move = (to: RestorePhase, batching: BatchingStatus, message = ""): Decision => doing({ do: "setPhase", to, batching, message });
const fail = (message: string): Decision => move("Failed", "Completed", message);
const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`;

const phases: Readonly<Record<RestorePhase, (o: Observed) => Decision>> = {
  "": (o) =>
    !o.finalizer
      ? doing({ do: "addFinalizer" })
      : o.cancelRequested
        ? fail("it was canceled before it began")
        : move("InProgress", o.slotFree ? "Processing" : "Queued"),
  InProgress: (o) => {
    if (o.cancelRequested) return fail("it was canceled");
    if (o.batching !== "Processing") return o.slotFree ? move("InProgress", "Processing") : waitFor("another volume to be done");
    if (o.synchronization.state === "absent") return preparing(o);
    if (!o.destinationRecorded) return doing({ do: "recordDestination" });
    if (o.synchronization.state === "done" && o.synchronization.bytes !== undefined && !o.progressNoted)
      return doing({ do: "noteProgress", bytes: o.synchronization.bytes });
    return moving(o, o.synchronization);
  },
  SnapshotRestoreDone: () => move("Cleanup", "Completed"),
  Cleanup: (o) => cleaning(o) ?? move("Completed", "Completed", "Completed"),
  Completed: over,
  PartiallyFailed: over,
  Failed: over,
};

function preparing({ preparation, preparingForMs, limits }: Observed): Decision {
  const late = preparingForMs >= limits.prepareMs ? `it was not prepared within ${seconds(limits.prepareMs)}` : undefined;
  switch (preparation.state) {
    case "failed":
    case "unrecoverable":
      return fail(preparation.message);
    case "act":
      return late === undefined ? doing({ do: "work", work: preparation }) : fail(`${late}: still to do was to ${preparation.what}`);
    case "wait":
      return late === undefined ? waitFor(preparation.reason) : fail(`${late}: it waited for ${preparation.reason}`);
    case "done":
      return waitFor("its ReplicationDestination to be seen");
  }
}

function moving({ movingForMs, image, limits }: Observed, synchronization: Synchronization): Decision {
  if (synchronization.state === "failed") return fail(`VolSync could not restore the data: ${synchronization.message}`);
  if (synchronization.state === "silent" && movingForMs >= limits.prepareMs) {
    return fail(
      `VolSync did not answer within ${seconds(limits.prepareMs)}: nobody has taken up its ReplicationDestination; see that VolSync runs and serves the protected namespace`,
    );
  }
  if (synchronization.state === "done" && image.state === "ready") {
    if (image.keep.state === "act") return doing({ do: "work", work: image.keep });
    return doing({ do: "setPhase", to: "SnapshotRestoreDone", batching: "Completed", message: "", snapshot: { handle: image.handle, content: image.content } });
  }
  const why = synchronization.state === "done" && image.state === "pending" ? image.why : "VolSync to restore the data";
  return movingForMs >= limits.moveMs ? fail(`the data was not restored within ${seconds(limits.moveMs)}: it waited for ${why}`) : waitFor(why);
}

function cleaning({ cleanUp, handOver }: Observed): Decision | undefined {
  const work = cleanUp.state === "done" ? handOver : cleanUp;
  if (work.state === "done") return undefined;
  if (work.state === "act") return doing({ do: "work", work });
  return work.state === "wait" ? waitFor(work.reason, work.recheckMs ?? CLEAN_UP_RECHECK_MS) : waitFor(work.message, CLEAN_UP_RECHECK_MS);
}

/** Once nothing is left it is let go of, so that its namespace can go when nobody runs the data mover any more. */
function over(o: Observed): Decision {
  return cleaning(o) ?? (o.finalizer ? doing({ do: "removeFinalizer" }) : nothing);
}

/** Total: whatever phase another program wrote is taken for one that is over. */
export function decide(observed: Observed): Decision {
  if (observed.deleting) return observed.finalizer ? (cleaning(observed) ?? doing({ do: "removeFinalizer" })) : nothing;
  return (phases[observed.phase] ?? (() => nothing))(observed);
}

export { isTerminal };
