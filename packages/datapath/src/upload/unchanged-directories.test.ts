import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { systemCalls } from "@drayage/kernels";
import { createRepository, loadDirectory, type ObjectId, parseObjectId, parseSnapshotSource, type Repository } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { withLookAhead } from "./look-ahead.ts";
import { type UploadResult, type UploadSnapshotOptions, uploadSnapshot } from "./upload-snapshot.ts";

const snapshotSource = parseSnapshotSource("user@host:/data");
const deriveKey = rememberingKeys();
const FILES = 60;
let root: string;
/** 0: this thread compares all directories; with three threads, others compare those that come next. */
let parallel = 0;
/** Whether the source has been seen before the upload begins. */
let isSeen = false;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "unchanged-"));
  for (const name of ["a", "b", "empty"]) mkdirSync(join(root, name));
  for (const name of ["a", "b"]) for (let i = 0; i < FILES; i++) writeFileSync(join(root, name, `file ${i}`), patternBytes(100 + i, i));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

async function newRepository(): Promise<Repository & AsyncDisposable> {
  const repository = await createRepository(new MemoryStorage(), { password: "pw", deriveKey });
  return Object.assign(repository, { [Symbol.asyncDispose]: () => repository.close() });
}

function upload(repository: Repository, options: Partial<UploadSnapshotOptions> = {}): Promise<UploadResult> {
  const reading = { source: { kind: "directory", path: root }, parallel } as const;
  return withLookAhead({ ...reading, parallel: isSeen ? parallel : 0 }, async (scan) => {
    await scan?.ended;
    return await uploadSnapshot({ repository, snapshotSource, clock: repository.clock, ...reading, scan, ...options });
  });
}

async function listingOf(repository: Repository, { rootEntry }: UploadResult, name: string): Promise<ObjectId> {
  const entries = await loadDirectory(repository.objects, rootEntry.objectId ?? ("" as ObjectId), 1000);
  return entries.find((entry) => entry.name === name)?.objectId ?? ("" as ObjectId);
}

/** Whatever was done to the source, going on from the parent gives what reading everything gives. */
async function bothWays(repository: Repository): Promise<UploadResult> {
  const result = await upload(repository);
  const anew = await upload(repository, { parent: "none" });
  expect(result.rootEntry).toEqual(anew.rootEntry);
  expect(result.stats.totalSize).toBe(anew.stats.totalSize);
  return result;
}

describe.each([
  [0, false],
  [3, false],
  [3, true],
] as const)("with %i threads, seen ahead: %s, a directory of nothing but files that are all as they were", (threads, seen) => {
  beforeEach(() => {
    [parallel, isSeen] = [threads, seen];
  });

  it("has its parent's object, of which nothing is written or hashed again", async () => {
    await using repository = await newRepository();
    const first = await upload(repository);
    const second = await upload(repository);
    expect(second.rootEntry).toEqual(first.rootEntry);
    expect(second.stats).toMatchObject({ fileCount: 2 * FILES, cachedFiles: 2 * FILES, nonCachedFiles: 0, dirCount: 4 });
    const { contentId } = parseObjectId(await listingOf(repository, second, "a"));
    // What is hashed is the listing of the root, and that of the empty directory.
    expect(second.progress.bytesHashed).toBeLessThan(repository.contents.info(contentId)?.originalLength ?? 0);
  });

  it("is compared as text behind a file that has changed, too: one entry is decoded for it", async () => {
    await using repository = await newRepository();
    await upload(repository);
    writeFileSync(join(root, "a", "file 15"), "changed");
    unlinkSync(join(root, "b", "file 15"));
    const parse = vi.spyOn(JSON, "parse");
    const { stats } = await upload(repository);
    // Besides the manifests and the entries of three directories, this one and the one after what is gone.
    expect(parse.mock.calls.length).toBeLessThan(FILES / 2);
    parse.mockRestore();
    expect(stats).toMatchObject({ cachedFiles: 2 * FILES - 2, nonCachedFiles: 1 });
    await bothWays(repository);
  });

  it("is told from one with a file more, less, at its beginning or its end, or changed", async () => {
    await using repository = await newRepository();
    await upload(repository);
    const changes: (() => void)[] = [
      () => writeFileSync(join(root, "a", "file zz"), "at its end"),
      () => unlinkSync(join(root, "a", "file zz")),
      () => writeFileSync(join(root, "a", "a first one"), "at its beginning"),
      () => unlinkSync(join(root, "a", "file 0")),
      () => renameSync(join(root, "a", "file 1"), join(root, "a", "file 1 more")),
      () => writeFileSync(join(root, "b", "file 59"), "the last one"),
      () => symlinkSync("file 5", join(root, "b", "link")),
      () => mkdirSync(join(root, "b", "directory")),
    ];
    for (const change of changes) {
      change();
      await bothWays(repository);
    }
  });

  it("keeps what is its own: attributes it has come or gone, and times count where nothing is in it", async () => {
    await using repository = await newRepository();
    const first = await upload(repository);
    systemCalls.setXattr(join(root, "a"), "user.note", patternBytes(9));
    const noted = await bothWays(repository);
    expect(await listingOf(repository, noted, "a")).not.toBe(await listingOf(repository, first, "a"));
    systemCalls.removeXattr(join(root, "a"), "user.note");
    expect(await listingOf(repository, await bothWays(repository), "a")).toBe(await listingOf(repository, first, "a"));
    utimesSync(join(root, "a"), 5, 5);
    utimesSync(join(root, "empty"), 5, 5);
    const later = await bothWays(repository);
    expect(await listingOf(repository, later, "a")).toBe(await listingOf(repository, first, "a"));
    expect(await listingOf(repository, later, "empty")).not.toBe(await listingOf(repository, first, "empty"));
  });

  it("is written anew where its listing was deleted from the repository", async () => {
    await using repository = await newRepository();
    const first = await upload(repository);
    const { contentId } = parseObjectId(await listingOf(repository, first, "a"));
    await repository.contents.delete(contentId);
    expect((await upload(repository)).rootEntry).toEqual(first.rootEntry);
    expect(repository.contents.info(contentId)).toMatchObject({ deleted: false });
  });

  it.for(["native", "portable"])("is read again where contents of its files were deleted, and only those, %s kernels", async (kernels) => {
    if (kernels === "portable") vi.stubEnv("DRAY_KERNELS", kernels);
    await using repository = await newRepository();
    const first = await upload(repository);
    const entries = await loadDirectory(repository.objects, await listingOf(repository, first, "a"), 1000);
    for (const i of [0, 7, 8, FILES - 1]) await repository.contents.delete(parseObjectId(entries[i]?.objectId ?? "").contentId);
    await repository.flush();
    const second = await upload(repository);
    expect(second.rootEntry).toEqual(first.rootEntry);
    // The other directory has the same four.
    expect(second.stats).toMatchObject({ cachedFiles: 2 * FILES - 8, nonCachedFiles: 8 });
    for (const { objectId } of entries) expect(repository.contents.info(parseObjectId(objectId).contentId)).toMatchObject({ deleted: false });
  });

  it.for(["native", "portable"])("holds names of any bytes, which are taken over as they are, %s kernels", async (kernels) => {
    if (kernels === "portable") vi.stubEnv("DRAY_KERNELS", kernels);
    await using repository = await newRepository();
    const names = ["é", "\u65e5\u672c", 'quote"', "back\\slash", "<&>", "line\u2028", "tab\t", "\ufffd", "z"].map((name) => Buffer.from(name));
    for (const name of [...names, Buffer.of(0x62, 0xff), Buffer.of(0xe2, 0x82)]) writeFileSync(Buffer.concat([Buffer.from(`${root}/a/`), name]), name);
    const first = await upload(repository);
    const second = await upload(repository);
    expect(second.rootEntry).toEqual(first.rootEntry);
    // Of the name with U+FFFD a listing does not tell whether it is its own.
    expect(second.stats).toMatchObject({ fileCount: 2 * FILES + 11, nonCachedFiles: 1 });
    writeFileSync(join(root, "a", "file 7"), "changed");
    await bothWays(repository);
  });

  it("leaves no descriptor open when the repository fails in the middle, and the next upload is as if nothing had been", async () => {
    await using repository = await newRepository();
    for (const name of ["c", "d", "e"]) {
      mkdirSync(join(root, name));
      for (let i = 0; i < FILES; i++) writeFileSync(join(root, name, `file ${i}`), patternBytes(50 + i, i));
    }
    await upload(repository);
    for (const name of ["a", "b", "c", "d", "e"]) writeFileSync(join(root, name, "file 1"), `changed ${name}`);
    const { contents } = repository;
    const get = contents.get.bind(contents);
    let failed = 0;
    for (let after = 0; after < 8; after++) {
      let calls = 0;
      const open = readdirSync("/proc/self/fd").length;
      const spy = vi.spyOn(contents, "get").mockImplementation(async (...call) => {
        if (calls++ === after) throw new DrayError("BLOB_UNAVAILABLE", "Cannot read: the store is away");
        return await get(...call);
      });
      await upload(repository).catch((error: unknown) => {
        expect(error).toMatchObject({ code: "BLOB_UNAVAILABLE" });
        failed++;
      });
      spy.mockRestore();
      expect(readdirSync("/proc/self/fd").length).toBe(open);
    }
    expect(failed).toBeGreaterThan(3);
    await bothWays(repository);
  });

  it("is the same with the portable kernels", async () => {
    vi.stubEnv("DRAY_KERNELS", "portable");
    await using repository = await newRepository();
    const first = await upload(repository);
    expect((await bothWays(repository)).rootEntry).toEqual(first.rootEntry);
  });
});

describe("a directory of more files than are looked at together", () => {
  it("is taken over but for what has changed, with any number of files between", async () => {
    await using repository = await newRepository();
    const wide = join(root, "wide");
    const count = 2500;
    mkdirSync(wide);
    for (let i = 0; i < count; i++) writeFileSync(join(wide, `file ${10_000 + i}`), patternBytes(10 + (i % 50), i));
    await upload(repository);
    writeFileSync(join(wide, "file 10000"), "the first one");
    writeFileSync(join(wide, "file 11023"), "at the end of a stretch");
    unlinkSync(join(wide, "file 11024"));
    unlinkSync(join(wide, "file 12000"));
    writeFileSync(join(wide, "file 12000 and more"), "new");
    writeFileSync(join(wide, "last"), "new");
    const { stats } = await bothWays(repository);
    expect(stats).toMatchObject({ fileCount: 2 * FILES + count, cachedFiles: 2 * FILES + count - 4, nonCachedFiles: 4 });
  });
});
