import { describe, expect, it } from "vitest";
import { commandTable } from "./commands/table.ts";
import { arrange, loadCommand, nounFirst, run } from "./main.ts";
import { RecordingTerminal } from "./testing/recording-terminal.ts";
import { programVersion } from "./version.ts";

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

describe("arrange", () => {
  it.each([
    ["-n x backup get", "backup get -n x"],
    ["--namespace=x --context y get backups a", "backup get a --namespace=x --context y"],
    ["-n x fs cat -- -n", "fs cat -n x -- -n"],
    ["backup get -n x", "backup get -n x"],
    ["help", "--help"],
    ["help backup", "backup --help"],
    ["help create backup", "backup create --help"],
    ["snapshot help list", "snapshot list --help"],
    ["help nonsense", "nonsense"],
    ["--debug version", "--debug version"],
  ])("reads %j as %j", (given, wanted) => expect(arrange(given.split(" ")).join(" ")).toBe(wanted));
});

describe("loadCommand", () => {
  const loading = async (smallHeap: boolean): Promise<readonly string[]> => {
    const done: string[] = [];
    const load = async () => {
      done.push("loaded");
      return { define: () => undefined };
    };
    await loadCommand({ words: ["x"], summary: "", load, ...(smallHeap ? { smallHeap } : {}) }, () => done.push("small heap"));
    return done;
  };

  it("keeps the heap small before the modules of a command that wants that are loaded", async () => {
    expect(await loading(true)).toEqual(["small heap", "loaded"]);
    expect(await loading(false)).toEqual(["loaded"]);
  });

  it("does so for the server alone: what moves data, or is over soon, is faster without", () => {
    expect(commandTable.filter(({ smallHeap }) => smallHeap === true).map(({ words }) => words)).toEqual([["server"]]);
  });
});

describe("run", () => {
  it("prints the version", async () => {
    const terminal = new RecordingTerminal();
    expect(await run(["version", "--client-only"], terminal)).toBe(0);
    expect(terminal.text).toMatch(/^dray \d+\.\d+\.\d+ /);
  });
  it("answers --version as the launcher does", async () => {
    const terminal = new RecordingTerminal();
    expect(await run(["--version"], terminal)).toBe(0);
    expect(terminal.text).toBe(`dray ${programVersion()}\n`);
  });
  it.each([
    ["help", "backup", "create"],
    ["help", "create", "backup"],
    ["backup", "help", "create"],
    ["backup", "create", "--help"],
  ])("shows the help of a command, not of its group: %s %s %s", async (...words) => {
    const terminal = new RecordingTerminal();
    expect(await run(words, terminal)).toBe(0);
    expect(terminal.text).toContain("Usage: dray backup create [options] [name]");
    expect(terminal.text).not.toContain("preset");
  });
  it("refuses help about what there is not", async () => {
    const terminal = new RecordingTerminal();
    expect(await run(["help", "nonsense"], terminal)).toBe(2);
    expect(terminal.errors).toContain("unknown command 'nonsense'");
  });
  it("says what is wrong with the command line before it looks for a cluster", async () => {
    const nowhere = { HOME: "/nonexistent", KUBECONFIG: "" };
    for (const [line, message] of [
      ["restore create", "one of --from-backup and --from-schedule is wanted"],
      ["restore create --from-backup x --namespace-mappings a", 'Cannot read --namespace-mappings "a": name:value is wanted'],
      ["backup create x --ttl soon", 'Cannot read --ttl "soon"'],
      ["backup create x --selector a,,b", 'Cannot read label selector "a,,b"'],
      ["backup delete", "name them, or use --selector or --all"],
      ["cluster up --nodes two", 'Cannot read --nodes "two"'],
      ["cluster up --port 99999", 'Cannot read --port "99999"'],
      ["demo --nodes 0", 'Cannot read --nodes "0"'],
    ] as const) {
      const terminal = new RecordingTerminal({ env: nowhere });
      expect(await run(line.split(" "), terminal), line).toBe(2);
      expect(terminal.errors, line).toContain(message);
    }
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
