import type { GenericObject } from "@drayage/kube";
import type { RestoreAction } from "./restore-action.ts";

interface ServicePort {
  name?: string;
  port?: number;
  nodePort?: number;
}

interface ServiceSpec {
  type?: string;
  clusterIP?: string;
  clusterIPs?: string[];
  externalTrafficPolicy?: string;
  healthCheckNodePort?: number;
  ports?: ServicePort[];
}

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/**
 * A service loses the addresses and node ports that the old cluster had picked for it. Ports that its owner had chosen stay: those that were applied with kubectl,
 * on the client's side (noted in an annotation) or the server's (noted in managedFields), and all of them when the restore preserves node ports.
 */
export const serviceRestoreAction: RestoreAction = {
  name: "velero.io/service",
  groupResource: "services",
  async execute(item, { restore, itemFromBackup }) {
    const service = structuredClone(item) as GenericObject & { spec?: ServiceSpec };
    const { spec } = service;
    if (spec === undefined) return { item: service };
    if (spec.clusterIP !== "None") {
      delete spec.clusterIP;
      delete spec.clusterIPs;
    }
    if (restore.spec.preserveNodePorts === true || spec.type === "ExternalName") return { item: service };
    const chosen = chosenPorts(itemFromBackup);
    for (const port of spec.ports ?? []) if (port.nodePort !== undefined && !chosen.has(portKey(port))) delete port.nodePort;
    const healthChecked = spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
    if (healthChecked && !choseHealthCheckPort(itemFromBackup)) delete spec.healthCheckNodePort;
    return { item: service };
  },
};

/** A port by its name, which is unique where there are several, or by its number. */
function portKey({ name, port }: ServicePort): string {
  return name === undefined || name === "" ? `#${port}` : name;
}

function chosenPorts(service: GenericObject): ReadonlySet<string> {
  const applied = (lastApplied(service)?.ports ?? []).filter(({ nodePort }) => Number(nodePort ?? 0) > 0).map(portKey);
  const managed = managedSpecs(service).flatMap((fields) =>
    Object.entries((fields["f:ports"] ?? {}) as Record<string, Record<string, unknown>>)
      .filter(([key, owned]) => key.startsWith("k:") && "f:nodePort" in owned)
      .map(([key]) => JSON.parse(key.slice(2)) as ServicePort),
  );
  const ports = (service as { spec?: ServiceSpec }).spec?.ports ?? [];
  const managedKeys = ports.filter((port) => managed.some((owned) => owned.port === port.port)).map(portKey);
  return new Set([...applied, ...managedKeys]);
}

function choseHealthCheckPort(service: GenericObject): boolean {
  if ((lastApplied(service)?.healthCheckNodePort ?? 0) > 0) return true;
  return managedSpecs(service).some((fields) => "f:healthCheckNodePort" in fields);
}

function lastApplied({ metadata }: GenericObject): ServiceSpec | undefined {
  try {
    return (JSON.parse(metadata.annotations?.[LAST_APPLIED] ?? "null") as { spec?: ServiceSpec } | null)?.spec;
  } catch {
    // Whoever wrote the annotation, it was not kubectl.
    return undefined;
  }
}

/** The fields of the spec that somebody other than the API server's own defaults has set. */
function managedSpecs({ metadata }: GenericObject): Record<string, unknown>[] {
  return (metadata.managedFields ?? []).flatMap((entry) => {
    const { fieldsV1 } = entry as { fieldsV1?: { "f:spec"?: Record<string, unknown> } };
    return fieldsV1?.["f:spec"] === undefined ? [] : [fieldsV1["f:spec"]];
  });
}
