/** Which pods the hooks of a spec are for. */
import { LabelFilter, type LooseLabelSelector } from "../resource-selection/label-filter.ts";
import { NameFilter } from "../resource-selection/name-filter.ts";

export interface HookSelectorSpec {
  readonly includedNamespaces?: readonly string[] | null;
  readonly excludedNamespaces?: readonly string[] | null;
  readonly includedResources?: readonly string[] | null;
  readonly excludedResources?: readonly string[] | null;
  readonly labelSelector?: LooseLabelSelector | null;
}

/** Throws VALIDATION_FAILED for a label selector that is none. */
export function hookSelector(spec: HookSelectorSpec): (namespace: string, labels: Readonly<Record<string, string>> | undefined) => boolean {
  const namespaces = new NameFilter(spec.includedNamespaces ?? [], spec.excludedNamespaces ?? []);
  const resources = new NameFilter((spec.includedResources ?? []).map(podsName), (spec.excludedResources ?? []).map(podsName));
  const labels = new LabelFilter(spec.labelSelector, undefined);
  // Hooks exist for pods only.
  const forPods = resources.has("pods");
  return (namespace, podLabels) => forPods && namespaces.has(namespace) && labels.has(podLabels);
}

function podsName(name: string): string {
  return ["pod", "po", "pods"].includes(name.toLowerCase()) ? "pods" : name;
}
