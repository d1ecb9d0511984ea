/** RBAC, scheduling, policy, networking, autoscaling, admission and definitions of custom resources. */
import { type ApiObject, ensureObject, equal, type JsonObject, objectAt, objectsAt, setDefault, textAt, textsAt } from "../json.ts";
import { type FieldError, fieldForbidden, invalid, notSupported, required } from "../status-error.ts";
import { validateDefinition } from "./definition-validation.ts";
import type { Strategy } from "./strategy.ts";

const RBAC = "rbac.authorization.k8s.io";

function validateRules(role: ApiObject): FieldError[] {
  return objectsAt(role, "rules").flatMap((rule, index) => {
    const path = `rules[${index}]`;
    const urls = textsAt(rule, "nonResourceURLs");
    const errors: FieldError[] = textsAt(rule, "verbs").length === 0 ? [required(`${path}.verbs`, "verbs must contain at least one value")] : [];
    if (urls.length > 0) {
      if (role.kind === "Role") errors.push(invalid(`${path}.nonResourceURLs`, urls, "namespaced rules cannot apply to non-resource URLs"));
      return errors;
    }
    if (textsAt(rule, "apiGroups").length === 0) errors.push(required(`${path}.apiGroups`, "resource rules must supply at least one api group"));
    if (textsAt(rule, "resources").length === 0) errors.push(required(`${path}.resources`, "resource rules must supply at least one resource"));
    return errors;
  });
}

export const roles: Strategy = { names: "path", validate: validateRules, validateUpdate: validateRules };

function validateBinding(binding: ApiObject): FieldError[] {
  const roleRef = objectAt(binding, "roleRef") ?? {};
  const kinds = binding.kind === "RoleBinding" ? ["Role", "ClusterRole"] : ["ClusterRole"];
  const errors: FieldError[] = [];
  if (textAt(roleRef, "apiGroup") !== RBAC) errors.push(notSupported("roleRef.apiGroup", textAt(roleRef, "apiGroup"), [RBAC]));
  if (!kinds.includes(textAt(roleRef, "kind"))) errors.push(notSupported("roleRef.kind", textAt(roleRef, "kind"), kinds));
  if (textAt(roleRef, "name") === "") errors.push(required("roleRef.name"));
  for (const [index, subject] of objectsAt(binding, "subjects").entries()) {
    const path = `subjects[${index}]`;
    if (textAt(subject, "name") === "") errors.push(required(`${path}.name`));
    const kind = textAt(subject, "kind");
    if (!["ServiceAccount", "User", "Group"].includes(kind)) errors.push(notSupported(`${path}.kind`, kind, ["ServiceAccount", "User", "Group"]));
    if (kind === "ServiceAccount" && textAt(subject, "namespace") === "" && binding.kind === "ClusterRoleBinding") errors.push(required(`${path}.namespace`));
  }
  return errors;
}

export const roleBindings: Strategy = {
  names: "path",
  defaults(binding) {
    const roleRef = ensureObject(binding, "roleRef");
    if (textAt(roleRef, "apiGroup") === "") roleRef["apiGroup"] = RBAC;
    for (const subject of objectsAt(binding, "subjects")) {
      const kind = textAt(subject, "kind");
      if (textAt(subject, "apiGroup") === "" && (kind === "User" || kind === "Group")) subject["apiGroup"] = RBAC;
      if (kind === "ServiceAccount" && textAt(subject, "namespace") === "" && binding.metadata.namespace !== undefined)
        subject["namespace"] = binding.metadata.namespace;
    }
  },
  validate: validateBinding,
  validateUpdate: (binding, old) => [
    ...validateBinding(binding),
    ...(equal(binding["roleRef"], old["roleRef"]) ? [] : [invalid("roleRef", goRoleRef(binding), "cannot change roleRef")]),
  ],
};

/** A role reference as the real server's message shows it. */
function goRoleRef(binding: ApiObject): JsonObject {
  return { APIGroup: textAt(binding, "roleRef", "apiGroup"), Kind: textAt(binding, "roleRef", "kind"), Name: textAt(binding, "roleRef", "name") };
}

export const priorityClasses: Strategy = {
  generation: true,
  defaults: (object) => setDefault(object, "preemptionPolicy", "PreemptLowerPriority"),
  validateUpdate: (object, old) => [
    ...(object["value"] === old["value"] ? [] : [fieldForbidden("value", "may not be changed in an update.")]),
    ...(object["preemptionPolicy"] === old["preemptionPolicy"] ? [] : [invalid("preemptionPolicy", object["preemptionPolicy"], "field is immutable")]),
  ],
};

export const podDisruptionBudgets: Strategy = {
  generation: true,
  statusFields: ["status"],
  prepareCreate(budget) {
    budget["status"] = { currentHealthy: 0, desiredHealthy: 0, disruptionsAllowed: 0, expectedPods: 0 };
  },
};

export const networkPolicies: Strategy = {
  generation: true,
  defaults(policy) {
    const spec = ensureObject(policy, "spec");
    if (textsAt(spec, "policyTypes").length === 0) spec["policyTypes"] = ["Ingress", ...(objectsAt(spec, "egress").length > 0 ? ["Egress"] : [])];
    for (const rule of [...objectsAt(spec, "ingress"), ...objectsAt(spec, "egress")])
      for (const port of objectsAt(rule, "ports")) setDefault(port, "protocol", "TCP");
  },
};

export const ingresses: Strategy = {
  generation: true,
  statusFields: ["status"],
  prepareCreate(ingress) {
    ingress["status"] = { loadBalancer: {} };
  },
  validate: (ingress) =>
    objectsAt(ingress, "spec", "rules").flatMap((rule, index) =>
      objectsAt(rule, "http", "paths").flatMap((path, at) =>
        textAt(path, "pathType") === "" ? [required(`spec.rules[${index}].http.paths[${at}].pathType`, "pathType must be specified")] : [],
      ),
    ),
};

export const ingressClasses: Strategy = { generation: true };

export const horizontalPodAutoscalers: Strategy = {
  statusFields: ["status"],
  defaults(object) {
    const spec = ensureObject(object, "spec");
    setDefault(spec, "minReplicas", 1);
    if (objectsAt(spec, "metrics").length === 0)
      spec["metrics"] = [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } }];
  },
  prepareCreate(object) {
    object["status"] = { desiredReplicas: 0, currentMetrics: null };
  },
};

/** Kinds of which nothing is known here but that they have a status and count generations. */
export const withStatus: Strategy = { statusFields: ["status"] };
export const withGeneration: Strategy = { generation: true };
export const withStatusAndGeneration: Strategy = { generation: true, statusFields: ["status"] };

export const customResourceDefinitions: Strategy = {
  generation: true,
  statusFields: ["status"],
  defaults(definition) {
    const spec = ensureObject(definition, "spec");
    const names = ensureObject(spec, "names");
    const kind = textAt(names, "kind");
    if (textAt(names, "singular") === "") names["singular"] = kind.toLowerCase();
    if (textAt(names, "listKind") === "" && kind !== "") names["listKind"] = `${kind}List`;
    const conversion = ensureObject(spec, "conversion");
    if (textAt(conversion, "strategy") === "") conversion["strategy"] = "None";
    for (const version of objectsAt(spec, "versions"))
      for (const column of objectsAt(version, "additionalPrinterColumns")) if (column["priority"] === 0) delete column["priority"];
  },
  prepareCreate(definition) {
    const stored = objectsAt(definition, "spec", "versions")
      .filter((it) => it["storage"] === true)
      .map((it) => textAt(it, "name"));
    definition["status"] = { conditions: null, acceptedNames: { plural: "", kind: "" }, storedVersions: stored.length === 0 ? null : stored };
  },
  prepareUpdate(definition) {
    const status = ensureObject(definition, "status");
    const stored = textsAt(status, "storedVersions");
    for (const version of objectsAt(definition, "spec", "versions"))
      if (version["storage"] === true && !stored.includes(textAt(version, "name"))) stored.push(textAt(version, "name"));
    status["storedVersions"] = stored;
  },
  validate: validateDefinition,
  validateUpdate(definition, old) {
    const errors = validateDefinition(definition);
    for (const field of ["group", "scope"])
      if (textAt(definition, "spec", field) !== textAt(old, "spec", field))
        errors.push(invalid(`spec.${field}`, textAt(definition, "spec", field), "field is immutable"));
    for (const field of ["plural", "kind"])
      if (textAt(definition, "spec", "names", field) !== textAt(old, "spec", "names", field))
        errors.push(invalid(`spec.names.${field}`, textAt(definition, "spec", "names", field), "field is immutable"));
    return errors;
  },
};
