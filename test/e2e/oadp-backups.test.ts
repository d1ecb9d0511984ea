/** Backups that OADP 1.1 and 1.2 made with VolSync and restic, brought back into a cluster that has neither: from the bucket and a password. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import {
  backupStorageLocations,
  backups,
  dataDownloads,
  LABELS,
  podVolumeRestores,
  type VolumeSnapshotRestore,
  volumeSnapshotRestores,
  volumeSnapshots,
} from "@drayage/api";
import type { ObjectStore } from "@drayage/blob";
import { openS3ObjectStore } from "@drayage/blob/s3";
import { persistentVolumeClaims, persistentVolumes, pods, secrets, storageClasses } from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUCKET, Harness, KEYS, REGION, VELERO } from "./harness.ts";
import { factsOf, startApplication, untilRunning } from "./sample-application.ts";
import { defineMachines, instances, machines } from "./virtual-machine.ts";

interface Fixture {
  readonly password: string;
  readonly expected: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly bucket: Readonly<Record<string, string>>;
}
const fixture = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/oadp-1.2/bucket.json"), "utf8")) as Fixture;
/** Of restic's file-system backup. */
const files = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/restic-pod-volumes/bucket.json"), "utf8")) as Omit<Fixture, "expected"> & {
  readonly expected: Readonly<Record<string, string>>;
};
const SECRET = { namespace: VELERO, name: "dm-credential" };

let harness: Harness;
let store: ObjectStore;

beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
  store = await openS3ObjectStore({ bucket: BUCKET, region: REGION, endpoint: harness.store.url, pathStyle: true, credentials: KEYS });
  for (const [key, base64] of Object.entries({ ...fixture.bucket, ...files.bucket })) await store.put(key, Buffer.from(base64, "base64"));
  await setPassword(fixture.password);
  await defineMachines(harness);
  await harness.client.create(secrets, {
    metadata: { namespace: VELERO, name: "of-then" },
    data: { "repository-password": Buffer.from(files.password).toString("base64") },
  });
  await harness.client.create(backupStorageLocations, {
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    // Velero's password of then opens the repositories of file-system backups.
    metadata: { namespace: VELERO, name: "of-then", annotations: { "drayage.io/repository-password": "of-then/repository-password" } },
    spec: { provider: "aws", objectStorage: { bucket: BUCKET, prefix: "velero" }, config: harness.locationConfig, backupSyncPeriod: "2s" },
  });
  for (const name of ["oadp-11", "oadp-12", "files-1", "files-2"]) await harness.until(backups, { namespace: VELERO, name }, () => true);
}, 180_000);
afterAll(async () => {
  await store?.close();
  await harness?.destroy();
});

async function setPassword(password: string): Promise<void> {
  const data = { RESTIC_PASSWORD: Buffer.from(password).toString("base64") };
  await harness.client.apply(secrets, { apiVersion: "v1", kind: "Secret", metadata: SECRET, data }, { fieldManager: "e2e", force: true });
}

/** Errors and warnings of a restore, as JSON. */
async function resultsOf(restore: string): Promise<string> {
  return gunzipSync(await store.get(`velero/restores/${restore}/restore-${restore}-results.gz`)).toString();
}

/** What a volume holds, without its own directory. */
async function volumeFacts(namespace: string, claim: string): Promise<string> {
  const lines = (await factsOf(harness, namespace, claim))
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith(". ") && !line.startsWith("./lost+found"));
  return lines.map((line) => `${line}\n`).join("");
}

async function restoresIn(namespace: string): Promise<VolumeSnapshotRestore[]> {
  return (await harness.client.list(volumeSnapshotRestores, { namespace })).items;
}

/** KubeVirt would start a machine that is to run: its launcher pod, which is not restored, stands for that here, with its disks. */
async function machineIsBack(namespace: string): Promise<void> {
  expect((await harness.client.get(machines, { namespace, name: "vm" }))["spec"]).toMatchObject({ runStrategy: "Always" });
  expect((await harness.client.list(instances, { namespace })).items).toEqual([]);
  expect((await harness.client.list(pods, { namespace })).items).toEqual([]);
  await startApplication(harness, namespace, { root: {} });
}

/** Everything of movers that would stay in the installation's namespace. */
async function leftovers(): Promise<string[]> {
  const named = async <T extends { metadata: { name?: string; labels?: Record<string, string> } }>(items: readonly T[], kind: string): Promise<string[]> =>
    items.filter(({ metadata }) => metadata.labels?.[LABELS.dataDownload] !== undefined).map(({ metadata }) => `${kind} ${metadata.name}`);
  return [
    ...(await named((await harness.client.list(pods, { namespace: VELERO })).items, "pod")),
    ...(await named((await harness.client.list(secrets, { namespace: VELERO })).items, "secret")),
    ...(await harness.client.list(persistentVolumeClaims, { namespace: VELERO })).items.map(({ metadata }) => `claim ${metadata.name}`),
  ];
}

describe("a backup of OADP 1.2", () => {
  it("restores: its application starts over volumes that hold what they held, also the one that was empty", async () => {
    const { status } = await harness.restore("of-12", { backupName: "oadp-12" });
    expect(status, await resultsOf("of-12")).toMatchObject({
      phase: "Completed",
      restoreItemOperationsAttempted: 3,
      restoreItemOperationsCompleted: 3,
    });
    await untilRunning(harness, "shop");
    expect(await volumeFacts("shop", "orders")).toBe(fixture.expected["oadp-12"]?.["orders"]);
    expect(await volumeFacts("shop", "scratch")).toBe("");
    await machineIsBack("vms");
    expect(await volumeFacts("vms", "root")).toBe(fixture.expected["oadp-12"]?.["root"]);
  });

  it("leaves its VolumeSnapshotRestores behind as OADP did, and nothing else", async () => {
    const found = await restoresIn("shop");
    expect(found.map(({ status }) => [status?.phase, status?.batchingStatus])).toEqual([
      ["Completed", "Completed"],
      ["Completed", "Completed"],
    ]);
    expect(found.map(({ metadata }) => metadata.labels?.["velero.io/persistent-volume-claim-name"]).sort()).toEqual(["orders", "scratch"]);
    expect(found[0]?.status?.conditions).toMatchObject([{ type: "Reconciled", status: "True", reason: "Complete" }]);
    expect((await harness.client.list(volumeSnapshots, { namespace: "shop" })).items).toEqual([]);
    // The volumes of then, one of them of the kind that stays when its claim goes, are not made again.
    const volumes = (await harness.client.list(persistentVolumes)).items.map(({ metadata }) => metadata.name ?? "");
    expect(volumes.filter((name) => name.startsWith("pvc-0b1f7f8e-"))).toEqual([]);
    expect(await leftovers()).toEqual([]);
  });

  it("takes its DataDownload along when a VolumeSnapshotRestore is deleted", async () => {
    const [first] = await restoresIn("shop");
    const key = { namespace: "shop", name: first?.metadata.name ?? "" };
    const before = (await harness.client.list(dataDownloads, { namespace: VELERO })).items.length;
    await harness.client.delete(volumeSnapshotRestores, key);
    await harness.untilGone(volumeSnapshotRestores, key);
    expect((await harness.client.list(dataDownloads, { namespace: VELERO })).items).toHaveLength(before - 1);
  });
});

describe("a backup of OADP 1.1", () => {
  it("restores into another namespace, from the older layout and format, by what the status said", async () => {
    const { status } = await harness.restore("of-11", { backupName: "oadp-11", namespaceMapping: { shop: "shop-11", vms: "vms-11" } });
    expect(status, await resultsOf("of-11")).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "shop-11");
    expect(await volumeFacts("shop-11", "orders")).toBe(fixture.expected["oadp-11"]?.["orders"]);
    await machineIsBack("vms-11");
    expect(await volumeFacts("vms-11", "root")).toBe(fixture.expected["oadp-11"]?.["root"]);
  });
});

describe("file-system backups of OADP 1.1 and 1.2, by restic", () => {
  it("come back from the one repository of their namespace, the first and the one that stored what changed alone", async () => {
    const stored = Object.entries(files.bucket).filter(([key]) => key.startsWith("velero/restic/notes/data/"));
    // The large file is in there once.
    expect(stored.reduce((sum, [, base64]) => sum + Buffer.from(base64, "base64").length, 0)).toBeLessThan(2 * 40_000);
    for (const name of ["files-1", "files-2"]) {
      const { status } = await harness.restore(`of-${name}`, { backupName: name, namespaceMapping: { notes: name } });
      expect(status, await resultsOf(`of-${name}`)).toMatchObject({ phase: "Completed" });
      await untilRunning(harness, name);
    }
    const found = async (name: string): Promise<string> => (await volumeFacts(name, "pages")).replaceAll(/^.*\.\/\.velero.*\n/gm, "");
    expect(await found("files-1")).toBe(files.expected["files-1"]);
    expect(await found("files-2")).toBe(files.expected["files-2"]);
    const fills = (await harness.client.list(podVolumeRestores, { namespace: VELERO })).items;
    expect(fills.map(({ spec, status }) => [spec.uploaderType, status?.phase])).toEqual(Array(2).fill(["restic", "Completed"]));
  });
});

describe("what goes wrong", () => {
  const failed = async (name: string): Promise<string> => {
    const { status } = await harness.restore(name, { backupName: "oadp-12", includedNamespaces: ["shop"], namespaceMapping: { shop: name } });
    expect(status?.phase).toBe("PartiallyFailed");
    return await resultsOf(name);
  };

  it("names the password when it is another one, and the Secret when there is none", async () => {
    await setPassword("another");
    expect(await failed("wrong-password")).toContain("the password is that of none of its 1 keys");
    await harness.client.delete(secrets, SECRET);
    expect(await failed("no-password")).toContain('create secret \\"velero/dm-credential\\" with the key \\"RESTIC_PASSWORD\\"');
    await setPassword(fixture.password);
    expect(await leftovers()).toEqual([]);
  });

  it("names the files that a damaged pack costs, and lets nobody have the rest for the whole", async () => {
    const packs = Object.keys(fixture.bucket).filter((key) => key.startsWith("openshift-adp/oadp-12/") && key.includes("/data/"));
    for (const key of packs) {
      const bytes = Buffer.from(fixture.bucket[key] ?? "", "base64");
      // The first content of each pack: of files in those that hold files, of directories in the others.
      await store.put(key, bytes.fill(0xff, 20, 24));
    }
    const results = await failed("damaged");
    expect(results).toContain("could not be restored");
    expect(results).toContain("its authentication does not match");
    for (const key of packs) await store.put(key, Buffer.from(fixture.bucket[key] ?? "", "base64"));
    expect(await leftovers()).toEqual([]);
  });

  it("says that a storage class is missing, at once", async () => {
    const className = "drayage-fs";
    const storageClass = await harness.client.get(storageClasses, { name: className });
    await harness.client.delete(storageClasses, { name: className });
    try {
      expect(await failed("no-class")).toContain(`storage class \\"${className}\\"`);
    } finally {
      const { resourceVersion: _, uid: __, creationTimestamp: ___, ...metadata } = storageClass.metadata;
      await harness.client.create(storageClasses, { ...storageClass, metadata });
    }
  });
});
