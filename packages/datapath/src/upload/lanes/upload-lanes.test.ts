import {
  appendFileSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { systemCalls } from "@drayage/kernels";
import { createRepository, openRepository, parseSnapshotSource, type Repository } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { restoreSnapshot } from "../../restore/restore-snapshot.ts";
import { patternBytes } from "../../testing/index.ts";
import { verifySnapshots } from "../../verify/verify-snapshot.ts";
import { type UploadSnapshotOptions, uploadSnapshot } from "../upload-snapshot.ts";
import type { FromThread, ToThread } from "./jobs.ts";

const deriveKey = rememberingKeys();
const snapshotSource = parseSnapshotSource("u@h:/data");
const template = new MemoryStorage();
let folder: string;
let source: string;

beforeAll(async () => {
  await (await createRepository(template, { password: "pw", deriveKey })).close();
  folder = mkdtempSync(join(tmpdir(), "lanes-"));
  source = join(folder, "source");
  for (const name of ["many", "deep/er/est"]) mkdirSync(join(source, name), { recursive: true });
  for (let i = 0; i < 700; i++) writeFileSync(join(source, "many", `file ${i}`), patternBytes(i * 13, i % 600));
  writeFileSync(join(source, "deep", "er", "est", "ümlaut <&>"), "odd");
  writeFileSync(Buffer.from(`${source}/deep/\xff`, "latin1"), "odder");
  writeFileSync(join(source, "large 1"), patternBytes(17 << 20, 1));
  writeFileSync(join(source, "large 2"), Buffer.concat([patternBytes(9 << 20, 2), Buffer.alloc(7 << 20), patternBytes(1 << 20, 3)]));
  // The same bytes once more: one of the threads comes second.
  writeFileSync(join(source, "large 3"), patternBytes(17 << 20, 1));
  const sparse = openSync(join(source, "sparse"), "w");
  writeSync(sparse, patternBytes(4096, 4), 0, 4096, 6 << 20);
  closeSync(sparse);
  truncateSync(join(source, "sparse"), 40 << 20);
  linkSync(join(source, "many", "file 5"), join(source, "other name of 5"));
  symlinkSync("nowhere", join(source, "link"));
  systemCalls.setXattr(join(source, "many", "file 7"), "user.note", patternBytes(20));
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }), 60_000);
afterEach(() => vi.unstubAllEnvs());

async function newRepository(options: { readonly packBytesInFlightMax?: number } = {}): Promise<Repository> {
  const copy = new MemoryStorage();
  for await (const { id } of template.list("")) await copy.put(id, await template.get(id));
  return await openRepository(copy, { password: "pw", deriveKey, ...options });
}

const upload = (repository: Repository, options: Partial<UploadSnapshotOptions> = {}) =>
  uploadSnapshot({ repository, source: { kind: "directory", path: source }, snapshotSource, ...options });

describe("uploads in threads", { timeout: 240_000 }, () => {
  it("give the same objects for any number of threads, with and without the addon, and without lanes", async () => {
    const seen = new Map<string, unknown>();
    const note = async (name: string, options: Partial<UploadSnapshotOptions>, withLanes = true): Promise<void> => {
      const repository = await newRepository();
      if (!withLanes) Object.assign(repository.contents, { openLanes: undefined });
      const { rootEntry, stats, progress, problems, warnings } = await upload(repository, options);
      const stored = repository.contents.list({ prefix: "" });
      const contents = [...stored].map(({ id, originalLength }) => `${id} ${originalLength}`).sort();
      seen.set(name, { id: rootEntry.objectId, summary: rootEntry.summary, stats, problems, warnings, contents, done: progress.bytesDone });
      await repository.close();
    };
    await note("one thread, no lanes", {}, false);
    await note("no threads", { parallel: 0 });
    await note("two threads", { parallel: 2 });
    await note("compressed", { parallel: 2, compressor: "zstd-fastest" });
    vi.stubEnv("DRAY_KERNELS", "portable");
    await note("three portable threads", { parallel: 3, memoryBudget: 1 << 30 });
    const [reference, ...others] = [...seen.values()];
    for (const [i, other] of others.entries()) expect([[...seen.keys()][i + 1], other]).toEqual([[...seen.keys()][i + 1], reference]);
  });

  it("give the same objects where this thread does a part of many small files beside them, and then leaves large ones to them", async () => {
    const many = join(folder, "many small");
    for (let i = 0; i < 18; i++) {
      mkdirSync(join(many, `d${i}`), { recursive: true });
      // Every second content is there twice, in another directory.
      for (let j = 0; j < 120; j++) writeFileSync(join(many, `d${i}`, `f${j}`), patternBytes(900 + j, j % 2 === 0 ? i >> 1 : i));
    }
    mkdirSync(join(many, "e"));
    for (const i of [1, 2]) writeFileSync(join(many, "e", `large ${i}`), patternBytes(26 << 20, i));
    const seen: unknown[] = [];
    for (const parallel of [0, 1, 2, 3]) {
      const repository = await newRepository();
      const { rootEntry, stats, progress, problems } = await upload(repository, {
        source: { kind: "directory", path: many },
        parallel,
        memoryBudget: 1 << 30,
      });
      const contents = [...repository.contents.list({ prefix: "" })].map(({ id, originalLength }) => `${id} ${originalLength}`).sort();
      seen.push({ id: rootEntry.objectId, stats, problems, contents, done: progress.bytesDone, known: progress.bytesDeduplicated });
      await repository.close();
    }
    expect(seen.slice(1)).toEqual([seen[0], seen[0], seen[0]]);
  });

  it("have memory for packs of their own beside this one's, also while the storage takes none", async () => {
    const many = join(folder, "many packs");
    mkdirSync(many);
    // Enough that other threads are wanted, and four packs.
    for (let i = 0; i < 1700; i++) writeFileSync(join(many, `f${i}`), patternBytes(50_000, i));
    // One pack on its way, as on a local file system.
    const repository = await newRepository({ packBytesInFlightMax: 24 << 20 });
    const { put } = repository.storage;
    let takePacks: () => void = () => undefined;
    const willTakePacks = new Promise<void>((resolve) => {
      takePacks = resolve;
    });
    vi.spyOn(repository.storage, "put").mockImplementation(async (id, ...rest) => {
      if (id.startsWith("p")) await willTakePacks;
      return await put.call(repository.storage, id, ...rest);
    });
    let uploaded = 0;
    const uploading = upload(repository, {
      source: { kind: "directory", path: many },
      parallel: 2,
      onProgress: ({ bytesUploaded }) => {
        uploaded = bytesUploaded;
      },
    });
    // Two packs are all that one thread fills where it has every other's memory. How much of the third is filled depends on how many files wait for the thread that has none.
    await vi.waitFor(() => expect(uploaded).toBeGreaterThan(42 << 20), { timeout: 60_000, interval: 50 });
    takePacks();
    expect((await uploading).problems).toEqual([]);
    await repository.close();
  });

  it("store each content once, and what they stored restores and verifies", async () => {
    const repository = await newRepository();
    const result = await upload(repository, { parallel: 2, memoryBudget: 192 << 20 });
    expect(result.progress.bytesDeduplicated).toBeGreaterThanOrEqual(17 << 20);
    const [snapshot] = (await repository.snapshots.list()).snapshots;
    expect(await verifySnapshots({ repository, snapshots: snapshot === undefined ? [] : [snapshot], mode: "full" })).toMatchObject({ problemCount: 0 });
    const target = join(folder, "restored");
    await restoreSnapshot({ repository, root: result.rootEntry, target: { kind: "directory", path: target } });
    for (const name of ["large 1", "large 2", "sparse", "many/file 699"])
      expect(readFileSync(join(target, name)).equals(readFileSync(join(source, name)))).toBe(true);
    await repository.close();
  });

  it("take unchanged files over, and read those that changed", async () => {
    const repository = await newRepository();
    const first = await upload(repository, { parallel: 2 });
    appendFileSync(join(source, "many", "file 9"), "more");
    const second = await upload(repository, { parallel: 2 });
    expect(second.stats).toMatchObject({ fileCount: first.stats.fileCount, nonCachedFiles: 1 });
    const again = await upload(repository, { parallel: 2, parent: "none" });
    expect(again.rootEntry.objectId).toBe(second.rootEntry.objectId);
    await repository.close();
  });

  it("end within a second of an abort, and the next run goes on from the checkpoint", async () => {
    const repository = await newRepository();
    const controller = new AbortController();
    const reason = new Error("enough");
    const flush = repository.flush.bind(repository);
    // As soon as a checkpoint is durable.
    repository.flush = async (signal) => {
      await flush(signal);
      controller.abort(reason);
    };
    await expect(upload(repository, { parallel: 2, checkpointEveryMs: 0, signal: controller.signal })).rejects.toBe(reason);
    repository.flush = flush;
    const { snapshots } = await repository.snapshots.list();
    expect(snapshots.map(({ incomplete }) => incomplete)).toEqual(["checkpoint"]);
    const result = await upload(repository, { parallel: 2 });
    expect(result.problems).toEqual([]);
    expect((await repository.snapshots.list()).snapshots.map(({ id }) => id)).toEqual([result.snapshotId]);
    await repository.close();
  });

  it("have one long range before them and no more, and of shorter ones the next", async () => {
    const piece = patternBytes(1 << 20, 5);
    /** The most messages with jobs that one of two threads has before it while five files of so many MiB are stored. */
    const mostBefore = async (mib: number): Promise<number> => {
      const path = join(folder, `files of ${mib} MiB`);
      mkdirSync(path);
      for (let i = 0; i < 5; i++) for (let k = 0; k < mib; k++) appendFileSync(join(path, `file ${i}`), piece);
      let most = 0;
      const onWorker = (worker: Worker): void => {
        let before = 0;
        const post = worker.postMessage.bind(worker);
        vi.spyOn(worker, "postMessage").mockImplementation((message: ToThread) => {
          if (message.kind === "jobs") most = Math.max(most, ++before);
          post(message);
        });
        worker.prependListener("message", ({ kind }: FromThread) => {
          if (kind === "ended") before--;
        });
      };
      process.on("worker", onWorker);
      const repository = await newRepository();
      await upload(repository, { source: { kind: "directory", path }, parallel: 2, memoryBudget: 1 << 30 });
      process.off("worker", onWorker);
      await repository.close();
      rmSync(path, { recursive: true });
      return most;
    };
    expect(await mostBefore(65)).toBe(1);
    expect(await mostBefore(30)).toBe(2);
  });

  it("end by themselves, also where they are still being started", async () => {
    const codes: number[] = [];
    let started = 0;
    const onWorker = (worker: Worker): void => {
      started++;
      worker.on("exit", (code) => codes.push(code));
    };
    process.on("worker", onWorker);
    vi.stubEnv("DRAY_KERNELS", "portable");
    const repository = await newRepository();
    const target = join(folder, "restored in threads");
    const { rootEntry } = await upload(repository, { parallel: 3, memoryBudget: 1 << 30 });
    await restoreSnapshot({ repository, root: rootEntry, target: { kind: "directory", path: target }, parallel: 2 });
    const controller = new AbortController();
    process.once("worker", () => controller.abort(new Error("enough")));
    await expect(upload(repository, { parallel: 3, parent: "none", memoryBudget: 1 << 30, signal: controller.signal })).rejects.toThrow("enough");
    process.off("worker", onWorker);
    await vi.waitFor(() => expect(codes.length).toBe(started));
    expect(started).toBeGreaterThanOrEqual(5);
    // 1 is that of a thread that is stopped.
    expect(new Set(codes)).toEqual(new Set([0]));
    await repository.close();
  });

  it("say how much memory would do when they are given too little", async () => {
    const repository = await newRepository();
    await expect(upload(repository, { memoryBudget: 64 << 20 })).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringMatching(/^Cannot keep to a memory budget of 64 MiB: 1\d\d MiB is the least for this repository$/),
    });
    await repository.close();
  });
});
