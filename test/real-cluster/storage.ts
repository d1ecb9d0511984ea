/** Storage as a cluster has it: our CSI driver under the real kubelet, with the ordinary sidecars and the snapshot controller. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { loadCrds } from "@drayage/api";
import { CSI_DRIVER_NAME } from "@drayage/embedded/csi-driver";
import { defaultStorageManifests } from "@drayage/embedded/volumes";
import type { Manifest } from "@drayage/install";
import type { ConnectedClient, KubeObject, ResourceType } from "@drayage/kube";
import { applyManifests } from "../../apps/dray/src/cluster/installation.ts";
import { quietTerminal } from "../e2e/quiet-terminal.ts";
import { programEntry } from "../program.ts";
import { type Daemon, NODE, startDaemon, startPeerDaemon, untilReady } from "./machine.ts";

interface CsiNode extends KubeObject {
  spec: { drivers?: { name: string }[] | null };
}
const csiNodes: ResourceType<CsiNode> = { group: "storage.k8s.io", version: "v1", plural: "csinodes", kind: "CSINode", namespaced: false };

export interface StorageOptions {
  readonly folder: string;
  readonly kubeletRoot: string;
  readonly kubeconfigPath: string;
  readonly client: ConnectedClient;
}

export async function startStorage({ folder, kubeletRoot, kubeconfigPath, client }: StorageOptions, daemons: Daemon[]): Promise<void> {
  // The kinds of group snapshots too: the controller waits half a minute for them.
  const kinds = loadCrds("snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io");
  const manifests = kinds.map((crd) => ({ ...crd, metadata: { ...crd.metadata, name: `${crd.spec.names.plural}.${crd.spec.group}` } }) as Manifest);
  await applyManifests(client, manifests, quietTerminal());
  for (const { type, object } of defaultStorageManifests()) await client.apply(type, object, { fieldManager: "e2e" });
  daemons.push(startPeerDaemon(folder, "snapshot-controller", [`--kubeconfig=${kubeconfigPath}`, "--leader-election=false", "--http-endpoint="]));
  const socket = join(kubeletRoot, "plugins", CSI_DRIVER_NAME, "csi.sock");
  const driver = startDaemon(folder, "csi-driver", [
    ...[process.execPath, programEntry, "embedded", "csi-driver", "--socket", socket, "--storage", join(folder, "storage"), "--name", NODE],
    ...["--registry", join(kubeletRoot, "plugins_registry"), "--log-level", "debug"],
  ]);
  daemons.push(driver);
  // The provisioner reads the topology that registering leaves in the node's object, so that comes first.
  const isRegistered = async (): Promise<boolean> =>
    existsSync(socket) && (await client.find(csiNodes, { name: NODE }))?.spec.drivers?.some(({ name }) => name === CSI_DRIVER_NAME) === true;
  await untilReady("the registration of the CSI driver", isRegistered, driver);
  const common = [`--csi-address=${socket}`, `--kubeconfig=${kubeconfigPath}`, "--leader-election=false", "--v=3"];
  daemons.push(startPeerDaemon(folder, "csi-provisioner", [...common, "--feature-gates=Topology=true"]), startPeerDaemon(folder, "csi-snapshotter", common));
}
