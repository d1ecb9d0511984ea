/**
 * Deployment: one ReplicaSet for each template it has had; the newest grows as the older ones shrink, never more pods over and under the wanted number than the
 * strategy allows.
 */
import { formatTime, parseTime } from "@drayage/base";
import { type Condition, controllerReference, type Deployment, deployments, isDeleting, type ReplicaSet, replicaSets } from "@drayage/kube";
import { conditionOf, created, setCondition } from "./pod-facts.ts";
import { templateHash } from "./pod-template.ts";
import { type WorkloadContext, writeStatus } from "./workload-context.ts";

export const REVISION = "deployment.kubernetes.io/revision";
const HASH_LABEL = "pod-template-hash";
const HISTORY_LIMIT = 10;
const PROGRESS_SECONDS = 600;

export interface DeploymentDecision {
  /** The ReplicaSet to make for the current template. */
  readonly create?: ReplicaSet;
  readonly scale: readonly { readonly set: ReplicaSet; readonly to: number }[];
  readonly remove: readonly ReplicaSet[];
  readonly revision: string;
  readonly status: Readonly<Record<string, unknown>>;
  readonly recheckAfterMs?: number;
}

interface DeploymentSpec {
  readonly paused?: boolean;
  readonly revisionHistoryLimit?: number;
  readonly progressDeadlineSeconds?: number;
  readonly minReadySeconds?: number;
  readonly strategy?: { readonly type?: string; readonly rollingUpdate?: { readonly maxSurge?: number | string; readonly maxUnavailable?: number | string } };
}

export function decideDeployment(deployment: Deployment, owned: readonly ReplicaSet[], nowMs: number): DeploymentDecision {
  const spec = deployment.spec as DeploymentSpec;
  const wanted = deployment.spec.replicas ?? 1;
  const hash = templateHash(deployment.spec.template);
  const live = owned.filter((set) => !isDeleting(set));
  const newest = live.find((set) => hashOf(set) === hash);
  const older = live.filter((set) => set !== newest).sort((a, b) => created(a) - created(b));
  const latestRevision = Math.max(0, ...live.map(revisionOf));
  const revision = newest !== undefined && revisionOf(newest) === latestRevision ? latestRevision : latestRevision + 1;
  const base = { revision: String(revision) };
  if (isDeleting(deployment)) return { ...base, scale: [], remove: [], status: {} };
  if (newest === undefined && spec.paused !== true) {
    const create = newReplicaSet(deployment, hash, revision, firstSize(spec, wanted, older));
    return { ...base, create, scale: shrinkAll(spec, older), remove: [], status: statusOf(deployment, undefined, older, nowMs) };
  }
  const scale = spec.paused === true ? resize(newest, older, wanted) : roll(spec, wanted, newest, older);
  const status = statusOf(deployment, newest, older, nowMs);
  const done = scale.length === 0 && older.every(({ spec: { replicas } }) => replicas === 0);
  const recheckAfterMs = deadlineIn(deployment, status, nowMs);
  return {
    ...base,
    scale,
    remove: done ? surplusHistory(spec, older) : [],
    status,
    ...(recheckAfterMs === undefined ? {} : { recheckAfterMs }),
  };
}

export async function reconcileDeployment(context: WorkloadContext, deployment: Deployment): Promise<{ requeueAfterMs?: number }> {
  const { client, recorder, clock } = context;
  const owned = context.replicaSets.of(deployment.metadata.uid ?? "");
  const decision = decideDeployment(deployment, owned, clock.nowMs());
  if (isDeleting(deployment)) return {};
  for (const { set, to } of decision.scale) {
    const from = set.spec.replicas ?? 0;
    await client.patch(replicaSets, { namespace: set.metadata.namespace, name: set.metadata.name ?? "" }, "merge", {
      metadata: { uid: set.metadata.uid, annotations: { "deployment.kubernetes.io/desired-replicas": String(deployment.spec.replicas ?? 1) } },
      spec: { replicas: to },
    });
    recorder.event(deployment, "Normal", "ScalingReplicaSet", `Scaled ${to > from ? "up" : "down"} replica set ${set.metadata.name} from ${from} to ${to}`);
  }
  if (decision.create !== undefined) {
    const made = await context.replicaSets.create(decision.create);
    recorder.event(deployment, "Normal", "ScalingReplicaSet", `Scaled up replica set ${made.metadata.name} from 0 to ${made.spec.replicas ?? 0}`);
  }
  for (const set of decision.remove) await context.replicaSets.delete(set);
  await annotateRevision(context, deployment, owned, decision);
  await writeStatus(context, deployments, deployment, decision.status);
  return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
}

/** A template that was had before comes back under a new revision, as `rollout undo` expects. */
async function annotateRevision(context: WorkloadContext, deployment: Deployment, owned: readonly ReplicaSet[], decision: DeploymentDecision): Promise<void> {
  const { namespace, name = "" } = deployment.metadata;
  const hash = templateHash(deployment.spec.template);
  const newest = owned.find((set) => hashOf(set) === hash && !isDeleting(set));
  const annotations = { [REVISION]: decision.revision };
  if (newest !== undefined && newest.metadata.annotations?.[REVISION] !== decision.revision) {
    await context.client.patch(replicaSets, { namespace, name: newest.metadata.name ?? "" }, "merge", { metadata: { annotations } });
  }
  if (deployment.metadata.annotations?.[REVISION] !== decision.revision && (newest !== undefined || decision.create !== undefined)) {
    await context.client.patch(deployments, { namespace, name }, "merge", { metadata: { annotations } });
  }
}

/** The hash of the template that the set was made of. Its own label may be that of another cluster's controller, which hashes otherwise. */
function hashOf(set: ReplicaSet): string {
  const { template } = set.spec;
  const labels = Object.fromEntries(Object.entries(template.metadata?.labels ?? {}).filter(([key]) => key !== HASH_LABEL));
  return templateHash({ ...template, metadata: { ...template.metadata, labels } });
}

function newReplicaSet(deployment: Deployment, hash: string, revision: number, replicas: number): ReplicaSet {
  const { namespace, name, annotations } = deployment.metadata;
  const { template, selector } = deployment.spec;
  const { minReadySeconds } = deployment.spec as DeploymentSpec;
  const kept = Object.fromEntries(
    Object.entries(annotations ?? {}).filter(([key]) => key !== REVISION && key !== "kubectl.kubernetes.io/last-applied-configuration"),
  );
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${name}-${hash}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { ...template.metadata?.labels, [HASH_LABEL]: hash },
      annotations: { ...kept, [REVISION]: String(revision), "deployment.kubernetes.io/desired-replicas": String(deployment.spec.replicas ?? 1) },
      ownerReferences: [controllerReference(deployments, deployment)],
    },
    spec: {
      replicas,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [HASH_LABEL]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels: { ...template.metadata?.labels, [HASH_LABEL]: hash } } },
      ...(minReadySeconds === undefined ? {} : { minReadySeconds }),
    },
  };
}

function limits(spec: DeploymentSpec, wanted: number): { readonly surge: number; readonly unavailable: number } {
  const { maxSurge = "25%", maxUnavailable = "25%" } = spec.strategy?.rollingUpdate ?? {};
  const surge = amount(maxSurge, wanted, Math.ceil);
  const unavailable = amount(maxUnavailable, wanted, Math.floor);
  // Both zero would never move.
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

/** A number, or a part of the wanted number such as `25%`. */
export function amount(value: number | string, of: number, round: (value: number) => number): number {
  if (typeof value === "number") return value;
  return value.endsWith("%") ? round((Number(value.slice(0, -1)) * of) / 100) : Number(value);
}

function firstSize(spec: DeploymentSpec, wanted: number, older: readonly ReplicaSet[]): number {
  const running = total(older);
  if (spec.strategy?.type === "Recreate") return running > 0 || older.some((set) => podsOf(set) > 0) ? 0 : wanted;
  return Math.max(0, Math.min(wanted, wanted + limits(spec, wanted).surge - running));
}

function shrinkAll(spec: DeploymentSpec, older: readonly ReplicaSet[]): { set: ReplicaSet; to: number }[] {
  return spec.strategy?.type === "Recreate" ? older.filter((set) => (set.spec.replicas ?? 0) > 0).map((set) => ({ set, to: 0 })) : [];
}

/** The next sizes: the newest as large as the surge allows, the older ones as small as availability allows. */
function roll(spec: DeploymentSpec, wanted: number, newest: ReplicaSet | undefined, older: readonly ReplicaSet[]): { set: ReplicaSet; to: number }[] {
  if (newest === undefined) return [];
  const current = newest.spec.replicas ?? 0;
  if (spec.strategy?.type === "Recreate") {
    const shrink = shrinkAll(spec, older);
    if (shrink.length > 0) return shrink;
    return older.some((set) => podsOf(set) > 0) || current === wanted ? [] : [{ set: newest, to: wanted }];
  }
  const { surge, unavailable } = limits(spec, wanted);
  const scale: { set: ReplicaSet; to: number }[] = [];
  const room = wanted + surge - (current + total(older));
  const grown = current > wanted ? wanted : Math.min(wanted, current + Math.max(0, room));
  if (grown !== current) scale.push({ set: newest, to: grown });
  const least = wanted - unavailable;
  const available = [newest, ...older].reduce((sum, set) => sum + count(set, "availableReplicas"), 0);
  const unhealthyNew = Math.max(0, current - count(newest, "availableReplicas"));
  let removable = Math.max(0, current + total(older) - least - unhealthyNew);
  // Pods that are not available serve nobody: they go first and cost no availability.
  const sizes = new Map(older.map((set) => [set, set.spec.replicas ?? 0]));
  for (const set of older) {
    const size = sizes.get(set) ?? 0;
    const sick = Math.min(removable, Math.max(0, size - count(set, "availableReplicas")));
    sizes.set(set, size - sick);
    removable -= sick;
  }
  let spare = Math.max(0, available - least);
  for (const set of older) {
    const size = sizes.get(set) ?? 0;
    const drop = Math.min(size, spare);
    sizes.set(set, size - drop);
    spare -= drop;
  }
  for (const set of older) if (sizes.get(set) !== set.spec.replicas) scale.push({ set, to: sizes.get(set) ?? 0 });
  return scale;
}

/** A paused deployment still follows its number of replicas, with the sets it has. */
function resize(newest: ReplicaSet | undefined, older: readonly ReplicaSet[], wanted: number): { set: ReplicaSet; to: number }[] {
  const active = [...older, ...(newest === undefined ? [] : [newest])].filter((set) => (set.spec.replicas ?? 0) > 0);
  const [only] = active;
  return active.length === 1 && only !== undefined && only.spec.replicas !== wanted ? [{ set: only, to: wanted }] : [];
}

function surplusHistory(spec: DeploymentSpec, older: readonly ReplicaSet[]): readonly ReplicaSet[] {
  const idle = older.filter((set) => set.spec.replicas === 0 && podsOf(set) === 0).sort((a, b) => revisionOf(a) - revisionOf(b));
  return idle.slice(0, Math.max(0, idle.length - (spec.revisionHistoryLimit ?? HISTORY_LIMIT)));
}

function statusOf(deployment: Deployment, newest: ReplicaSet | undefined, older: readonly ReplicaSet[], nowMs: number): Record<string, unknown> {
  const all = [...(newest === undefined ? [] : [newest]), ...older];
  const sum = (field: CountField): number => all.reduce((value, set) => value + count(set, field), 0);
  const spec = deployment.spec as DeploymentSpec;
  const wanted = deployment.spec.replicas ?? 1;
  const available = sum("availableReplicas");
  const updated = newest === undefined ? 0 : podsOf(newest);
  const before = (deployment.status?.["conditions"] ?? []) as Condition[];
  const now = formatTime(nowMs);
  const least = wanted - (spec.strategy?.type === "Recreate" ? wanted : limits(spec, wanted).unavailable);
  const enough = available >= Math.max(least, wanted === 0 ? 0 : Math.min(1, wanted));
  const withAvailable = setCondition(
    before,
    {
      type: "Available",
      status: enough ? "True" : "False",
      reason: enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
      message: enough ? "Deployment has minimum availability." : "Deployment does not have minimum availability.",
      lastUpdateTime: now,
    },
    now,
  );
  const complete = newest !== undefined && updated === wanted && sum("replicas") === wanted && available === wanted;
  const progress = `${updated}/${sum("readyReplicas")}/${available}`;
  const counts = deployment.status ?? {};
  const moved = progress !== `${number(counts["updatedReplicas"])}/${number(counts["readyReplicas"])}/${number(counts["availableReplicas"])}`;
  const conditions = setCondition(withAvailable, { ...progressing(deployment, newest, before, { complete, moved, nowMs }), lastUpdateTime: now }, now);
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: sum("replicas"),
    updatedReplicas: updated,
    readyReplicas: sum("readyReplicas"),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, Math.max(wanted, sum("replicas")) - available),
    conditions: conditions.map((condition) =>
      // Progress is told by the time of this condition, which therefore moves with each step.
      condition.type === "Progressing" && moved && !complete ? { ...condition, lastUpdateTime: now } : condition,
    ),
  };
}

function progressing(
  deployment: Deployment,
  newest: ReplicaSet | undefined,
  before: readonly Condition[],
  seen: { readonly complete: boolean; readonly moved: boolean; readonly nowMs: number },
): Condition {
  const name = newest?.metadata.name ?? deployment.metadata.name;
  const old = conditionOf(before, "Progressing") as (Condition & { lastUpdateTime?: string }) | undefined;
  if (seen.complete) {
    return { type: "Progressing", status: "True", reason: "NewReplicaSetAvailable", message: `ReplicaSet "${name}" has successfully progressed.` };
  }
  const since = parseTime(old?.lastUpdateTime);
  const limitMs = ((deployment.spec as DeploymentSpec).progressDeadlineSeconds ?? PROGRESS_SECONDS) * 1000;
  const late = !seen.moved && old !== undefined && old.reason !== "NewReplicaSetAvailable" && since !== undefined && seen.nowMs - since > limitMs;
  if (late || (old?.reason === "ProgressDeadlineExceeded" && !seen.moved)) {
    return { type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded", message: `ReplicaSet "${name}" has timed out progressing.` };
  }
  const reason = newest === undefined ? "NewReplicaSetCreated" : "ReplicaSetUpdated";
  return { type: "Progressing", status: "True", reason, message: newest === undefined ? "Created new replica set" : `ReplicaSet "${name}" is progressing.` };
}

function deadlineIn(deployment: Deployment, status: Readonly<Record<string, unknown>>, nowMs: number): number | undefined {
  const condition = conditionOf(status["conditions"] as Condition[], "Progressing") as (Condition & { lastUpdateTime?: string }) | undefined;
  if (condition?.reason !== "ReplicaSetUpdated") return undefined;
  const limitMs = ((deployment.spec as DeploymentSpec).progressDeadlineSeconds ?? PROGRESS_SECONDS) * 1000;
  return Math.max(1_000, (parseTime(condition.lastUpdateTime) ?? nowMs) + limitMs - nowMs + 1_000);
}

type CountField = "replicas" | "readyReplicas" | "availableReplicas";

function count(set: ReplicaSet, field: CountField): number {
  return number(set.status?.[field]);
}

function podsOf(set: ReplicaSet): number {
  return count(set, "replicas");
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function total(sets: readonly ReplicaSet[]): number {
  return sets.reduce((sum, set) => sum + (set.spec.replicas ?? 0), 0);
}

function revisionOf(set: ReplicaSet): number {
  return Number(set.metadata.annotations?.[REVISION] ?? 0);
}
