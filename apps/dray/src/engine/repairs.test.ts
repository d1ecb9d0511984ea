import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "@drayage/base";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

let folder: string;
let id: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-repairs-"));
  mkdirSync(join(folder, "data"));
  writeFileSync(join(folder, "data", "first"), "first");
  expect((await dray("repo create", "template")).exitCode).toBe(0);
  await dray("snapshot create data --source u@h:/data", "template");
  writeFileSync(join(folder, "data", "second"), "second");
  id = /[0-9a-f]{32}\n$/.exec((await dray("snapshot create data --source u@h:/data", "template")).out)?.[0].trim() ?? "";
}, 60_000);
beforeEach(() => {
  rmSync(join(folder, "repository"), { recursive: true, force: true });
  cpSync(join(folder, "template"), join(folder, "repository"), { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function dray(line: string, repository = "repository") {
  const terminal = new RecordingTerminal({
    env: { DRAY_REPOSITORY: `file://${folder}/${repository}`, DRAY_REPOSITORY_PASSWORD: "secret horse", DRAY_STATE_DIR: join(folder, "state") },
    cwd: folder,
    random: systemRandom,
  });
  const exitCode = await run(line.split(" "), terminal);
  return { exitCode, out: terminal.text.replaceAll(folder, "/folder"), err: terminal.errors };
}

/** The files of the blobs whose names begin so. */
function blobFiles(letter: string): string[] {
  const root = join(folder, "repository", letter);
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The pack of the second file: its only content is the one that the second snapshot added. */
async function packOfSecond(): Promise<string> {
  for (const path of blobFiles("p")) {
    const kept = readFileSync(path);
    rmSync(path);
    const { out } = await dray("repo repair --dry-run --json");
    writeFileSync(path, kept);
    if (out.includes('"/second"')) return path;
  }
  throw new Error("no pack holds it");
}

describe("dray repo repair", () => {
  it("says that there is nothing to do where there is nothing", async () => {
    expect(await dray("repo repair --full")).toMatchObject({ exitCode: 0, out: "Nothing to repair\n" });
  });

  it("names exactly the files that are lost with a pack, and leaves the rest whole", async () => {
    rmSync(await packOfSecond());
    const planned = await dray("repo repair --dry-run");
    expect(planned.out).toContain(`lost: /second of snapshot ${id} (u@h:/data, `);
    expect(planned.out).toContain("Would repair the repository: 1 file is lost");
    const { exitCode, out } = await dray("repo repair");
    expect(exitCode).toBe(3);
    expect(out.match(/^lost: /gm)).toHaveLength(1);
    const verified = await dray("repo verify");
    expect(verified.exitCode).toBe(1);
    expect(verified.err).toMatch(new RegExp(`damaged: snapshot ${id} of u@h:/data, .*: 1 problem`));
    // What is still there to be read is stored again.
    await dray("snapshot create data --source u@h:/data");
    await dray(`snapshot delete ${id}`);
    expect(await dray("repo verify --full")).toMatchObject({ exitCode: 0 });
  });

  it("makes damaged and missing indexes again from the packs", async () => {
    const [first = "", second = "", ...rest] = blobFiles("x");
    writeFileSync(first, "garbage");
    for (const path of [second, ...rest]) rmSync(path);
    expect(await dray("repo repair")).toMatchObject({ exitCode: 0, out: expect.stringContaining("contents are found again") });
    expect(await dray("repo verify --full")).toMatchObject({ exitCode: 0 });
    expect(JSON.parse((await dray("snapshot list --json")).out)).toHaveLength(2);
  });

  it("takes what is lost from a copy", async () => {
    for (const path of blobFiles("p")) rmSync(path);
    const { exitCode, out } = await dray(`repo repair --from file://${folder}/template`);
    expect(exitCode).toBe(0);
    expect(out).toMatch(/: it is missing; restored from the copy\n/);
    expect(await dray("repo verify --full")).toMatchObject({ exitCode: 0 });
  });
});

describe("dray repo verify", () => {
  it("reads a part of the files when asked for a sample", async () => {
    expect((await dray("repo verify --sample 100%")).out).toMatch(/, [12] of them to the last byte: no problems\n$/);
    expect(await dray("repo verify --sample 0")).toMatchObject({ exitCode: 2 });
    expect(await dray("repo verify --sample 101%")).toMatchObject({ exitCode: 2 });
    expect(await dray("repo verify --full --sample 5%")).toMatchObject({ exitCode: 2 });
  });
});
