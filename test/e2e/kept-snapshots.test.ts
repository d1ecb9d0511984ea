/** Backups whose snapshots stay with their storage, and policies that say what happens to which volume: cut, restored from after the namespace is gone, and deleted, in a whole cluster. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { backups, deleteBackupRequests, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { configMaps, persistentVolumeClaims } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

const isRoot = process.getuid?.() === 0;
/** Snapshots that a backup of the application cuts. */
const cut = isRoot ? 2 : 1;
let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
});
afterAll(() => harness?.destroy());

/** Snapshots that the storage has, whoever knows of them. */
function storedSnapshots(): string[] {
  return readdirSync(join(harness.cluster.directory, "storage", "snapshots"));
}

it("come back from their storage, also when the namespace that they were cut in is gone, and go with their backup", async () => {
  const { client } = harness;
  await deployApplication(harness, "kept", { data: {}, scratch: {}, ...(isRoot ? { disk: { mode: "Block" as const } } : {}) });
  await fillFolder(harness, "kept", "data");
  if (isRoot) await inApplication(harness, "kept", "head -c 3000000 /dev/urandom | dd of=/dev/disk bs=1M seek=1 conv=notrunc status=none");
  const facts = await factsOf(harness, "kept", "data");
  const diskFacts = isRoot ? await factsOf(harness, "kept", "disk", "Block") : "";
  await client.patch(persistentVolumeClaims, { namespace: "kept", name: "scratch" }, "merge", { metadata: { labels: { tier: "scratch" } } });
  await client.create(configMaps, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: VELERO, name: "policies" },
    data: { policies: "version: v1\nvolumePolicies:\n  - conditions: {pvcLabels: {tier: scratch}}\n    action: {type: skip}\n" },
  });

  const spec = { includedNamespaces: ["kept"], snapshotMoveData: false, resourcePolicy: { kind: "configmap", name: "policies" } };
  const { status } = await harness.backUp("local", spec);
  expect(status).toMatchObject({ phase: "Completed", csiVolumeSnapshotsAttempted: cut, csiVolumeSnapshotsCompleted: cut, backupItemOperationsCompleted: cut });
  const infos = await harness.archive((store) => store.getVolumeInfos("local"));
  expect(infos.find(({ pvcName }) => pvcName === "scratch")).toMatchObject({ skipped: true, skippedReason: "a volume policy says skip" });
  expect(infos.find(({ pvcName }) => pvcName === "data")).toMatchObject({ preserveLocalSnapshot: true, result: "succeeded" });
  expect((await client.list(volumeSnapshots)).items).toEqual([]);
  expect((await client.list(volumeSnapshotContents)).items).toEqual([]);
  expect(storedSnapshots()).toHaveLength(cut);

  await harness.deleteNamespace("kept");
  expect(storedSnapshots()).toHaveLength(cut);
  const restored = await harness.restore("back", { backupName: "local" });
  expect(await harness.resultsOf("restore", "back")).toEqual({
    errors: {},
    warnings: { namespaces: { kept: ['claim "scratch" comes back empty: its data is not in the backup, because a volume policy says skip'] } },
  });
  expect(restored.status).toMatchObject({ phase: "Completed" });
  await untilRunning(harness, "kept");
  expect(await factsOf(harness, "kept", "data")).toBe(facts);
  if (isRoot) expect(await factsOf(harness, "kept", "disk", "Block")).toBe(diskFacts);

  await harness.deleteNamespace("kept");
  expect(storedSnapshots()).toHaveLength(cut);
  await client.create(deleteBackupRequests, {
    apiVersion: "velero.io/v1",
    kind: "DeleteBackupRequest",
    metadata: { namespace: VELERO, name: "local-x" },
    spec: { backupName: "local" },
  });
  await harness.seen(backups, { namespace: VELERO }, (found) => (found.length === 0 ? true : undefined));
  expect(storedSnapshots()).toEqual([]);
  expect(await harness.archive((store) => store.listBackups())).toEqual([]);
});
