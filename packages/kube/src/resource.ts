/** Where a kind is served, and how objects are named in addresses, keys and messages. */
import { DrayError } from "@drayage/base";
import * as core from "./core.ts";
import type { KubeObject, ObjectKey, ResourceType } from "./types.ts";

/** A resource without the type of its objects. */
export type ResourceAddress = Omit<ResourceType, "objectType">;

/** `v1`, `apps/v1`, `velero.io/v2alpha1`. */
export function apiVersionOf(type: Pick<ResourceType, "group" | "version">): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}

/** Group and version of an apiVersion. */
export function parseApiVersion(apiVersion: string): { readonly group: string; readonly version: string } {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? { group: "", version: apiVersion } : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

/** `pods`, `deployments.apps`: the name by which Velero's lists and kubectl know a resource. */
export function groupResourceOf(type: Pick<ResourceType, "group" | "plural">): string {
  return type.group === "" ? type.plural : `${type.plural}.${type.group}`;
}

const builtIns: ReadonlyMap<string, ResourceType> = new Map(
  Object.values(core as Record<string, unknown>)
    .filter((value): value is ResourceType => typeof value === "object" && value !== null && "plural" in value)
    .map((type) => [`${apiVersionOf(type)}/${type.kind}`, type]),
);

export interface ResourceOfOptions {
  /** Said where it is known; otherwise the kind in lower case with the ending English gives it, as the API server's own guess is. */
  readonly plural?: string;
  /** True when left out. */
  readonly namespaced?: boolean;
}

/**
 * The resource of an apiVersion and kind. Built-in kinds of core.ts are known exactly; for others the plural and the scope are taken from `options` or guessed.
 * Where the answer must be right for any kind, ask `Discovery.forKind`.
 */
export function resourceOf<T extends KubeObject>(apiVersion: string, kind: string, options: ResourceOfOptions = {}): ResourceType<T> {
  const known = builtIns.get(`${apiVersion}/${kind}`);
  if (known !== undefined) return known as unknown as ResourceType<T>;
  const { group, version } = parseApiVersion(apiVersion);
  return { group, version, kind, plural: options.plural ?? guessPlural(kind), namespaced: options.namespaced ?? true };
}

function guessPlural(kind: string): string {
  const lower = kind.toLowerCase();
  if (/(s|x|ch|sh)$/.test(lower)) return `${lower}es`;
  if (/[^aeiou]y$/.test(lower)) return `${lower.slice(0, -1)}ies`;
  return `${lower}s`;
}

/** The address of a collection. */
export function collectionPath(type: ResourceAddress, namespace?: string): string {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  return type.namespaced && namespace !== undefined ? `${root}/namespaces/${encodeURIComponent(namespace)}/${type.plural}` : `${root}/${type.plural}`;
}

/** The address of one object, or of a subresource of it. Throws KUBE_BAD_REQUEST when the name, or the namespace of a namespaced kind, is missing. */
export function objectPath(type: ResourceAddress, key: ObjectKey, subresource?: string): string {
  if (key.name === "") throw new DrayError("KUBE_BAD_REQUEST", `Cannot address an object of ${groupResourceOf(type)}: its name is empty`);
  if (type.namespaced && (key.namespace === undefined || key.namespace === "")) {
    throw new DrayError("KUBE_BAD_REQUEST", `Cannot address ${groupResourceOf(type)} "${key.name}": the kind is namespaced and no namespace is given`);
  }
  const path = `${collectionPath(type, key.namespace)}/${encodeURIComponent(key.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** The key of an object that has a name. */
export function keyOf(object: KubeObject): ObjectKey {
  const { name, namespace } = object.metadata;
  if (name === undefined) throw new DrayError("INVARIANT", `Cannot take the key of a ${object.kind ?? "resource"}: it has no name yet`);
  return namespace === undefined ? { name } : { namespace, name };
}

/** `namespace/name`, or `name` for cluster-scoped kinds. */
export function formatKey(key: ObjectKey): string {
  return key.namespace === undefined ? key.name : `${key.namespace}/${key.name}`;
}

export function parseKey(text: string): ObjectKey {
  const slash = text.indexOf("/");
  return slash < 0 ? { name: text } : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}
