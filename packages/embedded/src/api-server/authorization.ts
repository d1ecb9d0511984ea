/** RBAC: whether a user may do something, by the Roles and bindings that are stored. */
import { type ApiObject, type JsonObject, objectsAt, textAt, textsAt } from "./json.ts";
import { matchesLabelSelector } from "./selectors.ts";
import type { Storage } from "./storage.ts";
import type { User } from "./tokens.ts";

/** What is asked for: something about a resource, or a path. */
export type Access =
  | {
      readonly verb: string;
      readonly group: string;
      readonly resource: string;
      readonly subresource?: string | undefined;
      readonly namespace?: string | undefined;
      readonly name?: string | undefined;
    }
  | { readonly verb: string; readonly path: string };

export interface Decision {
  readonly allowed: boolean;
  readonly reason: string;
}

export interface Grant {
  readonly rule: JsonObject;
  /** Undefined where it holds in every namespace. */
  readonly namespace: string | undefined;
  readonly reason: string;
}

export class Authorizer {
  readonly #storage: Storage;
  readonly #enabled: boolean;

  /** @param enabled - when false everyone may do everything */
  constructor(storage: Storage, enabled: boolean) {
    this.#storage = storage;
    this.#enabled = enabled;
  }

  decide(user: User, access: Access): Decision {
    if (this.unlimited(user)) return { allowed: true, reason: "" };
    const namespace = "path" in access ? undefined : access.namespace;
    for (const grant of this.grants(user, namespace)) if (covers(grant.rule, access)) return { allowed: true, reason: grant.reason };
    return { allowed: false, reason: "" };
  }

  /** Whether a user may do everything without any rule saying so. */
  unlimited(user: User): boolean {
    return !this.#enabled || user.groups.includes("system:masters");
  }

  /** Every rule that holds for a user in a namespace, cluster-wide ones included. */
  *grants(user: User, namespace: string | undefined): Generator<Grant> {
    for (const binding of this.#storage.list("rbac.authorization.k8s.io/clusterrolebindings")) {
      const subject = subjectOf(binding, user, "");
      if (subject === undefined) continue;
      const role = this.#storage.get("rbac.authorization.k8s.io/clusterroles", textAt(binding, "roleRef", "name"));
      const reason = `RBAC: allowed by ClusterRoleBinding "${binding.metadata.name}" of ClusterRole "${textAt(binding, "roleRef", "name")}" to ${subject}`;
      for (const rule of this.#rulesOf(role)) yield { rule, namespace: undefined, reason };
    }
    if (namespace === undefined || namespace === "") return;
    for (const binding of this.#storage.list("rbac.authorization.k8s.io/rolebindings", namespace)) {
      const subject = subjectOf(binding, user, namespace);
      if (subject === undefined) continue;
      const kind = textAt(binding, "roleRef", "kind");
      const name = textAt(binding, "roleRef", "name");
      const role =
        kind === "Role"
          ? this.#storage.get("rbac.authorization.k8s.io/roles", `${namespace}/${name}`)
          : this.#storage.get("rbac.authorization.k8s.io/clusterroles", name);
      const reason = `RBAC: allowed by RoleBinding "${binding.metadata.name}/${namespace}" of ${kind} "${name}" to ${subject}`;
      for (const rule of this.#rulesOf(role)) yield { rule, namespace, reason };
    }
  }

  /** The rules of a role; those of an aggregating one are its own and those of every role its selectors find. */
  #rulesOf(role: ApiObject | undefined): JsonObject[] {
    if (role === undefined) return [];
    const selectors = objectsAt(role, "aggregationRule", "clusterRoleSelectors");
    if (selectors.length === 0) return objectsAt(role, "rules");
    const found = this.#storage
      .list("rbac.authorization.k8s.io/clusterroles")
      .filter((it) => it.metadata.uid !== role.metadata.uid && selectors.some((selector) => matchesLabelSelector(selector, it.metadata.labels ?? {})));
    return [...objectsAt(role, "rules"), ...found.flatMap((it) => objectsAt(it, "rules"))];
  }
}

/** The subject of a binding that is this user, in the words of the reason. */
function subjectOf(binding: ApiObject, user: User, namespace: string): string | undefined {
  for (const subject of objectsAt(binding, "subjects")) {
    const name = textAt(subject, "name");
    const kind = textAt(subject, "kind");
    if (kind === "User" && user.name === name) return `User "${name}"`;
    if (kind === "Group" && user.groups.includes(name)) return `Group "${name}"`;
    const accountNamespace = textAt(subject, "namespace") || namespace;
    if (kind === "ServiceAccount" && user.name === `system:serviceaccount:${accountNamespace}:${name}`) return `ServiceAccount "${name}/${accountNamespace}"`;
  }
  return undefined;
}

function covers(rule: JsonObject, access: Access): boolean {
  const has = (field: string, value: string): boolean => {
    const values = textsAt(rule, field);
    return values.includes("*") || values.includes(value);
  };
  if (!has("verbs", access.verb)) return false;
  if ("path" in access)
    return textsAt(rule, "nonResourceURLs").some((it) => it === access.path || it === "*" || (it.endsWith("*") && access.path.startsWith(it.slice(0, -1))));
  const names = textsAt(rule, "resourceNames");
  if (names.length > 0 && !names.includes(access.name ?? "")) return false;
  if (!has("apiGroups", access.group)) return false;
  if (access.subresource === undefined || access.subresource === "") return has("resources", access.resource);
  const wanted = `${access.resource}/${access.subresource}`;
  return textsAt(rule, "resources").some((it) => it === "*" || it === wanted || it === `*/${access.subresource}`);
}

/** The refusal's text, in the words of the real server. */
export function refusal(user: User, access: Access): string {
  const who = `User "${user.name}" cannot ${access.verb}`;
  if ("path" in access) return `${who} path "${access.path}"`;
  const what = access.subresource === undefined || access.subresource === "" ? access.resource : `${access.resource}/${access.subresource}`;
  const scope = access.namespace === undefined || access.namespace === "" ? "at the cluster scope" : `in the namespace "${access.namespace}"`;
  return `${who} resource "${what}" in API group "${access.group}" ${scope}`;
}
