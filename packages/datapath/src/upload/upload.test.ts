import {
  appendFileSync,
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { type SystemCalls, systemCalls } from "@drayage/kernels";
import { type DirectoryEntry, DirectoryListing, loadDirectory, type ObjectId, parseSnapshotSource, type Repository } from "@drayage/repo";
import { memoryRepository } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DataPathProgress } from "../progress.ts";
import { patternBytes } from "../testing/index.ts";
import { type UploadSnapshotOptions, uploadSnapshot } from "./upload-snapshot.ts";

const snapshotSource = parseSnapshotSource("user@host:/data");
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "upload-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function upload(repository: Repository, options: Partial<UploadSnapshotOptions> = {}) {
  return uploadSnapshot({ repository, source: { kind: "directory", path: root }, snapshotSource, clock: repository.clock, ...options });
}

async function list(repository: Repository, id: ObjectId): Promise<DirectoryEntry[]> {
  return await loadDirectory(repository.objects, id, 1000);
}

async function bytesOf(repository: Repository, entry: DirectoryEntry | undefined): Promise<Buffer> {
  return Buffer.from(await repository.objects.read(entry?.objectId ?? ("" as ObjectId), 64 << 20));
}

describe("uploadSnapshot", () => {
  it("stores directories first, then the rest by bytes, with modes, times and link targets", async () => {
    const { repository } = memoryRepository();
    mkdirSync(join(root, "z"));
    writeFileSync(join(root, "z", "inner"), "inner");
    writeFileSync(join(root, "b"), "bytes");
    writeFileSync(join(root, "A"), "");
    writeFileSync(join(root, "é"), "accent");
    symlinkSync("nowhere/é", join(root, "link"));
    chmodSync(join(root, "b"), 0o4751);
    utimesSync(join(root, "b"), 1_700_000_000.123, 1_700_000_000.123);
    lutimesSync(join(root, "link"), 5, 7);
    const result = await upload(repository);
    const entries = await list(repository, result.rootEntry.objectId);
    expect(entries.map((entry) => [Buffer.from(entry.name, "latin1").toString(), entry.type, entry.size])).toEqual([
      ["z", "directory", 0],
      ["A", "file", 0],
      ["b", "file", 5],
      ["link", "symlink", 10],
      ["é", "file", 6],
    ]);
    expect(entries[2]).toMatchObject({ mode: 0o4751 });
    expect(entries[3]?.mtimeNs).toBe(7_000_000_000n);
    expect((await bytesOf(repository, entries[3])).toString()).toBe("nowhere/é");
    expect(result.rootEntry.summary).toMatchObject({ size: 16, files: 4, symlinks: 1, directories: 2, failed: 0 });
    expect(result.stats).toMatchObject({ totalSize: 16, fileCount: 4, cachedFiles: 0, nonCachedFiles: 4, dirCount: 2, errorCount: 0 });
  });

  it("saves a manifest that is found by source and tags, after a flush", async () => {
    const { repository, contents } = memoryRepository();
    const { snapshotId } = await upload(repository, { tags: { "snapshot-requester": "x" }, description: "why", pins: ["keep"], policy: "velero" });
    expect(contents.flushes).toBe(1);
    const again = memoryRepository({ contents, random: seededRandom(77) }).repository;
    expect((await again.snapshots.list({ source: snapshotSource, tags: { "snapshot-requester": "x" } })).snapshots).toMatchObject([
      { id: snapshotId, description: "why", pins: ["keep"] },
    ]);
    const policies = await again.manifests.find({ type: "policy", policyType: "path", path: "/data" });
    expect(policies).toHaveLength(1);
    await upload(again, { policy: "velero" });
    expect(await again.manifests.find({ type: "policy", policyType: "path", path: "/data" })).toEqual(policies);
  });

  it("a second upload opens no unchanged file and gives the same listing", async () => {
    const { repository, contents } = memoryRepository();
    mkdirSync(join(root, "sub"));
    for (const name of ["a", "b", "sub/c"]) writeFileSync(join(root, name), patternBytes(300_000, 1));
    const first = await upload(repository);
    writeFileSync(join(root, "b"), "changed");
    const before = contents.writes.length;
    const second = await upload(repository);
    expect(second.parentId).toBe(first.snapshotId);
    expect(second.stats).toMatchObject({ fileCount: 3, cachedFiles: 2, nonCachedFiles: 1 });
    expect([first.changedBytes, second.changedBytes]).toEqual([900_000, "changed".length]);
    // The changed file, the two listings, the manifest.
    expect(contents.writes.length - before).toBe(4);
    const [sub] = await list(repository, second.rootEntry.objectId);
    expect(sub?.objectId).toBe((await list(repository, first.rootEntry.objectId))[0]?.objectId);
  });

  it.each([
    ["another mode", (path: string) => chmodSync(path, 0o600)],
    ["another time", (path: string) => utimesSync(path, 1, 1)],
    ["another size", (path: string) => truncateSync(path, 3)],
  ])("a file with %s is read again", async (_, change) => {
    const { repository } = memoryRepository();
    writeFileSync(join(root, "a"), "12345", { mode: 0o644 });
    await upload(repository);
    change(join(root, "a"));
    expect((await upload(repository)).stats.cachedFiles).toBe(0);
  });

  it("a file whose content the repository has lost is read again", async () => {
    const { repository, contents } = memoryRepository();
    writeFileSync(join(root, "a"), "12345");
    const first = await upload(repository);
    const [entry] = await list(repository, first.rootEntry.objectId);
    contents.lose(entry?.objectId as never);
    expect((await upload(repository)).stats.cachedFiles).toBe(0);
  });

  it("parents of other tags are not taken, nor any when none is wanted", async () => {
    const { repository } = memoryRepository();
    writeFileSync(join(root, "a"), "12345");
    const first = await upload(repository, { tags: { "snapshot-requester": "a" } });
    expect((await upload(repository, { tags: { "snapshot-requester": "b" } })).parentId).toBeUndefined();
    expect((await upload(repository, { tags: { "snapshot-requester": "a" }, parent: "none" })).parentId).toBeUndefined();
    expect((await upload(repository, { tags: { "snapshot-requester": "b" }, parent: { id: first.snapshotId } })).stats.cachedFiles).toBe(1);
    expect((await upload(repository, { parent: { id: "0".repeat(32) } })).parentId).toBeUndefined();
  });

  it("names of one file share a group and are read once", async () => {
    const { repository, contents } = memoryRepository();
    writeFileSync(join(root, "a"), patternBytes(10_000, 2));
    mkdirSync(join(root, "sub"));
    linkSync(join(root, "a"), join(root, "b"));
    linkSync(join(root, "a"), join(root, "sub", "c"));
    const { rootEntry } = await upload(repository);
    const [sub, a, b] = await list(repository, rootEntry.objectId);
    const [c] = await list(repository, sub?.objectId as ObjectId);
    expect(new Set([a, b, c].map((entry) => entry?.extension?.linkGroup)).size).toBe(1);
    expect(a?.extension?.linkGroup).toMatch(/^\d+$/);
    expect(new Set([a, b, c].map((entry) => entry?.objectId)).size).toBe(1);
    expect(contents.writes.filter(({ length }) => length === 10_000)).toHaveLength(1);
  });

  it("a file that is replaced while it is met is no name of the file that it was", async () => {
    const { repository, contents } = memoryRepository();
    writeFileSync(join(root, "a"), "the old file");
    for (const name of ["b", "c"]) linkSync(join(root, "a"), join(root, name));
    await upload(repository);
    utimesSync(join(root, "a"), 1, 1);
    // The parent's listing is read between looking at the first file and opening it.
    const get = contents.get.bind(contents);
    contents.get = (id, signal) => {
      if (id.startsWith("k")) {
        contents.get = get;
        writeFileSync(join(root, "new"), "quite another");
        renameSync(join(root, "new"), join(root, "a"));
      }
      return get(id, signal);
    };
    const result = await upload(repository);
    const [a, b, c] = await list(repository, result.rootEntry.objectId);
    expect((await bytesOf(repository, a)).toString()).toBe("quite another");
    expect((await bytesOf(repository, b)).toString()).toBe("the old file");
    expect(a?.extension?.linkGroup).toBeUndefined();
    expect(b?.extension?.linkGroup).toBeDefined();
    expect(c?.extension?.linkGroup).toBe(b?.extension?.linkGroup);
  });

  it("holes are noted, and the object is that of the same bytes without holes", async () => {
    const { repository } = memoryRepository();
    const fd = openSync(join(root, "sparse"), "w");
    ftruncateSync(fd, 9 << 20);
    const data = patternBytes(70_000, 3);
    writeSync(fd, data, 0, data.length, 4 << 20);
    closeSync(fd);
    const plain = Buffer.alloc(9 << 20);
    plain.set(data, 4 << 20);
    writeFileSync(join(root, "filled"), plain);
    const { rootEntry } = await upload(repository);
    const [filled, sparse] = await list(repository, rootEntry.objectId);
    expect(sparse?.objectId).toBe(filled?.objectId);
    expect(sparse?.extension?.holes?.[0]).toEqual({ offset: 0, length: 4 << 20 });
    expect((await bytesOf(repository, sparse)).equals(plain)).toBe(true);
    expect(filled?.extension).toBeUndefined();
  });

  it("a large file that is sparse costs no hashing of its holes", async () => {
    const { repository, contents } = memoryRepository();
    const fd = openSync(join(root, "sparse"), "w");
    ftruncateSync(fd, 1 << 30);
    closeSync(fd);
    const { rootEntry } = await upload(repository);
    const [entry] = await list(repository, rootEntry.objectId);
    expect(entry).toMatchObject({ size: 1 << 30, extension: { holes: [{ offset: 0, length: 1 << 30 }] } });
    expect(contents.writes.length).toBeLessThan(20);
    expect(await repository.objects.length(entry?.objectId as ObjectId)).toBe(1 << 30);
  });

  it("names that are not UTF-8 keep their bytes", async () => {
    const { repository } = memoryRepository();
    writeFileSync(Buffer.concat([Buffer.from(`${root}/a`), Buffer.of(0xff)]), "odd");
    const { rootEntry } = await upload(repository);
    const [entry] = await list(repository, rootEntry.objectId);
    expect(Buffer.from(entry?.name ?? "", "latin1")).toEqual(Buffer.from([0x61, 0xff]));
    expect((await bytesOf(repository, entry)).toString()).toBe("odd");
  });

  it("a FIFO is kept beside the entries that Kopia knows, and not waited for", async () => {
    const { repository } = memoryRepository();
    systemCalls.makeNode(join(root, "pipe"), 0o010644, 0, 0);
    const { rootEntry } = await upload(repository);
    const listing = new DirectoryListing(repository.objects, rootEntry.objectId);
    for await (const _ of listing.batches()) expect.unreachable();
    expect(listing.extension.special).toMatchObject([{ name: "pipe", kind: "fifo", mode: 0o644 }]);
    expect(rootEntry.summary).toMatchObject({ files: 0 });
  });

  it("a single file is a snapshot of its own", async () => {
    const { repository } = memoryRepository();
    writeFileSync(join(root, "one"), "content");
    const { rootEntry, stats } = await upload(repository, { source: { kind: "directory", path: join(root, "one") } });
    expect(rootEntry).toMatchObject({ name: "one", type: "file", size: 7, summary: { files: 1, directories: 0, size: 7 } });
    expect(stats).toMatchObject({ fileCount: 1, dirCount: 0 });
  });

  it("many directories deep is not too deep", async () => {
    const { repository } = memoryRepository();
    const deep = join(root, ...Array.from({ length: 200 }, (_, level) => `level-with-a-long-name-${level}`).slice(0, 150));
    mkdirSync(deep, { recursive: true });
    writeFileSync(join(deep, "bottom"), "!");
    expect((await upload(repository)).stats).toMatchObject({ fileCount: 1, dirCount: 151 });
  });
});

describe("what goes wrong while uploading", () => {
  const failing = (match: string, error: () => unknown): SystemCalls => ({
    ...systemCalls,
    listXattrs: (path) => {
      if (Buffer.from(path).toString().endsWith(match)) throw error();
      return systemCalls.listXattrs(path);
    },
  });

  it("a file that cannot be opened is a problem of the result, and the rest is kept", async () => {
    const { repository } = memoryRepository();
    writeFileSync(join(root, "good"), "1");
    // Opening it fails for root too, unlike a mode of 000: there is no such device.
    systemCalls.makeNode(join(root, "sub"), 0o010600, 0, 0);
    rmSync(join(root, "sub"));
    writeFileSync(join(root, "bad"), "2");
    const system = { ...systemCalls, dataExtents: () => [] };
    truncateSync(join(root, "bad"), 1 << 21);
    const broken: SystemCalls = {
      ...system,
      dataExtents: () => {
        throw new DrayError("PATH_IO", "Cannot find", { context: { errno: "EIO" } });
      },
    };
    const result = await upload(repository, { system: broken });
    expect(result.problems).toMatchObject([
      { path: "bad", code: "PATH_IO", message: `Cannot find the holes of "${join(root, "bad")}": the device reports an input/output error` },
    ]);
    expect((await list(repository, result.rootEntry.objectId)).map((entry) => entry.name)).toEqual(["good"]);
    expect(result.rootEntry.summary).toMatchObject({ failed: 1, errors: [{ path: "bad" }] });
    expect(result.stats.errorCount).toBe(1);
    expect(result.progress).toMatchObject({ phase: "done", errors: 1 });
  });

  /** Does something to the volume while the attributes of an entry are listed: after it was opened, before it was read. */
  const meanwhile = (match: string, work: () => void): SystemCalls => ({
    ...systemCalls,
    listXattrs: (path) => {
      if (Buffer.from(path).toString().endsWith(match)) work();
      return [];
    },
  });

  it.each([
    ["small", 1000],
    ["large", 5 << 20],
  ])("a %s file that grows is stored as long as it was, with a warning", async (_, size) => {
    const { repository } = memoryRepository();
    const path = join(root, "log");
    writeFileSync(path, patternBytes(size, 8));
    const result = await upload(repository, { system: meanwhile("/log", () => appendFileSync(path, "more")) });
    const [entry] = await list(repository, result.rootEntry.objectId);
    expect(entry?.size).toBe(size);
    expect((await bytesOf(repository, entry)).equals(patternBytes(size, 8))).toBe(true);
    expect(result).toMatchObject({ problems: [], warnings: [{ path: "log", message: "changed while it was read" }] });
  });

  it.each([
    ["small", 1000],
    ["large", 5 << 20],
  ])("a %s file that shrinks is stored as short as it became, with a warning", async (_, size) => {
    const { repository } = memoryRepository();
    const path = join(root, "log");
    writeFileSync(path, patternBytes(size, 8));
    const result = await upload(repository, { system: meanwhile("/log", () => truncateSync(path, 100)) });
    const [entry] = await list(repository, result.rootEntry.objectId);
    expect(entry?.size).toBe(100);
    expect((await bytesOf(repository, entry)).equals(patternBytes(100, 8))).toBe(true);
    expect(result.warnings).toMatchObject([{ path: "log", message: `shrank from ${size} to 100 bytes while it was read` }]);
  });

  it("entries that vanish are warnings, not failures", async () => {
    const { repository } = memoryRepository();
    writeFileSync(join(root, "a"), "1");
    writeFileSync(join(root, "b"), "2");
    const result = await upload(repository, { system: meanwhile("/a", () => rmSync(join(root, "b"))) });
    expect(result).toMatchObject({
      problems: [],
      warnings: [{ path: "b", message: "vanished while the directory was read" }],
      stats: { fileCount: 1, errorCount: 0 },
    });
  });

  it("a directory that is swapped for a link to elsewhere is not followed", async () => {
    const { repository } = memoryRepository();
    const outside = mkdtempSync(join(tmpdir(), "outside-"));
    writeFileSync(join(outside, "secret"), "not of this volume");
    for (const name of ["a", "b", "c"]) mkdirSync(join(root, name));
    try {
      const swap = meanwhile("/a", () => {
        for (const name of ["b", "c"]) rmSync(join(root, name), { recursive: true, force: true });
        symlinkSync(outside, join(root, "b"));
        writeFileSync(join(root, "c"), "a file by now");
      });
      let swapped = false;
      const system: SystemCalls = {
        ...swap,
        listXattrs: (path) => {
          if (swapped) return [];
          swapped = true;
          return swap.listXattrs(path);
        },
      };
      const result = await upload(repository, { system });
      expect((await list(repository, result.rootEntry.objectId)).map((entry) => entry.name)).toEqual(["a"]);
      expect(result.warnings.map((warning) => warning.path)).toEqual(["b", "c"]);
    } finally {
      rmSync(outside, { recursive: true });
    }
  });

  it("attributes that cannot be read are a warning", async () => {
    const { repository } = memoryRepository();
    writeFileSync(join(root, "a"), "1");
    const system = failing("/a", () => new DrayError("NOT_PERMITTED", "Cannot list", { context: { errno: "EACCES" } }));
    const result = await upload(repository, { system });
    expect(result.problems).toEqual([]);
    expect(result.warnings).toMatchObject([{ path: "a" }]);
    expect(result.stats.fileCount).toBe(1);
  });

  it("a root that is not there is named", async () => {
    const { repository, contents } = memoryRepository();
    await expect(upload(repository, { source: { kind: "directory", path: join(root, "missing") } })).rejects.toThrow(
      expect.objectContaining({ code: "PATH_NOT_FOUND", message: `Cannot open "${join(root, "missing")}": it is not there` }),
    );
    expect(contents.writes).toEqual([]);
  });

  it("a file passed as a block device is refused", async () => {
    const { repository } = memoryRepository();
    writeFileSync(join(root, "a"), "1");
    await expect(upload(repository, { source: { kind: "block", path: join(root, "a") } })).rejects.toThrow("as a block device: it is none");
  });

  it("errors of the repository end the upload and save nothing", async () => {
    const { repository, contents } = memoryRepository();
    writeFileSync(join(root, "a"), "1");
    writeFileSync(join(root, "large"), patternBytes(2 << 20, 4));
    contents.write = () => Promise.reject(new DrayError("BLOB_UNAVAILABLE", "the store went away"));
    await expect(upload(repository)).rejects.toThrow("the store went away");
    expect((await repository.snapshots.list()).snapshots).toEqual([]);
  });

  it("an aborted signal ends it with its reason, and nothing is saved", async () => {
    const { repository } = memoryRepository();
    for (let index = 0; index < 200; index++) writeFileSync(join(root, `file-${index}`), String(index));
    const controller = new AbortController();
    const reason = new Error("enough");
    const onProgress = (progress: DataPathProgress) => {
      if (progress.phase === "transferring") controller.abort(reason);
    };
    await expect(upload(repository, { signal: controller.signal, onProgress })).rejects.toBe(reason);
    expect((await repository.snapshots.list()).snapshots).toEqual([]);
  });

  it("an aborted signal leaves a checkpoint of what was stored, which the next run goes on from", async () => {
    const clock = new VirtualClock();
    const { repository, contents } = memoryRepository({ clock });
    for (const name of ["a", "b", "c"]) {
      mkdirSync(join(root, name));
      writeFileSync(join(root, name, "done"), patternBytes(200_000, name.charCodeAt(0)));
    }
    writeFileSync(join(root, "large"), patternBytes(30 << 20, 7));
    const controller = new AbortController();
    const reason = new Error("enough");
    const write = contents.write.bind(contents);
    let writes = 0;
    contents.write = (data, options, signal) => {
      if (++writes === 30) controller.abort(reason);
      return write(data, options, signal);
    };
    await expect(upload(repository, { signal: controller.signal })).rejects.toBe(reason);
    const { snapshots } = await repository.snapshots.list();
    expect(snapshots.map(({ incomplete }) => incomplete)).toEqual(["checkpoint"]);
    contents.write = write;
    clock.jump(1_000);
    const successor = memoryRepository({ contents, clock, random: seededRandom(78) }).repository;
    const { stats, snapshotId } = await upload(successor);
    expect(stats).toMatchObject({ fileCount: 4, cachedFiles: 3 });
    expect((await successor.snapshots.list()).snapshots.map(({ id }) => id)).toEqual([snapshotId]);
  });

  it("an aborted signal does not wait for a store that does not answer", async () => {
    const clock = new VirtualClock();
    const { repository, contents } = memoryRepository({ clock });
    writeFileSync(join(root, "large"), patternBytes(30 << 20, 7));
    const controller = new AbortController();
    const reason = new Error("enough");
    let writes = 0;
    const write = contents.write.bind(contents);
    contents.write = (data, options, signal) => {
      if (++writes < 10) return write(data, options, signal);
      controller.abort(reason);
      // Time passes once the walk, and who saves the checkpoint, wait for the store.
      setImmediate(() => void clock.advance(500));
      return new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason as Error)));
    };
    await expect(upload(repository, { signal: controller.signal })).rejects.toBe(reason);
    expect((await repository.snapshots.list()).snapshots).toEqual([]);
  });

  it("a fence that has fallen keeps the manifest from being saved", async () => {
    const { repository } = memoryRepository();
    const fence = () => Promise.reject(new Error("somebody else took over"));
    await expect(upload(repository, { fence })).rejects.toThrow("somebody else took over");
    expect((await repository.snapshots.list()).snapshots).toEqual([]);
  });
});

describe("checkpoints", () => {
  it("what is uploaded is reachable after a while, without tags, and gone when the snapshot is there", async () => {
    const clock = new VirtualClock();
    const { repository, contents } = memoryRepository({ clock });
    mkdirSync(join(root, "dir"));
    writeFileSync(join(root, "dir", "early"), "early");
    writeFileSync(join(root, "large"), patternBytes(13 << 20, 5));
    const seen: unknown[] = [];
    const write = contents.write.bind(contents);
    contents.write = async (data, options, signal) => {
      clock.jump(1_000);
      const written = await write(data, options, signal);
      const { snapshots } = await repository.snapshots.list();
      const checkpoint = snapshots.find((snapshot) => snapshot.incomplete !== undefined);
      if (checkpoint?.rootEntry !== undefined) seen.push([checkpoint.tags, checkpoint.rootEntry.summary?.incomplete]);
      return written;
    };
    const result = await upload(repository, { checkpointEveryMs: 10_000, tags: { "snapshot-requester": "x" } });
    expect(seen[0]).toEqual([{}, "checkpoint"]);
    expect((await repository.snapshots.list()).snapshots.map((snapshot) => snapshot.id)).toEqual([result.snapshotId]);
  });

  it("one that may not be saved now is left out, and the upload goes on", async () => {
    const clock = new VirtualClock();
    const { repository, contents } = memoryRepository({ clock });
    writeFileSync(join(root, "large"), patternBytes(13 << 20, 5));
    const write = contents.write.bind(contents);
    let incomplete = 0;
    contents.write = async (data, options, signal) => {
      clock.jump(1_000);
      incomplete += (await repository.snapshots.list()).snapshots.filter((snapshot) => snapshot.incomplete !== undefined).length;
      return write(data, options, signal);
    };
    let asked = 0;
    const fence = async (before: "checkpoint" | "snapshot"): Promise<void> => {
      if (before === "snapshot") return;
      asked++;
      throw new DrayError("KUBE_UNAVAILABLE", "Cannot get the object: nobody answers");
    };
    const result = await upload(repository, { checkpointEveryMs: 10_000, fence });
    expect(asked).toBeGreaterThan(1);
    expect(incomplete).toBe(0);
    expect((await repository.snapshots.list()).snapshots.map((snapshot) => snapshot.id)).toEqual([result.snapshotId]);
  });

  it("the next run goes on from the checkpoint of one that was killed", async () => {
    const clock = new VirtualClock();
    const { repository, contents } = memoryRepository({ clock });
    mkdirSync(join(root, "dir"));
    writeFileSync(join(root, "dir", "done"), patternBytes(200_000, 6));
    writeFileSync(join(root, "large"), patternBytes(30 << 20, 7));
    const write = contents.write.bind(contents);
    let writes = 0;
    contents.write = (data, options, signal) => {
      clock.jump(1_000);
      if (++writes > 120) return Promise.reject(new Error("killed"));
      return write(data, options, signal);
    };
    await expect(upload(repository, { checkpointEveryMs: 10_000 })).rejects.toThrow("killed");
    contents.write = write;
    const successor = memoryRepository({ contents, clock, random: seededRandom(77) }).repository;
    const [checkpoint] = (await successor.snapshots.list()).snapshots;
    expect(checkpoint?.incomplete).toBe("checkpoint");
    const entries = await list(successor, checkpoint?.rootEntry?.objectId as ObjectId);
    expect(entries.map((entry) => entry.name)).toEqual(["dir", expect.stringMatching(/^\.checkpointed\.large\.[0-9a-f-]{36}$/)]);
    expect(entries[1]?.size).toBeGreaterThan(0);
    clock.jump(1_000);
    const result = await upload(successor);
    expect(result.stats).toMatchObject({ fileCount: 2, cachedFiles: 1 });
    expect((await successor.snapshots.list()).snapshots.map((snapshot) => snapshot.id)).toEqual([result.snapshotId]);
  });
});
