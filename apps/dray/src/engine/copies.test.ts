import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@drayage/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-copies-"));
  mkdirSync(join(folder, "data"));
  writeFileSync(join(folder, "data", "text"), "the same line again\n".repeat(1000));
  expect((await dray("repo create")).exitCode).toBe(0);
  expect((await dray("snapshot create data --source u@h:/data --compression zstd")).exitCode).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function dray(line: string, repository = "repository") {
  const terminal = new RecordingTerminal({
    env: { DRAY_REPOSITORY: `file://${folder}/${repository}`, DRAY_REPOSITORY_PASSWORD: "secret horse" },
    cwd: folder,
    random: systemRandom,
  });
  const exitCode = await run(line.split(" "), terminal);
  return { exitCode, out: terminal.text.replaceAll(folder, "/folder"), err: terminal.errors };
}

describe("a copy of a repository", () => {
  it("is made, brought up to date, and restores what the repository holds", async () => {
    expect((await dray(`repo sync-to file://${folder}/copy --dry-run`)).out).toMatch(/^Would copy \d+ blobs/);
    expect(readdirSync(folder)).not.toContain("copy");
    expect((await dray(`repo sync-to file://${folder}/copy`)).out).toMatch(/^Copied \d+ blobs \(.*\) to file:\/\/\/folder\/copy; 0 were there already\n$/);
    expect((await dray(`repo sync-to file://${folder}/copy --json`)).out).toMatch(/"dryRun":false,"copiedBlobs":0,/);
    const { out } = await dray("snapshot list --json", "copy");
    const [{ id }] = JSON.parse(out) as [{ id: string }];
    expect((await dray(`snapshot restore ${id} ${folder}/restored`, "copy")).exitCode).toBe(0);
    expect(readdirSync(join(folder, "restored"))).toEqual(["text"]);
    expect(await dray("repo verify --full", "copy")).toMatchObject({ exitCode: 0 });
  });

  it("is refused where something else is", async () => {
    mkdirSync(join(folder, "other"));
    writeFileSync(join(folder, "other", "photo.f"), "mine");
    expect(await dray(`repo sync-to file://${folder}/other --delete`)).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining('there is something else, "photo"'),
    });
    expect(readdirSync(join(folder, "other"))).toContain("photo.f");
  });
});

describe("statistics", () => {
  it("say what takes the space", async () => {
    const { out } = await dray("repo stats");
    expect(out).toMatch(/file data +1 .*19\.5 KiB\n/);
    expect(out).toMatch(/zstd +1 /);
    expect(out).toMatch(/packs of data +1 /);
    expect(JSON.parse((await dray("repo stats --json")).out)).toMatchObject({ type: "summary", contents: { count: 4 }, blobs: { p: { count: 1 } } });
  });
});
