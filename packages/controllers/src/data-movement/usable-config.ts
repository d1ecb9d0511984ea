/** What of a node-agent ConfigMap can be used in this cluster. Looked at once, when a node-agent starts: what cannot is left out with a warning, as Velero does (velero.md 3.2). */
import { dispositionOf, errorFields, hasCode, type Logger } from "@drayage/base";
import { type KubeClient, parseQuantity, priorityClasses, storageClasses } from "@drayage/kube";
import { type NodeAgentConfig, unknownFields } from "./node-agent-config.ts";

/** Throws what reading the cluster throws where that may pass; what may not be read is left as it is. */
export async function usableConfig(config: NodeAgentConfig, deps: { readonly client: KubeClient; readonly logger: Logger }): Promise<NodeAgentConfig> {
  const { priorityClassName, cachePVC, podResources, ...rest } = config;
  const unusable = (field: string, reason: string): undefined => {
    deps.logger.warn("Leaving out what the node-agent ConfigMap says", { field, reason });
    return undefined;
  };
  for (const field of unknownFields(config)) unusable(field, "nothing here knows it");
  const wrongResource = Object.entries(podResources ?? {}).find(([, text]) => text !== undefined && text !== "" && parseQuantity(text) === undefined);
  const priority = await looked(deps.logger, "priorityClassName", priorityClassName, () => whyNoPriority(deps.client, priorityClassName));
  const cache = await looked(deps.logger, "cachePVC", cachePVC, () => whyNoCache(deps.client, cachePVC));
  const usable = {
    priorityClassName: priority === undefined ? priorityClassName : unusable("priorityClassName", priority),
    cachePVC: cache === undefined ? cachePVC : unusable("cachePVC", cache),
    podResources:
      wrongResource === undefined
        ? podResources
        : unusable("podResources", `${wrongResource[0]} "${wrongResource[1]}" is not a quantity such as "500m" or "1Gi"`),
  };
  return { ...rest, ...Object.fromEntries(Object.entries(usable).filter(([, value]) => value !== undefined)) };
}

/** Why a field cannot be used; undefined where it can, where it is not there, and where that may not be looked at. */
async function looked(logger: Logger, field: string, value: unknown, look: () => Promise<string | undefined>): Promise<string | undefined> {
  if (value === undefined || value === "") return undefined;
  try {
    return await look();
  } catch (error) {
    if (!hasCode(error, "KUBE_FORBIDDEN") && dispositionOf(error) === "retry") throw error;
    logger.warn("Cannot check what the node-agent ConfigMap says", { field, ...errorFields(error) });
    return undefined;
  }
}

async function whyNoPriority(client: KubeClient, name = ""): Promise<string | undefined> {
  // The API server refuses pods of a class that is not there, and so every movement would fail.
  return (await client.find(priorityClasses, { name })) === undefined ? `priority class "${name}" does not exist; movers get the cluster's default` : undefined;
}

async function whyNoCache(
  client: KubeClient,
  { storageClass = "", residentThresholdInMB }: NonNullable<NodeAgentConfig["cachePVC"]> = {},
): Promise<string | undefined> {
  if (storageClass === "") return "storageClass is missing";
  if (residentThresholdInMB !== undefined && (!Number.isSafeInteger(residentThresholdInMB) || residentThresholdInMB < 0))
    return `residentThresholdInMB ${JSON.stringify(residentThresholdInMB)} is not a number of MiB`;
  const found = await client.find(storageClasses, { name: storageClass });
  if (found === undefined) return `storage class "${storageClass}" does not exist`;
  return found.reclaimPolicy === "Retain"
    ? `storage class "${storageClass}" retains its volumes: Delete is wanted, or each restore would leave one behind`
    : undefined;
}
