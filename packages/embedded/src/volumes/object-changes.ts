/** Changes of claims and volumes as new objects. */
import { formatTime } from "@drayage/base";
import type { KubeObject, PersistentVolume, PersistentVolumeClaim } from "@drayage/kube";

/** Sets annotations; a value of undefined removes one. The object itself comes back when nothing changes. */
export function withAnnotations<T extends KubeObject>(object: T, annotations: Readonly<Record<string, string | undefined>>): T {
  const before = object.metadata.annotations ?? {};
  if (Object.entries(annotations).every(([key, value]) => before[key] === value)) return object;
  const merged = Object.entries({ ...before, ...annotations }).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const { annotations: _, ...metadata } = object.metadata;
  return { ...object, metadata: merged.length === 0 ? metadata : { ...metadata, annotations: Object.fromEntries(merged) } };
}

export function annotationOf(object: KubeObject, key: string): string | undefined {
  return object.metadata.annotations?.[key];
}

export type VolumePhase = NonNullable<NonNullable<PersistentVolume["status"]>["phase"]>;
export type ClaimPhase = NonNullable<NonNullable<PersistentVolumeClaim["status"]>["phase"]>;

/** The volume in this phase, or undefined when it is already. A new phase carries the time at which it was entered. */
export function volumeInPhase(volume: PersistentVolume, phase: VolumePhase, nowMs: number): PersistentVolume | undefined {
  if (volume.status?.phase === phase) return undefined;
  const status: PersistentVolume["status"] & { lastPhaseTransitionTime: string } = { phase, lastPhaseTransitionTime: formatTime(nowMs) };
  return { ...volume, status };
}

/** The claim in this phase, or undefined when it is already. Capacity and access modes are those of the volume it is bound to. */
export function claimInPhase(claim: PersistentVolumeClaim, phase: ClaimPhase, volume?: PersistentVolume): PersistentVolumeClaim | undefined {
  const { accessModes: _modes, capacity: _capacity, ...kept } = claim.status ?? {};
  const ofVolume = volume === undefined ? {} : { accessModes: volume.spec.accessModes ?? [], capacity: claim.status?.capacity ?? volume.spec.capacity ?? {} };
  const status = { ...kept, ...ofVolume, phase };
  return sameJson(claim.status ?? {}, status) ? undefined : { ...claim, status };
}

/** Whether two plain values are equal, whatever the order of their fields. */
export function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, child]) => child !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, child]) => [key, sorted(child)]),
  );
}
