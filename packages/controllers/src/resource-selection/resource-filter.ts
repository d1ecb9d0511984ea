/**
 * Which resources a backup takes. There are two generations of fields: `includedResources`, `excludedResources`, `includeClusterResources`,
 * and the four lists per scope. Both answer the same two questions, but cluster-scoped resources are treated differently (Velero's rules, kept here):
 * with the older ones they come along when every namespace is backed up or it is asked for; with the newer ones when they are listed, or when no list and no namespace narrows anything.
 */
import type { BackupSpec } from "@drayage/api";
import { type DiscoveredResource, type Discovery, groupResourceOf } from "@drayage/kube";
import type { IncludeExcludePolicy } from "../resource-policy/resource-policies.ts";
import { NameFilter } from "./name-filter.ts";

const NAMESPACES = "namespaces";

export interface ResourceFilter {
  /** Whether objects of this resource are looked for. */
  has(resource: Pick<DiscoveredResource, "group" | "plural" | "namespaced">): boolean;
  /** Whether objects of this resource stay out even when another object brings them along. */
  refuses(resource: Pick<DiscoveredResource, "group" | "plural" | "namespaced">): boolean;
}

/** Whether a spec uses the older fields; a spec that uses none of either counts as using the newer ones. */
export function usesOlderFilters(spec: BackupSpec): boolean {
  return (
    (spec.includedResources?.length ?? 0) > 0 ||
    (spec.excludedResources?.length ?? 0) > 0 ||
    (spec.includeClusterResources !== undefined && spec.includeClusterResources !== null)
  );
}

/** Whether a spec uses the lists per scope. */
export function usesScopedFilters(spec: BackupSpec): boolean {
  return [
    spec.includedClusterScopedResources,
    spec.excludedClusterScopedResources,
    spec.includedNamespaceScopedResources,
    spec.excludedNamespaceScopedResources,
  ].some((list) => (list?.length ?? 0) > 0);
}

/** The filter of a prepared backup. Names in the lists may be plural, singular, kind or short names; they are resolved here, once. */
export async function backupResourceFilter(
  spec: BackupSpec,
  namespaces: NameFilter,
  discovery: Discovery,
  policy?: IncludeExcludePolicy,
  signal?: AbortSignal,
): Promise<ResourceFilter> {
  const resolve = (list: readonly string[] | null | undefined): Promise<string[]> => resolveResources(discovery, list ?? [], signal);
  if (usesOlderFilters(spec)) {
    const filter = new NameFilter(await resolve(spec.includedResources), await resolve(spec.excludedResources));
    return olderFilter(filter, spec.includeClusterResources ?? undefined, namespaces);
  }
  const combined = async (...lists: readonly (readonly string[] | null | undefined)[]): Promise<NameFilter> => {
    const [includes = [], excludes = [], policyIncludes = [], policyExcludes = []] = await Promise.all(lists.map(resolve));
    return withPolicy({ includes, excludes }, { includes: policyIncludes, excludes: policyExcludes });
  };
  return scopedFilter(
    await combined(
      spec.includedNamespaceScopedResources,
      spec.excludedNamespaceScopedResources,
      policy?.includedNamespaceScopedResources,
      policy?.excludedNamespaceScopedResources,
    ),
    await combined(
      spec.includedClusterScopedResources,
      spec.excludedClusterScopedResources,
      policy?.includedClusterScopedResources,
      policy?.excludedClusterScopedResources,
    ),
    namespaces,
  );
}

interface NameLists {
  readonly includes: readonly string[];
  readonly excludes: readonly string[];
}

/** The lists of a spec together with those of a policy; where they disagree about a name, the spec is right. */
function withPolicy(spec: NameLists, policy: NameLists): NameFilter {
  const includes = [...spec.includes, ...policy.includes.filter((name) => !spec.excludes.includes(name) && !spec.excludes.includes("*"))];
  const excludes = [...spec.excludes, ...policy.excludes.filter((name) => !spec.includes.includes(name))];
  return new NameFilter([...new Set(includes)], [...new Set(excludes)]);
}

/** Names as `plural.group`; what discovery does not know stays as it is written. */
export async function resolveResources(discovery: Discovery, names: readonly string[], signal?: AbortSignal): Promise<string[]> {
  const resolved: string[] = [];
  for (const name of names) {
    const found = name === "*" ? undefined : await discovery.find(name, signal);
    resolved.push(found === undefined ? name : groupResourceOf(found));
  }
  return resolved;
}

function olderFilter(filter: NameFilter, clusterResources: boolean | undefined, namespaces: NameFilter): ResourceFilter {
  return {
    has(resource) {
      const name = groupResourceOf(resource);
      if (!resource.namespaced) {
        if (clusterResources === false) return false;
        // Namespaces themselves belong to the namespaces that are backed up.
        if (name !== NAMESPACES && clusterResources === undefined && !namespaces.hasEverything) return false;
      }
      return filter.has(name);
    },
    refuses(resource) {
      const name = groupResourceOf(resource);
      if (filter.isExcluded(name)) return true;
      return !resource.namespaced && (clusterResources === false || (clusterResources === undefined && !filter.has(name)));
    },
  };
}

function scopedFilter(namespaced: NameFilter, clusterScoped: NameFilter, namespaces: NameFilter): ResourceFilter {
  // The server adds the snapshot kinds to the excludes of every backup, so they do not count as narrowing.
  const nothingNarrows = clusterScoped.includes.length === 0 && namespaces.hasEverything && namespaced.includes.every((name) => name === "*");
  return {
    has(resource) {
      const name = groupResourceOf(resource);
      if (resource.namespaced) return namespaced.has(name);
      if (clusterScoped.isExcluded(name)) return false;
      return (
        clusterScoped.isListed(name) ||
        name === NAMESPACES ||
        (nothingNarrows &&
          clusterScoped.excludes.every((exclude) => AUTO_EXCLUDED.includes(exclude)) &&
          namespaced.excludes.every((exclude) => AUTO_EXCLUDED.includes(exclude)))
      );
    },
    refuses: (resource) => (resource.namespaced ? namespaced : clusterScoped).isExcluded(groupResourceOf(resource)),
  };
}

/** Kinds that a backup makes by itself and that must not be taken as the user's; Velero 1.18 writes them into the spec. */
export const AUTO_EXCLUDED_NAMESPACED = ["volumesnapshots.snapshot.storage.k8s.io"] as const;
export const AUTO_EXCLUDED_CLUSTER = ["volumesnapshotcontents.snapshot.storage.k8s.io"] as const;
const AUTO_EXCLUDED: readonly string[] = [...AUTO_EXCLUDED_NAMESPACED, ...AUTO_EXCLUDED_CLUSTER];
