/** Real kopia and repositories of format version 1: single index blobs with a compaction log, and a copy of the format in every pack. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@drayage/base";
import { type BlobStorage, openFilesystemStorage } from "@drayage/blob";
import { type Contents, createRepositoryFormat, maintainRepository, noSafety, openContents, openRepository } from "@drayage/repo";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";

const PASSWORD = "correct horse";
let folder: string;
let made = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-kopia-legacy-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newKopia = (): KopiaClient => kopiaClient(join(folder, `kopia-${++made}`), PASSWORD);
const open = (storage: BlobStorage): Promise<Contents> =>
  openContents(storage, { password: PASSWORD, clock: systemClock, identity: { username: "user", hostname: "host" } });
async function newFolder(): Promise<string> {
  const path = join(folder, `folder-${++made}`);
  await mkdir(path);
  return path;
}
async function namesOf(storage: BlobStorage, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of storage.list(prefix)) names.push(id);
  return names;
}

/** Contents as both sides see them: id, pack, offset, length, whether deleted. */
const ours = (contents: Contents): unknown[] =>
  [...contents.list({ includeDeleted: true })].map(({ id, packBlobId, packOffset, packedLength, deleted }) => [
    id,
    packBlobId,
    packOffset,
    packedLength,
    deleted,
  ]);
async function theirs(kopia: KopiaClient): Promise<unknown[]> {
  interface Row {
    readonly contentID: string;
    readonly packFile: string;
    readonly packOffset?: number;
    readonly length: number;
    readonly deleted?: boolean;
  }
  const rows = JSON.parse(await kopia("content", "list", "--json", "--deleted")) as Row[];
  return rows.map(({ contentID, packFile, packOffset = 0, length, deleted = false }) => [contentID, packFile, packOffset, length, deleted]);
}

it("kopia's repository is maintained by us: indexes compacted, garbage gone, and kopia goes on with it", async () => {
  const path = await newFolder();
  const source = await newFolder();
  const kopia = newKopia();
  await kopia("repository", "create", "filesystem", "--path", path, "--format-version=1");
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    await writeFile(join(source, "changing"), Buffer.alloc(300_000, `version ${i}, `));
    await writeFile(join(source, "same"), Buffer.alloc(200_000, "the same, "));
    ids.push((JSON.parse(await kopia("snapshot", "create", source, "--json")) as { id: string }).id);
  }
  await kopia("maintenance", "set", "--owner", "default@default");
  await kopia("snapshot", "delete", ids[0] ?? "", ids[3] ?? "", "--delete");
  const storage = await openFilesystemStorage({ path });
  const indexes = (await namesOf(storage, "n")).length;
  const repository = await openRepository(storage, { password: PASSWORD });
  const quick = await maintainRepository(repository, { mode: "quick", safety: noSafety });
  expect(quick.tasks.map(({ task }) => task)).toContain("index-compaction");
  expect((await namesOf(storage, "n")).length).toBeLessThan(indexes);
  const deleted: (number | undefined)[] = [];
  for (let round = 0; round < 3; round++) {
    const report = await maintainRepository(repository, { mode: "full", safety: noSafety });
    deleted.push(report.tasks.find(({ task }) => task === "snapshot-gc")?.figures["deleted"]);
    // A client of its own: listings of index blobs are cached for half a minute.
    const fresh = newKopia();
    await connectKopia(fresh, path);
    expect(await theirs(fresh)).toEqual(ours(await open(storage)));
    await fresh("snapshot", "verify", "--verify-files-percent=100");
  }
  // Two files and two listings.
  expect(deleted).toEqual([4, 0, 0]);
  const next = newKopia();
  await connectKopia(next, path);
  const info = JSON.parse(await next("maintenance", "info", "--json")) as { schedule: { runs: Record<string, { success: boolean }[]> } };
  expect(info.schedule.runs["index-compaction"]?.every(({ success }) => success)).toBe(true);
  await next("snapshot", "create", source);
  await next("maintenance", "set", "--owner", "me");
  await next("maintenance", "run", "--safety=none");
  await next("maintenance", "run", "--full", "--safety=none");
  await next("content", "verify", "--full");
  expect(ours(await open(storage)).length).toBeGreaterThan(0);
});

it("what kopia's maintenance compacts and cleans up in our repository is read by us alike", async () => {
  const path = await newFolder();
  const storage = await openFilesystemStorage({ path, create: true });
  await createRepositoryFormat(storage, { password: PASSWORD, clock: systemClock, blockFormat: { formatVersion: 1 } });
  const contents = await open(storage);
  const kept: string[] = [];
  for (let i = 0; i < 12; i++) {
    // With a prefix of their own: contents without are garbage to kopia, which knows of no snapshot with them.
    kept.push((await contents.write(Buffer.from(`content ${i}`), { prefix: "m" })).id);
    await contents.flush();
  }
  const kopia = newKopia();
  await connectKopia(kopia, path, "me", "here");
  await kopia("index", "optimize", "--max-small-blobs=1", "--dangerous-commands=enabled");
  expect((await namesOf(storage, "m")).length).toBeGreaterThan(0);
  const reader = await open(storage);
  expect(ours(reader)).toEqual(await theirs(kopia));
  for (const id of kept) await reader.get(id as never);
  expect((await reader.indexBlobs.active()).blobs.length).toBe(1);
});

it("kopia finds the lost format again in a pack of ours", async () => {
  const path = await newFolder();
  const storage = await openFilesystemStorage({ path, create: true });
  await createRepositoryFormat(storage, { password: PASSWORD, clock: systemClock, blockFormat: { formatVersion: 1 } });
  const contents = await open(storage);
  const { id } = await contents.write(Buffer.from("still here"));
  await contents.flush();
  const before = await storage.get("kopia.repository");
  await storage.delete("kopia.repository");
  const kopia = newKopia();
  await expect(connectKopia(kopia, path)).rejects.toThrow(/not initialized/);
  await kopia("repository", "repair", "--recover-format=yes", "--dangerous-commands=enabled", "filesystem", "--path", path);
  expect(Buffer.from(await storage.get("kopia.repository")).equals(before)).toBe(true);
  await connectKopia(kopia, path);
  expect(await kopia("content", "show", id)).toBe("still here");
});
