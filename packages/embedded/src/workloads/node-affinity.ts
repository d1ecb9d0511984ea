/** Which nodes a pod, or a volume, may be on by their labels. */
import { matchesLabels, type Node, type Pod } from "@drayage/kube";

interface Expression {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}
export interface NodeSelectorTerm {
  readonly matchExpressions?: readonly Expression[];
  readonly matchFields?: readonly Expression[];
}
export interface NodeSelector {
  readonly nodeSelectorTerms?: readonly NodeSelectorTerm[];
}
interface NodeAffinity {
  readonly requiredDuringSchedulingIgnoredDuringExecution?: NodeSelector;
  readonly preferredDuringSchedulingIgnoredDuringExecution?: readonly { readonly weight: number; readonly preference: NodeSelectorTerm }[];
}

/** Terms are alternatives; within a term everything must hold. No selector fits every node, a selector without terms none. */
export function fitsSelector(selector: NodeSelector | undefined, node: Node): boolean {
  return selector === undefined || (selector.nodeSelectorTerms ?? []).some((term) => fitsTerm(term, node));
}

/** Whether the pod's nodeSelector and required node affinity allow this node. */
export function matchesNode(pod: Pod, node: Node): boolean {
  return (
    matchesLabels({ matchLabels: pod.spec.nodeSelector ?? {} }, node.metadata.labels) &&
    fitsSelector(affinityOf(pod)?.requiredDuringSchedulingIgnoredDuringExecution, node)
  );
}

/** The sum of the weights of the preferences that this node meets. */
export function preferenceOf(pod: Pod, node: Node): number {
  return (affinityOf(pod)?.preferredDuringSchedulingIgnoredDuringExecution ?? []).reduce(
    (sum, { weight, preference }) => sum + (fitsTerm(preference, node) ? weight : 0),
    0,
  );
}

function affinityOf(pod: Pod): NodeAffinity | undefined {
  return pod.spec.affinity?.["nodeAffinity"] as NodeAffinity | undefined;
}

function fitsTerm(term: NodeSelectorTerm, node: Node): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  // A term without requirements fits nothing.
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const labels = node.metadata.labels ?? {};
  const fields: Record<string, string> = { "metadata.name": node.metadata.name ?? "" };
  return matchExpressions.every((each) => holds(each, labels)) && matchFields.every((each) => holds(each, fields));
}

function holds({ key, operator, values = [] }: Expression, labels: Readonly<Record<string, string>>): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}
