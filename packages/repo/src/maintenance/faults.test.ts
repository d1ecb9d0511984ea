/** Every storage call of a full maintenance goes wrong in every way that it can: afterwards another client reads everything, and a second try succeeds. */
import { isDrayError, utf8 } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { BlobStorage } from "@drayage/blob";
import { type Fault, FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { expect, it } from "vitest";
import { Contents } from "../content/contents.ts";
import { rememberingKeys } from "../format/key-hierarchy.ts";
import { ObjectWriter } from "../object/object-writer.ts";
import { createRepository, openRepository } from "../open-repository.ts";
import type { Repository } from "../repository.ts";
import { DirectoryListing, DirectoryListingWriter } from "../snapshot/directory-listing.ts";
import { emptyStats } from "../snapshot/snapshot-manifest.ts";
import { maintainRepository } from "./maintain-repository.ts";
import { noSafety } from "./safety.ts";

const HOUR_MS = 3_600_000;
const deriveKey = rememberingKeys();
const clock = new VirtualClock();
let seed = 0;
const open = (storage: BlobStorage): Promise<Repository> =>
  openRepository(storage, { password: "hunter2", clock, deriveKey, random: seededRandom(500 + seed++) });

async function save(repository: Repository, text: string): Promise<string> {
  const file = new ObjectWriter(repository.objectWriters, {});
  await file.write(utf8(text));
  const { objectId } = await file.finish();
  const common = { mode: 0o644, mtimeNs: 5n, uid: 0, gid: 0 };
  const listing = new DirectoryListingWriter(repository.objectWriters);
  await listing.add({ ...common, name: "file", type: "file", size: text.length, objectId });
  const { objectId: root, summary } = await listing.finish({ mtimeNs: 5n });
  const id = await repository.snapshots.save({
    source: { host: "default", userName: "default", path: "/data" },
    ...{ description: "", startTimeNs: clock.nowNs(), endTimeNs: clock.nowNs(), stats: emptyStats, tags: {}, pins: [] },
    rootEntry: { ...common, name: "data", type: "directory", size: 0, objectId: root, summary },
  });
  await repository.flush();
  return id;
}

/** Kept and deleted snapshots, contents that were deleted and are needed again, short packs, and epochs that want to be compacted. */
async function worn(): Promise<{ readonly blobs: ReadonlyMap<string, Uint8Array>; readonly kept: ReadonlyMap<string, string> }> {
  const storage = new MemoryStorage(clock);
  const repository = await createRepository(storage, { password: "hunter2", clock, deriveKey, random: seededRandom(3) });
  const { contents } = repository;
  const kept = new Map<string, string>();
  for (let i = 0; i < 4; i++) {
    const id = await save(repository, `snapshot ${i}`);
    if (i % 2 === 0) kept.set(id, `snapshot ${i}`);
    else await repository.snapshots.delete(id);
    clock.jump(HOUR_MS);
  }
  // Somebody collected what is in use: as when a snapshot was saved while its contents were.
  for (const { id } of [...contents.list()].filter((info) => !info.id.startsWith("m")).slice(0, 2)) await contents.delete(id);
  await repository.flush();
  // Two epochs further on: the first one is settled.
  for (const epoch of [1, 2]) await storage.put(`xe${epoch}`, utf8("epoch-marker"));
  clock.jump(24 * HOUR_MS);
  await (await open(storage)).close();
  const blobs = new Map<string, Uint8Array>();
  for await (const { id } of storage.list("")) blobs.set(id, await storage.get(id));
  return { blobs, kept };
}

async function check(repository: Repository, kept: ReadonlyMap<string, string>): Promise<void> {
  await repository.manifests.refresh();
  expect((await repository.snapshots.list()).snapshots.map(({ id }) => id).sort()).toEqual([...kept.keys()].sort());
  for (const [id, text] of kept) {
    const { rootEntry } = await repository.snapshots.get(id);
    if (rootEntry === undefined) throw new Error("no root");
    for await (const entry of new DirectoryListing(repository.objects, rootEntry.objectId).entries()) {
      expect(Buffer.from(await repository.objects.read(entry.objectId, 1 << 20)).toString()).toBe(text);
    }
  }
}

it("a full maintenance may fail at any storage call, in any way: nothing is lost, and the next one succeeds", { timeout: 240_000 }, async () => {
  const { blobs, kept } = await worn();
  const attempt = async (k: number, fault: Fault): Promise<string | undefined> => {
    const inner = new MemoryStorage(clock);
    for (const [id, bytes] of blobs) await inner.put(id, bytes);
    const storage = new FaultyStorage(inner);
    const repository = await open(storage);
    expect(repository.contents).toBeInstanceOf(Contents);
    const before = storage.calls;
    storage.plan = faultAt(before + k, fault);
    const failure: unknown = await maintainRepository(repository, { mode: "full", safety: noSafety }).then(
      () => undefined,
      (error: unknown) => error,
    );
    storage.plan = undefined;
    const operation = storage.history[before + k - 1]?.operation;
    expect([k, fault, failure === undefined || isDrayError(failure)]).toEqual([k, fault, true]);
    await repository.close();
    const second = await open(storage);
    await check(second, kept);
    const { tasks } = await maintainRepository(second, { mode: "full", safety: noSafety });
    expect(tasks.length).toBeGreaterThan(8);
    await check(second, kept);
    await second.close();
    return operation;
  };
  let calls = 0;
  for (let k = 1; ; k++) {
    const operation = await attempt(k, { kind: "fail" });
    // Maintenance has fewer calls: all of them have failed once.
    if (operation === undefined) break;
    calls++;
    if (operation === "put") await attempt(k, { kind: "torn", bytes: 10 });
    if (operation === "put" || operation === "delete") {
      await attempt(k, { kind: "appliedButTimedOut" });
      await attempt(k, { kind: "fail", code: "BLOB_THROTTLED" });
    }
  }
  expect(calls).toBeGreaterThan(60);
});
