/** Restores from packs, as they are for users: with threads, from a store that can lose and damage what it holds. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemCalls } from "@drayage/kernels";
import {
  type ContentId,
  createRepository,
  type DirectoryEntry,
  DirectoryListing,
  findEntry,
  openRepository,
  parseSnapshotSource,
  type Repository,
} from "@drayage/repo";
import { FaultyStorage, faultAt, MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { uploadSnapshot } from "../upload/upload-snapshot.ts";
import type { RestoreLimits } from "./restore-context.ts";
import { restoreLimits } from "./restore-limits.ts";
import { type RestoreSnapshotOptions, restoreSnapshot } from "./restore-snapshot.ts";

const deriveKey = rememberingKeys();
const options = { password: "pw", deriveKey };
const snapshotSource = parseSnapshotSource("u@h:/data");
const MIB = 1 << 20;
/** Everything in steps of the smallest size that still goes on: each bound is met many times. */
const tiny: Partial<RestoreLimits> = { memoryBytes: 1, rangeBytes: 64 << 10, gapBytes: 0, windowTargets: 3, windowBytes: 1, openFiles: 1, openDirectories: 1 };
let folder: string;
let source: string;
let target: string;
let storage: MemoryStorage;
let root: DirectoryEntry;
let restores = 0;

/** A tree of all kinds, in a repository of several packs, since it grew between snapshots; nothing of it is changed by the tests. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "planned-"));
  source = join(folder, "source");
  storage = new MemoryStorage();
  const repository = await createRepository(storage, { ...options, format: { splitter: "FIXED-1M" } });
  mkdirSync(join(source, "many"), { recursive: true });
  for (let index = 0; index < 120; index++) {
    const sub = join(source, "many", String(index % 12));
    mkdirSync(sub, { recursive: true });
    writeFileSync(join(sub, `f${index}`), patternBytes(index * 40, index), { mode: 0o640 });
  }
  await uploadSnapshot({ repository, source: { kind: "directory", path: source }, snapshotSource });
  writeFileSync(join(source, "large"), patternBytes(5 * MIB + 3, 1000));
  writeFileSync(join(source, "shared-a"), "the same");
  writeFileSync(join(source, "shared-b"), "the same");
  await uploadSnapshot({ repository, source: { kind: "directory", path: source }, snapshotSource });
  writeFileSync(join(source, "large-again"), Buffer.concat([patternBytes(3 * MIB, 1000), patternBytes(MIB, 1001)]));
  writeFileSync(join(source, "many", "3", "late"), "late");
  writeFileSync(join(source, "zeros"), Buffer.alloc(3 * MIB));
  linkSync(join(source, "large"), join(source, "many", "linked"));
  linkSync(join(source, "many", "3", "f3"), join(source, "z-linked"));
  symlinkSync("../outside", join(source, "many", "link"));
  systemCalls.setXattr(join(source, "shared-a"), "user.x", Buffer.from("1"));
  ({ rootEntry: root } = await uploadSnapshot({ repository, source: { kind: "directory", path: source }, snapshotSource }));
  await repository.close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  target = join(folder, `target-${restores++}`);
});

const opened = (from: MemoryStorage | FaultyStorage): Promise<Repository> => openRepository(from, { ...options, readOnly: true });

async function restore(from: MemoryStorage | FaultyStorage, over: Partial<RestoreSnapshotOptions> = {}) {
  const repository = await opened(from);
  try {
    return await restoreSnapshot({ repository, root, target: { kind: "directory", path: target }, ...over });
  } finally {
    await repository.close();
  }
}

/** Everything about a tree that a restore brings back: facts of every entry, by path. */
function factsOf(path: string, name = ""): Record<string, string> {
  const at = join(path, name);
  const { mode, uid, gid, size, mtimeNs, nlink } = lstatSync(at, { bigint: true });
  const type = mode & 0o170000n;
  const data = type === 0o120000n ? readlinkSync(at) : type === 0o100000n ? readFileSync(at).toString("base64") : "";
  const xattrs = systemCalls.listXattrs(at).map(({ name: key, value }) => `${key}=${Buffer.from(value)}`);
  const facts = { [name]: [mode, uid, gid, type === 0o040000n ? 0 : size, mtimeNs, type === 0o040000n ? 0 : nlink, xattrs, data].join(" ") };
  if (type === 0o040000n) for (const child of readdirSync(at)) Object.assign(facts, factsOf(path, join(name, child)));
  return facts;
}

/** A copy of the store that can be damaged. */
async function copyOfStore(): Promise<MemoryStorage> {
  const copy = new MemoryStorage();
  for await (const { id } of storage.list("")) await copy.put(id, await storage.get(id));
  return copy;
}

/** The files that have a content in a pack. */
async function filesIn(pack: string): Promise<string[]> {
  const repository = await opened(storage);
  const files: string[] = [];
  const walk = async (directory: DirectoryEntry, path: string): Promise<void> => {
    for await (const entry of new DirectoryListing(repository.objects, directory.objectId).entries()) {
      const place = join(path, entry.name);
      if (entry.type === "directory") await walk(entry, place);
      else {
        for await (const { objectId, length } of repository.objects.chunks(entry.objectId)) {
          if (length > 0 && repository.contents.info(objectId as string as ContentId)?.packBlobId === pack) files.push(place);
        }
      }
    }
  };
  await walk(root, "");
  await repository.close();
  return [...new Set(files)].sort();
}

async function dataPacks(): Promise<string[]> {
  const packs: string[] = [];
  for await (const { id } of storage.list("p")) packs.push(id);
  return packs;
}

async function packOf(file: string): Promise<string> {
  for (const pack of await dataPacks()) if ((await filesIn(pack)).includes(file)) return pack;
  throw new Error("missing");
}

/** Every file and link below a place. */
function namesBelow(path: string, name = ""): string[] {
  return readdirSync(join(path, name), { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? namesBelow(path, join(name, entry.name)) : [join(name, entry.name)]))
    .sort();
}

describe("a planned restore", { timeout: 300_000 }, () => {
  it("gives the same tree for any number of threads and any bounds", async () => {
    const wanted = factsOf(source);
    const runs: Partial<RestoreSnapshotOptions>[] = [
      { limits: { threads: 0 } },
      { limits: { ...tiny, threads: 0 } },
      { parallel: 1 },
      { parallel: 3 },
      { parallel: 3, limits: tiny },
      { parallel: 2, verify: true },
      { parallel: 2, memoryBudget: 160 * MIB },
      { parallel: 2, cpu: 0.9 },
    ];
    for (const [index, run] of runs.entries()) {
      target = join(folder, `same-${index}`);
      const result = await restore(storage, run);
      expect(result, JSON.stringify(run)).toMatchObject({
        problems: [],
        warnings: [],
        progress: { bytesDone: root.summary?.size, filesDone: root.summary?.files },
      });
      expect(factsOf(target), JSON.stringify(run)).toEqual(wanted);
      rmSync(target, { recursive: true });
    }
  });

  it("says the least memory that would do, before anything is made", async () => {
    const refused = restore(storage, { memoryBudget: 160 * MIB - 1 });
    await expect(refused).rejects.toMatchObject({
      code: "USAGE",
      message: "Cannot keep to a memory budget of 159 MiB: 160 MiB is the least for a restore",
      hint: "Give --memory-budget 160 or more.",
    });
    expect(existsSync(target)).toBe(false);
  });

  it("starts no more threads than there are processors to be had", () => {
    const size = { expected: { bytes: 1 << 30, files: 9 }, parallel: 4 };
    expect([0.5, 1, 1.5, 8].map((cpu) => restoreLimits({ ...size, cpu }).threads)).toEqual([1, 1, 2, 4]);
  });

  it("fetches what it needs once and little more, with few requests", async () => {
    const { read } = await restore(storage);
    expect(read.bytesFetched / read.bytesNeeded).toBeLessThan(1.3);
    expect(read.requests).toBeLessThan(16);
    // Contents that files share are needed once.
    expect(read.bytesNeeded).toBeLessThan(8 * MIB);
  });

  it("a part of a snapshot costs a part of the reading", async () => {
    const repository = await opened(storage);
    const many = await findEntry(repository.objects, root.objectId, "many");
    const three = many && (await findEntry(repository.objects, many.objectId, "3"));
    if (three === undefined) throw new Error("missing");
    const { read } = await restoreSnapshot({ repository, root: three, target: { kind: "directory", path: target } });
    await repository.close();
    expect(readdirSync(target).sort()).toEqual(readdirSync(join(source, "many", "3")).sort());
    expect(read.requests).toBeLessThan(5);
    expect(read.bytesNeeded).toBeLessThan(40_000);
  });

  it("writes over what is there when that is allowed, as often as one likes", async () => {
    for (const threads of [0, 2]) await restore(storage, { overwrite: true, limits: { threads } });
    expect(factsOf(target)).toEqual(factsOf(source));
  });

  it("a content that a thousand files share is fetched once", async () => {
    const shared = join(folder, "shared");
    mkdirSync(shared);
    for (let index = 0; index < 1500; index++) writeFileSync(join(shared, `f${index}`), "all alike");
    const copy = await copyOfStore();
    const repository = await openRepository(copy, options);
    const { rootEntry } = await uploadSnapshot({ repository, source: { kind: "directory", path: shared }, snapshotSource });
    await repository.close();
    for (const limits of [{ threads: 2 }, { threads: 0, windowTargets: 400 }]) {
      rmSync(target, { recursive: true, force: true });
      const { read, progress } = await restore(copy, { root: rootEntry, limits });
      expect(read.requests).toBeLessThanOrEqual(5);
      expect(progress.filesDone).toBe(1500);
      for (const name of readdirSync(shared)) expect(readFileSync(join(target, name), "utf8")).toBe("all alike");
    }
  });
});

describe("a store that lost or damaged something", { timeout: 300_000 }, () => {
  it("a missing pack is told for exactly the files that need it, and the rest is restored", async () => {
    expect((await dataPacks()).length).toBeGreaterThan(2);
    for (const pack of await dataPacks()) {
      const broken = await copyOfStore();
      await broken.delete(pack);
      const lost = await filesIn(pack);
      for (const threads of [0, 2]) {
        rmSync(target, { recursive: true, force: true });
        const { problems, problemCount } = await restore(broken, { keepGoing: true, limits: { threads } });
        // A hard link to what is lost is lost with it.
        expect(problems.map(({ path }) => path).sort(), pack).toEqual(lost);
        expect(problemCount).toBe(lost.length);
        for (const { code, message } of problems) expect([code, message]).toEqual(["REPO_CORRUPT", expect.stringContaining(`its pack "${pack}" is missing`)]);
        expect(namesBelow(target)).toEqual(namesBelow(source).filter((name) => !lost.includes(name)));
      }
    }
  });

  it("a flipped byte costs the files of its content alone", async () => {
    const pack = await packOf("large");
    const broken = await copyOfStore();
    const bytes = await broken.get(pack);
    const repository = await opened(storage);
    let flipped: string | undefined;
    for (const info of repository.contents.list()) {
      if (info.packBlobId !== pack || info.originalLength < MIB) continue;
      bytes[info.packOffset + 100] = (bytes[info.packOffset + 100] ?? 0) ^ 1;
      flipped = info.id;
      break;
    }
    await repository.close();
    await broken.put(pack, bytes);
    const { problems } = await restore(broken, { keepGoing: true, parallel: 2 });
    expect(problems.length).toBeGreaterThan(0);
    for (const { message } of problems) expect(message).toContain(`Cannot read content "${flipped}" in pack "${pack}"`);
    const lost = problems.map(({ path }) => path);
    expect(namesBelow(target)).toEqual(namesBelow(source).filter((name) => !lost.includes(name)));
    await expect(restore(broken, { overwrite: true })).rejects.toMatchObject({ code: "REPO_CORRUPT" });
  });

  it("a pack that is cut off still gives what lies before the cut", async () => {
    const pack = await packOf("large");
    const broken = await copyOfStore();
    const bytes = await broken.get(pack);
    await broken.put(pack, bytes.subarray(0, bytes.length >> 1));
    const { problems } = await restore(broken, { keepGoing: true });
    expect(problems.length).toBeGreaterThan(0);
    const lost = problems.map(({ path }) => path);
    const inPack = await filesIn(pack);
    expect(inPack).toEqual(expect.arrayContaining(lost));
    expect(namesBelow(target)).toEqual(namesBelow(source).filter((name) => !lost.includes(name)));
  });

  it("a store that fails at any one call leaves no half file, and the next restore completes", async () => {
    const wanted = factsOf(source);
    for (let k = 1; ; k++) {
      const faulty = new FaultyStorage(storage, faultAt(k));
      const failed = await restore(faulty, { overwrite: true, limits: { threads: k % 2 } }).then(
        () => false,
        () => true,
      );
      if (failed) {
        // What is there is whole.
        const there = statSync(target, { throwIfNoEntry: false }) === undefined ? [] : namesBelow(target);
        for (const name of there) expect(lstatSync(join(target, name)).size, `call ${k}: ${name}`).toBe(lstatSync(join(source, name)).size);
        await restore(storage, { overwrite: true, limits: { threads: 0 } });
      }
      expect(factsOf(target), `call ${k}`).toEqual(wanted);
      rmSync(target, { recursive: true });
      if (faulty.calls < k) {
        expect(k).toBeGreaterThan(8);
        break;
      }
    }
  });

  it("ends within its threads when it is cancelled, and leaves nothing half written", async () => {
    const reason = new Error("enough");
    for (const afterReads of [1, 2, 4]) {
      const controller = new AbortController();
      const slow = await copyOfStore();
      const get = slow.get.bind(slow);
      let reads = 0;
      slow.get = (id, getOptions) => {
        if (id.startsWith("p") && ++reads === afterReads) controller.abort(reason);
        return get(id, getOptions);
      };
      await expect(restore(slow, { signal: controller.signal, parallel: 2, limits: { rangeBytes: MIB } })).rejects.toBe(reason);
      const there = statSync(target, { throwIfNoEntry: false }) === undefined ? [] : namesBelow(target);
      for (const name of there) expect(readFileSync(join(target, name)).equals(readFileSync(join(source, name)))).toBe(true);
      rmSync(target, { recursive: true, force: true });
    }
  });
});

// Only root mounts file systems; nothing else runs out of space in a way that can be relied on.
if (process.getuid?.() === 0) {
  describe("a target that is full in the middle", { timeout: 120_000 }, () => {
    it("ends the restore, named, even when it should keep going, and leaves no half file", async () => {
      for (const [threads, size] of [
        [0, "200k"],
        [2, "200k"],
        [2, "4m"],
      ] as const) {
        mkdirSync(target);
        execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "none", target]);
        try {
          const failed = restore(storage, { keepGoing: true, overwrite: true, limits: { threads } });
          await expect(failed, size).rejects.toMatchObject({ code: "PATH_NO_SPACE", message: expect.stringContaining("no space is left on the device") });
          for (const name of namesBelow(target)) {
            if (!lstatSync(join(target, name)).isFile()) continue;
            expect(readFileSync(join(target, name)).equals(readFileSync(join(source, name))), name).toBe(true);
          }
        } finally {
          execFileSync("umount", [target]);
          rmSync(target, { recursive: true });
        }
      }
    });
  });
}
