/** What controllers ask of a pod. */
import { parseTime } from "@drayage/base";
import type { Condition, Pod } from "@drayage/kube";

export function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Neither ended nor being deleted. */
export function isActive(pod: Pod): boolean {
  return !isFinished(pod) && pod.metadata.deletionTimestamp === undefined;
}

export function isReady(pod: Pod): boolean {
  return conditionOf(pod.status?.conditions, "Ready")?.status === "True";
}

/** Ready for at least `minReadySeconds`. */
export function isAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  return isReady(pod) && availableAtMs(pod, minReadySeconds) <= nowMs;
}

/** When a ready pod counts as available. */
export function availableAtMs(pod: Pod, minReadySeconds: number): number {
  const since = parseTime(conditionOf(pod.status?.conditions, "Ready")?.lastTransitionTime) ?? 0;
  return since + minReadySeconds * 1000;
}

/** How long until the next ready pod becomes available, if one is waiting for that. */
export function nextAvailableMs(pods: readonly Pod[], minReadySeconds: number, nowMs: number): number | undefined {
  const waits = pods.filter(isReady).map((pod) => availableAtMs(pod, minReadySeconds) - nowMs);
  const coming = waits.filter((ms) => ms > 0);
  return coming.length === 0 ? undefined : Math.min(...coming);
}

export function conditionOf(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** The conditions with this one set; its time of transition moves only with its status. */
export function setCondition(
  conditions: readonly Condition[],
  wanted: Condition & { readonly lastUpdateTime?: string },
  now: string,
): (Condition & { lastUpdateTime?: string })[] {
  const old = conditionOf(conditions, wanted.type);
  const unchanged = old?.status === wanted.status && old.reason === wanted.reason && old.message === wanted.message;
  if (unchanged) return [...conditions];
  const lastTransitionTime = old?.status === wanted.status ? (old.lastTransitionTime ?? now) : now;
  const next = { ...wanted, lastTransitionTime };
  return old === undefined ? [...conditions, next] : conditions.map((condition) => (condition.type === wanted.type ? next : condition));
}

/** The order in which surplus pods go: those that have not come far first, and of equals the newer one. */
export function byExpendability(a: Pod, b: Pod): number {
  const rank = (pod: Pod): number => (pod.spec.nodeName === undefined ? 0 : pod.status?.phase !== "Running" ? 1 : isReady(pod) ? 3 : 2);
  return rank(a) - rank(b) || created(b) - created(a);
}

export function created(object: { readonly metadata: { creationTimestamp?: string } }): number {
  return parseTime(object.metadata.creationTimestamp) ?? 0;
}
