/**
 * The objects that KubeVirt and CDI make of one virtual machine. No hypervisor takes part: its launcher pod has the disks mounted as KubeVirt's has, and what the guest would write is
 * written there.
 */
import { type CustomResourceDefinition, customResourceDefinitions, type GenericObject, persistentVolumeClaims, pods, type ResourceType } from "@drayage/kube";
import type { Harness } from "./harness.ts";
import { deployApplication, type SampleVolumes } from "./sample-application.ts";

const typeOf = (group: string, version: string, kind: string): ResourceType<GenericObject> => ({
  group,
  version,
  plural: `${kind.toLowerCase()}s`,
  kind,
  namespaced: true,
});
export const machines = typeOf("kubevirt.io", "v1", "VirtualMachine");
export const instances = typeOf("kubevirt.io", "v1", "VirtualMachineInstance");
export const dataVolumes = typeOf("cdi.kubevirt.io", "v1beta1", "DataVolume");

export async function defineMachines(harness: Harness): Promise<void> {
  for (const type of [machines, instances, dataVolumes]) await define(harness, type);
}

async function define(harness: Harness, { group, version, kind, plural }: ResourceType<GenericObject>): Promise<void> {
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

/** A machine that runs, with a disk of a DataVolume (the claim `root`) and disks of the other claims, and the pod in which it runs. */
export async function startMachine(
  harness: Harness,
  namespace: string,
  volumes: SampleVolumes,
  annotations: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { client } = harness;
  await deployApplication(harness, namespace, volumes);
  const disks = Object.keys(volumes).map((name) => (name === "root" ? { name, dataVolume: { name } } : { name, persistentVolumeClaim: { claimName: name } }));
  const dataVolume = await client.create(dataVolumes, {
    metadata: { namespace, name: "root" },
    spec: { source: { blank: {} } },
    status: { phase: "Succeeded" },
  });
  const owner = (type: ResourceType<GenericObject>, { metadata }: GenericObject) => [
    { apiVersion: `${type.group}/${type.version}`, kind: type.kind, name: metadata.name ?? "", uid: metadata.uid ?? "", controller: true },
  ];
  await client.patch(persistentVolumeClaims, { namespace, name: "root" }, "merge", { metadata: { ownerReferences: owner(dataVolumes, dataVolume) } });
  const machine = await client.create(machines, {
    metadata: { namespace, name: "vm" },
    spec: { runStrategy: "Always", template: { spec: { volumes: disks } } },
    status: { created: true },
  });
  const instance = await client.create(instances, {
    metadata: { namespace, name: "vm", ownerReferences: owner(machines, machine) },
    spec: { volumes: disks },
    status: { phase: "Running" },
  });
  const labels = { "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": instance.metadata.uid ?? "" };
  await client.patch(pods, { namespace, name: "app" }, "merge", { metadata: { labels, annotations } });
}
