/**
 * The life of a DataUpload or DataDownload. `decide` is total and pure; `observe.ts` saw the world for it and `apply.ts` runs its steps.
 *
 *                 claim              mover pod runs          a slot is free            the mover ended well
 *   New ────────────────► Accepted ────────────────► Prepared ─────────────► InProgress ───────────────────► Completed
 *    │ cancel                │ cancel, timeout,         │ cancel,              │ cancel │ mover failed
 *    │ unknown mover         │ cannot be exposed        │ pod gone             ▼        │ or gone
 *    │                       │                          │               Canceling ──────┤
 *    ▼                       ▼                          ▼                      ▼        ▼
 *   Canceled / Failed ◄────────────────────────────────────────────────────  Canceled, Failed
 *
 * A movement whose node is dead, or whose pod was taken away, is adopted: it is Accepted again in a new epoch, and everything is made anew elsewhere (docs/design/0010). Which mover
 * may move is written down with InProgress, so that one that is only cut off can neither finish nor tell.
 *
 *   Accepted, Prepared, InProgress, Canceling ──── node dead, pod lost ────► Accepted, at most three times; then Failed
 *
 * Every way to an end is the same three steps: the ending is written on the object, what was made on the way is taken away, the phase is set and the finalizer goes.
 */
import type { TransferDetails } from "@drayage/api";
import type { Ending, Phase, TerminalPhase } from "./movement.ts";
import { isTerminal } from "./movement.ts";
import type { Work } from "./work.ts";

/** What this node-agent is to an object: the one that acts on it, the one that may take over since that one's node is dead, or neither. */
export type Role = "owner" | "heir" | "bystander";

export interface MovementProgress {
  readonly totalBytes: number;
  readonly doneBytes: number;
  readonly details?: TransferDetails;
}

/** What is the matter with the node that should act: it is silent itself, or only nobody acts on it. */
export interface Loss {
  readonly of: "node" | "agent";
  /** Until it is given up; 0 when it is. */
  readonly inMs: number;
  readonly why: string;
}

/** What a mover that ended well has said. */
export interface MoverResult {
  /** Fields of the status. */
  readonly status: Readonly<Record<string, unknown>>;
  readonly totalBytes: number;
  readonly message?: string;
}

export type DataPath =
  | { readonly state: "absent" }
  | { readonly state: "starting" }
  | { readonly state: "running"; readonly progress?: MovementProgress }
  | { readonly state: "succeeded"; readonly result: MoverResult }
  /** `status` is what can be kept of a failure: a snapshot that lacks some entries. */
  | {
      readonly state: "failed";
      readonly message: string;
      readonly canceled: boolean;
      readonly status?: Readonly<Record<string, unknown>>;
      /** Its pod was taken from it; it did not fail by itself. */
      readonly disrupted?: boolean;
    };

export interface Observed {
  readonly phase: Phase;
  /** Whether spec.datamover names a mover served here, one of another program, or none that exists. */
  readonly claim: "ours" | "others" | "nobodys";
  readonly role: Role;
  /** Only the agent of the owner's node can do the work. */
  readonly pinned: boolean;
  /** The mover pod is on this node. */
  readonly hosting: boolean;
  readonly finalizer: boolean;
  readonly cancelRequested: boolean;
  /** Since a node-agent first saw the request; undefined before that was written down. */
  readonly cancelSeenForMs: number | undefined;
  readonly deleting: boolean;
  readonly ending: Ending | undefined;
  readonly endedForMs: number;
  readonly endingIsMine: boolean;
  readonly preparingForMs: number;
  readonly prepareTimeoutMs: number;
  readonly queueFull: boolean;
  readonly slotFree: boolean;
  readonly blockedBy: string | undefined;
  /** For longer than what it waits for can take to come. */
  readonly isBlockedTooLong?: boolean;
  /** What its mover has to wait for though it is up. */
  readonly heldBy?: string | undefined;
  /** How long what is new is left to the agents of other nodes yet. */
  readonly claimInMs?: number | undefined;
  /** Since it ended. */
  readonly completedForMs?: number | undefined;
  /** Since it was created, by this node's clock. */
  readonly ageMs?: number | undefined;
  /** Its mover is another program, which moves as soon as its pod runs and stops when its pod is told to end. */
  readonly selfStarting: boolean;
  readonly dataPath: DataPath;
  /** The mover pod of this epoch, and what is the matter with the node that it is on when that one was given up. */
  readonly podUid?: string | undefined;
  readonly stranded?: string | undefined;
  /** How often it was adopted. */
  readonly epoch: number;
  /** Progress as it stands in the status. */
  readonly reported: { readonly totalBytes: number; readonly doneBytes: number };
  /** How old the details are that stand in the annotation; undefined for none. */
  readonly detailsForMs?: number | undefined;
  readonly delivering: boolean;
  /** What is next in this stage: exposing, delivering or cleaning up. Absent where this agent has nothing to do with it. */
  readonly work: Work | undefined;
  /** For messages: `data upload`, the name of its mover, the movers there are, and the node that should have acted. */
  readonly noun: string;
  readonly datamover: string;
  readonly knownMovers: readonly string[];
  readonly ownerNode: string;
  /** What is the matter with that node; undefined while it is well. */
  readonly loss?: Loss | undefined;
  /** Why no node will ever take it. */
  readonly astray?: string | undefined;
  /** What the status says. */
  readonly message?: string | undefined;
}

export type Step =
  | { readonly do: "removeFinalizer" | "claim" | "stampCancel" }
  | { readonly do: "requestCancel"; readonly message: string }
  | { readonly do: "work"; readonly work: Extract<Work, { state: "act" }> }
  | { readonly do: "recordEnding"; readonly phase: TerminalPhase; readonly message?: string; readonly status?: Readonly<Record<string, unknown>> }
  | { readonly do: "conclude"; readonly ending: Ending }
  | { readonly do: "setPhase"; readonly to: "Prepared" | "Canceling" }
  /** `moverPod` is the UID of the only pod that may move the data. */
  | { readonly do: "setPhase"; readonly to: "InProgress"; readonly moverPod: string | undefined }
  /** Accepted by this node, in the next epoch. */
  | { readonly do: "adopt"; readonly why: string }
  /** The mover has ended; only what comes after it is left to do, by this node. */
  | { readonly do: "inherit" }
  /** What it is waiting for, in the status. */
  | { readonly do: "tellWaiting"; readonly message: string }
  /** With details only when those that are there are old enough: they are for people, and each is a write. */
  | ({ readonly do: "reportProgress" } & MovementProgress);

export interface Decision {
  readonly steps: readonly Step[];
  /** Look again after this long, whatever is seen until then. */
  readonly recheckAfterMs?: number;
  /** Why nothing is done yet. */
  readonly waitingFor?: string;
}

/** Velero's figures: how long a cancel may go unanswered before another node ends the object. */
export const CANCEL_UNANSWERED_MS = 5 * 60_000;
export const CANCEL_UNANSWERED_IN_PROGRESS_MS = 60 * 60_000;
/** A volume that three nodes could not read to its end takes nodes down with it, or none is fit for it. */
export const ADOPTIONS_MAX = 3;
/** A recorded ending is cleaned up by who recorded it; after this long by anybody. */
const ENDING_ABANDONED_MS = 2 * 60_000;

/** How a message begins that says what an object is waiting for, and how long nothing is said. */
export const WAITING = "waiting for ";
const TELL_AFTER_MS = 15_000;

const POLL_MS = 500;
const QUEUE_MS = 5_000;
/** What a restore makes comes all at once: what is missing now is there in a moment. */
const YOUNG_MS = 5_000;
const DETAILS_EVERY_MS = 10_000;
const TICK_MS = 60_000;

const nothing: Decision = { steps: [] };
const waitFor = (waitingFor: string, recheckAfterMs: number): Decision => ({ steps: [], waitingFor, recheckAfterMs });
const step = (next: Step): Decision => ({ steps: [next] });
/** Work changes other objects, whose events do not all come back here. */
const perform = (work: Extract<Work, { state: "act" }>): Decision => ({ steps: [{ do: "work", work }], recheckAfterMs: 0 });
const finish = (phase: TerminalPhase, message?: string, status?: Readonly<Record<string, unknown>>): Decision =>
  step({ do: "recordEnding", phase, ...(message === undefined ? {} : { message }), ...(status === undefined ? {} : { status }) });

export const phases: Record<Phase, (o: Observed) => Decision> = {
  New: (o) =>
    o.claim === "nobodys"
      ? finish("Failed", `data mover "${o.datamover}" does not exist: the movers here are ${o.knownMovers.map((name) => `"${name}"`).join(", ")}`)
      : o.cancelRequested
        ? finish("Canceled", `${o.noun} was canceled before it started`)
        : o.role === "heir"
          ? finish("Failed", lossOf(o))
          : o.role === "bystander"
            ? o.ownerNode === ""
              ? o.astray !== undefined
                ? finish("Failed", o.astray)
                : waitFor("the node of its pod", TICK_MS)
              : waitForOwner(o)
            : (o.claimInMs ?? 0) > 0
              ? waitFor("the agent of another node to take it", o.claimInMs ?? 0)
              : o.queueFull
                ? waitFor("others that are being prepared: the prepare queue is full", QUEUE_MS)
                : o.blockedBy !== undefined
                  ? o.isBlockedTooLong === true
                    ? finish("Failed", `${o.noun} cannot begin: it was waiting for ${o.blockedBy}`)
                    : waitFor(o.blockedBy, (o.ageMs ?? QUEUE_MS) < YOUNG_MS ? POLL_MS : QUEUE_MS)
                  : step({ do: "claim" }),

  Accepted: (o) =>
    o.preparingForMs >= o.prepareTimeoutMs
      ? finish("Failed", `timeout on preparing ${o.noun}${awaited(o)}`)
      : o.cancelRequested && (o.role !== "bystander" || cancelIsOverdue(o))
        ? finish("Canceled", `${o.noun} was canceled while it was being prepared`)
        : o.hosting && isUp(o) && !o.cancelRequested && o.heldBy === undefined
          ? step({ do: "setPhase", to: "Prepared" })
          : isLost(o)
            ? adopt(o, o.dataPath.state === "failed" ? o.dataPath.message : `the mover pod cannot go on: ${o.stranded}`)
            : o.role === "heir"
              ? o.pinned
                ? finish("Failed", lossOf(o))
                : step({ do: "claim" })
              : o.role === "bystander"
                ? o.hosting && o.heldBy !== undefined
                  ? waitFor(o.heldBy, QUEUE_MS)
                  : waitForOwner(o)
                : exposing(o),

  Prepared: (o) =>
    o.role === "heir"
      ? adopt(o, lossOf(o))
      : o.cancelRequested && (o.role === "owner" || cancelIsOverdue(o))
        ? finish("Canceled", `${o.noun} was canceled before its data path started`)
        : o.role === "bystander"
          ? waitForOwner(o)
          : o.dataPath.state === "absent"
            ? adopt(o, "the exposed mover pod is gone")
            : o.dataPath.state === "failed"
              ? o.dataPath.disrupted === true
                ? adopt(o, o.dataPath.message)
                : finish("Failed", o.dataPath.message)
              : !o.slotFree
                ? waitFor("a free slot: as many data paths run on this node as it may", QUEUE_MS)
                : step({ do: "setPhase", to: "InProgress", moverPod: o.podUid }),

  InProgress: running,
  Canceling: running,

  Completed: terminal,
  Canceled: terminal,
  Failed: terminal,
};

/** The next steps for an object, whatever state it and the world are in. */
export function decide(o: Observed): Decision {
  if (o.claim === "others") return nothing;
  if (isTerminal(o.phase)) return phases[o.phase](o);
  if (o.ending !== undefined) return concluding(o, o.ending);
  // The mover sees only spec.cancel, and an object that is deleted must not lose its intermediate ones.
  if (o.deleting && !o.cancelRequested)
    return o.finalizer ? step({ do: "requestCancel", message: `Cancel ${o.noun.replace(" ", "")} because it is being deleted` }) : nothing;
  if (o.cancelRequested && o.cancelSeenForMs === undefined && o.phase !== "New") return step({ do: "stampCancel" });
  return phases[o.phase](o);
}

const waitForOwner = (o: Observed): Decision => waitFor(`node "${o.ownerNode}"`, Math.min(o.loss?.inMs ?? TICK_MS, TICK_MS));
const lossOf = (o: Observed): string => o.loss?.why ?? `node "${o.ownerNode}" is not ready`;

/** Whether a pod that was to come up was taken away again, or is on a node that died: what it may still hold is left to it. */
function isLost(o: Observed): boolean {
  if (o.role === "bystander" || o.pinned || o.selfStarting) return false;
  return o.stranded !== undefined || (o.dataPath.state === "failed" && o.dataPath.disrupted === true);
}

/** Everything anew on another node, where that can be done: a volume that is tied to its node cannot follow, and movers of others know no fence. */
function adopt(o: Observed, why: string): Decision {
  if (o.cancelRequested) return finish("Canceled", why);
  if (o.pinned || o.selfStarting) return finish("Failed", why);
  if (o.epoch >= ADOPTIONS_MAX) return finish("Failed", `${why}; it was taken over ${o.epoch} times before, and is not once more`);
  return step({ do: "adopt", why });
}

/** Whether the volume is in the hands of the mover; one that starts by itself may have ended already. */
function isUp({ dataPath, selfStarting }: Observed): boolean {
  return dataPath.state === "running" || (selfStarting && (dataPath.state === "succeeded" || dataPath.state === "failed"));
}

function exposing(o: Observed): Decision {
  const work = o.work;
  switch (work?.state) {
    case "act":
      return perform(work);
    case "wait":
      return tellingOf(o, waitFor(work.reason, work.recheckMs ?? POLL_MS));
    case "failed":
      return finish("Failed", work.message);
    case "unrecoverable":
      return finish("Canceled", work.message);
    default:
      // Exposed; the agent of the pod's node takes it from here.
      return waitFor("the agent of the mover pod's node", QUEUE_MS);
  }
}

/**
 * What was missing when the time was up: what was told last, else what is seen to be. An agent that has just started sees less: complaints of others are looked for only once something has
 * taken long by its own clock.
 */
function awaited({ work, heldBy, message }: Observed): string {
  if (message?.startsWith(WAITING) === true) return `: it was ${message}`;
  const reason = work?.state === "wait" ? work.reason : heldBy;
  return reason === undefined ? "" : `: it was ${WAITING}${reason}`;
}

/** What takes long is told where people look. */
function tellingOf(o: Observed, waiting: Decision): Decision {
  const message = `${WAITING}${waiting.waitingFor ?? ""}`;
  if (o.preparingForMs < TELL_AFTER_MS || o.message === message) return waiting;
  return { ...waiting, steps: [{ do: "tellWaiting", message }] };
}

/** InProgress and Canceling differ in one thing only: whether the cancel has been answered. */
function running(o: Observed): Decision {
  const overdue = o.cancelSeenForMs !== undefined && o.cancelSeenForMs >= (o.phase === "InProgress" ? CANCEL_UNANSWERED_IN_PROGRESS_MS : CANCEL_UNANSWERED_MS);
  if (o.role === "heir") {
    // What the mover made is all there; its node is not needed any more.
    const hasEnded = o.delivering || o.dataPath.state === "succeeded" || (o.dataPath.state === "failed" && o.dataPath.disrupted !== true);
    if (hasEnded && !o.pinned) return step({ do: "inherit" });
    // What is tied to its node cannot be inherited, but the end of its mover can be told by anybody.
    if (o.pinned && o.dataPath.state === "succeeded") return deliver(o);
    // On a node that is well the mover goes on without an agent; only what comes after it is left to others.
    if (o.loss?.of === "agent" && o.dataPath.state === "running" && !overdue) return waitFor("the mover", TICK_MS);
    return adopt(o, lossOf(o));
  }
  if (overdue) return finish("Canceled", `${o.noun} was canceled, and its mover did not answer in time`);
  if (o.role === "bystander") return waitForOwner(o);
  if (o.delivering || o.dataPath.state === "succeeded") return deliver(o);
  if (o.dataPath.state === "failed" && o.dataPath.disrupted === true) return adopt(o, o.dataPath.message);
  if (o.dataPath.state === "failed") return finish(o.dataPath.canceled ? "Canceled" : "Failed", o.dataPath.message, o.dataPath.status);
  if (o.dataPath.state === "absent") return adopt(o, "the mover pod is gone: it was deleted, or its node was lost");
  // Cleaning up tells its pod to end, and ends it when it does not.
  if (o.cancelRequested && o.selfStarting) return finish("Canceled", `${o.noun} was canceled`);
  if (o.cancelRequested && o.phase === "InProgress") return step({ do: "setPhase", to: "Canceling" });
  const progress = o.dataPath.state === "running" ? o.dataPath.progress : undefined;
  if (progress !== undefined && (progress.doneBytes !== o.reported.doneBytes || progress.totalBytes !== o.reported.totalBytes)) {
    const { details, ...numbers } = progress;
    const isDue = details !== undefined && (o.detailsForMs === undefined || o.detailsForMs >= DETAILS_EVERY_MS);
    return { steps: [{ do: "reportProgress", ...numbers, ...(isDue ? { details } : {}) }], recheckAfterMs: TICK_MS };
  }
  return waitFor("the mover", TICK_MS);
}

function deliver(o: Observed): Decision {
  const work = o.work;
  if (work?.state === "act") return perform(work);
  if (work?.state === "wait") return waitFor(work.reason, work.recheckMs ?? POLL_MS);
  if (work?.state === "failed" || work?.state === "unrecoverable") return finish("Failed", work.message);
  const result = o.dataPath.state === "succeeded" ? o.dataPath.result : undefined;
  return finish("Completed", result?.message, result?.status);
}

function concluding(o: Observed, ending: Ending): Decision {
  if (!mayConclude(o)) return waitFor(`node "${ending.by}" to clean up`, TICK_MS);
  if (o.work?.state === "act") return perform(o.work);
  if (o.work?.state === "wait") return waitFor(o.work.reason, o.work.recheckMs ?? POLL_MS);
  return step({ do: "conclude", ending });
}

/** Who recorded an ending cleans up; another only when that one's node is dead, or has had time enough. */
export function mayConclude(o: Pick<Observed, "endingIsMine" | "role" | "endedForMs">): boolean {
  return o.endingIsMine || o.role === "heir" || o.endedForMs >= ENDING_ABANDONED_MS;
}

/** By the agent that had it, so that not all write at once; by any, when that one does not. */
function terminal(o: Observed): Decision {
  if (!o.finalizer) return nothing;
  const isLeftToOwner = o.role === "bystander" && o.completedForMs !== undefined && o.completedForMs < TICK_MS;
  return isLeftToOwner ? waitFor(`node "${o.ownerNode}" to let it go`, TICK_MS - (o.completedForMs ?? 0)) : step({ do: "removeFinalizer" });
}

function cancelIsOverdue(o: Observed): boolean {
  return o.cancelSeenForMs !== undefined && o.cancelSeenForMs >= CANCEL_UNANSWERED_MS;
}
