import { createHash } from "node:crypto";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { createRepository, type Repository } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { type GoldenName, goldenStore, openGolden } from "@drayage/restic/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ResticSource, resticRootOf } from "../restore/restic-source.ts";
import { restoreFrom, restoreSnapshot } from "../restore/restore-snapshot.ts";
import { findImported, type ImportResticOptions, type ImportResult, importResticSnapshot } from "./import-restic-snapshot.ts";

const SNAPSHOT_SOURCE = { userName: "default", host: "default", path: "shop/orders" };
type Store = Awaited<ReturnType<typeof goldenStore>>;

const deriveKey = rememberingKeys();

let folder: string;
let clock: VirtualClock;
let repository: Repository;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-import-"));
  clock = new VirtualClock();
  repository = await createRepository(new MemoryStorage(clock), { password: "of-today", deriveKey, clock, random: seededRandom(3) });
});
afterEach(async () => {
  await repository.close();
  rmSync(folder, { recursive: true, force: true });
});

async function importIt(name: GoldenName, options: Partial<ImportResticOptions> = {}, store?: Store): Promise<ImportResult> {
  const from = await openGolden(name, store);
  const snapshot = await from.findSnapshot("latest");
  return await importResticSnapshot({ from, snapshot, repository, snapshotSource: SNAPSHOT_SOURCE, clock, ...options });
}

/** Everything below a root: names as byte strings, attributes, bytes, and which names are of one file. */
function factsBelow(root: string): Record<string, string> {
  const facts: Record<string, string> = {};
  const firstName = new Map<bigint, string>();
  const walk = (path: string): void => {
    const names = readdirSync(Buffer.from(`${root}/${path}`, "latin1"), { encoding: "buffer" }).map((name) => name.toString("latin1"));
    for (const name of names.sort()) {
      const below = path + name;
      const at = Buffer.from(`${root}/${below}`, "latin1");
      const stat = lstatSync(at, { bigint: true });
      const bytes = stat.isFile() ? createHash("sha256").update(readFileSync(at)).digest("hex") : "";
      const target = stat.isSymbolicLink() ? readlinkSync(at, { encoding: "buffer" }).toString("latin1") : "";
      const of = stat.isDirectory() ? "" : (firstName.get(stat.ino) ?? below);
      firstName.set(stat.ino, of);
      facts[below] = [stat.mode, stat.uid, stat.gid, stat.isSymbolicLink() ? "" : stat.mtimeNs, bytes, target, of].join(" ");
      if (stat.isDirectory()) walk(`${below}/`);
    }
  };
  walk("");
  return facts;
}

async function flipByteOf(store: Store, file: string): Promise<void> {
  const from = await openGolden("v2", store);
  const source = new ResticSource(from);
  for await (const batch of source.list(resticRootOf(await from.findSnapshot("latest"))).batches()) {
    for (const { name, ref } of batch) {
      if (name !== file || ref === undefined || !("contents" in ref)) continue;
      const place = (await from.index()).place("data", ref.contents);
      const key = from.layout.pack(place?.pack ?? "");
      const bytes = await store.get(key);
      const at = (place?.offset ?? 0) + 20;
      await store.put(key, bytes.with(at, (bytes[at] ?? 0) ^ 1));
    }
  }
}

describe("a restic snapshot that was imported", () => {
  it.each<GoldenName>(["v1", "v2", "pruned"])("%s: restores from Kopia's repository as it does from restic's", async (name) => {
    const result = await importIt(name);
    expect(result).toMatchObject({ isKnown: false, problemCount: 0 });
    const from = await openGolden(name);
    const root = resticRootOf(await from.findSnapshot("latest"));
    await restoreFrom({ source: new ResticSource(from), root, target: { kind: "directory", path: join(folder, "then") } });
    await restoreSnapshot({ repository, root: result.rootEntry, target: { kind: "directory", path: join(folder, "now") } });
    const then = factsBelow(join(folder, "then"));
    expect(Object.keys(then).length).toBeGreaterThan(5);
    expect(factsBelow(join(folder, "now"))).toEqual(then);
  });

  it("was read back, and keeps the time and the size that it had", async () => {
    const result = await importIt("v2");
    const saved = await repository.snapshots.get(result.snapshotId);
    const snapshot = await (await openGolden("v2")).findSnapshot("latest");
    expect(saved).toMatchObject({ startTimeNs: snapshot.timeNs, stats: { fileCount: snapshot.summary?.files, totalSize: snapshot.summary?.bytes } });
    expect(result.verifiedBytes).toBeGreaterThan(0);
    expect(result.progress).toMatchObject({ phase: "done", bytesDone: snapshot.summary?.bytes, errors: 0 });
  });

  it("is not imported a second time, but read back again", async () => {
    const first = await importIt("v2");
    const second = await importIt("v2");
    expect(second).toMatchObject({ isKnown: true, snapshotId: first.snapshotId, bytes: first.bytes });
    expect(second.verifiedBytes).toBe(first.verifiedBytes);
    expect((await repository.snapshots.list()).snapshots).toHaveLength(1);
  });

  it("goes on from its checkpoint: files that were stored are not read again", async () => {
    const stop = new AbortController();
    // Time passes with every look at it, so that a checkpoint is soon due.
    let looks = 0;
    const hasty = Object.assign(new VirtualClock(), { monotonicMs: () => (looks += 25) });
    let saved = 0;
    const save = repository.snapshots.save.bind(repository.snapshots);
    repository.snapshots.save = async (content, signal) => {
      const id = await save(content, signal);
      if (content.incomplete !== undefined && ++saved === 1) stop.abort(new Error("killed"));
      return id;
    };
    await expect(importIt("v2", { checkpointEveryMs: 250, signal: stop.signal, clock: hasty })).rejects.toThrow("killed");
    repository.snapshots.save = save;
    const [left] = (await repository.snapshots.list()).snapshots;
    expect(left).toMatchObject({ incomplete: "checkpoint" });
    const result = await importIt("v2");
    expect(result.problemCount).toBe(0);
    // One is a hard link in any case.
    expect(result.cachedFiles).toBeGreaterThan(1);
    expect((await repository.snapshots.list()).snapshots.map(({ id, incomplete }) => [id, incomplete])).toEqual([[result.snapshotId, undefined]]);
  });
});

describe("a restic snapshot that is damaged", () => {
  it("is not imported, and the message names its files", async () => {
    const store = await goldenStore("v2");
    await flipByteOf(store, "compressible");
    await expect(importIt("v2", {}, store)).rejects.toMatchObject({ code: "REPO_CORRUPT", message: expect.stringContaining('"compressible": ') });
    expect((await repository.snapshots.list()).snapshots).toEqual([]);
  });

  it("is imported without them where that is wanted, and made anew once it is whole again", async () => {
    const store = await goldenStore("v2");
    await flipByteOf(store, "compressible");
    const part = await importIt("v2", { keepGoing: true }, store);
    // Its hard link is the same file.
    expect(part.problems.map(({ path }) => path).sort()).toEqual(["compressible", "dir/hard-link"]);
    expect((await repository.snapshots.get(part.snapshotId)).stats.errorCount).toBe(2);
    const whole = await importIt("v2");
    expect(whole).toMatchObject({ isKnown: false, problemCount: 0 });
    const snapshot = await (await openGolden("v2")).findSnapshot("latest");
    expect((await findImported(repository, SNAPSHOT_SOURCE, snapshot))?.id).toBe(whole.snapshotId);
  });
});
