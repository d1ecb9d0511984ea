import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@drayage/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

let folder: string;
let first: string;
let second: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-browsing-"));
  const data = join(folder, "data");
  mkdirSync(join(data, "sub"), { recursive: true });
  writeFileSync(join(data, "a.log"), "12345");
  writeFileSync(join(data, "sub", "b.log"), "1234567890");
  symlinkSync("a.log", join(data, "link"));
  execFileSync("mkfifo", [join(data, "pipe")]);
  utimesSync(join(data, "a.log"), 1_000_000_000, 1_000_000_000);
  utimesSync(join(data, "sub"), 5, 5);
  expect((await dray("repo create")).exitCode).toBe(0);
  first = await snapshot();
  writeFileSync(join(data, "a.log"), "123456");
  chmodSync(join(data, "sub", "b.log"), 0o600);
  rmSync(join(data, "pipe"));
  writeFileSync(join(data, "new"), "");
  second = await snapshot();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function dray(line: string) {
  const terminal = new RecordingTerminal({
    env: { DRAY_REPOSITORY: `file://${folder}/repository`, DRAY_REPOSITORY_PASSWORD: "secret horse" },
    cwd: folder,
    random: systemRandom,
  });
  const exitCode = await run(line.split(" "), terminal);
  return { exitCode, out: terminal.text, err: terminal.errors };
}

async function snapshot(): Promise<string> {
  return /[0-9a-f]{32}/.exec((await dray("snapshot create data --source u@h:/data")).out)?.[0] ?? "";
}

describe("differences", () => {
  it("of two snapshots", async () => {
    const { out } = await dray(`snapshot diff ${first.slice(0, 12)} ${second}`);
    const lines = out.split("\n").filter((line) => !line.startsWith("m directory /"));
    expect(lines).toEqual([
      "m file      /sub/b.log mode",
      "M file      /a.log (5 B -> 6 B) mtime",
      "+ file      /new (0 B)",
      "- fifo      /pipe",
      expect.stringMatching(/^1 added, 1 removed, 1 with other content, \d with other attributes$/),
      "",
    ]);
  });

  it("of two places, as events", async () => {
    const { out } = await dray(`fs diff ${first}:/sub ${second}:/sub --json`);
    expect(
      out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([
      { type: "difference", difference: "attributes", path: "/b.log", kind: "file", attributes: ["mode"] },
      { type: "summary", attributes: 1, added: 0, removed: 0, content: 0 },
    ]);
  });
});

describe("fs find", () => {
  it.each([
    ["", ["/", "/sub/", "/sub/b.log", "/a.log", "/link", "/pipe"]],
    ["--name *.log", ["/sub/b.log", "/a.log"]],
    ["--type f --min-size 6", ["/sub/b.log"]],
    ["--max-size 5", ["/a.log"]],
    ["--type l", ["/link"]],
    ["--type p", ["/pipe"]],
    ["--newer-than 2001-09-10 --type f", ["/sub/b.log"]],
  ])("%s", async (flags, wanted) => {
    const { out, exitCode } = await dray(`fs find ${first}:/ ${flags}`.trim());
    expect(exitCode).toBe(0);
    expect(out.trim().split("\n")).toEqual(wanted);
  });

  it("begins where it is told, and shows as much as ls -l does", async () => {
    expect((await dray(`fs find ${first}:/sub -l --type f`)).out).toMatch(/^-rw-r--r-- \d+:\d+ +10 \d{4}-\d\d-\d\d [\d:]{8} \/sub\/b\.log\n$/);
    expect((await dray(`fs ls -l ${first}:/`)).out).toMatch(/^prw-r--r-- .* pipe$/m);
    expect(await dray(`fs find ${first}:/ --type x`)).toMatchObject({ exitCode: 2, err: expect.stringContaining("is wanted") });
  });
});
