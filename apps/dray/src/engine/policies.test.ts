import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

const MINUTE_MS = 60_000;
let folder: string;
/** Snapshots of one moment have no order. */
let nowMs = Date.parse("2026-11-28T00:00:00Z");

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-policies-"));
  mkdirSync(join(folder, "data"));
  writeFileSync(join(folder, "data", "hello"), "hello, world\n");
  expect((await dray("repo create")).exitCode).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function dray(line: string) {
  nowMs += MINUTE_MS;
  const terminal = new RecordingTerminal({
    env: { DRAY_REPOSITORY: `file://${folder}/repository`, DRAY_REPOSITORY_PASSWORD: "secret horse" },
    cwd: folder,
    random: systemRandom,
    clock: new VirtualClock(nowMs),
  });
  const exitCode = await run(line.split(" "), terminal);
  return { exitCode, out: terminal.text, err: terminal.errors };
}

describe("policies", () => {
  it("say what holds, and which of them says so", async () => {
    expect(await dray("policy set --global --keep-latest 7 --add-ignore *.tmp")).toMatchObject({ exitCode: 0, out: "Set the policy of (global)\n" });
    await dray("policy set u@h:/data --keep-latest 2 --compression zstd");
    const { out } = await dray("policy get u@h:/data");
    expect(out).toMatch(/retention\.keepLatest +2 +u@h:\/data\n/);
    expect(out).toMatch(/files\.ignore +\["\*\.tmp"\] +\(global\)\n/);
    expect((await dray("policy list")).out).toMatch(/^ID +TARGET\n[0-9a-f]{32} +\(global\)\n[0-9a-f]{32} +u@h:\/data\n$/);
    expect(await dray("policy remove u@h:/data --dry-run")).toMatchObject({ exitCode: 0, out: "Would remove the policy of u@h:/data\n" });
    expect(await dray("policy remove u@h:/data")).toMatchObject({ exitCode: 0, out: "Removed the policy of u@h:/data\n" });
    expect((await dray("policy get u@h:/data")).out).toMatch(/retention\.keepLatest +7 +\(global\)\n/);
  });

  it.each([
    ["policy set --global", "no flag says what to change"],
    ["policy set --keep-latest 3", "neither a target nor --global says which"],
    ["policy set u@h --global --keep-latest 3", "exclude each other"],
    ["policy set --global --keep-latest many", 'Cannot read --keep-latest "many"'],
    ["policy set --global --compression zip", "it is not known"],
    ["policy set --global --one-file-system yes", "true or false is wanted"],
    ["policy remove u@nowhere", "there is none"],
    ["snapshot expire", "nothing says of which source"],
    ["snapshot expire --all --source u@h:/data", "exclude each other"],
  ])("dray %s is refused with its reason", async (line, reason) => {
    const { exitCode, err } = await dray(line);
    expect(exitCode).toBe(2);
    expect(err).toContain(reason);
  });
});

describe("expiry", () => {
  it("shows its plan, and does what it says; what is pinned stays", async () => {
    const make = async (): Promise<string> =>
      /[0-9a-f]{32}/.exec((await dray("snapshot create data --source u@h:/data --parent none --no-expire")).out)?.[0] ?? "";
    await dray("policy set u@h:/data --inherit false --keep-latest 1");
    const [first, second, third] = [await make(), await make(), await make()];
    const { out: pinned } = await dray(`snapshot pin ${first} --add audit`);
    const pinnedId = new RegExp(`^Snapshot ${first} is now ([0-9a-f]{32}): audit\n$`).exec(pinned)?.[1] ?? "";
    expect((await dray("snapshot expire --all --dry-run")).out).toContain("Would expire 1 snapshot, 2 are kept.\n");
    const { out } = await dray("snapshot expire --source u@h:/data");
    expect(out.match(/[0-9a-f]{32}/g)).toHaveLength(1);
    const { out: left } = await dray("snapshot list --json");
    expect((JSON.parse(left) as { id: string }[]).map(({ id }) => id)).toContain(pinnedId);
    expect([second, third].filter((id) => left.includes(id))).toEqual([third]);
    expect((await dray(`snapshot pin ${pinnedId} --remove audit --json`)).out).toContain('"pins":[]');
  });

  it("happens after a snapshot of the same source, of it alone, and not where nobody wants it", async () => {
    const create = async (source: string, flags = ""): Promise<{ snapshotID: string; expired: string[] }> =>
      JSON.parse((await dray(`snapshot create data --source ${source} --parent none --json${flags}`)).out.trim().split("\n").at(-1) ?? "") as never;
    for (const source of ["a@h:/one", "a@h:/two"]) await dray(`policy set ${source} --inherit false --keep-latest 2`);
    const other = await create("a@h:/two");
    const [first, second] = [await create("a@h:/one"), await create("a@h:/one")];
    expect([first.expired, second.expired, (await create("a@h:/one", " --no-expire")).expired, (await create("a@h:/one", " --no-policy")).expired]).toEqual([
      [],
      [],
      [],
      [],
    ]);
    expect(new Set((await create("a@h:/one")).expired).size).toBe(3);
    const { out } = await dray("snapshot list --json");
    expect([first.snapshotID, second.snapshotID].filter((id) => out.includes(id))).toEqual([]);
    expect(out).toContain(other.snapshotID);
    expect((await dray("snapshot create data --source a@h:/one --parent none")).out).toMatch(/Expired 1 older snapshot, as the policy says\nCreated snapshot/);
  });
});
