/** A client that may do only what a service account's roles let it, for tests of permissions: what is too little fails a call, what is too much is told afterwards. */
import { DrayError } from "@drayage/base";
import { groupResourceOf, type KubeClient, type KubeObject, type ObjectKey, type ResourceType } from "../index.ts";

/** A rule of a Role or ClusterRole. */
export interface PermissionRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly verbs: readonly string[];
}

/** Rules that hold in one namespace, or everywhere. */
export interface Permissions {
  readonly cluster: readonly PermissionRule[];
  readonly namespaced: { readonly namespace: string; readonly rules: readonly PermissionRule[] };
}

export interface PermittedClient {
  readonly client: KubeClient;
  /** What was asked for without permission: `delete pods in ns`. */
  readonly denied: readonly string[];
  /** What the rules give and nobody asked for: `delete pods`, `patch nodes (cluster)`. Rules with a wildcard are left out. */
  unused(): string[];
}

/** The API server's verb of each method of the client. */
const VERBS: Readonly<Record<string, string>> = {
  ...{ get: "get", find: "get", list: "list", listAll: "list", watch: "watch", create: "create", replace: "update", replaceStatus: "update" },
  ...{ patch: "patch", patchStatus: "patch", apply: "patch", delete: "delete", deleteCollection: "deletecollection" },
};
const SUBRESOURCES: Readonly<Record<string, string>> = { replaceStatus: "/status", patchStatus: "/status" };

export function permittedClient(inner: KubeClient, permissions: Permissions): PermittedClient {
  const denied: string[] = [];
  const asked = new Set<string>();
  const check = (verb: string, group: string, resource: string, namespace: string | undefined): void => {
    const { cluster, namespaced } = permissions;
    const fitting = [...cluster, ...(namespace === namespaced.namespace ? namespaced.rules : [])].filter(
      (rule) => has(rule.verbs, verb) && has(rule.apiGroups, group) && has(rule.resources, resource),
    );
    for (const rule of fitting) asked.add(entryOf(cluster.includes(rule), verb, group, resource));
    if (fitting.length > 0) return;
    const what = `${verb} ${resource}${group === "" ? "" : `.${group}`}${namespace === undefined ? "" : ` in ${namespace}`}`;
    denied.push(what);
    throw new DrayError("KUBE_FORBIDDEN", `Cannot ${what}: it is not permitted`);
  };
  const client = new Proxy(inner, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      const verb = typeof property === "string" ? VERBS[property] : undefined;
      if (typeof value !== "function") return value;
      const call = value.bind(target) as (...args: unknown[]) => unknown;
      if (property === "podLog" || property === "podExec") {
        return (key: ObjectKey, options: unknown) => {
          if (property === "podLog") check("get", "", "pods/log", key.namespace);
          // A WebSocket is opened with GET.
          else for (const needed of ["get", "create"]) check(needed, "", "pods/exec", key.namespace);
          return call(key, options);
        };
      }
      if (verb === undefined) return call;
      return (type: ResourceType, about: unknown, ...rest: unknown[]) => {
        check(verb, type.group, type.plural + (SUBRESOURCES[String(property)] ?? ""), namespaceOf(about));
        return call(type, about, ...rest);
      };
    },
  });
  return {
    client,
    denied,
    unused: () =>
      [...permissions.cluster, ...permissions.namespaced.rules].flatMap((rule) => {
        const everywhere = permissions.cluster.includes(rule);
        const given = (rule.apiGroups ?? []).flatMap((group) =>
          (rule.resources ?? []).flatMap((resource) => rule.verbs.map((verb) => entryOf(everywhere, verb, group, resource))),
        );
        return given.filter((entry) => !entry.includes("*") && !asked.has(entry));
      }),
  };
}

function entryOf(everywhere: boolean, verb: string, group: string, plural: string): string {
  return `${verb} ${groupResourceOf({ group, plural })}${everywhere ? " (cluster)" : ""}`;
}

function has(values: readonly string[] | undefined, wanted: string): boolean {
  return values !== undefined && (values.includes("*") || values.includes(wanted));
}

/** Of a key, of the options of a listing, or of an object. */
function namespaceOf(about: unknown): string | undefined {
  const { metadata, namespace } = (about ?? {}) as Partial<KubeObject> & { readonly namespace?: string };
  return metadata === undefined ? namespace : metadata.namespace;
}
