/** The spec of a DataProtectionApplication as it is meant: what one field says about another is filled in, in memory only. */
import type { DataProtectionApplicationSpec } from "@drayage/api";

export type Spec = DataProtectionApplicationSpec;
export type VeleroSpec = NonNullable<Spec["configuration"]["velero"]>;
export type NodeAgentSpec = NonNullable<Spec["configuration"]["nodeAgent"]>;
export type PodConfig = NonNullable<VeleroSpec["podConfig"]>;
export type LoadAffinity = NonNullable<VeleroSpec["loadAffinity"]>;
export type BackupLocation = NonNullable<Spec["backupLocations"]>[number];
export type SnapshotLocation = NonNullable<Spec["snapshotLocations"]>[number];

/** True unless the spec says otherwise. */
export function backsUpImages(spec: Spec): boolean {
  return spec.backupImages ?? true;
}

/** Plug-in csi switches on its feature, versions to be restored first switch on theirs, duplicates go, and a node selector of the node-agent holds for its movers. */
export function correctedSpec(spec: Spec): Spec {
  const { velero, nodeAgent } = spec.configuration;
  const featureFlags = unique([
    ...(velero?.featureFlags ?? []),
    ...(velero?.defaultPlugins?.includes("csi") === true ? ["EnableCSI"] : []),
    ...((velero?.restoreResourcesVersionPriority ?? "") === "" ? [] : ["EnableAPIGroupVersions"]),
  ]);
  const nodeSelector = nodeAgent?.podConfig?.nodeSelector;
  const affinity = nodeAgent?.loadAffinity ?? (nodeSelector === undefined ? undefined : [{ nodeSelector: { matchLabels: nodeSelector } }]);
  return {
    ...spec,
    configuration: {
      ...spec.configuration,
      velero: { ...velero, featureFlags, defaultPlugins: unique(velero?.defaultPlugins ?? []) },
      ...(nodeAgent === undefined ? {} : { nodeAgent: { ...nodeAgent, ...(affinity === undefined ? {} : { loadAffinity: affinity }) } }),
    },
  };
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
