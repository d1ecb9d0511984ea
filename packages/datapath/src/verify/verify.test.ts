import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRepository, openRepository, parseSnapshotSource } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { uploadSnapshot } from "../upload/upload-snapshot.ts";
import { verifySnapshots } from "./verify-snapshot.ts";

const deriveKey = rememberingKeys();
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "verify-"));
  mkdirSync(join(root, "dir"));
  writeFileSync(join(root, "dir", "large"), patternBytes(12 << 20));
  writeFileSync(join(root, "small"), "small");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function stored() {
  const storage = new MemoryStorage();
  const options = { password: "pw", deriveKey };
  const repository = await createRepository(storage, options);
  const source = parseSnapshotSource("u@h:/data");
  const { snapshotId } = await uploadSnapshot({ repository, source: { kind: "directory", path: root }, snapshotSource: source });
  await repository.close();
  const open = () => openRepository(storage, { ...options, readOnly: true });
  const verify = async (mode: "quick" | "full") => {
    const reader = await open();
    return await verifySnapshots({ repository: reader, snapshots: [await reader.snapshots.get(snapshotId)], mode });
  };
  const packs: string[] = [];
  for await (const blob of storage.list("p")) packs.push(blob.id);
  return { storage, verify, packs, snapshotId };
}

describe("verifySnapshots", () => {
  it("finds nothing wrong with what is whole", async () => {
    const { verify } = await stored();
    for (const mode of ["quick", "full"] as const) {
      expect(await verify(mode)).toMatchObject({ mode, snapshots: 1, directories: 2, files: 2, bytes: (12 << 20) + 5, problems: [], problemCount: 0 });
    }
  });

  it("a pack that is gone is named, with the path of each file that needs it", async () => {
    const { storage, verify, packs, snapshotId } = await stored();
    await storage.delete(packs[0] ?? "");
    const { problems } = await verify("quick");
    expect(problems.map((problem) => problem.path).sort()).toEqual([`${snapshotId}/dir/large`, `${snapshotId}/small`]);
    expect(problems[0]?.message).toContain(`pack "${packs[0]}", which is not in the store`);
  });

  it("a pack that is cut off is found without reading it", async () => {
    const { storage, verify, packs } = await stored();
    const bytes = await storage.get(packs[0] ?? "");
    await storage.put(packs[0] ?? "", bytes.subarray(0, 1 << 20));
    expect((await verify("quick")).problems[0]?.message).toMatch(/ends at byte \d+ of pack ".*", which has 1048576/);
  });

  it("a flipped byte is found by reading", async () => {
    const { storage, verify, packs, snapshotId } = await stored();
    const bytes = await storage.get(packs[0] ?? "");
    bytes[5 << 20] = (bytes[5 << 20] ?? 0) ^ 1;
    await storage.put(packs[0] ?? "", bytes);
    expect((await verify("quick")).problemCount).toBe(0);
    expect((await verify("full")).problems).toMatchObject([{ path: `${snapshotId}/dir/large`, code: "REPO_CORRUPT" }]);
  });
});
