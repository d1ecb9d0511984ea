import type { Backup, BackupStatus } from "@drayage/api";
import { describe, expect, it } from "vitest";
import { backupPhases, decideBackup, type ObservedBackup, queuePlace, sharesNamespace } from "./backup.ts";

const observed = (overrides: Partial<ObservedBackup>): ObservedBackup => ({
  phase: "New",
  deleting: false,
  running: false,
  cancelRequested: undefined,
  storedPosition: 0,
  position: 1,
  mayStart: false,
  ...overrides,
});

let uid = 0;
const backup = (name: string, namespaces: string[], status: BackupStatus = {}): Backup => ({
  metadata: { name, uid: `uid-${uid++}`, creationTimestamp: "2026-11-21T04:00:00Z" },
  spec: { includedNamespaces: namespaces },
  status,
});

describe("decideBackup()", () => {
  it("queues a new backup and lets it go when there is room", () => {
    expect(decideBackup(observed({ phase: "New", position: 3 }))).toEqual({ do: "enqueue", position: 3 });
    expect(decideBackup(observed({ phase: "Queued", position: 1, storedPosition: 1 }))).toEqual({ do: "nothing" });
    expect(decideBackup(observed({ phase: "Queued", mayStart: true }))).toEqual({ do: "release" });
  });

  it("corrects the place of one that moved up", () => {
    expect(decideBackup(observed({ phase: "Queued", position: 1, storedPosition: 2 }))).toEqual({ do: "enqueue", position: 1 });
  });

  it("fails a backup that was lost with its process", () => {
    expect(decideBackup(observed({ phase: "InProgress" }))).toMatchObject({ do: "fail" });
    expect(decideBackup(observed({ phase: "InProgress", running: true }))).toEqual({ do: "nothing" });
  });

  it("ends one that is to be deleted, whether or not this process works on it", () => {
    for (const running of [true, false])
      expect(decideBackup(observed({ phase: "InProgress", running, cancelRequested: "it goes" }))).toEqual({
        do: "cancel",
        reason: "it was canceled: it goes",
      });
  });

  it("does nothing with a backup that is being deleted", () => {
    expect(decideBackup(observed({ phase: "ReadyToStart", deleting: true }))).toEqual({ do: "nothing" });
  });

  it("has nothing to do in a phase that is not its own", () => {
    for (const phase of ["Completed", "Failed", "Finalizing", "WaitingForPluginOperations", "Deleting"] as const) {
      expect(backupPhases[phase](observed({ phase }))).toEqual({ do: "nothing" });
    }
  });
});

describe("queuePlace()", () => {
  it("lets one backup run at a time", () => {
    const running = backup("a", ["x"], { phase: "InProgress" });
    const waiting = backup("b", ["y"], { phase: "Queued", queuePosition: 1 });
    expect(queuePlace(waiting, [running, waiting], 1)).toEqual({ position: 1, mayStart: false });
    expect(queuePlace(waiting, [waiting], 1)).toEqual({ position: 1, mayStart: true });
  });

  it("keeps backups of one namespace apart, and lets others pass", () => {
    const running = backup("a", ["x"], { phase: "InProgress" });
    const same = backup("b", ["x"], { phase: "Queued", queuePosition: 1 });
    const other = backup("c", ["y"], { phase: "Queued", queuePosition: 2 });
    expect(queuePlace(same, [running, same, other], 2)).toEqual({ position: 1, mayStart: false });
    expect(queuePlace(other, [running, same, other], 2)).toEqual({ position: 2, mayStart: true });
  });

  it("does not let a later one take the room of an earlier one that can start", () => {
    const first = backup("a", ["x"], { phase: "Queued", queuePosition: 1 });
    const second = backup("b", ["y"], { phase: "Queued", queuePosition: 2 });
    expect(queuePlace(second, [first, second], 1).mayStart).toBe(false);
    expect(queuePlace(second, [first, second], 2).mayStart).toBe(true);
  });

  it("puts a new backup behind those that wait", () => {
    const waiting = backup("a", ["x"], { phase: "Queued", queuePosition: 4 });
    const fresh = backup("b", ["y"]);
    expect(queuePlace(fresh, [fresh, waiting], 1).position).toBe(2);
  });
});

it.each([
  [["a"], ["a"], true],
  [["a"], ["b"], false],
  [["*"], ["b"], true],
  [[], ["b"], true],
  [["team-*"], ["team-1"], true],
  [["team-*"], ["web"], false],
  [["a*"], ["*b"], true],
])("sharesNamespace(): %j and %j: %s", (left, right, shared) => {
  expect(sharesNamespace(backup("a", left), backup("b", right))).toBe(shared);
});
