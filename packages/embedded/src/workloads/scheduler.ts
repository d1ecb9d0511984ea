/** Binds pods to nodes: observes, calls `decideSchedule`, carries its decision out. One pod at a time, so that each sees where the last one went. */
import { formatTime, hasCode } from "@drayage/base";
import {
  type Controller,
  type EventRecorder,
  type Informer,
  keyOf,
  type Node,
  type ObjectKey,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  pods,
  type StorageClass,
  source,
  startController,
} from "@drayage/kube";
import { conditionOf, isActive, setCondition } from "./pod-facts.ts";
import { type ClusterView, decideSchedule, SELECTED_NODE } from "./schedule.ts";
import type { WorkloadContext } from "./workload-context.ts";

export interface SchedulerInformers {
  readonly pods: Informer<Pod>;
  readonly nodes: Informer<Node>;
  readonly claims: Informer<PersistentVolumeClaim>;
  readonly volumes: Informer<PersistentVolume>;
  readonly storageClasses: Informer<StorageClass>;
}

export const SCHEDULER_NAME = "default-scheduler";
/** What could not be placed is tried again now and then even if nothing seems to have changed. */
const RETRY_MS = 30_000;

export function startScheduler(context: SchedulerContext, informers: SchedulerInformers, recorder: EventRecorder): Controller {
  const { clock, random, logger } = context;
  const scheduler = new Scheduler(context, informers, recorder);
  const waiting = (): readonly ObjectKey[] => informers.pods.list().filter(wantsNode).map(keyOf);
  return startController({
    name: "scheduler",
    sources: [
      source(informers.pods, { when: (_before, after) => after !== undefined && wantsNode(after) }),
      // A pod that goes makes room; whatever else a pod does concerns only itself.
      source(informers.pods, {
        toKeys: waiting,
        when: (before, after) => before !== undefined && isActive(before) && (after === undefined || !isActive(after)),
      }),
      source(informers.nodes, { toKeys: waiting, when: (before, after) => before === undefined || nodeFacts(before) !== nodeFacts(after) }),
      source(informers.claims, { toKeys: waiting }),
      source(informers.volumes, { toKeys: waiting }),
      source(informers.storageClasses, { toKeys: waiting }),
    ],
    reconcile: (key) => scheduler.place(key),
    clock,
    random,
    logger,
  });
}

type SchedulerContext = Pick<WorkloadContext, "client" | "clock" | "random" | "logger">;

class Scheduler {
  readonly #context: SchedulerContext;
  readonly #informers: SchedulerInformers;
  readonly #recorder: EventRecorder;
  /** Where pods were bound that the cache does not yet show there; by UID. */
  readonly #assumed = new Map<string, string>();

  constructor(context: SchedulerContext, informers: SchedulerInformers, recorder: EventRecorder) {
    this.#context = context;
    this.#informers = informers;
    this.#recorder = recorder;
    informers.pods.onChange((before, after) => {
      if (after === undefined || after.spec.nodeName !== undefined) this.#assumed.delete((after ?? before)?.metadata.uid ?? "");
    });
  }

  async place(key: ObjectKey): Promise<{ requeueAfterMs?: number }> {
    const pod = this.#informers.pods.get(key);
    if (pod === undefined || !wantsNode(pod) || this.#assumed.has(pod.metadata.uid ?? "")) return {};
    const decision = decideSchedule(pod, this.#view());
    switch (decision.do) {
      case "bind":
        await this.#bind(pod, decision.node);
        return {};
      case "provision":
        for (const claim of decision.claims) {
          const annotations = { [SELECTED_NODE]: decision.node };
          await this.#context.client.patch(persistentVolumeClaims, keyOf(claim), "merge", { metadata: { uid: claim.metadata.uid, annotations } });
        }
        return {};
      case "wait":
        return {};
      case "fail":
        await this.#fail(pod, decision.message);
        return { requeueAfterMs: RETRY_MS };
    }
  }

  #view(): ClusterView {
    const { pods: podCache, nodes, claims, volumes, storageClasses } = this.#informers;
    return {
      nodes: nodes.list(),
      pods: podCache.list().map((pod) => {
        const node = this.#assumed.get(pod.metadata.uid ?? "");
        return node === undefined || pod.spec.nodeName !== undefined ? pod : { ...pod, spec: { ...pod.spec, nodeName: node } };
      }),
      claim: (namespace, name) => claims.get({ namespace, name }),
      volume: (name) => volumes.get({ name }),
      storageClass: (name) => storageClasses.get({ name }),
    };
  }

  async #bind(pod: Pod, node: string): Promise<void> {
    const { namespace = "default", name = "", uid = "" } = pod.metadata;
    const binding = { apiVersion: "v1", kind: "Binding", metadata: { namespace, name, uid }, target: { apiVersion: "v1", kind: "Node", name: node } };
    this.#assumed.set(uid, node);
    try {
      await this.#context.client.request("POST", `/api/v1/namespaces/${namespace}/pods/${name}/binding`, { body: binding });
    } catch (error) {
      this.#assumed.delete(uid);
      // It has gone, or is bound already.
      if (hasCode(error, "KUBE_NOT_FOUND", "KUBE_CONFLICT")) return;
      throw error;
    }
    this.#recorder.event(pod, "Normal", "Scheduled", `Successfully assigned ${namespace}/${name} to ${node}`);
  }

  async #fail(pod: Pod, message: string): Promise<void> {
    const old = conditionOf(pod.status?.conditions, "PodScheduled");
    if (old?.status === "False" && old.message === message) return;
    this.#recorder.event(pod, "Warning", "FailedScheduling", message);
    const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message, lastProbeTime: null } as const;
    const conditions = setCondition(pod.status?.conditions ?? [], condition, formatTime(this.#context.clock.nowMs()));
    try {
      await this.#context.client.patchStatus(pods, keyOf(pod), "merge", { metadata: { uid: pod.metadata.uid }, status: { conditions } });
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
}

function wantsNode(pod: Pod): boolean {
  const name = (pod.spec as { schedulerName?: string }).schedulerName ?? SCHEDULER_NAME;
  const gated = ((pod.spec as { schedulingGates?: unknown[] }).schedulingGates ?? []).length > 0;
  return pod.spec.nodeName === undefined && isActive(pod) && name === SCHEDULER_NAME && !gated;
}

/** What of a node matters to pods that wait; its heartbeats do not. */
function nodeFacts(node: Node | undefined): string {
  return JSON.stringify([node?.metadata.labels, node?.spec, conditionOf(node?.status?.conditions, "Ready")?.status, node?.status?.allocatable]);
}
