import { nodes, type ObjectKey, persistentVolumeClaims, persistentVolumes, storageClasses } from "@drayage/kube";
import type { ObjectReader } from "../steps.ts";
import type { MadeVolumes } from "./made-volumes.ts";
import { type ObservedRequest, volumeNameOf } from "./provision.ts";
import type { ObservedReclaim } from "./reclaim.ts";
import { resolveSource } from "./source.ts";

export async function observeRequest(
  reader: ObjectReader,
  key: ObjectKey,
  { driverName, made }: { readonly driverName: string; readonly made: MadeVolumes },
): Promise<ObservedRequest | undefined> {
  const claim = await reader.find(persistentVolumeClaims, key);
  if (claim === undefined) return undefined;
  const className = claim.spec.storageClassName ?? "";
  return {
    driverName,
    claim,
    storageClass: className === "" ? undefined : await reader.find(storageClasses, { name: className }),
    volume: made.latest(volumeNameOf(claim), await reader.find(persistentVolumes, { name: volumeNameOf(claim) })),
    source: await resolveSource(reader, claim, driverName),
    nodes: (await reader.list(nodes)).toSorted((a, b) => ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1)),
  };
}

export async function observeReclaim(reader: ObjectReader, key: ObjectKey, driverName: string): Promise<ObservedReclaim | undefined> {
  const volume = await reader.find(persistentVolumes, key);
  return volume === undefined ? undefined : { driverName, volume };
}
