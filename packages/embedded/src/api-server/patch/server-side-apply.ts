/**
 * Server-side apply: the configuration is merged into the object; what the same manager applied before and left out now goes, unless somebody else owns it; what others own
 * and the configuration would change is a conflict, or is taken over by force.
 */

import { fieldSchema, itemSchema, resolveSchema } from "@drayage/kube/patch";
import type { OpenApiSchema } from "@drayage/protocols/kubernetes";
import { type ApiObject, clone, equal, isObject, type Json, type JsonObject, textAt } from "../json.ts";
import { type ManagedEntry, managedEntries } from "../managed-fields.ts";
import type { Operations } from "../operations.ts";
import { apiVersionOf, schemaOf } from "../served-resource.ts";
import { badRequest, invalidObject, required, StatusError } from "../status-error.ts";
import type { PatchRequest } from "./apply-patch.ts";
import { type FieldSet, fieldValues, isAtomicMap, itemKey, ownsBelow, pathText, removeAt } from "./field-set.ts";
import { updateLastApplied } from "./last-applied.ts";

export function serverSideApply(request: PatchRequest): ReturnType<Operations["update"]> {
  const { operations, resource, namespace, name, subresource, patch, options } = request;
  if (!request.query.has("fieldManager"))
    throw invalidObject({ group: "meta.k8s.io", name: "PatchOptions" }, "", [required("fieldManager", "is required for apply patch")]);
  if (!isObject(patch)) throw badRequest("error decoding YAML: the configuration is not an object");
  const config = patch;
  for (const field of ["apiVersion", "kind"]) if (textAt(config, field) === "") throw badRequest(`invalid object type: /, Kind=${textAt(config, "kind")}`);
  if (isObject(config["metadata"]) && config["metadata"]["managedFields"] !== undefined) throw badRequest("metadata.managedFields must be nil");
  const schema = schemaOf(resource);
  const applied = fieldValues(config, schema, false);
  const set: FieldSet = new Set(applied.keys());
  const taken = new Set<string>();
  // Filled in while the update runs, which reads it afterwards.
  const kind = { subresource, isPatch: true, apply: { applied: { set, taken } } };
  const produce = (current: ApiObject): JsonObject => {
    const entries = managedEntries(current);
    const own = entries.find((it) => it.manager === options.manager && it.operation === "Apply" && it.subresource === (subresource ?? ""));
    const others = entries.filter((it) => it !== own);
    const conflicts = conflictsWith(others, applied, current, schema);
    if (conflicts.length > 0 && !request.force) throw conflictError(conflicts);
    for (const it of conflicts) taken.add(it.path);
    const merged = mergeApplied(current, config, schema) as JsonObject;
    for (const path of abandoned(own, set, others)) removeAt(merged, path, schema);
    updateLastApplied(merged, config, options.manager);
    merged["apiVersion"] = apiVersionOf(resource);
    return merged;
  };
  return operations.update(resource, namespace, name, produce, options, kind);
}

interface Conflict {
  readonly path: string;
  readonly entry: ManagedEntry;
}

function conflictsWith(others: readonly ManagedEntry[], applied: ReadonlyMap<string, Json>, current: ApiObject, schema: OpenApiSchema | undefined): Conflict[] {
  const live = fieldValues(current, schema, true);
  return others.flatMap((entry) =>
    [...entry.set].filter((path) => applied.has(path) && live.has(path) && !equal(live.get(path), applied.get(path))).map((path) => ({ path, entry })),
  );
}

function conflictError(conflicts: readonly Conflict[]): StatusError {
  const describe = (it: Conflict): string => {
    const { manager, apiVersion, operation, subresource } = it.entry;
    const via = subresource === "" ? "" : ` with subresource "${subresource}"`;
    return `conflict with "${manager}"${via}${operation === "Update" ? ` using ${apiVersion}` : ""}`;
  };
  const count = conflicts.length;
  const first = conflicts[0];
  const text =
    count === 1 && first !== undefined
      ? `${describe(first)}: ${pathText(first.path)}`
      : [...Map.groupBy(conflicts, describe)].map(([who, own]) => `${who}:\n${own.map((it) => `- ${pathText(it.path)}`).join("\n")}`).join("\n");
  return new StatusError(409, "Conflict", `Apply failed with ${count} conflict${count === 1 ? "" : "s"}: ${text}`, {
    causes: conflicts.map((it) => ({ reason: "FieldManagerConflict", message: describe(it), field: pathText(it.path) })),
  });
}

/** Fields applied before and not any more, that nobody else has an interest in; items of lists before what is in them, since they are found by that. */
function abandoned(own: ManagedEntry | undefined, set: FieldSet, others: readonly ManagedEntry[]): string[] {
  if (own === undefined) return [];
  return [...own.set].filter((path) => !ownsBelow(set, path) && !others.some((it) => ownsBelow(it.set, path))).sort((a, b) => a.length - b.length);
}

/** The configuration laid over the object: maps are merged, lists by their keys or as sets, and whatever is atomic is replaced. */
export function mergeApplied(live: Json | undefined, config: Json, schema: OpenApiSchema | undefined): Json {
  const it = resolveSchema(schema);
  if (isObject(config) && isObject(live) && !isAtomicMap(it)) {
    const out: JsonObject = { ...live };
    for (const [key, value] of Object.entries(config)) {
      if (value === undefined) continue;
      const merged = mergeApplied(Object.hasOwn(live, key) ? live[key] : undefined, value, fieldSchema(it, key));
      Object.defineProperty(out, key, { value: merged, enumerable: true, writable: true, configurable: true });
    }
    return clone(out);
  }
  const listType = it?.["x-kubernetes-list-type"];
  if (Array.isArray(config) && Array.isArray(live) && (listType === "map" || listType === "set")) return mergeLists(live, config, it, listType);
  return clone(config);
}

function mergeLists(live: readonly Json[], config: readonly Json[], list: OpenApiSchema | undefined, listType: "map" | "set"): Json[] {
  const byKey = new Map(config.map((item) => [itemKey(item, list), item]));
  const kept = live.map((item) => {
    const key = itemKey(item, list);
    const applied = byKey.get(key);
    byKey.delete(key);
    return applied === undefined || listType === "set" ? clone(item) : mergeApplied(item, applied, itemSchema(list));
  });
  return [...kept, ...[...byKey.values()].map((item) => clone(item))];
}
