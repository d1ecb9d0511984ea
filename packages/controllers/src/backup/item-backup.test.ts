import { nullLogger } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import type { DiscoveredResource, Discovery, GenericObject } from "@drayage/kube";
import { persistentVolumeClaims } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { expect, it } from "vitest";
import type { BackupAction } from "../actions/backup-action.ts";
import { itemKey } from "../actions/item-id.ts";
import type { BackupArchiveWriter } from "../ports.ts";
import type { BackupSelection } from "./collect-items.ts";
import { ItemBackup } from "./item-backup.ts";
import type { VolumeRecords } from "./volume-records.ts";

const CLAIM = { groupResource: "persistentvolumeclaims", namespace: "vms", name: "disk" };
const resource = (group: string, plural: string, kind: string): DiscoveredResource => ({
  group,
  version: "v1",
  plural,
  kind,
  namespaced: true,
  singular: kind.toLowerCase(),
  shortNames: [],
  categories: [],
  verbs: ["get", "list"],
  preferred: true,
});
const machines = resource("kubevirt.io", "virtualmachines", "VirtualMachine");
const claims = resource("", "persistentvolumeclaims", "PersistentVolumeClaim");
const machine: GenericObject = { apiVersion: "kubevirt.io/v1", kind: "VirtualMachine", metadata: { namespace: "vms", name: "vm" } };

/** A machine whose action names its disk; the names of what is in the tarball, in order. */
function world(underWay: Promise<void>): { readonly itemBackup: ItemBackup; readonly stored: string[] } {
  const client = new FakeKubeClient();
  client.seed(persistentVolumeClaims, { metadata: { namespace: "vms", name: "disk" }, spec: {} });
  const stored: string[] = [];
  const action: BackupAction = {
    name: "names its disk",
    groupResource: "virtualmachines.kubevirt.io",
    execute: (item) => Promise.resolve({ item, additionalItems: [CLAIM] }),
  };
  const itemBackup = new ItemBackup({
    client,
    discovery: { find: () => Promise.resolve(claims) } as unknown as Discovery,
    clock: new VirtualClock(),
    backup: { metadata: { name: "b" }, spec: {} },
    selection: { namespaces: { has: () => true }, resources: { has: () => true, refuses: () => false } } as unknown as BackupSelection,
    actions: [action],
    archive: {
      add: ({ name }: { readonly name: string }) => {
        stored.push(name);
        return Promise.resolve();
      },
    } as unknown as BackupArchiveWriter,
    volumes: {} as VolumeRecords,
    underWay: (id) => (itemKey(id) === itemKey(CLAIM) ? underWay : undefined),
    log: nullLogger,
    signal: new AbortController().signal,
  });
  return { itemBackup, stored };
}

// Another worker cut the snapshots of a machine's disks while its pod's block was still freezing it, and the pod was thawed without waiting for them.
it("what another block is at work on is left to that block, which is waited for", async () => {
  const block = Promise.withResolvers<void>();
  const { itemBackup, stored } = world(block.promise);
  const backingUp = itemBackup.backUp(machine, machines);
  await new Promise((resolve) => setImmediate(resolve));
  expect([itemBackup.hasSeen(CLAIM), stored]).toEqual([false, []]);
  // The other block has backed it up.
  itemBackup.giveUp(CLAIM);
  block.resolve();
  await backingUp;
  expect(stored).toEqual(["vm"]);
});

it("what is in the same block is not waited for", async () => {
  const { itemBackup, stored } = world(Promise.withResolvers<void>().promise);
  await itemBackup.backUp(machine, machines, { own: new Set([itemKey(CLAIM)]) });
  expect(stored).toEqual(["disk", "vm"]);
});
