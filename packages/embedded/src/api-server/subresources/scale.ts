/** The scale of workloads and of custom resources that declare one. */
import type { IncomingMessage } from "node:http";
import { mergePatch } from "@drayage/kube/patch";
import { decodeJson, decodeObject, mediaTypeOf } from "../content.ts";
import { atSimplePath } from "../custom-resource.ts";
import { type ApiObject, clone, ensureObject, type JsonObject, numberAt, objectAt, textAt } from "../json.ts";
import type { Operations } from "../operations.ts";
import { jsonPatch } from "../patch/json-patch.ts";
import type { ResourceRequest } from "../request-info.ts";
import { writeOptions } from "../resource-handler.ts";
import { resourceName, type ServedResource } from "../served-resource.ts";
import { invalid, invalidObject, modified, notFound, unsupportedMediaType } from "../status-error.ts";
import { selectorText } from "../tables/built-in-columns.ts";

export function readScale(operations: Operations, resource: ServedResource, info: ResourceRequest): JsonObject {
  return scaleOf(resource, operations.get(resource, info.namespace, info.name ?? ""));
}

export function writeScale(operations: Operations, resource: ServedResource, info: ResourceRequest, request: IncomingMessage, bytes: Buffer): JsonObject {
  const name = info.name ?? "";
  const produce = (current: ApiObject): JsonObject => {
    const scale = wantedScale(scaleOf(resource, current), info, request, bytes);
    const version = textAt(scale, "metadata", "resourceVersion");
    if (version !== "" && version !== current.metadata.resourceVersion) throw modified(resourceName(resource), name);
    const replicas = numberAt(scale, "spec", "replicas") ?? 0;
    if (replicas < 0)
      throw invalidObject({ group: "autoscaling", name: "Scale" }, name, [invalid("spec.replicas", replicas, "must be greater than or equal to 0")]);
    return withReplicas(resource, current, replicas);
  };
  const { object } = operations.update(resource, info.namespace, name, produce, writeOptions(request, info), { subresource: "scale", isPatch: true });
  return scaleOf(resource, object);
}

function wantedScale(scale: JsonObject, info: ResourceRequest, request: IncomingMessage, bytes: Buffer): JsonObject {
  if (info.verb === "update") return decodeObject(bytes, request.headers["content-type"]);
  const patch = decodeJson(bytes);
  const type = mediaTypeOf(request.headers["content-type"]);
  if (type === "application/json-patch+json") return jsonPatch(scale, patch);
  // A scale has no lists, so a strategic merge is a merge.
  if (type === "application/merge-patch+json" || type === "application/strategic-merge-patch+json") return mergePatch(scale, patch) as JsonObject;
  throw unsupportedMediaType(["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"]);
}

function scaleOf(resource: ServedResource, object: ApiObject): JsonObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const paths = resource.custom?.scale;
  const spec = paths === undefined ? objectAt(object, "spec")?.["replicas"] : atSimplePath(object, paths.specReplicasPath);
  const status = paths === undefined ? objectAt(object, "status")?.["replicas"] : atSimplePath(object, paths.statusReplicasPath);
  const selector =
    paths === undefined ? builtInSelector(object) : paths.labelSelectorPath === undefined ? "" : String(atSimplePath(object, paths.labelSelectorPath) ?? "");
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { ...(typeof spec === "number" && spec !== 0 ? { replicas: spec } : {}) },
    status: { replicas: typeof status === "number" ? status : 0, ...(selector === "" ? {} : { selector }) },
  };
}

function builtInSelector(object: ApiObject): string {
  const selector = objectAt(object, "spec", "selector");
  if (selector === undefined) return "";
  return object.kind === "ReplicationController" ? selectorText({ matchLabels: selector }) : selectorText(selector);
}

function withReplicas(resource: ServedResource, object: ApiObject, replicas: number): JsonObject {
  const copy = clone(object);
  const path = resource.custom?.scale?.specReplicasPath ?? ".spec.replicas";
  const keys = path.replace(/^\./, "").split(".");
  const last = keys.pop();
  if (last === undefined) throw notFound(resourceName(resource), object.metadata.name ?? "");
  let parent: JsonObject = copy;
  for (const key of keys) parent = ensureObject(parent, key);
  parent[last] = replicas;
  return copy;
}
