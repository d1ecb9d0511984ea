import { DrayError, hasCode, isDrayError, utf8 } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { BlobStorage } from "@drayage/blob";
import { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { describe, expect, it } from "vitest";
import { Contents } from "../content/contents.ts";
import type { ContentId } from "../content-port.ts";
import { openAes } from "../format/key-hierarchy.ts";
import { openRepositoryFormat } from "../format/repository-format.ts";
import { ObjectWriter } from "../object/object-writer.ts";
import { createRepository, openRepository } from "../open-repository.ts";
import type { Repository } from "../repository.ts";
import { DirectoryListing, DirectoryListingWriter } from "../snapshot/directory-listing.ts";
import { emptyStats } from "../snapshot/snapshot-manifest.ts";
import { GOLDEN_PASSWORD, golden, goldenBlobs } from "../testing/golden.ts";
import { decodeMaintenanceParameters, maintainRepository } from "./maintain-repository.ts";
import { maintenanceParameters } from "./maintenance-parameters.ts";
import { decodeSchedule, encodeSchedule, loadSchedule, type MaintenanceRun, noSchedule, withRun } from "./maintenance-schedule.ts";
import { mayDeletePacks, mayRewrite, safeDropTime } from "./pack-tasks.ts";
import { fullSafety, noSafety } from "./safety.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PASSWORD = "hunter2";

interface World {
  readonly storage: FaultyStorage;
  readonly clock: VirtualClock;
  readonly repository: Repository;
  readonly contents: Contents;
}

async function newWorld(): Promise<World> {
  const clock = new VirtualClock(Date.UTC(2026, 10, 21));
  const storage = new FaultyStorage(new MemoryStorage(clock));
  const repository = await createRepository(storage, { password: PASSWORD, clock, random: seededRandom(3) });
  return { storage, clock, repository, contents: contentsOf(repository) };
}
function contentsOf(repository: Repository): Contents {
  if (!(repository.contents instanceof Contents)) throw new Error("no contents");
  return repository.contents;
}

/** Saves a snapshot of a directory with one file of this text; returns its id and the content of the file. */
async function saveSnapshot({ repository, clock }: Pick<World, "repository" | "clock">, text: string): Promise<{ id: string; file: ContentId }> {
  const file = new ObjectWriter(repository.objectWriters, {});
  await file.write(utf8(text));
  const { objectId } = await file.finish();
  const listing = new DirectoryListingWriter(repository.objectWriters);
  const common = { mode: 0o644, mtimeNs: 5n, uid: 0, gid: 0 };
  await listing.add({ ...common, name: "file", type: "file", size: text.length, objectId });
  const { objectId: root, summary } = await listing.finish({ mtimeNs: 5n });
  const id = await repository.snapshots.save({
    source: { host: "default", userName: "default", path: "/data" },
    description: "",
    startTimeNs: clock.nowNs(),
    endTimeNs: clock.nowNs(),
    stats: emptyStats,
    rootEntry: { ...common, name: "data", type: "directory", size: 0, objectId: root, summary },
    tags: {},
    pins: [],
  });
  await repository.flush();
  return { id, file: objectId as string as ContentId };
}

async function readSnapshot(repository: Repository, id: string): Promise<string> {
  const { rootEntry } = await repository.snapshots.get(id);
  if (rootEntry === undefined) throw new Error("no root");
  for await (const entry of new DirectoryListing(repository.objects, rootEntry.objectId).entries()) {
    return Buffer.from(await repository.objects.read(entry.objectId, 1 << 20)).toString();
  }
  return "";
}

async function namesOf(storage: FaultyStorage, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of storage.list(prefix)) names.push(id);
  return names;
}
const reopen = ({ storage, clock }: World): Promise<Repository> => openRepository(storage, { password: PASSWORD, clock });
const run = (startMs: number, success = true, lastedMs = 0): MaintenanceRun => ({
  startMs,
  endMs: startMs + lastedMs,
  success,
  error: success ? "" : "no",
  extra: [],
});

describe("kopia.maintenance", () => {
  it("of kopia is read, and written back as it was", async () => {
    for (const name of ["tiny-v3", "tiny-v1"] as const) {
      const clock = new VirtualClock();
      const storage = new MemoryStorage(clock);
      for (const [id, bytes] of goldenBlobs(golden.repositories.items[name])) await storage.put(id, bytes);
      const format = await openRepositoryFormat(storage, { password: GOLDEN_PASSWORD, clock });
      const plain = openAes(format.maintenanceKey, utf8("maintenance"), await storage.get("kopia.maintenance")) ?? new Uint8Array();
      const schedule = decodeSchedule(plain);
      expect(schedule.runs.get("cleanup-logs")?.[0]?.success).toBe(true);
      // Our times have milliseconds, kopia's nanoseconds: the text is compared without what is below a millisecond.
      const trimmed = (text: string): string =>
        text
          .replace(/(\.\d{3})\d+Z/g, "$1Z")
          .replace(/\.?0+Z/g, "Z")
          .replace(/:Z/g, ":00Z")
          .replace(/:(\d)Z/g, ":$10Z");
      expect(trimmed(Buffer.from(encodeSchedule(schedule)).toString())).toBe(trimmed(Buffer.from(plain).toString()));
    }
    const vector = golden.formatBlob["scrypt-65536-8-1"]["kopia.maintenance plaintext"];
    expect(Buffer.from(encodeSchedule(decodeSchedule(utf8(vector)))).toString()).toBe(vector);
  });

  it("answers every prefix and every flipped byte with a typed error or a schedule", () => {
    const plain = encodeSchedule(withRun({ ...noSchedule, nextFullMs: 5 }, "snapshot-gc", { ...run(5), extra: [{ kind: "x", data: { big: 2n ** 60n } }] }));
    expect(Buffer.from(plain).toString()).toContain("1152921504606846976");
    for (let at = 0; at < plain.length; at++) {
      expect(() => decodeSchedule(plain.subarray(0, at))).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
      const damaged = plain.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 0x04;
      try {
        decodeSchedule(damaged);
      } catch (error) {
        expect(hasCode(error, "REPO_CORRUPT")).toBe(true);
      }
    }
  });

  it("that cannot be decrypted says what to do, and keeps 50 runs of a task", async () => {
    const { storage, contents } = await newWorld();
    await storage.put("kopia.maintenance", utf8("truncated"));
    await expect(loadSchedule(storage, contents.format)).rejects.toMatchObject({ code: "REPO_CORRUPT", hint: expect.stringContaining("delete the blob") });
    let schedule = noSchedule;
    for (let i = 0; i < 60; i++) schedule = withRun(schedule, "cleanup-logs", run(i));
    expect([schedule.runs.get("cleanup-logs")?.length, schedule.runs.get("cleanup-logs")?.[0]?.startMs]).toEqual([50, 59]);
  });
});

describe("the history", () => {
  it("allows moving contents only when the packs that the last move emptied were looked at", () => {
    const moved = withRun(noSchedule, "full-rewrite-contents", run(10));
    expect([
      mayRewrite(noSchedule),
      mayRewrite(moved),
      mayRewrite(withRun(moved, "full-delete-blobs", run(5))),
      mayRewrite(withRun(moved, "full-delete-blobs", run(11))),
    ]).toEqual([true, false, false, true]);
    expect(mayRewrite(withRun(noSchedule, "full-rewrite-contents", run(10, false)))).toBe(true);
  });

  it("allows deleting packs an hour after contents were moved", () => {
    const moved = withRun(noSchedule, "full-rewrite-contents", run(0, true, 1000));
    const at = (nowMs: number) => ({ startedMs: nowMs, nowMs, safety: fullSafety });
    expect([mayDeletePacks(moved, at(HOUR_MS)), mayDeletePacks(moved, at(HOUR_MS + 1000)), mayDeletePacks(noSchedule, at(0))]).toEqual([false, true, true]);
  });

  it("makes deletions final up to an hour before a collection that a later one confirmed", () => {
    const times = (...runs: MaintenanceRun[]) => runs.reduce((schedule, one) => withRun(schedule, "snapshot-gc", one), noSchedule);
    const first = 100 * HOUR_MS;
    expect(safeDropTime(noSchedule, fullSafety)).toBeUndefined();
    expect(safeDropTime(times(run(first)), fullSafety)).toBeUndefined();
    expect(safeDropTime(times(run(first), run(first + 4 * HOUR_MS)), fullSafety)).toBeUndefined();
    expect(safeDropTime(times(run(first), run(first + 4 * HOUR_MS + 1)), fullSafety)).toBe((first - HOUR_MS) / 1000);
    expect(safeDropTime(times(run(first), run(first + 5 * HOUR_MS, false)), fullSafety)).toBeUndefined();
    expect(safeDropTime(times(run(first)), noSafety)).toBe(first / 1000);
  });
});

describe("full maintenance", () => {
  it("gives back, after days, the space of a snapshot that was deleted, and never that of one that is kept", async () => {
    const world = await newWorld();
    const kept = await saveSnapshot(world, "kept");
    const gone = await saveSnapshot(world, "gone");
    const pack = world.contents.info(gone.file)?.packBlobId ?? "";
    await world.repository.snapshots.delete(gone.id);
    await world.repository.flush();
    const seen: string[] = [];
    for (let day = 0; day < 6; day++) {
      await maintainRepository(world.repository, { mode: "full" });
      const reader = await reopen(world);
      expect(await readSnapshot(reader, kept.id)).toBe("kept");
      const info = reader.contents.info(gone.file);
      seen.push(info === undefined ? "unknown" : info.deleted ? "deleted" : "live");
      await reader.close();
      world.clock.jump(DAY_MS + HOUR_MS);
    }
    expect(seen).toEqual(["live", "deleted", "deleted", "deleted", "unknown", "unknown"]);
    expect(await namesOf(world.storage, "p")).not.toContain(pack);
    // What was thrown away is written anew by who needs it again.
    expect((await world.repository.contents.write(utf8("gone"))).isNew).toBe(true);
  });

  it("takes back a deletion when a snapshot turns out to need the content", async () => {
    const world = await newWorld();
    const { id, file } = await saveSnapshot(world, "needed");
    world.clock.jump(2 * DAY_MS);
    await world.contents.delete(file);
    await world.contents.flush();
    const report = await maintainRepository(world.repository, { mode: "full" });
    expect(report.tasks.find(({ task }) => task === "snapshot-gc")?.figures).toMatchObject({ snapshots: 1, undeleted: 1, deleted: 0 });
    const reader = await reopen(world);
    expect(reader.contents.info(file)?.deleted).toBe(false);
    expect(await readSnapshot(reader, id)).toBe("needed");
  });

  it("moves the contents of packs that are mostly empty into one", async () => {
    const world = await newWorld();
    const snapshots = [];
    for (let i = 0; i < 5; i++) snapshots.push(await saveSnapshot(world, `text ${i}`));
    const before = (await namesOf(world.storage, "p")).length;
    world.clock.jump(3 * HOUR_MS);
    const first = await maintainRepository(world.repository, { mode: "full" });
    expect(first.tasks.find(({ task }) => task === "full-rewrite-contents")?.figures).toMatchObject({
      packs: expect.any(Number),
      contents: expect.any(Number),
    });
    expect(first.tasks.find(({ task }) => task === "full-delete-blobs")?.skipped).toContain("a short while ago");
    for (let day = 0; day < 3; day++) {
      world.clock.jump(DAY_MS + HOUR_MS);
      await maintainRepository(world.repository, { mode: "full" });
    }
    const after = (await namesOf(world.storage, "p")).length;
    expect([before, after]).toEqual([5, 1]);
    const reader = await reopen(world);
    for (const [i, { id }] of snapshots.entries()) expect(await readSnapshot(reader, id)).toBe(`text ${i}`);
  });

  it("keeps the packs of a session that lives, and deletes those of one that died", async () => {
    const world = await newWorld();
    const writer = contentsOf(await reopen(world));
    await writer.write(utf8("not yet indexed"));
    // Stores pack and marker, and fails at the index: what a writer that is killed leaves behind.
    world.storage.plan = ({ operation, id }) => (operation === "put" && id.startsWith("xn") ? { kind: "fail" } : undefined);
    await expect(writer.flush()).rejects.toThrow(DrayError);
    world.storage.plan = undefined;
    expect((await namesOf(world.storage, "s")).length).toBe(1);
    const packs = async (): Promise<number> => (await namesOf(world.storage, "p")).length;
    for (const [hours, left] of [
      [25, 1],
      [70, 1],
      // The marker has expired; packs are looked at in every other run only, since this one moved contents.
      [3, 1],
      [2, 0],
    ] as const) {
      world.clock.jump(hours * HOUR_MS);
      await maintainRepository(world.repository, { mode: "full" });
      expect(await packs()).toBe(left);
    }
    expect(await namesOf(world.storage, "s")).toEqual([]);
  });

  it("takes a marker that a store cut off for what its name says, and its packs for those of a session that lives until it has expired", async () => {
    const world = await newWorld();
    const writer = contentsOf(await reopen(world));
    await writer.write(utf8("not yet indexed"));
    world.storage.plan = ({ operation, id }) => (operation === "put" && id.startsWith("xn") ? { kind: "fail" } : undefined);
    await expect(writer.flush()).rejects.toThrow(DrayError);
    world.storage.plan = undefined;
    const [marker = ""] = await namesOf(world.storage, "s");
    await world.storage.put(marker, (await world.storage.get(marker)).subarray(0, 20));
    const left: [packs: number, markers: number][] = [];
    for (const hours of [25, 70, 3, 2]) {
      world.clock.jump(hours * HOUR_MS);
      await maintainRepository(world.repository, { mode: "full" });
      left.push([(await namesOf(world.storage, "p")).length, (await namesOf(world.storage, "s")).length]);
    }
    expect(left.slice(0, 2)).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(left.at(-1)).toEqual([0, 0]);
  });

  it("keeps the packs of a session that ends while it looks", async () => {
    const world = await newWorld();
    const writer = contentsOf(await reopen(world));
    const { id } = await writer.write(utf8("indexed at the last moment"));
    world.storage.plan = ({ operation, id: blob }) => (operation === "put" && blob.startsWith("xn") ? { kind: "fail" } : undefined);
    await expect(writer.flush()).rejects.toThrow(DrayError);
    world.storage.plan = undefined;
    world.clock.jump(25 * HOUR_MS);
    // Packs are deleted in every other run, since this one moved contents.
    await maintainRepository(world.repository, { mode: "full" });
    world.clock.jump(2 * HOUR_MS);
    // The writer comes back: it stores its index and takes its marker away, just before maintenance asks for markers.
    let hasEnded = false;
    const list = world.storage.list.bind(world.storage);
    world.storage.list = async function* (prefix, signal) {
      if (prefix === "s" && !hasEnded) {
        hasEnded = true;
        await writer.flush();
      }
      yield* list(prefix, signal);
    };
    await maintainRepository(world.repository, { mode: "full" });
    expect(hasEnded).toBe(true);
    expect(Buffer.from(await contentsOf(await reopen(world)).get(id)).toString()).toBe("indexed at the last moment");
  });

  it("knows the snapshots that others saved since it was opened", async () => {
    const world = await newWorld();
    await world.repository.snapshots.list();
    const { file } = await saveSnapshot({ repository: await reopen(world), clock: world.clock }, "of another client");
    world.clock.jump(25 * HOUR_MS);
    await maintainRepository(world.repository, { mode: "full" });
    expect(contentsOf(await reopen(world)).info(file)?.deleted).toBe(false);
  });

  it("stops when it cannot know what a snapshot needs", async () => {
    const world = await newWorld();
    await world.repository.manifests.put({ type: "snapshot", hostname: "h", username: "u", path: "/" }, `{"rootEntry":{"obj":"nonsense"}}`);
    await world.repository.flush();
    await expect(maintainRepository(world.repository, { mode: "full" })).rejects.toMatchObject({
      code: "REPO_CORRUPT",
      message: expect.stringContaining("Cannot collect garbage"),
    });
    const schedule = await loadSchedule(world.storage, world.contents.format);
    expect(schedule.runs.get("snapshot-gc")?.[0]).toMatchObject({ success: false, error: expect.stringContaining("Cannot collect garbage") });
  });

  it("stops when a snapshot needs what is not there", async () => {
    const world = await newWorld();
    const { file } = await saveSnapshot(world, "lost");
    world.clock.jump(DAY_MS * 3);
    await world.contents.delete(file);
    await world.contents.flush();
    await world.storage.put(`xw${Math.floor(world.clock.nowMs() / 1000) + 5}`, utf8("deletion-watermark"));
    const report = maintainRepository(world.repository, { mode: "full" });
    await expect(report).rejects.toMatchObject({ code: "REPO_CONTENT_NOT_FOUND" });
  });

  it("changes nothing in a dry run", async () => {
    const world = await newWorld();
    const { id } = await saveSnapshot(world, "text");
    await world.repository.snapshots.delete(id);
    await world.repository.flush();
    world.clock.jump(2 * DAY_MS);
    const calls = world.storage.calls;
    const report = await maintainRepository(world.repository, { mode: "full", dryRun: true });
    expect(report.tasks.find(({ task }) => task === "snapshot-gc")?.figures["deleted"]).toBe(2);
    expect(world.storage.history.slice(calls).filter(({ operation }) => operation === "put" || operation === "delete")).toEqual([]);
  });

  it("deletes nothing while a writer's clock is off, and goes on when it is right", async () => {
    const world = await newWorld();
    const { id } = await saveSnapshot(world, "text");
    await world.repository.snapshots.delete(id);
    await world.repository.flush();
    world.clock.jump(2 * DAY_MS);
    // Its clock is 26 hours ahead of ours and of the storage's.
    const ahead = await openRepository(world.storage, { password: PASSWORD, clock: new VirtualClock(world.clock.nowMs() + 26 * HOUR_MS) });
    await ahead.contents.write(utf8("from tomorrow"));
    await ahead.flush();
    const before = await namesOf(world.storage, "");
    await expect(maintainRepository(world.repository, { mode: "full" })).rejects.toMatchObject({
      code: "REPO_CLOCK_SKEW",
      message: expect.stringMatching(/a writer's clock was 936\d\d s ahead of the storage's/) as string,
    });
    expect((await namesOf(world.storage, "")).filter((name) => name !== "kopia.maintenance")).toEqual(before.filter((name) => name !== "kopia.maintenance"));
    world.clock.jump(27 * HOUR_MS);
    // One that is at work, 26 hours behind: its marker says so.
    const behind = await openRepository(world.storage, { password: PASSWORD, clock: new VirtualClock(world.clock.nowMs() - 26 * HOUR_MS) });
    const lasting = contentsOf(behind);
    world.storage.plan = ({ operation, id: blobId }) => (operation === "delete" && blobId.startsWith("s") ? { kind: "fail" } : undefined);
    await lasting.write(utf8("from yesterday"));
    await lasting.flush();
    world.storage.plan = undefined;
    await expect(maintainRepository(world.repository, { mode: "full" })).rejects.toMatchObject({
      code: "REPO_CLOCK_SKEW",
      message: expect.stringContaining(`the clock of writer "default@default" was 93600 s behind the storage's`) as string,
    });
    world.clock.jump(5 * DAY_MS);
    expect((await maintainRepository(world.repository, { mode: "full" })).mode).toBe("full");
  });

  it("stops when somebody else begins to maintain the repository as well", async () => {
    const world = await newWorld();
    for (let i = 0; i < 3; i++) await saveSnapshot(world, `text ${i}`);
    world.clock.jump(DAY_MS);
    // The first has come to its last task when the other begins.
    let arrived: () => void = () => undefined;
    const atLast = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    let goOn: () => void = () => undefined;
    const later = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    async function* logsLater(signal?: AbortSignal) {
      arrived();
      await later;
      yield* world.storage.list("_log_", signal);
    }
    const slow = new Proxy<BlobStorage>(world.storage, {
      get(target, key) {
        if (key === "list") return (prefix: string, signal?: AbortSignal) => (prefix === "_log_" ? logsLater(signal) : target.list(prefix, signal));
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
    const first = maintainRepository(await openRepository(slow, { password: PASSWORD, clock: world.clock }), { mode: "full" });
    first.catch(() => undefined);
    await atLast;
    world.clock.jump(1000);
    expect((await maintainRepository(await reopen(world), { mode: "full" })).mode).toBe("full");
    const history = await world.storage.get("kopia.maintenance");
    goOn();
    await expect(first).rejects.toMatchObject({ code: "REPO_LOCKED" });
    expect(await world.storage.get("kopia.maintenance")).toEqual(history);
  });

  it("leaves a sound repository whichever storage call fails", async () => {
    const world = await agedWorld();
    for (let k = 1; k < 400; k += 3) {
      const { id: passing } = await saveSnapshot(world, `passing ${k}`);
      await world.repository.snapshots.delete(passing);
      await world.repository.flush();
      world.clock.jump(HOUR_MS);
      const before = world.storage.calls;
      world.storage.plan = faultAt(before + k);
      let failed = false;
      try {
        await maintainRepository(world.repository, { mode: "full", safety: noSafety });
      } catch (error) {
        expect(isDrayError(error)).toBe(true);
        failed = true;
      }
      const done = !failed && world.storage.calls < before + k;
      world.storage.plan = undefined;
      await world.contents.refresh();
      for (const { id } of world.contents.list()) await world.contents.get(id);
      for (const { id, text } of world.kept) expect(await readSnapshot(world.repository, id)).toBe(text);
      if (done) return;
    }
    throw new Error("maintenance never gets by without the fault");
  });
});

interface AgedWorld extends World {
  readonly kept: { readonly id: string; readonly text: string }[];
}

/** A repository with kept and deleted snapshots of several days. */
async function agedWorld(): Promise<AgedWorld> {
  const world = await newWorld();
  const kept: { id: string; text: string }[] = [];
  for (let i = 0; i < 6; i++) {
    const { id } = await saveSnapshot(world, `snapshot ${i}`);
    if (i % 2 === 0) kept.push({ id, text: `snapshot ${i}` });
    else await world.repository.snapshots.delete(id);
    world.clock.jump(DAY_MS);
  }
  await world.repository.flush();
  return { ...world, kept };
}

describe("quick maintenance", () => {
  it("advances epochs that are old and full, compacts settled ones, and everything stays findable, for old readers too", async () => {
    const world = await newWorld();
    const ids: ContentId[] = [];
    const reader = contentsOf(await reopen(world));
    for (let day = 0; day < 14; day++) {
      for (let i = 0; i < 22; i++) {
        ids.push((await world.contents.write(utf8(`day ${day}, ${i}`))).id);
        await world.contents.flush();
        world.clock.jump(DAY_MS / 20);
      }
      await maintainRepository(world.repository, { mode: day % 4 === 3 ? "full" : "quick", safety: { ...fullSafety, minContentAgeMs: 1000 * DAY_MS } });
      await reader.refresh();
      for (const id of ids) expect(reader.info(id)?.deleted).toBe(false);
      expect([...contentsOf(await reopen(world)).list({ prefix: "" })]).toHaveLength(ids.length);
    }
    const names = await namesOf(world.storage, "x");
    expect(names.some((name) => name.startsWith("xr0_"))).toBe(true);
    expect(names.filter((name) => name.startsWith("xs")).length).toBeGreaterThan(7);
    // Epochs long compacted have no index blobs of their own, and two or three markers are left.
    expect(names.some((name) => name.startsWith("xn0_"))).toBe(false);
    expect(names.filter((name) => name.startsWith("xe")).length).toBeLessThan(8);
  });

  it("is done when it is due, by the owner, with the storage's clock near ours", async () => {
    const world = await newWorld();
    expect((await maintainRepository(world.repository)).mode).toBe("full");
    expect((await maintainRepository(world.repository)).mode).toBe("none");
    world.clock.jump(HOUR_MS);
    expect((await maintainRepository(world.repository)).mode).toBe("quick");
    const stranger = await openRepository(world.storage, { password: PASSWORD, clock: world.clock, identity: { userName: "me", host: "laptop" } });
    await expect(maintainRepository(stranger)).rejects.toMatchObject({ code: "NOT_PERMITTED" });
    const readOnly = await openRepository(world.storage, { password: PASSWORD, clock: world.clock, readOnly: true });
    await expect(maintainRepository(readOnly)).rejects.toMatchObject({ code: "REPO_READ_ONLY" });
    const ahead = new VirtualClock(world.clock.nowMs() + HOUR_MS);
    const skewed = await openRepository(world.storage, { password: PASSWORD, clock: ahead });
    await expect(maintainRepository(skewed, { mode: "quick" })).rejects.toMatchObject({ code: "REPO_CLOCK_SKEW" });
  });
});

describe("maintenance without epochs", () => {
  it("gathers small packs of metadata and compacts indexes when quick, and gives back space when full", async () => {
    const clock = new VirtualClock(Date.UTC(2026, 10, 21));
    const storage = new FaultyStorage(new MemoryStorage(clock));
    const repository = await createRepository(storage, { password: PASSWORD, clock, random: seededRandom(3), format: { formatVersion: 1 } });
    const kept = await saveSnapshot({ repository, clock }, "kept");
    const gone = await saveSnapshot({ repository, clock }, "gone");
    for (let i = 0; i < 8; i++) await saveSnapshot({ repository, clock }, `number ${i}`);
    await repository.manifests.delete(gone.id);
    await repository.flush();
    clock.jump(HOUR_MS);
    const packs = (await namesOf(storage, "q")).length;
    const plan = await maintainRepository(repository, { mode: "quick", safety: noSafety, dryRun: true });
    expect((await namesOf(storage, "q")).length).toBe(packs);
    const quick = await maintainRepository(repository, { mode: "quick", safety: noSafety });
    const names = ["quick-rewrite-contents", "full-delete-blobs", "index-compaction", "cleanup-logs"];
    expect([plan, quick].map(({ tasks }) => tasks.map(({ task }) => task))).toEqual([
      names,
      ["quick-rewrite-contents", "quick-delete-blobs", ...names.slice(2)],
    ]);
    expect((await namesOf(storage, "q")).length).toBe(1);
    expect((await namesOf(storage, "n")).length).toBe(1);
    const dropped: (number | undefined)[] = [];
    for (let run = 0; run < 3; run++) {
      clock.jump(HOUR_MS);
      const full = await maintainRepository(repository, { mode: "full", safety: noSafety });
      dropped.push(full.tasks.find(({ task }) => task === "full-drop-deleted-content")?.figures["advanced"]);
    }
    expect(dropped).toContain(1);
    const reader = await openRepository(storage, { password: PASSWORD, clock });
    expect(await readSnapshot(reader, kept.id)).toBe("kept");
    expect(reader.contents.info(gone.file)).toBeUndefined();
    expect([...reader.contents.list({ includeDeleted: true })].some(({ deleted }) => deleted)).toBe(false);
  });
});

it("maintenance parameters are read as they are written", () => {
  expect(decodeMaintenanceParameters(maintenanceParameters({ owner: "a@b", fullIntervalMs: 5000 }))).toMatchObject({
    owner: "a@b",
    quick: { enabled: true, intervalMs: HOUR_MS },
    full: { enabled: true, intervalMs: 5000 },
    logRetention: { maxTotalBytes: 1 << 30, maxCount: 10_000, maxAgeMs: 30 * DAY_MS },
    extendObjectLocks: false,
  });
});
