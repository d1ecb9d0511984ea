/** Every call to the store fails once: whatever was under way, the repository opens, verifies, and a second try succeeds. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRepository, openRepository, parseSnapshotSource, type Repository } from "@drayage/repo";
import { FaultyStorage, faultAt, MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { restoreSnapshot } from "./restore/restore-snapshot.ts";
import { patternBytes } from "./testing/index.ts";
import { uploadSnapshot } from "./upload/upload-snapshot.ts";
import { verifySnapshots } from "./verify/verify-snapshot.ts";

const deriveKey = rememberingKeys();
const snapshotSource = parseSnapshotSource("u@h:/data");
const LARGE_BYTES = 5 << 20;
let folder: string;
let source: string;
const template = new MemoryStorage();

beforeAll(async () => {
  await (await createRepository(template, { password: "pw", deriveKey })).close();
  folder = mkdtempSync(join(tmpdir(), "fault-"));
  source = join(folder, "source");
  mkdirSync(join(source, "dir"), { recursive: true });
  // Several pieces, between which checkpoints are saved.
  writeFileSync(join(source, "dir", "large"), patternBytes(LARGE_BYTES));
  writeFileSync(join(source, "small"), "small");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of one empty repository: its key is derived once. */
async function newRepository(): Promise<MemoryStorage> {
  const copy = new MemoryStorage();
  for await (const { id } of template.list("")) await copy.put(id, await template.get(id));
  return copy;
}

const open = (storage: MemoryStorage | FaultyStorage, readOnly = false): Promise<Repository> =>
  openRepository(storage, { password: "pw", deriveKey, readOnly });

async function snapshots(repository: Repository) {
  return (await repository.snapshots.list()).snapshots.filter((snapshot) => snapshot.incomplete === undefined);
}

async function upload(storage: MemoryStorage | FaultyStorage): Promise<string> {
  const repository = await open(storage);
  try {
    return (await uploadSnapshot({ repository, source: { kind: "directory", path: source }, snapshotSource, checkpointEveryMs: 0 })).snapshotId;
  } finally {
    await repository.close();
  }
}

describe("a store that fails", { timeout: 180_000 }, () => {
  for (const kind of ["fail", "appliedButTimedOut", "torn"] as const) {
    it(`at any one call of an upload (${kind}) leaves a repository that verifies, and the next upload completes`, async () => {
      for (let k = 1; ; k++) {
        const inner = await newRepository();
        const faulty = new FaultyStorage(inner, faultAt(k, { kind }));
        const first = await upload(faulty).catch(() => undefined);
        if (faulty.calls < k) {
          expect(k).toBeGreaterThan(10);
          break;
        }
        const reader = await open(inner, true);
        const after = await snapshots(reader);
        // What was said to be stored is there; what was not may be there when only the answer was lost.
        if (first !== undefined)
          expect(
            after.map(({ id }) => id),
            `call ${k}`,
          ).toEqual([first]);
        expect((await verifySnapshots({ repository: reader, snapshots: after, mode: "full" })).problems, `call ${k}`).toEqual([]);
        await reader.close();
        const second = await upload(inner);
        const again = await open(inner, true);
        expect((await snapshots(again)).map(({ id }) => id)).toContain(second);
        expect((await verifySnapshots({ repository: again, snapshots: await snapshots(again) })).problems).toEqual([]);
        await again.close();
      }
    });
  }

  it("at any one call of a restore leaves no half file, and the next restore completes", async () => {
    const inner = await newRepository();
    const id = await upload(inner);
    for (let k = 1; ; k++) {
      const faulty = new FaultyStorage(inner, faultAt(k));
      const target = join(folder, `target-${k}`);
      const restore = async (storage: MemoryStorage | FaultyStorage): Promise<void> => {
        const repository = await open(storage, true);
        try {
          const { rootEntry } = await repository.snapshots.get(id);
          if (rootEntry === undefined) throw new Error("no root");
          await restoreSnapshot({ repository, root: rootEntry, target: { kind: "directory", path: target }, overwrite: true });
        } finally {
          await repository.close();
        }
      };
      const failed = await restore(faulty).then(
        () => false,
        () => true,
      );
      if (faulty.calls < k) {
        expect(k).toBeGreaterThan(5);
        break;
      }
      if (failed) await restore(inner);
      expect(readFileSync(join(target, "dir", "large")).equals(patternBytes(LARGE_BYTES)), `call ${k}`).toBe(true);
      expect(readFileSync(join(target, "small"), "utf8")).toBe("small");
      rmSync(target, { recursive: true });
    }
  });
});
