import { describe, expect, it } from "vitest";
import { nounFirst, run } from "./main.ts";
import { RecordingTerminal } from "./testing/recording-terminal.ts";

describe("nounFirst", () => {
  const table = [["backup", "create"], ["snapshot", "list"], ["version"]].map((words) => ({
    words,
    summary: "",
    load: () => Promise.reject(new Error("not loaded")),
  }));
  it.each([
    [
      ["create", "backup", "x"],
      ["backup", "create", "x"],
    ],
    [
      ["backup", "create", "x"],
      ["backup", "create", "x"],
    ],
    [
      ["list", "snapshots"],
      ["snapshot", "list"],
    ],
    [
      ["snapshots", "list"],
      ["snapshot", "list"],
    ],
    [
      ["version", "backup"],
      ["version", "backup"],
    ],
    [["--help"], ["--help"]],
  ])("%j is %j", (given, wanted) => expect(nounFirst(given, table)).toEqual(wanted));
});

describe("run", () => {
  it("prints the version", async () => {
    const terminal = new RecordingTerminal();
    expect(await run(["version"], terminal)).toBe(0);
    expect(terminal.text).toMatch(/^dray \d+\.\d+\.\d+ /);
  });
  it("answers --help with 0 and lists the groups", async () => {
    const terminal = new RecordingTerminal();
    expect(await run(["--help"], terminal)).toBe(0);
    expect(terminal.text).toContain("version");
  });
  it("refuses an unknown command with exit code 2 and says so on the error stream", async () => {
    const terminal = new RecordingTerminal();
    expect(await run(["nonsense"], terminal)).toBe(2);
    expect(terminal.errors).toContain("unknown command 'nonsense'");
    expect(terminal.text).toBe("");
  });
  it("refuses an unknown option with exit code 2", async () => {
    const terminal = new RecordingTerminal();
    expect(await run(["version", "--nonsense"], terminal)).toBe(2);
    expect(terminal.errors).toContain("unknown option '--nonsense'");
  });
});
