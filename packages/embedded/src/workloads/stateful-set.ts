/** StatefulSet: pods with numbers, each with claims of its own that outlive it; made and replaced one after the other unless the policy is Parallel. */
import { controllerReference, isDeleting, type PersistentVolumeClaim, type Pod, persistentVolumeClaims, type StatefulSet, statefulSets } from "@drayage/kube";
import { isAvailable, isFinished, isReady, nextAvailableMs } from "./pod-facts.ts";
import { podFromTemplate, templateHash } from "./pod-template.ts";
import { createAll, type WorkloadContext, writeStatus } from "./workload-context.ts";

interface StatefulSetSpec {
  readonly podManagementPolicy?: string;
  readonly updateStrategy?: { readonly type?: string; readonly rollingUpdate?: { readonly partition?: number } };
  readonly minReadySeconds?: number;
  readonly ordinals?: { readonly start?: number };
}

export interface StatefulSetDecision {
  readonly create: readonly Pod[];
  readonly remove: readonly Pod[];
  readonly status: Readonly<Record<string, unknown>>;
  readonly recheckAfterMs?: number;
}

const REVISION_LABEL = "controller-revision-hash";

export function decideStatefulSet(set: StatefulSet, owned: readonly Pod[], nowMs: number): StatefulSetDecision {
  const spec = set.spec as StatefulSetSpec;
  const wanted = set.spec.replicas ?? 1;
  const start = spec.ordinals?.start ?? 0;
  const minReady = spec.minReadySeconds ?? 0;
  const revision = `${set.metadata.name}-${templateHash(set.spec.template)}`;
  const byOrdinal = new Map(owned.flatMap((pod) => (ordinalOf(set, pod) === undefined ? [] : [[ordinalOf(set, pod) ?? 0, pod] as const])));
  const status = statusOf(set, owned, revision, nowMs);
  const recheckAfterMs = nextAvailableMs(owned, minReady, nowMs);
  const decision = (create: readonly Pod[], remove: readonly Pod[]): StatefulSetDecision => ({
    create,
    remove,
    status,
    ...(recheckAfterMs === undefined ? {} : { recheckAfterMs }),
  });
  if (isDeleting(set)) return decision([], []);
  const parallel = spec.podManagementPolicy === "Parallel";
  const create: Pod[] = [];
  for (let ordinal = start; ordinal < start + wanted; ordinal++) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) create.push(podOf(set, ordinal, revision));
    else if (isFinished(pod) && !isDeleting(pod)) return decision([], [pod]);
    const settled = pod !== undefined && !isDeleting(pod) && isAvailable(pod, minReady, nowMs);
    if (!settled && !parallel) return decision(create, []);
  }
  if (create.length > 0) return decision(create, []);
  const surplus = [...byOrdinal].filter(([ordinal]) => ordinal < start || ordinal >= start + wanted).sort(([a], [b]) => b - a);
  const leaving = surplus.map(([, pod]) => pod).filter((pod) => !isDeleting(pod));
  if (surplus.length > 0) return decision([], parallel ? leaving : leaving.length === surplus.length ? leaving.slice(0, 1) : []);
  return decision([], nextOutdated(set, byOrdinal, revision, nowMs));
}

/** Under RollingUpdate the highest outdated number goes, once all above it are well. */
function nextOutdated(set: StatefulSet, byOrdinal: ReadonlyMap<number, Pod>, revision: string, nowMs: number): readonly Pod[] {
  const spec = set.spec as StatefulSetSpec;
  if (spec.updateStrategy?.type === "OnDelete") return [];
  const partition = spec.updateStrategy?.rollingUpdate?.partition ?? 0;
  for (const [ordinal, pod] of [...byOrdinal].sort(([a], [b]) => b - a)) {
    if (ordinal < partition) return [];
    if (pod.metadata.labels?.[REVISION_LABEL] !== revision) return isDeleting(pod) ? [] : [pod];
    if (!isAvailable(pod, spec.minReadySeconds ?? 0, nowMs)) return [];
  }
  return [];
}

export async function reconcileStatefulSet(context: WorkloadContext, set: StatefulSet): Promise<{ requeueAfterMs?: number }> {
  const decision = decideStatefulSet(set, context.pods.of(set.metadata.uid ?? ""), context.clock.nowMs());
  for (const pod of decision.create) {
    for (const claim of claimsOf(set, pod)) {
      const key = { namespace: claim.metadata.namespace, name: claim.metadata.name ?? "" };
      if ((await context.client.find(persistentVolumeClaims, key)) === undefined) {
        await context.client.create(persistentVolumeClaims, claim);
        context.recorder.event(
          set,
          "Normal",
          "SuccessfulCreate",
          `create Claim ${key.name} Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} success`,
        );
      }
    }
  }
  await createAll(context, set, decision.create);
  for (const pod of decision.remove) {
    await context.pods.delete(pod);
    context.recorder.event(set, "Normal", "SuccessfulDelete", `delete Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} successful`);
  }
  await writeStatus(context, statefulSets, set, decision.status);
  return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
}

function podOf(set: StatefulSet, ordinal: number, revision: string): Pod {
  const name = `${set.metadata.name}-${ordinal}`;
  const labels = { "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": String(ordinal), [REVISION_LABEL]: revision };
  const pod = podFromTemplate(statefulSets, set, set.spec.template, { name, labels });
  const claims = (set.spec.volumeClaimTemplates ?? []).map((template) => ({
    name: template.metadata.name ?? "",
    persistentVolumeClaim: { claimName: `${template.metadata.name}-${name}` },
  }));
  const others = (pod.spec.volumes ?? []).filter((volume) => !claims.some((claim) => claim.name === volume.name));
  const named = { hostname: name, ...(set.spec.serviceName === undefined ? {} : { subdomain: set.spec.serviceName }) };
  return { ...pod, spec: { ...pod.spec, ...named, volumes: [...others, ...claims] } };
}

function claimsOf(set: StatefulSet, pod: Pod): PersistentVolumeClaim[] {
  return (set.spec.volumeClaimTemplates ?? []).map((template) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name: `${template.metadata.name}-${pod.metadata.name}`,
      ...(set.metadata.namespace === undefined ? {} : { namespace: set.metadata.namespace }),
      labels: { ...set.spec.selector.matchLabels, ...template.metadata.labels },
      annotations: { ...template.metadata.annotations },
      // Claims outlive the set unless its policy says otherwise.
      ...(deletesClaims(set) ? { ownerReferences: [controllerReference(statefulSets, set)] } : {}),
    },
    spec: structuredClone(template.spec),
  }));
}

function deletesClaims(set: StatefulSet): boolean {
  return (set.spec as { persistentVolumeClaimRetentionPolicy?: { whenDeleted?: string } }).persistentVolumeClaimRetentionPolicy?.whenDeleted === "Delete";
}

function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const prefix = `${set.metadata.name}-`;
  const rest = pod.metadata.name?.startsWith(prefix) === true ? pod.metadata.name.slice(prefix.length) : "";
  return /^\d+$/.test(rest) ? Number(rest) : undefined;
}

function statusOf(set: StatefulSet, owned: readonly Pod[], revision: string, nowMs: number): Record<string, unknown> {
  const minReady = (set.spec as StatefulSetSpec).minReadySeconds ?? 0;
  const present = owned.filter((pod) => !isFinished(pod));
  const updated = present.filter((pod) => pod.metadata.labels?.[REVISION_LABEL] === revision && !isDeleting(pod)).length;
  const wanted = set.spec.replicas ?? 1;
  const complete = updated === wanted && present.length === wanted;
  const current = complete ? revision : String(set.status?.["currentRevision"] ?? revision);
  return {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: present.length,
    readyReplicas: present.filter(isReady).length,
    availableReplicas: present.filter((pod) => isAvailable(pod, minReady, nowMs)).length,
    updatedReplicas: updated,
    currentReplicas: current === revision ? updated : present.filter((pod) => pod.metadata.labels?.[REVISION_LABEL] === current).length,
    currentRevision: current,
    updateRevision: revision,
    collisionCount: 0,
  };
}
