/** Real kopia on snapshots that we made, and we on those that it made: the same bytes, the same object ids, and nothing of what we add lost or in the way. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFilesystemStorage } from "@drayage/blob";
import { restoreSnapshot, type UploadSnapshotOptions, uploadSnapshot, verifySnapshots } from "@drayage/datapath";
import { createRepository, DirectoryListing, openRepository, parseSnapshotSource, type Repository, type Snapshot } from "@drayage/repo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";
import { addExtras, makePlainTree } from "./sample-tree.ts";
import { kopiaFacts, treeFacts } from "./tree-facts.ts";

const PASSWORD = "correct horse";
const identity = { userName: "user", host: "host" };
let folder: string;
let count = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-kopia-snapshots-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fresh(name: string): string {
  const path = join(folder, `${name}-${++count}`);
  mkdirSync(path);
  return path;
}

function plainTree(): string {
  const root = fresh("tree");
  makePlainTree(root);
  return root;
}

async function createOurs(velero = false): Promise<string> {
  const path = fresh("repository");
  const storage = await openFilesystemStorage({ path, create: true });
  await (await createRepository(storage, { password: PASSWORD, identity, ...(velero ? { velero: {} } : {}) })).close();
  return path;
}

async function withOurs<T>(path: string, work: (repository: Repository) => Promise<T>): Promise<T> {
  const repository = await openRepository(await openFilesystemStorage({ path }), { password: PASSWORD, identity });
  try {
    return await work(repository);
  } finally {
    await repository.close();
  }
}

function upload(repository: Repository, root: string, options: Partial<UploadSnapshotOptions> = {}) {
  return uploadSnapshot({ repository, source: { kind: "directory", path: root }, snapshotSource: { ...identity, path: root }, ...options });
}

async function client(path: string): Promise<KopiaClient> {
  const kopia = kopiaClient(fresh("kopia"), PASSWORD);
  await connectKopia(kopia, path);
  return kopia;
}

async function listed(kopia: KopiaClient): Promise<{ readonly id: string; readonly rootEntry: { readonly obj: string }; readonly stats: unknown }[]> {
  return JSON.parse(await kopia("snapshot", "list", "--all", "--json")) as never;
}

async function restoreOurs(path: string, id: string): Promise<string> {
  const target = join(folder, `restored-${++count}`);
  await withOurs(path, async (repository) => {
    const { rootEntry } = await repository.snapshots.get(id);
    if (rootEntry === undefined) throw new Error("no root");
    expect(await restoreSnapshot({ repository, root: rootEntry, target: { kind: "directory", path: target }, verify: true })).toMatchObject({
      problems: [],
      warnings: [],
    });
  });
  return target;
}

async function restoreTheirs(kopia: KopiaClient, id: string): Promise<string> {
  const target = join(folder, `restored-${++count}`);
  await kopia("restore", id, target);
  return target;
}

/** A loop device over an image; only root attaches one. */
async function withDevice<T>(image: string, work: (device: string) => Promise<T>): Promise<T> {
  const device = execFileSync("losetup", ["--find", "--show", image], { encoding: "utf8" }).trim();
  try {
    return await work(device);
  } finally {
    execFileSync("losetup", ["--detach", device]);
  }
}

if (process.getuid?.() === 0) {
  describe("kopia on devices in the form of Velero's block mover", () => {
    it("verifies and restores them, block by block as we stored them, and keeps what our next one goes on from", async () => {
      const path = await createOurs();
      const image = join(fresh("device"), "disk.img");
      const data = Buffer.concat([randomBytes(3 << 20), Buffer.alloc(4 << 20), randomBytes((1 << 20) + 512)]);
      writeFileSync(image, data);
      const snapshotSource = { ...identity, path: "snapshot-data-upload-download/velero-block/ns/pvc" };
      const create = () =>
        withDevice(image, (device) =>
          withOurs(path, (repository) => uploadSnapshot({ repository, source: { kind: "block", form: "blocks", path: device }, snapshotSource })),
        );
      const first = await create();
      const kopia = await client(path);
      await kopia("snapshot", "verify", "--verify-files-percent=100");
      const name = "snapshot-data-upload-download-velero-block-ns-pvc";
      const theirs = readFileSync(join(await restoreTheirs(kopia, first.snapshotId), name));
      expect(theirs.length).toBe(9 << 20);
      expect(theirs.subarray(0, data.length).equals(data)).toBe(true);
      expect(theirs.subarray(data.length).every((byte) => byte === 0)).toBe(true);

      await kopia("maintenance", "run", "--full", "--safety=none");
      randomBytes(4096).copy(data, 5 << 20);
      writeFileSync(image, data);
      const second = await create();
      // The block of the change, the list, and the listing.
      expect(second.progress.bytesHashed - second.progress.bytesDeduplicated).toBeLessThan((1 << 20) + 65_536);
      await kopia("snapshot", "verify", "--verify-files-percent=100");
      expect(
        readFileSync(join(await restoreTheirs(kopia, second.snapshotId), name))
          .subarray(0, data.length)
          .equals(data),
      ).toBe(true);
    });
  });
}

describe("kopia on snapshots that we made", () => {
  it("lists, verifies, restores and maintains a plain tree", async () => {
    const [root, path] = [plainTree(), await createOurs()];
    const { snapshotId } = await withOurs(path, (repository) => upload(repository, root));
    const kopia = await client(path);
    expect((await listed(kopia)).map(({ id }) => id)).toEqual([snapshotId]);
    await kopia("snapshot", "verify", "--verify-files-percent=100");
    expect(kopiaFacts(treeFacts(await restoreTheirs(kopia, snapshotId)))).toEqual(kopiaFacts(treeFacts(root)));
    await kopia("maintenance", "run", "--full", "--safety=none");
    expect(treeFacts(await restoreOurs(path, snapshotId))).toEqual(treeFacts(root));
  });

  it("passes over what we add, keeps it through maintenance, and loses it only in snapshots of its own", async () => {
    const [root, path] = [plainTree(), await createOurs()];
    addExtras(root);
    const { snapshotId } = await withOurs(path, (repository) => upload(repository, root));
    const kopia = await client(path);
    await kopia("snapshot", "verify", "--verify-files-percent=100");
    const theirs = kopiaFacts(treeFacts(await restoreTheirs(kopia, snapshotId)));
    const wanted = kopiaFacts(treeFacts(root));
    const odd = Buffer.from("not-utf8-\ufffd\ufffd\ufffd").toString("latin1");
    const oddBytes = Buffer.concat([Buffer.from("not-utf8-"), Buffer.of(0xff, 0xe2, 0x82)]).toString("latin1");
    wanted[odd] = wanted[oddBytes];
    delete wanted[oddBytes];
    expect(theirs).toEqual(wanted);

    // Kopia takes its own snapshot of the same source, pins ours, and maintains: everything is moved into new packs.
    await kopia("snapshot", "create", root);
    await kopia("snapshot", "pin", "--add", "kept", snapshotId);
    await kopia("maintenance", "run", "--full", "--safety=none");
    const both = await withOurs(path, async (repository) => (await repository.snapshots.list()).snapshots);
    const pinned = both.find((snapshot) => snapshot.pins.includes("kept")) as Snapshot;
    expect(treeFacts(await restoreOurs(path, pinned.id))).toEqual(treeFacts(root));

    // Ours on top of Kopia's: unchanged files are not read again, and the additions are back.
    const again = await withOurs(path, (repository) => upload(repository, root));
    // Two names hold U+FFFD, of which Kopia's listing does not tell whether it was there or stands for a byte.
    expect(again.stats.cachedFiles).toBe(again.stats.fileCount - 2);
    expect(treeFacts(await restoreOurs(path, again.snapshotId))).toEqual(treeFacts(root));
  });

  it("goes on from our snapshot without reading unchanged files, and we from its", async () => {
    const [root, path] = [plainTree(), await createOurs()];
    const first = await withOurs(path, (repository) => upload(repository, root));
    const kopia = await client(path);
    await kopia("snapshot", "create", root);
    const created = (await listed(kopia)).find(({ id }) => id !== first.snapshotId);
    expect(created?.stats).toMatchObject({ nonCachedFiles: 0 });
    writeFileSync(join(root, "a"), "changed");
    const third = await withOurs(path, (repository) => upload(repository, root));
    expect(third).toMatchObject({ parentId: created?.id, stats: { cachedFiles: first.stats.fileCount - 2, nonCachedFiles: 2 } });
    expect(treeFacts(await restoreOurs(path, third.snapshotId))).toEqual(treeFacts(root));
  });

  it("finds our tags and pins, keeps Velero's mark and policy, and takes our deletions", async () => {
    const [root, path] = [fresh("tree"), await createOurs(true)];
    writeFileSync(join(root, "file"), "content");
    const snapshotSource = parseSnapshotSource("default@default:snapshot-data-upload-download/kopia/ns/pvc");
    const tags = { "snapshot-requester": "snapshot-data-upload-download", "snapshot-uploader": "kopia" };
    const { snapshotId } = await withOurs(path, (repository) =>
      upload(repository, root, { snapshotSource, tags, pins: ["velero-pin"], description: "Kopia Uploader", policy: "velero" }),
    );
    const kopia = kopiaClient(fresh("kopia"), PASSWORD);
    await connectKopia(kopia, path, "default", "default");
    expect(await listed(kopia)).toMatchObject([{ id: snapshotId, description: "Kopia Uploader", tags, pins: ["velero-pin"] }]);
    expect(await kopia("policy", "show", "default@default:snapshot-data-upload-download/kopia/ns/pvc")).toMatch(/Latest snapshots:\s+2147483647/);
    expect(await kopia("maintenance", "info")).toContain("Owner: default@default");
    expect(existsSync(join(path, "udmrepo.Repository.f"))).toBe(true);
    await withOurs(path, async (repository) => {
      await repository.snapshots.delete(snapshotId);
      await repository.flush();
    });
    expect(await listed(await client(path))).toEqual([]);
    await kopia("maintenance", "run", "--full", "--safety=none");
  });

  it("reads a checkpoint of ours as the incomplete snapshot that it is", async () => {
    const [root, path] = [plainTree(), await createOurs()];
    const controller = new AbortController();
    const interrupted = async (repository: Repository): Promise<unknown> => {
      const flush = repository.flush.bind(repository);
      // As soon as a checkpoint is durable.
      repository.flush = async (signal) => {
        await flush(signal);
        controller.abort(new Error("killed"));
      };
      try {
        return await upload(repository, root, { checkpointEveryMs: 0, parallel: 0, signal: controller.signal });
      } finally {
        repository.flush = flush;
      }
    };
    await expect(withOurs(path, interrupted)).rejects.toThrow("killed");
    const kopia = await client(path);
    const all = JSON.parse(await kopia("snapshot", "list", "--all", "--incomplete", "--json")) as { incomplete?: string }[];
    expect(all).toMatchObject([{ incomplete: "checkpoint" }]);
    await kopia("snapshot", "verify", "--verify-files-percent=100");
    await kopia("maintenance", "run", "--full", "--safety=none");
  });
});

describe("we on snapshots that kopia made", () => {
  it("restore them to the last byte, and give the same object ids to the same tree", async () => {
    const [root, path] = [plainTree(), fresh("repository")];
    const kopia = kopiaClient(fresh("kopia"), PASSWORD);
    await kopia("repository", "create", "filesystem", "--path", path, "--override-username=user", "--override-hostname=host");
    await kopia("snapshot", "create", root);
    const [theirs] = await listed(kopia);
    expect(treeFacts(await restoreOurs(path, theirs?.id ?? ""))).toEqual(treeFacts(root));
    const ours = await withOurs(path, (repository) => upload(repository, root, { parent: "none" }));
    expect(ours.rootEntry.objectId).toBe(theirs?.rootEntry.obj);
    // Everything was there: nothing new but the manifest.
    expect(ours.progress).toMatchObject({ bytesUploaded: 0 });
    await withOurs(path, async (repository) => {
      const report = await verifySnapshots({ repository, snapshots: (await repository.snapshots.list()).snapshots, mode: "full" });
      expect(report).toMatchObject({ snapshots: 2, problemCount: 0 });
    });
  });

  it.each([
    ["1", "zstd", "DYNAMIC-1M-RABINKARP"],
    ["2", "s2-default", "FIXED-1M"],
    ["3", "pgzip", "DYNAMIC-4M-BUZHASH"],
  ])("format version %s, files compressed with %s, split by %s: restored, and continued in both directions", async (version, compressor, splitter) => {
    const [root, path] = [plainTree(), fresh("repository")];
    writeFileSync(join(root, "text"), "a line of a log that repeats itself\n".repeat(200_000));
    const kopia = kopiaClient(fresh("kopia"), PASSWORD);
    await kopia(
      "repository",
      "create",
      "filesystem",
      "--path",
      path,
      `--format-version=${version}`,
      `--object-splitter=${splitter}`,
      "--override-username=user",
      "--override-hostname=host",
    );
    await kopia("policy", "set", "--global", `--compression=${compressor}`);
    await kopia("snapshot", "create", root);
    const [theirs] = await listed(kopia);
    expect(treeFacts(await restoreOurs(path, theirs?.id ?? ""))).toEqual(treeFacts(root));
    const ours = await withOurs(path, (repository) => upload(repository, root, { parent: "none", compressor: version === "1" ? "none" : "zstd-fastest" }));
    // The first client has the list of index blobs cached.
    const other = await client(path);
    await other("snapshot", "verify", "--verify-files-percent=100");
    expect(kopiaFacts(treeFacts(await restoreTheirs(other, ours.snapshotId)))).toEqual(kopiaFacts(treeFacts(root)));
  });

  it("a directory of thousands has the same object id, and is streamed back in order", async () => {
    const [root, path] = [fresh("tree"), fresh("repository")];
    for (let index = 0; index < 40_000; index++) writeFileSync(join(root, `file number ${index} with a name that takes room`), "");
    const kopia = kopiaClient(fresh("kopia"), PASSWORD);
    await kopia("repository", "create", "filesystem", "--path", path, "--object-splitter=FIXED-1M", "--override-username=user", "--override-hostname=host");
    await kopia("snapshot", "create", root);
    const [theirs] = await listed(kopia);
    expect(theirs?.rootEntry.obj).toMatch(/^Ik/);
    await withOurs(path, async (repository) => {
      const ours = await upload(repository, root, { parent: "none" });
      expect(ours.rootEntry.objectId).toBe(theirs?.rootEntry.obj);
      let entries = 0;
      for await (const batch of new DirectoryListing(repository.objects, ours.rootEntry.objectId).batches()) entries += batch.length;
      expect(entries).toBe(40_000);
      expect((await upload(repository, root)).stats.cachedFiles).toBe(40_000);
    });
  });
});
