import { DrayError } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { hasErrno, pathError } from "./path-errors.ts";

const failure = (code: string): Error => Object.assign(new Error(code), { code });

describe("pathError()", () => {
  it.each([
    ["ENOENT", "PATH_NOT_FOUND", 'Cannot read "a/b": it is not there'],
    ["EACCES", "NOT_PERMITTED", 'Cannot read "a/b": permission denied'],
    ["EIO", "PATH_IO", 'Cannot read "a/b": the device reports an input/output error'],
    // ext4 and XFS on damaged metadata, which Node has no name for.
    ["Unknown system error -117", "PATH_IO", 'Cannot read "a/b": the file system is damaged there'],
    ["Unknown system error -116", "PATH_IO", 'Cannot read "a/b": the file server does not know it any more'],
    ["Unknown system error -200", "PATH_IO", 'Cannot read "a/b": errno 200'],
  ])("tells %s as %s in words", (code, wanted, message) => {
    expect(pathError("read", "a/b", failure(code))).toMatchObject({ code: wanted, message });
  });

  it("gives back what no system call threw", () => {
    const aborted = new DOMException("enough", "AbortError");
    expect(pathError("read", "a", aborted)).toBe(aborted);
    const known = new DrayError("BLOB_UNAVAILABLE", "no");
    expect(pathError("read", "a", known)).toBe(known);
  });

  it("knows an errno by its name, also one that Node does not know", () => {
    expect(hasErrno(failure("Unknown system error -117"), "EUCLEAN")).toBe(true);
    expect(hasErrno(failure("ERR_INVALID_ARG_TYPE"), "EUCLEAN")).toBe(false);
  });
});
