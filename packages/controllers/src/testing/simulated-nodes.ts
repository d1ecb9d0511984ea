/**
 * Nodes that lose their power or their network, for tests of who may move what: scheduler, kubelets, node lifecycle and movers in several places, and a bucket that a node which is
 * cut off from the API server still reaches. Beside `SimulatedStorage`, whose own kubelet then waits.
 *
 * A mover keeps to the rules of the real one (run-data-mover.ts, data-mover-backup.ts of movers): it moves only when its pod is named, asks before it saves its snapshot, asks once more
 * afterwards, and takes away what a predecessor left.
 */
import { DRAYAGE_ANNOTATIONS, dataDownloads, dataUploads, LABELS, type PodVolumeRestore, podVolumeBackups, podVolumeRestores } from "@drayage/api";
import { type Clock, DrayError, formatTime, type RandomSource } from "@drayage/base";
import { type KubeClient, keyOf, nodes, type Pod, persistentVolumeClaims, pods } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import type { AnyMovement } from "../data-movement/movement.ts";
import { RESTORE_WAIT } from "../pod-volume/pod-volume.ts";

/** How long a node is not heard before it is not ready, and then until its pods are deleted: Kubernetes' own figures. */
const UNHEARD_MS = 40_000;
const EVICT_MS = 300_000;

interface SimulatedNode {
  readonly name: string;
  power: boolean;
  network: boolean;
  /** When it was heard last. */
  heardMs: number;
  /** Changes with each loss of power: processes of before are gone. */
  boot: number;
  readonly waiting: (() => void)[];
}

interface SimulatedMover {
  readonly node: SimulatedNode;
  readonly pod: Pod;
  /** The volume that it has mounted. */
  readonly volume: string;
  state: "waiting" | "moving" | "saving" | "saved";
  ticksLeft: number;
  /** Its termination message, once a real one has ended. */
  real?: { message?: string } | undefined;
}

export interface SimulatedNodesOptions {
  readonly client: FakeKubeClient;
  readonly clock: Clock;
  /** The time of day as a node has it; the clock's when left out. */
  readonly wallMs?: (node: string) => number;
  readonly random: RandomSource;
  readonly names: readonly string[];
  /** Ticks that a mover works, at most; 6 when left out. */
  readonly workTicksMax?: number;
  /** Pods whose program somebody else plays: here they only come up. */
  readonly isProgram?: (pod: Pod) => boolean;
  /** A real mover for a pod, in place of the scripted one; resolves to its termination message. */
  readonly realMover?: (pod: Pod) => Promise<string> | undefined;
}

export class SimulatedNodes {
  /** Snapshots in the bucket, by their ids: of which object each is. */
  readonly snapshots = new Map<string, string>();
  /** What must never happen and did. */
  readonly violations: string[] = [];
  readonly #options: SimulatedNodesOptions;
  readonly #nodes: readonly SimulatedNode[];
  #movers: SimulatedMover[] = [];

  constructor(options: SimulatedNodesOptions) {
    this.#options = options;
    this.#nodes = options.names.map((name) => ({ name, power: true, network: true, heardMs: options.clock.nowMs(), boot: 0, waiting: [] }));
    for (const { name } of this.#nodes) this.#tellReady(name, "True");
  }

  isUp(name: string): boolean {
    const { power, network } = this.#node(name);
    return power && network;
  }

  /** Power fails: every process of the node is gone. */
  powerOff(name: string): void {
    const node = this.#node(name);
    node.power = false;
    node.boot++;
    this.#movers = this.#movers.filter((mover) => mover.node !== node);
  }

  /** The API server is out of reach; the bucket is not. */
  cutOff(name: string): void {
    this.#node(name).network = false;
  }

  /** Power and network are back. */
  heal(name: string): void {
    const node = this.#node(name);
    node.power = true;
    node.network = true;
    for (const wake of node.waiting.splice(0)) wake();
  }

  /** The cluster as a process that is started on a node now sees it: it hears nothing and reaches nobody while the node is down. */
  link(name: string): KubeClient {
    const node = this.#node(name);
    const { boot } = node;
    const check = (sent: boolean): void => {
      if (!node.power || !node.network || node.boot !== boot)
        throw new DrayError("KUBE_UNAVAILABLE", `Cannot reach the API server from ${name}`, { context: { sent } });
    };
    const reachable = async (): Promise<void> => {
      while (!node.power || !node.network || node.boot !== boot) await new Promise<void>((resolve) => node.waiting.push(resolve));
    };
    async function* heard<T>(events: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
      for await (const event of events) {
        await reachable();
        yield event;
      }
    }
    return new Proxy<KubeClient>(this.#options.client, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== "function") return value;
        if (["watch", "listAll", "podLog"].includes(String(property))) {
          return (...given: unknown[]) => {
            check(false);
            return heard(value.apply(target, given) as AsyncIterable<unknown>);
          };
        }
        return async (...given: unknown[]) => {
          check(false);
          const answer: unknown = await value.apply(target, given);
          check(true);
          return answer;
        };
      },
    });
  }

  /** Everybody but the agents does one thing. */
  tick(): void {
    for (const node of this.#nodes) this.#lifecycle(node);
    this.#schedule();
    const podsOf = Map.groupBy(this.#options.client.stored(pods), ({ spec }) => spec.nodeName ?? "");
    for (const node of this.#nodes) if (node.power && node.network) this.#kubelet(node, podsOf.get(node.name) ?? []);
    for (const mover of [...this.#movers]) this.#move(mover);
    this.#check();
  }

  #node(name: string): SimulatedNode {
    const node = this.#nodes.find((each) => each.name === name);
    if (node === undefined) throw new DrayError("INVARIANT", `there is no node ${name}`);
    return node;
  }

  #tellReady(name: string, status: "True" | "Unknown"): void {
    const { client, clock, wallMs } = this.#options;
    // The kubelet says that it is well by its own clock, the control plane that it has not heard of it.
    const nowMs = status === "True" && wallMs !== undefined ? wallMs(name) : clock.nowMs();
    client.seed(nodes, { metadata: { name }, status: { conditions: [{ type: "Ready", status, lastTransitionTime: formatTime(nowMs) }] } });
  }

  #lifecycle(node: SimulatedNode): void {
    const { client, clock } = this.#options;
    const nowMs = clock.nowMs();
    const ready = client.peek(nodes, { name: node.name })?.status?.conditions?.[0]?.status;
    if (node.power && node.network) {
      node.heardMs = nowMs;
      if (ready !== "True") this.#tellReady(node.name, "True");
      return;
    }
    if (nowMs - node.heardMs >= UNHEARD_MS && ready === "True") this.#tellReady(node.name, "Unknown");
    if (nowMs - node.heardMs < UNHEARD_MS + EVICT_MS) return;
    for (const pod of client.stored(pods)) if (pod.spec.nodeName === node.name) client.discard(pods, keyOf(pod));
  }

  #schedule(): void {
    const { client } = this.#options;
    const ready = client.stored(nodes).filter(({ status }) => status?.conditions?.[0]?.status === "True");
    for (const pod of client.stored(pods)) {
      if (pod.spec.nodeName !== undefined) continue;
      const node = ready[this.#below(ready.length)];
      if (node === undefined) return;
      client.mutate(pods, keyOf(pod), (current) => {
        current.spec.nodeName = node.metadata.name ?? "";
      });
    }
  }

  #kubelet(node: SimulatedNode, podsHere: readonly Pod[]): void {
    const { client } = this.#options;
    for (const mover of this.#movers.filter((each) => each.node === node))
      if (client.storedAt(pods, keyOf(mover.pod))?.metadata.uid !== mover.pod.metadata.uid) this.#end(mover);
    for (const pod of podsHere) {
      const mover = this.#movers.find((each) => each.pod.metadata.uid === pod.metadata.uid);
      if (kindOf(pod) === undefined || this.#options.isProgram?.(pod) === true) {
        this.#application(pod);
        continue;
      }
      if (pod.status?.phase === undefined) {
        const volume = this.#volumeOf(pod);
        if (volume === undefined) continue;
        this.#setPod(pod, { phase: "Running", containerStatuses: [container({ running: {} })] });
        this.#movers.push({ node, pod, volume, state: "waiting", ticksLeft: 0 });
      } else if (pod.status.phase === "Running" && mover === undefined) {
        this.#setPod(pod, { phase: "Failed", containerStatuses: [container({ terminated: { exitCode: 137, reason: "ContainerStatusUnknown" } })] });
      }
    }
  }

  /** What the mover in a pod reads or fills: the volume of its claim once that is bound, or a folder of the node. */
  #volumeOf(pod: Pod): string | undefined {
    const path = (pod.spec.volumes as { readonly hostPath?: { readonly path: string } }[] | undefined)?.find(({ hostPath }) => hostPath !== undefined);
    // Any number may read the same folder.
    if (kindOf(pod) === "read") return `read by ${pod.metadata.uid}`;
    return path?.hostPath?.path ?? this.#options.client.peek(persistentVolumeClaims, keyOf(pod))?.spec.volumeName;
  }

  /** A pod of an application runs once its claims are bound, and once what it waits for in its first container has filled its volumes. */
  #application(pod: Pod): void {
    const { client } = this.#options;
    if (["Running", "Succeeded", "Failed"].includes(pod.status?.phase ?? "")) return;
    const isBound = (name: string): boolean => client.peek(persistentVolumeClaims, { namespace: pod.metadata.namespace, name })?.status?.phase === "Bound";
    if (!(pod.spec.volumes ?? []).every(({ persistentVolumeClaim: claim }) => claim === undefined || isBound(claim.claimName))) return;
    const waits = pod.spec.initContainers?.[0]?.name === RESTORE_WAIT;
    const filling = client.all<PodVolumeRestore>(podVolumeRestores).filter(({ spec }) => spec.pod.uid === pod.metadata.uid);
    if (waits && (filling.length === 0 || filling.some(({ status }) => status?.phase !== "Completed"))) {
      if (pod.status?.initContainerStatuses !== undefined) return;
      const waiting = { ...container({ running: {} }), name: RESTORE_WAIT };
      this.#setPod(pod, { phase: "Pending", initContainerStatuses: [waiting] });
      return;
    }
    this.#setPod(pod, { phase: "Running", containerStatuses: pod.spec.containers.map(({ name }) => ({ ...container({ running: {} }), name, ready: true })) });
  }

  #move(mover: SimulatedMover): void {
    const { client } = this.#options;
    const { pod, node } = mover;
    const kind = kindOf(pod) ?? "upload";
    const isUpload = kind === "upload" || kind === "read";
    const object = node.network ? client.storedAt<AnyMovement>(TYPES[kind] as never, keyOf(pod)) : undefined;
    const uid = pod.metadata.uid ?? "";
    const phase = object?.status?.phase;
    const isNamed = object?.metadata.annotations?.[DRAYAGE_ANNOTATIONS.moverPod] === uid && (phase === "InProgress" || phase === "Canceling");
    const owner = pod.metadata.ownerReferences?.[0]?.uid ?? "";
    if (mover.state === "waiting") {
      if (!isNamed) return;
      Object.assign(mover, { state: "moving", ticksLeft: 1 + this.#below(this.#options.workTicksMax ?? 6), real: this.#startReal(pod) });
    } else if (mover.real !== undefined) {
      const { message } = mover.real;
      if (message === undefined) return;
      this.#end(mover);
      this.#setPod(pod, { phase: "Succeeded", containerStatuses: [container({ terminated: { exitCode: 0, message } })] });
    } else if (mover.state === "moving") {
      if (node.network && !isNamed) this.#fail(mover, "superseded");
      else if (object?.spec.cancel === true) this.#fail(mover, "data path is canceled");
      // It has asked, and was told that it may.
      else if (--mover.ticksLeft <= 0 && node.network) Object.assign(mover, { state: "saving", ticksLeft: this.#below(4) });
    } else if (mover.state === "saving") {
      if (mover.ticksLeft-- > 0) return;
      if (isUpload) this.snapshots.set(uid, owner);
      mover.state = "saved";
    } else if (node.network) {
      if (!isNamed) {
        this.snapshots.delete(uid);
        this.#fail(mover, "superseded");
        return;
      }
      if (isUpload && object.metadata.annotations?.[DRAYAGE_ANNOTATIONS.epoch] !== undefined)
        for (const [id, of] of this.snapshots) if (of === owner && id !== uid) this.snapshots.delete(id);
      const path = { byPath: `/${owner}`, volumeMode: "Filesystem" };
      const message = JSON.stringify(isUpload ? { snapshotID: uid, emptySnapshot: false, source: path, totalBytes: 7 } : { target: path, totalBytes: 7 });
      this.#end(mover);
      this.#setPod(pod, { phase: "Succeeded", containerStatuses: [container({ terminated: { exitCode: 0, message } })] });
    }
  }

  #startReal(pod: Pod): { message?: string } | undefined {
    const running = this.#options.realMover?.(pod);
    if (running === undefined) return undefined;
    const real: { message?: string } = {};
    void running.then((message) => {
      real.message = message;
    });
    return real;
  }

  #fail(mover: SimulatedMover, message: string): void {
    this.#end(mover);
    this.#setPod(mover.pod, { phase: "Failed", containerStatuses: [container({ terminated: { exitCode: 1, message } })] });
  }

  #end(mover: SimulatedMover): void {
    this.#movers = this.#movers.filter((each) => each !== mover);
  }

  /** One that nobody hears may run on, but never on the volume of another. */
  #check(): void {
    const volumes = this.#movers.map(({ volume }) => volume);
    for (const volume of new Set(volumes))
      if (volumes.indexOf(volume) !== volumes.lastIndexOf(volume)) this.violations.push(`two movers have volume ${volume}`);
  }

  #setPod(pod: Pod, status: NonNullable<Pod["status"]>): void {
    if (this.#options.client.storedAt(pods, keyOf(pod))?.metadata.uid !== pod.metadata.uid) return;
    this.#options.client.mutate(pods, keyOf(pod), (current) => {
      current.status = status;
    });
  }

  #below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor(((this.#options.random.bytes(1)[0] ?? 0) / 256) * limit);
  }
}

type MoverKind = keyof typeof TYPES;
const TYPES = { upload: dataUploads, download: dataDownloads, read: podVolumeBackups, fill: podVolumeRestores } as const;
const POD_LABELS = { upload: LABELS.dataUpload, download: LABELS.dataDownload, read: LABELS.podVolumeBackup, fill: LABELS.podVolumeRestore } as const;

/** What the mover in a pod is for; undefined for a pod of somebody else. */
function kindOf({ metadata }: Pod): MoverKind | undefined {
  return (Object.keys(POD_LABELS) as MoverKind[]).find((kind) => metadata.labels?.[POD_LABELS[kind]] !== undefined);
}

type ContainerStatus = NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number];

function container(state: NonNullable<ContainerStatus["state"]>): ContainerStatus {
  return { name: "mover", ready: state.running !== undefined, restartCount: 0, state };
}
