import type { Backup, Restore } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { type GenericObject, pods } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { isFor } from "./backup-action.ts";
import { createKubeVirtBackupActions, kubeVirtRestoreActions } from "./kubevirt-actions.ts";

const signal = new AbortController().signal;
const item = (kind: string, rest: object = {}, metadata: GenericObject["metadata"] = {}): GenericObject => ({
  kind,
  metadata: { namespace: "vms", name: "vm", ...metadata },
  ...rest,
});
const machine = item("VirtualMachine", {
  spec: {
    running: true,
    instancetype: { name: "small", kind: "VirtualMachineInstancetype", revisionName: "small-1" },
    preference: { name: "linux", kind: "VirtualMachineClusterPreference", revisionName: "linux-1" },
    dataVolumeTemplates: [{ metadata: { name: "root" } }],
    template: {
      spec: {
        volumes: [
          { name: "root", dataVolume: { name: "root" } },
          { name: "data", persistentVolumeClaim: { claimName: "data" } },
          { name: "config", configMap: { name: "settings" } },
          { name: "init", cloudInitNoCloud: { secretRef: { name: "user-data" }, networkDataSecretRef: { name: "network" } } },
          { name: "account", serviceAccount: { serviceAccountName: "robot" } },
        ],
        accessCredentials: [{ sshPublicKey: { source: { secret: { secretName: "keys" } } } }],
        domain: { devices: { interfaces: [{ macAddress: "02:00:00:00:00:01" }] }, firmware: { uuid: "1", serial: "2", bootloader: {} } },
      },
    },
  },
  status: { created: true },
});

async function backUp(groupResource: string, object: GenericObject, client = new FakeKubeClient()) {
  const action = createKubeVirtBackupActions(client).find((candidate) => isFor(candidate, { groupResource, namespace: "vms", name: "vm" }, object));
  return action?.execute(object, { backup: { metadata: {}, spec: {} }, log: nullLogger, signal });
}

async function restore(groupResource: string, object: GenericObject, labels: Record<string, string> = {}, spec: Restore["spec"] = {}) {
  const asked: Restore = { metadata: { name: "r", labels }, spec };
  const action = kubeVirtRestoreActions.find((candidate) => candidate.groupResource === groupResource);
  return action?.execute(object, {
    restore: asked,
    backup: { metadata: {}, spec: {} } as Backup,
    itemFromBackup: object,
    targetNamespace: "vms",
    log: nullLogger,
    signal,
  });
}

const names = (items: readonly { readonly groupResource: string; readonly name: string }[] | undefined) =>
  items?.map(({ groupResource, name }) => `${groupResource} ${name}`);

describe("a virtual machine", () => {
  it("brings along everything that it needs to start again", async () => {
    expect(names((await backUp("virtualmachines.kubevirt.io", machine))?.additionalItems)).toEqual([
      "virtualmachineinstances.kubevirt.io vm",
      "virtualmachineinstancetypes.instancetype.kubevirt.io small",
      "controllerrevisions.apps small-1",
      "controllerrevisions.apps linux-1",
      "datavolumes.cdi.kubevirt.io root",
      "persistentvolumeclaims root",
      ...["datavolumes.cdi.kubevirt.io root", "persistentvolumeclaims root", "persistentvolumeclaims data", "configmaps settings"],
      ...["secrets user-data", "secrets network", "serviceaccounts robot", "secrets keys"],
    ]);
    const stopped = await backUp("virtualmachines.kubevirt.io", { ...machine, status: {} });
    expect(names(stopped?.additionalItems)).not.toContain("virtualmachineinstances.kubevirt.io vm");
  });

  it("that runs brings the pod in which it runs, whose hooks freeze its file systems", async () => {
    const client = new FakeKubeClient();
    client.seed(pods, {
      metadata: { namespace: "vms", name: "virt-launcher-vm-x", labels: { "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": "u1" } },
      spec: { containers: [] },
    });
    client.seed(pods, {
      metadata: { namespace: "vms", name: "of-another", labels: { "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": "u2" } },
      spec: { containers: [] },
    });
    const result = await backUp("virtualmachineinstances.kubevirt.io", item("VirtualMachineInstance", {}, { uid: "u1" }), client);
    expect(names(result?.additionalItems)).toEqual(["pods virt-launcher-vm-x"]);
  });

  it("has disks that are not filled once more, unless they were not filled yet", async () => {
    const filled = await backUp("datavolumes.cdi.kubevirt.io", item("DataVolume", { status: { phase: "Succeeded" } }, { name: "root" }));
    expect(filled?.item.metadata.annotations).toEqual({ "cdi.kubevirt.io/storage.prePopulated": "root" });
    expect(names(filled?.additionalItems)).toEqual(["persistentvolumeclaims root"]);
    expect(
      (await backUp("datavolumes.cdi.kubevirt.io", item("DataVolume", { status: { phase: "ImportInProgress" } })))?.item.metadata.annotations,
    ).toBeUndefined();
    const ofVolume = { ownerReferences: [{ apiVersion: "cdi.kubevirt.io/v1beta1", kind: "DataVolume", name: "root", uid: "d" }] };
    expect((await backUp("persistentvolumeclaims", item("PersistentVolumeClaim", {}, ofVolume)))?.item.metadata.annotations).toEqual({
      "cdi.kubevirt.io/storage.populatedFor": "root",
    });
    const filling = { ...ofVolume, annotations: { "cdi.kubevirt.io/storage.pod.phase": "Running" } };
    const claim = (await backUp("persistentvolumeclaims", item("PersistentVolumeClaim", {}, filling)))?.item;
    expect(claim?.metadata.annotations).toMatchObject({ "kvp.kubevirt.io/storage.inprogress": "true" });
    expect((await restore("persistentvolumeclaims", claim ?? machine))?.skip).toBe(true);
    expect(await backUp("persistentvolumeclaims", item("PersistentVolumeClaim"))).toBeUndefined();
  });

  it("comes back as the labels of the restore ask", async () => {
    const labels = {
      "velero.kubevirt.io/restore-run-strategy": "Halted",
      "velero.kubevirt.io/clear-mac-address": "true",
      "velero.kubevirt.io/generate-new-firmware-uuid": "true",
    };
    const result = await restore("virtualmachines.kubevirt.io", machine, labels);
    expect(result?.item["spec"]).toMatchObject({
      runStrategy: "Halted",
      template: { spec: { domain: { devices: { interfaces: [{}] }, firmware: { bootloader: {} } } } },
    });
    expect(JSON.stringify(result?.item)).not.toMatch(/macAddress|"uuid"|"serial"|"running"/);
    expect((await restore("virtualmachines.kubevirt.io", machine))?.item).toEqual(machine);
  });

  it("makes its instance and its pods by itself; an instance of nobody comes back without its past", async () => {
    const ofMachine = { ownerReferences: [{ apiVersion: "kubevirt.io/v1", kind: "VirtualMachine", name: "vm", uid: "m" }] };
    expect((await restore("virtualmachineinstances.kubevirt.io", item("VirtualMachineInstance", {}, ofMachine)))?.skip).toBe(true);
    const free = item("VirtualMachineInstance", {}, { labels: { "kubevirt.io/nodeName": "n", mine: "yes" } });
    expect((await restore("virtualmachineinstances.kubevirt.io", free))?.item.metadata.labels).toEqual({ mine: "yes" });
    for (const role of ["virt-launcher", "hotplug-disk"])
      expect((await restore("pods", item("Pod", {}, { labels: { "kubevirt.io": role } })))?.skip).toBe(true);
    expect((await restore("pods", item("Pod")))?.skip).toBeUndefined();
  });

  it("and its networks follow their namespace", async () => {
    const spec = { namespaceMapping: { nets: "other" } };
    const networks = [{ multus: { networkName: "nets/blue" } }, { multus: { networkName: "green" } }, { multus: { networkName: "away/red" } }];
    const moved = [{ multus: { networkName: "other/blue" } }, ...networks.slice(1)];
    const wired = item("VirtualMachine", { spec: { template: { spec: { networks } } } });
    expect((await restore("virtualmachines.kubevirt.io", wired, {}, spec))?.item["spec"]).toEqual({ template: { spec: { networks: moved } } });
    const instance = item("VirtualMachineInstance", { spec: { networks } });
    expect((await restore("virtualmachineinstances.kubevirt.io", instance, {}, spec))?.item["spec"]).toEqual({ networks: moved });
    const network = (config: string) => item("NetworkAttachmentDefinition", { spec: { config } });
    const definitions = "network-attachment-definitions.k8s.cni.cncf.io";
    expect((await restore(definitions, network('{"type":"bridge","netAttachDefName":"nets/blue"}'), {}, spec))?.item).toEqual(
      network('{"type":"bridge","netAttachDefName":"other/blue"}'),
    );
    for (const left of ["no JSON", "[]", "null", '{"netAttachDefName":7}', '{"type": "bridge"}', '{"netAttachDefName": "away/red"}'])
      expect((await restore(definitions, network(left), {}, spec))?.item).toEqual(network(left));
  });

  it("is cloned from a source that brings what stands behind it", async () => {
    const source = (of: object) => item("DataSource", { spec: { source: of } });
    const brought = async (of: object) => (await backUp("datasources.cdi.kubevirt.io", source(of)))?.additionalItems;
    expect(await brought({ pvc: { namespace: "images", name: "fedora" } })).toEqual([
      { groupResource: "persistentvolumeclaims", namespace: "images", name: "fedora" },
    ]);
    expect(await brought({ snapshot: { name: "fedora" } })).toEqual([
      { groupResource: "volumesnapshots.snapshot.storage.k8s.io", namespace: "vms", name: "fedora" },
    ]);
    expect(await brought({ dataSource: { name: "latest" } })).toEqual([{ groupResource: "datasources.cdi.kubevirt.io", namespace: "vms", name: "latest" }]);
    expect(await brought({})).toEqual([]);
  });
});
