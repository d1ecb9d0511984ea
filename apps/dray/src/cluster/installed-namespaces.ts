import { hasCode } from "@drayage/base";
import { daemonSets, deployments, type KubeClient, type KubeObject, type ResourceType } from "@drayage/kube";

/** By `dray install`, the chart and OLM; and what an operator makes, which is labelled as OADP labels it. */
const SELECTORS = ["app.kubernetes.io/name=drayage", "app.kubernetes.io/managed-by=drayage-operator"];
const WORKLOADS = [deployments, daemonSets] as readonly unknown[] as readonly ResourceType<KubeObject>[];

/** The namespaces that have a server, an operator or node-agents of Drayage; undefined where one may not see that of the whole cluster. */
export async function installedNamespaces(client: KubeClient, signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
  const found = new Set<string>();
  try {
    for (const type of WORKLOADS)
      for (const labelSelector of SELECTORS)
        for await (const { metadata } of client.listAll(type, { labelSelector, signal }))
          if (metadata.deletionTimestamp === undefined) found.add(metadata.namespace ?? "");
  } catch (error) {
    if (!hasCode(error, "KUBE_FORBIDDEN")) throw error;
    return undefined;
  }
  return found;
}
