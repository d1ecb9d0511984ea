/** RFC 6902 patches, with the failures a client of the API expects. */
import jsonpatch, { type Operation } from "fast-json-patch";
import { clone, isObject, type Json, type JsonObject } from "../json.ts";
import { badRequest, StatusError } from "../status-error.ts";

const OPERATIONS_MAX = 10_000;
const NAMES = new Set(["add", "remove", "replace", "move", "copy", "test"]);

/** The patched copy. Throws BadRequest for a patch that is none, and Invalid when a path is missing or a test fails. */
export function jsonPatch(target: JsonObject, patch: Json): JsonObject {
  if (!Array.isArray(patch)) throw badRequest("error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp");
  if (patch.length > OPERATIONS_MAX)
    throw new StatusError(413, "RequestEntityTooLarge", `The allowed maximum operations in a JSON patch is ${OPERATIONS_MAX}, got ${patch.length}`);
  for (const operation of patch) {
    if (!isObject(operation) || !NAMES.has(String(operation["op"])) || typeof operation["path"] !== "string") throw unprocessable();
  }
  try {
    return jsonpatch.applyPatch(clone(target), patch as unknown as Operation[], true, false, true).newDocument as JsonObject;
  } catch {
    throw unprocessable();
  }
}

/** The API does not say which operation failed, or why. */
function unprocessable(): StatusError {
  return new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
}
