/** What we repair, copy and upgrade, as kopia finds it. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DrayClient, drayClient } from "./dray-client.ts";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";

const PASSWORD = "correct horse";
let folder: string;
let data: string;
let count = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-kopia-repair-"));
  data = fresh("data");
  for (const name of ["a", "b", "c"]) writeFileSync(join(data, name), name.repeat(100));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fresh(name: string): string {
  const path = join(folder, `${name}-${++count}`);
  mkdirSync(path);
  return path;
}

async function client(path: string): Promise<KopiaClient> {
  const kopia = kopiaClient(fresh("kopia"), PASSWORD);
  await connectKopia(kopia, path);
  return kopia;
}

/** A repository of kopia's with two snapshots, the index in the old form or in epochs. */
async function repositoryOf(version: string): Promise<{ readonly path: string; readonly dray: DrayClient }> {
  const path = fresh("repository");
  const kopia = kopiaClient(fresh("kopia"), PASSWORD);
  const identity = ["--override-username=user", "--override-hostname=host"];
  await kopia("repository", "create", "filesystem", "--path", path, `--format-version=${version}`, ...identity);
  await kopia("snapshot", "create", data);
  writeFileSync(join(data, "d"), `d${version}`);
  await kopia("snapshot", "create", data);
  return { path, dray: drayClient(path, PASSWORD) };
}

function blobFiles(path: string, name: RegExp): string[] {
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name)).filter((file) => name.test(file.slice(path.length + 1).replaceAll("/", "")));
}

async function verifies(path: string, snapshots: number): Promise<void> {
  const kopia = await client(path);
  await kopia("snapshot", "verify", "--verify-files-percent=100");
  expect(JSON.parse(await kopia("snapshot", "list", "--all", "--json"))).toHaveLength(snapshots);
  await kopia("maintenance", "run", "--full", "--safety=none");
}

describe("kopia", () => {
  it.each(["1", "3"])("verifies what we made again from packs after all indexes were lost, format version %s", async (version) => {
    const { path, dray } = await repositoryOf(version);
    for (const file of blobFiles(path, version === "1" ? /^n/ : /^xn/)) rmSync(file);
    await dray("repo", "repair", "--rebuild-index");
    await verifies(path, 2);
  });

  it("verifies what we took from a copy, after we named what was lost", async () => {
    const { path, dray } = await repositoryOf("3");
    const [pack = ""] = blobFiles(path, /^p/);
    const copy = join(folder, `copy-${++count}`);
    cpSync(path, copy, { recursive: true });
    rmSync(pack);
    const planned = await dray("repo", "repair", "--dry-run", "--json").catch((error: Error) => error.message);
    expect(planned).toMatch(/"type":"lost"/);
    await dray("repo", "repair", "--from", `file://${copy}`);
    await verifies(path, 2);
  });

  it("works on with a copy of ours", async () => {
    const { path, dray } = await repositoryOf("3");
    const target = join(folder, `target-${++count}`);
    await dray("repo", "sync-to", `file://${target}`);
    await (await client(target))("snapshot", "create", data);
    await verifies(target, 3);
    await verifies(path, 2);
  });

  it.each(["1", "2"])("reads and writes on what we upgraded from format version %s", async (version) => {
    const { path, dray } = await repositoryOf(version);
    await dray("repo", "upgrade", "--safety", "none");
    const kopia = await client(path);
    expect(await kopia("repository", "status")).toMatch(/Format version: +3\n/);
    await kopia("snapshot", "create", data);
    await verifies(path, 3);
    expect(JSON.parse(await dray("snapshot", "list", "--json"))).toHaveLength(3);
    expect(await dray("repo", "verify", "--full")).toContain("no problems");
  });

  it("opens with the password that we changed, and no longer with the old one", async () => {
    const { path } = await repositoryOf("3");
    const file = join(fresh("secret"), "new");
    writeFileSync(file, "battery staple\n");
    await drayClient(path, PASSWORD)("repo", "change-password", "--new-password-file", file);
    await expect(client(path)).rejects.toThrow(/invalid repository password/);
    const kopia = kopiaClient(fresh("kopia"), "battery staple");
    await connectKopia(kopia, path);
    await kopia("snapshot", "verify", "--verify-files-percent=100");
  });
});
