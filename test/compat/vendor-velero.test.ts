/** The worked example of a vendor's own controller beside a real Velero (1.18.3) and nothing of ours: it serves the DataUploads and DataDownloads that Velero makes under its name. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { backups, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { daemonSets, namespaces } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { MOVER_NAME } from "../../packages/api/examples/storage-vendor/registration.ts";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "../e2e/sample-application.ts";
import { allowVendor, FolderAppliance, type RunningVendor, startVendor } from "../e2e/vendor-storage.ts";
import { type RealVelero, startRealVelero } from "./real-velero.ts";

let harness: Harness;
let velero: RealVelero;
let appliance: FolderAppliance;
let vendor: RunningVendor;
const complaints: string[] = [];

beforeAll(async () => {
  harness = await Harness.start({
    nodes: 1,
    installBy: async (starting) => {
      await starting.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
      velero = await startRealVelero(starting);
    },
  });
  appliance = new FolderAppliance(join(harness.cluster.directory, "storage"));
  await allowVendor(harness);
  vendor = await startVendor(harness, appliance, (message) => void complaints.push(message));
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
});
afterAll(async () => {
  await vendor?.stop();
  await velero?.stop();
  await harness?.destroy();
});

it("moves the volumes of Velero's backup, and brings them back", async () => {
  const facts = await factsOf(harness, "shop", "files");
  await velero.cli("backup", "create", "first", "--include-namespaces", "shop", "--snapshot-move-data", "--data-mover", MOVER_NAME, "--wait");
  const backup = await harness.client.get(backups, { namespace: VELERO, name: "first" });
  if (backup.status?.phase !== "Completed") throw new Error(await velero.cli("backup", "logs", "first"));
  expect(backup.status).toMatchObject({ backupItemOperationsAttempted: 1, backupItemOperationsCompleted: 1 });
  const [upload] = await harness.uploads("first", 1);
  expect(upload).toMatchObject({ spec: { datamover: MOVER_NAME }, status: { phase: "Completed", snapshotID: upload?.metadata.uid } });
  expect(readdirSync(appliance.vault)).toEqual([upload?.metadata.uid]);
  await harness.seen(volumeSnapshots, {}, (found) => (found.length === 0 ? true : undefined));
  await harness.seen(volumeSnapshotContents, {}, (found) => (found.length === 0 ? true : undefined));

  await harness.deleteNamespace("shop");
  await velero.cli("restore", "create", "back", "--from-backup", "first", "--wait");
  expect((await harness.endOfRestore("back")).status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 1 });
  await untilRunning(harness, "shop");
  expect(await factsOf(harness, "shop", "files")).toBe(facts);
  const [download] = await harness.downloads("back", 1);
  expect(download).toMatchObject({ spec: { datamover: MOVER_NAME, snapshotID: upload?.metadata.uid }, status: { phase: "Completed" } });
  expect(await velero.cli("backup", "describe", "first", "--details")).toContain(`Data Mover: ${MOVER_NAME}`);
  expect((await harness.client.list(daemonSets, { namespace: VELERO })).items).toEqual([]);
  expect(complaints).toEqual([]);
});
