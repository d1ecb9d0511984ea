/** ReplicaSet: keeps as many pods as are wanted, and says how many are there. */
import { isDeleting, type Pod, type ReplicaSet, replicaSets } from "@drayage/kube";
import { byExpendability, isActive, isAvailable, isReady, nextAvailableMs } from "./pod-facts.ts";
import { podFromTemplate } from "./pod-template.ts";
import { createAll, type WorkloadContext, writeStatus } from "./workload-context.ts";

export interface ReplicaSetDecision {
  readonly create: number;
  readonly remove: readonly Pod[];
  readonly status: Readonly<Record<string, unknown>>;
  readonly recheckAfterMs?: number;
}

/** Pods made or removed in one pass; the next pass goes on. */
const BURST = 500;

export function decideReplicaSet(set: ReplicaSet, owned: readonly Pod[], nowMs: number): ReplicaSetDecision {
  const wanted = set.spec.replicas ?? 1;
  const minReady = (set.spec as { minReadySeconds?: number }).minReadySeconds ?? 0;
  const active = owned.filter(isActive);
  const surplus = active.length - wanted;
  const recheckAfterMs = nextAvailableMs(active, minReady, nowMs);
  const labels = Object.entries(set.spec.template.metadata?.labels ?? {});
  return {
    create: isDeleting(set) ? 0 : Math.min(Math.max(-surplus, 0), BURST),
    remove: isDeleting(set) || surplus <= 0 ? [] : [...active].sort(byExpendability).slice(0, Math.min(surplus, BURST)),
    status: {
      replicas: active.length,
      fullyLabeledReplicas: active.filter((pod) => labels.every(([key, value]) => pod.metadata.labels?.[key] === value)).length,
      readyReplicas: active.filter(isReady).length,
      availableReplicas: active.filter((pod) => isAvailable(pod, minReady, nowMs)).length,
      observedGeneration: set.metadata.generation ?? 0,
    },
    ...(recheckAfterMs === undefined ? {} : { recheckAfterMs }),
  };
}

export async function reconcileReplicaSet(context: WorkloadContext, set: ReplicaSet): Promise<{ requeueAfterMs?: number }> {
  const decision = decideReplicaSet(set, context.pods.of(set.metadata.uid ?? ""), context.clock.nowMs());
  const fresh = Array.from({ length: decision.create }, () => podFromTemplate(replicaSets, set, set.spec.template, { generateName: `${set.metadata.name}-` }));
  await createAll(context, set, fresh);
  for (const pod of decision.remove) {
    await context.pods.delete(pod);
    context.recorder.event(set, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`);
  }
  await writeStatus(context, replicaSets, set, decision.status);
  return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
}
