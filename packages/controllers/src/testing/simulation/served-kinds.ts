import type { DiscoveredResource } from "@drayage/kube";

/** Namespaced kinds of v1alpha1 of a group, as the cluster's discovery shows them. */
export function servedKinds(group: string, kinds: readonly string[]): readonly DiscoveredResource[] {
  return kinds.map((kind) => ({
    group,
    version: "v1alpha1",
    plural: `${kind.toLowerCase()}s`,
    kind,
    namespaced: true,
    verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    shortNames: [],
    singular: kind.toLowerCase(),
    categories: [],
    preferred: true,
  }));
}
