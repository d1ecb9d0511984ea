/**
 * Real kopia on the repository that a backup of this program left in an object store: whoever has the password and the bucket needs nothing else of ours to get the data back.
 * The cluster, its server, node-agent and movers are those that the demo runs.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUCKET, Harness, KEYS, REGION, REPOSITORY_PASSWORD } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "../e2e/sample-application.ts";
import { programEntry } from "../program.ts";
import { type KopiaClient, kopiaClient } from "./kopia-client.ts";

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;

interface Listed {
  readonly id: string;
  readonly source: { readonly host: string; readonly userName: string; readonly path: string };
  readonly stats: { readonly totalSize: number; readonly fileCount: number; readonly errorCount: number };
  readonly tags: Readonly<Record<string, string>>;
}

/** What Kopia's format keeps of each entry below the working directory: no times of directories, times of links in seconds, links of files as files of their own. */
const FACTS = `{ find . -type d -printf '%p %y %m %U %G\\n'; find . -type l -printf '%p %y %l\\n'; find . -type f -printf '%p %y %m %U %G %T@ %s\\n';
  find . -type f -exec sha256sum {} +; } | LC_ALL=C sort`;

let folder: string;
let harness: Harness;
let kopia: KopiaClient;
let wanted = "";
let digest = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-demo-repository-"));
  harness = await Harness.start({ nodes: 1 });
  await deployApplication(harness, "shop", { files: {}, ...(isRoot ? { disk: { mode: "Block" as const, size: "16Mi" } } : {}) });
  await fillFolder(harness, "shop", "files");
  if (isRoot) await inApplication(harness, "shop", "head -c 5242880 /dev/urandom | dd of=/dev/disk bs=1M seek=3 conv=notrunc status=none");
  wanted = await inApplication(harness, "shop", `cd /volumes/files; ${FACTS}`);
  digest = isRoot ? await inApplication(harness, "shop", "sha256sum < /dev/disk") : "";
  expect((await harness.backUp("first", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed" });
  await inApplication(harness, "shop", "echo more > /volumes/files/more");
  expect((await harness.backUp("second", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed" });

  kopia = kopiaClient(fresh("kopia"), REPOSITORY_PASSWORD);
  const { host } = new URL(harness.store.url);
  await kopia(
    ...["repository", "connect", "s3", "--bucket", BUCKET, "--prefix", "kopia/shop/", "--endpoint", host, "--disable-tls", "--region", REGION],
    ...["--access-key", KEYS.accessKeyId, "--secret-access-key", KEYS.secretAccessKey],
    // Who may maintain a repository is written in it; Velero's movers all have this name.
    ...["--override-username=default", "--override-hostname=default"],
  );
});
afterAll(async () => {
  await harness?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

function fresh(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

const listed = async (): Promise<Listed[]> => JSON.parse(await kopia("snapshot", "list", "--all", "--json")) as Listed[];
/** The snapshots of one volume, oldest first. */
const ofVolume = async (claim: string): Promise<Listed[]> => {
  const ids = new Set<string | undefined>();
  for (const backup of ["first", "second"])
    for (const { spec, status } of await harness.uploads(backup, isRoot ? 2 : 1)) if (spec.sourcePVC === claim) ids.add(status?.snapshotID);
  return (await listed()).filter(({ id }) => ids.has(id));
};

describe("kopia on the repository of a backup", () => {
  it("lists its snapshots as those of Velero's movers, whole and without errors", async () => {
    const snapshots = await listed();
    expect(snapshots).toHaveLength(isRoot ? 4 : 2);
    for (const { source, stats, tags } of snapshots) {
      expect(source).toMatchObject({ host: "default", userName: "default" });
      expect(stats.errorCount).toBe(0);
      expect(tags).toMatchObject({ "snapshot-requester": "snapshot-data-upload-download" });
    }
    expect(await ofVolume("files")).toHaveLength(2);
  });

  it("verifies every file", async () => {
    await kopia("snapshot", "verify", "--verify-files-percent=100");
  });

  it("restores bytes, modes, owners and times of files", async () => {
    const [first] = await ofVolume("files");
    const target = join(folder, "files");
    await kopia("restore", first?.id ?? "", target);
    expect((await run("sh", ["-c", FACTS], { cwd: target })).stdout).toBe(wanted);
  });

  it.runIf(isRoot)("restores a block volume as a file of its bytes", async () => {
    const [first] = await ofVolume("disk");
    const target = join(folder, "disk");
    await kopia("restore", first?.id ?? "", target);
    const path = statSync(target).isDirectory() ? join(target, readdirSync(target)[0] ?? "") : target;
    expect(statSync(path).size).toBe(16 << 20);
    expect((await run("sh", ["-c", `sha256sum < "${path}"`])).stdout).toBe(digest);
  });

  it("shows what our own engine shows of it, which needs no cluster either", async () => {
    const repository = `s3://${BUCKET}/kopia/shop/?endpoint=${harness.store.url}&region=${REGION}&pathStyle=true`;
    const env = {
      ...process.env,
      DRAY_REPOSITORY: repository,
      DRAY_REPOSITORY_PASSWORD: REPOSITORY_PASSWORD,
      DRAY_STATE_DIR: join(folder, "state"),
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
    };
    const dray = async (...args: string[]): Promise<string> => (await run(process.execPath, [programEntry, ...args], { env })).stdout;
    const ours = JSON.parse(await dray("snapshot", "list", "--json")) as { id: string }[];
    expect(ours.map(({ id }) => id).sort()).toEqual((await listed()).map(({ id }) => id).sort());
    const [first] = await ofVolume("files");
    const target = join(folder, "ours");
    await dray("snapshot", "restore", first?.id ?? "", target);
    expect((await run("sh", ["-c", FACTS], { cwd: target })).stdout).toBe(wanted);
  });

  it("maintains it, after which a restore into the cluster brings everything back", async () => {
    await kopia("maintenance", "run", "--full", "--safety=none");
    await kopia("snapshot", "verify", "--verify-files-percent=100");
    const facts = await factsOf(harness, "shop", "files");
    await harness.deleteNamespace("shop");
    expect((await harness.restore("back", { backupName: "second" })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "shop");
    expect(await factsOf(harness, "shop", "files")).toBe(facts);
    if (isRoot) expect(await inApplication(harness, "shop", "sha256sum < /dev/disk")).toBe(digest);
  });
});
