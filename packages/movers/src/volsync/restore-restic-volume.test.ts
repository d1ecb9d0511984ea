import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type DataDownload, dataDownloads, MOVER_SECRET_KEYS, podVolumeRestores } from "@drayage/api";
import { systemClock } from "@drayage/base";
import { memoryLogger, seededRandom } from "@drayage/base/testing";
import { FakeKubeClient } from "@drayage/kube/testing";
import { type GoldenName, golden } from "@drayage/restic/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runDataMoverRestore } from "../builtin/data-mover-restore.ts";
import { runPodVolumeRestore } from "../builtin/pod-volume-restore.ts";

const NS = "velero";
const PATH = "openshift-adp/backup-1/snapcontent-1-pvc";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-volsync-"));
  for (const name of ["volume", "secret", "bucket"]) mkdirSync(join(folder, name));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Puts a golden repository where OADP 1.2 would have. */
function putRepository(name: GoldenName): void {
  for (const [key, base64] of Object.entries(golden(name).files)) {
    const path = join(folder, "bucket", PATH, key);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, Buffer.from(base64, "base64"));
  }
}

interface Run {
  readonly code: number;
  readonly message: string;
  readonly log: readonly string[];
}

async function restore(
  over: Partial<DataDownload["spec"]> = {},
  options: { readonly password?: string; readonly mode?: "Filesystem" | "Block"; readonly mayBeEmpty?: boolean } = {},
): Promise<Run> {
  const location = {
    metadata: { name: "default" },
    spec: { provider: "fs", objectStorage: { bucket: "bucket", prefix: "velero" }, config: { fspath: folder } },
  };
  writeFileSync(join(folder, "secret", MOVER_SECRET_KEYS.locationJson), JSON.stringify(location));
  writeFileSync(join(folder, "secret", MOVER_SECRET_KEYS.repositoryJson), JSON.stringify({ spec: { volumeNamespace: "shop" } }));
  writeFileSync(join(folder, "secret", MOVER_SECRET_KEYS.repositoryPassword), options.password ?? "geheim");
  const client = new FakeKubeClient({ clock: systemClock });
  const logger = memoryLogger();
  client.seed(dataDownloads, {
    metadata: { namespace: NS, name: "vsr-1" },
    spec: {
      backupStorageLocation: "default",
      datamover: "drayage-volsync",
      dataMoverConfig: { ResticRepositoryPath: PATH, VolumeMayBeEmpty: String(options.mayBeEmpty === true) },
      operationTimeout: "10m0s",
      snapshotID: "latest",
      sourceNamespace: "shop",
      targetVolume: { namespace: "shop", pv: "", pvc: "data" },
      ...over,
    },
    status: { phase: "InProgress", node: "node-1" },
  });
  const code = await runDataMoverRestore({
    ...{ client, clock: systemClock, random: seededRandom(5), logger, namespace: NS, nodeName: "node-1", dataDownloadName: "vsr-1" },
    ...{ volumePath: join(folder, "volume"), volumeMode: options.mode ?? "Filesystem", secretPath: join(folder, "secret") },
    terminationLogPath: join(folder, "termination-log"),
  });
  return { code, message: readFileSync(join(folder, "termination-log"), "utf8"), log: logger.records.map(({ message }) => message) };
}

it("fills a volume with the newest snapshot, and leaves the volume's own directory as it is", async () => {
  putRepository("pruned");
  const before = lstatSync(join(folder, "volume")).mode;
  const { code, message } = await restore();
  expect(JSON.parse(message)).toMatchObject({ target: { byPath: join(folder, "volume"), volumeMode: "Filesystem" }, totalBytes: expect.any(Number) as number });
  expect(code).toBe(0);
  expect(readFileSync(join(folder, "volume", "changing"), "utf8")).toBe("third\n".repeat(200));
  expect(statSync(join(folder, "volume")).mode).toBe(before);
});

it("fills it with an older one that is named", async () => {
  putRepository("pruned");
  const ids = Object.keys(golden("pruned").files).flatMap((key) => (key.startsWith("snapshots/") ? [key.slice("snapshots/".length)] : []));
  const contents = new Set<string>();
  for (const snapshotID of ids) {
    expect((await restore({ snapshotID })).code).toBe(0);
    contents.add(readFileSync(join(folder, "volume", "changing"), "utf8").slice(0, 6));
  }
  expect(contents).toEqual(new Set(["second", "third\n"]));
});

it("leaves a volume empty where the backup says that there was nothing in it, and not where it does not", async () => {
  for (const put of [() => mkdirSync(join(folder, "bucket", PATH), { recursive: true }), () => putRepository("empty")]) {
    put();
    const wanted = await restore({}, { mayBeEmpty: true });
    expect([wanted.code, readdirSync(join(folder, "volume"))]).toEqual([0, []]);
    expect(wanted.log).toContain("The volume stays empty: its backup was completed, and there is nothing for it in the bucket");
    const refused = await restore();
    expect(refused.code).toBe(1);
    expect(refused.message).toMatch(
      /Cannot open restic repository .* there is no file "config"|Cannot restore the volume: restic repository .* has no snapshot/,
    );
  }
});

it("says what is wrong with the password, the snapshot or the volume", async () => {
  putRepository("v2");
  expect((await restore({}, { password: "another" })).message).toContain("the password is that of none of its 1 keys");
  expect((await restore({ snapshotID: "ffff" })).message).toContain('Cannot find snapshot "ffff"');
  expect((await restore({}, { mode: "Block" })).message).toContain("the backup holds files");
});

it("fills a pod's volume with what Velero's restic wrote, from the repository of its namespace, and leaves the mark that lets the pod go on", async () => {
  for (const [key, base64] of Object.entries(golden("pruned").files)) {
    const path = join(folder, "bucket", "velero", "restic", "shop", key);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, Buffer.from(base64, "base64"));
  }
  const location = {
    metadata: { name: "default" },
    spec: { provider: "fs", objectStorage: { bucket: "bucket", prefix: "velero" }, config: { fspath: folder } },
  };
  writeFileSync(join(folder, "secret", MOVER_SECRET_KEYS.locationJson), JSON.stringify(location));
  writeFileSync(join(folder, "secret", MOVER_SECRET_KEYS.repositoryJson), JSON.stringify({ spec: { volumeNamespace: "shop" } }));
  writeFileSync(join(folder, "secret", MOVER_SECRET_KEYS.repositoryPassword), "geheim");
  const [snapshotID = ""] = Object.keys(golden("pruned").files).flatMap((key) => (key.startsWith("snapshots/") ? [key.slice("snapshots/".length)] : []));
  const client = new FakeKubeClient({ clock: systemClock });
  client.seed(podVolumeRestores, {
    metadata: { namespace: NS, name: "fill", ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Restore", name: "back", uid: "restore-uid" }] },
    spec: {
      backupStorageLocation: "default",
      pod: { namespace: "shop", name: "web", uid: "pod-uid" },
      repoIdentifier: "",
      snapshotID: snapshotID.slice(0, 8),
      sourceNamespace: "shop",
      uploaderType: "restic",
      volume: "data",
    },
    status: { phase: "InProgress", node: "node-1" },
  });
  const code = await runPodVolumeRestore({
    ...{ client, clock: systemClock, random: seededRandom(5), logger: memoryLogger(), namespace: NS, nodeName: "node-1", podVolumeRestoreName: "fill" },
    ...{ volumePath: join(folder, "volume"), secretPath: join(folder, "secret"), terminationLogPath: join(folder, "termination-log") },
  });
  expect(readFileSync(join(folder, "termination-log"), "utf8")).toContain("totalBytes");
  expect(code).toBe(0);
  expect(readFileSync(join(folder, "volume", "changing"), "utf8")).toMatch(/^(second|third)/);
  expect(readdirSync(join(folder, "volume", ".velero"))).toEqual(["restore-uid"]);
});

it.each<[what: string, damage: (file: Buffer) => Uint8Array]>([
  ["damaged", () => Buffer.from("damaged")],
  ["half written", (file) => file.subarray(0, file.length / 2)],
  ["empty", () => Buffer.alloc(0)],
])("does not take one snapshot for the newest when one of them is %s, and leaves the volume as it is", async (_what, damage) => {
  putRepository("pruned");
  const snapshots = join(folder, "bucket", PATH, "snapshots");
  const [one = ""] = readdirSync(snapshots);
  writeFileSync(join(snapshots, one), damage(readFileSync(join(snapshots, one))));
  const { code, message } = await restore();
  expect(code).toBe(1);
  expect(message).toContain("it is damaged: its bytes are not those that its name says");
  expect(readdirSync(join(folder, "volume"))).toEqual([]);
});

it("says what is missing where a snapshot was written before its data were, and leaves the volume as it is", async () => {
  putRepository("pruned");
  rmSync(join(folder, "bucket", PATH, "data"), { recursive: true });
  rmSync(join(folder, "bucket", PATH, "index"), { recursive: true });
  const { code, message } = await restore();
  expect(code).toBe(1);
  expect(message).toMatch(/^Cannot read content "[0-9a-f]{64}" of .*: no index names it$/);
  expect(readdirSync(join(folder, "volume"))).toEqual([]);
});

it("is not kept waiting by the lock that a killed restic left, and leaves it where it is", async () => {
  putRepository("locked");
  const locks = readdirSync(join(folder, "bucket", PATH, "locks"));
  expect(locks).toHaveLength(1);
  expect((await restore()).code).toBe(0);
  expect(readFileSync(join(folder, "volume", "a"), "utf8")).toBe("a");
  expect(readdirSync(join(folder, "bucket", PATH, "locks"))).toEqual(locks);
});

it("names the files that a missing pack costs, and brings back what it does not", async () => {
  putRepository("v2");
  const data = join(folder, "bucket", PATH, "data");
  const packs = readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const messages: string[] = [];
  for (const pack of packs) {
    const bytes = readFileSync(pack);
    rmSync(pack);
    const { code, message } = await restore();
    expect(code).toBe(1);
    messages.push(message.replaceAll('\\"', '"'));
    writeFileSync(pack, bytes);
  }
  // One of them holds contents of files, the other directories.
  expect(messages.some((message) => /entries could not be restored: .*"a": /s.test(message))).toBe(true);
  expect(existsSync(join(folder, "volume", "empty"))).toBe(true);
  for (const message of messages) expect(message).toMatch(/its pack "[0-9a-f]{64}" is missing/);
});
