import { describe, expect, it } from "vitest";
import { done, failed, wait } from "../data-movement/work.ts";
import { decide, type Mover, type Observed, type Step } from "./synchronization.ts";

const NOW = Date.UTC(2026, 4, 1, 12);
const result = { message: "the password is that of none of its keys", logs: "Fatal: wrong password" };
const failure = (over: Partial<Extract<Mover, { state: "failed" }>> = {}): Mover => ({
  ...{ state: "failed", tag: "one", endedMs: NOW, result, attempt: 1, hopeless: false },
  ...over,
});
const success: Mover = { state: "succeeded", tag: "one", endedMs: NOW, result };

const observed = (over: Partial<Observed>): Observed => ({
  nowMs: NOW,
  servedElsewhere: false,
  deleting: false,
  paused: false,
  trigger: { kind: "manual", tag: "one" },
  lastManualSync: undefined,
  isSynchronized: false,
  dueMs: undefined,
  startedMs: NOW,
  fault: undefined,
  volume: done,
  overdue: undefined,
  mover: { state: "absent" },
  image: done,
  traces: false,
  ...over,
});
const waiting = { startedMs: undefined } as const;
const word = (step: Step): string =>
  step.do === "setCondition" ? `${step.status}/${step.reason}` : step.do === "createMover" ? `createMover ${step.attempt}` : step.do;
const did = (over: Partial<Observed>): string => decide(observed(over)).steps.map(word).join(", ");
const act = { state: "act", what: "make a claim", run: async () => undefined } as const;

describe("decide()", () => {
  it.each<[what: string, over: Partial<Observed>, steps: string]>([
    ["a new tag begins a synchronization", waiting, "start"],
    ["a tag that was served waits for another", { ...waiting, lastManualSync: "one" }, "False/WaitingForManual"],
    ["a schedule begins with the object", { ...waiting, trigger: { kind: "schedule" } }, "start"],
    ["a schedule waits for its time", { ...waiting, trigger: { kind: "schedule" }, isSynchronized: true, dueMs: NOW + 1 }, "False/WaitingForSchedule"],
    ["a schedule is due at its time", { ...waiting, trigger: { kind: "schedule" }, isSynchronized: true, dueMs: NOW }, "start"],
    ["without a trigger one follows the other", { ...waiting, trigger: { kind: "always" }, isSynchronized: true }, "start"],
    ["what is left goes before the next begins", { ...waiting, traces: true }, "False/CleaningUp, cleanUp"],
    ["one that rests does not begin", { ...waiting, paused: true }, "False/WaitingForManual"],
    ["a fault is told where something is due", { ...waiting, fault: "no secret" }, "False/Error"],
    ["a fault is not told where nothing is", { ...waiting, lastManualSync: "one", fault: "no secret" }, "False/WaitingForManual"],
    ["the volume comes first", { volume: act }, "advance"],
    ["a volume is waited for, and why is said", { volume: wait("the snapshot") }, "True/SyncInProgress"],
    [
      "one that is waited for all too long is told of, and waited for",
      { volume: wait("a trigger"), overdue: "no trigger" },
      "recordFailure, True/SyncInProgress",
    ],
    ["a volume that cannot be is an error", { volume: failed("it belongs to something else") }, "False/Error"],
    ["then the mover", {}, "True/SyncInProgress, createMover 1"],
    ["a mover that runs is left alone", { mover: { state: "running" } }, "True/SyncInProgress"],
    ["also when what it needed has gone since", { mover: { state: "running" }, fault: "no secret" }, "True/SyncInProgress"],
    ["a mover that starts is waited for", { mover: { state: "starting", reason: "its node", sinceMs: NOW } }, "True/SyncInProgress"],
    [
      "one that does not start for long is told of",
      { mover: { state: "starting", reason: "its node", sinceMs: NOW - 1_800_001 } },
      "recordFailure, True/SyncInProgress",
    ],
    ["a failure that may pass is not told at first", { mover: failure() }, "True/SyncInProgress"],
    ["it is tried again after a while", { mover: failure({ endedMs: NOW - 10_000 }) }, "deleteMover, createMover 2"],
    ["later tries wait longer", { mover: failure({ endedMs: NOW - 10_000, attempt: 2 }) }, "True/SyncInProgress"],
    ["the third failure is told", { mover: failure({ attempt: 3 }) }, "recordFailure, True/SyncInProgress"],
    ["one that cannot pass by itself is told at once", { mover: failure({ hopeless: true }) }, "recordFailure, True/SyncInProgress"],
    ["no try waits for more than ten minutes", { mover: failure({ attempt: 99, endedMs: NOW - 600_000 }) }, "deleteMover, createMover 100"],
    ["a new tag is tried at once", { mover: failure({ hopeless: true, tag: "zero" }) }, "deleteMover, createMover 2"],
    ["a success ends it", { mover: success }, "finish"],
    ["also one that rests", { mover: success, paused: true }, "finish"],
    ["an image is made before that", { mover: success, image: act }, "advance"],
    ["an image is waited for", { mover: success, image: wait("the snapshot") }, "True/SyncInProgress"],
    ["one that is told to rest lets its mover go", { paused: true, mover: { state: "running" } }, "deleteMover"],
    ["one that rests makes none", { paused: true }, ""],
    ["VolSync's are left alone", { servedElsewhere: true }, ""],
    ["also one that waits", { ...waiting, servedElsewhere: true }, ""],
    ["what was made before VolSync came goes", { servedElsewhere: true, traces: true, mover: { state: "running" } }, "cleanUp"],
    ["one that is deleted takes along what it owns", { deleting: true, mover: { state: "running" } }, ""],
  ])("%s", (_, over, steps) => {
    expect(did(over)).toBe(steps);
  });

  it("says when it tries again, and looks then", () => {
    const { steps, recheckAfterMs } = decide(observed({ mover: failure({ hopeless: true, attempt: 2 }) }));
    expect(recheckAfterMs).toBe(120_000);
    expect(steps.at(-1)).toMatchObject({ message: "The mover failed, and is tried again at 2026-05-01T12:02:00Z: the password is that of none of its keys" });
  });

  it("looks again at the time of the schedule", () => {
    expect(decide(observed({ ...waiting, trigger: { kind: "schedule" }, isSynchronized: true, dueMs: NOW + 90_000 })).recheckAfterMs).toBe(90_000);
  });
});
