/** A request's body as an object of a resource: typed for built-in kinds, pruned and defaulted by its schema for custom ones. */
import { messageFor } from "@drayage/protocols/kubernetes";
import { type ApiObject, clone, isObject, type JsonObject, textAt } from "./json.ts";
import { applyDefaults, prune, pruneNulls } from "./schema/structural.ts";
import { apiVersionOf, type ServedResource } from "./served-resource.ts";
import { badRequest, invalid, invalidObject, type StatusError } from "./status-error.ts";
import { readTyped } from "./typed-codec.ts";

export type FieldValidation = "Ignore" | "Warn" | "Strict";

export interface ReadOptions {
  readonly fieldValidation: FieldValidation;
  readonly warnings: string[];
}

/** A fresh object that the caller may change. Throws BadRequest for a body of another kind, of wrong types, or with unknown fields under Strict. */
export function readObject(resource: ServedResource, body: JsonObject, options: ReadOptions): ApiObject {
  const apiVersion = apiVersionOf(resource);
  const given = textAt(body, "apiVersion");
  const kind = textAt(body, "kind");
  if (resource.custom === undefined && ((kind !== "" && kind !== resource.kind) || (given !== "" && given !== apiVersion)))
    throw otherKind(resource, given || apiVersion, kind || resource.kind);
  if (kind !== "" && kind !== resource.kind)
    throw invalidObject({ group: resource.group, name: kind }, textAt(body, "metadata", "name"), [invalid("kind", kind, `must be ${resource.kind}`)]);
  if (given !== "" && given !== apiVersion) throw badRequest(`the API version in the data (${given}) does not match the expected API version (${apiVersion})`);
  const typed = { ...body, apiVersion, kind: resource.kind };
  return resource.custom === undefined ? readBuiltIn(resource, typed, options) : readCustom(resource, typed, options);
}

function readBuiltIn(resource: ServedResource, body: JsonObject, options: ReadOptions): ApiObject {
  const apiVersion = apiVersionOf(resource);
  const { object, unknownFields } = readTyped(body, apiVersion, resource.kind);
  report(resource, unknownFields, options);
  const { kind: _kind, apiVersion: _apiVersion, metadata, ...rest } = object;
  return { kind: resource.kind, apiVersion, metadata: isObject(metadata) ? metadata : {}, ...rest } as ApiObject;
}

function readCustom(resource: ServedResource, body: JsonObject, options: ReadOptions): ApiObject {
  const schema = resource.custom?.schema;
  const copy = clone(body) as ApiObject;
  const metadata = readTyped({ apiVersion: "v1", kind: "ConfigMap", metadata: copy.metadata ?? {} }, "v1", "ConfigMap");
  const dropped = [...metadata.unknownFields];
  copy.metadata = (isObject(metadata.object["metadata"]) ? metadata.object["metadata"] : {}) as ApiObject["metadata"];
  if (schema !== undefined) prune(copy, schema, true, dropped);
  report(resource, dropped.sort(), options);
  if (resource.custom?.defaulting === true) applyDefaults(copy, schema);
  pruneNulls(copy, schema);
  return copy;
}

/** A body of another built-in kind, in the words of a server that tries to convert it. */
function otherKind(resource: ServedResource, apiVersion: string, kind: string): StatusError {
  const version = apiVersion.split("/").at(-1) ?? "";
  const head = `${kind} in version "${version}" cannot be handled as a ${resource.kind}`;
  if (messageFor(apiVersion, kind) === undefined)
    return badRequest(`no kind "${kind}" is registered for version "${apiVersion}" in scheme "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"`);
  const internal = resource.group === "" ? "core" : (resource.group.split(".")[0] ?? "");
  return badRequest(`${head}: converting (${version}.${kind}) to (${internal}.${resource.kind}): unknown conversion`);
}

function report(resource: ServedResource, unknownFields: readonly string[], options: ReadOptions): void {
  if (unknownFields.length === 0 || options.fieldValidation === "Ignore") return;
  const problems = unknownFields.map((path) => `unknown field "${path}"`);
  if (options.fieldValidation === "Warn") {
    options.warnings.push(...problems);
    return;
  }
  throw badRequest(`${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: strict decoding error: ${problems.join(", ")}`);
}
