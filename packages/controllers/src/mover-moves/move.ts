/**
 * The life of a DataMoverBackup or DataMoverRestore. `decide` is total and pure; `observe.ts` saw the world for it and `apply.ts` runs its steps.
 *
 *            finalizer            pod made             pod runs             the pod ended with a result
 *   New ───────────────► Accepted ────────► Prepared ────────► InProgress ──────────────────────────────► Completed
 *    │ unknown mover        │ timeout          │ no image          │ cancel, timeout ► Canceling ► Canceled
 *    ▼                      ▼                  ▼                   ▼ failed, gone, no result
 *   Failed ◄──────────────────────────────────────────────────── Failed
 *
 * An ending is written first; then the pod and its Secret go. What a failed or canceled backup left in the target is removed by the mover once; moved data is removed when the
 * object is deleted with spec.deletionPolicy Delete, and until then the finalizer stays.
 */
export type MovePhase = "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";

export type MovePod =
  | { readonly state: "absent" }
  | { readonly state: "starting"; readonly why: string }
  | { readonly state: "running"; readonly progress?: { readonly totalBytes: number; readonly doneBytes: number } }
  | { readonly state: "succeeded"; readonly status: Readonly<Record<string, unknown>> }
  | { readonly state: "failed"; readonly message: string };

export interface Observed {
  readonly kind: "backup" | "restore";
  readonly phase: MovePhase;
  /** `built-in`: it takes DataUploads and DataDownloads alone. */
  readonly mover: "runnable" | "missing" | "external" | "built-in";
  readonly moverName: string;
  /** Why no pod of it can run here, though it is registered. */
  readonly missingFiles: string | undefined;
  readonly knownMovers: readonly string[];
  /** What the source is still missing. */
  readonly sourceAwaits: string | undefined;
  readonly finalizer: boolean;
  readonly cancelRequested: boolean;
  readonly deleting: boolean;
  readonly deletesData: boolean;
  /** Whether the mover may have written something. */
  readonly started: boolean;
  /** How the removal of data ended; undefined before it was tried. */
  readonly removed: boolean | undefined;
  readonly preparingForMs: number;
  readonly runningForMs: number;
  readonly timeoutMs: number;
  readonly pod: MovePod;
  readonly secret: boolean;
  readonly removalPod: MovePod;
  readonly removalSecret: boolean;
  readonly removingForMs: number;
  readonly reported: { readonly totalBytes: number; readonly doneBytes: number };
}

export type PodOf = "move" | "removal";
export type Step =
  | { readonly do: "addFinalizer" | "removeFinalizer" }
  | { readonly do: "requestCancel"; readonly message: string }
  | { readonly do: "createSecret" | "createPod" | "deletePod" | "deleteSecret"; readonly of: PodOf }
  | { readonly do: "setPhase"; readonly to: MovePhase; readonly message?: string; readonly status?: Readonly<Record<string, unknown>> }
  | { readonly do: "noteRemoval"; readonly removed: boolean; readonly message?: string }
  | { readonly do: "reportProgress"; readonly totalBytes: number; readonly doneBytes: number };

export interface Decision {
  readonly steps: readonly Step[];
  readonly recheckAfterMs?: number;
  readonly waitingFor?: string;
}

export const PREPARE_LIMIT_MS = 30 * 60_000;
/** Removing data is a matter of seconds for most movers; one that does not answer must not be waited for without end. */
export const REMOVAL_LIMIT_MS = 10 * 60_000;
const REMOVAL_AGAIN_MS = 30_000;
/** For what is not watched; pods are. */
const POLL_MS = 1_000;
const TICK_MS = 30_000;

const nothing: Decision = { steps: [] };
const step = (next: Step): Decision => ({ steps: [next], recheckAfterMs: 0 });
const waitFor = (waitingFor: string, recheckAfterMs: number): Decision => ({ steps: [], waitingFor, recheckAfterMs });
const enter = (to: MovePhase, message?: string, status?: Readonly<Record<string, unknown>>): Decision =>
  step({ do: "setPhase", to, ...(message === undefined ? {} : { message }), ...(status === undefined ? {} : { status }) });

const phases: Record<MovePhase, (o: Observed) => Decision> = {
  New: (o) =>
    o.mover === "missing"
      ? enter("Failed", `data mover "${o.moverName}" does not exist: the movers here are ${o.knownMovers.map((name) => `"${name}"`).join(", ")}`)
      : o.mover === "built-in"
        ? enter("Failed", `data mover "${o.moverName}" is the built-in one, which moves claims by DataUploads and DataDownloads`)
        : o.missingFiles !== undefined
          ? enter("Failed", o.missingFiles)
          : o.cancelRequested
            ? enter("Canceled", "it was canceled before it started")
            : !o.finalizer && o.kind === "backup"
              ? step({ do: "addFinalizer" })
              : enter("Accepted"),

  Accepted: (o) =>
    o.cancelRequested
      ? enter("Canceled", "it was canceled while it was being prepared")
      : o.preparingForMs >= PREPARE_LIMIT_MS
        ? enter("Failed", `timeout on preparing${o.sourceAwaits === undefined ? "" : `: it was waiting for ${o.sourceAwaits}`}`)
        : o.sourceAwaits !== undefined
          ? waitFor(o.sourceAwaits, POLL_MS)
          : !o.secret
            ? step({ do: "createSecret", of: "move" })
            : o.pod.state === "absent"
              ? step({ do: "createPod", of: "move" })
              : enter("Prepared"),

  Prepared: (o) =>
    o.cancelRequested
      ? enter("Canceling")
      : o.pod.state === "absent"
        ? enter("Failed", `the pod of mover "${o.moverName}" is gone`)
        : o.pod.state !== "starting"
          ? enter("InProgress")
          : o.preparingForMs >= PREPARE_LIMIT_MS
            ? enter("Failed", `timeout on preparing: it was waiting for ${o.pod.why}`)
            : waitFor(o.pod.why, TICK_MS),

  InProgress: (o) => {
    switch (o.pod.state) {
      case "succeeded":
        return enter("Completed", undefined, o.pod.status);
      case "failed":
        return enter(o.cancelRequested ? "Canceled" : "Failed", o.pod.message);
      case "absent":
        return enter(o.cancelRequested ? "Canceled" : "Failed", `the pod of mover "${o.moverName}" is gone: it was deleted, or its node was lost`);
    }
    if (o.cancelRequested) return enter("Canceling");
    if (o.timeoutMs > 0 && o.runningForMs >= o.timeoutMs)
      return step({ do: "requestCancel", message: `mover "${o.moverName}" has not ended after ${o.timeoutMs / 1000} s` });
    const progress = o.pod.state === "running" ? o.pod.progress : undefined;
    if (progress !== undefined && (progress.doneBytes !== o.reported.doneBytes || progress.totalBytes !== o.reported.totalBytes))
      return { steps: [{ do: "reportProgress", ...progress }], recheckAfterMs: POLL_MS };
    return waitFor(`mover "${o.moverName}"`, o.timeoutMs > 0 ? Math.min(TICK_MS, o.timeoutMs - o.runningForMs) : TICK_MS);
  },

  // Deleting the pod is the cancel: SIGTERM, and SIGKILL after its grace period.
  Canceling: (o) => (o.pod.state === "absent" ? enter("Canceled") : { ...step({ do: "deletePod", of: "move" }), recheckAfterMs: POLL_MS }),

  Canceled: ended,
  Completed: ended,
  Failed: ended,
};

export function decide(o: Observed): Decision {
  // From its first phase to its end, and what it moved, is the vendor's; the finalizer is ours.
  if (o.mover === "external" && !isTerminal(o.phase)) return nothing;
  if (o.deleting && !o.cancelRequested && !isTerminal(o.phase)) return step({ do: "requestCancel", message: "it is being deleted" });
  return phases[o.phase](o);
}

export function isTerminal(phase: MovePhase): boolean {
  return phase === "Canceled" || phase === "Completed" || phase === "Failed";
}

function ended(o: Observed): Decision {
  if (o.pod.state !== "absent") return { ...step({ do: "deletePod", of: "move" }), recheckAfterMs: POLL_MS };
  if (o.secret) return step({ do: "deleteSecret", of: "move" });
  if (o.kind === "backup" && needsRemoval(o)) return removing(o);
  if (o.removalPod.state !== "absent") return { ...step({ do: "deletePod", of: "removal" }), recheckAfterMs: POLL_MS };
  if (o.removalSecret) return step({ do: "deleteSecret", of: "removal" });
  return o.deleting && o.finalizer ? step({ do: "removeFinalizer" }) : nothing;
}

function needsRemoval(o: Observed): boolean {
  if (o.deleting && o.deletesData) return o.removed !== true;
  // What is deleted without its data needs no more care; otherwise what was left half done is not anybody's.
  return !o.deleting && o.phase !== "Completed" && o.started && o.removed === undefined && o.mover === "runnable";
}

function removing(o: Observed): Decision {
  if (o.mover === "external") return waitFor(`the controller of mover "${o.moverName}" to remove its data`, TICK_MS);
  if (o.mover !== "runnable" || o.missingFiles !== undefined) {
    const message = `its data cannot be removed: ${o.missingFiles ?? `mover "${o.moverName}" does not exist here`}`;
    return o.removed === false ? waitFor(`mover "${o.moverName}" to be registered`, TICK_MS) : step({ do: "noteRemoval", removed: false, message });
  }
  switch (o.removalPod.state) {
    case "absent":
      return step({ do: o.removalSecret ? "createPod" : "createSecret", of: "removal" });
    case "succeeded":
      return step({ do: "noteRemoval", removed: true });
    case "failed":
      return removalFailed(o, o.removalPod.message);
    default:
      return o.removingForMs >= REMOVAL_LIMIT_MS
        ? removalFailed(o, `mover "${o.moverName}" has not removed its data after ${REMOVAL_LIMIT_MS / 1000} s`)
        : waitFor(`mover "${o.moverName}" to remove its data`, TICK_MS);
  }
}

/** An object that is being deleted is kept until its data is gone; the remains of a failure are looked after once. */
function removalFailed(o: Observed, why: string): Decision {
  if (o.removed === undefined) return step({ do: "noteRemoval", removed: false, message: `its data was not removed: ${why}` });
  return o.removingForMs >= REMOVAL_AGAIN_MS ? step({ do: "deletePod", of: "removal" }) : waitFor("another try to remove its data", REMOVAL_AGAIN_MS);
}
