import type { Clock } from "@drayage/base";
import { type ObjectKey, type Pod, persistentVolumeClaims, persistentVolumes, pods, storageClasses } from "@drayage/kube";
import type { ObjectReader } from "../steps.ts";
import type { ObservedClaim } from "./claim.ts";

export async function observeClaim(reader: ObjectReader, key: ObjectKey, clock: Clock): Promise<ObservedClaim | undefined> {
  const claim = await reader.find(persistentVolumeClaims, key);
  if (claim === undefined) return undefined;
  const users = (await reader.list(pods, key.namespace)).filter((pod) => claimsOf(pod).includes(key.name));
  const hasNode = (pod: Pod): boolean => (pod.spec.nodeName ?? "") !== "";
  return {
    claim,
    volumes: await reader.list(persistentVolumes),
    classes: await reader.list(storageClasses),
    usedBy: users.filter(hasNode).map((pod) => pod.metadata.name ?? ""),
    waitedForBy: users.filter((pod) => !hasNode(pod)).map((pod) => pod.metadata.name ?? ""),
    nowMs: clock.nowMs(),
  };
}

/** Names of the claims that a pod uses. */
export function claimsOf(pod: Pod): readonly string[] {
  return (pod.spec.volumes ?? []).flatMap((volume) => volume.persistentVolumeClaim?.claimName ?? []);
}
