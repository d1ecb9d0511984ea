/** The repositories that the benchmarks of indexes are made on are real to kopia: it lists their contents and indexes, verifies and maintains them, and we read what it left. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "@drayage/base";
import { openFilesystemStorage } from "@drayage/blob";
import { maintainRepository, noSafety, openRepository } from "@drayage/repo";
import { afterAll, beforeAll, expect, it } from "vitest";
import { makeSyntheticRepository, SYNTHETIC_PASSWORD } from "../../bench/synthetic-repository.ts";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";

const CONTENTS = 3000;
const identity = { userName: "user", host: "host" };
let folder: string;
let kopia: KopiaClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-kopia-synthetic-"));
  await mkdir(join(folder, "repository"));
  const storage = await openFilesystemStorage({ path: join(folder, "repository") });
  await makeSyntheticRepository(storage, { contents: CONTENTS, smallIndexes: 5, identity, clock: systemClock, random: systemRandom });
  await storage.close();
  kopia = kopiaClient(join(folder, "kopia"), SYNTHETIC_PASSWORD);
  await mkdir(join(folder, "kopia"));
  await connectKopia(kopia, join(folder, "repository"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function ours(): Promise<string[]> {
  const storage = await openFilesystemStorage({ path: join(folder, "repository") });
  const repository = await openRepository(storage, { password: SYNTHETIC_PASSWORD, clock: systemClock, readOnly: true });
  const ids = [...repository.contents.list()].map(({ id }) => id as string);
  await repository.close();
  await storage.close();
  return ids.sort();
}

const theirs = async (): Promise<string[]> =>
  (JSON.parse(await kopia("content", "list", "--json")) as { contentID: string }[]).map(({ contentID }) => contentID).sort();

it("kopia lists what we list, verifies the snapshot, and both maintain it", { timeout: 120_000 }, async () => {
  const before = await theirs();
  expect(before.length).toBeGreaterThan(CONTENTS);
  expect(await ours()).toEqual(before);
  expect((JSON.parse(await kopia("index", "list", "--json")) as unknown[]).length).toBe(1 + 5 + 2);
  await kopia("snapshot", "verify", "--verify-files-percent=0");
  const storage = await openFilesystemStorage({ path: join(folder, "repository") });
  const repository = await openRepository(storage, { password: SYNTHETIC_PASSWORD, identity, clock: systemClock });
  const { tasks } = await maintainRepository(repository, { mode: "full", safety: noSafety });
  // The contents, a listing for each thousand, and the root.
  expect(tasks.find(({ task }) => task === "snapshot-gc")?.figures["inUse"]).toBe(CONTENTS + CONTENTS / 1000 + 1);
  await repository.close();
  await storage.close();
  expect(await theirs()).toEqual(await ours());
  await kopia("maintenance", "run", "--full", "--safety=none");
  await kopia("snapshot", "verify", "--verify-files-percent=0");
  expect(await ours()).toEqual(await theirs());
});
