/** Namespaces, nodes, services, Secrets, ConfigMaps, service accounts, events and endpoints. */
import { type ApiObject, clone, ensureObject, equal, isObject, type JsonObject, objectAt, objectsAt, setDefault, textAt } from "../json.ts";
import { nameProblems } from "../names.ts";
import { type FieldError, fieldForbidden, invalid, required, tooLong } from "../status-error.ts";
import { defaultPodTemplate } from "./pod-defaults.ts";
import type { Strategy } from "./strategy.ts";

const DATA_MAX_BYTES = 1 << 20;

export const namespaces: Strategy = {
  names: "label",
  statusFields: ["status"],
  defaults(namespace) {
    const name = namespace.metadata.name;
    if (name !== undefined && name !== "") namespace.metadata.labels = { ...namespace.metadata.labels, "kubernetes.io/metadata.name": name };
  },
  prepareCreate(namespace) {
    const spec = ensureObject(namespace, "spec");
    const finalizers = Array.isArray(spec["finalizers"]) ? spec["finalizers"] : [];
    spec["finalizers"] = finalizers.includes("kubernetes") ? finalizers : [...finalizers, "kubernetes"];
    namespace["status"] = { phase: "Active" };
  },
  // Finalizers of the spec are changed through the finalize subresource only.
  prepareUpdate(namespace, old) {
    namespace["spec"] = clone(old["spec"] ?? {});
  },
  selectableFields: (namespace) => ({ "status.phase": textAt(namespace, "status", "phase") }),
};

export const nodes: Strategy = {
  statusFields: ["status"],
  // A kubelet registers itself with its status in one request, so creation keeps it.
  prepareCreate(node) {
    setDefault(node, "spec", {});
    setDefault(node, "status", {});
    const status = ensureObject(node, "status");
    setDefault(status, "daemonEndpoints", { kubeletEndpoint: { Port: 0 } });
  },
  selectableFields: (node) => ({ "spec.unschedulable": String(objectAt(node, "spec")?.["unschedulable"] === true) }),
};

const NODE_PORTS = { first: 30_000, last: 32_767 } as const;

export const services: Strategy = {
  names: "service",
  statusFields: ["status"],
  defaults(service) {
    const spec = ensureObject(service, "spec");
    if (textAt(spec, "type") === "") spec["type"] = "ClusterIP";
    if (textAt(spec, "sessionAffinity") === "") spec["sessionAffinity"] = "None";
    if (spec["sessionAffinity"] === "ClientIP") setDefault(ensureObject(ensureObject(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10_800);
    for (const port of objectsAt(spec, "ports")) {
      setDefault(port, "protocol", "TCP");
      if (port["targetPort"] === undefined || port["targetPort"] === 0 || port["targetPort"] === "") port["targetPort"] = port["port"] ?? 0;
    }
    const type = textAt(spec, "type");
    if (type === "NodePort" || type === "LoadBalancer") setDefault(spec, "externalTrafficPolicy", "Cluster");
    if (type === "LoadBalancer") setDefault(spec, "allocateLoadBalancerNodePorts", true);
    if (type !== "ExternalName") setDefault(spec, "internalTrafficPolicy", "Cluster");
  },
  prepareCreate(service, world) {
    service["status"] = { loadBalancer: {} };
    const spec = ensureObject(service, "spec");
    if (textAt(spec, "type") === "ExternalName") return;
    const others = world.storage.list("services");
    if (textAt(spec, "clusterIP") === "") {
      const used = new Set(others.map((it) => textAt(it, "spec", "clusterIP")));
      // The first address is the API server's own.
      for (let host = 2; host < 255 && textAt(spec, "clusterIP") === ""; host++) {
        const address = `${world.serviceNetwork}.${host}`;
        if (!used.has(address)) spec["clusterIP"] = address;
      }
    }
    setDefault(spec, "clusterIPs", [textAt(spec, "clusterIP")]);
    // Without addresses of its own and without pods to choose, a service may stand for endpoints of either family.
    const anyFamily = textAt(spec, "clusterIP") === "None" && objectAt(spec, "selector") === undefined;
    setDefault(spec, "ipFamilies", anyFamily ? ["IPv4", "IPv6"] : ["IPv4"]);
    setDefault(spec, "ipFamilyPolicy", anyFamily ? "RequireDualStack" : "SingleStack");
    allocateNodePorts(spec, others);
  },
  prepareUpdate(service, old, world) {
    const spec = ensureObject(service, "spec");
    // Clients that leave out what was allocated keep it.
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) {
      const before = objectAt(old, "spec")?.[field];
      if (before !== undefined && textAt(spec, "type") !== "ExternalName" && (spec[field] === undefined || spec[field] === "")) spec[field] = clone(before);
    }
    allocateNodePorts(
      spec,
      world.storage.list("services").filter((it) => it.metadata.uid !== old.metadata.uid),
      objectsAt(old, "spec", "ports"),
    );
  },
  validate(service) {
    const spec = objectAt(service, "spec") ?? {};
    const errors: FieldError[] = [];
    const ports = objectsAt(spec, "ports");
    if (ports.length === 0 && textAt(spec, "type") !== "ExternalName" && textAt(spec, "clusterIP") !== "None") errors.push(required("spec.ports"));
    if (textAt(spec, "type") === "ExternalName" && textAt(spec, "externalName") === "") errors.push(required("spec.externalName"));
    for (const [index, port] of ports.entries()) {
      if (ports.length > 1 && textAt(port, "name") === "") errors.push(required(`spec.ports[${index}].name`));
      const number = port["port"];
      if (typeof number !== "number" || number < 1 || number > 65_535)
        errors.push(invalid(`spec.ports[${index}].port`, number ?? 0, "must be between 1 and 65535, inclusive"));
    }
    return errors;
  },
  validateUpdate(service, old, world) {
    const errors = services.validate?.(service, world) ?? [];
    const before = textAt(old, "spec", "clusterIP");
    const after = textAt(service, "spec", "clusterIP");
    if (before !== "" && before !== after && textAt(service, "spec", "type") !== "ExternalName")
      errors.push(invalid("spec.clusterIPs[0]", [after], "may not change once set"));
    return errors;
  },
  selectableFields: (service) => ({ "spec.clusterIP": textAt(service, "spec", "clusterIP"), "spec.type": textAt(service, "spec", "type") }),
};

function allocateNodePorts(spec: JsonObject, others: readonly ApiObject[], before: readonly JsonObject[] = []): void {
  const type = textAt(spec, "type");
  const ports = objectsAt(spec, "ports");
  if (type !== "NodePort" && !(type === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false)) {
    for (const port of ports) delete port["nodePort"];
    return;
  }
  const used = new Set([...others.flatMap((it) => objectsAt(it, "spec", "ports")), ...ports].map((port) => port["nodePort"]));
  for (const port of ports) {
    if (typeof port["nodePort"] === "number" && port["nodePort"] > 0) continue;
    const kept = before.find((it) => it["port"] === port["port"] && it["protocol"] === port["protocol"])?.["nodePort"];
    let next: number = NODE_PORTS.first;
    while (used.has(next) && next < NODE_PORTS.last) next++;
    port["nodePort"] = typeof kept === "number" ? kept : next;
    used.add(port["nodePort"]);
  }
}

/** Sum of the lengths of a map's values, in bytes as they count against the limit of 1 MiB. */
function dataBytes(map: JsonObject | undefined, encoded: boolean): number {
  return Object.values(map ?? {}).reduce<number>((sum, it) => sum + (typeof it === "string" ? Buffer.byteLength(it, encoded ? "base64" : "utf8") : 0), 0);
}

function validateKeys(map: JsonObject | undefined, path: string): FieldError[] {
  return Object.keys(map ?? {}).flatMap((key) =>
    /^[-._a-zA-Z0-9]+$/.test(key) && key.length <= 253 && key !== "." && key !== ".."
      ? []
      : [
          invalid(
            `${path}[${key}]`,
            key,
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
          ),
        ],
  );
}

function immutability(object: ApiObject, old: ApiObject, fields: readonly string[]): FieldError[] {
  if (old["immutable"] !== true) return [];
  return [
    ...(object["immutable"] === true ? [] : [fieldForbidden("immutable", "field is immutable when `immutable` is set")]),
    ...fields.filter((field) => !equal(object[field], old[field])).map((field) => fieldForbidden(field, "field is immutable when `immutable` is set")),
  ];
}

const SECRET_KEYS: Readonly<Record<string, readonly string[]>> = {
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
};

function validateSecret(secret: ApiObject): FieldError[] {
  const data = objectAt(secret, "data");
  const errors = validateKeys(data, "data");
  if (dataBytes(data, true) > DATA_MAX_BYTES) errors.push(tooLong("data", DATA_MAX_BYTES));
  for (const key of SECRET_KEYS[textAt(secret, "type")] ?? []) if (data?.[key] === undefined) errors.push(required(`data[${key}]`));
  return errors;
}

export const secrets: Strategy = {
  defaults(secret) {
    if (textAt(secret, "type") === "") secret["type"] = "Opaque";
    const plain = objectAt(secret, "stringData");
    if (plain === undefined) return;
    const data = ensureObject(secret, "data");
    for (const [key, value] of Object.entries(plain)) if (typeof value === "string") data[key] = Buffer.from(value, "utf8").toString("base64");
    delete secret["stringData"];
  },
  validate: validateSecret,
  validateUpdate: (secret, old) => [
    ...validateSecret(secret),
    ...(secret["type"] === old["type"] ? [] : [invalid("type", secret["type"], "field is immutable")]),
    ...immutability(secret, old, ["data"]),
  ],
  selectableFields: (secret) => ({ type: textAt(secret, "type") }),
};

function validateConfigMap(map: ApiObject): FieldError[] {
  const data = objectAt(map, "data");
  const binary = objectAt(map, "binaryData");
  const errors = [...validateKeys(data, "data"), ...validateKeys(binary, "binaryData")];
  for (const key of Object.keys(data ?? {}))
    if (binary !== undefined && Object.hasOwn(binary, key)) errors.push(invalid(`data[${key}]`, key, "duplicate of key present in binaryData"));
  if (dataBytes(data, false) + dataBytes(binary, true) > DATA_MAX_BYTES) errors.push(tooLong("", DATA_MAX_BYTES));
  return errors;
}

export const configMaps: Strategy = {
  validate: validateConfigMap,
  validateUpdate: (map, old) => [...validateConfigMap(map), ...immutability(map, old, ["data", "binaryData"])],
};

export const serviceAccounts: Strategy = {};

/** What an event is about, in either of its forms. */
const involved = (event: ApiObject): JsonObject => objectAt(event, "involvedObject") ?? objectAt(event, "regarding") ?? {};
/** Its name in the form at hand. */
const involvedField = (event: ApiObject): string => (event.apiVersion === "v1" ? "involvedObject" : "regarding");
export const events: Strategy = {
  validate(event) {
    const errors: FieldError[] = [];
    const about = textAt(involved(event), "namespace");
    const field = `${involvedField(event)}.namespace`;
    const namespace = event.metadata.namespace ?? "";
    if (about === "" && namespace !== "default" && namespace !== "kube-system") errors.push(invalid(field, about, "does not match event.namespace"));
    else if (about !== "" && about !== namespace) errors.push(invalid(field, about, "does not match event.namespace"));
    return errors;
  },
  selectableFields: (event) => ({
    ...Object.fromEntries(
      ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"].map((key) => [`involvedObject.${key}`, textAt(involved(event), key)]),
    ),
    reason: textAt(event, "reason"),
    reportingComponent: textAt(event, "reportingComponent") || textAt(event, "source", "component"),
    source: textAt(event, "source", "component") || textAt(event, "reportingComponent"),
    type: textAt(event, "type"),
  }),
};

export const endpoints: Strategy = {
  defaults(object) {
    for (const subset of objectsAt(object, "subsets")) for (const port of objectsAt(subset, "ports")) setDefault(port, "protocol", "TCP");
  },
};

export const endpointSlices: Strategy = {
  generation: true,
  labelsCount: true,
  defaults(object) {
    for (const port of objectsAt(object, "ports")) {
      setDefault(port, "name", "");
      setDefault(port, "protocol", "TCP");
    }
  },
  validate: (object) => (textAt(object, "addressType") === "" ? [required("addressType")] : []),
};

/** What a container gets when it says nothing: the limit is the largest allowed, the request is the limit, or else the smallest allowed. */
function defaultLimits(limit: JsonObject): void {
  const fill = (field: string, from: string): void => {
    const values = objectAt(limit, from);
    if (values === undefined) return;
    const target = ensureObject(limit, field);
    for (const [name, value] of Object.entries(values)) if (value !== undefined) setDefault(target, name, value);
  };
  fill("default", "max");
  fill("defaultRequest", "default");
  fill("defaultRequest", "min");
}

export const podTemplates: Strategy = {
  generation: true,
  defaults: (object) => defaultPodTemplate(ensureObject(object, "template")),
};

export const resourceQuotas: Strategy = {
  statusFields: ["status"],
  prepareCreate(quota) {
    quota["status"] = {};
  },
};

export const limitRanges: Strategy = {
  defaults(range) {
    for (const limit of objectsAt(range, "spec", "limits")) if (limit["type"] === "Container") defaultLimits(limit);
  },
  validate: (range) => (isObject(range["spec"]) && nameProblems(range.metadata.name ?? "", "subdomain").length === 0 ? [] : [required("spec")]),
};
