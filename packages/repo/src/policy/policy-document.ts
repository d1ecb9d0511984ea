/**
 * A policy as it is stored: JSON, whose members that this program does not know are kept when it is changed and written again. Integers beyond 2^53 stay what they are: Velero
 * stores such ones. Decoding checks the type of every member that is known, so that a merged policy can be trusted.
 */
import { DrayError, utf8 } from "@drayage/base";
import { type JsonObject, parseJsonObject, stringifyGo } from "../format/go-json.ts";
import { POLICY_FIELDS, type PolicyField, SECTIONS } from "./policy-fields.ts";

export type PolicyDocument = JsonObject;

/** What Kopia stores for a policy in which nothing is set: its sections, and those within them. */
export const emptyPolicy: PolicyDocument = {
  ...Object.fromEntries(SECTIONS.map((section) => [section, {}])),
  osSnapshots: { volumeShadowCopy: {} },
  logging: { directories: {}, entries: {} },
};

const DEPTH_MAX = 32;

/** Throws REPO_CORRUPT, naming the policy. */
export function decodePolicy(data: string, what: string): PolicyDocument {
  const document = parseJsonObject(utf8(data), what);
  if (depthOf(document) > DEPTH_MAX) throw wrong(what, "", `nested at most ${DEPTH_MAX} deep`);
  for (const field of POLICY_FIELDS) checkField(document, field, what);
  if (typeof (document["noParent"] ?? false) !== "boolean") throw wrong(what, "noParent", "true or false");
  return document;
}

export function encodePolicy(document: PolicyDocument): string {
  return stringifyGo(document);
}

/** The value at a place, undefined where there is none or null. */
export function valueAt(document: PolicyDocument, at: readonly string[]): unknown {
  let value: unknown = document;
  for (const name of at) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value ?? undefined;
}

/** A copy with another value at a place; undefined takes the member away. Members keep their order, new ones stand in Kopia's. */
export function withValue(document: PolicyDocument, at: readonly string[], value: unknown): PolicyDocument {
  const [name = "", ...rest] = at;
  const next = rest.length === 0 ? value : withValue(isObject(document[name]) ? document[name] : {}, rest, value);
  const changed: Record<string, unknown> = { ...document, [name]: next };
  if (next === undefined) delete changed[name];
  return changed;
}

/** The members in the order in which Kopia stores them, those that it does not know last. */
export function inKopiasOrder(document: PolicyDocument): PolicyDocument {
  let ordered: PolicyDocument = emptyPolicy;
  for (const { at } of POLICY_FIELDS) {
    const value = valueAt(document, at);
    if (value !== undefined) ordered = withValue(ordered, at, value);
  }
  if (document["noParent"] === true) ordered = { ...ordered, noParent: true };
  return withRest(ordered, document);
}

function withRest(ordered: PolicyDocument, document: PolicyDocument): PolicyDocument {
  const result: Record<string, unknown> = { ...ordered };
  for (const [name, value] of Object.entries(document)) {
    const known = Object.hasOwn(result, name) ? result[name] : undefined;
    if (isObject(known) && isObject(value)) result[name] = withRest(known, value);
    else if (known === undefined && value !== null && value !== false) result[name] = value;
  }
  return result;
}

function checkField(document: PolicyDocument, { at, type }: PolicyField, what: string): void {
  let parent: unknown = document;
  for (const name of at.slice(0, -1)) {
    if (!isObject(parent)) throw wrong(what, at.slice(0, -1).join("."), "an object");
    parent = Object.hasOwn(parent, name) ? (parent[name] ?? {}) : {};
  }
  if (!isObject(parent)) throw wrong(what, at.slice(0, -1).join("."), "an object");
  const value = valueAt(document, at);
  if (value === undefined) return;
  const [isRight, wanted] = CHECKS[type];
  if (!isRight(value)) throw wrong(what, at.join("."), wanted);
}

const INT64_MAX = 2n ** 63n - 1n;
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Math.abs(value as number) <= 2 ** 31;

const CHECKS: Readonly<Record<PolicyField["type"], readonly [isRight: (value: unknown) => boolean, wanted: string]>> = {
  count: [isCount, "a whole number"],
  bigCount: [(value) => Number.isSafeInteger(value) || (typeof value === "bigint" && value <= INT64_MAX && value >= -INT64_MAX), "a whole number"],
  flag: [(value) => typeof value === "boolean", "true or false"],
  text: [(value) => typeof value === "string", "a string"],
  texts: [(value) => Array.isArray(value) && value.every((item) => typeof item === "string"), "a list of strings"],
  any: [(value) => isObject(value) || Array.isArray(value), "an object or a list"],
};

/** Levels of nesting. The JSON parser has limited them before, far above any policy. */
function depthOf(value: unknown): number {
  let depth = 0;
  let level: unknown[] = [value];
  while (level.length > 0 && depth <= DEPTH_MAX) {
    depth++;
    level = level.flatMap((item) => (typeof item === "object" && item !== null ? Object.values(item) : []));
  }
  return depth;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(what: string, member: string, wanted: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read ${what}: "${member}" is not ${wanted}`);
}
