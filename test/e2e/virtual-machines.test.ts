/**
 * Disks of virtual machines: the objects that KubeVirt and CDI make of one, moved and kept, and restored for a machine to start over. No hypervisor takes part: its launcher pod has
 * the disks mounted as KubeVirt's has, and what the guest would write is written there.
 */
import { persistentVolumeClaims, pods } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness } from "./harness.ts";
import { factsOf, fillFolder, inApplication, startApplication } from "./sample-application.ts";
import { dataVolumes, defineMachines, instances, machines, startMachine } from "./virtual-machine.ts";

const isRoot = process.getuid?.() === 0;
const VMS = "vms";
/** The root disk as a device where there can be one, and a disk image in a file system. */
const volumes = { data: {}, root: isRoot ? { mode: "Block" as const, size: "32Mi" } : {} };

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1, nodeAgentConfig: { loadConcurrency: { globalConfig: 2 } } });
  await defineMachines(harness);
});
afterAll(() => harness?.destroy());

// KubeVirt notes the freezing of the guest's file systems in the same way.
const hook = (script: string): string => JSON.stringify(["sh", "-c", script]);
const HOOKS = {
  "pre.hook.backup.velero.io/container": "main",
  "pre.hook.backup.velero.io/command": hook("echo frozen > /volumes/data/state; sync"),
  "post.hook.backup.velero.io/container": "main",
  "post.hook.backup.velero.io/command": hook("echo thawed > /volumes/data/state; sync"),
};

const write = (from: number): Promise<string> =>
  inApplication(
    harness,
    VMS,
    `head -c 2000000 /dev/urandom > /volumes/data/disk-${from}.img; ${isRoot ? `head -c 1000000 /dev/urandom | dd of=/dev/root bs=1M seek=${from} conv=notrunc status=none` : "true"}; sync`,
  );
const facts = async (): Promise<string[]> => [
  // The guest was frozen at the moment that is kept, and folders have the time of that.
  (await factsOf(harness, VMS, "data"))
    .split("\n")
    .filter((line) => !/(^| )\.\/state|^\. d /.test(line))
    .join("\n"),
  isRoot ? await factsOf(harness, VMS, "root", "Block") : await factsOf(harness, VMS, "root"),
];

/** What the restore has brought back, for a machine to start over. */
async function expectBack(restore: string, backupName: string, wanted: readonly string[]): Promise<void> {
  await harness.deleteNamespace(VMS);
  expect((await harness.restore(restore, { backupName })).status).toMatchObject({ phase: "Completed" });
  const { client } = harness;
  expect((await client.get(machines, { namespace: VMS, name: "vm" }))["spec"]).toMatchObject({ runStrategy: "Always" });
  expect((await client.get(dataVolumes, { namespace: VMS, name: "root" })).metadata.annotations).toMatchObject({
    "cdi.kubevirt.io/storage.prePopulated": "root",
  });
  expect((await client.get(persistentVolumeClaims, { namespace: VMS, name: "root" })).metadata.annotations).toMatchObject({
    "cdi.kubevirt.io/storage.populatedFor": "root",
  });
  // The machine makes them by itself.
  expect(await client.find(instances, { namespace: VMS, name: "vm" })).toBeUndefined();
  expect((await client.list(pods, { namespace: VMS })).items).toEqual([]);
  await startApplication(harness, VMS, volumes);
  expect(await inApplication(harness, VMS, "cat /volumes/data/state")).toBe("frozen\n");
  expect(await facts()).toEqual(wanted);
}

it("disks of a machine that runs are moved, what changed alone the next time, and a machine starts over them", async () => {
  await startMachine(harness, VMS, volumes, HOOKS);
  await fillFolder(harness, VMS, "data");
  await write(2);
  expect((await harness.backUp("first", { includedNamespaces: [VMS] })).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 2 });
  await harness.expectNothingLeft();
  await write(20);
  const wanted = await facts();
  expect((await harness.backUp("second", { includedNamespaces: [VMS] })).status).toMatchObject({ phase: "Completed" });
  for (const { spec, status } of await harness.uploads("second", 2)) {
    if (!isRoot && spec.sourcePVC === "root") continue;
    expect(status?.incrementalBytes, spec.sourcePVC).toBeGreaterThan(900_000);
    expect(status?.incrementalBytes, spec.sourcePVC).toBeLessThan((status?.progress?.totalBytes ?? 0) * 0.7);
  }
  await expectBack("moved", "second", wanted);
  await harness.expectNothingLeft();
});

it("disks of a machine that does not run are kept as snapshots, and come back from their storage", async () => {
  await write(10);
  await inApplication(harness, VMS, "echo frozen > /volumes/data/state; sync");
  const wanted = await facts();
  const { status } = await harness.backUp("kept", { includedNamespaces: [VMS], snapshotMoveData: false });
  expect(status).toMatchObject({ phase: "Completed", csiVolumeSnapshotsAttempted: 2, csiVolumeSnapshotsCompleted: 2 });
  // The pod that stands for nobody's machine here would be restored as any other.
  await harness.deleteNamespace(VMS);
  expect((await harness.restore("kept", { backupName: "kept", excludedResources: ["pods"] })).status?.phase).toBe("Completed");
  await startApplication(harness, VMS, volumes);
  expect(await facts()).toEqual(wanted);
});
