import { hasCode, utf8 } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { rememberingKeys } from "../format/key-hierarchy.ts";
import { createRepository, openRepository } from "../open-repository.ts";
import type { Repository } from "../repository.ts";
import { planRepositorySync, syncRepository } from "./sync-repository.ts";

const deriveKey = rememberingKeys();
const open = (storage: BlobStorage, password = "pw"): Promise<Repository> => openRepository(storage, { password, deriveKey });
const source = new MemoryStorage();
let repository: Repository;

async function addContent(text: string): Promise<void> {
  await repository.contents.write(utf8(text));
  await repository.contents.flush();
}

beforeAll(async () => {
  repository = await createRepository(source, { password: "pw", deriveKey });
  await addContent("first");
});

async function blobsOf(storage: BlobStorage): Promise<Record<string, string>> {
  const blobs: Record<string, string> = {};
  for await (const { id } of storage.list("")) blobs[id] = Buffer.from(await storage.get(id)).toString("base64");
  return blobs;
}

describe("copying a repository", () => {
  it("copies everything once, and afterwards only what is new", async () => {
    const target = new MemoryStorage();
    const planned = await planRepositorySync(repository, target);
    expect(await blobsOf(target)).toEqual({});
    const first = await syncRepository(repository, target);
    expect(first).toEqual(planned);
    expect(await blobsOf(target)).toEqual(await blobsOf(source));
    expect(await syncRepository(repository, target)).toMatchObject({ copiedBlobs: 0, unchangedBlobs: first.copiedBlobs });
    await addContent("second");
    expect(await syncRepository(repository, target)).toMatchObject({ copiedBlobs: 2, deletedBlobs: 0 });
    const copy = await open(target);
    expect([...copy.contents.list()].map(({ id }) => id)).toEqual([...repository.contents.list()].map(({ id }) => id));
    await copy.close();
  });

  it("takes away what the source does not have only when asked to, and never from another repository", async () => {
    const target = new MemoryStorage();
    await syncRepository(repository, target);
    await target.put("p0123-s1", utf8("old"));
    expect(await syncRepository(repository, target)).toMatchObject({ deletedBlobs: 0 });
    expect(await planRepositorySync(repository, target, { delete: true })).toMatchObject({ deletedBlobs: 1 });
    expect(await syncRepository(repository, target, { delete: true })).toMatchObject({ deletedBlobs: 1 });
    expect(await blobsOf(target)).toEqual(await blobsOf(source));
    const other = new MemoryStorage();
    await (await createRepository(other, { password: "pw" })).close();
    const before = await blobsOf(other);
    await expect(syncRepository(repository, other, { delete: true })).rejects.toMatchObject({ code: "REPO_ALREADY_EXISTS" });
    const foreign = new MemoryStorage();
    await foreign.put("photo.jpg", utf8("mine"));
    await expect(syncRepository(repository, foreign, { delete: true })).rejects.toMatchObject({ code: "REPO_ALREADY_EXISTS" });
    expect(await blobsOf(other)).toEqual(before);
  });

  it("follows a change of the password", async () => {
    const from = new MemoryStorage();
    const changed = await createRepository(from, { password: "pw", deriveKey });
    const target = new MemoryStorage();
    await syncRepository(changed, target);
    await changed.changePassword("new");
    expect(await syncRepository(changed, target)).toMatchObject({ copiedBlobs: 2 });
    await (await open(target, "new")).close();
  });

  it("notices a target that gives back other bytes", async () => {
    const target = new MemoryStorage();
    const get = target.get.bind(target);
    target.get = async (id, options) => {
      const bytes = await get(id, options);
      if (id.startsWith("p")) bytes[5] = (bytes[5] ?? 0) ^ 1;
      return bytes;
    };
    await expect(syncRepository(repository, target)).rejects.toMatchObject({ code: "REPO_CORRUPT", message: expect.stringContaining("other bytes came back") });
  });

  it("that fails at any one call leaves a target that does not open or verifies, and the next try completes it", { timeout: 120_000 }, async () => {
    for (const kind of ["fail", "appliedButTimedOut", "torn"] as const) {
      for (let k = 1; ; k++) {
        const inner = new MemoryStorage();
        const target = new FaultyStorage(inner, faultAt(k, { kind }));
        await syncRepository(repository, target, { parallel: 1 }).catch(() => undefined);
        if (target.calls < k) break;
        const opened = await open(inner).catch((error: unknown) => {
          // Its format is the last thing that comes. A store without atomic puts may leave a part of it, which is refused.
          expect(hasCode(error, "REPO_NOT_FOUND", "REPO_CORRUPT"), `call ${k}: ${String(error)}`).toBe(true);
          return undefined;
        });
        if (opened !== undefined) {
          for (const { id } of opened.contents.list()) await opened.contents.get(id);
          await opened.close();
        }
        await syncRepository(repository, inner);
        expect(await blobsOf(inner), `call ${k}`).toEqual(await blobsOf(source));
      }
    }
  });
});
