import { describe, expect, it } from "vitest";
import { decide, type Observed, PREPARE_LIMIT_MS, REMOVAL_LIMIT_MS } from "./move.ts";

const observed = (changes: Partial<Observed> = {}): Observed => ({
  kind: "backup",
  phase: "New",
  mover: "runnable",
  moverName: "images",
  missingFiles: undefined,
  knownMovers: [],
  sourceAwaits: undefined,
  finalizer: true,
  cancelRequested: false,
  deleting: false,
  deletesData: false,
  started: false,
  removed: undefined,
  preparingForMs: 0,
  runningForMs: 0,
  timeoutMs: 60_000,
  pod: { state: "absent" },
  secret: false,
  removalPod: { state: "absent" },
  removalSecret: false,
  removingForMs: 0,
  reported: { totalBytes: 0, doneBytes: 0 },
  ...changes,
});

/** `setPhase Accepted`, `createPod move`, or what is waited for. */
function told(changes: Partial<Observed>): string {
  const { steps, waitingFor } = decide(observed(changes));
  const [step] = steps;
  if (step === undefined) return waitingFor === undefined ? "nothing" : `wait for ${waitingFor}`;
  switch (step.do) {
    case "setPhase":
      return `${step.to}${step.message === undefined ? "" : `: ${step.message}`}`;
    case "noteRemoval":
      return `removed ${step.removed}${step.message === undefined ? "" : `: ${step.message}`}`;
    case "createPod":
    case "createSecret":
    case "deletePod":
    case "deleteSecret":
      return `${step.do} ${step.of}`;
    case "requestCancel":
      return `cancel: ${step.message}`;
    default:
      return step.do;
  }
}

const running = { state: "running" } as const;
const succeeded = { state: "succeeded", status: { snapshotID: "a" } } as const;
const failed = { state: "failed", message: "disk error" } as const;

describe("decide()", () => {
  it.each<[what: string, changes: Partial<Observed>, then: string]>([
    ["takes a new one up", {}, "Accepted"],
    ["guards the data before anything is moved", { finalizer: false }, "addFinalizer"],
    ["leaves the mover of a vendor's controller alone", { mover: "external" }, "nothing"],
    ["leaves it alone when it is under way", { mover: "external", phase: "Accepted" }, "nothing"],
    ["leaves it alone when it is canceled", { mover: "external", phase: "InProgress", cancelRequested: true, deleting: true }, "nothing"],
    [
      "waits for it to remove its data",
      { mover: "external", phase: "Completed", deleting: true, deletesData: true },
      'wait for the controller of mover "images" to remove its data',
    ],
    ["lets it go once its data is removed", { mover: "external", phase: "Completed", deleting: true, deletesData: true, removed: true }, "removeFinalizer"],
    [
      "refuses the built-in mover, which has objects of its own",
      { mover: "built-in" },
      'Failed: data mover "images" is the built-in one, which moves claims by DataUploads and DataDownloads',
    ],
    ["ends one whose mover this installation has no files of", { missingFiles: "they are elsewhere" }, "Failed: they are elsewhere"],
    ["ends one whose mover is missing", { mover: "missing", knownMovers: ["tar"] }, 'Failed: data mover "images" does not exist: the movers here are "tar"'],
    ["waits for the source", { phase: "Accepted", sourceAwaits: "ImageStream to be there" }, "wait for ImageStream to be there"],
    ["makes the Secret first", { phase: "Accepted" }, "createSecret move"],
    ["then the pod", { phase: "Accepted", secret: true }, "createPod move"],
    ["gives up preparing", { phase: "Accepted", preparingForMs: PREPARE_LIMIT_MS }, "Failed: timeout on preparing"],
    ["sees the pod run", { phase: "Prepared", pod: running }, "InProgress"],
    ["misses no pod that ran between two looks", { phase: "Prepared", pod: succeeded }, "InProgress"],
    ["completes", { phase: "InProgress", pod: succeeded }, "Completed"],
    ["fails with the mover's words", { phase: "InProgress", pod: failed }, "Failed: disk error"],
    ["tells a lost pod", { phase: "InProgress" }, 'Failed: the pod of mover "images" is gone: it was deleted, or its node was lost'],
    ["stops one that takes too long", { phase: "InProgress", pod: running, runningForMs: 60_000 }, 'cancel: mover "images" has not ended after 60 s'],
    ["stops one that is deleted", { phase: "InProgress", pod: running, deleting: true }, "cancel: it is being deleted"],
    ["cancels by deleting the pod", { phase: "Canceling", pod: running, cancelRequested: true }, "deletePod move"],
    ["and sees it gone", { phase: "Canceling", cancelRequested: true }, "Canceled"],
    ["prefers a result to a cancel", { phase: "InProgress", pod: succeeded, cancelRequested: true }, "Completed"],
    ["cleans up after the end", { phase: "Completed", pod: succeeded, secret: true }, "deletePod move"],
    ["the Secret too", { phase: "Completed", secret: true }, "deleteSecret move"],
    ["and rests", { phase: "Completed" }, "nothing"],
    ["has the remains of a failure removed", { phase: "Failed", started: true }, "createSecret removal"],
    ["not of one that never started", { phase: "Failed" }, "nothing"],
    ["not of a restore", { kind: "restore", phase: "Failed", started: true }, "nothing"],
    ["notes that they are gone", { phase: "Failed", started: true, removalPod: succeeded }, "removed true"],
    ["tries the remains once", { phase: "Failed", started: true, removed: false }, "nothing"],
    [
      "bounds the removal",
      { phase: "Failed", started: true, removalPod: running, removingForMs: REMOVAL_LIMIT_MS },
      'removed false: its data was not removed: mover "images" has not removed its data after 600 s',
    ],
    ["lets go of what keeps its data", { phase: "Completed", deleting: true }, "removeFinalizer"],
    ["removes data before it lets go", { phase: "Completed", deleting: true, deletesData: true }, "createSecret removal"],
    ["lets go afterwards", { phase: "Completed", deleting: true, deletesData: true, removed: true }, "removeFinalizer"],
    [
      "holds on while the data is there",
      { phase: "Completed", deleting: true, deletesData: true, removed: false, removalPod: failed },
      "wait for another try to remove its data",
    ],
    ["tries again", { phase: "Completed", deleting: true, deletesData: true, removed: false, removalPod: failed, removingForMs: 30_000 }, "deletePod removal"],
    [
      "says that the mover is not there to do so",
      { phase: "Completed", deleting: true, deletesData: true, mover: "missing" },
      'removed false: its data cannot be removed: mover "images" does not exist here',
    ],
  ])("%s", (_what, changes, then) => {
    expect(told(changes)).toBe(then);
  });
});
