/** A change of the password that is cut off anywhere leaves a repository that one of the two passwords opens, and that the same change finishes. */
import { isDrayError } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { BlobStorage, PutBlobOptions } from "@drayage/blob";
import { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { describe, expect, it } from "vitest";
import { rememberingKeys } from "./key-hierarchy.ts";
import { createRepositoryFormat, openRepositoryFormat, type RepositoryFormat } from "./repository-format.ts";

const clock = new VirtualClock(Date.UTC(2026, 10, 21));
const deriveKey = rememberingKeys();
const common = { clock, deriveKey };

/** As a bucket with versions does it: a lock keeps the old version, and another may be put over it. */
class VersionedStorage extends MemoryStorage {
  override put(id: string, data: Uint8Array | readonly Uint8Array[], options: PutBlobOptions = {}): Promise<void> {
    const { retention: _locked, ...rest } = options;
    return super.put(id, data, rest);
  }
}

async function newStorage(retention: boolean): Promise<VersionedStorage> {
  const storage = new VersionedStorage(clock);
  const lock = retention ? { retention: { mode: "GOVERNANCE" as const, periodMs: 86_400_000 } } : {};
  await createRepositoryFormat(storage, { ...common, ...lock, password: "old", keyAlgorithm: "pbkdf2-sha256-600000", random: seededRandom(1) });
  return storage;
}

const open = (storage: BlobStorage, password: string, nextPassword?: string): Promise<RepositoryFormat> =>
  openRepositoryFormat(storage, { ...common, password, ...(nextPassword === undefined ? {} : { nextPassword }) });

async function opensWith(storage: BlobStorage, password: string, nextPassword?: string): Promise<RepositoryFormat | undefined> {
  try {
    return await open(storage, password, nextPassword);
  } catch (error) {
    if (isDrayError(error) && (error.code === "REPO_WRONG_PASSWORD" || error.code === "REPO_CORRUPT")) return undefined;
    throw error;
  }
}

describe("a change of the password", () => {
  for (const kind of ["fail", "appliedButTimedOut"] as const) {
    it(`that is cut off at any call (${kind}) leaves a repository that opens, without a lock by either password alone`, async () => {
      for (let k = 1; ; k++) {
        const inner = await newStorage(false);
        const faulty = new FaultyStorage(inner, undefined);
        const format = await open(faulty, "old");
        faulty.plan = faultAt(faulty.calls + k, { kind });
        const before = faulty.calls;
        await format.changePassword("new").catch(() => undefined);
        if (faulty.calls - before < k) {
          expect(k).toBeGreaterThan(3);
          break;
        }
        const opened = (await opensWith(inner, "old")) ?? (await opensWith(inner, "new"));
        expect(opened, `call ${k}`).toBeDefined();
        expect(opened?.block.masterKey).toEqual(format.block.masterKey);
        await opened?.changePassword("new");
        expect(await opensWith(inner, "old")).toBeUndefined();
        expect((await open(inner, "new")).config.retention).toBeUndefined();
      }
    });

    it(`that is cut off at any call (${kind}) where blobs are locked is finished by doing it again, and the lock is never forgotten`, async () => {
      for (let k = 1; ; k++) {
        const inner = await newStorage(true);
        const faulty = new FaultyStorage(inner, undefined);
        const format = await open(faulty, "old");
        faulty.plan = faultAt(faulty.calls + k, { kind });
        const before = faulty.calls;
        await format.changePassword("new").catch(() => undefined);
        if (faulty.calls - before < k) {
          expect(k).toBeGreaterThan(2);
          break;
        }
        const again = (await opensWith(inner, "old", "new")) ?? (await opensWith(inner, "new"));
        expect(again?.config.retention, `call ${k}`).toEqual({ mode: "GOVERNANCE", periodMs: 86_400_000 });
        await again?.changePassword("new");
        expect((await open(inner, "new")).config.retention).toEqual({ mode: "GOVERNANCE", periodMs: 86_400_000 });
      }
    });
  }

  it("says what to do where only the settings were changed so far", async () => {
    const inner = await newStorage(true);
    const faulty = new FaultyStorage(inner, undefined);
    const format = await open(faulty, "old");
    faulty.plan = faultAt(faulty.calls + 2);
    await expect(format.changePassword("new")).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
    await expect(open(inner, "old")).rejects.toMatchObject({ code: "REPO_CORRUPT", hint: expect.stringContaining("change it once more") });
  });
});
