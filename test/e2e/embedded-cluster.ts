/** A cluster of a test's own: in a folder that goes with it, started by the same means as `dray cluster up`. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "@drayage/base";
import { type ClusterUpOptions, clusterDown, clusterUp, type RunningCluster } from "@drayage/embedded/cluster";
import { type ConnectedClient, createKubeClient, type KubeObject, type ObjectKey, type Pod, pods, type ResourceType } from "@drayage/kube";
import { roleCommand } from "../../apps/dray/src/cluster/embedded.ts";
import { programEntry } from "../program.ts";

const WAIT_MS = 60_000;

export class TestCluster {
  readonly directory: string;
  readonly #scratch: string;
  #running: RunningCluster | undefined;
  #client: ConnectedClient | undefined;

  private constructor(scratch: string) {
    this.#scratch = scratch;
    this.directory = join(scratch, "cluster");
  }

  static async start(options: Partial<ClusterUpOptions> = {}): Promise<TestCluster> {
    const cluster = new TestCluster(mkdtempSync(join(tmpdir(), "dray-e2e-")));
    try {
      await cluster.up(options);
    } catch (error) {
      await cluster.destroy();
      throw error;
    }
    return cluster;
  }

  get kubeconfigPath(): string {
    return this.running.kubeconfigPath;
  }

  get running(): RunningCluster {
    if (this.#running === undefined) throw new Error("the cluster is not up");
    return this.#running;
  }

  get client(): ConnectedClient {
    if (this.#client === undefined) throw new Error("the cluster is not up");
    return this.#client;
  }

  async up(options: Partial<ClusterUpOptions> = {}): Promise<void> {
    this.#running = await clusterUp({
      directory: this.directory,
      launch: (role) => roleCommand(role, process.env, programEntry),
      clock: systemClock,
      random: systemRandom,
      ...options,
    });
    await this.#client?.close();
    this.#client = createKubeClient({ kubeconfigPath: this.#running.kubeconfigPath, qps: 0 });
  }

  async down(): Promise<void> {
    await this.#client?.close();
    this.#client = undefined;
    await clusterDown({ directory: this.directory, clock: systemClock });
  }

  async destroy(): Promise<void> {
    await this.#client?.close();
    this.#client = undefined;
    await clusterDown({ directory: this.directory, clock: systemClock, destroy: true });
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  /** The process of a role: `control-plane`, or a node's name. */
  pidOf(role: string): number {
    return (JSON.parse(readFileSync(join(this.directory, "run", `${role}.json`), "utf8")) as { pid: number }).pid;
  }

  /** Waits until the object is as wanted; `undefined` stands for an object that is not there. Fails with its last state. */
  async until<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, wanted: (object: T | undefined) => boolean): Promise<T | undefined> {
    const giveUpMs = systemClock.monotonicMs() + WAIT_MS;
    for (;;) {
      const object = await this.client.find(type, key);
      if (wanted(object)) return object;
      if (systemClock.monotonicMs() > giveUpMs) throw new Error(`${type.kind} ${key.name} is not as wanted: ${JSON.stringify(object, null, 1)}`);
      await systemClock.sleep(50);
    }
  }

  async untilGone<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): Promise<void> {
    await this.until(type, key, (object) => object === undefined);
  }

  /** Waits until the pod has ended and returns it. */
  async untilEnded(name: string): Promise<Pod> {
    const ended = await this.until(pods, { namespace: "default", name }, (pod) => pod?.status?.phase === "Succeeded" || pod?.status?.phase === "Failed");
    if (ended === undefined) throw new Error(`pod ${name} is not there`);
    return ended;
  }

  async logOf(name: string, container?: string): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const part of this.client.podLog({ namespace: "default", name }, container === undefined ? {} : { container })) parts.push(part);
    return Buffer.concat(parts).toString();
  }

  /** Processes that were started for this cluster, by their command lines and environments. */
  processes(): number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => pid !== process.pid && readOrEmpty(`/proc/${pid}/cmdline`).includes(this.directory));
  }

  /** Found in the records of this cluster's kubelets. */
  mainProcesses({ metadata: { namespace, name } }: Pod): number[] {
    const list = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).map((entry) => join(folder, entry)) : []);
    return list(join(this.directory, "nodes"))
      .flatMap((node) => list(join(node, "pods")))
      .flatMap((pod) => list(join(pod, "containers")))
      .flatMap(list)
      .flatMap((folder) => {
        const record = readJson<{ readonly identity: { readonly namespace: string; readonly pod: string } }>(join(folder, "container.json"));
        const main = readJson<{ readonly pid: number; readonly startTicks: string }>(join(folder, "main.json"));
        const isAsked = record?.identity.namespace === namespace && record?.identity.pod === name;
        return isAsked && main !== undefined && !existsSync(join(folder, "result.json")) ? [main] : [];
      })
      .filter(({ pid, startTicks }) => startTicksOf(pid) === startTicks)
      .map(({ pid }) => pid);
  }

  mounts(): string[] {
    return readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .filter((line) => line.includes(this.directory));
  }
}

/** A pod of one container that runs a line of shell. */
export function shellPod(name: string, script: string, over: { readonly spec?: object; readonly container?: object } = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "default", name },
    spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox", command: ["sh", "-c", script], ...over.container }], ...over.spec },
  };
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

/** What a file of JSON holds; undefined when it is not there, or half written. */
export function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return undefined;
  }
}
