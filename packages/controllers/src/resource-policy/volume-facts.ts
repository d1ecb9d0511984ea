/** What a policy's conditions look at of a volume, and whether they hold. */
import { type GenericObject, type PersistentVolume, type PersistentVolumeClaim, type Volume as PodVolume, parseQuantity } from "@drayage/kube";
import { type ResourcePolicies, VOLUME_TYPES, type VolumeConditions, type VolumePolicy } from "./resource-policies.ts";

export interface VolumeFacts {
  /** Bytes, in billionths. */
  readonly capacity: bigint;
  readonly storageClass: string;
  readonly nfs: { readonly server: string; readonly path: string } | undefined;
  readonly csi: { readonly driver: string; readonly volumeAttributes: Readonly<Record<string, string>> } | undefined;
  readonly type: string | undefined;
  readonly claimLabels: Readonly<Record<string, string>>;
  readonly claimPhase: string;
}

/** Facts of a claim and the volume it is bound to, if there is one. */
export function factsOfClaim(claim: PersistentVolumeClaim | undefined, volume: PersistentVolume | undefined): VolumeFacts {
  const spec = volume?.spec;
  return {
    capacity: parseQuantity(spec?.capacity?.["storage"] ?? "0")?.nanos ?? 0n,
    storageClass: spec?.storageClassName ?? "",
    nfs: spec?.nfs,
    csi: spec?.csi === undefined ? undefined : { driver: spec.csi.driver, volumeAttributes: spec.csi.volumeAttributes ?? {} },
    type: spec === undefined ? undefined : typeIn(spec as unknown as GenericObject),
    claimLabels: claim?.metadata.labels ?? {},
    claimPhase: claim?.status?.phase ?? "",
  };
}

/** Facts of a volume that a pod has without a claim. */
export function factsOfPodVolume(volume: PodVolume): VolumeFacts {
  const source = volume as unknown as {
    readonly nfs?: { readonly server: string; readonly path: string };
    readonly csi?: { readonly driver: string; readonly volumeAttributes?: Readonly<Record<string, string>> };
  };
  return {
    capacity: 0n,
    storageClass: "",
    nfs: source.nfs,
    csi: source.csi === undefined ? undefined : { driver: source.csi.driver, volumeAttributes: source.csi.volumeAttributes ?? {} },
    type: typeIn(volume as unknown as GenericObject),
    claimLabels: {},
    claimPhase: "",
  };
}

function typeIn(source: Readonly<Record<string, unknown>>): string | undefined {
  return VOLUME_TYPES.find((type) => source[type] !== undefined && source[type] !== null);
}

/** The first policy all of whose conditions hold. */
export function matchingPolicy(policies: ResourcePolicies | undefined, facts: VolumeFacts): VolumePolicy | undefined {
  return policies?.volumePolicies.find(({ conditions }) => holds(conditions, facts));
}

function holds(conditions: VolumeConditions, facts: VolumeFacts): boolean {
  const { capacity, storageClass = [], nfs, csi, volumeTypes = [], pvcLabels = {}, pvcPhase = [] } = conditions;
  if (capacity?.least !== undefined && facts.capacity < capacity.least) return false;
  if (capacity?.most !== undefined && facts.capacity > capacity.most) return false;
  if (storageClass.length > 0 && !storageClass.includes(facts.storageClass)) return false;
  if (nfs !== undefined) {
    if (facts.nfs === undefined) return false;
    if (nfs.server !== "" && nfs.server !== facts.nfs.server) return false;
    if (nfs.path !== "" && nfs.path !== facts.nfs.path) return false;
  }
  if (csi !== undefined) {
    if (facts.csi === undefined) return false;
    if (csi.driver !== "" && csi.driver !== facts.csi.driver) return false;
    for (const [key, value] of Object.entries(csi.volumeAttributes)) if (facts.csi.volumeAttributes[key] !== value) return false;
  }
  if (volumeTypes.length > 0 && !volumeTypes.includes(facts.type ?? "")) return false;
  for (const [key, value] of Object.entries(pvcLabels)) if (facts.claimLabels[key] !== value) return false;
  return pvcPhase.length === 0 || pvcPhase.includes(facts.claimPhase);
}
