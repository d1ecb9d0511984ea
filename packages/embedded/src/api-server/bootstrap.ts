/** What is there before anyone creates anything: namespaces, priority classes, and the roles every cluster has. */

import type { JsonObject } from "./json.ts";
import type { Operations } from "./operations.ts";
import type { Catalog } from "./served-resource.ts";
import { isStatusError } from "./status-error.ts";

const ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const READ = ["get", "list", "watch"];
const WRITE = ["create", "delete", "deletecollection", "patch", "update"];
const LABELS = { "kubernetes.io/bootstrapping": "rbac-defaults" };
const ANNOTATIONS = { "rbac.authorization.kubernetes.io/autoupdate": "true" };

interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

const rule = (apiGroups: readonly string[], resources: readonly string[], verbs: readonly string[]): Rule => ({ apiGroups, resources, verbs });
const urls = (nonResourceURLs: readonly string[]): Rule => ({ nonResourceURLs, verbs: ["get"] });

/** What people who look at a namespace may see; secrets and roles are not among it. */
const VIEWED: readonly Rule[] = [
  rule(
    [""],
    [
      "configmaps",
      "endpoints",
      "persistentvolumeclaims",
      "persistentvolumeclaims/status",
      "pods",
      "pods/log",
      "pods/status",
      "replicationcontrollers",
      "replicationcontrollers/scale",
      "serviceaccounts",
      "services",
      "services/status",
      "bindings",
      "events",
      "limitranges",
      "namespaces",
      "namespaces/status",
      "resourcequotas",
      "resourcequotas/status",
    ],
    READ,
  ),
  rule(
    ["apps"],
    [
      "controllerrevisions",
      "daemonsets",
      "daemonsets/status",
      "deployments",
      "deployments/scale",
      "deployments/status",
      "replicasets",
      "replicasets/scale",
      "replicasets/status",
      "statefulsets",
      "statefulsets/scale",
      "statefulsets/status",
    ],
    READ,
  ),
  rule(["autoscaling"], ["horizontalpodautoscalers", "horizontalpodautoscalers/status"], READ),
  rule(["batch"], ["cronjobs", "cronjobs/status", "jobs", "jobs/status"], READ),
  rule(["policy"], ["poddisruptionbudgets", "poddisruptionbudgets/status"], READ),
  rule(["networking.k8s.io"], ["ingresses", "ingresses/status", "networkpolicies"], READ),
  rule(["discovery.k8s.io"], ["endpointslices"], READ),
];
const EDITED: readonly Rule[] = [
  rule([""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], READ),
  rule([""], ["serviceaccounts"], ["impersonate"]),
  rule([""], ["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "pods/eviction"], WRITE),
  rule(
    [""],
    [
      "configmaps",
      "events",
      "persistentvolumeclaims",
      "replicationcontrollers",
      "replicationcontrollers/scale",
      "secrets",
      "serviceaccounts",
      "services",
      "services/proxy",
    ],
    WRITE,
  ),
  rule([""], ["serviceaccounts/token"], ["create"]),
  rule(
    ["apps"],
    ["daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets", "statefulsets/scale"],
    WRITE,
  ),
  rule(["autoscaling"], ["horizontalpodautoscalers"], WRITE),
  rule(["batch"], ["cronjobs", "jobs"], WRITE),
  rule(["policy"], ["poddisruptionbudgets"], WRITE),
  rule(["networking.k8s.io"], ["ingresses", "networkpolicies"], WRITE),
  rule(["coordination.k8s.io"], ["leases"], ALL_VERBS),
];
const ADMINISTERED: readonly Rule[] = [
  rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"]),
  rule(["rbac.authorization.k8s.io"], ["rolebindings", "roles"], ALL_VERBS),
];

const ROLES: Readonly<Record<string, readonly Rule[]>> = {
  "cluster-admin": [rule(["*"], ["*"], ["*"]), { verbs: ["*"], nonResourceURLs: ["*"] }],
  admin: [...VIEWED, ...EDITED, ...ADMINISTERED],
  edit: [...VIEWED, ...EDITED],
  view: VIEWED,
  "system:basic-user": [
    rule(["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
    rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
  ],
  "system:discovery": [urls(["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"])],
  "system:public-info-viewer": [urls(["/healthz", "/livez", "/readyz", "/version", "/version/"])],
  "system:service-account-issuer-discovery": [
    urls(["/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks", "/openid/v1/jwks/"]),
  ],
  "system:auth-delegator": [
    rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
    rule(["authorization.k8s.io"], ["subjectaccessreviews"], ["create"]),
  ],
  "system:node": [
    rule(["authentication.k8s.io"], ["tokenreviews"], ["create"]),
    rule(["authorization.k8s.io"], ["localsubjectaccessreviews", "subjectaccessreviews"], ["create"]),
    rule([""], ["services", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes", "endpoints"], READ),
    rule([""], ["nodes"], ["create", "get", "list", "watch", "patch", "update", "delete"]),
    rule([""], ["nodes/status"], ["patch", "update"]),
    rule([""], ["events"], ["create", "patch", "update"]),
    rule([""], ["pods"], ["create", "delete", "get", "list", "watch"]),
    rule([""], ["pods/status"], ["patch", "update"]),
    rule([""], ["pods/eviction"], ["create"]),
    rule([""], ["persistentvolumeclaims/status"], ["get", "patch", "update"]),
    rule([""], ["serviceaccounts/token"], ["create"]),
    rule([""], ["serviceaccounts"], ["get"]),
    rule(["storage.k8s.io"], ["volumeattachments", "csidrivers", "storageclasses"], READ),
    rule(["storage.k8s.io"], ["csinodes"], ["create", "delete", "get", "patch", "update"]),
    rule(["coordination.k8s.io"], ["leases"], ["create", "delete", "get", "patch", "update"]),
    rule(["node.k8s.io"], ["runtimeclasses"], READ),
  ],
};

const BINDINGS: Readonly<Record<string, readonly string[]>> = {
  "cluster-admin": ["system:masters"],
  "system:basic-user": ["system:authenticated"],
  "system:discovery": ["system:authenticated"],
  "system:public-info-viewer": ["system:authenticated", "system:unauthenticated"],
  "system:service-account-issuer-discovery": ["system:serviceaccounts"],
  "system:node": ["system:nodes"],
};

/** Creates what is missing. What is there already, from before a restart, stays as it is. */
export function bootstrap(catalog: Catalog, operations: Operations): void {
  const create = (group: string, version: string, plural: string, object: JsonObject): void => {
    const resource = catalog.find(group, version, plural);
    if (resource === undefined) return;
    try {
      operations.create(resource, undefined, object, { dryRun: false, manager: "kube-apiserver", fieldValidation: "Ignore", warnings: [] });
    } catch (error) {
      if (!isStatusError(error) || error.code !== 409) throw error;
    }
  };
  for (const name of ["default", "kube-system", "kube-public", "kube-node-lease"]) create("", "v1", "namespaces", { metadata: { name } });
  for (const [name, value] of Object.entries({ "system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000 }))
    create("scheduling.k8s.io", "v1", "priorityclasses", { metadata: { name }, value });
  const rbac = "rbac.authorization.k8s.io";
  for (const [name, rules] of Object.entries(ROLES))
    create(rbac, "v1", "clusterroles", { metadata: { name, labels: LABELS, annotations: ANNOTATIONS }, rules: rules as unknown as JsonObject[] });
  for (const [name, groups] of Object.entries(BINDINGS)) {
    create(rbac, "v1", "clusterrolebindings", {
      metadata: { name, labels: LABELS, annotations: ANNOTATIONS },
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name },
      subjects: groups.map((group) => ({ apiGroup: rbac, kind: "Group", name: group })),
    });
  }
}
