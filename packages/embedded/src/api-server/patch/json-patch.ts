/** RFC 6902 patches, with the failures a client of the API expects. */
import jsonpatch, { type Operation } from "fast-json-patch";
import { clone, isObject, type Json, type JsonObject } from "../json.ts";
import { badRequest, StatusError } from "../status-error.ts";

const OPERATIONS_MAX = 10_000;
const NAMES = new Set(["add", "remove", "replace", "move", "copy", "test"]);

/** The patched copy. Throws BadRequest for a patch that is none, and Invalid when a path is missing or a test fails. */
export function jsonPatch(target: JsonObject, patch: Json): JsonObject {
  if (!Array.isArray(patch)) throw badRequest("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (patch.length > OPERATIONS_MAX)
    throw new StatusError(413, "RequestEntityTooLarge", `The allowed maximum operations in a JSON patch is ${OPERATIONS_MAX}, got ${patch.length}`);
  for (const operation of patch) {
    if (!isObject(operation) || !NAMES.has(String(operation["op"])) || typeof operation["path"] !== "string")
      throw unprocessable(`Unexpected kind: ${isObject(operation) ? String(operation["op"]) : "unknown"}`);
  }
  try {
    return jsonpatch.applyPatch(clone(target), patch as unknown as Operation[], true, false, true).newDocument as JsonObject;
  } catch (error) {
    const { name, operation } = error as { name?: string; operation?: { op?: string; path?: string } };
    const path = operation?.path ?? "";
    if (name === "TEST_OPERATION_FAILED") throw unprocessable(`testing value ${path} failed: test failed`);
    throw unprocessable(
      `${operation?.op ?? "patch"} operation does not apply: doc is missing ${operation?.op === "add" ? "path" : "key"}: ${path}: missing value`,
    );
  }
}

function unprocessable(message: string): StatusError {
  return new StatusError(422, "Invalid", `the server rejected our request due to an error in our request`, { causes: [{ reason: "", message }] });
}
