/** Real kopia and error correction: each reads what the other wrote, whole and damaged. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { type BlobStorage, openFilesystemStorage } from "@drayage/blob";
import { type Contents, createRepositoryFormat, openContents } from "@drayage/repo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";

const PASSWORD = "correct horse";
const identity = { username: "user", hostname: "host" };
let folder: string;
let made = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-kopia-ecc-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const newKopia = (): KopiaClient => kopiaClient(join(folder, `kopia-${++made}`), PASSWORD);
const open = (storage: BlobStorage): Promise<Contents> => openContents(storage, { password: PASSWORD, clock: systemClock, identity });
async function newFolder(): Promise<string> {
  const path = join(folder, `folder-${++made}`);
  await mkdir(path);
  return path;
}

/** Flips one byte of every content and of every index blob: what the least parity repairs. */
async function damageEverything(storage: BlobStorage, contents: Contents): Promise<void> {
  const random = seededRandom(7);
  const offsets = new Map<string, number[]>();
  for (const { packBlobId, packOffset, packedLength } of contents.list({ includeDeleted: true })) {
    offsets.set(packBlobId, [...(offsets.get(packBlobId) ?? []), packOffset + Math.floor(random.fraction() * packedLength)]);
  }
  for await (const { id, length } of storage.list("xn")) offsets.set(id, [Math.floor(random.fraction() * length)]);
  for (const [id, damaged] of offsets) {
    const bytes = await storage.get(id);
    for (const at of damaged) bytes[at] = (bytes[at] ?? 0) ^ 0x99;
    await storage.put(id, bytes);
  }
}

describe.each([1, 2, 10, 100])("with an overhead of %i percent", (overhead) => {
  it("kopia verifies, shows and recovers what we wrote, and repairs it", async () => {
    const path = await newFolder();
    const storage = await openFilesystemStorage({ path, create: true });
    const keyAlgorithm = "pbkdf2-sha256-600000";
    await createRepositoryFormat(storage, { password: PASSWORD, clock: systemClock, keyAlgorithm, blockFormat: { eccOverheadPercent: overhead } });
    const contents = await open(storage);
    const lengths = [0, 1, 1000, 8_180, 8_200, 70_000, 1_000_000];
    const ids = await Promise.all(lengths.map(async (length) => (await contents.write(Buffer.alloc(length, `${length}, `), { compressor: "none" })).id));
    await contents.write(Buffer.from("a directory"), { prefix: "k" });
    await contents.flush();

    const kopia = newKopia();
    await connectKopia(kopia, path);
    await kopia("content", "verify", "--full");
    await damageEverything(storage, contents);
    const victim = newKopia();
    await connectKopia(victim, path);
    for (const [i, id] of ids.entries()) {
      expect(await victim("content", "show", id)).toBe(Buffer.alloc(lengths[i] ?? 0, `${lengths[i]}, `).toString());
    }
    await victim("content", "verify", "--full");
    for await (const { id } of storage.list("xn")) await storage.delete(id);
    const rescuer = newKopia();
    await connectKopia(rescuer, path);
    await rescuer("index", "recover", "--commit", "--dangerous-commands=enabled");
    expect([...(await open(storage)).list()].map(({ id }) => id)).toEqual([...contents.list()].map(({ id }) => id));
  });

  it("we read what kopia wrote, repair it, and kopia reads what we add", async () => {
    const path = await newFolder();
    const source = await newFolder();
    const random = seededRandom(overhead);
    for (let i = 0; i < 6; i++) await writeFile(join(source, `file-${i}`), random.bytes(37 * 10 ** (i - 1) + 1));
    const kopia = newKopia();
    await kopia("repository", "create", "filesystem", "--path", path, `--ecc-overhead-percent=${overhead}`);
    await kopia("snapshot", "create", source);
    const storage = await openFilesystemStorage({ path });
    await damageEverything(storage, await open(storage));
    const contents = await open(storage);
    for (const { id } of contents.list()) {
      expect(id.endsWith(Buffer.from(contents.codec.hasher.hash(await contents.get(id))).toString("hex"))).toBe(true);
    }
    expect(contents.repairedShards).toBeGreaterThan(0);
    const { id } = await contents.write(Buffer.from("added by us"));
    await contents.flush();
    const fresh = newKopia();
    await connectKopia(fresh, path);
    expect(await fresh("content", "show", id)).toBe("added by us");
    await fresh("snapshot", "verify", "--verify-files-percent=100");
  });
});
