import { mkdirSync, mkdtempSync, readdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { createRepository, type DirectoryEntry, loadDirectory, type ObjectId, parseObjectId, parseSnapshotSource, type Repository } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { UploadLanes } from "./lanes/upload-lanes.ts";
import { type UploadResult, type UploadSnapshotOptions, uploadSnapshot } from "./upload-snapshot.ts";

const snapshotSource = parseSnapshotSource("user@host:/data");
const deriveKey = rememberingKeys();
/** More than may wait for their turn in one directory. */
const DIRECTORIES = 90;
const FILES = 9;
let root: string;
let parallel = 0;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "rewritten-"));
  for (let i = 0; i < DIRECTORIES; i++) {
    mkdirSync(at(i));
    for (let j = 0; j < FILES; j++) writeFileSync(at(i, j), patternBytes(60 + i, j));
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

const at = (i: number, ...files: readonly (number | string)[]): string => join(root, `d${100 + i}`, ...files.map((file) => `file ${file}`));

type Choices = Omit<Parameters<typeof createRepository>[1], "password" | "deriveKey">;

async function newRepository(choices: Choices = {}, storage = new MemoryStorage()): Promise<Repository & AsyncDisposable> {
  const repository = await createRepository(storage, { password: "pw", deriveKey, ...choices });
  return Object.assign(repository, { [Symbol.asyncDispose]: () => repository.close() });
}

function upload(repository: Repository, options: Partial<UploadSnapshotOptions> = {}): Promise<UploadResult> {
  return uploadSnapshot({ repository, source: { kind: "directory", path: root }, snapshotSource, clock: repository.clock, parallel, ...options });
}

/** One file in each directory: changed, new, or gone. */
function changeOne(i: number): void {
  if (i % 3 === 0) writeFileSync(at(i, i % FILES), `changed ${i}`);
  else if (i % 3 === 1) writeFileSync(at(i, "new"), i % 2 === 0 ? "" : `new ${i}`);
  else unlinkSync(at(i, 7));
}

/** Of all files of a snapshot, whose contents and listings are there. */
async function contentsOf(repository: Repository, { rootEntry }: UploadResult): Promise<string[]> {
  const found: string[] = [];
  const read = async (id: ObjectId | undefined): Promise<DirectoryEntry[]> => await loadDirectory(repository.objects, id ?? ("" as ObjectId), 1000);
  for (const directory of await read(rootEntry.objectId)) {
    for (const { name, objectId } of await read(directory.objectId)) {
      found.push(`${directory.name}/${name}: ${Buffer.from(await repository.contents.get(parseObjectId(objectId).contentId)).toString("hex")}`);
    }
  }
  return found;
}

describe.each([0, 2])("with %i threads, directories of which little has changed", (threads) => {
  beforeEach(() => {
    parallel = threads;
  });

  it("have the listings and contents that reading everything gives, with no job for any file", async () => {
    await using repository = await newRepository();
    await upload(repository);
    for (let i = 0; i < DIRECTORIES; i++) changeOne(i);
    const jobs = vi.spyOn(UploadLanes.prototype, "files");
    const result = await upload(repository);
    expect(jobs).not.toHaveBeenCalled();
    const [changed, added, gone] = [30, 30, 30];
    const fileCount = DIRECTORIES * FILES + added - gone;
    expect(result.stats).toMatchObject({ fileCount, cachedFiles: fileCount - changed - added, nonCachedFiles: changed + added, dirCount: DIRECTORIES + 1 });
    expect(result.progress).toMatchObject({ filesDone: fileCount, bytesDone: result.stats.totalSize });
    const found = await contentsOf(repository, result);
    expect(found).toHaveLength(fileCount);
    expect(found).toContain(`d100/file 0: ${Buffer.from("changed 0").toString("hex")}`);
    const again = await upload(repository);
    expect(again.rootEntry).toEqual(result.rootEntry);
    vi.stubEnv("DRAY_KERNELS", "portable");
    const anew = await upload(repository, { parent: "none" });
    expect(anew.rootEntry).toEqual(result.rootEntry);
    expect(anew.stats.totalSize).toBe(result.stats.totalSize);
  });

  it("wait for nobody where the first of many has changed, and the rest have not", async () => {
    await using repository = await newRepository();
    await upload(repository);
    writeFileSync(at(0, 3), "changed");
    writeFileSync(join(root, "beside the directories"), "new");
    const result = await upload(repository);
    expect(result.stats).toMatchObject({ nonCachedFiles: 2 });
    expect((await upload(repository, { parent: "none" })).rootEntry).toEqual(result.rootEntry);
  });

  it("are the same in repositories whose contents are hashed, sealed or compressed otherwise", async () => {
    for (const choices of [{ hash: "BLAKE3-256" }, { hash: "BLAKE2B-256" }, { ecc: "REED-SOLOMON-CRC32", eccOverheadPercent: 5 }, { version: 1 as const }]) {
      await using repository = await newRepository({ blockFormat: choices } as Choices);
      await upload(repository);
      for (let i = 0; i < 9; i++) changeOne(i);
      const result = await upload(repository);
      const anew = await upload(repository, { parent: "none" });
      expect(anew.rootEntry).toEqual(result.rootEntry);
      expect(await contentsOf(repository, anew)).toHaveLength(result.stats.fileCount);
      for (let i = 0; i < 9; i++) {
        rmSync(at(i), { recursive: true });
        mkdirSync(at(i));
        for (let j = 0; j < FILES; j++) writeFileSync(at(i, j), patternBytes(60 + i, j));
      }
    }
  });

  it("compress their files where that is asked for", async () => {
    await using repository = await newRepository();
    await upload(repository, { compressor: "zstd-fastest" });
    writeFileSync(at(0, 3), "a".repeat(10_000));
    const { rootEntry } = await upload(repository, { compressor: "zstd-fastest" });
    const [directory] = await loadDirectory(repository.objects, rootEntry.objectId ?? ("" as ObjectId), 1000);
    const entries = await loadDirectory(repository.objects, directory?.objectId ?? ("" as ObjectId), 1000);
    const { contentId } = parseObjectId(entries.find(({ size }) => size === 10_000)?.objectId ?? "");
    expect(repository.contents.info(contentId)?.packedLength).toBeLessThan(200);
  });

  it("are walked where contents of files that have not changed are gone", async () => {
    await using repository = await newRepository();
    await upload(repository);
    const first = await upload(repository);
    const [directory] = await loadDirectory(repository.objects, first.rootEntry.objectId ?? ("" as ObjectId), 1000);
    const entries = await loadDirectory(repository.objects, directory?.objectId ?? ("" as ObjectId), 1000);
    const { contentId } = parseObjectId(entries[5]?.objectId ?? "");
    await repository.contents.delete(contentId);
    await repository.flush();
    writeFileSync(at(0, 0), "changed");
    const result = await upload(repository);
    expect(repository.contents.info(contentId)).toMatchObject({ deleted: false });
    expect((await upload(repository, { parent: "none" })).rootEntry).toEqual(result.rootEntry);
  });

  it("leave nothing open when storing them fails, and the next upload is as if nothing had been", async () => {
    await using repository = await newRepository();
    await upload(repository);
    for (let i = 0; i < DIRECTORIES; i++) changeOne(i);
    const { contents } = repository;
    const open = readdirSync("/proc/self/fd").length;
    for (let after = 0; after < 4; after++) {
      let calls = 0;
      const writeReady = contents.writeReady?.bind(contents) ?? expect.fail("contents do not lie in packs");
      const spy = vi.spyOn(contents as Required<typeof contents>, "writeReady").mockImplementation(async (...call) => {
        if (calls++ === after) throw new DrayError("BLOB_UNAVAILABLE", "Cannot write: the store is away");
        return await writeReady(...call);
      });
      const outcome = await upload(repository).catch((error: unknown) => error);
      spy.mockRestore();
      expect([after, outcome]).toEqual([after, expect.objectContaining({ code: "BLOB_UNAVAILABLE" })]);
      expect(readdirSync("/proc/self/fd").length).toBe(open);
    }
    const result = await upload(repository);
    expect((await upload(repository, { parent: "none" })).rootEntry).toEqual(result.rootEntry);
  });
});
