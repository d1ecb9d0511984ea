/** A Backup and a Restore with the data mover of OADP 1.2, end to end: VolumeSnapshotBackups, restic repositories that the real restic opens, VolumeSnapshotRestores. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  backupStorageLocations,
  storageClassOptions,
  volumeSnapshotBackups,
  volumeSnapshotContents,
  volumeSnapshotRestores,
  volumeSnapshots,
} from "@drayage/api";
import { configMaps, namespaces, secrets } from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUCKET, Harness, KEYS, REGION, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, inApplication, untilRunning } from "../e2e/sample-application.ts";
import { peer } from "./peers.ts";
import { volSyncEraLeftovers } from "./volsync-era-leftovers.ts";

const PASSWORD = "of the year before last";
/** Bytes of the files of orders, which restic gives in KiB with three digits. */
const MOVED = 300_006;

let harness: Harness;

describe("with the data mover of OADP 1.2", () => {
  beforeAll(async () => {
    // The embedded image has restic where this machine has: there is no VolSync, so the server serves its kinds.
    process.env["DRAYAGE_RESTIC"] = peer("restic");
    harness = await Harness.start({ nodes: 1, serverArgs: ["--volsync-era", "--store-validation-frequency=2s"] });
    const data = { RESTIC_PASSWORD: Buffer.from(PASSWORD).toString("base64") };
    await harness.client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace: VELERO, name: "dm-credential" }, data });
    await deployApplication(harness, "shop", { orders: {}, scratch: {} });
    await inApplication(
      harness,
      "shop",
      "cd /volumes/orders; mkdir -p a/b; echo first > a/b/one; head -c 300000 /dev/urandom > a/two; ln -s a/two three; chmod 640 a/two",
    );
  }, 180_000);
  afterAll(async () => {
    await harness?.destroy();
  });

  let facts = "";

  it("a Backup makes a VolumeSnapshotBackup of each volume, and takes its end from them", async () => {
    facts = await factsOf(harness, "shop", "orders");
    const { status } = await harness.backUp("daily", { includedNamespaces: ["shop"] });
    const found = (await harness.client.list(volumeSnapshotBackups, { namespace: "shop" })).items;
    expect(status, JSON.stringify(found.map((one) => one.status))).toMatchObject({
      phase: "Completed",
      // Two of VolumeSnapshots, two of their data.
      backupItemOperationsAttempted: 4,
      backupItemOperationsCompleted: 4,
    });
    expect(found.map((one) => [one.status?.phase, one.status?.batchingStatus])).toEqual([
      ["Completed", "Completed"],
      ["Completed", "Completed"],
    ]);
    expect(found.map((one) => one.status?.sourcePVCData?.name).sort()).toEqual(["orders", "scratch"]);
    const orders = found.find((one) => one.status?.sourcePVCData?.name === "orders");
    expect(JSON.parse(orders?.metadata.annotations?.["drayage.io/progress"] ?? "{}")).toEqual({ bytesDone: MOVED, totalBytes: MOVED });
    expect(await harness.dray("backup", "describe", "daily", "--details")).toContain(`${MOVED} of ${MOVED} complete`);
    expect(await volSyncEraLeftovers(harness)).toEqual([]);
    // The data is in the bucket, so nobody keeps the snapshots.
    await harness.seen(volumeSnapshots, {}, (snapshots) => (snapshots.length === 0 ? true : undefined));
    await harness.seen(volumeSnapshotContents, {}, (contents) => (contents.length === 0 ? true : undefined));
  }, 180_000);

  it("the location stays available, beside whose backups the repositories lie where it has no prefix", async () => {
    const key = { namespace: VELERO, name: "default" };
    const { status: before } = await harness.client.get(backupStorageLocations, key);
    const { status } = await harness.until(backupStorageLocations, key, (location) => location.status?.lastValidationTime !== before?.lastValidationTime);
    expect(status).toMatchObject({ phase: "Available" });
  }, 120_000);

  it("the repositories lie where OADP 1.2 had them, and restic opens them", async () => {
    const found = (await harness.client.list(volumeSnapshotBackups, { namespace: "shop" })).items;
    const orders = found.find((one) => one.status?.sourcePVCData?.name === "orders");
    const repository = orders?.status?.resticrepository ?? "";
    expect(repository).toBe(`s3:${harness.store.url}/${BUCKET}/${VELERO}/daily/${orders?.spec.volumeSnapshotContent?.name}-pvc`);
    const env = {
      ...process.env,
      RESTIC_PASSWORD: PASSWORD,
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      AWS_DEFAULT_REGION: REGION,
    };
    const restic = promisify(execFile);
    const { stdout } = await restic(peer("restic"), ["-r", repository, "--no-cache", "ls", "latest"], { env });
    expect(stdout).toContain("/a/b/one");
    await restic(peer("restic"), ["-r", repository, "--no-cache", "check", "--read-data"], { env });
  }, 60_000);

  it("the application is destroyed and comes back by VolumeSnapshotRestores, into the volumes that it had", async () => {
    await harness.client.delete(namespaces, { name: "shop" });
    await harness.untilGone(namespaces, { name: "shop" });
    const { status } = await harness.restore("back", { backupName: "daily" });
    const found = (await harness.client.list(volumeSnapshotRestores, { namespace: "shop" })).items;
    expect(status, JSON.stringify(found.map((one) => one.status))).toMatchObject({
      phase: "Completed",
      restoreItemOperationsAttempted: 2,
      restoreItemOperationsCompleted: 2,
    });
    await untilRunning(harness, "shop");
    const withoutRoot = (text: string) =>
      text
        .split("\n")
        .filter((line) => !line.startsWith(". "))
        .sort();
    expect(withoutRoot(await factsOf(harness, "shop", "orders"))).toEqual(withoutRoot(facts));
    expect(found.map((one) => [one.status?.phase, (one.status?.snapshotHandle ?? "") !== ""])).toEqual([
      ["Completed", true],
      ["Completed", true],
    ]);
    expect(await harness.dray("restore", "describe", "back", "--details")).toContain(`${MOVED} of ${MOVED} complete`);
    expect(await volSyncEraLeftovers(harness)).toEqual([]);
  }, 180_000);

  it("a class that is gone is told, with what to do, and leaves nothing behind", async () => {
    const data = { SourceStorageClassName: "of-then" };
    const metadata = { namespace: VELERO, name: storageClassOptions("drayage-fs") };
    await harness.client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata, data });
    const { status } = await harness.backUp("gone", { includedNamespaces: ["shop"] });
    const results = await harness.dray("backup", "describe", "gone", "--details");
    expect(status, results).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 2 });
    expect(results).toContain('storage class "of-then" does not exist: ConfigMap "velero/drayage-fs-config" names it');
    expect(await volSyncEraLeftovers(harness)).toEqual([]);
  }, 120_000);
});
