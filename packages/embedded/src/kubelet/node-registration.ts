/** The kubelet's own object and its heartbeat: Node, Lease, CSINode. */
import { statfsSync } from "node:fs";
import { arch, cpus, hostname, release, totalmem } from "node:os";
import { type Clock, errorFields, formatTime, hasCode, type Logger } from "@drayage/base";
import { type Condition, formatMicroTime, type KubeClient, leases, type Node, nodes, type ResourceType } from "@drayage/kube";

export interface NodeRegistrationOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** On the disk whose size the node tells as its own. */
  readonly directory: string;
  /** Where this kubelet serves logs and exec. */
  readonly port: number;
  readonly address: string;
  readonly csiDrivers: readonly { readonly name: string; readonly nodeId: string; readonly topologyKeys: readonly string[] }[];
  readonly clock: Clock;
  readonly logger: Logger;
}

interface CsiNode {
  apiVersion?: string;
  kind?: string;
  metadata: Node["metadata"];
  spec: { drivers: { name: string; nodeID: string; topologyKeys: readonly string[] }[] };
}

const csiNodes: ResourceType<CsiNode> = { group: "storage.k8s.io", version: "v1", plural: "csinodes", kind: "CSINode", namespaced: false };

export const NODE_LEASE_NAMESPACE = "kube-node-lease";
const LEASE_SECONDS = 40;
const HEARTBEAT_MS = 10_000;
/** What is reported although the machine has no such limit of its own. */
const PODS_MAX = "110";
const VERSION = "v1.34.0";

/** Registers the node as Ready and keeps its Lease until stopped. Resolves once the node is registered. */
export async function registerNode(options: NodeRegistrationOptions): Promise<{ stop(): void }> {
  const ending = new AbortController();
  await writeNode(options);
  await writeCsiNode(options);
  await renewLease(options).catch((error: unknown) => options.logger.warn("node lease was not written", errorFields(error)));
  void beat(options, ending.signal);
  return { stop: () => ending.abort() };
}

/** What the machine has, as Node.status.capacity tells it. */
export function machineCapacity(directory: string): Record<string, string> {
  const { blocks, bsize } = statfsSync(directory);
  return {
    cpu: String(cpus().length),
    memory: `${Math.floor(totalmem() / 1024)}Ki`,
    pods: PODS_MAX,
    "ephemeral-storage": `${Math.floor((blocks * bsize) / 1024)}Ki`,
  };
}

async function beat(options: NodeRegistrationOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await options.clock.sleep(HEARTBEAT_MS, signal);
      await renewLease(options);
      await keepReady(options);
    } catch (error) {
      if (signal.aborted) return;
      options.logger.warn("node heartbeat failed", errorFields(error));
    }
  }
}

async function writeNode(options: NodeRegistrationOptions): Promise<void> {
  const { client, nodeName, labels } = options;
  const metadata = {
    name: nodeName,
    labels: { ...labels },
    annotations: { "volumes.kubernetes.io/controller-managed-attach-detach": "true", ...options.annotations },
  };
  try {
    await client.create(nodes, { apiVersion: "v1", kind: "Node", metadata, spec: {} });
  } catch (error) {
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
    await client.patch(nodes, { name: nodeName }, "merge", { metadata: { labels: metadata.labels, annotations: metadata.annotations } });
  }
  await client.patchStatus(nodes, { name: nodeName }, "merge", { status: statusOf(options, []) });
}

/** A node that was declared unreachable while this kubelet could not be heard says that it is there again. */
async function keepReady(options: NodeRegistrationOptions): Promise<void> {
  const node = await options.client.find(nodes, { name: options.nodeName });
  if (node === undefined) {
    await writeNode(options);
    return;
  }
  const ready = node.status?.conditions?.find(({ type }) => type === "Ready");
  if (ready?.status !== "True")
    await options.client.patchStatus(nodes, { name: options.nodeName }, "merge", { status: statusOf(options, node.status?.conditions ?? []) });
}

function statusOf(options: NodeRegistrationOptions, before: readonly Condition[]): Node["status"] & object {
  const now = formatTime(options.clock.nowMs());
  const condition = (type: string, status: Condition["status"], reason: string, message: string): Condition & { lastHeartbeatTime: string } => {
    const old = before.find((each) => each.type === type);
    const since = old?.status === status ? (old.lastTransitionTime ?? now) : now;
    return { type, status, reason, message, lastHeartbeatTime: now, lastTransitionTime: since };
  };
  const capacity = machineCapacity(options.directory);
  return {
    capacity,
    allocatable: capacity,
    addresses: [
      { type: "InternalIP", address: options.address },
      { type: "Hostname", address: options.nodeName },
    ],
    conditions: [
      condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
      condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
      condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
      condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ],
    nodeInfo: {
      architecture: goArchitecture(),
      bootID: "",
      containerRuntimeVersion: "drayage://0.1.0",
      kernelVersion: release(),
      kubeProxyVersion: "",
      kubeletVersion: VERSION,
      machineID: hostname(),
      operatingSystem: "linux",
      osImage: "Drayage embedded node",
      systemUUID: "",
    },
    ...{ daemonEndpoints: { kubeletEndpoint: { Port: options.port } } },
  };
}

export function goArchitecture(): string {
  return arch() === "x64" ? "amd64" : arch();
}

async function writeCsiNode(options: NodeRegistrationOptions): Promise<void> {
  const { client, nodeName } = options;
  const spec = { drivers: options.csiDrivers.map(({ name, nodeId, topologyKeys }) => ({ name, nodeID: nodeId, topologyKeys })) };
  try {
    await client.create(csiNodes, { apiVersion: "storage.k8s.io/v1", kind: "CSINode", metadata: { name: nodeName }, spec });
  } catch (error) {
    if (hasCode(error, "KUBE_ALREADY_EXISTS")) await client.patch(csiNodes, { name: nodeName }, "merge", { spec });
    // An API server without the kind has nobody who reads it.
    else if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

async function renewLease(options: NodeRegistrationOptions): Promise<void> {
  const { client, nodeName, clock } = options;
  const key = { namespace: NODE_LEASE_NAMESPACE, name: nodeName };
  const renewTime = formatMicroTime(clock.nowMs());
  try {
    await client.patch(leases, key, "merge", { spec: { holderIdentity: nodeName, leaseDurationSeconds: LEASE_SECONDS, renewTime } });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    const spec = { holderIdentity: nodeName, leaseDurationSeconds: LEASE_SECONDS, renewTime };
    await client.create(leases, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: key, spec });
  }
}
