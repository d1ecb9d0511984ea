/** A PATCH request as an update of the object. */
import { hasCode, messageOf } from "@drayage/base";
import { mergePatch, strategicMergePatch } from "@drayage/kube/patch";
import { clone, isObject, type Json, type JsonObject } from "../json.ts";
import type { Operations, WriteOptions } from "../operations.ts";
import { type ServedResource, schemaOf } from "../served-resource.ts";
import { badRequest, StatusError } from "../status-error.ts";
import { jsonPatch } from "./json-patch.ts";
import { serverSideApply } from "./server-side-apply.ts";

export type PatchKind = "json" | "merge" | "strategic" | "apply";

export const patchKinds: Readonly<Record<string, PatchKind>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};

export interface PatchRequest {
  readonly operations: Operations;
  readonly resource: ServedResource;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly subresource: string | undefined;
  readonly kind: PatchKind;
  readonly patch: Json;
  readonly options: WriteOptions;
  readonly force: boolean;
  readonly query: URLSearchParams;
}

type Written = ReturnType<Operations["update"]>;

export function applyPatch(request: PatchRequest): Written {
  const { operations, resource, namespace, name, subresource, kind, patch, options } = request;
  if (request.query.has("force") && kind !== "apply")
    throw new StatusError(422, "Invalid", 'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch', {
      group: "meta.k8s.io",
      kind: "PatchOptions",
      causes: [{ reason: "FieldValueForbidden", message: "Forbidden: may not be specified for non-apply patch", field: "force" }],
    });
  if (kind === "apply") return serverSideApply(request);
  if (kind !== "json" && !isObject(patch))
    throw badRequest(
      `error decoding patch: json: cannot unmarshal ${Array.isArray(patch) ? "array" : typeof patch} into Go value of type map[string]interface {}`,
    );
  return operations.update(resource, namespace, name, (current) => patched(current, kind, patch, resource), options, { subresource, isPatch: true });
}

function patched(current: JsonObject, kind: Exclude<PatchKind, "apply">, patch: Json, resource: ServedResource): JsonObject {
  const target = clone(current);
  if (kind === "json") return jsonPatch(target, patch);
  if (kind === "merge") return mergePatch(target, patch) as JsonObject;
  try {
    return strategicMergePatch(target, patch as JsonObject, schemaOf(resource));
  } catch (error) {
    throw hasCode(error, "VALIDATION_FAILED") ? badRequest(messageOf(error)) : error;
  }
}
