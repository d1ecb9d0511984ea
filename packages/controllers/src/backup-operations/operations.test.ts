import { formatTime } from "@drayage/base";
import { describe, expect, it } from "vitest";
import type { ItemOperation } from "../ports.ts";
import { advanceOperations, type Movement, type OperationsView } from "./operations.ts";

const NOW_MS = Date.UTC(2026, 10, 21, 4, 0, 0);

const operation = (status: Partial<ItemOperation["status"]> = {}): ItemOperation => ({
  spec: { resourceIdentifier: { Group: "", Resource: "persistentvolumeclaims", Namespace: "notes", Name: "files" }, operationID: "du-1" },
  status: { phase: "New", created: formatTime(NOW_MS), ...status },
});

const view = (movements: readonly Movement[], overrides: Partial<OperationsView> = {}): OperationsView => ({
  kind: "DataUpload",
  nowMs: NOW_MS,
  timeoutMs: 60_000,
  movementsOf: () => movements,
  ...overrides,
});

const after = (movements: readonly Movement[], overrides: Partial<OperationsView> = {}, status: Partial<ItemOperation["status"]> = {}) =>
  advanceOperations([operation(status)], view(movements, overrides));

describe("advanceOperations()", () => {
  it("leaves an operation alone whose DataUpload nobody has taken", () => {
    const outcome = after([{ status: {} }]);
    expect(outcome).toMatchObject({ inProgress: true, completed: 0, failed: 0, toCancel: [], nextTimeoutMs: NOW_MS + 60_000 });
    expect(outcome.operations[0]?.status).toEqual(operation().status);
  });

  it("shows progress in bytes, and InProgress once the data path has started", () => {
    const started = "2026-11-21T04:00:05Z";
    const outcome = after([{ status: { phase: "InProgress", startTimestamp: started, progress: { bytesDone: 5, totalBytes: 10 } } }]);
    expect(outcome.operations[0]?.status).toMatchObject({
      phase: "InProgress",
      nCompleted: 5,
      nTotal: 10,
      operationUnits: "Bytes",
      description: "InProgress",
      started,
    });
  });

  it("completes with the DataUpload", () => {
    const outcome = after([{ status: { phase: "Completed", completionTimestamp: "2026-11-21T04:00:09Z" } }]);
    expect(outcome).toMatchObject({ inProgress: false, completed: 1, hasNewFailure: false });
    expect(outcome.operations[0]?.status.updated).toBe("2026-11-21T04:00:09Z");
  });

  it("fails with the DataUpload's message, and says when it was canceled", () => {
    expect(after([{ status: { phase: "Failed", message: "no space" } }]).operations[0]?.status).toMatchObject({ phase: "Failed", error: "no space" });
    expect(after([{ status: { phase: "Canceled" } }]).operations[0]?.status).toMatchObject({ phase: "Failed", error: "DataUpload is canceled" });
  });

  it("fails when the DataUpload is gone, or when there are two", () => {
    expect(after([])).toMatchObject({ failed: 1, hasNewFailure: true });
    expect(after([{}, {}]).operations[0]?.status.error).toMatch(/2 DataUploads/);
  });

  it("gives up at the timeout, and asks for the movement to be canceled", () => {
    const late = after([{ status: { phase: "InProgress" } }], { nowMs: NOW_MS + 60_000 });
    expect(late).toMatchObject({ toCancel: ["du-1"], inProgress: false, failed: 1 });
    expect(late.operations[0]?.status.error).toBe("Asynchronous action timed out: it has not ended after 60 s");
    for (const spec of [{ mover: "tar" }, { datamover: "tar" }])
      expect(after([{ spec, status: { phase: "InProgress" } }], { nowMs: NOW_MS + 60_000 }).operations[0]?.status.error).toBe(
        'Asynchronous action timed out: mover "tar" has not ended after 60 s',
      );
    expect(after([{ status: { phase: "InProgress" } }], { nowMs: NOW_MS + 59_999 }).toCancel).toEqual([]);
  });

  it("prefers completion to the timeout", () => {
    expect(after([{ status: { phase: "Completed" } }], { nowMs: NOW_MS + 90_000 })).toMatchObject({ completed: 1, toCancel: [] });
  });

  it("never touches an operation that has ended", () => {
    const outcome = after([], {}, { phase: "Completed" });
    expect(outcome).toMatchObject({ completed: 1, failed: 0, hasNewFailure: false, inProgress: false, nextTimeoutMs: undefined });
  });
});
