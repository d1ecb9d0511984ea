import { utf8 } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import type { BlobStorage } from "@drayage/blob";
import { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { rememberingKeys } from "../format/key-hierarchy.ts";
import { createRepository, openRepository } from "../open-repository.ts";
import { planUpgrade, rollBackUpgrade, type UpgradeOptions, upgradeRepository } from "./upgrade-repository.ts";

const deriveKey = rememberingKeys();
const clock = new VirtualClock(Date.UTC(2026, 10, 21));
const common = { password: "pw", deriveKey, clock };
const upgrade: UpgradeOptions = { ...common, ownerId: "me@here", safety: "none" };
const templates = new Map<number, MemoryStorage>();

beforeAll(async () => {
  for (const formatVersion of [1, 2]) {
    const storage = new MemoryStorage(clock);
    const repository = await createRepository(storage, { ...common, format: { formatVersion } });
    for (const text of ["one", "two"]) {
      await repository.contents.write(utf8(text));
      await repository.contents.flush();
    }
    await repository.close();
    templates.set(formatVersion, storage);
  }
}, 60_000);

async function copyOf(version: number): Promise<MemoryStorage> {
  const [from, copy] = [templates.get(version) as MemoryStorage, new MemoryStorage(clock)];
  for (const id of from.ids()) await copy.put(id, await from.get(id));
  return copy;
}

/** Format version, and how many contents can be read. */
async function state(storage: BlobStorage): Promise<string> {
  const repository = await openRepository(storage, common);
  try {
    let readable = 0;
    for (const { id } of repository.contents.list()) readable += (await repository.contents.get(id)).length > 0 ? 1 : 0;
    return `version ${repository.format.version}, ${repository.format.usesEpochs ? "epochs" : "no epochs"}, ${readable} contents`;
  } finally {
    await repository.close();
  }
}

describe("an upgrade of the format", () => {
  it.each([1, 2])("from version %i keeps every content, and goes on being written to", async (version) => {
    const storage = await copyOf(version);
    expect(await planUpgrade(storage, upgrade)).toMatchObject({ fromVersion: version, toVersion: 3 });
    expect(await upgradeRepository(storage, upgrade)).toMatchObject({ fromVersion: version });
    expect(await state(storage)).toBe("version 3, epochs, 3 contents");
    const repository = await openRepository(storage, common);
    await repository.contents.write(utf8("three"));
    await repository.flush();
    await repository.close();
    expect(await state(storage)).toBe("version 3, epochs, 4 contents");
    expect((await planUpgrade(storage, upgrade)).steps).toEqual([]);
    expect(storage.ids()).toContain("n00000000000000000000000000000000-repository_unreadable_by_this_kopia_version_upgrade_required");
    expect(storage.ids()).toContain("kopia.repository.backup.me_here");
  });

  it("waits for everybody to notice, during which others are kept out and another owner as well", async () => {
    const storage = await copyOf(1);
    const waits: number[] = [];
    const upgrading = upgradeRepository(storage, { ...upgrade, safety: "full", ioDrainTimeoutMs: 15 * 60_000, onWait: (ms) => void waits.push(ms) });
    while (waits.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(waits[0]).toBe(35 * 60_000);
    await expect(openRepository(storage, common)).rejects.toMatchObject({ code: "REPO_LOCKED" });
    await expect(upgradeRepository(storage, { ...upgrade, ownerId: "somebody@else" })).rejects.toMatchObject({ code: "REPO_LOCKED" });
    await clock.advance(36 * 60_000);
    await upgrading;
    expect(await state(storage)).toBe("version 3, epochs, 3 contents");
  });

  it("that is cut off at any call can be gone on with, or taken back", async () => {
    for (const finish of ["go on", "take back"] as const) {
      for (let k = 1; ; k++) {
        const inner = await copyOf(1);
        const faulty = new FaultyStorage(inner, faultAt(k, { kind: "appliedButTimedOut" }));
        const done = await upgradeRepository(faulty, upgrade).catch(() => undefined);
        if (faulty.calls < k) {
          expect(done).toBeDefined();
          expect(k).toBeGreaterThan(8);
          break;
        }
        if (finish === "take back") {
          const rolledBack = await rollBackUpgrade(inner, upgrade).then(
            () => true,
            (error: unknown) => {
              // Before the lock was there, or after it was gone.
              expect(error).toMatchObject({ code: "USAGE" });
              return false;
            },
          );
          expect(await state(inner), `call ${k}`).toMatch(rolledBack ? /^version 1, no epochs, 3/ : /^version (1, no epochs|3, epochs), 3/);
        }
        await upgradeRepository(inner, upgrade);
        expect(await state(inner), `call ${k}`).toBe("version 3, epochs, 3 contents");
      }
    }
  });
});
