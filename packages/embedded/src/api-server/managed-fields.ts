/**
 * metadata.managedFields: which manager last set which field. An update gives its manager every field it changed and takes those from the others; an apply owns exactly what it
 * lists.
 */
import { type ApiObject, isObject, type JsonObject, objectAt, textAt } from "./json.ts";
import { difference, type FieldSet, type FieldValues, fieldValues, minus, setToTree, treeToSet } from "./patch/field-set.ts";
import { type ServedResource, schemaOf } from "./served-resource.ts";

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
  const { changed, removed } = difference(old === undefined ? new Map() : valuesOf(resource, old), valuesOf(resource, object));
  const next = edit.applied === undefined ? afterUpdate(entries, edit, changed, removed) : afterApply(entries, edit, edit.applied, removed);
  if (next.length > 0) object.metadata.managedFields = next.map(toJson);
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

function afterApply(entries: readonly ManagedEntry[], edit: ManagerEdit, applied: NonNullable<ManagerEdit["applied"]>, removed: FieldSet): ManagedEntry[] {
  const own = entries.find((it) => isSame(it, edit, "Apply"));
  const unchanged =
    own !== undefined && own.set.size === applied.set.size && minus(own.set, applied.set).size === 0 && applied.taken.size === 0 && removed.size === 0;
  if (unchanged) return [...entries];
  const kept = entries.flatMap((it) => {
    if (it === own) return [];
    const set = minus(it.set, applied.taken, removed);
    return set.size === 0 ? [] : [{ ...it, set }];
  });
  return applied.set.size === 0 ? kept : [entryFor(edit, "Apply", applied.set), ...kept];
}

function entryFor(edit: ManagerEdit, operation: string, set: FieldSet): ManagedEntry {
  return { manager: edit.manager, operation, apiVersion: edit.apiVersion, subresource: edit.subresource ?? "", time: edit.time, set };
}

function toJson(entry: ManagedEntry): JsonObject {
  return {
    manager: entry.manager,
    operation: entry.operation,
    apiVersion: entry.apiVersion,
    time: entry.time,
    fieldsType: "FieldsV1",
    fieldsV1: setToTree(entry.set),
    ...(entry.subresource === "" ? {} : { subresource: entry.subresource }),
  };
}

/** Computed once for each stored object: it is the new one of a write, then the old one of the next. */
const known = new WeakMap<ApiObject, FieldValues>();

function valuesOf(resource: ServedResource, object: ApiObject): FieldValues {
  let values = known.get(object);
  if (values === undefined) {
    values = fieldValues(object, schemaOf(resource), true);
    known.set(object, values);
  }
  return values;
}
