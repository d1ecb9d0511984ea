/** The columns of the built-in kinds after the name, as the real server has them. */
import { type ApiObject, at, type Json, type JsonObject, numberAt, objectAt, objectsAt, textAt, textsAt } from "../json.ts";
import { age, humanDuration } from "./age.ts";
import type { Column } from "./column.ts";
import { podColumns } from "./pod-columns.ts";

type Cell = Column["cell"];
type Columns = (ageColumn: Column) => readonly Column[];

const text = (name: string, cell: Cell, priority = 0): Column => ({ name, type: "string", cell, priority });
const integer = (name: string, cell: Cell, priority = 0): Column => ({ name, type: "integer", cell, priority });
const wide = (name: string, cell: Cell): Column => text(name, cell, 1);
const orNone = (value: string): string => (value === "" ? "<none>" : value);
const orUnset = (value: string): string => (value === "" ? "<unset>" : value);
const count = (map: JsonObject | undefined): number => Object.keys(map ?? {}).length;

const MODES: Readonly<Record<string, string>> = { ReadWriteOnce: "RWO", ReadOnlyMany: "ROX", ReadWriteMany: "RWX", ReadWriteOncePod: "RWOP" };
const accessModes = (modes: readonly string[]): string => [...new Set(modes)].map((it) => MODES[it] ?? it).join(",");

/** A label selector as a query would write it. */
export function selectorText(selector: JsonObject | undefined): string {
  if (selector === undefined) return "<none>";
  const labels = Object.entries(objectAt(selector, "matchLabels") ?? {}).map(([key, value]) => `${key}=${String(value)}`);
  const expressions = objectsAt(selector, "matchExpressions").map((it) => {
    const key = textAt(it, "key");
    const operator = textAt(it, "operator");
    if (operator === "Exists") return key;
    return operator === "DoesNotExist" ? `!${key}` : `${key} ${operator === "In" ? "in" : "notin"} (${textsAt(it, "values").join(",")})`;
  });
  return orNone([...labels, ...expressions].sort().join(","));
}

const mapText = (map: JsonObject | undefined): string =>
  orNone(
    Object.entries(map ?? {})
      .map(([key, value]) => `${key}=${String(value)}`)
      .sort()
      .join(","),
  );

const templateContainers = (object: ApiObject, ...path: string[]): readonly JsonObject[] => objectsAt(object, ...path, "containers");
const containers = (...path: string[]): readonly Column[] => [
  wide("Containers", (it) =>
    templateContainers(it, ...path)
      .map((c) => textAt(c, "name"))
      .join(","),
  ),
  wide("Images", (it) =>
    templateContainers(it, ...path)
      .map((c) => textAt(c, "image"))
      .join(","),
  ),
];
const TEMPLATE = ["spec", "template", "spec"];
const phaseOf = (object: ApiObject): string => (object.metadata.deletionTimestamp === undefined ? textAt(object, "status", "phase") : "Terminating");
const number =
  (...path: string[]): Cell =>
  (object) =>
    numberAt(object, ...path) ?? 0;

const workload: Columns = (ageColumn) => [
  text("Ready", (it) => `${numberAt(it, "status", "readyReplicas") ?? 0}/${numberAt(it, "spec", "replicas") ?? 0}`),
  text("Up-to-date", number("status", "updatedReplicas")),
  text("Available", number("status", "availableReplicas")),
  ageColumn,
  ...containers(...TEMPLATE),
  wide("Selector", (it) => selectorText(objectAt(it, "spec", "selector"))),
];

const replicas: Columns = (ageColumn) => [
  integer("Desired", number("spec", "replicas")),
  integer("Current", number("status", "replicas")),
  integer("Ready", number("status", "readyReplicas")),
  ageColumn,
  ...containers(...TEMPLATE),
  wide("Selector", (it) => (it.kind === "ReplicaSet" ? selectorText(objectAt(it, "spec", "selector")) : mapText(objectAt(it, "spec", "selector")))),
];

function nodeStatus(node: ApiObject): string {
  const ready = objectsAt(node, "status", "conditions").find((it) => it["type"] === "Ready");
  const parts = [ready === undefined ? "Unknown" : textAt(ready, "status") === "True" ? "Ready" : "NotReady"];
  if (at(node, "spec", "unschedulable") === true) parts.push("SchedulingDisabled");
  return parts.join(",");
}

function nodeRoles(node: ApiObject): string {
  const roles = Object.entries(node.metadata.labels ?? {}).flatMap(([key, value]) =>
    key.startsWith("node-role.kubernetes.io/") ? [key.slice("node-role.kubernetes.io/".length)] : key === "kubernetes.io/role" && value !== "" ? [value] : [],
  );
  return orNone(roles.sort().join(","));
}

const address = (node: ApiObject, type: string): string =>
  orNone(
    textAt(
      objectsAt(node, "status", "addresses").find((it) => it["type"] === type),
      "address",
    ),
  );

function servicePorts(service: ApiObject): string {
  return orNone(
    objectsAt(service, "spec", "ports")
      .map((it) => `${numberAt(it, "port") ?? 0}${numberAt(it, "nodePort") === undefined ? "" : `:${numberAt(it, "nodePort")}`}/${textAt(it, "protocol")}`)
      .join(","),
  );
}

function externalAddress(service: ApiObject): string {
  const ingress = objectsAt(service, "status", "loadBalancer", "ingress").map((it) => textAt(it, "ip") || textAt(it, "hostname"));
  const external = textsAt(service, "spec", "externalIPs");
  switch (textAt(service, "spec", "type")) {
    case "ExternalName":
      return textAt(service, "spec", "externalName");
    case "LoadBalancer":
      return [...ingress, ...external].join(",") || "<pending>";
    default:
      return orNone(external.join(","));
  }
}

function eventAge(event: ApiObject, nowMs: number): string {
  const last = textAt(event, "series", "lastObservedTime") || textAt(event, "lastTimestamp") || textAt(event, "eventTime") || textAt(event, "firstTimestamp");
  return age(last || undefined, nowMs);
}

function endpointsText(object: ApiObject): string {
  const all = objectsAt(object, "subsets").flatMap((subset) => {
    const ports = objectsAt(subset, "ports");
    return objectsAt(subset, "addresses").flatMap((it) =>
      ports.length === 0 ? [textAt(it, "ip")] : ports.map((port) => `${textAt(it, "ip")}:${numberAt(port, "port") ?? 0}`),
    );
  });
  return all.length > 3 ? `${all.slice(0, 3).join(",")} + ${all.length - 3} more...` : orNone(all.join(","));
}

function jobStatus(job: ApiObject): string {
  const has = (type: string): boolean => objectsAt(job, "status", "conditions").some((it) => it["type"] === type && it["status"] === "True");
  if (has("Complete")) return "Complete";
  if (has("Failed")) return "Failed";
  if (job.metadata.deletionTimestamp !== undefined) return "Terminating";
  if (has("Suspended")) return "Suspended";
  if (has("FailureTarget")) return "FailureTarget";
  return has("SuccessCriteriaMet") ? "SuccessCriteriaMet" : "Running";
}

function jobDuration(job: ApiObject, nowMs: number): string {
  const start = Date.parse(textAt(job, "status", "startTime"));
  const end = Date.parse(textAt(job, "status", "completionTime"));
  if (Number.isNaN(start)) return "";
  return humanDuration((Number.isNaN(end) ? nowMs : end) - start);
}

function jobCompletions(job: ApiObject): string {
  const done = numberAt(job, "status", "succeeded") ?? 0;
  const wanted = numberAt(job, "spec", "completions");
  if (wanted !== undefined) return `${done}/${wanted}`;
  const parallelism = numberAt(job, "spec", "parallelism") ?? 0;
  return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
}

const claimRef = (volume: ApiObject): string => {
  const name = textAt(volume, "spec", "claimRef", "name");
  return name === "" ? "" : `${textAt(volume, "spec", "claimRef", "namespace")}/${name}`;
};

const bindingColumns: Columns = (ageColumn) => [
  text("Role", (it) => `${textAt(it, "roleRef", "kind")}/${textAt(it, "roleRef", "name")}`),
  ageColumn,
  wide("Users", subjects("User")),
  wide("Groups", subjects("Group")),
  wide("ServiceAccounts", subjects("ServiceAccount")),
];
function subjects(kind: string): Cell {
  return (binding) =>
    objectsAt(binding, "subjects")
      .filter((it) => it["kind"] === kind)
      .map((it) => (kind === "ServiceAccount" ? `${textAt(it, "namespace")}/${textAt(it, "name")}` : textAt(it, "name")))
      .join(", ");
}

const createdOnly: Columns = () => [{ name: "Created At", type: "date", cell: (it): Json => it.metadata.creationTimestamp ?? null }];
const ageOnly: Columns = (ageColumn) => [ageColumn];

export const builtInColumns: Readonly<Record<string, Columns>> = {
  pods: podColumns,
  namespaces: (ageColumn) => [text("Status", (it) => textAt(it, "status", "phase")), ageColumn],
  nodes: (ageColumn) => [
    text("Status", nodeStatus),
    text("Roles", nodeRoles),
    ageColumn,
    text("Version", (it) => textAt(it, "status", "nodeInfo", "kubeletVersion")),
    wide("Internal-IP", (it) => address(it, "InternalIP")),
    wide("External-IP", (it) => address(it, "ExternalIP")),
    wide("OS-Image", (it) => textAt(it, "status", "nodeInfo", "osImage") || "<unknown>"),
    wide("Kernel-Version", (it) => textAt(it, "status", "nodeInfo", "kernelVersion") || "<unknown>"),
    wide("Container-Runtime", (it) => textAt(it, "status", "nodeInfo", "containerRuntimeVersion") || "<unknown>"),
  ],
  services: (ageColumn) => [
    text("Type", (it) => textAt(it, "spec", "type")),
    text("Cluster-IP", (it) => orNone(textAt(it, "spec", "clusterIP"))),
    text("External-IP", externalAddress),
    text("Port(s)", servicePorts),
    ageColumn,
    wide("Selector", (it) => mapText(objectAt(it, "spec", "selector"))),
  ],
  endpoints: (ageColumn) => [text("Endpoints", endpointsText), ageColumn],
  configmaps: (ageColumn) => [text("Data", (it) => count(objectAt(it, "data")) + count(objectAt(it, "binaryData"))), ageColumn],
  secrets: (ageColumn) => [text("Type", (it) => textAt(it, "type")), text("Data", (it) => count(objectAt(it, "data"))), ageColumn],
  serviceaccounts: (ageColumn) => [text("Secrets", (it) => objectsAt(it, "secrets").length), ageColumn],
  limitranges: createdOnly,
  resourcequotas: (ageColumn) => [text("Request", (it) => quotaText(it, "requests.")), text("Limit", (it) => quotaText(it, "limits.")), ageColumn],
  replicationcontrollers: replicas,
  events: () => [
    text("Last Seen", eventAge),
    text("Type", (it) => textAt(it, "type")),
    text("Reason", (it) => textAt(it, "reason")),
    text("Object", (it) => `${textAt(it, "involvedObject", "kind").toLowerCase()}/${textAt(it, "involvedObject", "name")}`),
    wide("Subobject", (it) => textAt(it, "involvedObject", "fieldPath")),
    wide("Source", (it) =>
      [textAt(it, "source", "component") || textAt(it, "reportingComponent"), textAt(it, "source", "host")].filter((part) => part !== "").join(", "),
    ),
    text("Message", (it) => textAt(it, "message").trim()),
    wide("First Seen", (it, nowMs) => age(textAt(it, "firstTimestamp") || textAt(it, "eventTime") || undefined, nowMs)),
    wide("Count", (it) => numberAt(it, "series", "count") ?? numberAt(it, "count") ?? 1),
    { name: "Name", type: "string", format: "name", priority: 1, cell: (it) => it.metadata.name ?? "" },
  ],
  persistentvolumes: (ageColumn) => [
    text("Capacity", (it) => textAt(it, "spec", "capacity", "storage")),
    text("Access Modes", (it) => accessModes(textsAt(it, "spec", "accessModes"))),
    text("Reclaim Policy", (it) => textAt(it, "spec", "persistentVolumeReclaimPolicy")),
    text("Status", phaseOf),
    text("Claim", claimRef),
    text("StorageClass", (it) => textAt(it, "spec", "storageClassName")),
    text("VolumeAttributesClass", (it) => orUnset(textAt(it, "spec", "volumeAttributesClassName"))),
    text("Reason", (it) => textAt(it, "status", "reason")),
    ageColumn,
    wide("VolumeMode", (it) => orUnset(textAt(it, "spec", "volumeMode"))),
  ],
  persistentvolumeclaims: (ageColumn) => [
    text("Status", phaseOf),
    text("Volume", (it) => textAt(it, "spec", "volumeName")),
    text("Capacity", (it) => (textAt(it, "spec", "volumeName") === "" ? "" : textAt(it, "status", "capacity", "storage"))),
    text("Access Modes", (it) => (textAt(it, "spec", "volumeName") === "" ? "" : accessModes(textsAt(it, "status", "accessModes")))),
    text("StorageClass", (it) => textAt(it, "spec", "storageClassName")),
    text("VolumeAttributesClass", (it) => orUnset(textAt(it, "spec", "volumeAttributesClassName"))),
    ageColumn,
    wide("VolumeMode", (it) => orUnset(textAt(it, "spec", "volumeMode"))),
  ],
  "apps/deployments": workload,
  "apps/replicasets": replicas,
  "apps/statefulsets": (ageColumn) => [
    text("Ready", (it) => `${numberAt(it, "status", "readyReplicas") ?? 0}/${numberAt(it, "spec", "replicas") ?? 0}`),
    ageColumn,
    ...containers(...TEMPLATE),
  ],
  "apps/daemonsets": (ageColumn) => [
    integer("Desired", number("status", "desiredNumberScheduled")),
    integer("Current", number("status", "currentNumberScheduled")),
    integer("Ready", number("status", "numberReady")),
    integer("Up-to-date", number("status", "updatedNumberScheduled")),
    integer("Available", number("status", "numberAvailable")),
    text("Node Selector", (it) => mapText(objectAt(it, ...TEMPLATE, "nodeSelector"))),
    ageColumn,
    ...containers(...TEMPLATE),
    wide("Selector", (it) => selectorText(objectAt(it, "spec", "selector"))),
  ],
  "apps/controllerrevisions": (ageColumn) => [
    text("Controller", (it) => {
      const owner = it.metadata.ownerReferences?.find((reference) => reference.controller === true);
      if (owner === undefined) return "<none>";
      const group = owner.apiVersion.includes("/") ? `.${owner.apiVersion.split("/")[0]}` : "";
      return `${owner.kind.toLowerCase()}${group}/${owner.name}`;
    }),
    text("Revision", number("revision")),
    ageColumn,
  ],
  "batch/jobs": (ageColumn) => [
    text("Status", jobStatus),
    text("Completions", jobCompletions),
    text("Duration", jobDuration),
    ageColumn,
    ...containers(...TEMPLATE),
    wide("Selector", (it) => selectorText(objectAt(it, "spec", "selector"))),
  ],
  "batch/cronjobs": (ageColumn) => [
    text("Schedule", (it) => textAt(it, "spec", "schedule")),
    text("Timezone", (it) => orNone(textAt(it, "spec", "timeZone"))),
    { name: "Suspend", type: "boolean", cell: (it) => (at(it, "spec", "suspend") === true ? "True" : "False") },
    integer("Active", (it) => objectsAt(it, "status", "active").length),
    text("Last Schedule", (it, nowMs) => (textAt(it, "status", "lastScheduleTime") === "" ? "<none>" : age(textAt(it, "status", "lastScheduleTime"), nowMs))),
    ageColumn,
    ...containers("spec", "jobTemplate", ...TEMPLATE),
    wide("Selector", (it) => selectorText(objectAt(it, "spec", "jobTemplate", "spec", "selector"))),
  ],
  "storage.k8s.io/storageclasses": (ageColumn) => [
    text("Provisioner", (it) => textAt(it, "provisioner")),
    text("ReclaimPolicy", (it) => textAt(it, "reclaimPolicy") || "Delete"),
    text("VolumeBindingMode", (it) => textAt(it, "volumeBindingMode") || "Immediate"),
    text("AllowVolumeExpansion", (it) => it["allowVolumeExpansion"] === true),
    ageColumn,
  ],
  "storage.k8s.io/csidrivers": (ageColumn) => [
    { name: "AttachRequired", type: "boolean", cell: (it) => at(it, "spec", "attachRequired") !== false },
    { name: "PodInfoOnMount", type: "boolean", cell: (it) => at(it, "spec", "podInfoOnMount") === true },
    { name: "StorageCapacity", type: "boolean", cell: (it) => at(it, "spec", "storageCapacity") === true },
    text(
      "TokenRequests",
      (it) =>
        objectsAt(it, "spec", "tokenRequests")
          .map((request) => textAt(request, "audience"))
          .join(",") || "<unset>",
    ),
    { name: "RequiresRepublish", type: "boolean", cell: (it) => at(it, "spec", "requiresRepublish") === true },
    text("Modes", (it) => orNone(textsAt(it, "spec", "volumeLifecycleModes").join(","))),
    ageColumn,
  ],
  "storage.k8s.io/volumeattributesclasses": (ageColumn) => [text("DriverName", (it) => textAt(it, "driverName")), ageColumn],
  "storage.k8s.io/csinodes": (ageColumn) => [integer("Drivers", (it) => objectsAt(it, "spec", "drivers").length), ageColumn],
  "storage.k8s.io/volumeattachments": (ageColumn) => [
    text("Attacher", (it) => textAt(it, "spec", "attacher")),
    text("PV", (it) => textAt(it, "spec", "source", "persistentVolumeName")),
    text("Node", (it) => textAt(it, "spec", "nodeName")),
    { name: "Attached", type: "boolean", cell: (it) => at(it, "status", "attached") === true },
    ageColumn,
  ],
  "rbac.authorization.k8s.io/roles": createdOnly,
  "rbac.authorization.k8s.io/clusterroles": createdOnly,
  "rbac.authorization.k8s.io/rolebindings": bindingColumns,
  "rbac.authorization.k8s.io/clusterrolebindings": bindingColumns,
  "coordination.k8s.io/leases": (ageColumn) => [text("Holder", (it) => textAt(it, "spec", "holderIdentity")), ageColumn],
  "scheduling.k8s.io/priorityclasses": (ageColumn) => [
    integer("Value", number("value")),
    { name: "Global-Default", type: "boolean", cell: (it) => it["globalDefault"] === true },
    ageColumn,
    text("PreemptionPolicy", (it) => textAt(it, "preemptionPolicy")),
  ],
  "networking.k8s.io/networkpolicies": (ageColumn) => [text("Pod-Selector", (it) => selectorText(objectAt(it, "spec", "podSelector"))), ageColumn],
  "networking.k8s.io/ingresses": (ageColumn) => [
    text("Class", (it) => orNone(textAt(it, "spec", "ingressClassName"))),
    text(
      "Hosts",
      (it) =>
        objectsAt(it, "spec", "rules")
          .map((rule) => textAt(rule, "host") || "*")
          .join(",") || "*",
    ),
    text("Address", (it) =>
      objectsAt(it, "status", "loadBalancer", "ingress")
        .map((entry) => textAt(entry, "ip") || textAt(entry, "hostname"))
        .join(","),
    ),
    text("Ports", (it) => (objectsAt(it, "spec", "tls").length > 0 ? "80, 443" : "80")),
    ageColumn,
  ],
  "networking.k8s.io/ingressclasses": (ageColumn) => [
    text("Controller", (it) => textAt(it, "spec", "controller")),
    text("Parameters", (it) =>
      objectAt(it, "spec", "parameters") === undefined ? "<none>" : `${textAt(it, "spec", "parameters", "kind")}/${textAt(it, "spec", "parameters", "name")}`,
    ),
    ageColumn,
  ],
  "policy/poddisruptionbudgets": (ageColumn) => [
    text("Min Available", (it) => String(at(it, "spec", "minAvailable") ?? "N/A")),
    text("Max Unavailable", (it) => String(at(it, "spec", "maxUnavailable") ?? "N/A")),
    integer("Allowed Disruptions", number("status", "disruptionsAllowed")),
    ageColumn,
  ],
  "discovery.k8s.io/endpointslices": (ageColumn) => [
    text("AddressType", (it) => textAt(it, "addressType")),
    text(
      "Ports",
      (it) =>
        objectsAt(it, "ports")
          .map((port) => String(port["port"] ?? "*"))
          .join(",") || "<unset>",
    ),
    text(
      "Endpoints",
      (it) =>
        objectsAt(it, "endpoints")
          .flatMap((endpoint) => textsAt(endpoint, "addresses"))
          .join(",") || "<unset>",
    ),
    ageColumn,
  ],
  "autoscaling/horizontalpodautoscalers": (ageColumn) => [
    text("Reference", (it) => `${textAt(it, "spec", "scaleTargetRef", "kind")}/${textAt(it, "spec", "scaleTargetRef", "name")}`),
    text("Targets", targetsText),
    text("MinPods", (it) => String(at(it, "spec", "minReplicas") ?? "<unset>")),
    text("MaxPods", number("spec", "maxReplicas")),
    text("Replicas", number("status", "currentReplicas")),
    ageColumn,
  ],
  "admissionregistration.k8s.io/mutatingwebhookconfigurations": (ageColumn) => [integer("Webhooks", (it) => objectsAt(it, "webhooks").length), ageColumn],
  "admissionregistration.k8s.io/validatingwebhookconfigurations": (ageColumn) => [integer("Webhooks", (it) => objectsAt(it, "webhooks").length), ageColumn],
  "apiextensions.k8s.io/customresourcedefinitions": createdOnly,
  podtemplates: () => [
    ...containers("template", "spec").map((it) => ({ ...it, priority: 0 })),
    text("Pod Labels", (it) => mapText(objectAt(it, "template", "metadata", "labels"))),
  ],
  "node.k8s.io/runtimeclasses": (ageColumn) => [text("Handler", (it) => textAt(it, "handler")), ageColumn],
  "flowcontrol.apiserver.k8s.io/flowschemas": ageOnly,
};

/** Targets of resources by their use; nothing measures here, so what is used is not known. */
function targetsText(autoscaler: ApiObject): string {
  const targets = objectsAt(autoscaler, "spec", "metrics").map((metric) => {
    const target = objectAt(metric, "resource", "target");
    const wanted = numberAt(target, "averageUtilization");
    return `${textAt(metric, "resource", "name")}: <unknown>/${wanted === undefined ? String(target?.["averageValue"] ?? "<auto>") : `${wanted}%`}`;
  });
  return orNone(targets.join(", "));
}

function quotaText(quota: ApiObject, prefix: string): string {
  const hard = objectAt(quota, "status", "hard") ?? {};
  const used = objectAt(quota, "status", "used") ?? {};
  const isLimit = (key: string): boolean => key.startsWith("limits.");
  return Object.keys(hard)
    .filter((key) => isLimit(key) === (prefix === "limits."))
    .sort()
    .map((key) => `${key}: ${String(used[key] ?? "0")}/${String(hard[key])}`)
    .join(", ");
}
