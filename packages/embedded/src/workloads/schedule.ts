/** Where a pod goes: which nodes can take it, and which of those suits it best. Pure; `scheduler.ts` carries it out. */
import {
  isDeleting,
  type LabelSelector,
  matchesLabels,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  type StorageClass,
} from "@drayage/kube";
import { fitsSelector, matchesNode, type NodeSelector, preferenceOf } from "./node-affinity.ts";
import { conditionOf, isActive } from "./pod-facts.ts";
import { firstUntolerated, type Toleration, taintsOf } from "./taints.ts";

export interface ClusterView {
  readonly nodes: readonly Node[];
  /** Every pod; those that are bound and active count. */
  readonly pods: readonly Pod[];
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  storageClass(name: string): StorageClass | undefined;
}

export type ScheduleDecision =
  | { readonly do: "bind"; readonly node: string }
  /** The claims must be provisioned for this node first. */
  | { readonly do: "provision"; readonly node: string; readonly claims: readonly PersistentVolumeClaim[] }
  | { readonly do: "wait"; readonly node: string }
  | { readonly do: "fail"; readonly message: string };

export const SELECTED_NODE = "volume.kubernetes.io/selected-node";
const PODS_MAX = 110;

interface SpreadConstraint {
  readonly maxSkew?: number;
  readonly topologyKey: string;
  readonly whenUnsatisfiable?: string;
  readonly labelSelector?: LabelSelector;
}
interface PodAffinityTerm {
  readonly topologyKey: string;
  readonly labelSelector?: LabelSelector;
  readonly namespaces?: readonly string[];
}

export function decideSchedule(pod: Pod, view: ClusterView): ScheduleDecision {
  const claims = claimsOf(pod, view);
  if (typeof claims === "string") return { do: "fail", message: unavailable(view.nodes.length, [claims]) };
  const reasons: string[] = [];
  const fitting = view.nodes.filter((node) => {
    const reason = whyNot(pod, node, view, claims);
    if (reason !== undefined) reasons.push(reason);
    return reason === undefined;
  });
  if (fitting.length === 0) return { do: "fail", message: unavailable(view.nodes.length, counted(reasons)) };
  const pending = claims.filter(({ volume }) => volume === undefined).map(({ claim }) => claim);
  // A node that was chosen for a claim stays chosen as long as it fits: its volume is being made there.
  const chosen = pending.map(({ metadata }) => metadata.annotations?.[SELECTED_NODE]).find((name) => fitting.some(({ metadata }) => metadata.name === name));
  const node = chosen ?? best(pod, fitting, view);
  if (pending.length === 0) return { do: "bind", node };
  const unasked = pending.filter(({ metadata }) => metadata.annotations?.[SELECTED_NODE] !== node);
  return unasked.length > 0 ? { do: "provision", node, claims: unasked } : { do: "wait", node };
}

interface ClaimView {
  readonly claim: PersistentVolumeClaim;
  /** Undefined while it waits for a node. */
  readonly volume: PersistentVolume | undefined;
}

/** The pod's claims, or why it must wait for one of them whatever the node. */
function claimsOf(pod: Pod, view: ClusterView): readonly ClaimView[] | string {
  const found: ClaimView[] = [];
  for (const volume of pod.spec.volumes ?? []) {
    const ephemeral = (volume as { ephemeral?: object }).ephemeral;
    const name = volume.persistentVolumeClaim?.claimName ?? (ephemeral === undefined ? undefined : `${pod.metadata.name}-${volume.name}`);
    if (name === undefined) continue;
    const claim = view.claim(pod.metadata.namespace ?? "default", name);
    if (claim === undefined) return `persistentvolumeclaim "${name}" not found`;
    if (isDeleting(claim)) return `persistentvolumeclaim "${name}" is being deleted`;
    if (claim.status?.phase === "Lost") return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec.volumeName}"`;
    const bound = claim.status?.phase === "Bound" && claim.spec.volumeName !== undefined ? view.volume(claim.spec.volumeName) : undefined;
    if (bound !== undefined) found.push({ claim, volume: bound });
    else if (waitsForConsumer(claim, view)) found.push({ claim, volume: undefined });
    else return "pod has unbound immediate PersistentVolumeClaims";
  }
  return found;
}

function waitsForConsumer(claim: PersistentVolumeClaim, view: ClusterView): boolean {
  const name = claim.spec.storageClassName;
  if (name === undefined || claim.spec.volumeName !== undefined) return false;
  return view.storageClass(name)?.volumeBindingMode === "WaitForFirstConsumer";
}

function whyNot(pod: Pod, node: Node, view: ClusterView, claims: readonly ClaimView[]): string | undefined {
  const tolerations = (pod.spec.tolerations ?? []) as Toleration[];
  if (isDeleting(node)) return "node(s) were being deleted";
  const taint = firstUntolerated(taintsOf(node), tolerations);
  if (taint !== undefined) {
    return taint.key === "node.kubernetes.io/unschedulable"
      ? "node(s) were unschedulable"
      : `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ""}}`;
  }
  if (!matchesNode(pod, node)) return "node(s) didn't match Pod's node affinity/selector";
  for (const { claim, volume } of claims) {
    if (volume !== undefined && !fitsSelector(volume.spec.nodeAffinity?.required as NodeSelector | undefined, node))
      return "node(s) had volume node affinity conflict";
    if (volume === undefined && !topologyAllows(claim, node, view)) return "node(s) did not have a topology that the storage class allows";
  }
  if (conditionOf(node.status?.conditions, "Ready")?.status !== "True") return "node(s) were not ready";
  const here = podsOn(node, view);
  if (here.length >= Number(node.status?.allocatable?.["pods"] ?? PODS_MAX)) return "Too many pods";
  if (portsCollide(pod, here)) return "node(s) didn't have free ports for the requested pod ports";
  return whyNotBeside(pod, node, view);
}

function whyNotBeside(pod: Pod, node: Node, view: ClusterView): string | undefined {
  const terms = (kind: "podAffinity" | "podAntiAffinity"): readonly PodAffinityTerm[] =>
    (pod.spec.affinity?.[kind] as { requiredDuringSchedulingIgnoredDuringExecution?: PodAffinityTerm[] } | undefined)
      ?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  if (terms("podAntiAffinity").some((term) => peersNear(pod, node, view, term) > 0)) return "node(s) didn't match pod anti-affinity rules";
  // The first of pods that want to be together may go anywhere.
  const lonely = (term: PodAffinityTerm): boolean =>
    !view.nodes.some((other) => peersNear(pod, other, view, term) > 0) && matchesLabels(term.labelSelector ?? {}, pod.metadata.labels);
  if (terms("podAffinity").some((term) => peersNear(pod, node, view, term) === 0 && !lonely(term))) return "node(s) didn't match pod affinity rules";
  const strict = spreadOf(pod).filter(({ whenUnsatisfiable }) => whenUnsatisfiable !== "ScheduleAnyway");
  return strict.some((constraint) => skewAfter(pod, node, view, constraint) > (constraint.maxSkew ?? 1))
    ? "node(s) didn't match pod topology spread constraints"
    : undefined;
}

/** Highest preference, then the most even spread, then the fewest pods, then the first name. */
function best(pod: Pod, fitting: readonly Node[], view: ClusterView): string {
  const scored = fitting.map((node) => ({
    name: node.metadata.name ?? "",
    preference: preferenceOf(pod, node),
    skew: spreadOf(pod).reduce((sum, constraint) => sum + skewAfter(pod, node, view, constraint), 0),
    siblings: siblingsOn(pod, node, view),
    pods: podsOn(node, view).length,
  }));
  scored.sort((a, b) => b.preference - a.preference || a.skew - b.skew || a.siblings - b.siblings || a.pods - b.pods || (a.name < b.name ? -1 : 1));
  return scored[0]?.name ?? "";
}

function podsOn(node: Node, view: ClusterView): readonly Pod[] {
  return view.pods.filter((other) => other.spec.nodeName === node.metadata.name && isActive(other));
}

/** Pods of the same controller. */
function siblingsOn(pod: Pod, node: Node, view: ClusterView): number {
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true)?.uid;
  return owner === undefined ? 0 : podsOn(node, view).filter(({ metadata }) => metadata.ownerReferences?.some(({ uid }) => uid === owner)).length;
}

function peersNear(pod: Pod, node: Node, view: ClusterView, term: PodAffinityTerm): number {
  const where = node.metadata.labels?.[term.topologyKey];
  if (where === undefined) return 0;
  const namespaces = term.namespaces ?? [pod.metadata.namespace ?? "default"];
  return view.nodes
    .filter(({ metadata }) => metadata.labels?.[term.topologyKey] === where)
    .flatMap((near) => podsOn(near, view))
    .filter(({ metadata }) => namespaces.includes(metadata.namespace ?? "default") && matchesLabels(term.labelSelector ?? {}, metadata.labels)).length;
}

function spreadOf(pod: Pod): readonly SpreadConstraint[] {
  return (pod.spec.topologySpreadConstraints ?? []) as unknown as SpreadConstraint[];
}

/** By how much the fullest domain would exceed the emptiest with this pod here. */
function skewAfter(pod: Pod, node: Node, view: ClusterView, constraint: SpreadConstraint): number {
  const domain = (of: Node): string | undefined => of.metadata.labels?.[constraint.topologyKey];
  const here = domain(node);
  if (here === undefined) return Number.MAX_SAFE_INTEGER;
  const counts = new Map<string, number>();
  for (const each of view.nodes) {
    const name = domain(each);
    if (name === undefined || !matchesNode(pod, each)) continue;
    const matching = podsOn(each, view).filter(
      ({ metadata }) => metadata.namespace === pod.metadata.namespace && matchesLabels(constraint.labelSelector ?? {}, metadata.labels),
    );
    counts.set(name, (counts.get(name) ?? 0) + matching.length);
  }
  return (counts.get(here) ?? 0) + 1 - Math.min(...counts.values());
}

function portsCollide(pod: Pod, others: readonly Pod[]): boolean {
  const hostPorts = (of: Pod): string[] =>
    of.spec.containers.flatMap(({ ports = [] }) =>
      ports.flatMap((port) => ((port as { hostPort?: number }).hostPort ? [`${(port as { hostPort?: number }).hostPort}/${port.protocol ?? "TCP"}`] : [])),
    );
  const wanted = hostPorts(pod);
  return wanted.length > 0 && others.some((other) => hostPorts(other).some((port) => wanted.includes(port)));
}

function topologyAllows(claim: PersistentVolumeClaim, node: Node, view: ClusterView): boolean {
  const allowed = (view.storageClass(claim.spec.storageClassName ?? "")?.allowedTopologies ?? []) as {
    matchLabelExpressions?: { key: string; values: string[] }[];
  }[];
  const holds = ({ key, values }: { key: string; values: string[] }): boolean => values.includes(node.metadata.labels?.[key] ?? "");
  return allowed.length === 0 || allowed.some(({ matchLabelExpressions = [] }) => matchLabelExpressions.every(holds));
}

function counted(reasons: readonly string[]): string[] {
  return [...Map.groupBy(reasons, (reason) => reason)].map(([reason, same]) => `${same.length} ${reason}`).sort();
}

function unavailable(nodes: number, reasons: readonly string[]): string {
  return nodes === 0 ? "no nodes available to schedule pods" : `0/${nodes} nodes are available: ${reasons.join(", ")}.`;
}
