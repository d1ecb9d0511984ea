import { describe, expect, it } from "vitest";
import { isProven, parseToldResult, proveResult, RESULT_KEY_BYTES } from "./told-result.ts";

const key = new Uint8Array(RESULT_KEY_BYTES).fill(7);
const result = '{"snapshotID":"af9e"}';

describe("a told result", () => {
  it("is proven for its pod and its words, and for no others", () => {
    const told = proveResult(key, "pod-1", result);
    expect(told.proof).toBe("164df0eae7fa6526d856b3e7c361191195f3af059ba668a48bd7ff0b527c2fd6");
    expect(isProven(key, "pod-1", told)).toBe(true);
    expect(isProven(key, "pod-2", told)).toBe(false);
    expect(isProven(key, "pod-1", { ...told, result: `${result} ` })).toBe(false);
    expect(isProven(key, "pod-1", { ...told, proof: told.proof.slice(2) })).toBe(false);
    expect(isProven(new Uint8Array(RESULT_KEY_BYTES), "pod-1", told)).toBe(false);
  });

  it("is not proven by a key that anybody may guess", () => {
    const empty = new Uint8Array();
    expect(isProven(empty, "pod-1", proveResult(empty, "pod-1", result))).toBe(false);
  });

  it("is found beside progress, and only in its form", () => {
    const told = proveResult(key, "pod-1", result);
    expect(parseToldResult(JSON.stringify({ totalBytes: 3, doneBytes: 3, ...told }))).toEqual(told);
    for (const message of ["", "null", "[]", "{", '{"totalBytes":3}', JSON.stringify({ result }), JSON.stringify({ ...told, proof: "x".repeat(64) })]) {
      expect(parseToldResult(message)).toBeUndefined();
    }
  });
});
