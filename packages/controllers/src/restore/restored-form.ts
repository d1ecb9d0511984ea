/** Objects without what belongs to one cluster and one moment, and what differs between two of them. */
import { LABELS, validLabelValue } from "@drayage/api";
import type { GenericObject, ServiceAccount } from "@drayage/kube";

/** Fields of metadata that the API server or the old cluster's controllers had set. Finalizers stay: they are promises of the kinds themselves. */
const CLUSTER_FIELDS = [
  "generateName",
  "selfLink",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "ownerReferences",
  "managedFields",
] as const;

/** A copy without what the old cluster had set, and without status. */
export function cleaned(object: GenericObject): GenericObject {
  const copy = structuredClone(object);
  for (const field of CLUSTER_FIELDS) delete (copy.metadata as Record<string, unknown>)[field];
  delete copy["status"];
  return copy;
}

/** A copy that says which restore made it, and of which backup. */
export function withRestoreLabels(object: GenericObject, restoreName: string, backupName: string): GenericObject {
  const labels = { ...object.metadata.labels, [LABELS.backupName]: validLabelValue(backupName), [LABELS.restoreName]: validLabelValue(restoreName) };
  return { ...object, metadata: { ...object.metadata, labels } };
}

/** A copy that says nothing of a restore. */
export function withoutRestoreLabels(object: GenericObject): GenericObject {
  const { [LABELS.backupName]: _backup, [LABELS.restoreName]: _restore, ...labels } = object.metadata.labels ?? {};
  const { labels: _, ...metadata } = object.metadata;
  return { ...object, metadata: Object.keys(labels).length === 0 ? metadata : { ...metadata, labels } };
}

/** Whether two pieces of JSON say the same; the order of keys does not count. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((value, index) => sameJson(value, b[index]));
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  return [...keys].every((key) => sameJson(left[key], right[key]));
}

/** The JSON merge patch (RFC 7386) that makes `after` of `before`; undefined when there is nothing to change. */
export function mergePatchBetween(before: unknown, after: unknown): unknown {
  if (sameJson(before, after)) return undefined;
  if (!isRecord(before) || !isRecord(after)) return after;
  const patch: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (after[key] === undefined) patch[key] = null;
    else if (!sameJson(before[key], after[key])) patch[key] = isRecord(before[key]) ? mergePatchBetween(before[key], after[key]) : after[key];
  }
  return patch;
}

/** An account that exists, with the secrets, labels and annotations that the one in the backup has besides. */
export function mergedServiceAccount(existing: GenericObject, wanted: GenericObject): GenericObject {
  const merged = structuredClone(existing) as unknown as ServiceAccount;
  const account = wanted as unknown as ServiceAccount;
  const union = (a: { name: string }[] = [], b: { name: string }[] = []): { name: string }[] => [
    ...a,
    ...b.filter(({ name }) => !a.some((other) => other.name === name)),
  ];
  const [secrets, pullSecrets] = [union(merged.secrets, account.secrets), union(merged.imagePullSecrets, account.imagePullSecrets)];
  if (secrets.length > 0) merged.secrets = secrets;
  if (pullSecrets.length > 0) merged.imagePullSecrets = pullSecrets;
  for (const marks of ["labels", "annotations"] as const) {
    if (account.metadata[marks] !== undefined) merged.metadata[marks] = { ...account.metadata[marks], ...merged.metadata[marks] };
  }
  return merged as unknown as GenericObject;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
