import { describe, expect, it } from "vitest";
import { parseBackupDataPathResult, parseDataPathProgress, parseRestoreDataPathResult, parseTransferDetails } from "./data-path.ts";

describe("parseDataPathProgress()", () => {
  // Messages of Velero 1.18.3's own mover.
  it.each([
    ["{}", { totalBytes: 0, doneBytes: 0 }],
    ['{"doneBytes":65536}', { totalBytes: 0, doneBytes: 65536 }],
    ['{"totalBytes":1500096,"doneBytes":1500096}', { totalBytes: 1500096, doneBytes: 1500096 }],
  ])("reads %s", (message, progress) => {
    expect(parseDataPathProgress(message)).toEqual(progress);
  });

  it.each(["", "null", "[]", "12", '{"doneBytes":-1}', '{"doneBytes":"1"}', '{"doneBytes":1e300}'])("refuses %s", (message) => {
    expect(parseDataPathProgress(message)).toBeUndefined();
  });
});

describe("details of a transfer", () => {
  const details = {
    phase: "transferring",
    filesDone: 1,
    filesTotal: 2,
    bytesHashed: 30,
    bytesDeduplicated: 10,
    bytesStored: 15,
    errors: 0,
    bytesPerSecond: 7,
    limitedBy: "storage",
  };

  it("travel beside Velero's numbers, and in an annotation with their time", () => {
    expect(parseDataPathProgress(JSON.stringify({ totalBytes: 9, doneBytes: 3, details }))).toEqual({ totalBytes: 9, doneBytes: 3, details });
    const at = "2026-01-01T00:00:00Z";
    expect(parseTransferDetails(JSON.stringify({ ...details, at }))).toEqual({ ...details, at });
  });

  it.each([
    ["nothing", ""],
    ["no time", JSON.stringify(details)],
    ["no phase", JSON.stringify({ ...details, phase: undefined, at: "2026-01-01T00:00:00Z" })],
    ["a phase that is a book", JSON.stringify({ ...details, phase: "x".repeat(1000), at: "2026-01-01T00:00:00Z" })],
    ["fewer than no files", JSON.stringify({ ...details, filesDone: -1, at: "2026-01-01T00:00:00Z" })],
  ])("are left out when they are rubbish: %s", (_what, text) => {
    expect(parseTransferDetails(text)).toBeUndefined();
  });
});

describe("the results of data paths", () => {
  it("reads what Velero's mover writes, with its missing zeros", () => {
    const message =
      '{"snapshotID":"714b040e82fee9645a7f3664605e6a24","emptySnapshot":false,"source":{"byPath":"/d2852516","volumeMode":"Block"},"totalBytes":4194304}';
    expect(parseBackupDataPathResult(message)).toEqual({
      snapshotID: "714b040e82fee9645a7f3664605e6a24",
      emptySnapshot: false,
      totalBytes: 4194304,
      incrementalBytes: 0,
    });
  });

  it("does not take a result without a snapshot for success", () => {
    expect(parseBackupDataPathResult('{"emptySnapshot":false,"totalBytes":1}')).toBeUndefined();
    expect(parseBackupDataPathResult("data path is canceled")).toBeUndefined();
  });

  it("reads the result of a restore", () => {
    expect(parseRestoreDataPathResult('{"target":{"byPath":"/x","volumeMode":"Filesystem"},"totalBytes":7}')).toEqual({ totalBytes: 7 });
    expect(parseRestoreDataPathResult('{"target":{},"error":"2 entries could not be restored"}')).toEqual({
      totalBytes: 0,
      error: "2 entries could not be restored",
    });
    expect(parseRestoreDataPathResult("no such file")).toBeUndefined();
  });
});
