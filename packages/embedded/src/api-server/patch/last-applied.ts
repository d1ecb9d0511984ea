/** The annotation in which kubectl keeps what it applied from the client's side. */
import { type ApiObject, clone, isObject, type Json, type JsonObject } from "../json.ts";

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/**
 * Brings the annotation of an object up to date after kubectl applied `config` on the server's side, as the real server does for this manager alone: the next apply from the client's side
 * then sees what was wanted last. Objects without the annotation stay without it.
 */
export function updateLastApplied(object: JsonObject, config: JsonObject, manager: string): void {
  const { annotations } = (object as ApiObject).metadata;
  if (manager !== "kubectl" || (annotations?.[LAST_APPLIED] ?? "") === "" || annotations === undefined) return;
  const { metadata, ...rest } = clone(config);
  if (isObject(metadata) && isObject(metadata["annotations"])) delete metadata["annotations"][LAST_APPLIED];
  annotations[LAST_APPLIED] = `${asGoWrites({ ...rest, ...(metadata === undefined ? {} : { metadata }) })}\n`;
}

/** Keys in order, and what HTML minds escaped. */
function asGoWrites(value: JsonObject): string {
  return JSON.stringify(sorted(value)).replaceAll(/[<>&\u2028\u2029]/g, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key] ?? null)]),
  );
}
