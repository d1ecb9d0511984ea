/** Between what is stored and what a version serves. Versions of a custom resource differ by their apiVersion only (conversion None); Events have two forms. */
import { type ApiObject, clone, type JsonObject } from "./json.ts";
import { applyDefaults, prune } from "./schema/structural.ts";
import { apiVersionOf, type ServedResource } from "./served-resource.ts";

/** Objects as another version serves them, kept as long as the stored ones. Keyed by what defines the version, so that a changed definition starts anew. */
const views = new WeakMap<object, WeakMap<ApiObject, ApiObject>>();

/** The stored object as this resource serves it. Shared: never change it. */
export function fromStored(resource: ServedResource, stored: ApiObject): ApiObject {
  if (resource.group === "events.k8s.io") return view(resource, stored, eventFromCore);
  if (resource.custom === undefined) return stored;
  const { schema, defaulting } = resource.custom;
  const apiVersion = apiVersionOf(resource);
  return view(resource, stored, (object) => {
    const copy = clone(object);
    copy.apiVersion = apiVersion;
    if (schema !== undefined) prune(copy, schema, true, []);
    if (defaulting) applyDefaults(copy, schema);
    return copy;
  });
}

/** The object as it is stored. */
export function toStored(resource: ServedResource, object: ApiObject): ApiObject {
  if (resource.group === "events.k8s.io") return eventToCore(object);
  if (resource.custom === undefined) return object;
  return { ...object, apiVersion: apiVersionOf({ group: resource.group, version: resource.custom.storageVersion }) };
}

function view(resource: ServedResource, stored: ApiObject, make: (object: ApiObject) => ApiObject): ApiObject {
  let known = views.get(resource);
  if (known === undefined) {
    known = new WeakMap();
    views.set(resource, known);
  }
  let made = known.get(stored);
  if (made === undefined) {
    made = make(stored);
    known.set(stored, made);
  }
  return made;
}

/** Names of the fields of events.k8s.io/v1 and of core/v1 for the same thing. */
const EVENT_FIELDS = [
  ["regarding", "involvedObject"],
  ["note", "message"],
  ["reportingController", "reportingComponent"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
] as const;

function eventFromCore(event: ApiObject): ApiObject {
  const out = renamed(event, new Map(EVENT_FIELDS.map(([newer, older]) => [older, newer])));
  for (const field of ["reportingController", "reportingInstance"]) if (out[field] === "") delete out[field];
  return { ...out, apiVersion: "events.k8s.io/v1" };
}

function eventToCore(event: ApiObject): ApiObject {
  return { ...renamed(event, new Map(EVENT_FIELDS)), apiVersion: "v1" };
}

function renamed(object: ApiObject, names: ReadonlyMap<string, string>): ApiObject {
  const out: JsonObject = {};
  for (const [key, value] of Object.entries(object)) out[names.get(key) ?? key] = value;
  return out as ApiObject;
}
