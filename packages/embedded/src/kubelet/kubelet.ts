/**
 * One node: runs the pods that are bound to it.
 *
 *   watch of the node's pods ─► one PodWorker a pod ─► containers, volumes, probes
 *   API server ─► KubeletServer (logs, exec)           Node, Lease, CSINode ◄─ heartbeat
 *
 * Its folder is laid out as /var/lib/kubelet is: `pods/UID/volumes/…`, `plugins/kubernetes.io/csi/…`; beside it `logs/NAMESPACE_POD_UID/CONTAINER/N.log`.
 * A kubelet that is started again on the same folder finds its containers and goes on with them.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import {
  configMaps,
  createEventRecorder,
  type EventRecorder,
  type KubeClient,
  type KubeObject,
  type ObjectKey,
  type Pod,
  pods,
  type ResourceType,
  secrets,
  startInformer,
} from "@drayage/kube";
import { type CsiNodeClient, createCsiNodeClient } from "../csi-driver/index.ts";
import type { TokenSource } from "./api-volumes.ts";
import { ContainerRuntime } from "./container-runtime.ts";
import { CsiVolumes } from "./csi-volumes.ts";
import type { PodFacts, ReferenceSource } from "./environment.ts";
import type { ImageMapping } from "./images.ts";
import { type KubeletServer, startKubeletServer } from "./kubelet-server.ts";
import { makeShared } from "./mount-table.ts";
import { checkNamespaces, isRootless } from "./namespaces.ts";
import { goArchitecture, machineCapacity, registerNode } from "./node-registration.ts";
import { PodAddresses } from "./pod-addresses.ts";
import { podKey } from "./pod-types.ts";
import { PodVolumes } from "./pod-volumes.ts";
import { PodWorker, type PodWorkerOptions } from "./pod-worker.ts";
import { createTokenSource } from "./service-account-tokens.ts";

export interface StartKubeletOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  /** The node's own folder; made when it is not there. */
  readonly directory: string;
  /** Sockets of the CSI drivers of this node; their names come from the drivers. */
  readonly csiSockets: readonly string[];
  readonly imageMap: readonly ImageMapping[];
  /** What the API server shows when it asks for logs and commands. */
  readonly token: string;
  /** Where pods find the API server. */
  readonly apiServer: { readonly host: string; readonly port: number; readonly caPem: string };
  readonly labels?: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly rootless?: boolean;
}

export interface Kubelet {
  readonly port: number;
  /** Lets go of everything; containers go on, for the next kubelet of this folder. */
  stop(): Promise<void>;
}

const ADDRESS = "127.0.0.1";

/** Starts a kubelet and resolves when its node is registered as Ready. Throws NOT_PERMITTED where the machine permits no namespaces. */
export async function startKubelet(options: StartKubeletOptions): Promise<Kubelet> {
  const rootless = options.rootless ?? isRootless();
  await checkNamespaces(rootless);
  const kubelet = new RunningKubelet(options, rootless);
  await kubelet.start();
  return kubelet;
}

class RunningKubelet implements Kubelet {
  readonly #options: StartKubeletOptions;
  readonly #rootless: boolean;
  readonly #logger: Logger;
  readonly #workers = new Map<string, PodWorker>();
  readonly #runtime: ContainerRuntime;
  readonly #addresses: PodAddresses;
  readonly #drivers = new Map<string, CsiNodeClient>();
  readonly #recorder: EventRecorder;
  readonly #tokens: TokenSource;
  #server: KubeletServer | undefined;
  #stopParts: (() => void)[] = [];
  #volumes: PodVolumes | undefined;

  constructor(options: StartKubeletOptions, rootless: boolean) {
    this.#options = options;
    this.#rootless = rootless;
    this.#logger = options.logger.child({ node: options.nodeName });
    this.#runtime = new ContainerRuntime({ clock: options.clock, logger: this.#logger, rootless });
    this.#addresses = podAddresses(options.directory);
    const { client, clock, random, nodeName } = options;
    this.#recorder = createEventRecorder({ client, clock, random, logger: this.#logger, component: "kubelet", host: nodeName });
    this.#tokens = createTokenSource(client, clock);
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  async start(): Promise<void> {
    const { client, clock, random, directory, nodeName } = this.#options;
    mkdirSync(join(directory, "pods"), { recursive: true, mode: 0o750 });
    // What a CSI driver mounts later must become visible in containers that see this folder.
    if (!this.#rootless) await makeShared(directory);
    const csiNodes = await this.#connectDrivers();
    const csi = new CsiVolumes(directory, this.#drivers);
    this.#volumes = new PodVolumes({ directory, client, csi, clock, random, rootless: this.#rootless });
    this.#server = await startKubeletServer({
      address: ADDRESS,
      port: 0,
      token: this.#options.token,
      rootless: this.#rootless,
      clock,
      logger: this.#logger,
      findPod: (namespace, name) => this.#findPod(namespace, name),
    });
    const topology = Object.assign({}, ...csiNodes.map(({ topology }) => topology)) as Record<string, string>;
    const registration = await registerNode({
      client,
      nodeName,
      labels: { ...standardLabels(nodeName), ...topology, ...this.#options.labels },
      annotations: { "csi.volume.kubernetes.io/nodeid": JSON.stringify(Object.fromEntries(csiNodes.map(({ driverName, nodeId }) => [driverName, nodeId]))) },
      directory,
      port: this.#server.port,
      address: ADDRESS,
      csiDrivers: csiNodes.map(({ driverName, nodeId, topology: keys }) => ({ name: driverName, nodeId, topologyKeys: Object.keys(keys) })),
      clock,
      logger: this.#logger,
    });
    this.#stopParts.push(() => registration.stop());
    await this.#watchPods();
  }

  async stop(): Promise<void> {
    for (const stop of this.#stopParts.splice(0)) stop();
    for (const worker of this.#workers.values()) worker.release();
    for (const driver of this.#drivers.values()) driver.close();
    await this.#server?.close();
  }

  async #connectDrivers() {
    const found = [];
    for (const socket of this.#options.csiSockets) {
      const driver = createCsiNodeClient(socket);
      const info = await driver.info();
      this.#drivers.set(info.driverName, driver);
      found.push(info);
    }
    return found;
  }

  async #watchPods(): Promise<void> {
    const { client, clock, random, nodeName, directory } = this.#options;
    const informer = startInformer(pods, { client, clock, random, logger: this.#logger, fieldSelector: `spec.nodeName=${nodeName}` });
    this.#stopParts.push(() => informer.stop());
    await informer.synced();
    const uids = new Set<string>();
    for (const pod of informer.list()) {
      uids.add(podKey(pod).uid);
      this.#addresses.keep(podKey(pod).uid, pod.status?.podIP);
    }
    this.#stopParts.push(informer.onChange((before, after) => this.#podChanged(before, after)));
    for (const uid of readdirSync(join(directory, "pods"))) if (!uids.has(uid)) this.#removeOrphan(uid);
  }

  #podChanged(before: Pod | undefined, after: Pod | undefined): void {
    const pod = after ?? before;
    if (pod === undefined) return;
    const { uid } = podKey(pod);
    const worker = this.#workers.get(uid);
    if (after === undefined) worker?.remove();
    else if (worker === undefined) this.#workers.set(uid, this.#worker(after));
    else worker.update(after);
  }

  /** A pod that went from the API while no kubelet ran: nothing is known of it but its folder. */
  #removeOrphan(uid: string): void {
    const folder = join(this.#options.directory, "pods", uid, "containers");
    const containers = existsSync(folder) ? readdirSync(folder).map((name) => ({ name })) : [];
    this.#logger.info("removing a pod that the API no longer has", { uid });
    const pod: Pod = { metadata: { uid, name: uid, namespace: "orphaned" }, spec: { containers } };
    this.#workers.set(uid, this.#worker(pod, true));
  }

  #worker(pod: Pod, objectGone = false): PodWorker {
    const { client, clock, random, directory, nodeName, apiServer, imageMap } = this.#options;
    const { namespace, name, uid } = podKey(pod);
    const facts: PodFacts = { podIP: this.#addresses.take(uid), hostIP: ADDRESS, nodeName, allocatable: machineCapacity(directory) };
    const volumes = this.#volumes as PodVolumes;
    const options: PodWorkerOptions = {
      client,
      volumes,
      runtime: this.#runtime,
      clock,
      random,
      logger: this.#logger,
      recorder: this.#recorder,
      rootless: this.#rootless,
      imageMap,
      facts,
      references: referencesOf(client, namespace),
      baseEnvironment: {
        KUBERNETES_SERVICE_HOST: apiServer.host,
        KUBERNETES_SERVICE_PORT: String(apiServer.port),
        KUBERNETES_SERVICE_PORT_HTTPS: String(apiServer.port),
      },
      podFolder: join(directory, "pods", uid),
      logFolder: join(directory, "logs", `${namespace}_${name}_${uid}`),
      token: this.#tokens,
      caPem: apiServer.caPem,
      objectGone,
      onGone: () => {
        this.#workers.delete(uid);
        this.#addresses.give(uid);
      },
    };
    return new PodWorker(pod, options);
  }

  #findPod(namespace: string, name: string): PodWorker | undefined {
    return [...this.#workers.values()].find(({ pod }) => podKey(pod).namespace === namespace && podKey(pod).name === name);
  }
}

/**
 * `127.64` and up: all of 127/8 reaches this machine. By the folder, which no node of another cluster on this machine has: two nodes of one name would give their pods the same
 * addresses.
 */
function podAddresses(directory: string): PodAddresses {
  const digest = createHash("sha256").update(resolve(directory)).digest();
  return new PodAddresses(`127.${64 + (digest.readUInt8(0) % 128)}`, digest.readUInt8(1) % 255);
}

function standardLabels(nodeName: string): Record<string, string> {
  const architecture = goArchitecture();
  return {
    "kubernetes.io/hostname": nodeName,
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": architecture,
    "beta.kubernetes.io/os": "linux",
    "beta.kubernetes.io/arch": architecture,
    "drayage.io/machine": hostname().slice(0, 63),
  };
}

function referencesOf(client: KubeClient, namespace: string): ReferenceSource {
  const find = async <T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): Promise<T | undefined> => client.find(type, key);
  return {
    secret: (name) => find(secrets, { namespace, name }),
    configMap: (name) => find(configMaps, { namespace, name }),
  };
}
