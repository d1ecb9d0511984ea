/**
 * The controllers and the kubelet around a real Velero with a node-agent, played: provisioner, binder, snapshot controller with its driver, scheduler, and one node. Each does to the
 * objects what the real one does, as far as Velero looks at it. No volume has anything in it that a test wrote; containers whose command is Velero's run as processes with a root of their
 * own, so that the movers are real ones.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type VolumeSnapshot, type VolumeSnapshotContent, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { hasCode } from "@drayage/base";
import {
  type ConnectedClient,
  type KubeObject,
  keyOf,
  nodes,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
} from "@drayage/kube";
import { NODE, type PlayedStorage, THEN } from "./played-storage.ts";
import { type RootedProcess, startRooted } from "./rooted-process.ts";

export interface PlayedClusterOptions {
  /** Writes through the one; what there is to do it sees through the other. */
  readonly client: ConnectedClient;
  readonly observer: ConnectedClient;
  readonly storage: PlayedStorage;
  /** Where volumes and roots are. */
  readonly folder: string;
  /** The program that is `/velero` in its containers. */
  readonly velero: string;
  /** What every container has of the machine beside it: what it finds the API server and the bucket by. */
  readonly mounts: readonly { readonly source: string; readonly target: string }[];
  /** Of every process of Velero's on the node. */
  readonly environment: Readonly<Record<string, string>>;
}

const LOOK_EVERY_MS = 100;
/** As the node-agent's DaemonSet names it. */
export const HOST_PODS = "/var/lib/kubelet/pods";

export class PlayedCluster {
  readonly #options: PlayedClusterOptions;
  readonly #ended = new AbortController();
  readonly #processes = new Map<string, RootedProcess>();
  readonly #done = new Set<string>();
  #running: Promise<void> = Promise.resolve();
  #agents = 0;

  constructor(options: PlayedClusterOptions) {
    this.#options = options;
  }

  /** Makes the node, and plays until `stop`. */
  async start(): Promise<void> {
    const { client } = this.#options;
    await client.create(nodes, { metadata: { name: NODE, labels: { "kubernetes.io/os": "linux", "kubernetes.io/hostname": NODE } } });
    // It is taken away when the node is ready.
    await client.patch(nodes, { name: NODE }, "merge", { spec: { taints: null } });
    await client.patchStatus(nodes, { name: NODE }, "merge", {
      status: { conditions: [{ type: "Ready", status: "True", lastHeartbeatTime: THEN, lastTransitionTime: THEN, reason: "KubeletReady", message: "" }] },
    });
    mkdirSync(this.#podsFolder, { recursive: true });
    this.#running = this.#play();
    this.#running.catch(() => undefined);
  }

  /** Starts a program of Velero's on the node, beside its pods: the node-agent. */
  startOnNode(args: readonly string[]): RootedProcess {
    return this.#startVelero(`agent-${++this.#agents}`, ["/velero", ...args], [{ source: this.#podsFolder, target: "/host_pods" }]);
  }

  /** Never resolves. Throws what stopped the play. */
  async failed(): Promise<never> {
    await this.#running;
    return await new Promise<never>(() => undefined);
  }

  /** Ends what runs on the node. Throws what stopped the play, if anything did. */
  async stop(): Promise<void> {
    this.#ended.abort();
    try {
      await this.#running;
    } finally {
      for (const process of this.#processes.values()) await process.stop();
    }
  }

  /** What the containers have printed, for messages. */
  output(): string {
    return [...this.#processes].map(([name, process]) => `--- ${name}\n${process.output()}`).join("\n");
  }

  get #podsFolder(): string {
    return join(this.#options.folder, "pods");
  }

  async #play(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      for (const snapshot of await this.#all(volumeSnapshots)) await this.#snapshot(snapshot);
      for (const content of await this.#all(volumeSnapshotContents)) await this.#content(content);
      for (const claim of await this.#all(persistentVolumeClaims)) await this.#claim(claim);
      for (const volume of await this.#all(persistentVolumes)) await this.#volume(volume);
      for (const pod of await this.#all(pods)) await this.#pod(pod);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  async #all<T extends KubeObject>(type: ResourceType<T>): Promise<T[]> {
    return (await this.#options.observer.list(type)).items;
  }

  /** Does something once for an object. What goes meanwhile needs no more. */
  async #once(what: string, { metadata }: KubeObject, act: () => Promise<unknown>): Promise<void> {
    const name = `${what} ${metadata.uid}`;
    if (this.#done.has(name)) return;
    this.#done.add(name);
    try {
      await act();
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }

  async #snapshot(snapshot: VolumeSnapshot): Promise<void> {
    const { persistentVolumeClaimName, volumeSnapshotContentName } = snapshot.spec.source;
    if (snapshot.metadata.deletionTimestamp !== undefined) return;
    if (persistentVolumeClaimName !== undefined) await this.#once("cut", snapshot, () => this.#options.storage.cut(snapshot));
    else if (volumeSnapshotContentName !== undefined) {
      // The node-agent makes the snapshot before its content.
      const content = await this.#options.observer.find(volumeSnapshotContents, { name: volumeSnapshotContentName });
      if (content !== undefined) await this.#once("bind", snapshot, () => this.#options.storage.bindSnapshot(snapshot, content));
    }
  }

  /** One for a snapshot that its driver has already. */
  async #content(content: VolumeSnapshotContent): Promise<void> {
    const { snapshotHandle } = content.spec.source;
    if (snapshotHandle !== undefined) await this.#once("find", content, () => this.#options.storage.find(content, snapshotHandle));
  }

  async #claim(claim: PersistentVolumeClaim): Promise<void> {
    const { client, observer, storage } = this.#options;
    const key = keyOf(claim);
    const { metadata, spec, status } = claim;
    if (metadata.deletionTimestamp !== undefined) {
      const isUsed = (await this.#all(pods)).some(
        (pod) => pod.metadata.namespace === metadata.namespace && !isOver(pod) && claimsOf(pod).includes(metadata.name ?? ""),
      );
      if (!isUsed) await this.#once("let go of", claim, () => client.patch(persistentVolumeClaims, key, "merge", { metadata: { finalizers: null } }));
      return;
    }
    if (status?.phase === "Bound") return;
    const volumeName = spec.volumeName ?? "";
    const volume = volumeName === "" ? undefined : await observer.find(persistentVolumes, { name: volumeName });
    if (volume !== undefined && volume.spec.claimRef?.name === metadata.name) await this.#once("bind", claim, () => storage.bindVolume(claim, volume));
    // What selects by labels waits for the volume that a mover fills.
    else if (volumeName === "" && spec.selector === undefined) await this.#once("provision", claim, () => storage.provision(claim, "Delete"));
  }

  async #volume(volume: PersistentVolume): Promise<void> {
    const { client, observer } = this.#options;
    const { claimRef, persistentVolumeReclaimPolicy } = volume.spec;
    const key = { name: volume.metadata.name ?? "" };
    if (claimRef?.uid === undefined) return;
    const claim = await observer.find(persistentVolumeClaims, { namespace: claimRef.namespace ?? "", name: claimRef.name ?? "" });
    if (claim?.metadata.uid === claimRef.uid) return;
    await this.#once(`release from ${claimRef.uid}`, volume, () => client.patchStatus(persistentVolumes, key, "merge", { status: { phase: "Released" } }));
    if (persistentVolumeReclaimPolicy !== "Delete") return;
    await this.#once("delete", volume, async () => {
      await client.delete(persistentVolumes, key);
      await client.patch(persistentVolumes, key, "merge", { metadata: { finalizers: null } });
    });
  }

  async #pod(pod: Pod): Promise<void> {
    const { client, observer } = this.#options;
    const key = { namespace: pod.metadata.namespace ?? "", name: pod.metadata.name ?? "" };
    const uid = pod.metadata.uid ?? "";
    if (pod.metadata.deletionTimestamp !== undefined) {
      await this.#processes.get(uid)?.stop();
      await this.#once("end", pod, () => client.delete(pods, key, { gracePeriodSeconds: 0 }));
      return;
    }
    if (isOver(pod)) return;
    const volumes = new Map<string, string>();
    for (const name of claimsOf(pod)) {
      const claim = await observer.find(persistentVolumeClaims, { namespace: key.namespace, name });
      if (claim?.status?.phase !== "Bound") return;
      volumes.set(name, claim.spec.volumeName ?? "");
    }
    if (pod.spec.nodeName === undefined)
      await this.#once("schedule", pod, () =>
        client.request("POST", `/api/v1/namespaces/${key.namespace}/pods/${key.name}/binding`, {
          body: {
            apiVersion: "v1",
            kind: "Binding",
            metadata: { name: key.name, namespace: key.namespace },
            target: { apiVersion: "v1", kind: "Node", name: NODE },
          },
        }),
      );
    for (const volume of volumes.values()) {
      const folder = join(this.#podsFolder, uid, "volumes", "kubernetes.io~csi", volume, "mount");
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "page"), "as every volume has it");
    }
    mkdirSync(join(this.#podsFolder, uid), { recursive: true });
    const init = pod.spec.initContainers ?? [];
    // Init containers of a restore wait for the data of its volumes; here they have waited when the node is told so.
    await this.#once("run", pod, async () => {
      if (init.length > 0) await this.#setStatus(key, { phase: "Pending", initContainerStatuses: init.map((it) => running(it, false)) });
      else await this.#setStatus(key, { phase: "Running", containerStatuses: pod.spec.containers.map((it) => running(it, true)) });
    });
    if (pod.spec.containers[0]?.command?.[0] === "/velero") await this.#runMover(pod, volumes);
  }

  async #runMover(pod: Pod, volumes: ReadonlyMap<string, string>): Promise<void> {
    const uid = pod.metadata.uid ?? "";
    const [container] = pod.spec.containers;
    if (container === undefined) return;
    const process = this.#processes.get(uid);
    if (process === undefined) {
      const folderOf = (name: string): string | undefined => {
        const volume = (pod.spec.volumes ?? []).find((it) => it.name === name) as
          | { persistentVolumeClaim?: { claimName: string }; hostPath?: { path: string } }
          | undefined;
        if (volume?.hostPath !== undefined)
          return volume.hostPath.path.startsWith(HOST_PODS) ? volume.hostPath.path.replace(HOST_PODS, this.#podsFolder) : undefined;
        const claim = volume?.persistentVolumeClaim?.claimName;
        return claim === undefined ? undefined : join(this.#podsFolder, uid, "volumes", "kubernetes.io~csi", volumes.get(claim) ?? "", "mount");
      };
      const mounts = (container.volumeMounts ?? []).flatMap(({ name, mountPath }) => {
        const source = folderOf(name);
        return source === undefined ? [] : [{ source, target: mountPath }];
      });
      this.#startVelero(uid, [...(container.command ?? []), ...(container.args ?? [])], mounts);
      return;
    }
    if (process.exitCode() === undefined) return;
    const message = readFileSync(join(process.root, "dev", "termination-log"), "utf8");
    const exitCode = process.exitCode() ?? 0;
    const terminated = { exitCode, message, reason: exitCode === 0 ? "Completed" : "Error", startedAt: THEN, finishedAt: THEN };
    await this.#once("end", pod, () =>
      this.#setStatus(keyOf(pod) as { namespace: string; name: string }, {
        phase: exitCode === 0 ? "Succeeded" : "Failed",
        containerStatuses: [{ ...running(container, false), state: { terminated } }],
      }),
    );
  }

  #startVelero(name: string, command: readonly string[], mounts: readonly { readonly source: string; readonly target: string }[]): RootedProcess {
    const { folder, velero } = this.#options;
    const process = startRooted({
      root: join(folder, "roots", name),
      command,
      mounts: [{ source: velero, target: "/velero" }, ...this.#options.mounts, ...mounts],
      environment: { ...this.#options.environment, NODE_NAME: NODE, HOME: "/home" },
    });
    this.#processes.set(name, process);
    return process;
  }

  async #setStatus(key: { readonly namespace: string; readonly name: string }, status: NonNullable<Pod["status"]>): Promise<void> {
    await this.#options.client.patchStatus(pods, key, "merge", { status });
  }
}

function isOver({ status }: Pod): boolean {
  return status?.phase === "Succeeded" || status?.phase === "Failed";
}

function claimsOf({ spec }: Pod): string[] {
  return ((spec.volumes ?? []) as { persistentVolumeClaim?: { claimName: string } }[]).flatMap(({ persistentVolumeClaim: it }) =>
    it === undefined ? [] : [it.claimName],
  );
}

function running(
  { name, image }: { readonly name: string; readonly image?: string },
  ready: boolean,
): NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number] {
  return { name, image: image ?? "", imageID: "", ready, restartCount: 0, state: { running: { startedAt: THEN } } };
}
