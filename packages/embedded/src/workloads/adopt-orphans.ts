/**
 * Orphans that match a workload's selector become its own, as Kubernetes has it. A restore depends on this: it creates pods, then ReplicaSets, then Deployments,
 * none with an owner, and each must take what is there rather than make it anew.
 */
import { hasCode } from "@drayage/base";
import {
  controllerReference,
  type Informer,
  isDeleting,
  type KubeClient,
  type KubeObject,
  keyOf,
  type LabelSelector,
  matchesLabels,
  type ResourceType,
} from "@drayage/kube";

/** The selector of a workload; undefined for one that has none or an empty one, which owns nothing by its labels. */
function selectorOf(owner: KubeObject): LabelSelector | undefined {
  const selector = (owner as { spec?: { selector?: LabelSelector } }).spec?.selector;
  const conditions = Object.keys(selector?.matchLabels ?? {}).length + (selector?.matchExpressions?.length ?? 0);
  return conditions === 0 ? undefined : selector;
}

const isOrphan = (object: KubeObject): boolean => !isDeleting(object) && !(object.metadata.ownerReferences ?? []).some(({ controller }) => controller === true);

/** Whether this orphan is one that the owner takes. A StatefulSet takes only pods that bear its name. */
export function takes(owner: KubeObject, kind: string, orphan: KubeObject): boolean {
  const selector = selectorOf(owner);
  if (selector === undefined || kind === "Job" || isDeleting(owner) || orphan.metadata.namespace !== owner.metadata.namespace) return false;
  if (kind === "StatefulSet" && orphan.metadata.name?.startsWith(`${owner.metadata.name}-`) !== true) return false;
  return isOrphan(orphan) && matchesLabels(selector, orphan.metadata.labels);
}

/** Makes the owner the controller of every orphan it takes, and returns how many there were. */
export async function adoptOrphans<T extends KubeObject, C extends KubeObject>(
  client: Pick<KubeClient, "patch">,
  ownerType: ResourceType<T>,
  owner: T,
  children: Informer<C>,
): Promise<number> {
  const orphans = children.list(owner.metadata.namespace).filter((child) => takes(owner, ownerType.kind, child));
  for (const orphan of orphans) {
    const ownerReferences = [...(orphan.metadata.ownerReferences ?? []), controllerReference(ownerType, owner)];
    try {
      await client.patch(children.type, keyOf(orphan), "merge", {
        metadata: { uid: orphan.metadata.uid, resourceVersion: orphan.metadata.resourceVersion, ownerReferences },
      });
    } catch (error) {
      // It changed, or is gone; the event of that brings the owner back here.
      if (!hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND")) throw error;
    }
  }
  return orphans.length;
}
