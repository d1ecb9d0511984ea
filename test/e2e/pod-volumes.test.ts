/** File-system backup: volumes that are read through the pods which mount them, and filled before their pods go on, in a whole cluster. */
import { backupRepositories, podVolumeBackups, podVolumeRestores } from "@drayage/api";
import { type Pod, pods } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 2 });
});
afterAll(() => harness?.destroy());

it("volumes of a pod are read while it runs, and the pod starts again only when they are filled", async () => {
  const { client } = harness;
  await deployApplication(harness, "files", { data: {} });
  await fillFolder(harness, "files", "data");
  const facts = await factsOf(harness, "files", "data");

  const first = await harness.backUp("first", { includedNamespaces: ["files"], snapshotMoveData: false, defaultVolumesToFsBackup: true });
  expect(first.status).toMatchObject({ phase: "Completed" });
  const [read] = (await client.list(podVolumeBackups, { namespace: VELERO })).items;
  expect(read).toMatchObject({
    metadata: { annotations: { "velero.io/pvc-name": "data" } },
    spec: { pod: { kind: "Pod", namespace: "files", name: "app" }, uploaderType: "kopia", volume: "data" },
    status: { phase: "Completed", snapshotID: expect.stringMatching(/^[0-9a-f]{32}$/) },
  });
  expect(read?.metadata.finalizers).toBeUndefined();
  const [info] = await harness.archive((store) => store.getVolumeInfos("first"));
  expect(info).toMatchObject({
    pvcName: "data",
    backupMethod: "PodVolumeBackup",
    result: "succeeded",
    pvbInfo: { podName: "app", snapshotHandle: read?.status?.snapshotID },
  });

  await inApplication(harness, "files", "cd /volumes/data; echo more > deep/more");
  const changed = await factsOf(harness, "files", "data");
  const second = await harness.backUp("second", { includedNamespaces: ["files"], snapshotMoveData: false, defaultVolumesToFsBackup: true });
  expect(second.status).toMatchObject({ phase: "Completed" });
  const incremental = (await client.list(podVolumeBackups, { namespace: VELERO, labelSelector: "velero.io/backup-name=second" })).items[0]?.status;
  // Only what is new was read: the parent was found by the claim.
  expect(incremental?.incrementalBytes ?? 0).toBeLessThan(1000);
  expect(await harness.verifyRepository("files")).toBe(2);

  // A repository is maintained by a Job when it is time, and says how that went.
  const key = { namespace: VELERO, name: "files-default-kopia" };
  await client.patch(backupRepositories, key, "merge", { spec: { maintenanceFrequency: "1s" } });
  const { status: maintained } = await harness.until(backupRepositories, key, ({ status }) => (status?.recentMaintenance ?? []).length > 0);
  await client.patch(backupRepositories, key, "merge", { spec: { maintenanceFrequency: "24h" } });
  expect(maintained?.recentMaintenance?.[0]).toMatchObject({ result: "Succeeded", startTimestamp: expect.any(String) });
  expect(await harness.verifyRepository("files")).toBe(2);

  await harness.deleteNamespace("files");
  const restored = await harness.restore("back", { backupName: "second" });
  expect(restored.status?.phase).toBe("Completed");
  await untilRunning(harness, "files");
  expect(withoutMark(await factsOf(harness, "files", "data"))).toBe(withoutMark(changed));
  const pod: Pod = await client.get(pods, { namespace: "files", name: "app" });
  expect(pod.spec.initContainers?.map(({ name, args }) => [name, args])).toEqual([["restore-wait", [restored.metadata.uid]]]);
  const [filled] = (await client.list(podVolumeRestores, { namespace: VELERO })).items;
  expect(filled).toMatchObject({
    spec: { snapshotID: info === undefined ? "" : expect.any(String), sourceNamespace: "files", volume: "data" },
    status: { phase: "Completed" },
  });

  await harness.deleteNamespace("files");
  expect((await harness.restore("back-again", { backupName: "first", namespaceMapping: { files: "files-2" } })).status?.phase).toBe("Completed");
  await untilRunning(harness, "files-2");
  expect(withoutMark(await factsOf(harness, "files-2", "data"))).toBe(withoutMark(facts));
  await harness.deleteNamespace("files-2");
});

/** The restore leaves a folder that says so, and with it the root has another time. */
function withoutMark(facts: string): string {
  return facts
    .split("\n")
    .filter((line) => !/^(\.\/\.velero|\. d |[0-9a-f]{64} {2}\.\/\.velero)/.test(line))
    .join("\n");
}

it("a volume that is opted in by annotation is read, the others are snapshot, and a pod that does not run says so", async () => {
  const { client } = harness;
  await deployApplication(harness, "mixed", { data: {}, disk: {} });
  await inApplication(harness, "mixed", "echo a > /volumes/data/a; echo b > /volumes/disk/b");
  await client.patch(pods, { namespace: "mixed", name: "app" }, "merge", { metadata: { annotations: { "backup.velero.io/backup-volumes": "data" } } });
  await client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "mixed", name: "stuck", annotations: { "backup.velero.io/backup-volumes": "never" } },
    spec: {
      containers: [{ name: "main", image: "busybox", command: ["sleep", "1"] }],
      volumes: [{ name: "never", persistentVolumeClaim: { claimName: "never" } }],
    },
  });
  const { status } = await harness.backUp("mixed", { includedNamespaces: ["mixed"], snapshotMoveData: false });
  expect(status).toMatchObject({ phase: "Completed", csiVolumeSnapshotsAttempted: 1 });
  const infos = await harness.archive((store) => store.getVolumeInfos("mixed"));
  expect(infos.map(({ pvcName, backupMethod }) => [pvcName, backupMethod]).sort()).toEqual([
    ["data", "PodVolumeBackup"],
    ["disk", "CSISnapshot"],
  ]);
  expect(await harness.textLogOf("backup", "mixed")).toContain(
    'Cannot read volume \\"never\\" of pod \\"mixed/stuck\\" through its file system: the pod does not run',
  );
});
