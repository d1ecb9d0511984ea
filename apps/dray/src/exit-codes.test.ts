import { CODES, type Code, DrayError } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { EXIT, type ExitCode, exitCodeOf, renderError } from "./exit-codes.ts";

const codes = Object.keys(CODES) as Code[];

/** Which failures have an exit code of their own; every other is 1. */
const OWN_EXIT: Partial<Record<Code, ExitCode>> = {
  USAGE: 2,
  TIMED_OUT: 124,
  BLOB_NOT_FOUND: 4,
  BLOB_BUCKET_NOT_FOUND: 4,
  REPO_NOT_FOUND: 4,
  REPO_MANIFEST_NOT_FOUND: 4,
  PATH_NOT_FOUND: 4,
  KUBE_NOT_FOUND: 4,
  BACKUP_NOT_FOUND: 4,
  REPO_WRONG_PASSWORD: 5,
  BLOB_ACCESS_DENIED: 5,
  KUBE_FORBIDDEN: 5,
  KUBE_UNAUTHORIZED: 5,
  NOT_PERMITTED: 5,
};

describe("exitCodeOf", () => {
  it.each(codes)("%s has its place in the table", (code) => {
    expect(exitCodeOf(new DrayError(code, "Cannot do it"))).toBe(OWN_EXIT[code] ?? 1);
  });

  it("is 130 for what Ctrl-C ended, whatever that was", () => {
    const controller = new AbortController();
    controller.abort(new Error("the reason"));
    expect(exitCodeOf(controller.signal.reason, controller.signal)).toBe(EXIT.interrupted);
    expect(exitCodeOf(new DOMException("aborted", "AbortError"))).toBe(EXIT.interrupted);
  });

  it("is 1 for what nobody translated", () => {
    expect(exitCodeOf(new TypeError("x is not a function"))).toBe(EXIT.failed);
    expect(exitCodeOf("thrown text")).toBe(EXIT.failed);
  });
});

describe("renderError", () => {
  it.each(codes)("%s is told as what happened, because of what, and what to do next", (code) => {
    const error = new DrayError(code, 'Cannot open "a": it is locked', { cause: new Error("EBUSY\n  at line 2"), hint: "Wait.", context: { secret: "never" } });
    const report = code === "INVARIANT" ? "  This is a defect of Drayage; please report it with the output of the same command with --debug.\n" : "";
    expect(renderError(error)).toBe(`dray: Cannot open "a": it is locked\n  because: EBUSY\n  hint: Wait.\n${report}`);
  });

  it("does not repeat a cause that the message has told", () => {
    expect(renderError(new DrayError("PATH_IO", "Cannot read: EIO", { cause: new Error("EIO") }))).toBe("dray: Cannot read: EIO\n");
  });

  it("asks for a report of what nobody translated", () => {
    expect(renderError(new TypeError("x is not a function"))).toMatch(/^dray: x is not a function\n {2}This is a defect of Drayage; please report it/);
  });

  it("shows where an error comes from with --debug only", () => {
    const error = new DrayError("REPO_CORRUPT", "Cannot read it");
    expect(renderError(error)).not.toContain("exit-codes.test.ts");
    expect(renderError(error, { debug: true })).toContain("exit-codes.test.ts");
  });

  it("says of an interruption only that it was one", () => {
    const controller = new AbortController();
    controller.abort(new Error("interrupted by SIGINT"));
    expect(renderError(controller.signal.reason, { signal: controller.signal, debug: true })).toBe("dray: interrupted\n");
  });
});
