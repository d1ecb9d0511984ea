/** Repositories that real restic writes, read by us: each format and compression, several keys, pruned, locked, damaged; what we restore is compared with what was stored and with what restic restores. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { chmodSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { nullLogger, systemClock } from "@drayage/base";
import { openDirectoryStore } from "@drayage/blob";
import { findInResticSnapshot, ResticSource, type RestoreFromOptions, type RestoreResult, resticRootOf, restoreFrom, verifyRestic } from "@drayage/datapath";
import { patternBytes } from "@drayage/datapath/testing";
import { startObjectStore } from "@drayage/embedded/object-store";
import { systemCalls } from "@drayage/kernels";
import { openResticRepository, type ResticRepository } from "@drayage/restic";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { programEntry } from "../program.ts";
import { peer } from "./peers.ts";
import { makePlainTree } from "./sample-tree.ts";
import { type Fact, treeFacts } from "./tree-facts.ts";

const run = promisify(execFile);
const PASSWORD = "correct horse";

let folder: string;
let source: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-restic-"));
  source = join(folder, "source");
  mkdirSync(source);
  makePlainTree(source);
  // What restic keeps beside.
  linkSync(join(source, "large"), join(source, "dir", "hard-link"));
  systemCalls.setXattr(join(source, "Z"), "user.drayage", patternBytes(1000, 5));
  systemCalls.setXattr(join(source, "dir"), "user.of-a-directory", Buffer.from("value"));
  systemCalls.makeNode(join(source, "pipe"), 0o010640, 0, 0);
  writeFileSync(Buffer.concat([Buffer.from(`${source}/not-utf8-`), Buffer.of(0xff, 0xe2, 0x82)]), "odd");
  symlinkSync(Buffer.of(0x2f, 0xff), join(source, "link-not-utf8"));
  writeFileSync(join(source, "text"), "compressible text\n".repeat(200_000));
  for (let index = 0; index < 500; index++) writeFileSync(join(source, "Über", `small-${index}`), `file ${index}\n`);
  chmodSync(join(source, "text"), 0o600);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function restic(
  repository: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly password?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const env = { ...process.env, RESTIC_PASSWORD: options.password ?? PASSWORD, GOMAXPROCS: "2", ...options.env };
  return (await run(peer("restic"), ["-r", repository, "--no-cache", "-q", ...args], { cwd: options.cwd ?? source, env, maxBuffer: 64 << 20 })).stdout;
}

const made = new Map<string, Promise<string>>();

/** A repository with the sample tree, made once. */
function makeRepository(name: string, version: number, ...backupOptions: string[]): Promise<string> {
  const make = async (): Promise<string> => {
    const path = join(folder, name);
    await restic(path, ["init", "--repository-version", String(version)]);
    await restic(path, ["backup", ...backupOptions, "."]);
    return path;
  };
  const making = made.get(name) ?? make();
  made.set(name, making);
  return making;
}

async function opened(path: string, password = PASSWORD): Promise<ResticRepository> {
  return await openResticRepository(await openDirectoryStore({ path }), { password });
}

async function restored(repository: ResticRepository, target: string, options: Partial<RestoreFromOptions> = {}): Promise<RestoreResult> {
  const snapshot = await repository.findSnapshot("latest");
  return await restoreFrom({
    ...{ source: new ResticSource(repository), root: resticRootOf(snapshot), keepRootAttributes: true },
    ...{ target: { kind: "directory", path: target }, ...options },
  });
}

/** Without the tree's own directory, of which restic keeps nothing; holes are as the file system likes them. */
function factsBelow(root: string): Record<string, unknown> {
  const { ".": _root, ...facts } = Object.fromEntries(treeFacts(root));
  return Object.fromEntries(Object.entries(facts).map(([path, { isSparse: _, ...fact }]: [string, Fact]) => [path, fact]));
}

describe("a restore of what restic stored", () => {
  const repositories: readonly (readonly [name: string, version: number, options: string[]])[] = [
    ["v1", 1, []],
    ["v2-auto", 2, []],
    ["v2-off", 2, ["--compression", "off"]],
    ["v2-max", 2, ["--compression", "max", "--pack-size", "4"]],
  ];
  it.each(repositories)("%s: is what it was, and what restic itself restores", async (name, version, options) => {
    const path = await makeRepository(name, version, ...options);
    const repository = await opened(path);
    const result = await restored(repository, join(folder, `${name}-ours`));
    expect([result.problems, result.warnings]).toEqual([[], []]);
    const ours = factsBelow(join(folder, `${name}-ours`));
    expect(ours).toEqual(factsBelow(source));
    await restic(path, ["restore", "latest", "--target", join(folder, `${name}-theirs`)]);
    expect(ours).toEqual(factsBelow(join(folder, `${name}-theirs`)));
    // Each pack is read about once, and hardly anything that is not wanted.
    expect(result.read.bytesFetched).toBeLessThan(result.read.bytesNeeded * 1.2 + (2 << 20));
    const { snapshots } = await repository.listSnapshots();
    for (const mode of ["quick", "full"] as const) expect(await verifyRestic({ repository, snapshots, mode })).toMatchObject({ problems: [], problemCount: 0 });
    for (const suffix of ["ours", "theirs"]) rmSync(join(folder, `${name}-${suffix}`), { recursive: true });
  });

  it("of a part is that part", async () => {
    const repository = await opened(await makeRepository("v2-auto", 2));
    const entry = await findInResticSnapshot(repository, await repository.findSnapshot("latest"), "dir/sub");
    await restoreFrom({ source: new ResticSource(repository), root: entry, target: { kind: "directory", path: join(folder, "part") } });
    expect(Object.fromEntries(treeFacts(join(folder, "part")))).toEqual(Object.fromEntries(treeFacts(join(source, "dir", "sub"))));
  });
});

describe("repositories with a history", () => {
  it("open with a key that was added, and no more with one that was removed", async () => {
    const path = await makeRepository("keys", 2);
    writeFileSync(join(folder, "new"), "second");
    await restic(path, ["key", "add", "--new-password-file", join(folder, "new")]);
    expect((await opened(path, "second")).keyId).not.toBe((await opened(path)).keyId);
    await restic(path, ["key", "remove", (await opened(path)).keyId], { password: "second" });
    await expect(opened(path)).rejects.toMatchObject({ code: "REPO_WRONG_PASSWORD" });
    rmSync(path, { recursive: true });
  });

  it("restore after a prune has rewritten their packs, also while an older index was in memory", async () => {
    const path = join(folder, "pruned");
    await restic(path, ["init"]);
    const volume = join(folder, "volume");
    mkdirSync(volume);
    for (const generation of [1, 2, 3]) {
      for (let index = 0; index < 20; index++)
        writeFileSync(join(volume, `file-${index}`), patternBytes(50_000, index < 10 ? index : generation * 100 + index));
      await restic(path, ["backup", "."], { cwd: volume });
    }
    const before = await opened(path);
    await before.index();
    await restic(path, ["forget", "--keep-last", "1", "--prune", "--repack-small", "--max-unused", "0"]);
    for (const [name, repository] of Object.entries({ before, after: await opened(path) })) {
      const { problems } = await restored(repository, join(folder, `pruned-${name}`));
      expect(problems).toEqual([]);
      expect(factsBelow(join(folder, `pruned-${name}`))).toEqual(factsBelow(volume));
    }
    expect((await (await opened(path)).listSnapshots()).snapshots).toHaveLength(1);
  });

  it("say who is at work on them", async () => {
    const path = join(folder, "locked");
    await restic(path, ["init"]);
    const child = spawn(peer("restic"), ["-r", path, "--no-cache", "-q", "backup", "--stdin"], {
      env: { ...process.env, RESTIC_PASSWORD: PASSWORD },
      stdio: ["pipe", "ignore", "ignore"],
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    try {
      await expect.poll(() => readdirSync(join(path, "locks")).length, { timeout: 30_000 }).toBe(1);
      expect(await (await opened(path)).listLocks()).toMatchObject([{ exclusive: false, pid: child.pid }]);
    } finally {
      child.stdin?.end("the end");
      await ended;
    }
    expect(await (await opened(path)).listLocks()).toEqual([]);
  });
});

describe("a damaged repository", () => {
  it("gives back every file that is whole, and names the others, as restic's own check finds them", async () => {
    const path = await makeRepository("damaged", 2, "--pack-size", "4");
    const packs = readdirSync(join(path, "data"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const first = await opened(path);
    const nodeOf = async (name: string) => (await findInResticSnapshot(first, await first.findSnapshot("latest"), name)).ref;
    const ref = await nodeOf("large");
    const place = (await first.index()).place("data", ref !== undefined && "contents" in ref ? ref.contents : new Uint8Array(32));
    const damaged = packs.find((pack) => pack.endsWith(place?.pack ?? "-")) ?? "";
    chmodSync(damaged, 0o600);
    const bytes = readFileSync(damaged);
    bytes[(place?.offset ?? 0) + 100] = (bytes[(place?.offset ?? 0) + 100] ?? 0) ^ 1;
    writeFileSync(damaged, bytes);
    await expect(restic(path, ["check", "--read-data"])).rejects.toThrow(place?.pack.slice(0, 8) ?? "-");
    const { problems } = await restored(await opened(path), join(folder, "damaged-ours"), { keepGoing: true });
    expect(problems.map((problem) => problem.path).sort()).toEqual(["dir/hard-link", "large"]);
    for (const { message } of problems) expect(message).toContain(place?.pack ?? "-");
    const { large: _large, "dir/hard-link": _link, ...whole } = factsBelow(source);
    expect(factsBelow(join(folder, "damaged-ours"))).toEqual(whole);
    const { snapshots } = await first.listSnapshots();
    const report = await verifyRestic({ repository: await opened(path), snapshots, mode: "full" });
    expect(report.problems.map((problem) => problem.path.split("/").slice(1).join("/")).sort()).toEqual(
      [`${place?.pack.slice(0, 2)}/${place?.pack}`, "dir/hard-link", "large"].sort(),
    );
  });
});

describe("the command line", () => {
  const KEYS = { accessKeyId: "compat", secretAccessKey: "nobody's secret" };
  it("lists, prints, searches, verifies and restores what restic put into a bucket", async () => {
    const store = await startObjectStore({
      directory: join(folder, "s3"),
      buckets: ["bucket"],
      credentials: KEYS,
      region: "us-east-1",
      clock: systemClock,
      logger: nullLogger,
    });
    try {
      const env = { AWS_ACCESS_KEY_ID: KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey, AWS_DEFAULT_REGION: "us-east-1" };
      const repository = `s3:${store.url}/bucket/openshift-adp/x-pvc`;
      await restic(repository, ["init"], { env });
      await restic(repository, ["backup", "--host", "volsync", "--tag", "nightly", "."], { env });
      const url = `restic+s3://bucket/openshift-adp/x-pvc?endpoint=${store.url}&pathStyle=true`;
      const dray = async (...args: string[]): Promise<string> =>
        (
          await run(process.execPath, [programEntry, ...args], {
            env: { ...process.env, ...env, DRAY_REPOSITORY: url, RESTIC_PASSWORD: PASSWORD },
            maxBuffer: 64 << 20,
          })
        ).stdout;
      expect(JSON.parse(await dray("snapshot", "list", "--json"))).toMatchObject([
        { source: { host: "volsync" }, rootEntry: { summ: { files: expect.any(Number) as number } } },
      ]);
      expect(await dray("fs", "cat", "latest:/dir/sub/deep/file")).toHaveLength(readFileSync(join(source, "dir/sub/deep/file"), "utf8").length);
      expect(await dray("fs", "find", "latest:/", "--name", "small-49*")).toContain("/Über/small-499\n");
      expect(await dray("fs", "ls", "-l", "latest:/dir")).toMatch(/^-rwsr-xr-x \d+:\d+ +1 .* setuid$/m);
      expect(await dray("repo", "status")).toContain("restic, version 2");
      expect(await dray("repo", "verify", "--full")).toContain("no problems");
      await dray("snapshot", "restore", "latest", join(folder, "from-s3"));
      expect(factsBelow(join(folder, "from-s3"))).toEqual(factsBelow(source));
      await expect(dray("snapshot", "create", source)).rejects.toMatchObject({
        stderr: expect.stringContaining("what restic wrote is only read here") as string,
      });
    } finally {
      await store.close();
    }
  });
});

it("nothing is written to a repository that is read", async () => {
  const path = await makeRepository("v2-auto", 2);
  const listing = (): string => execFileSync("find", [path, "-printf", "%p %s %T@\\n"], { encoding: "utf8" });
  const before = listing();
  const repository = await opened(path);
  await restored(repository, join(folder, "unchanged"));
  expect(listing()).toBe(before);
  expect(statSync(join(path, "locks")).isDirectory()).toBe(true);
});
