/**
 * Strategic merge patches: as a merge patch, but lists of objects are merged by a key, lists of scalars as sets, where the schema says so. Directives in the patch:
 * `$patch: delete|replace|merge`, `$deleteFromPrimitiveList/<field>`, `$setElementOrder/<field>`, `$retainKeys`.
 */
import { DrayError } from "@drayage/base";
import type { OpenApiSchema } from "@drayage/protocols/kubernetes";
import { clone, equal, isObject, type Json, type JsonObject, setOwn } from "./json.ts";
import { fieldSchema, itemSchema } from "./schema-walk.ts";

const ORDER = "$setElementOrder/";
const DELETE = "$deleteFromPrimitiveList/";

/** The patched copy. Throws VALIDATION_FAILED for directives that make no sense. */
export function strategicMergePatch(target: JsonObject, patch: JsonObject, schema: OpenApiSchema | undefined): JsonObject {
  return mergeObjects(target, patch, schema);
}

function mergeObjects(target: JsonObject, patch: JsonObject, schema: OpenApiSchema | undefined): JsonObject {
  const directive = patch["$patch"];
  if (directive === "replace") return withoutDirectives(patch);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge") throw invalidPatch(`unknown patch type: ${String(directive)}`);
  const out: JsonObject = { ...target };
  const retained = patch["$retainKeys"];
  if (Array.isArray(retained)) for (const key of Object.keys(out)) if (!retained.includes(key)) delete out[key];
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(DELETE)) {
      const field = key.slice(DELETE.length);
      const list = out[field];
      if (Array.isArray(list) && Array.isArray(value)) out[field] = list.filter((item) => !value.some((it) => equal(it, item)));
      continue;
    }
    if (key.startsWith("$")) continue;
    if (value === null || value === undefined) {
      delete out[key];
      continue;
    }
    const field = fieldSchema(schema, key);
    const current = Object.hasOwn(out, key) ? out[key] : undefined;
    if (Array.isArray(value)) setOwn(out, key, mergeLists(Array.isArray(current) ? current : [], value, field, patch[ORDER + key]));
    else if (isObject(value)) setOwn(out, key, mergeMap(current, value, field));
    else setOwn(out, key, value);
  }
  // An order may come without a change of the list itself.
  for (const [key, order] of Object.entries(patch)) {
    if (!key.startsWith(ORDER) || patch[key.slice(ORDER.length)] !== undefined) continue;
    const name = key.slice(ORDER.length);
    const list = out[name];
    if (Array.isArray(list) && Array.isArray(order)) out[name] = ordered(list, order, list, mergeKeyOf(fieldSchema(schema, name)));
  }
  return out;
}

function mergeMap(current: Json | undefined, patch: JsonObject, schema: OpenApiSchema | undefined): Json {
  const strategies = (schema?.["x-kubernetes-patch-strategy"] ?? "").split(",");
  if (strategies.includes("replace")) return withoutDirectives(patch);
  return mergeObjects(isObject(current) ? current : {}, patch, schema);
}

const mergeKeyOf = (schema: OpenApiSchema | undefined): string | undefined => schema?.["x-kubernetes-patch-merge-key"];

function mergeLists(current: Json[], patch: Json[], schema: OpenApiSchema | undefined, order: Json | undefined): Json[] {
  const merges = (schema?.["x-kubernetes-patch-strategy"] ?? "").split(",").includes("merge");
  const replaces = patch.some((it) => isObject(it) && it["$patch"] === "replace");
  if (!merges || replaces) return patch.filter((it) => !(isObject(it) && it["$patch"] === "replace" && Object.keys(it).length === 1)).map(withoutDirectives);
  const key = mergeKeyOf(schema);
  const merged = key === undefined ? mergeScalars(current, patch) : mergeByKey(current, patch, key, itemSchema(schema));
  return ordered(merged, Array.isArray(order) ? order : patch, current, key);
}

function mergeScalars(current: readonly Json[], patch: readonly Json[]): Json[] {
  return [...current, ...patch.filter((item) => !current.some((it) => equal(it, item)))];
}

function mergeByKey(current: readonly Json[], patch: readonly Json[], key: string, schema: OpenApiSchema | undefined): Json[] {
  const out = [...current];
  for (const item of patch) {
    if (!isObject(item)) throw invalidPatch(`expected all elements to be map in a strategic merge patch of a list with merge key ${key}`);
    const id = item[key];
    if (id === undefined) throw invalidPatch(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
    const at = out.findIndex((it) => isObject(it) && equal(it[key], id));
    if (item["$patch"] === "delete") {
      if (at >= 0) out.splice(at, 1);
      continue;
    }
    const before = at >= 0 ? out[at] : undefined;
    const merged = mergeObjects(isObject(before) ? before : {}, item, schema);
    if (at >= 0) out[at] = merged;
    else out.push(merged);
  }
  return out;
}

/**
 * Items that the patch names come in its order; the others keep theirs and are put among them where the live list has them. An item only the patch knows has no place in the live
 * list, so it comes as early as the patch's order lets it.
 */
function ordered(list: readonly Json[], order: readonly Json[], live: readonly Json[], key: string | undefined): Json[] {
  const idOf = (item: Json): string => JSON.stringify(key === undefined || !isObject(item) ? item : item[key]);
  const inOrder = new Map(order.map((item, index) => [idOf(item), index]));
  const inLive = new Map(live.map((item, index) => [idOf(item), index]));
  const named = list.filter((item) => inOrder.has(idOf(item))).sort((a, b) => (inOrder.get(idOf(a)) ?? 0) - (inOrder.get(idOf(b)) ?? 0));
  const others = list.filter((item) => !inOrder.has(idOf(item)));
  const out: Json[] = [];
  while (named.length > 0 || others.length > 0) {
    const [other, next] = [others[0], named[0]];
    const otherAt = other === undefined ? undefined : inLive.get(idOf(other));
    const nextAt = next === undefined ? undefined : inLive.get(idOf(next));
    const otherFirst = next === undefined || (otherAt !== undefined && nextAt !== undefined && otherAt < nextAt);
    const taken = otherFirst ? others.shift() : named.shift();
    if (taken !== undefined) out.push(taken);
  }
  return out;
}

function withoutDirectives<T extends Json>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutDirectives) as T;
  if (!isObject(value)) return value;
  const out: JsonObject = {};
  for (const [key, child] of Object.entries(value))
    if (!key.startsWith("$patch") && !key.startsWith(ORDER) && !key.startsWith(DELETE) && key !== "$retainKeys" && child !== undefined && child !== null)
      setOwn(out, key, withoutDirectives(child));
  return clone(out) as T;
}

/** In the words of the API server, which are told to its clients as they are. */
function invalidPatch(what: string): DrayError {
  return new DrayError("VALIDATION_FAILED", what);
}
