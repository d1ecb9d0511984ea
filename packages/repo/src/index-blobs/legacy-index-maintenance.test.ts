import { isDrayError, nullLogger, utf8 } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import type { BlobStorage } from "@drayage/blob";
import { FaultyStorage, faultAt } from "@drayage/blob/testing";
import { describe, expect, it } from "vitest";
import type { Contents } from "../content/contents.ts";
import { newTestRepository, type TestRepository } from "../testing/open-repository.ts";
import { LegacyIndexBlobs } from "./legacy-index-blobs.ts";
import { LegacyIndexMaintenance } from "./legacy-index-maintenance.ts";

const HOUR_MS = 3_600_000;

async function namesOf(storage: BlobStorage, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of storage.list(prefix)) names.push(id);
  return names;
}
const counts = async (storage: BlobStorage): Promise<number[]> => Promise.all(["n", "m", "l"].map(async (prefix) => (await namesOf(storage, prefix)).length));
const listing = (contents: Contents): unknown[] => [...contents.list({ includeDeleted: true })];

let runs = 0;

function maintenanceOf({ storage, format, codec, indexBlobs, indexLoader: loader }: Contents, settleMs = HOUR_MS): LegacyIndexMaintenance {
  if (!(indexBlobs instanceof LegacyIndexBlobs)) throw new Error("it has epochs");
  return new LegacyIndexMaintenance({ storage, format, codec, indexBlobs, loader, logger: nullLogger, random: seededRandom(runs++), settleMs });
}

/** A repository of format version 1 with so many index blobs, each with a content of its own and one that all have. */
async function legacyRepository(
  blobs: number,
  wrap?: (inner: BlobStorage) => BlobStorage,
): Promise<{ readonly repository: TestRepository; readonly contents: Contents }> {
  const repository = await newTestRepository({ blockFormat: { formatVersion: 1 }, ...(wrap === undefined ? {} : { wrap }) });
  const contents = await repository.open();
  for (let i = 0; i < blobs; i++) {
    await contents.write(utf8(`content ${i}`));
    await contents.flush();
  }
  return { repository, contents };
}

describe("index blobs without epochs", () => {
  it("are left alone while they are few, and merged into one that says the same", async () => {
    const few = await legacyRepository(7);
    expect(await maintenanceOf(few.contents).compact()).toBe(0);
    expect(await counts(few.repository.storage)).toEqual([7, 0, 0]);

    const { repository, contents } = await legacyRepository(9);
    const before = listing(contents);
    expect((await maintenanceOf(contents).planCompaction()).length).toBe(9);
    expect(await maintenanceOf(contents).compact()).toBe(9);
    expect(await counts(repository.storage)).toEqual([10, 1, 0]);
    const { blobs } = await contents.indexBlobs.active();
    expect(blobs.map(({ id }) => id)).toEqual([expect.stringMatching(/^n[0-9a-f]{32}$/)]);
    expect(listing(await repository.open())).toEqual(before);
    expect(await maintenanceOf(contents).compact()).toBe(0);
  });

  it("go an hour after they were replaced, the log about it another hour later, and nothing that counts ever does", async () => {
    const { repository, contents } = await legacyRepository(8);
    const { storage, clock } = repository;
    const round = async (): Promise<number[]> => {
      for (let i = 0; i < 8; i++) {
        await contents.write(utf8(`at ${clock.nowMs()}: ${i}`));
        await contents.flush();
      }
      const before = listing(contents);
      await maintenanceOf(contents).compact();
      expect(listing(await repository.open())).toEqual(before);
      return counts(storage);
    };
    await maintenanceOf(contents).compact();
    expect(await counts(storage)).toEqual([9, 1, 0]);
    await clock.advance(HOUR_MS / 2);
    expect(await round()).toEqual([18, 2, 0]);
    // The first eight go; the log of their compaction stays a while, and a note says so.
    await clock.advance(HOUR_MS / 2);
    expect(await round()).toEqual([19, 3, 1]);
    await clock.advance(HOUR_MS);
    await round();
    await clock.advance(HOUR_MS);
    const [, logs = 0] = await round();
    expect(logs).toBeLessThan(4);
    expect(listing(await repository.open()).length).toBe(40);
  });

  it("lose deletions that are final, and only those", async () => {
    const { repository, contents } = await legacyRepository(3);
    const [first, second] = [...contents.list()];
    if (first === undefined || second === undefined) throw new Error("nothing written");
    await contents.delete(first.id);
    await contents.flush();
    await repository.clock.advance(10_000);
    const until = Math.floor(repository.clock.nowMs() / 1000);
    await repository.clock.advance(10_000);
    await contents.delete(second.id);
    await contents.flush();
    expect(await maintenanceOf(contents, 0).dropDeleted(until)).toBe(1);
    expect(await maintenanceOf(contents, 0).dropDeleted(until)).toBe(0);
    const reader = await repository.open();
    expect([reader.info(first.id), reader.info(second.id)?.deleted, listing(reader).length]).toEqual([undefined, true, 2]);
    await contents.refresh();
    for (const { id } of contents.list({ includeDeleted: true })) await contents.delete(id);
    await contents.flush();
    expect(await maintenanceOf(contents, 0).dropDeleted(until + 1000)).toBe(2);
    expect(listing(await repository.open())).toEqual([]);
  });

  it("keep the inputs of a compaction whose output the storage has lost", async () => {
    const { repository, contents } = await legacyRepository(8);
    const before = listing(contents);
    await maintenanceOf(contents).compact();
    const [{ id: merged } = { id: "" }] = (await contents.indexBlobs.active()).blobs;
    await repository.storage.delete(merged);
    await repository.clock.advance(2 * HOUR_MS);
    expect(await maintenanceOf(contents).compact()).toBe(8);
    expect(listing(await repository.open())).toEqual(before);
  });

  it("say the same whichever storage call of maintenance fails, and a second try succeeds", async () => {
    for (let call = 1; ; call++) {
      const { contents, repository } = await legacyRepository(9, (inner) => new FaultyStorage(inner));
      const { storage } = repository;
      if (!(storage instanceof FaultyStorage)) throw new Error("nothing can fail");
      const [first] = [...contents.list()];
      if (first !== undefined) await contents.delete(first.id);
      await contents.flush();
      const kept = [...contents.list()];
      const maintain = async (): Promise<void> => {
        await maintenanceOf(contents, 0).compact();
        await maintenanceOf(contents, 0).dropDeleted(until);
      };
      const until = Math.floor(repository.clock.nowMs() / 1000) + 10;
      const calls = storage.calls;
      storage.plan = faultAt(calls + call);
      const failure = await maintain().catch((error: unknown) => error);
      const isOver = storage.calls < calls + call;
      storage.plan = undefined;
      expect([call, failure === undefined || isDrayError(failure)]).toEqual([call, true]);
      expect([...(await repository.open()).list()]).toEqual(kept);
      await maintain();
      expect(listing(await repository.open())).toEqual(kept);
      if (isOver) break;
    }
  });
});
