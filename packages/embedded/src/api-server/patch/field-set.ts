/**
 * Sets of fields, as metadata.managedFields keeps them: a tree whose keys are `f:name` for a field, `k:{"key":…}` for an item of a list with keys, `v:…` for a member of a
 * set of scalars; `.` says that the node itself belongs to the set. Here a set is the paths of its members.
 */

import { fieldSchema, itemSchema, resolveSchema } from "@drayage/kube/patch";
import type { OpenApiSchema } from "@drayage/protocols/kubernetes";
import { equal, isObject, type Json, type JsonObject } from "../json.ts";

/** Members by their paths, with what stands there; containers that are members stand for themselves with `null`. */
export type FieldValues = ReadonlyMap<string, Json>;
export type FieldSet = ReadonlySet<string>;

const SEPARATOR = "\u0000";
/** Fields nobody manages. */
const UNMANAGED: ReadonlySet<string> = new Set(
  [
    "apiVersion",
    "kind",
    ...[
      "name",
      "namespace",
      "uid",
      "resourceVersion",
      "generation",
      "creationTimestamp",
      "selfLink",
      "managedFields",
      "deletionTimestamp",
      "deletionGracePeriodSeconds",
    ].map((it) => `metadata${SEPARATOR}${it}`),
  ].map((it) =>
    it
      .split(SEPARATOR)
      .map((key) => `f:${key}`)
      .join(SEPARATOR),
  ),
);

/**
 * The members of an object. With `containers` every map and list is a member too, so that one that is new is owned by whoever brought it, as in the sets of updates; an applied
 * configuration owns only what it lists.
 */
export function fieldValues(object: JsonObject, schema: OpenApiSchema | undefined, containers: boolean): FieldValues {
  const members = new Map<string, Json>();
  collect(object, schema, "", members, containers);
  for (const path of UNMANAGED) members.delete(path);
  return members;
}

function collect(value: Json, schema: OpenApiSchema | undefined, path: string, members: Map<string, Json>, containers: boolean): void {
  const it = resolveSchema(schema);
  if (isObject(value) && !isAtomicMap(it)) {
    const entries = Object.entries(value).filter(([, child]) => child !== undefined);
    if (path !== "" && (entries.length === 0 || containers)) members.set(path, null);
    for (const [key, child] of entries) collect(child ?? null, fieldSchema(it, key), join(path, `f:${key}`), members, containers);
    return;
  }
  const listType = it?.["x-kubernetes-list-type"];
  if (Array.isArray(value) && (listType === "map" || listType === "set")) {
    if (containers) members.set(path, null);
    for (const item of value) {
      const itemPath = join(path, itemKey(item, it));
      members.set(itemPath, listType === "set" ? item : null);
      if (listType === "map") collect(item, itemSchema(it), itemPath, members, containers);
    }
    return;
  }
  members.set(path, value);
}

/** Maps that are one value: by declaration, and objects of a built-in kind that may hold anything. */
export function isAtomicMap(schema: OpenApiSchema | undefined): boolean {
  if (schema === undefined) return false;
  if (schema["x-kubernetes-map-type"] === "atomic") return true;
  return (
    schema.type === "object" &&
    schema.properties === undefined &&
    schema.additionalProperties === undefined &&
    schema["x-kubernetes-preserve-unknown-fields"] !== true
  );
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}${SEPARATOR}${key}`;
}

/** How a list names an item: by its keys, with the schema's defaults for those not given, or by its value. */
export function itemKey(item: Json, list: OpenApiSchema | undefined): string {
  const keys = list?.["x-kubernetes-list-map-keys"];
  if (list?.["x-kubernetes-list-type"] !== "map" || keys === undefined || !isObject(item)) return `v:${JSON.stringify(item)}`;
  const properties = itemSchema(list)?.properties;
  const named = keys.toSorted().flatMap((key) => {
    const value = item[key] ?? (resolveSchema(properties?.[key])?.default as Json | undefined);
    return value === undefined ? [] : [[key, value] as const];
  });
  return `k:${JSON.stringify(Object.fromEntries(named))}`;
}

/** The field at the top that a path is in. */
export const topOf = (path: string): string => path.split(SEPARATOR, 1)[0] ?? "";

/** Members of `after` that are new or differ, and members of `before` that are gone, as far as `includes` lets them count. */
export function difference(
  before: FieldValues,
  after: FieldValues,
  includes: (path: string) => boolean,
): { readonly changed: FieldSet; readonly removed: FieldSet } {
  const changed = new Set<string>();
  const removed = new Set<string>();
  for (const [path, value] of after) if ((!before.has(path) || !equal(before.get(path), value)) && includes(path)) changed.add(path);
  for (const path of before.keys()) if (!after.has(path) && includes(path)) removed.add(path);
  return { changed, removed };
}

/** The members of a set that are in none of the others. */
export function minus(set: FieldSet, ...others: readonly FieldSet[]): Set<string> {
  const out = new Set<string>();
  for (const path of set) if (!others.some((other) => other.has(path))) out.add(path);
  return out;
}

export function treeToSet(tree: JsonObject): Set<string> {
  const found = new Set<string>();
  const walk = (node: JsonObject, path: string): void => {
    const keys = Object.keys(node);
    if (path !== "" && (keys.length === 0 || node["."] !== undefined)) found.add(path);
    for (const key of keys) {
      const child = node[key];
      if (key !== "." && isObject(child)) walk(child, join(path, key));
    }
  };
  walk(tree, "");
  return found;
}

export function setToTree(set: FieldSet): JsonObject {
  const tree: JsonObject = {};
  const inner = new Set<string>();
  for (const path of set) {
    const keys = path.split(SEPARATOR);
    for (let length = 1; length < keys.length; length++) inner.add(keys.slice(0, length).join(SEPARATOR));
  }
  for (const path of [...set].sort()) {
    let node = tree;
    for (const key of path.split(SEPARATOR)) {
      const child = node[key];
      if (isObject(child)) node = child;
      else {
        const made: JsonObject = {};
        node[key] = made;
        node = made;
      }
    }
    if (inner.has(path)) node["."] = {};
  }
  return tree;
}

/** A path as messages show it: `.spec.containers[name="web"].image`. */
export function pathText(path: string): string {
  return path
    .split(SEPARATOR)
    .map((key) => {
      const rest = key.slice(2);
      if (key.startsWith("f:")) return `.${rest}`;
      if (key.startsWith("v:")) return `[=${rest}]`;
      const keys = JSON.parse(rest) as JsonObject;
      return `[${Object.entries(keys)
        .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
        .join(",")}]`;
    })
    .join("");
}

/** Removes what stands at a path, in place. Containers that become empty stay, as the server keeps them. */
export function removeAt(object: JsonObject, path: string, schema: OpenApiSchema | undefined): void {
  const keys = path.split(SEPARATOR);
  let value: Json | undefined = object;
  let at = resolveSchema(schema);
  for (const [index, key] of keys.entries()) {
    const last = index === keys.length - 1;
    if (key.startsWith("f:")) {
      if (!isObject(value)) return;
      const name = key.slice(2);
      if (last) delete value[name];
      else {
        at = fieldSchema(at, name);
        value = Object.hasOwn(value, name) ? value[name] : undefined;
      }
    } else {
      if (!Array.isArray(value)) return;
      const list = at;
      const found = value.findIndex((item) => itemKey(item, list) === key);
      if (found === -1) return;
      if (last) value.splice(found, 1);
      else {
        value = value[found];
        at = itemSchema(list);
      }
    }
  }
}

/** Whether a set has a member at or below a path. */
export function ownsBelow(set: FieldSet, path: string): boolean {
  if (set.has(path)) return true;
  for (const other of set) if (other.startsWith(`${path}${SEPARATOR}`)) return true;
  return false;
}
