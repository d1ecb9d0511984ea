/** The environment of a container: what the pod's spec says, with references resolved and `$(NAME)` expanded. */
import { DrayError, fromBase64, fromUtf8 } from "@drayage/base";
import { type ConfigMap, type Container, type EnvVar, type Pod, parseQuantity, type Secret } from "@drayage/kube";
import { podKey } from "./pod-types.ts";

/** Objects of the pod's namespace; undefined when there is none. */
export interface ReferenceSource {
  secret(name: string): Promise<Secret | undefined>;
  configMap(name: string): Promise<ConfigMap | undefined>;
}

export interface PodFacts {
  readonly podIP: string;
  readonly hostIP: string;
  readonly nodeName: string;
  /** What a container without a limit may use, for resourceFieldRef. */
  readonly allocatable: Readonly<Record<string, string>>;
}

interface EnvFromSource {
  readonly prefix?: string;
  readonly configMapRef?: { readonly name: string; readonly optional?: boolean };
  readonly secretRef?: { readonly name: string; readonly optional?: boolean };
}

interface ResourceFieldRef {
  readonly containerName?: string;
  readonly resource: string;
  readonly divisor?: string;
}

/**
 * Later entries win over earlier ones and over `envFrom`, and may refer to those before them. Throws KUBE_NOT_FOUND for a reference that is not optional and not there,
 * which a kubelet reports as CreateContainerConfigError.
 */
export async function resolveEnvironment(pod: Pod, container: Container, facts: PodFacts, source: ReferenceSource): Promise<Record<string, string>> {
  const environment: Record<string, string> = {};
  for (const from of (container.envFrom ?? []) as EnvFromSource[]) Object.assign(environment, await valuesFrom(from, source));
  for (const entry of container.env ?? []) {
    const value = entry.valueFrom === undefined ? expand(entry.value ?? "", environment) : await referenced(pod, container, entry, facts, source);
    if (value !== undefined) environment[entry.name] = value;
  }
  return environment;
}

/** Replaces `$(NAME)` by its value; `$$(NAME)` is the text `$(NAME)`, and a name that is not known stays as written. */
export function expand(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replace(/\$(\$|\(([^()]*)\))/g, (match, after: string, name: string | undefined) =>
    after === "$" ? "$" : name !== undefined && Object.hasOwn(environment, name) ? (environment[name] ?? "") : match,
  );
}

/** The value of a downward-API field such as `metadata.labels['app']`; undefined for a path that is not offered. */
export function fieldValue(pod: Pod, path: string, facts: PodFacts): string | undefined {
  const { name, namespace, uid } = podKey(pod);
  const keyed = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (keyed !== null) return pod.metadata[keyed[1] as "labels" | "annotations"]?.[keyed[2] ?? ""] ?? "";
  switch (path) {
    case "metadata.name":
      return name;
    case "metadata.namespace":
      return namespace;
    case "metadata.uid":
      return uid;
    case "metadata.labels":
      return formatMap(pod.metadata.labels);
    case "metadata.annotations":
      return formatMap(pod.metadata.annotations);
    case "spec.nodeName":
      return facts.nodeName;
    case "spec.serviceAccountName":
      return pod.spec.serviceAccountName ?? "default";
    case "status.hostIP":
    case "status.hostIPs":
      return facts.hostIP;
    case "status.podIP":
    case "status.podIPs":
      return facts.podIP;
    default:
      return undefined;
  }
}

/** The value of `limits.cpu` and the like in units of the divisor, rounded up. */
export function resourceValue(pod: Pod, container: Container | undefined, ref: ResourceFieldRef, facts: PodFacts): string {
  const of = container ?? pod.spec.containers.find(({ name }) => name === ref.containerName);
  const [kind, ...rest] = ref.resource.split(".");
  const resource = rest.join(".");
  const limits = of?.resources?.limits?.[resource];
  const text = kind === "requests" ? (of?.resources?.requests?.[resource] ?? limits ?? "0") : (limits ?? facts.allocatable[resource] ?? "0");
  const amount = parseQuantity(text)?.nanos ?? 0n;
  const divisor = parseQuantity(ref.divisor ?? "1")?.nanos ?? 0n;
  const unit = divisor > 0n ? divisor : 1_000_000_000n;
  return String((amount + unit - 1n) / unit);
}

async function valuesFrom(from: EnvFromSource, source: ReferenceSource): Promise<Record<string, string>> {
  const prefix = from.prefix ?? "";
  const reference = from.configMapRef ?? from.secretRef;
  if (reference === undefined) return {};
  const kind = from.configMapRef === undefined ? "secret" : "configmap";
  const found = kind === "secret" ? await source.secret(reference.name) : await source.configMap(reference.name);
  if (found === undefined) {
    if (reference.optional === true) return {};
    throw missing(kind, reference.name);
  }
  const entries = Object.entries(found.data ?? {}).map(([key, value]) => [`${prefix}${key}`, kind === "secret" ? decode(value) : value] as const);
  return Object.fromEntries(entries);
}

async function referenced(pod: Pod, container: Container, entry: EnvVar, facts: PodFacts, source: ReferenceSource): Promise<string | undefined> {
  const from = entry.valueFrom as EnvVar["valueFrom"] & { resourceFieldRef?: ResourceFieldRef };
  if (from.fieldRef !== undefined) {
    const value = fieldValue(pod, from.fieldRef.fieldPath, facts);
    if (value === undefined) throw new DrayError("KUBE_INVALID", `Cannot set "${entry.name}": fieldPath "${from.fieldRef.fieldPath}" is not supported`);
    return value;
  }
  if (from.resourceFieldRef !== undefined) {
    return resourceValue(pod, from.resourceFieldRef.containerName === undefined ? container : undefined, from.resourceFieldRef, facts);
  }
  const reference = from.secretKeyRef ?? from.configMapKeyRef;
  if (reference === undefined) return undefined;
  const kind = from.secretKeyRef === undefined ? "configmap" : "secret";
  const found = kind === "secret" ? await source.secret(reference.name) : await source.configMap(reference.name);
  const value = found?.data?.[reference.key];
  if (value !== undefined) return kind === "secret" ? decode(value) : value;
  if (reference.optional === true) return undefined;
  if (found === undefined) throw missing(kind, reference.name);
  throw new DrayError(
    "KUBE_NOT_FOUND",
    `couldn't find key ${reference.key} in ${kind === "secret" ? "Secret" : "ConfigMap"} ${podKey(pod).namespace}/${reference.name}`,
  );
}

function missing(kind: string, name: string): DrayError {
  return new DrayError("KUBE_NOT_FOUND", `${kind} "${name}" not found`);
}

function decode(base64: string): string {
  return fromUtf8(fromBase64(base64) ?? new Uint8Array());
}

/** One `key="value"` a line, sorted, as the downward API writes maps. */
function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}
