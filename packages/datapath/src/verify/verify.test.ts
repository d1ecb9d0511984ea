import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Contents, createRepository, DirectoryListingWriter, ObjectWriter, openRepository, parseSnapshotSource, type Snapshot } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { uploadSnapshot } from "../upload/upload-snapshot.ts";
import { type VerifyMode, type VerifySnapshotOptions, verifySnapshots } from "./verify-snapshot.ts";

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
  const verify = async (mode: VerifyMode, over: Partial<VerifySnapshotOptions> = {}) => {
    const reader = await open();
    return await verifySnapshots({ repository: reader, snapshots: [await reader.snapshots.get(snapshotId)], mode, ...over });
  };
  const packs: string[] = [];
  for await (const blob of storage.list("p")) packs.push(blob.id);
  return { storage, open, verify, packs, snapshotId };
}

describe("verifySnapshots", () => {
  it("finds nothing wrong with what is whole", async () => {
    const { verify } = await stored();
    for (const mode of ["quick", "sample", "full"] as const) {
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

  it("names every path of every snapshot that needs what is damaged, and reads what they share once", async () => {
    writeFileSync(join(root, "copy"), patternBytes(12 << 20));
    const { storage, packs, snapshotId, open } = await stored();
    const writer = await openRepository(storage, { password: "pw", deriveKey });
    writeFileSync(join(root, "dir", "other"), "other");
    const second = await uploadSnapshot({ repository: writer, source: { kind: "directory", path: root }, snapshotSource: parseSnapshotSource("u@h:/data") });
    await writer.close();
    const whole = await open();
    const snapshots = [await whole.snapshots.get(snapshotId), await whole.snapshots.get(second.snapshotId)];
    const { contentsRead, bytesRead, problems: none } = await verifySnapshots({ repository: whole, snapshots, mode: "full" });
    expect(none).toEqual([]);
    // The large file's contents once, the small ones, and four listings with the list of the large file's contents.
    expect(bytesRead).toBeLessThan(12.1 * (1 << 20));
    expect(contentsRead).toBeLessThan(16);
    for (const pack of packs) {
      // Whichever of them holds the large file's middle.
      const bytes = await storage.get(pack);
      if (bytes.length < 6 << 20) continue;
      bytes[5 << 20] = (bytes[5 << 20] ?? 0) ^ 1;
      await storage.put(pack, bytes);
    }
    for (const over of [{}, { parallel: 2 }, { limits: { threads: 0, windowTargets: 1 } }]) {
      const { problems, damaged } = await verifySnapshots({ repository: await open(), snapshots, mode: "full", ...over });
      expect(damaged).toEqual(expect.arrayContaining([snapshotId, second.snapshotId].map((id) => ({ snapshotId: id, problems: 2 }))));
      expect(problems.map(({ path }) => path).sort()).toEqual([snapshotId, second.snapshotId].flatMap((id) => [`${id}/copy`, `${id}/dir/large`]).sort());
    }
  });

  it("a sample reads about its share of the files", async () => {
    for (let index = 0; index < 400; index++) writeFileSync(join(root, "dir", `f${index}`), `content ${index}`);
    const { verify } = await stored();
    const { contentsRead, filesRead, problems, files } = await verify("sample", { samplePercent: 20 });
    expect({ problems, files }).toEqual({ problems: [], files: 402 });
    // Beyond five standard deviations once in a million runs.
    expect(filesRead).toBeGreaterThan(40);
    expect(filesRead).toBeLessThan(125);
    expect(contentsRead).toBeGreaterThanOrEqual(filesRead);
    expect(await verify("sample", { samplePercent: 0 })).toMatchObject({ filesRead: 0, contentsRead: 0 });
    expect(await verify("sample", { samplePercent: 100 })).toMatchObject({ filesRead: 402 });
  });

  it("a content that was stored under an id that is not its own is found by hashing it again", async () => {
    const storage = new MemoryStorage();
    const repository = await createRepository(storage, { password: "pw", deriveKey });
    const { hasher } = (repository.contents as Contents).codec;
    const hash = hasher.hash.bind(hasher);
    const text = Buffer.from("what is stored");
    // A writer whose memory is broken: the hash is of other bytes than the ones that follow.
    hasher.hash = (data) => hash(Buffer.from(data).equals(text) ? Buffer.from("what was meant") : data);
    const object = new ObjectWriter(repository.objectWriters);
    await object.write(text);
    const { objectId } = await object.finish();
    const listing = new DirectoryListingWriter(repository.objectWriters);
    const facts = { mode: 0o644, mtimeNs: 1n, uid: 0, gid: 0 };
    await listing.add({ name: "wrong", type: "file", size: text.length, objectId, ...facts });
    const root = { name: "", type: "directory", size: 0, ...facts, ...(await listing.finish({ mtimeNs: 1n })) } as const;
    await repository.flush();
    await repository.close();
    const reader = await openRepository(storage, { password: "pw", deriveKey, readOnly: true });
    const snapshots = [{ id: "s", rootEntry: root } as unknown as Snapshot];
    expect((await verifySnapshots({ repository: reader, snapshots })).problems).toEqual([]);
    for (const limits of [{ threads: 0 }, { threads: 1 }]) {
      const { problems } = await verifySnapshots({ repository: reader, snapshots, mode: "full", limits });
      expect(problems).toMatchObject([{ path: "s/wrong", code: "REPO_CORRUPT", message: expect.stringContaining("not those that the id was made of") }]);
    }
    await reader.close();
  });

  it("ends with the signal's reason", async () => {
    const { verify } = await stored();
    const controller = new AbortController();
    controller.abort(new Error("enough"));
    await expect(verify("full", { signal: controller.signal })).rejects.toThrow("enough");
  });
});
