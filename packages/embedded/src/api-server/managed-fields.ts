/**
 * metadata.managedFields: which manager last set which field. An update gives its manager every field it changed and takes those from the others; an apply owns exactly what it
 * lists.
 */
import { type ApiObject, isObject, type JsonObject, objectAt, textAt } from "./json.ts";
import { difference, type FieldSet, type FieldValues, fieldValues, minus, setToTree, topOf, treeToSet } from "./patch/field-set.ts";
import { apiVersionOf, type ServedResource, schemaOf } from "./served-resource.ts";
import { readTyped } from "./typed-codec.ts";

export interface ManagerEdit {
  readonly manager: string;
  readonly apiVersion: string;
  readonly time: string;
  readonly subresource: string | undefined;
  /** The fields of an apply, and those it takes from others by force. What an update owns is found by comparing. */
  readonly applied?: { readonly set: FieldSet; readonly taken: FieldSet };
}

export interface ManagedEntry {
  readonly manager: string;
  readonly operation: string;
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly set: FieldSet;
}

/** Entries of an object, the unreadable ones left out. */
export function managedEntries(object: ApiObject | undefined): ManagedEntry[] {
  return (object?.metadata.managedFields ?? []).filter(isObject).map((it) => ({
    manager: textAt(it, "manager"),
    operation: textAt(it, "operation"),
    apiVersion: textAt(it, "apiVersion"),
    subresource: textAt(it, "subresource"),
    time: textAt(it, "time"),
    set: treeToSet(objectAt(it, "fieldsV1") ?? {}),
  }));
}

/** Sets the managed fields of `object`, which replaces `old`. */
export function trackManagers(resource: ServedResource, old: ApiObject | undefined, object: ApiObject, edit: ManagerEdit): void {
  const given = object.metadata.managedFields;
  // A client may move fields between managers itself, as kubectl does when an object changes from client-side to server-side apply.
  const entries = managedEntries(given !== undefined && given.length > 0 ? object : old);
  delete object.metadata.managedFields;
  const { changed, removed } = difference(valuesOf(resource, old ?? emptyObject(resource)), valuesOf(resource, object), scopeOf(resource, edit.subresource));
  const next = edit.applied === undefined ? afterUpdate(entries, edit, changed, removed) : afterApply(entries, edit, edit.applied, changed, removed);
  if (next.length > 0) object.metadata.managedFields = next.sort(byOrder).map(toJson);
}

/** Applies first, then by time and name, as the real server lists them. */
function byOrder(a: ManagedEntry, b: ManagedEntry): number {
  const keys = ["operation", "time", "manager", "apiVersion", "subresource"] as const;
  for (const key of keys) if (a[key] !== b[key]) return a[key] < b[key] ? -1 : 1;
  return 0;
}

const emptyObjects = new WeakMap<ServedResource, ApiObject>();

/** A typed object nobody has set anything of: fields that are always written are there, and so belong to nobody. */
function emptyObject(resource: ServedResource): ApiObject {
  let empty = emptyObjects.get(resource);
  if (empty === undefined) {
    const base: ApiObject = { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata: {} };
    empty = resource.custom === undefined ? ({ ...base, ...readTyped(base, base.apiVersion, base.kind).object } as ApiObject) : base;
    emptyObjects.set(resource, empty);
  }
  return empty;
}

/** Which fields a write through the object or through a subresource can own: the status belongs to its subresource, and the other way round. */
function scopeOf(resource: ServedResource, subresource: string | undefined): (path: string) => boolean {
  const statusFields = new Set((resource.strategy.statusFields ?? []).map((field) => `f:${field}`));
  if (subresource === "status") return (path) => statusFields.has(topOf(path)) || (resource.group === "" && topOf(path) === "f:metadata");
  if (subresource === "finalize") return (path) => topOf(path) === "f:spec";
  return (path) => !statusFields.has(topOf(path));
}

const isSame = (entry: ManagedEntry, edit: ManagerEdit, operation: string): boolean =>
  entry.manager === edit.manager && entry.operation === operation && entry.apiVersion === edit.apiVersion && entry.subresource === (edit.subresource ?? "");

function afterUpdate(entries: readonly ManagedEntry[], edit: ManagerEdit, changed: FieldSet, removed: FieldSet): ManagedEntry[] {
  if (changed.size === 0 && removed.size === 0) return [...entries];
  const own = entries.find((it) => isSame(it, edit, "Update"));
  const kept = entries.flatMap((it) => {
    if (it === own) return [];
    const set = minus(it.set, changed, removed);
    return set.size === 0 ? [] : [{ ...it, set }];
  });
  const set = new Set([...minus(own?.set ?? new Set(), removed), ...changed]);
  return set.size === 0 ? kept : [...kept, entryFor(edit, "Update", set)];
}

function afterApply(
  entries: readonly ManagedEntry[],
  edit: ManagerEdit,
  applied: NonNullable<ManagerEdit["applied"]>,
  changed: FieldSet,
  removed: FieldSet,
): ManagedEntry[] {
  const own = entries.find((it) => isSame(it, edit, "Apply"));
  const unchanged =
    own !== undefined && own.set.size === applied.set.size && minus(own.set, applied.set).size === 0 && applied.taken.size === 0 && removed.size === 0;
  if (unchanged) return [...entries];
  const kept = entries.flatMap((it) => {
    if (it === own) return [];
    const set = minus(it.set, applied.taken, removed);
    return set.size === 0 ? [] : [{ ...it, set }];
  });
  // The time is that of the last change of the object, not of its owners.
  const time = changed.size === 0 && removed.size === 0 ? (own?.time ?? "") : edit.time;
  return applied.set.size === 0 ? kept : [...kept, entryFor({ ...edit, time }, "Apply", applied.set)];
}

function entryFor(edit: ManagerEdit, operation: string, set: FieldSet): ManagedEntry {
  return { manager: edit.manager, operation, apiVersion: edit.apiVersion, subresource: edit.subresource ?? "", time: edit.time, set };
}

function toJson(entry: ManagedEntry): JsonObject {
  return {
    manager: entry.manager,
    operation: entry.operation,
    apiVersion: entry.apiVersion,
    ...(entry.time === "" ? {} : { time: entry.time }),
    fieldsType: "FieldsV1",
    fieldsV1: setToTree(entry.set),
    ...(entry.subresource === "" ? {} : { subresource: entry.subresource }),
  };
}

function valuesOf(resource: ServedResource, object: ApiObject): FieldValues {
  return fieldValues(object, schemaOf(resource), true);
}
