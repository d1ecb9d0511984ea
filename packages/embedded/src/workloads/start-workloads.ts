/** Starts the controllers of workloads, the scheduler, and what watches over nodes, all over one set of caches. */
import { type Clock, formatTime, hasCode, type Logger, type RandomSource } from "@drayage/base";
import {
  type Controller,
  type ControllerSource,
  createEventRecorder,
  daemonSets,
  deployments,
  type Informer,
  type InformerOptions,
  jobs,
  type KubeClient,
  type KubeObject,
  keyOf,
  leases,
  type Node,
  nodes,
  type ObjectKey,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ReconcileResult,
  type ResourceType,
  replicaSets,
  source,
  startController,
  startInformer,
  statefulSets,
  storageClasses,
} from "@drayage/kube";
import { adoptOrphans, takes } from "./adopt-orphans.ts";
import { reconcileDaemonSet } from "./daemon-set.ts";
import { reconcileDeployment } from "./deployment.ts";
import { reconcileJob } from "./job.ts";
import { decideNode } from "./node-lifecycle.ts";
import { byController, OwnedObjects } from "./owned-objects.ts";
import { conditionOf, setCondition } from "./pod-facts.ts";
import { reconcileReplicaSet } from "./replica-set.ts";
import { SCHEDULER_NAME, startScheduler } from "./scheduler.ts";
import { reconcileStatefulSet } from "./stateful-set.ts";
import type { WorkloadContext } from "./workload-context.ts";

export interface StartWorkloadsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

export interface Workloads {
  stop(): Promise<void>;
}

const BY_NODE = "node";
/** An adoption comes back through the watch within this, or is looked at again. */
const ADOPTION_MS = 100;
const NODE_LEASES = "kube-node-lease";

export function startWorkloads(options: StartWorkloadsOptions): Workloads {
  return new RunningWorkloads(options);
}

class RunningWorkloads implements Workloads {
  readonly #options: StartWorkloadsOptions;
  readonly #informers: Informer<KubeObject>[] = [];
  readonly #controllers: Controller[] = [];

  constructor(options: StartWorkloadsOptions) {
    this.#options = options;
    const { client, clock, random, logger } = options;
    const podCache = this.#inform(pods, {
      indexes: { ...byController, [BY_NODE]: (pod: Pod) => (pod.spec.nodeName === undefined ? [] : [pod.spec.nodeName]) },
    });
    const setCache = this.#inform(replicaSets, { indexes: byController });
    const nodeCache = this.#inform(nodes);
    const recorderOf = (component: string) => createEventRecorder({ client, clock, random, logger, component });
    const contextOf = (component: string): WorkloadContext => ({
      client,
      clock,
      random,
      logger,
      recorder: recorderOf(component),
      pods: ownedPods,
      replicaSets: ownedSets,
    });
    const ownedPods = new OwnedObjects(pods, client, podCache, clock);
    const ownedSets = new OwnedObjects(replicaSets, client, setCache, clock);

    this.#control("replicaset-controller", setCache, podCache, (context, object) => reconcileReplicaSet(context, object), { contextOf });
    this.#control("deployment-controller", this.#inform(deployments), setCache, (context, object) => reconcileDeployment(context, object), { contextOf });
    this.#control("statefulset-controller", this.#inform(statefulSets), podCache, (context, object) => reconcileStatefulSet(context, object), { contextOf });
    this.#control("job-controller", this.#inform(jobs), podCache, (context, object) => reconcileJob(context, object), { contextOf });
    const daemons = this.#inform(daemonSets);
    const nodesOfDaemons = source(nodeCache, {
      toKeys: () => daemons.list().map(keyOf),
      when: (before, after) => before === undefined || after === undefined || placement(before) !== placement(after),
    });
    const daemonParts = { extra: [nodesOfDaemons], contextOf };
    this.#control("daemonset-controller", daemons, podCache, (context, object) => reconcileDaemonSet(context, object, nodeCache.list()), daemonParts);
    const claims = this.#inform(persistentVolumeClaims);
    const volumes = this.#inform(persistentVolumes);
    const scheduling = { pods: podCache, nodes: nodeCache, claims, volumes, storageClasses: this.#inform(storageClasses) };
    this.#controllers.push(startScheduler({ client, clock, random, logger }, scheduling, recorderOf(SCHEDULER_NAME)));
    this.#watchNodes(nodeCache, podCache);
  }

  async stop(): Promise<void> {
    for (const controller of this.#controllers) await controller.stop();
    for (const informer of this.#informers) informer.stop();
  }

  #inform<T extends KubeObject>(type: ResourceType<T>, extra: InformerOptions<T> = {}): Informer<T> {
    const { client, clock, random, logger } = this.#options;
    const informer = startInformer(type, { client, clock, random, logger, ...extra });
    this.#informers.push(informer as unknown as Informer<KubeObject>);
    return informer;
  }

  /** A controller of one kind that also looks when something changes that one of its objects controls. */
  #control<T extends KubeObject, C extends KubeObject>(
    name: string,
    informer: Informer<T>,
    children: Informer<C>,
    reconcile: (context: WorkloadContext, object: T) => Promise<ReconcileResult>,
    parts: { readonly contextOf: (component: string) => WorkloadContext; readonly extra?: readonly ControllerSource[] },
  ): void {
    const { clock, random, logger } = this.#options;
    const context = parts.contextOf(name);
    const { kind } = informer.type;
    const ownerKeys = (child: C): readonly ObjectKey[] => [
      ...(child.metadata.ownerReferences ?? [])
        .filter((owner) => owner.controller === true && owner.kind === kind)
        .map((owner) => ({ namespace: child.metadata.namespace, name: owner.name })),
      ...informer
        .list(child.metadata.namespace)
        .filter((owner) => takes(owner, kind, child))
        .map(keyOf),
    ];
    const controller = startController({
      name,
      sources: [source(informer), source(children, { toKeys: ownerKeys }), ...(parts.extra ?? [])],
      reconcile: async (key) => {
        const object = informer.get(key);
        if (object === undefined) return {};
        // Objects of a list carry no kind of their own in every server; events and owner references need it.
        const owner = { ...object, apiVersion: object.apiVersion ?? apiVersion(informer.type), kind };
        // What was just adopted is not yet in the cache as one's own: the next pass counts it.
        if ((await adoptOrphans(context.client, informer.type, owner, children)) > 0) return { requeueAfterMs: ADOPTION_MS };
        return reconcile(context, owner);
      },
      workers: 2,
      clock,
      random,
      logger,
    });
    this.#controllers.push(controller);
  }

  #watchNodes(nodeCache: Informer<Node>, podCache: Informer<Pod>): void {
    const { client, clock, random, logger } = this.#options;
    const leaseCache = this.#inform(leases, { namespace: NODE_LEASES });
    const recorder = createEventRecorder({ client, clock, random, logger, component: "node-controller" });
    const reconcile = async (key: ObjectKey): Promise<ReconcileResult> => {
      const onNode = podCache.byIndex(BY_NODE, key.name);
      const node = nodeCache.get(key);
      if (node === undefined) {
        // A pod of a node that is no more can be ended by nobody else.
        for (const pod of onNode) await removePod(client, pod, 0);
        return {};
      }
      const decision = decideNode(node, leaseCache.get({ namespace: NODE_LEASES, name: key.name }), onNode, clock.nowMs());
      if (decision.conditions !== undefined) {
        await client.patchStatus(nodes, key, "merge", { status: { conditions: decision.conditions } });
        recorder.event({ ...node, apiVersion: "v1", kind: "Node" }, "Normal", "NodeNotReady", `Node ${key.name} status is now: NodeNotReady`);
      }
      if (decision.taints !== undefined) await client.patch(nodes, key, "merge", { spec: { taints: decision.taints } });
      for (const pod of decision.unready) await markUnready(client, pod, formatTime(clock.nowMs()));
      for (const pod of decision.evict) {
        recorder.event(
          { ...pod, apiVersion: "v1", kind: "Pod" },
          "Normal",
          "TaintManagerEviction",
          `Marking for deletion Pod ${pod.metadata.namespace}/${pod.metadata.name}`,
        );
        await removePod(client, pod);
      }
      return { requeueAfterMs: decision.recheckAfterMs };
    };
    const nodeOf = (pod: Pod): readonly ObjectKey[] => (pod.spec.nodeName === undefined ? [] : [{ name: pod.spec.nodeName }]);
    const sources = [source(nodeCache), source(podCache, { toKeys: nodeOf, when: (before, after) => before?.spec.nodeName !== after?.spec.nodeName })];
    this.#controllers.push(
      startController({ name: "node-lifecycle", sources: [...sources, source(leaseCache, { when: () => false })], reconcile, clock, random, logger }),
    );
  }
}

async function markUnready(client: KubeClient, pod: Pod, now: string): Promise<void> {
  const old = pod.status?.conditions ?? [];
  const why = { status: "False", reason: "NodeLost", message: "Node is not heard of" } as const;
  const conditions = setCondition(old, { ...conditionOf(old, "Ready"), type: "Ready", ...why }, now);
  try {
    await client.patchStatus(pods, keyOf(pod), "merge", { metadata: { uid: pod.metadata.uid }, status: { conditions } });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND", "KUBE_CONFLICT")) throw error;
  }
}

async function removePod(client: KubeClient, pod: Pod, gracePeriodSeconds?: number): Promise<void> {
  const { uid } = pod.metadata;
  try {
    await client.delete(pods, keyOf(pod), {
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      ...(uid === undefined ? {} : { preconditions: { uid } }),
    });
  } catch (error) {
    if (!hasCode(error, "KUBE_CONFLICT")) throw error;
  }
}

/** What of a node matters to daemons. */
function placement(node: Node): string {
  return JSON.stringify([node.metadata.labels, node.spec?.taints, node.spec?.unschedulable, node.metadata.deletionTimestamp]);
}

function apiVersion(type: { readonly group: string; readonly version: string }): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}
