/**
 * Who owns which field of an object (metadata.managedFields) is part of its history: without it the next server-side apply of its owner meets conflicts, or leaves what it should take away.
 * The API server gives every field of a new object to whoever creates it and takes it from all others, so that the record of the backup has to be written over that in a second request.
 * Where a single manager had set everything that is restored by creating and updating, the object can be created in its name instead, with the record of the backup: then only the labels
 * that name the restore come to what it owned, and one request does it. For a claim that is more than a request less: its binder, which writes to it at once, would be refused for the change
 * that comes after the creation, and comes back to it a quarter of a minute later. docs/design/0013-field-managers-of-restored-objects.md says what that means to those who apply objects.
 */
import { LABELS } from "@drayage/api";
import { isAbort, type Logger, messageOf } from "@drayage/base";
import type { GenericObject, KubeClient, ObjectKey, ResourceType } from "@drayage/kube";

/** An entry of metadata.managedFields, as far as it is looked at here. */
interface ManagedFields {
  readonly manager?: unknown;
  readonly operation?: unknown;
  readonly apiVersion?: unknown;
  readonly subresource?: unknown;
  readonly fieldsV1?: unknown;
}

const RESTORE_LABELS: ReadonlySet<string> = new Set([LABELS.backupName, LABELS.restoreName]);

/**
 * In whose name `wanted` can be created so that the record of managers in `item`, the object of the backup, holds for it.
 * Undefined when nobody's name does that; the record then has to be written on its own.
 */
export function creatorOf(item: GenericObject, wanted: GenericObject): string | undefined {
  // The status is not written at creation, so entries of it stay as they are given.
  const entries = (item.metadata.managedFields ?? []).filter(isRecord).filter(({ subresource }: ManagedFields) => subresource !== "status") as ManagedFields[];
  // Nor are those of fields that are not restored: what is left of an object's life in its cluster, such as the volume that a claim was bound to.
  const ofWanted = entries.length === 1 ? entries : entries.filter(({ fieldsV1 }) => ownsAny(fieldsV1, wanted));
  const [entry, ...others] = ofWanted;
  if (entry === undefined || others.length > 0 || (entry.subresource ?? "") !== "") return undefined;
  const { manager, operation, apiVersion, fieldsV1 } = entry;
  if (typeof manager !== "string" || manager === "" || operation !== "Update" || apiVersion !== wanted.apiVersion) return undefined;
  return isControlled(item) || ownsAll(fieldsV1, wanted) ? manager : undefined;
}

/** `wanted` with the record of managers of the object in the backup. */
export function withFieldManagersOf({ metadata: { managedFields } }: GenericObject, wanted: GenericObject): GenericObject {
  return { ...wanted, metadata: { ...wanted.metadata, ...(managedFields === undefined ? {} : { managedFields }) } };
}

/** Writes the record of managers over that of an object which was created without it. A refusal is only logged: the object is there. */
export async function writeFieldManagers(
  { client, signal }: { readonly client: KubeClient; readonly signal: AbortSignal },
  { item, resource, key, log }: { readonly item: GenericObject; readonly resource: ResourceType; readonly key: ObjectKey; readonly log: Logger },
): Promise<void> {
  const { managedFields } = item.metadata;
  if (managedFields === undefined || managedFields.length === 0) return;
  try {
    await client.patch<GenericObject>(resource, key, "merge", { metadata: { managedFields } }, { signal });
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    log.info(`Field managers were not restored: ${messageOf(error)}`);
  }
}

/** What a controller had made is made and unmade by it, and applied by nobody: that it gets what nobody owned makes no difference. */
function isControlled({ metadata }: GenericObject): boolean {
  return metadata.ownerReferences?.some(({ controller }) => controller === true) ?? false;
}

function ownsAll(fields: unknown, object: GenericObject): boolean {
  const { apiVersion: _version, kind: _kind, metadata, ...rest } = object;
  const { name: _name, namespace: _namespace, labels = {}, ...kept } = metadata;
  const lasting = Object.fromEntries(Object.entries(labels).filter(([name]) => !RESTORE_LABELS.has(name)));
  return covers(fields, { ...rest, metadata: Object.keys(lasting).length === 0 ? kept : { ...kept, labels: lasting } });
}

/**
 * Whether a set of fields names everything in a value. The set is a tree in the FieldsV1 notation of structured-merge-diff: `f:` a field, `k:` an item of a list by its keys, `v:` an item by its
 * value, and nothing below a node that is owned as a whole.
 */
function covers(fields: unknown, value: unknown): boolean {
  if (value === undefined || value === null) return true;
  if (!isRecord(fields)) return false;
  const names = Object.keys(fields);
  if (names.length === 0) return true;
  if (Array.isArray(value)) {
    const keys = keysIn(names);
    return value.every((item) => covers(fields[itemName(item, keys)], item));
  }
  return isRecord(value) && Object.entries(value).every(([name, inner]) => covers(Object.hasOwn(fields, `f:${name}`) ? fields[`f:${name}`] : undefined, inner));
}

function ownsAny(fields: unknown, { apiVersion: _version, kind: _kind, ...object }: GenericObject): boolean {
  return touches(fields, object);
}

/** Whether a set of fields names anything in a value. That a map or list is there (`.`) says nothing of what is in it. */
function touches(fields: unknown, value: unknown): boolean {
  if (value === undefined || value === null) return false;
  const names = isRecord(fields) ? Object.keys(fields) : [];
  if (!isRecord(fields) || names.length === 0) return true;
  if (Array.isArray(value)) {
    const keys = keysIn(names);
    return value.some((item) => Object.hasOwn(fields, itemName(item, keys)) && touches(fields[itemName(item, keys)], item));
  }
  if (!isRecord(value)) return true;
  return Object.entries(value).some(([name, inner]) => Object.hasOwn(fields, `f:${name}`) && touches(fields[`f:${name}`], inner));
}

/** The fields by which items of a list are told apart; none when their values do that. */
function keysIn(names: readonly string[]): readonly string[] {
  const sample = names.find((name) => name.startsWith("k:"));
  if (sample === undefined) return [];
  try {
    return Object.keys(JSON.parse(sample.slice(2)) as Record<string, unknown>);
  } catch {
    return [];
  }
}

function itemName(item: unknown, keys: readonly string[]): string {
  if (!isRecord(item)) return `v:${JSON.stringify(item)}`;
  return `k:${JSON.stringify(Object.fromEntries(keys.map((key) => [key, item[key]])))}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
