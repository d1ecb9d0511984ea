/** CephFS under the data mover of OADP 1.2: its documentation's options of a storage class, on a driver that counts full copies. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { storageClassOptions, volumeSnapshotBackups } from "@drayage/api";
import { configMaps, persistentVolumeClaims, secrets } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, inApplication, untilRunning } from "../e2e/sample-application.ts";
import { peer } from "./peers.ts";
import { volSyncEraLeftovers } from "./volsync-era-leftovers.ts";

let harness: Harness;
beforeAll(async () => {
  process.env["DRAYAGE_RESTIC"] = peer("restic");
  harness = await Harness.start({ nodes: 1, serverArgs: ["--volsync-era"], csiProfiles: ["cephfs"] });
  const data = { RESTIC_PASSWORD: Buffer.from("of the year before last").toString("base64") };
  await harness.client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace: VELERO, name: "dm-credential" }, data });
}, 180_000);
afterAll(async () => {
  await harness?.destroy();
});

it("CephFS volumes are read from their snapshots in place, by the options of their class, and restored into one that is written to", async () => {
  const { client } = harness;
  // As OADP's documentation has it: the shallow class and ReadOnlyMany for the backup alone, and a cache that can be written to.
  const data = {
    ...{ SourceStorageClassName: "cephfs-shallow", SourceAccessMode: "ReadOnlyMany" },
    ...{ SourceCacheStorageClassName: "cephfs", SourceCacheAccessMode: "ReadWriteMany", SourceCacheCapacity: "16Mi" },
    ...{ DestinationStorageClassName: "cephfs", DestinationAccessMode: "ReadWriteMany" },
  };
  await client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: VELERO, name: storageClassOptions("cephfs") }, data });
  await deployApplication(harness, "media", { files: { storageClass: "cephfs" } });
  await inApplication(harness, "media", "cd /volumes/files; mkdir a; echo one > a/one; head -c 300000 /dev/urandom > two; ln -s two three");
  const counted = (): unknown => JSON.parse(readFileSync(join(harness.cluster.directory, "storage", "cephfs", "ceph.json"), "utf8"));
  const lines = async (): Promise<string[]> => (await factsOf(harness, "media", "files")).split("\n").filter((line) => !line.startsWith(". "));
  const before = await lines();
  const { status } = await harness.backUp("media", { includedNamespaces: ["media"] });
  const made = (await client.list(volumeSnapshotBackups, { namespace: "media" })).items;
  expect(status, JSON.stringify(made.map((one) => one.status))).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 2 });
  expect(made.map((one) => one.status)).toMatchObject([{ phase: "Completed", sourcePVCData: { name: "files", storageClassName: "cephfs" } }]);
  expect(counted()).toMatchObject({ fullClones: 0, shallowVolumes: 1 });
  expect(await volSyncEraLeftovers(harness)).toEqual([]);
  await harness.deleteNamespace("media");
  expect((await harness.restore("media", { backupName: "media" })).status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 1 });
  await untilRunning(harness, "media");
  expect(await lines()).toEqual(before);
  expect((await client.get(persistentVolumeClaims, { namespace: "media", name: "files" })).spec.storageClassName).toBe("cephfs");
  expect(await volSyncEraLeftovers(harness)).toEqual([]);
}, 180_000);
