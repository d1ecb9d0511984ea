/** Real kopia on our storages: it keeps a repository on the embedded object store, and its folders are read and written by our filesystem storage. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { nullLogger, systemClock } from "@drayage/base";
import { type BlobStorage, openFilesystemStorage } from "@drayage/blob";
import { openS3Storage } from "@drayage/blob/s3";
import { type ObjectStore, startObjectStore } from "@drayage/embedded/object-store";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { peer } from "./peers.ts";

const run = promisify(execFile);
const credentials = { accessKeyId: "drayage-test-key", secretAccessKey: "drayage/test+secret" };
let folder: string;
let server: ObjectStore;
let configs = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-kopia-"));
  server = await startObjectStore({ directory: join(folder, "store"), credentials, buckets: ["velero"], logger: nullLogger, clock: systemClock });
  await mkdir(join(folder, "source", "sub"), { recursive: true });
  await writeFile(join(folder, "source", "small"), "hello");
  await writeFile(join(folder, "source", "sub", "large"), Buffer.alloc(30_000_000, "0123456789abcdef and so on "));
});

afterAll(async () => {
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

/** One client: its own configuration and cache. */
function newKopia(): (...args: string[]) => Promise<string> {
  const home = join(folder, `kopia-${++configs}`);
  const env = {
    ...process.env,
    KOPIA_PASSWORD: "static-passw0rd",
    KOPIA_CONFIG_PATH: join(home, "config"),
    KOPIA_CACHE_DIRECTORY: join(home, "cache"),
    KOPIA_LOG_DIR: join(home, "log"),
    KOPIA_CHECK_FOR_UPDATES: "false",
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
  return async (...args) => (await run(peer("kopia"), args, { env, maxBuffer: 64 << 20 })).stdout;
}

/** `{ id: length }`, as kopia says it and as our storage does. */
async function bothListings(
  kopia: (...args: string[]) => Promise<string>,
  storage: BlobStorage,
): Promise<readonly [Record<string, number>, Record<string, number>]> {
  const theirs = JSON.parse(await kopia("blob", "list", "--json")) as { id: string; length: number }[];
  const ours: Record<string, number> = {};
  for await (const { id, length } of storage.list("")) ours[id] = length;
  return [Object.fromEntries(theirs.map(({ id, length }) => [id, length])), ours];
}

describe("kopia on the embedded object store", () => {
  it("creates a repository, snapshots, verifies, maintains and restores, and our storage sees the same blobs", async () => {
    const kopia = newKopia();
    const endpoint = server.url.replace("http://", "");
    await kopia(
      "repository",
      "create",
      "s3",
      "--bucket=velero",
      "--prefix=velero/kopia/notes/",
      `--endpoint=${endpoint}`,
      "--disable-tls",
      "--region=us-east-1",
    );
    await kopia("snapshot", "create", join(folder, "source"));
    await kopia("snapshot", "verify", "--verify-files-percent=100");
    await kopia("maintenance", "run", "--full");
    const storage = await openS3Storage({ bucket: "velero", prefix: "velero/kopia/notes/", endpoint: server.url, credentials });
    const [theirs, ours] = await bothListings(kopia, storage);
    expect(ours).toEqual(theirs);
    expect(Object.keys(ours)).toContain("kopia.repository");
    for (const [id, length] of Object.entries(ours)) expect((await storage.get(id)).length).toBe(length);
    await storage.close();
    const [snapshot] = JSON.parse(await kopia("snapshot", "list", "--json")) as { id: string }[];
    await kopia("snapshot", "restore", snapshot?.id ?? "", join(folder, "restored"));
    expect((await readdir(join(folder, "restored"), { recursive: true })).sort()).toEqual(["small", "sub", "sub/large"]);
    expect(server.requests.list().filter(({ status }) => status >= 500 || status === 501)).toEqual([]);
  });
});

describe("a folder that kopia keeps a repository in", () => {
  it("is listed, read and added to by our filesystem storage, and kopia sees what was added", async () => {
    const kopia = newKopia();
    const path = join(folder, "repository");
    await kopia("repository", "create", "filesystem", `--path=${path}`);
    await kopia("snapshot", "create", join(folder, "source"));
    const storage = await openFilesystemStorage({ path });
    const before = await bothListings(kopia, storage);
    expect(before[1]).toEqual(before[0]);
    await storage.put("_log_20261121000000_abcd_1_2_3_0123456789abcdef", Buffer.from("not a real log"));
    await storage.put("xw1", Buffer.from("short"));
    const after = await bothListings(kopia, storage);
    expect(after[1]).toEqual(after[0]);
    expect(Object.keys(after[0]).length).toBe(Object.keys(before[0]).length + 2);
  });

  it("is laid out by us as kopia lays it out", async () => {
    const kopia = newKopia();
    const [theirs, ours] = [join(folder, "theirs"), join(folder, "ours")];
    await kopia("repository", "create", "filesystem", `--path=${theirs}`);
    const source = await openFilesystemStorage({ path: theirs });
    const target = await openFilesystemStorage({ path: ours, create: true });
    for await (const { id } of source.list("")) await target.put(id, await source.get(id));
    const files = async (root: string): Promise<string[]> =>
      (await readdir(root, { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)))
        .sort();
    expect(await files(ours)).toEqual(await files(theirs));
    await newKopia()("repository", "connect", "filesystem", `--path=${ours}`);
  });
});
