import { describe, expect, it } from "vitest";
import { formatBackupResult, parseMoverEnd, parseMoverRequest, parseMoverResult } from "./pod-contract.ts";

describe("the result of a mover", () => {
  it("is read as it was written", () => {
    const result = { snapshotId: "a", totalBytes: 5, incrementalBytes: 2, result: { format: "raw" } };
    expect(parseMoverResult(formatBackupResult(result))).toEqual(result);
  });

  it.each([
    "",
    "done",
    "[]",
    "null",
    "{}",
    '{"snapshotID":""}',
    '{"snapshotID":1}',
    '{"snapshotID":"a","totalBytes":-1}',
    '{"snapshotID":"a","totalBytes":1.5}',
    '{"snapshotID":"a","result":{"a":1}}',
    '{"snapshotID":"a","result":[]}',
    `{"snapshotID":"${"a".repeat(1 << 20)}"}`,
  ])("is none when it is %.40s", (text) => {
    expect(parseMoverResult(text)).toBeUndefined();
  });

  it("of a restore may have nothing to say", () => {
    expect(parseMoverEnd("{}")).toEqual({ totalBytes: 0 });
    expect(parseMoverEnd("ok")).toBeUndefined();
  });
});

describe("the request of a mover", () => {
  const request = { schema: 1, operation: "backup", mover: "m", id: "i", source: {}, parameters: {}, target: {}, about: {} };

  it("is read", () => expect(parseMoverRequest(JSON.stringify(request))).toMatchObject({ operation: "backup", id: "i" }));

  it.each([["{"], ["null"], ["{}"], [JSON.stringify({ ...request, schema: 2 })], [JSON.stringify({ ...request, operation: "format" })]])(
    "is refused: %.60s",
    (text) => {
      expect(() => parseMoverRequest(text)).toThrow(expect.objectContaining({ code: "VALIDATION_FAILED" }));
    },
  );
});
