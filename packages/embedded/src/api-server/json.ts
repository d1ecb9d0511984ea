/** JSON values as the API keeps them. What is in the store is shared and never changed: code that edits an object clones it first. */

import { isObject, type Json, type JsonObject } from "@drayage/kube/patch";

export { clone, equal, isObject, type Json, type JsonObject, setOwn } from "@drayage/kube/patch";

export interface Meta extends JsonObject {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: (JsonObject & { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean; blockOwnerDeletion?: boolean })[];
  managedFields?: JsonObject[];
}

/** An object of the API. */
export interface ApiObject extends JsonObject {
  apiVersion: string;
  kind: string;
  metadata: Meta;
}

/** The value at a path of keys, or undefined. */
export function at(value: unknown, ...path: readonly (string | number)[]): Json | undefined {
  let here = value as Json | undefined;
  for (const key of path) {
    if (Array.isArray(here)) here = here[Number(key)];
    else if (isObject(here) && Object.hasOwn(here, key)) here = here[key];
    else return undefined;
  }
  return here;
}

export const textAt = (value: unknown, ...path: readonly (string | number)[]): string => {
  const found = at(value, ...path);
  return typeof found === "string" ? found : "";
};
export const numberAt = (value: unknown, ...path: readonly (string | number)[]): number | undefined => {
  const found = at(value, ...path);
  return typeof found === "number" ? found : undefined;
};
export const objectAt = (value: unknown, ...path: readonly (string | number)[]): JsonObject | undefined => {
  const found = at(value, ...path);
  return isObject(found) ? found : undefined;
};
/** The objects of a list; what is not an object is left out. */
export const objectsAt = (value: unknown, ...path: readonly (string | number)[]): JsonObject[] => {
  const found = at(value, ...path);
  return Array.isArray(found) ? found.filter(isObject) : [];
};
export const textsAt = (value: unknown, ...path: readonly (string | number)[]): string[] => {
  const found = at(value, ...path);
  return Array.isArray(found) ? found.filter((it): it is string => typeof it === "string") : [];
};

/** Sets `object[key]` to `value()` when it is not there, and returns it. */
export function ensureObject(object: JsonObject, key: string): JsonObject {
  const found = object[key];
  if (isObject(found)) return found;
  const made: JsonObject = {};
  object[key] = made;
  return made;
}

/** Sets a field that is absent or null. */
export function setDefault(object: JsonObject, key: string, value: Json): void {
  if (object[key] === undefined || object[key] === null) object[key] = value;
}
