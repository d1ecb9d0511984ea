/** DaemonSet: one pod on every node that takes it. */
import { type DaemonSet, daemonSets, isDeleting, type Node, type Pod } from "@drayage/kube";
import { amount } from "./deployment.ts";
import { matchesNode } from "./node-affinity.ts";
import { isActive, isAvailable, isFinished, isReady, nextAvailableMs } from "./pod-facts.ts";
import { podFromTemplate, templateHash } from "./pod-template.ts";
import { firstUntolerated, type Toleration, taintsOf } from "./taints.ts";
import { createAll, type WorkloadContext, writeStatus } from "./workload-context.ts";

interface DaemonSetSpec {
  readonly updateStrategy?: { readonly type?: string; readonly rollingUpdate?: { readonly maxUnavailable?: number | string } };
  readonly minReadySeconds?: number;
}

export interface DaemonSetDecision {
  readonly create: readonly Pod[];
  readonly remove: readonly Pod[];
  readonly status: Readonly<Record<string, unknown>>;
  readonly recheckAfterMs?: number;
}

const HASH_LABEL = "controller-revision-hash";

/** A daemon stays through what would drive other pods away. */
const TOLERATIONS: readonly Toleration[] = [
  { key: "node.kubernetes.io/not-ready", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute" },
  { key: "node.kubernetes.io/disk-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/memory-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/pid-pressure", operator: "Exists", effect: "NoSchedule" },
  { key: "node.kubernetes.io/unschedulable", operator: "Exists", effect: "NoSchedule" },
];

export function decideDaemonSet(set: DaemonSet, owned: readonly Pod[], nodes: readonly Node[], nowMs: number): DaemonSetDecision {
  const spec = set.spec as DaemonSetSpec;
  const minReady = spec.minReadySeconds ?? 0;
  const hash = templateHash(set.spec.template);
  const template = podOf(set, "", hash);
  const wanted = nodes.filter((node) => takes(node, template));
  const names = new Set(wanted.map(({ metadata }) => metadata.name ?? ""));
  const byNode = Map.groupBy(owned, nodeOf);
  const create: Pod[] = [];
  const remove: Pod[] = [];
  const serving: Pod[] = [];
  for (const [node, pods] of byNode) {
    const [keep, ...extra] = pods.filter((pod) => !isDeleting(pod)).sort((a, b) => Number(isReady(b)) - Number(isReady(a)));
    remove.push(...extra);
    if (keep === undefined) continue;
    if (!names.has(node) || isFinished(keep)) remove.push(keep);
    else serving.push(keep);
  }
  for (const node of wanted) {
    const name = node.metadata.name ?? "";
    // One that still goes keeps its place until it is gone.
    if ((byNode.get(name) ?? []).length === 0) create.push(podOf(set, name, hash));
  }
  const outdated = serving.filter((pod) => pod.metadata.labels?.[HASH_LABEL] !== hash);
  if (spec.updateStrategy?.type !== "OnDelete") remove.push(...replaceable(spec, wanted.length, serving, outdated, nowMs));
  const recheckAfterMs = nextAvailableMs(serving, minReady, nowMs);
  const available = serving.filter((pod) => isAvailable(pod, minReady, nowMs)).length;
  return {
    create: isDeleting(set) ? [] : create,
    remove: isDeleting(set) ? [] : remove,
    status: {
      observedGeneration: set.metadata.generation ?? 0,
      desiredNumberScheduled: wanted.length,
      currentNumberScheduled: serving.length,
      numberMisscheduled: owned.filter((pod) => isActive(pod) && !names.has(nodeOf(pod))).length,
      numberReady: serving.filter(isReady).length,
      numberAvailable: available,
      numberUnavailable: wanted.length - available,
      updatedNumberScheduled: serving.length - outdated.length,
    },
    ...(recheckAfterMs === undefined ? {} : { recheckAfterMs }),
  };
}

/** Outdated pods that may go now: those that are not available anyway, and as many more as may be missing. */
function replaceable(spec: DaemonSetSpec, wanted: number, serving: readonly Pod[], outdated: readonly Pod[], nowMs: number): readonly Pod[] {
  const minReady = spec.minReadySeconds ?? 0;
  const maxUnavailable = Math.max(1, amount(spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, wanted, Math.ceil));
  const sick = outdated.filter((pod) => !isAvailable(pod, minReady, nowMs));
  const missing = wanted - serving.filter((pod) => isAvailable(pod, minReady, nowMs)).length;
  const well = outdated.filter((pod) => !sick.includes(pod));
  return [...sick, ...well.slice(0, Math.max(0, maxUnavailable - missing))];
}

export async function reconcileDaemonSet(context: WorkloadContext, set: DaemonSet, nodes: readonly Node[]): Promise<{ requeueAfterMs?: number }> {
  const decision = decideDaemonSet(set, context.pods.of(set.metadata.uid ?? ""), nodes, context.clock.nowMs());
  await createAll(context, set, decision.create);
  for (const pod of decision.remove) {
    await context.pods.delete(pod);
    context.recorder.event(set, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`);
  }
  await writeStatus(context, daemonSets, set, decision.status);
  return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
}

function podOf(set: DaemonSet, node: string, hash: string): Pod {
  const pod = podFromTemplate(daemonSets, set, set.spec.template, { generateName: `${set.metadata.name}-`, labels: { [HASH_LABEL]: hash } });
  const tolerations = [...((pod.spec.tolerations ?? []) as Toleration[]), ...TOLERATIONS];
  const spec = { ...pod.spec, tolerations: tolerations as Record<string, unknown>[] };
  return node === "" ? { ...pod, spec } : { ...pod, spec: { ...spec, affinity: pinned(pod.spec.affinity, node) } };
}

/** The node is named by a field, so that the scheduler binds the pod there and nowhere else. */
function pinned(affinity: Record<string, unknown> | undefined, node: string): Record<string, unknown> {
  const field = { matchFields: [{ key: "metadata.name", operator: "In", values: [node] }] };
  const own = affinity?.["nodeAffinity"] as { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: object[] } } | undefined;
  const terms = own?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const nodeSelectorTerms = terms.length === 0 ? [field] : terms.map((term) => ({ ...term, ...field }));
  return { ...affinity, nodeAffinity: { ...own, requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } };
}

function takes(node: Node, template: Pod): boolean {
  if (isDeleting(node) || !matchesNode(template, node)) return false;
  return firstUntolerated(taintsOf(node), (template.spec.tolerations ?? []) as Toleration[]) === undefined;
}

/** Where a pod is, or is meant for. */
function nodeOf(pod: Pod): string {
  if (pod.spec.nodeName !== undefined) return pod.spec.nodeName;
  const affinity = pod.spec.affinity?.["nodeAffinity"] as
    | { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: { matchFields?: { key: string; values?: string[] }[] }[] } }
    | undefined;
  const [term] = affinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  return term?.matchFields?.find(({ key }) => key === "metadata.name")?.values?.[0] ?? "";
}
