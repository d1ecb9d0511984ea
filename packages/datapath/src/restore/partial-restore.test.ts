/** One directory of many: what is fetched for it is it, the way to it, and the index. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRepository, openRepository, parseObjectId, parseSnapshotSource, type Repository } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findInSnapshot } from "../find-in-snapshot.ts";
import { patternBytes } from "../testing/index.ts";
import { uploadSnapshot } from "../upload/upload-snapshot.ts";
import { type RestoreResult, restoreSnapshot } from "./restore-snapshot.ts";

const options = { password: "pw", deriveKey: rememberingKeys() };
const DIRECTORIES = 120;
const FILES = 10;
const FILE_BYTES = 60;

class CountingStorage extends MemoryStorage {
  fetched: { readonly id: string; readonly bytes: number }[] = [];

  override async get(...asked: Parameters<MemoryStorage["get"]>): Promise<Uint8Array> {
    const bytes = await super.get(...asked);
    this.fetched.push({ id: asked[0], bytes: bytes.length });
    return bytes;
  }

  /** Bytes of blobs whose names begin so. */
  bytesOf(...letters: readonly string[]): number {
    return this.fetched.filter(({ id }) => letters.includes(id[0] ?? "")).reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

let folder: string;
const storage = new CountingStorage();

/** Listings of more than half a KiB each, compressed: some 80 KiB in all. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "partial-"));
  const source = join(folder, "source");
  for (let directory = 0; directory < DIRECTORIES; directory++) {
    const path = join(source, directory < 20 ? "some" : "many", `${directory}`);
    mkdirSync(path, { recursive: true });
    for (let file = 0; file < FILES; file++) writeFileSync(join(path, `${file}`), patternBytes(FILE_BYTES, directory * FILES + file));
  }
  const repository = await createRepository(storage, options);
  await uploadSnapshot({ repository, source: { kind: "directory", path: source }, snapshotSource: parseSnapshotSource("u@h:/data") });
  await repository.close();
}, 60_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Part {
  readonly repository: Repository;
  readonly result: RestoreResult;
  /** What was fetched before the restore began, as the repository tells it. */
  readonly wayBytes: number;
}

async function restorePart(path: string): Promise<Part> {
  storage.fetched = [];
  const repository = await openRepository(storage, { ...options, readOnly: true });
  const root = await findInSnapshot(repository, await repository.snapshots.resolve("latest"), path);
  const wayBytes = repository.contents.packed?.bytesFetched ?? 0;
  const result = await restoreSnapshot({ repository, root, target: { kind: "directory", path: join(folder, `target-${path.replaceAll("/", "-")}`) } });
  return { repository, result, wayBytes };
}

async function storedListingBytes(repository: Repository, ...paths: readonly string[]): Promise<number> {
  const snapshot = await repository.snapshots.resolve("latest");
  let bytes = 0;
  for (const path of paths) {
    const { objectId } = await findInSnapshot(repository, snapshot, path);
    bytes += repository.contents.info(parseObjectId(objectId).contentId)?.packedLength ?? 0;
  }
  return bytes;
}

describe("a restore of one directory of many", () => {
  it("fetches the listings on the way and its own, the manifests, and no byte around them", async () => {
    const { repository, result } = await restorePart("many/77");
    const fetched = storage.bytesOf("q");
    expect(readdirSync(join(folder, "target-many-77")).length).toBe(FILES);
    const manifests = [...repository.contents.list({ prefix: "m" })].reduce((sum, { packedLength }) => sum + packedLength, 0);
    expect(fetched).toBe(manifests + (await storedListingBytes(repository, "", "many", "many/77")));
    expect(storage.fetched.filter(({ id }) => id.startsWith("p")).map(({ bytes }) => bytes)).toEqual([result.read.bytesNeeded]);
    await repository.close();
  });

  it("fetches about as much of the listings as lies below it where that is more", async () => {
    const { repository } = await restorePart("some");
    // Two blocks of 16 KiB, since the listings may cross a border, and the way.
    expect(storage.bytesOf("q")).toBeLessThan(40 << 10);
    expect(storage.fetched.filter(({ id }) => id.startsWith("q")).length).toBeLessThan(8);
    await repository.close();
  });

  it("tells every byte that it fetched but those of the format", async () => {
    for (const path of ["many/78", "some/3/7", ""]) {
      const { repository, result, wayBytes } = await restorePart(path);
      expect(wayBytes + result.read.bytesFetched).toBe(storage.bytesOf("p", "q", "x"));
      await repository.close();
    }
  });
});
