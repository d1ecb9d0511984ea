/** An import from a repository of restic's that is killed in the middle, more than once: the next one brings it to its end, and nothing of the first tries is in the way. */
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { patternBytes } from "@drayage/datapath/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { programEntry } from "../program.ts";
import { peer } from "./peers.ts";
import { treeFacts } from "./tree-facts.ts";

const run = promisify(execFile);
const FILES = 64;
/** Together some four packs of Kopia's. */
const FILE_BYTES = 1 << 20;

let folder: string;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-import-killed-"));
  for (const name of ["source", "kopia"]) mkdirSync(join(folder, name));
  for (let index = 0; index < FILES; index++) writeFileSync(join(folder, "source", `file-${index}`), patternBytes(FILE_BYTES, index));
  env = { ...process.env, RESTIC_PASSWORD: "of restic", DRAY_REPOSITORY_PASSWORD: "of kopia", DRAY_STATE_DIR: join(folder, "state"), GOMAXPROCS: "2" };
  const restic = (args: readonly string[]) =>
    run(peer("restic"), ["-q", "--no-cache", "-r", join(folder, "restic"), ...args], { env, cwd: join(folder, "source") });
  await restic(["init"]);
  await restic(["backup", "."]);
  await dray("repo", "create");
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const repository = (): string => `file://${join(folder, "kopia")}`;
const importing = (): string[] => [
  "import",
  "volsync",
  `restic+file://${join(folder, "restic")}`,
  repository(),
  "--all",
  "--source",
  "user@host:/volume",
  "--json",
];

async function dray(...args: string[]): Promise<string> {
  const place = args[0] === "import" ? [] : ["--repository", repository()];
  return (await run(process.execPath, [programEntry, ...args, ...place], { env, maxBuffer: 64 << 20 })).stdout;
}

/** Files of data that are whole: what is being written has another name. */
function packs(): number {
  const data = join(folder, "kopia", "p");
  if (!existsSync(data)) return 0;
  return readdirSync(data, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".f")).length;
}

/** Kills an import without warning once it has stored so many packs more than there are; whether it was there to be killed. */
async function importKilledAfter(more: number): Promise<boolean> {
  const wanted = packs() + more;
  const child = spawn(process.execPath, [programEntry, ...importing()], { env, stdio: "ignore" });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.on("exit", (_code, signal) => resolve(signal)));
  while (child.exitCode === null && packs() < wanted) await delay(2);
  child.kill("SIGKILL");
  return (await ended) === "SIGKILL";
}

it("is brought to its end by the next one, once, with every byte", async () => {
  for (const more of [0, 1, 2]) {
    expect(await importKilledAfter(more), `after ${more} packs`).toBe(true);
    expect(JSON.parse(await dray("snapshot", "list", "--json"))).toEqual([]);
  }
  expect(packs()).toBeGreaterThan(0);
  const done = JSON.parse((await dray(...importing())).trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
  expect(done).toMatchObject({ known: false, files: FILES, bytes: FILES * FILE_BYTES, errors: 0 });
  // Each file was read once in the end, and read back.
  expect(done["verifiedBytes"]).toBeGreaterThanOrEqual(FILES * FILE_BYTES);
  expect(JSON.parse((await dray(...importing())).trim().split("\n").at(-1) ?? "")).toMatchObject({
    known: true,
    snapshotID: done["snapshotID"],
    bytesUploaded: 0,
  });
  expect(JSON.parse(await dray("snapshot", "list", "--json"))).toHaveLength(1);
  await dray("snapshot", "restore", String(done["snapshotID"]), join(folder, "restored"));
  const { ".": _target, ...facts } = Object.fromEntries(treeFacts(join(folder, "restored")));
  const { ".": _source, ...wanted } = Object.fromEntries(treeFacts(join(folder, "source")));
  expect(facts).toEqual(wanted);
  expect(await dray("repo", "verify")).toContain("no problems");
}, 240_000);
