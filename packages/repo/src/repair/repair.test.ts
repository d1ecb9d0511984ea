import { utf8 } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import type { BlobStorage } from "@drayage/blob";
import { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { beforeAll, describe, expect, it } from "vitest";
import type { ContentId } from "../content-port.ts";
import { rememberingKeys } from "../format/key-hierarchy.ts";
import { createRepository, openRepository } from "../open-repository.ts";
import type { Repository } from "../repository.ts";
import { type PlanRepairOptions, planRepair, type RepairPlan } from "./plan-repair.ts";

const deriveKey = rememberingKeys();
const clock = new VirtualClock(Date.UTC(2026, 10, 21));
const common = { password: "pw", deriveKey, clock };
const templates = new Map<number, MemoryStorage>();
/** The ids of the contents in each template: two in one pack, one in another. */
const written = new Map<number, ContentId[]>();

beforeAll(async () => {
  for (const formatVersion of [1, 3]) {
    const storage = new MemoryStorage(clock);
    const repository = await createRepository(storage, { ...common, format: { formatVersion } });
    const ids: ContentId[] = [];
    const write = async (text: string): Promise<void> => void ids.push((await repository.contents.write(utf8(text))).id);
    await write("one");
    await write("two");
    await repository.contents.flush();
    await clock.advance(60_000);
    await write("three");
    await repository.manifests.put({ type: "test" }, '{"a":1}');
    await repository.flush();
    await repository.close();
    templates.set(formatVersion, storage);
    written.set(formatVersion, ids);
  }
});

async function copyOf(storage: MemoryStorage): Promise<MemoryStorage> {
  const copy = new MemoryStorage(clock);
  for (const id of storage.ids()) await copy.put(id, await storage.get(id));
  return copy;
}

const damaged = (formatVersion = 3): Promise<MemoryStorage> => copyOf(templates.get(formatVersion) as MemoryStorage);
const plan = (storage: BlobStorage, options: Partial<PlanRepairOptions> = {}): Promise<RepairPlan> => planRepair(storage, { ...common, ...options });
const open = (storage: BlobStorage): Promise<Repository> => openRepository(storage, common);
const idsOf = (storage: MemoryStorage, prefix: RegExp): string[] => storage.ids().filter((id) => prefix.test(id));

async function flip(storage: MemoryStorage, id: string, at = 40): Promise<void> {
  const bytes = await storage.get(id);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await storage.put(id, bytes);
}

/** Which of the three contents can be read, and whether the manifest can. */
async function state(storage: BlobStorage, formatVersion = 3): Promise<string> {
  const repository = await open(storage);
  try {
    let readable = "";
    for (const id of written.get(formatVersion) ?? []) {
      const isThere = repository.contents.info(id)?.deleted === false;
      const bytes = isThere ? await repository.contents.get(id).catch(() => undefined) : undefined;
      readable += bytes === undefined ? "-" : "+";
    }
    return `${readable} ${(await repository.manifests.find({ type: "test" })).length}`;
  } finally {
    await repository.close();
  }
}

async function blobs(storage: MemoryStorage): Promise<Record<string, string>> {
  return Object.fromEntries(await Promise.all(storage.ids().map(async (id) => [id, Buffer.from(await storage.get(id)).toString("base64")] as const)));
}

describe("repair of a repository", () => {
  it("that is healthy finds nothing and changes nothing", async () => {
    for (const version of [1, 3]) {
      const found = await plan(await damaged(version), { full: true });
      expect(found).toMatchObject({ findings: [], recoveredContents: 0, lostContents: [] });
      expect(found.staged.changes).toEqual({ put: [], restored: [], deleted: [] });
    }
  });

  it.each([1, 3])("with damaged index blobs, format version %i: they are made again from the packs", async (version) => {
    const storage = await damaged(version);
    for (const id of idsOf(storage, version === 1 ? /^n/ : /^xn/)) await flip(storage, id);
    await expect(open(storage)).rejects.toMatchObject({ code: "REPO_CORRUPT" });
    const before = await blobs(storage);
    const found = await plan(storage);
    expect(found).toMatchObject({ lostContents: [], recoveredContents: 5 });
    expect(await state(found.staged, version)).toBe("+++ 1");
    expect(await blobs(storage)).toEqual(before);
    await found.staged.apply();
    expect(await state(storage, version)).toBe("+++ 1");
    expect((await plan(storage, { full: true })).findings).toEqual([]);
  });

  it("with a missing index blob: what it said is taken up when the index is to be rebuilt", async () => {
    const storage = await damaged();
    for (const id of idsOf(storage, /^xn/)) await storage.delete(id);
    expect((await plan(storage)).recoveredContents).toBe(0);
    const found = await plan(storage, { rebuildIndex: true });
    expect(found).toMatchObject({ recoveredContents: 5, lostContents: [] });
    await found.staged.apply();
    expect(await state(storage)).toBe("+++ 1");
  });

  it("with a missing pack: its contents are given up by name, the others stay, and what is stored again is whole", async () => {
    const storage = await damaged();
    const [one, two] = written.get(3) ?? [];
    const repository = await open(storage);
    const pack = repository.contents.info(one as ContentId)?.packBlobId ?? "";
    await repository.close();
    await storage.delete(pack);
    const found = await plan(storage);
    expect(found.findings).toMatchObject([{ blob: pack, problem: "it is missing" }]);
    expect([...found.lostContents].sort()).toEqual([one, two].sort());
    await found.staged.apply();
    expect(await state(storage)).toBe("--+ 1");
    const again = await open(storage);
    await again.contents.write(utf8("one"));
    await again.flush();
    await again.close();
    expect(await state(storage)).toBe("+-+ 1");
  });

  it("with a flipped byte in a pack: only the content that it hits is given up, and only reading everything finds it", async () => {
    const storage = await damaged();
    const repository = await open(storage);
    const info = repository.contents.info(written.get(3)?.[1] as ContentId);
    await repository.close();
    await flip(storage, info?.packBlobId ?? "", (info?.packOffset ?? 0) + 20);
    expect((await plan(storage)).findings).toEqual([]);
    const found = await plan(storage, { full: true });
    expect(found.lostContents).toEqual([info?.id]);
    await found.staged.apply();
    expect(await state(storage)).toBe("+-+ 1");
  });

  it("a content that lies in a second pack as well is read from there", async () => {
    const storage = await damaged();
    const repository = await open(storage);
    const id = written.get(3)?.[0] as ContentId;
    const old = repository.contents.info(id)?.packBlobId ?? "";
    await (repository.contents as unknown as { rewrite(id: ContentId, options: { deleted: boolean }): Promise<void> }).rewrite(id, { deleted: false });
    await repository.flush();
    const now = repository.contents.info(id)?.packBlobId ?? "";
    await repository.close();
    expect(now).not.toBe(old);
    await storage.delete(now);
    const found = await plan(storage);
    expect(found).toMatchObject({ lostContents: [], recoveredContents: 1 });
    await found.staged.apply();
    expect(await state(storage)).toBe("+++ 1");
  });

  it("with a second copy: everything comes back as it was", async () => {
    const [storage, copy] = [await damaged(), await damaged()];
    const healthy = await blobs(storage);
    const [firstPack = "", secondPack = ""] = idsOf(storage, /^p/);
    const [index = ""] = idsOf(storage, /^xn/);
    await storage.delete(firstPack);
    await flip(storage, secondPack);
    await flip(storage, index);
    await storage.put("kopia.repository", utf8("{"));
    const found = await plan(storage, { copy, full: true });
    expect(found).toMatchObject({ lostContents: [], recoveredContents: 0 });
    expect(found.findings.map(({ blob }) => blob).sort()).toEqual([index, firstPack, secondPack, "kopia.repository"].sort());
    await found.staged.apply();
    expect(await blobs(storage)).toEqual(healthy);
  });

  it("a copy that is damaged itself is not believed", async () => {
    const [storage, copy] = [await damaged(), await damaged()];
    const [pack = ""] = idsOf(storage, /^p/);
    await storage.delete(pack);
    await flip(copy, pack);
    expect((await plan(storage, { copy })).lostContents.length).toBeGreaterThan(0);
  });

  it("a lost kopia.repository of format version 1 is taken from a pack, one of version 3 is not found", async () => {
    const storage = await damaged(1);
    await storage.delete("kopia.repository");
    const found = await plan(storage);
    expect(found.findings).toMatchObject([{ blob: "kopia.repository", problem: "it is missing", remedy: expect.stringContaining("which holds a copy") }]);
    await found.staged.apply();
    expect(await state(storage, 1)).toBe("+++ 1");
    const newer = await damaged();
    await newer.delete("kopia.repository");
    await expect(plan(newer)).rejects.toMatchObject({ code: "REPO_NOT_FOUND" });
  });

  it("a wrong password stays one", async () => {
    await expect(plan(await damaged(), { password: "other" })).rejects.toMatchObject({ code: "REPO_WRONG_PASSWORD" });
  });

  it("small blobs that cannot be read are taken away, so that maintenance runs again", async () => {
    const storage = await damaged();
    await storage.put("s00000000000000000000000000000000-s0123456789abcdef147", utf8("garbage"));
    await storage.put("kopia.maintenance", utf8(""));
    const found = await plan(storage);
    expect(found.findings.map(({ blob }) => blob)).toEqual(["s00000000000000000000000000000000-s0123456789abcdef147", "kopia.maintenance"]);
    await found.staged.apply();
    expect(idsOf(storage, /^s|maintenance/)).toEqual([]);
  });

  it("that is cut off at any call is finished by another one, and nothing that was healthy is lost", async () => {
    for (const kind of ["fail", "appliedButTimedOut"] as const) {
      for (let k = 1; ; k++) {
        const storage = await damaged();
        for (const id of idsOf(storage, /^xn/)) await flip(storage, id);
        const faulty = new FaultyStorage(storage, faultAt(k, { kind }));
        await plan(faulty)
          .then((found) => found.staged.apply())
          .catch(() => undefined);
        if (faulty.calls < k) {
          expect(k).toBeGreaterThan(10);
          break;
        }
        await (await plan(storage)).staged.apply();
        expect(await state(storage), `call ${k}`).toBe("+++ 1");
      }
    }
  });
});
