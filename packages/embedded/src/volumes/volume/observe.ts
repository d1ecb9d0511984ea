import type { Clock } from "@drayage/base";
import { type ObjectKey, persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import type { ObjectReader } from "../steps.ts";
import type { ObservedVolume } from "./volume.ts";

export async function observeVolume(reader: ObjectReader, key: ObjectKey, clock: Clock): Promise<ObservedVolume | undefined> {
  const volume = await reader.find(persistentVolumes, key);
  if (volume === undefined) return undefined;
  const { claimRef } = volume.spec;
  const claim = claimRef?.name === undefined ? undefined : await reader.find(persistentVolumeClaims, { namespace: claimRef.namespace, name: claimRef.name });
  return { volume, claim, nowMs: clock.nowMs() };
}
