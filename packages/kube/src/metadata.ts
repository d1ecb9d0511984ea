/** Small changes to an object's metadata: finalizers, owners, labels. All of them return what is new and leave their argument alone. */
import { invariant } from "@drayage/base";
import { apiVersionOf } from "./resource.ts";
import type { KubeObject, OwnerReference, ResourceType } from "./types.ts";

export function hasFinalizer(object: KubeObject, finalizer: string): boolean {
  return object.metadata.finalizers?.includes(finalizer) ?? false;
}

export function withFinalizer<T extends KubeObject>(object: T, finalizer: string): T {
  if (hasFinalizer(object, finalizer)) return object;
  return { ...object, metadata: { ...object.metadata, finalizers: [...(object.metadata.finalizers ?? []), finalizer] } };
}

export function withoutFinalizer<T extends KubeObject>(object: T, finalizer: string): T {
  if (!hasFinalizer(object, finalizer)) return object;
  return { ...object, metadata: { ...object.metadata, finalizers: (object.metadata.finalizers ?? []).filter((name) => name !== finalizer) } };
}

/** The reference that makes `owner` the controller of another object. The owner must have been stored: its UID is what counts. */
export function controllerReference<T extends KubeObject>(type: ResourceType<T>, owner: T): OwnerReference {
  const { name, uid } = owner.metadata;
  invariant(name !== undefined && uid !== undefined, `Cannot make a ${type.kind} the owner of another object: it has not been stored yet`);
  return { apiVersion: apiVersionOf(type), kind: type.kind, name, uid, controller: true };
}

/** Whether `object` is owned by exactly this other object (by UID, so not by a namesake of an earlier life). */
export function isOwnedBy(object: KubeObject, owner: KubeObject): boolean {
  const uid = owner.metadata.uid;
  return uid !== undefined && (object.metadata.ownerReferences?.some((reference) => reference.uid === uid) ?? false);
}

export function isDeleting(object: KubeObject): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

/** Sets labels; a value of undefined removes one. */
export function withLabels<T extends KubeObject>(object: T, labels: Readonly<Record<string, string | undefined>>): T {
  const merged: Record<string, string> = { ...object.metadata.labels };
  for (const [key, value] of Object.entries(labels)) {
    if (value === undefined) delete merged[key];
    else merged[key] = value;
  }
  const { labels: _, ...metadata } = object.metadata;
  return { ...object, metadata: Object.keys(merged).length === 0 ? metadata : { ...metadata, labels: merged } };
}
