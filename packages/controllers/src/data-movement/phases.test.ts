import { describe, expect, it } from "vitest";
import { CANCEL_UNANSWERED_IN_PROGRESS_MS, CANCEL_UNANSWERED_MS, decide, type Observed, phases } from "./phases.ts";
import { act, wait } from "./work.ts";

const MINUTE = 60_000;

function observed(changes: Partial<Observed> = {}): Observed {
  return {
    phase: "New",
    claim: "ours",
    role: "owner",
    pinned: false,
    hosting: false,
    finalizer: true,
    cancelRequested: false,
    cancelSeenForMs: undefined,
    deleting: false,
    ending: undefined,
    endedForMs: 0,
    endingIsMine: false,
    preparingForMs: 0,
    prepareTimeoutMs: 30 * MINUTE,
    queueFull: false,
    slotFree: true,
    blockedBy: undefined,
    selfStarting: false,
    dataPath: { state: "absent" },
    podUid: "pod-1",
    epoch: 0,
    reported: { totalBytes: 0, doneBytes: 0 },
    delivering: false,
    work: undefined,
    noun: "data upload",
    datamover: "",
    knownMovers: ["velero", "drayage"],
    ownerNode: "node-1",
    ...changes,
  };
}

/** `claim`, `setPhase Prepared`, `recordEnding Failed: …`, or what is waited for. */
function told(changes: Partial<Observed>): string {
  const { steps, waitingFor } = decide(observed(changes));
  const [first] = steps;
  if (first === undefined) return waitingFor === undefined ? "nothing" : `wait for ${waitingFor}`;
  switch (first.do) {
    case "setPhase":
      return `setPhase ${first.to}`;
    case "recordEnding":
      return `end ${first.phase}: ${first.message ?? ""}`;
    case "adopt":
      return `adopt: ${first.why}`;
    case "conclude":
      return `conclude ${first.ending.phase}`;
    case "work":
      return `work: ${first.work.what}`;
    default:
      return first.do;
  }
}

const running = { state: "running" } as const;
const canceled = { cancelRequested: true, cancelSeenForMs: 0 };
const ending = { phase: "Completed", at: "2026-01-01T00:00:00Z", by: "node-1" } as const;
const next = act("create the pod", async () => undefined);

describe("decide() of a data movement", () => {
  it.each<[string, Partial<Observed>, string]>([
    ["others' objects are left alone in any phase", { claim: "others", phase: "InProgress" }, "nothing"],

    ["New: it is claimed, and gets its finalizer by that", { finalizer: false }, "claim"],
    [
      "New: an unknown mover fails it",
      { claim: "nobodys", datamover: "x" },
      'end Failed: data mover "x" does not exist: the movers here are "velero", "drayage"',
    ],
    ["New: a cancel ends it before it is claimed", canceled, "end Canceled: data upload was canceled before it started"],
    ["New: a full prepare queue holds it", { queueFull: true }, "wait for others that are being prepared: the prepare queue is full"],
    ["New: it waits for what must be there first", { blockedBy: "claim to be created" }, "wait for claim to be created"],
    [
      "New: what never comes is not waited for for ever",
      { blockedBy: "claim to be created", isBlockedTooLong: true },
      "end Failed: data upload cannot begin: it was waiting for claim to be created",
    ],
    ["New: a deleted one asks for its cancel first", { deleting: true }, "requestCancel"],
    ["New: a deleted one without our finalizer is gone already", { deleting: true, finalizer: false }, "nothing"],

    ["Accepted: the claimer exposes", { phase: "Accepted", work: next }, "work: create the pod"],
    ["Accepted: the claimer waits for what is under way", { phase: "Accepted", work: wait("the pod") }, "wait for the pod"],
    ["Accepted: what cannot be exposed fails", { phase: "Accepted", work: { state: "failed", message: "no snapshot" } }, "end Failed: no snapshot"],
    ["Accepted: a pod that cannot come up cancels", { phase: "Accepted", work: { state: "unrecoverable", message: "no image" } }, "end Canceled: no image"],
    [
      "Accepted: the node of the running pod prepares it, whoever claimed",
      { phase: "Accepted", role: "bystander", hosting: true, dataPath: running },
      "setPhase Prepared",
    ],
    [
      "Accepted: a mover that is up is held until what it needs is there, and whose repository cannot be had fails",
      { phase: "Accepted", hosting: true, dataPath: running, heldBy: "its repository", work: { state: "failed", message: "no repository" } },
      "end Failed: no repository",
    ],
    [
      "Accepted: who only has the pod of such a one waits with it",
      { phase: "Accepted", role: "bystander", hosting: true, dataPath: running, heldBy: "its repository" },
      "wait for its repository",
    ],
    [
      "Accepted: the time is up for such a one, for anybody",
      { phase: "Accepted", role: "bystander", hosting: true, dataPath: running, heldBy: "its repository", preparingForMs: 30 * MINUTE },
      "end Failed: timeout on preparing data upload: it was waiting for its repository",
    ],
    ["Accepted: others wait", { phase: "Accepted", role: "bystander" }, 'wait for node "node-1"'],
    ["Accepted: an heir claims it again", { phase: "Accepted", role: "heir" }, "claim"],
    [
      "Accepted: the time is up, for anybody",
      { phase: "Accepted", role: "bystander", preparingForMs: 30 * MINUTE },
      "end Failed: timeout on preparing data upload",
    ],
    [
      "Accepted: the time is up, with what was missing",
      { phase: "Accepted", preparingForMs: 30 * MINUTE, work: wait("the pod") },
      "end Failed: timeout on preparing data upload: it was waiting for the pod",
    ],
    [
      "Accepted: the time is up when an agent has just started, with what the one before it told",
      { phase: "Accepted", preparingForMs: 30 * MINUTE, work: wait("the pod"), message: "waiting for a volume: class gone" },
      "end Failed: timeout on preparing data upload: it was waiting for a volume: class gone",
    ],
    ["Accepted: when a cancel was seen is written down first", { phase: "Accepted", cancelRequested: true }, "stampCancel"],
    [
      "Accepted: a cancel is answered at once by the claimer",
      { phase: "Accepted", ...canceled },
      "end Canceled: data upload was canceled while it was being prepared",
    ],
    ["Accepted: others leave a fresh cancel to the claimer", { phase: "Accepted", role: "bystander", ...canceled }, 'wait for node "node-1"'],
    [
      "Accepted: others answer a cancel after five minutes",
      { phase: "Accepted", role: "bystander", cancelRequested: true, cancelSeenForMs: CANCEL_UNANSWERED_MS },
      "end Canceled: data upload was canceled while it was being prepared",
    ],

    ["Prepared: it starts where a slot is free", { phase: "Prepared", dataPath: running }, "setPhase InProgress"],
    [
      "Prepared: it waits for a slot",
      { phase: "Prepared", dataPath: running, slotFree: false },
      "wait for a free slot: as many data paths run on this node as it may",
    ],
    ["Prepared: its pod is gone, so it is exposed anew", { phase: "Prepared" }, "adopt: the exposed mover pod is gone"],
    ["Prepared: its pod failed", { phase: "Prepared", dataPath: { state: "failed", message: "bad flag", canceled: false } }, "end Failed: bad flag"],
    ["Prepared: a cancel", { phase: "Prepared", dataPath: running, ...canceled }, "end Canceled: data upload was canceled before its data path started"],
    ["Prepared: its node is dead, so another adopts it", { phase: "Prepared", role: "heir" }, 'adopt: node "node-1" is not ready'],
    [
      "Prepared: its pod was drained away",
      { phase: "Prepared", dataPath: { state: "failed", message: "drained", canceled: false, disrupted: true } },
      "adopt: drained",
    ],
    [
      "Accepted: its pod is on a dead node, so what that one may hold is left to it",
      { phase: "Accepted", stranded: 'node "node-2" is not ready', dataPath: { state: "starting" } },
      'adopt: the mover pod cannot go on: node "node-2" is not ready',
    ],
    ["Accepted: others leave that to who accepted it", { phase: "Accepted", role: "bystander", stranded: "gone" }, 'wait for node "node-1"'],
    [
      "Accepted: time for preparing is not begun anew by that",
      { phase: "Accepted", stranded: "gone", preparingForMs: 30 * MINUTE },
      "end Failed: timeout on preparing data upload",
    ],

    ["InProgress: the mover runs", { phase: "InProgress", dataPath: running }, "wait for the mover"],
    ["InProgress: progress is reported", { phase: "InProgress", dataPath: { ...running, progress: { totalBytes: 9, doneBytes: 3 } } }, "reportProgress"],
    [
      "InProgress: the same progress is not reported again",
      { phase: "InProgress", dataPath: { ...running, progress: { totalBytes: 9, doneBytes: 3 } }, reported: { totalBytes: 9, doneBytes: 3 } },
      "wait for the mover",
    ],
    ["InProgress: a cancel is answered with Canceling", { phase: "InProgress", dataPath: running, ...canceled }, "setPhase Canceling"],
    ["InProgress: the mover succeeded", { phase: "InProgress", dataPath: { state: "succeeded", result: { status: {}, totalBytes: 0 } } }, "end Completed: "],
    [
      "InProgress: what it made is delivered first",
      { phase: "InProgress", dataPath: { state: "succeeded", result: { status: {}, totalBytes: 0 } }, work: next },
      "work: create the pod",
    ],
    ["InProgress: a delivery goes on without its pod", { phase: "InProgress", delivering: true, work: next }, "work: create the pod"],
    [
      "InProgress: a delivery that cannot be made fails it",
      { phase: "InProgress", delivering: true, work: { state: "failed", message: "no volume" } },
      "end Failed: no volume",
    ],
    ["InProgress: the mover failed", { phase: "InProgress", dataPath: { state: "failed", message: "disk", canceled: false } }, "end Failed: disk"],
    ["InProgress: its pod was deleted", { phase: "InProgress" }, "adopt: the mover pod is gone: it was deleted, or its node was lost"],
    ["InProgress: deleted after a cancel", { phase: "InProgress", ...canceled }, "end Canceled: the mover pod is gone: it was deleted, or its node was lost"],
    ["InProgress: its node is dead", { phase: "InProgress", role: "heir", dataPath: running }, 'adopt: node "node-1" is not ready'],
    [
      "InProgress: its node was shut down",
      { phase: "InProgress", dataPath: { state: "failed", message: "shut down", canceled: false, disrupted: true } },
      "adopt: shut down",
    ],
    [
      "InProgress: it is not adopted for ever",
      { phase: "InProgress", role: "heir", dataPath: running, epoch: 3 },
      'end Failed: node "node-1" is not ready; it was taken over 3 times before, and is not once more',
    ],
    ["InProgress: its node is dead and it is canceled", { phase: "InProgress", role: "heir", ...canceled }, 'end Canceled: node "node-1" is not ready'],
    [
      "InProgress: on a node that is well the mover goes on without an agent",
      { phase: "InProgress", role: "heir", dataPath: running, loss: { of: "agent", inMs: 0, why: "no node-agent" } },
      "wait for the mover",
    ],
    [
      "InProgress: what that mover leaves is another's to finish",
      {
        phase: "InProgress",
        role: "heir",
        dataPath: { state: "succeeded", result: { status: {}, totalBytes: 0 } },
        loss: { of: "agent", inMs: 0, why: "no node-agent" },
      },
      "inherit",
    ],
    [
      "InProgress: without agent and mover it is adopted",
      { phase: "InProgress", role: "heir", loss: { of: "agent", inMs: 0, why: "no node-agent" } },
      "adopt: no node-agent",
    ],
    [
      "InProgress: a mover that is tied to a dead node and had ended well has ended well",
      { phase: "InProgress", role: "heir", pinned: true, dataPath: { state: "succeeded", result: { status: {}, totalBytes: 0 } } },
      "end Completed: ",
    ],
    ["New: what nobody will ever take fails", { role: "bystander", pinned: true, ownerNode: "", astray: "its pod is gone" }, "end Failed: its pod is gone"],
    ["InProgress: what is tied to its node dies with it", { phase: "InProgress", role: "heir", pinned: true }, 'end Failed: node "node-1" is not ready'],
    ["InProgress: movers of others know no fence", { phase: "InProgress", role: "heir", selfStarting: true }, 'end Failed: node "node-1" is not ready'],
    [
      "InProgress: a mover had ended before its node died",
      { phase: "InProgress", role: "heir", dataPath: { state: "succeeded", result: { status: {}, totalBytes: 0 } } },
      "inherit",
    ],
    ["InProgress: a delivery is brought to its end by another node", { phase: "InProgress", role: "heir", delivering: true }, "inherit"],
    [
      "InProgress: nobody answered a cancel for an hour",
      { phase: "InProgress", role: "bystander", cancelRequested: true, cancelSeenForMs: CANCEL_UNANSWERED_IN_PROGRESS_MS },
      "end Canceled: data upload was canceled, and its mover did not answer in time",
    ],

    [
      "Canceling: the mover said so",
      { phase: "Canceling", ...canceled, dataPath: { state: "failed", message: "data path is canceled", canceled: true } },
      "end Canceled: data path is canceled",
    ],
    [
      "Canceling: it was too late, it succeeded",
      { phase: "Canceling", ...canceled, dataPath: { state: "succeeded", result: { status: {}, totalBytes: 0 } } },
      "end Completed: ",
    ],
    ["Canceling: the mover is still at it", { phase: "Canceling", ...canceled, dataPath: running }, "wait for the mover"],
    [
      "Canceling: the mover does not answer",
      { phase: "Canceling", cancelRequested: true, cancelSeenForMs: CANCEL_UNANSWERED_MS, dataPath: running },
      "end Canceled: data upload was canceled, and its mover did not answer in time",
    ],

    ["an ending cleans up before it is told", { phase: "InProgress", ending, endingIsMine: true, work: next }, "work: create the pod"],
    ["an ending is told once nothing is left", { phase: "InProgress", ending, endingIsMine: true, work: { state: "done" } }, "conclude Completed"],
    ["an ending is left to who wrote it", { phase: "InProgress", ending, role: "bystander", work: next }, 'wait for node "node-1" to clean up'],
    [
      "an abandoned ending is taken over",
      { phase: "InProgress", ending, role: "bystander", endedForMs: 2 * MINUTE, work: { state: "done" } },
      "conclude Completed",
    ],

    ["Completed: the finalizer goes", { phase: "Completed" }, "removeFinalizer"],
    ["Failed: nothing more is done", { phase: "Failed", finalizer: false }, "nothing"],
    ["Completed: the agent that had it lets it go", { phase: "Completed", role: "bystander", completedForMs: 1_000 }, 'wait for node "node-1" to let it go'],
    ["Completed: another one does when that one does not", { phase: "Completed", role: "bystander", completedForMs: 60_000 }, "removeFinalizer"],
    ["New: it is the turn of another node's agent", { phase: "New", claimInMs: 200 }, "wait for the agent of another node to take it"],
    ["Canceled: a deletion changes nothing", { phase: "Canceled", deleting: true }, "removeFinalizer"],
  ])("%s", (_title, changes, wanted) => {
    expect(told(changes)).toBe(wanted);
  });

  it("writes details for people with progress, but at most every ten seconds", () => {
    const details = { phase: "transferring", filesDone: 1, filesTotal: 2, bytesHashed: 3, bytesDeduplicated: 0, bytesStored: 3, errors: 0 };
    const dataPath = { state: "running" as const, progress: { totalBytes: 9, doneBytes: 3, details } };
    const steps = (detailsForMs: number | undefined) => phases.InProgress(observed({ phase: "InProgress", dataPath, detailsForMs })).steps;
    expect(steps(undefined)).toEqual([{ do: "reportProgress", totalBytes: 9, doneBytes: 3, details }]);
    expect(steps(10_000)).toEqual([{ do: "reportProgress", totalBytes: 9, doneBytes: 3, details }]);
    expect(steps(9_999)).toEqual([{ do: "reportProgress", totalBytes: 9, doneBytes: 3 }]);
  });

  it("answers every phase", () => {
    expect(Object.keys(phases).sort()).toEqual(["Accepted", "Canceled", "Canceling", "Completed", "Failed", "InProgress", "New", "Prepared"]);
  });
});
