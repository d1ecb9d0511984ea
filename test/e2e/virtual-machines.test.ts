/**
 * Disks of virtual machines: the objects that KubeVirt and CDI make of one, moved and kept, and restored for a machine to start over. No hypervisor takes part: its launcher pod has
 * the disks mounted as KubeVirt's has, and what the guest would write is written there.
 */
import { type CustomResourceDefinition, customResourceDefinitions, type GenericObject, persistentVolumeClaims, pods, type ResourceType } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, startApplication } from "./sample-application.ts";

const isRoot = process.getuid?.() === 0;
const typeOf = (group: string, version: string, kind: string): ResourceType<GenericObject> => ({
  group,
  version,
  plural: `${kind.toLowerCase()}s`,
  kind,
  namespaced: true,
});
const machines = typeOf("kubevirt.io", "v1", "VirtualMachine");
const instances = typeOf("kubevirt.io", "v1", "VirtualMachineInstance");
const dataVolumes = typeOf("cdi.kubevirt.io", "v1beta1", "DataVolume");
const VMS = "vms";
/** The root disk as a device where there can be one, and a disk image in a file system. */
const volumes = { data: {}, root: isRoot ? { mode: "Block" as const, size: "32Mi" } : {} };

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1, nodeAgentConfig: { loadConcurrency: { globalConfig: 2 } } });
  for (const type of [machines, instances, dataVolumes]) await define(type);
});
afterAll(() => harness?.destroy());

async function define({ group, version, kind, plural }: ResourceType<GenericObject>): Promise<void> {
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const crd: CustomResourceDefinition = {
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { plural, kind },
      versions: [{ name: version, served: true, storage: true, schema: { openAPIV3Schema: { type: "object", properties: { spec: open, status: open } } } }],
    },
  };
  await harness.client.create(customResourceDefinitions, crd);
  await harness.until(customResourceDefinitions, { name: crd.metadata.name ?? "" }, ({ status }) =>
    (status?.conditions ?? []).some((condition) => condition.type === "Established" && condition.status === "True"),
  );
}

/** A machine that runs, with a disk of a DataVolume and one of a claim, and the pod in which it runs. */
async function startMachine(): Promise<void> {
  const { client } = harness;
  await deployApplication(harness, VMS, volumes);
  const disks = [
    { name: "root", dataVolume: { name: "root" } },
    { name: "data", persistentVolumeClaim: { claimName: "data" } },
  ];
  const dataVolume = await client.create(dataVolumes, {
    metadata: { namespace: VMS, name: "root" },
    spec: { source: { blank: {} } },
    status: { phase: "Succeeded" },
  });
  const owner = (type: ResourceType<GenericObject>, { metadata }: GenericObject) => [
    { apiVersion: `${type.group}/${type.version}`, kind: type.kind, name: metadata.name ?? "", uid: metadata.uid ?? "", controller: true },
  ];
  await client.patch(persistentVolumeClaims, { namespace: VMS, name: "root" }, "merge", { metadata: { ownerReferences: owner(dataVolumes, dataVolume) } });
  const machine = await client.create(machines, {
    metadata: { namespace: VMS, name: "vm" },
    spec: { runStrategy: "Always", template: { spec: { volumes: disks } } },
    status: { created: true },
  });
  const instance = await client.create(instances, {
    metadata: { namespace: VMS, name: "vm", ownerReferences: owner(machines, machine) },
    spec: { volumes: disks },
    status: { phase: "Running" },
  });
  // KubeVirt notes the freezing of the guest's file systems in the same way.
  const hook = (script: string): string => JSON.stringify(["sh", "-c", script]);
  await client.patch(pods, { namespace: VMS, name: "app" }, "merge", {
    metadata: {
      labels: { "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": instance.metadata.uid },
      annotations: {
        "pre.hook.backup.velero.io/container": "main",
        "pre.hook.backup.velero.io/command": hook("echo frozen > /volumes/data/state; sync"),
        "post.hook.backup.velero.io/container": "main",
        "post.hook.backup.velero.io/command": hook("echo thawed > /volumes/data/state; sync"),
      },
    },
  });
}

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
  await startMachine();
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
