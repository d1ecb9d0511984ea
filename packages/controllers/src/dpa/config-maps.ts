/** ConfigMaps through which a DataProtectionApplication speaks to node-agents, repositories and their maintenance. One that would say nothing is not made. */
import type { DataProtectionApplication } from "@drayage/api";
import { nameOf, type OwnedManifest, ownLabels } from "./owned-manifest.ts";
import type { Spec } from "./spec.ts";

export const configMapNames = {
  nodeAgent: (dpa: DataProtectionApplication): string => `node-agent-${nameOf(dpa)}`,
  repository: (dpa: DataProtectionApplication): string => `backup-repository-${nameOf(dpa)}`,
  maintenance: (dpa: DataProtectionApplication): string => `repository-maintenance-${nameOf(dpa)}`,
  versions: "enableapigroupversions",
} as const;

export function desiredConfigMaps(dpa: DataProtectionApplication, spec: Spec): OwnedManifest[] {
  const priority = spec.configuration.velero?.restoreResourcesVersionPriority ?? "";
  return [
    configMap(dpa, configMapNames.nodeAgent(dpa), "node-agent-config", nodeAgentData(spec)),
    configMap(dpa, configMapNames.repository(dpa), "backup-repository-config", repositoryData(spec)),
    configMap(dpa, configMapNames.maintenance(dpa), "repository-maintenance-config", maintenanceData(spec)),
    configMap(dpa, configMapNames.versions, "velero-config", priority === "" ? undefined : { restoreResourcesVersionPriority: priority }),
  ].filter((manifest) => manifest !== undefined);
}

function configMap(dpa: DataProtectionApplication, name: string, component: string, data: Record<string, string> | undefined): OwnedManifest | undefined {
  if (data === undefined) return undefined;
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace: dpa.metadata.namespace ?? "", labels: ownLabels(nameOf(dpa), component) },
    data,
  };
}

/** Velero reads the value of whichever key there is, so there is exactly one. */
export function nodeAgentData({ configuration }: Spec): Record<string, string> | undefined {
  const { nodeAgent } = configuration;
  if (nodeAgent?.enable !== true) return undefined;
  const { loadConcurrency, loadAffinity, backupPVC, restorePVC, podResources } = nodeAgent;
  const text = JSON.stringify({ loadConcurrency, loadAffinity, backupPVC, restorePVC, podResources });
  return text === "{}" ? undefined : { "node-agent-config": text };
}

export function repositoryData({ configuration }: Spec): Record<string, string> | undefined {
  const { cacheLimitMB, fullMaintenanceInterval } = configuration.nodeAgent ?? {};
  const text = JSON.stringify({ cacheLimitMB, fullMaintenanceInterval });
  return text === "{}" ? undefined : { kopia: text };
}

/** One data key an entry, as Velero looks it up (`global`, or namespace, location and type joined by dashes). OADP writes them all into one key, where Velero does not find them. */
export function maintenanceData({ configuration }: Spec): Record<string, string> | undefined {
  const entries = Object.entries(configuration.repositoryMaintenance ?? {});
  return entries.length === 0 ? undefined : Object.fromEntries(entries.map(([key, value]) => [key, JSON.stringify(value)]));
}
