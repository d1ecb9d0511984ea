/** A real Kubernetes of one node: the parts of ../shared/peers, containerd and runc of the system, our CSI driver, our image. One at a time. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ConnectedClient, createKubeClient, nodes, type Pod } from "@drayage/kube";
import { qualified } from "../../tools/image/oci-layout.ts";
import type { ClusterUnderTest, Harness, Surroundings } from "../e2e/harness.ts";
import { BUCKET, KEYS, REGION, REPOSITORY_PASSWORD } from "../e2e/harness.ts";
import { startControlPlane } from "./control-plane.ts";
import { imageArchives, PROGRAM_IMAGE } from "./images.ts";
import { cgroupName, detachLoopDevices, endAll, processesWhere, readOrEmpty, removeCgroups, unmountAll } from "./leftovers.ts";
import { ADDRESS, type Daemon, NODE, run, runFolder, untilReady } from "./machine.ts";
import { startContainerd, startKubelet } from "./node.ts";
import { startStorage } from "./storage.ts";

export class RealCluster implements ClusterUnderTest {
  readonly directory: string;
  readonly #daemons: Daemon[] = [];
  #client: ConnectedClient | undefined;
  #kubeconfigPath = "";

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async start(): Promise<RealCluster> {
    const cluster = new RealCluster(mkdtempSync(join(runFolder(), "cluster-")));
    try {
      await cluster.#up();
    } catch (error) {
      await cluster.destroy();
      throw error;
    }
    return cluster;
  }

  get kubeconfigPath(): string {
    return this.#kubeconfigPath;
  }

  get client(): ConnectedClient {
    if (this.#client === undefined) throw new Error("the cluster is not up");
    return this.#client;
  }

  /** The kubelet's folder on the node. */
  get kubeletRoot(): string {
    return join(this.directory, "kubelet");
  }

  async #up(): Promise<void> {
    const { directory } = this;
    const [controlPlane, containerdSocket] = await Promise.all([startControlPlane(directory, this.#daemons), startContainerd(directory, this.#daemons)]);
    this.#kubeconfigPath = controlPlane.kubeconfigPath;
    const client = createKubeClient({ kubeconfigPath: controlPlane.kubeconfigPath, qps: 0 });
    this.#client = client;
    const kubelet = startKubelet(directory, controlPlane, containerdSocket, this.#daemons);
    const isReady = async (): Promise<boolean> =>
      (await client.find(nodes, { name: NODE }))?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
    await untilReady("the node", isReady, kubelet.daemon);
    await startStorage({ folder: directory, kubeletRoot: kubelet.root, kubeconfigPath: this.#kubeconfigPath, client }, this.#daemons);
  }

  async destroy(): Promise<void> {
    await this.#client?.close();
    this.#client = undefined;
    // A lost cluster ends nothing in order. The kubelet goes first, which would start again what is ended after it.
    for (const daemon of this.#daemons.splice(0).reverse()) await daemon.kill();
    await endAll(() => [...this.processes(), ...processesWhere((pid) => readOrEmpty(`/proc/${pid}/cgroup`).includes(`/${cgroupName()}/`))]);
    unmountAll(() => this.mounts());
    detachLoopDevices(this.directory);
    removeCgroups(false);
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Takes an image from an archive, beside those that are there. */
  importImage(archive: string): void {
    this.#images("import", archive);
  }

  /** The node has it no longer, and no registry has it either; containers that run go on. */
  removeImage(name: string): void {
    this.#images("rm", "--sync", qualified(name));
  }

  /** The images that a node has when it comes up. */
  async importImages(): Promise<void> {
    for (const archive of await imageArchives(runFolder())) this.importImage(archive);
  }

  #images(...args: readonly string[]): void {
    run("ctr", "--address", join(this.directory, "containerd", "containerd.sock"), "--namespace", "k8s.io", "images", ...args);
  }

  /** Of the first process of each container: it is the first of a process namespace of its own. */
  mainProcesses({ status }: Pod): number[] {
    const ids = (status?.containerStatuses ?? []).map(({ containerID }) => (containerID ?? "").replace("containerd://", "")).filter((id) => id !== "");
    return processesWhere((pid) => {
      const groups = readOrEmpty(`/proc/${pid}/cgroup`);
      return ids.some((id) => groups.includes(id)) && /^NSpid:.*\s1$/m.test(readOrEmpty(`/proc/${pid}/status`));
    });
  }

  processes(): number[] {
    return processesWhere((pid) => readOrEmpty(`/proc/${pid}/cmdline`).includes(this.directory));
  }

  mounts(): string[] {
    return readFileSync("/proc/self/mounts", "utf8")
      .split("\n")
      .filter((line) => line.includes(this.directory));
  }
}

/** How a harness works in real clusters: with a bucket at the address of the API server, which pods reach. */
export const REAL: Surroundings = {
  startCluster: () => RealCluster.start(),
  storeHost: ADDRESS,
  nodeAgentArgs: (cluster) => [`--kubelet-root-dir=${(cluster as RealCluster).kubeletRoot}`],
};

/** Installs as a user does, with the command line. */
export async function installByCommand(harness: Harness): Promise<void> {
  const keys = join(runFolder(), "keys");
  const password = join(runFolder(), "password");
  writeFileSync(keys, `[default]\naws_access_key_id = ${KEYS.accessKeyId}\naws_secret_access_key = ${KEYS.secretAccessKey}\n`, { mode: 0o600 });
  writeFileSync(password, REPOSITORY_PASSWORD, { mode: 0o600 });
  const config = `region=${REGION},s3ForcePathStyle=true,s3Url=${harness.store.url}`;
  const { kubeletRoot } = harness.cluster as RealCluster;
  await harness.dray(
    ...["install", "--provider", "aws", "--bucket", BUCKET, "--backup-location-config", config, "--secret-file", keys, "--image", PROGRAM_IMAGE],
    ...["--repository-password-file", password, "--kubelet-root-dir", kubeletRoot, "--log-level", "debug", "--wait", "--timeout", "180s"],
  );
}
