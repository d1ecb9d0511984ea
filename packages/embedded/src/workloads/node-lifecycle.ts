/**
 * What becomes of a node that is heard no more, and of its pods.
 *
 *   Lease renewed ─ Ready │ Lease older than 40 s ─► Ready Unknown, tainted unreachable ─► pods not ready ─► pods deleted when their toleration ends
 */
import { formatTime, parseTime } from "@drayage/base";
import { type Condition, isDeleting, type Lease, type Node, type Pod } from "@drayage/kube";
import { conditionOf, isFinished, setCondition } from "./pod-facts.ts";
import { type Taint, type Toleration, tolerates } from "./taints.ts";

export interface NodeDecision {
  readonly conditions?: readonly Condition[];
  readonly taints?: readonly Taint[];
  readonly unready: readonly Pod[];
  readonly evict: readonly Pod[];
  readonly recheckAfterMs: number;
}

export const LEASE_STALE_MS = 40_000;
const CHECK_MS = 5_000;
/** The toleration that admission gives to pods which name none. */
const EVICT_SECONDS = 300;
const UNREACHABLE = "node.kubernetes.io/unreachable";
const NOT_READY = "node.kubernetes.io/not-ready";
const WHY = { reason: "NodeStatusUnknown", message: "Kubelet stopped posting node status." } as const;

export function decideNode(node: Node, lease: Lease | undefined, onNode: readonly Pod[], nowMs: number): NodeDecision {
  const before = node.status?.conditions ?? [];
  const now = formatTime(nowMs);
  const heardMs = parseTime(lease?.spec?.renewTime) ?? parseTime(node.metadata.creationTimestamp) ?? nowMs;
  const stale = nowMs - heardMs > LEASE_STALE_MS;
  const conditions = stale
    ? before.reduce((all, { type }) => setCondition(all, { ...conditionOf(all, type), type, status: "Unknown", ...WHY }, now), before)
    : before;
  const ready = conditionOf(conditions, "Ready");
  const wanted = ready?.status === "Unknown" ? UNREACHABLE : ready?.status === "False" ? NOT_READY : undefined;
  const taints = taintsFor(node, wanted, now);
  const lostMs = parseTime(ready?.lastTransitionTime) ?? nowMs;
  const live = onNode.filter((pod) => !isFinished(pod));
  return {
    ...(conditions === before ? {} : { conditions }),
    ...(taints === undefined ? {} : { taints }),
    unready: wanted === undefined ? [] : live.filter((pod) => conditionOf(pod.status?.conditions, "Ready")?.status === "True"),
    evict: wanted === undefined ? [] : live.filter((pod) => !isDeleting(pod) && nowMs >= lostMs + toleratedMs(pod, wanted)),
    recheckAfterMs: CHECK_MS,
  };
}

/** The node's taints with exactly the wanted one of ours; undefined when it has them already. */
function taintsFor(node: Node, wanted: string | undefined, now: string): readonly Taint[] | undefined {
  const before = node.spec?.taints ?? [];
  const ours = before.filter(({ key }) => key === UNREACHABLE || key === NOT_READY);
  if (wanted === undefined ? ours.length === 0 : ours.length === 2 && ours.every(({ key }) => key === wanted)) return undefined;
  const others = before.filter(({ key }) => key !== UNREACHABLE && key !== NOT_READY);
  if (wanted === undefined) return others;
  return [...others, { key: wanted, effect: "NoSchedule", timeAdded: now } as Taint, { key: wanted, effect: "NoExecute", timeAdded: now } as Taint];
}

function toleratedMs(pod: Pod, key: string): number {
  const fitting = ((pod.spec.tolerations ?? []) as Toleration[]).filter((toleration) => tolerates(toleration, { key, effect: "NoExecute" }));
  if (fitting.length === 0) return EVICT_SECONDS * 1000;
  return Math.min(...fitting.map(({ tolerationSeconds }) => (tolerationSeconds === undefined ? Number.POSITIVE_INFINITY : tolerationSeconds * 1000)));
}
