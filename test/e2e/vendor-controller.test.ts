/** The worked example of a vendor's own controller beside an installation: its storage moves the data, and Drayage's backups, restores, cancels and deletions reach it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  backups,
  type DeleteBackupRequest,
  dataDownloads,
  dataMoverBackups,
  dataMovers,
  dataUploads,
  deleteBackupRequests,
  MOVER_ANNOTATIONS,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { MOVER_NAME, registration } from "../../packages/api/examples/storage-vendor/registration.ts";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "./sample-application.ts";
import { allowVendor, FolderAppliance, type RunningVendor, startVendor } from "./vendor-storage.ts";

let harness: Harness;
let appliance: FolderAppliance;
let running: RunningVendor;
const complaints: string[] = [];
const complain = (message: string): void => void complaints.push(message);

beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
  appliance = new FolderAppliance(join(harness.cluster.directory, "storage"));
  const { client } = harness;
  await client.create(dataMovers, registration);
  await allowVendor(harness);
  running = await startVendor(harness, appliance, complain);
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
});
afterEach(() => {
  appliance.hold = undefined;
  appliance.complaint = undefined;
});
afterAll(async () => {
  await running?.stop();
  await harness?.destroy();
});

const spec = { includedNamespaces: ["shop"], snapshotMoveData: true, datamover: MOVER_NAME };

async function deleteBackup(backup: string, name: string): Promise<readonly string[]> {
  const request: DeleteBackupRequest = { metadata: { namespace: VELERO, name }, spec: { backupName: backup } };
  await harness.client.create(deleteBackupRequests, request);
  return await harness.seen(deleteBackupRequests, { namespace: VELERO }, (found) => {
    const own = found.find(({ metadata }) => metadata.name === name);
    const errors = own?.status?.errors ?? [];
    return own === undefined ? [] : errors.length > 0 ? errors : undefined;
  });
}

it("moves the volumes of a backup, brings them back, and removes its copies with the backup", async () => {
  const facts = await factsOf(harness, "shop", "files");
  const asked = { metadata: { namespace: VELERO, name: "first", annotations: { [MOVER_ANNOTATIONS.parameters]: '{"tier":"hot"}' } }, spec };
  await harness.client.create(backups, asked);
  expect((await harness.endOfBackup("first")).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 1 });
  const [upload] = await harness.uploads("first", 1);
  expect(upload).toMatchObject({
    spec: { datamover: MOVER_NAME, dataMoverConfig: { tier: "hot" } },
    status: { phase: "Completed", snapshotID: upload?.metadata.uid, dataMoverResult: { tier: "hot" } },
  });
  expect(appliance.asked).toEqual([{ name: upload?.metadata.uid, parameters: { tier: "hot" } }]);
  expect(readdirSync(appliance.vault)).toEqual([upload?.metadata.uid]);
  await harness.seen(volumeSnapshots, {}, (found) => (found.length === 0 ? true : undefined));
  await harness.seen(volumeSnapshotContents, {}, (found) => (found.length === 0 ? true : undefined));

  await harness.deleteNamespace("shop");
  expect((await harness.restore("back", { backupName: "first" })).status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 1 });
  await untilRunning(harness, "shop");
  expect(await factsOf(harness, "shop", "files")).toBe(facts);
  const [download] = await harness.downloads("back", 1);
  expect(download).toMatchObject({ spec: { datamover: MOVER_NAME, snapshotID: upload?.metadata.uid }, status: { phase: "Completed" } });
  await harness.expectNothingLeft();

  // A storage that cannot delete keeps the backup, and says why; the next try goes through.
  appliance.complaint = "the vault is locked";
  expect((await deleteBackup("first", "locked")).join()).toContain(`that mover "${MOVER_NAME}" moved: the vault is locked`);
  expect(readdirSync(appliance.vault)).toHaveLength(1);
  appliance.complaint = undefined;
  expect(await deleteBackup("first", "open")).toEqual([]);
  expect(readdirSync(appliance.vault)).toEqual([]);
  expect((await harness.client.list(dataMoverBackups, { namespace: VELERO })).items).toEqual([]);
  expect(complaints).toEqual([]);
});

it("is canceled with its upload and its download, and leaves nothing", async () => {
  const held = Promise.withResolvers<void>();
  appliance.hold = held.promise;
  await harness.startBackup("canceled", spec);
  const upload = await harness.seen(dataUploads, { namespace: VELERO }, (found) => found.find(({ status }) => status?.progress?.bytesDone === 1));
  await harness.client.patch(dataUploads, { namespace: VELERO, name: upload.metadata.name ?? "" }, "merge", { spec: { cancel: true } });
  expect((await harness.endOfBackup("canceled")).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 1 });
  await harness.until(
    dataUploads,
    { namespace: VELERO, name: upload.metadata.name ?? "" },
    ({ status, metadata }) => status?.phase === "Canceled" && metadata.finalizers === undefined,
  );
  expect(readdirSync(appliance.vault)).toEqual([]);

  appliance.hold = undefined;
  expect((await harness.backUp("second", spec)).status).toMatchObject({ phase: "Completed" });
  await harness.deleteNamespace("shop");
  appliance.hold = held.promise;
  await harness.startRestore("canceled", { backupName: "second" });
  const download = await harness.seen(dataDownloads, { namespace: VELERO }, (found) => found.find(({ status }) => status?.progress?.bytesDone === 1));
  await harness.client.patch(dataDownloads, { namespace: VELERO, name: download.metadata.name ?? "" }, "merge", { spec: { cancel: true } });
  await harness.until(
    dataDownloads,
    { namespace: VELERO, name: download.metadata.name ?? "" },
    ({ status, metadata }) => status?.phase === "Canceled" && metadata.finalizers === undefined,
  );
  await harness.deleteNamespace("shop");
  await harness.expectNothingLeft();
});

it("goes on where it was when it was ended in the middle of a copy", async () => {
  const held = Promise.withResolvers<void>();
  await harness.restore("again", { backupName: "second" });
  await untilRunning(harness, "shop");
  appliance.hold = held.promise;
  await harness.startBackup("third", spec);
  const upload = await harness.seen(dataUploads, { namespace: VELERO }, (found) =>
    found.find(({ status }) => status?.progress?.bytesDone === 1 && status.phase === "InProgress"),
  );
  await running.stop();
  appliance.hold = undefined;
  running = await startVendor(harness, appliance, complain);
  expect((await harness.endOfBackup("third")).status).toMatchObject({ phase: "Completed" });
  expect(existsSync(join(appliance.vault, upload.metadata.uid ?? ""))).toBe(true);
});

it("is asked by objects of the shape in which Velero makes them", async () => {
  // One that Velero 1.18.3 made for its own mover, as the API server had it.
  const recorded = JSON.parse(readFileSync(join(import.meta.dirname, "..", "fixtures", "velero-1.18.3", "data-upload.json"), "utf8")) as typeof ours;
  const [ours] = await harness.uploads("second", 1);
  const shape = (object: typeof ours): unknown => ({
    labels: Object.keys(object?.metadata.labels ?? {}).sort(),
    owners: object?.metadata.ownerReferences?.map(({ apiVersion, kind, controller }) => ({ apiVersion, kind, controller })),
    spec: Object.keys(object?.spec ?? {})
      .filter((name) => !["datamover", "dataMoverConfig"].includes(name))
      .sort(),
    snapshot: Object.keys(object?.spec.csiSnapshot ?? {}).sort(),
    type: object?.spec.snapshotType,
    operation: object?.metadata.labels?.["velero.io/async-operation-id"]?.startsWith("du-"),
  });
  expect(shape(ours)).toEqual(shape(recorded));
});
