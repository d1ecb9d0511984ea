/** Every call to the store fails once while a repository is created, and while snapshots are deleted, pinned, expired and governed: what is left opens and is whole, and a second try succeeds. */
import { isDrayError } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { BlobStorage } from "@drayage/blob";
import { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { rememberingKeys } from "./format/key-hierarchy.ts";
import { ObjectWriter } from "./object/object-writer.ts";
import { createRepository, openRepository } from "./open-repository.ts";
import { executeExpiry, planExpiry } from "./policy/expire-snapshots.ts";
import { emptyPolicy } from "./policy/policy-document.ts";
import { PolicyStore } from "./policy/policy-store.ts";
import { globalTarget } from "./policy/policy-target.ts";
import type { Repository } from "./repository.ts";
import { emptyStats } from "./snapshot/snapshot-manifest.ts";

const clock = new VirtualClock(Date.UTC(2026, 10, 21));
const common = { password: "pw", deriveKey: rememberingKeys(), clock };
const template = new MemoryStorage(clock);
const KINDS = ["fail", "appliedButTimedOut", "torn"] as const;

beforeAll(async () => {
  const repository = await createRepository(template, common);
  for (let day = 1; day <= 3; day++) {
    const object = new ObjectWriter(repository.objectWriters);
    await object.write(Buffer.from(`file of day ${day}`));
    const { objectId } = await object.finish();
    const startTimeNs = BigInt(Date.UTC(2026, 10, day)) * 1_000_000n;
    const rootEntry = { name: "f", type: "file" as const, mode: 0o644, size: 13, mtimeNs: 1n, uid: 0, gid: 0, objectId };
    const facts = { description: "", startTimeNs, endTimeNs: startTimeNs, stats: emptyStats, tags: {}, pins: [] };
    await repository.snapshots.save({ ...facts, source: { userName: "u", host: "h", path: "/p" }, rootEntry });
  }
  await repository.flush();
  await repository.close();
}, 60_000);

async function copy(): Promise<MemoryStorage> {
  const storage = new MemoryStorage(clock);
  for (const id of template.ids()) await storage.put(id, await template.get(id));
  return storage;
}

/** Runs work on a repository in a storage. */
async function on<T>(storage: BlobStorage, work: (repository: Repository) => Promise<T>): Promise<T> {
  const repository = await openRepository(storage, common);
  try {
    return await work(repository);
  } finally {
    await repository.close();
  }
}

/** How many snapshots there are; all of them can be read. */
const wholeSnapshots = (storage: BlobStorage): Promise<number> =>
  on(storage, async (repository) => {
    const { snapshots, unreadable } = await repository.snapshots.list();
    expect(unreadable).toEqual([]);
    for (const { rootEntry } of snapshots)
      if (rootEntry !== undefined) for await (const piece of repository.objects.pieces(rootEntry.objectId)) expect(piece.length).toBe(13);
    return snapshots.length;
  });

const oldest = async (repository: Repository): Promise<string> => (await repository.snapshots.list()).snapshots[0]?.id ?? "";
const keepOne = { ...emptyPolicy, noParent: true, retention: { keepLatest: 1 } };

const works: Readonly<Record<string, { readonly run: (repository: Repository) => Promise<unknown>; readonly left: number }>> = {
  "a snapshot is deleted": { run: async (repository) => repository.snapshots.delete(await oldest(repository)).then(() => repository.flush()), left: 2 },
  "a snapshot is pinned": {
    run: async (repository) => {
      const [snapshot] = (await repository.snapshots.list()).snapshots;
      if (snapshot !== undefined && snapshot.pins.length === 0) await repository.snapshots.update({ ...snapshot, pins: ["keep"] });
      await repository.flush();
    },
    left: 3,
  },
  "a policy is set and snapshots expire": {
    run: async (repository) => {
      await new PolicyStore(repository.manifests).set(globalTarget, keepOne);
      await repository.flush();
      await executeExpiry(repository, await planExpiry(repository, undefined));
    },
    left: 1,
  },
};

describe("a store that fails at any one call", { timeout: 180_000 }, () => {
  for (const kind of KINDS) {
    it.each(Object.keys(works))(`(${kind}) while %s`, async (name) => {
      const { run, left } = works[name] as (typeof works)[string];
      for (let k = 1; ; k++) {
        const inner = await copy();
        const faulty = new FaultyStorage(inner, faultAt(k, { kind }));
        await on(faulty, run).catch(() => undefined);
        const ended = faulty.calls < k;
        const after = await wholeSnapshots(inner);
        expect(after, `call ${k}`).toBeGreaterThanOrEqual(left);
        if (ended) {
          expect(after).toBe(left);
          expect(k).toBeGreaterThan(5);
          break;
        }
        // Where only the answer was lost it is done already.
        if (after > left || name.includes("pinned")) await on(inner, run);
        expect(await wholeSnapshots(inner), `call ${k}`).toBe(left);
      }
    });

    // One seed for all: the key that hangs on the unique id is derived once.
    it(`(${kind}) while a repository is created`, async () => {
      for (let k = 1; ; k++) {
        const inner = new MemoryStorage(clock);
        const faulty = new FaultyStorage(inner, faultAt(k, { kind }));
        const made = await createRepository(faulty, { ...common, random: seededRandom(7) }).catch(() => undefined);
        await made?.close();
        if (faulty.calls < k) {
          expect(k).toBeGreaterThan(5);
          break;
        }
        // Either it can be created still, or it is there and opens; one that a store left a part of is refused as what it is.
        const outcome = await createRepository(inner, { ...common, random: seededRandom(7) }).then(
          (repository) => repository.close().then(() => "created"),
          (error: unknown) => (isDrayError(error) ? error.code : String(error)),
        );
        expect(["created", "REPO_ALREADY_EXISTS"], `call ${k}`).toContain(outcome);
        if (kind !== "torn") expect(await wholeSnapshots(inner), `call ${k}`).toBe(0);
      }
    });
  }
});
