/**
 * Objects of built-in kinds as a typed server sees them: fields it does not know are dropped (and named), types are checked, zero values and nulls are kept or left out as the
 * JSON form of the Go struct would have it. Driven by the table of protobuf fields, which holds every fact needed.
 */
import { builtInSchemas, type FieldRow, fieldsOf, messageFor } from "@drayage/protocols/kubernetes";
import { isObject, type Json, type JsonObject } from "./json.ts";
import { canonicalQuantity } from "./quantity.ts";
import { badRequest } from "./status-error.ts";

interface FieldPlan {
  readonly json: string;
  readonly type: string;
  readonly repeated: boolean;
  readonly map: boolean;
  readonly pointer: boolean;
  readonly always: boolean;
}

interface MessagePlan {
  readonly name: string;
  readonly fields: ReadonlyMap<string, FieldPlan>;
  /** Whether objects of this type carry apiVersion and kind. */
  readonly hasTypeMeta: boolean;
}

export interface TypedResult {
  readonly object: JsonObject;
  /** Paths of fields that were dropped, as `spec.containers[0].foo`. */
  readonly unknownFields: readonly string[];
}

/** Reads an object of a built-in kind. Throws BadRequest where a value has the wrong type. */
export function readTyped(value: JsonObject, apiVersion: string, kind: string): TypedResult {
  const message = messageFor(apiVersion, kind);
  const plan = message === undefined ? undefined : planOf(message);
  if (plan === undefined) return { object: value, unknownFields: [] };
  const version = apiVersion.split("/").at(-1) ?? "";
  const walk = new Walk(`${kind} in version "${version}" cannot be handled as a ${kind}`);
  return { object: walk.message(value, plan, "", ""), unknownFields: walk.unknownFields };
}

const plans = new Map<string, MessagePlan | undefined>();

function planOf(message: string): MessagePlan | undefined {
  if (plans.has(message)) return plans.get(message);
  const rows = fieldsOf(message);
  const plan = rows === undefined ? undefined : { name: message, fields: fieldPlans([...rows.values()]), hasTypeMeta: hasTypeMeta(message) };
  plans.set(message, plan);
  return plan;
}

function fieldPlans(rows: readonly FieldRow[]): Map<string, FieldPlan> {
  const found = new Map<string, FieldPlan>();
  for (const [, json, type, flags = ""] of rows) {
    if (json === "") for (const inlined of fieldPlans([...(fieldsOf(type)?.values() ?? [])]).values()) found.set(inlined.json, inlined);
    else found.set(json, { json, type, repeated: flags.includes("r"), map: flags.includes("m"), pointer: flags.includes("p"), always: flags.includes("a") });
  }
  return found;
}

/** `k8s.io.api.core.v1.Pod` is published as `io.k8s.api.core.v1.Pod`; packages with an underscore, as kube_aggregator, have a hyphen there. */
function hasTypeMeta(message: string): boolean {
  const properties = builtInSchemas()[message.replace(/^k8s\.io\./, "io.k8s.").replaceAll("_", "-")]?.properties;
  return properties?.["kind"] !== undefined && properties["apiVersion"] !== undefined;
}

const META = "k8s.io.apimachinery.pkg.apis.meta.v1";
const CRD = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1";

/** Types whose JSON form is a scalar or anything at all. */
const SPECIAL: Readonly<Record<string, (value: Json, walk: Walk, path: string, indexed: string) => Json | undefined>> = {
  [`${META}.Time`]: (value, walk) => walk.time(value, false),
  [`${META}.MicroTime`]: (value, walk) => walk.time(value, true),
  [`${META}.Duration`]: (value) => value,
  [`${META}.FieldsV1`]: (value) => value,
  "k8s.io.apimachinery.pkg.runtime.RawExtension": (value) => value,
  "k8s.io.apimachinery.pkg.api.resource.Quantity": (value, walk) => walk.quantity(value),
  "k8s.io.apimachinery.pkg.util.intstr.IntOrString": (value, walk, path) => walk.intOrString(value, path),
  "k8s.io.api.authentication.v1.ExtraValue": (value) => value,
  "k8s.io.api.authorization.v1.ExtraValue": (value) => value,
  "k8s.io.api.certificates.v1.ExtraValue": (value) => value,
  [`${CRD}.JSON`]: (value) => value,
  [`${CRD}.JSONSchemaPropsOrArray`]: (value, walk, path, indexed) => (Array.isArray(value) ? value : walk.schemaOr(value, path, indexed)),
  [`${CRD}.JSONSchemaPropsOrBool`]: (value, walk, path, indexed) => (typeof value === "boolean" ? value : walk.schemaOr(value, path, indexed)),
  [`${CRD}.JSONSchemaPropsOrStringArray`]: (value, walk, path, indexed) => (Array.isArray(value) ? value : walk.schemaOr(value, path, indexed)),
};

const GO_TYPES: Readonly<Record<string, string>> = { bytes: "[]uint8", double: "float64" };

class Walk {
  readonly unknownFields: string[] = [];
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** @param path - the path as Go names it in errors, without indexes; `indexed` is the one of strict decoding, with them */
  message(value: Json, plan: MessagePlan, path: string, indexed: string): JsonObject {
    if (!isObject(value)) throw this.#mismatch(value, "", path, goTypeName(plan.name));
    const out: JsonObject = {};
    if (plan.hasTypeMeta) {
      for (const key of ["kind", "apiVersion"]) {
        if (typeof value[key] === "string" && value[key] !== "") out[key] = value[key];
        else if (value[key] !== undefined && value[key] !== null && value[key] !== "") throw this.#mismatch(value[key], plan.name, join(path, key), "string");
      }
    }
    const read = new Map<string, Json>();
    // In the order of the document, so that unknown fields are named in that order.
    for (const key of Object.keys(value)) {
      const field = plan.fields.get(key);
      if (field === undefined) {
        if (!plan.hasTypeMeta || (key !== "kind" && key !== "apiVersion")) this.unknownFields.push(join(indexed, key));
        continue;
      }
      const found = this.#field(value[key], field, plan.name, join(path, key), join(indexed, key));
      if (found !== undefined) read.set(key, found);
    }
    for (const field of plan.fields.values()) {
      const found = Object.hasOwn(value, field.json) ? read.get(field.json) : this.#field(undefined, field, plan.name, "", "");
      if (found !== undefined) out[field.json] = found;
    }
    return out;
  }

  #field(given: Json | undefined, field: FieldPlan, owner: string, path: string, indexed: string): Json | undefined {
    if (given === undefined || given === null) return field.always ? this.#absent(field) : undefined;
    if (field.map) {
      if (!isObject(given)) throw this.#mismatch(given, owner, path, `map[string]${goTypeName(field.type)}`);
      const entries = Object.entries(given).map(([key, value]) => [key, this.#value(value ?? null, field.type, owner, path, join(indexed, key))] as const);
      return entries.length === 0 && !field.always ? undefined : Object.fromEntries(entries);
    }
    if (field.repeated) {
      if (!Array.isArray(given)) throw this.#mismatch(given, owner, path, `[]${goTypeName(field.type)}`);
      if (given.length === 0 && !field.always) return undefined;
      return given.map((item, index) => this.#value(item, field.type, owner, path, `${indexed}[${index}]`));
    }
    const read = this.#value(given, field.type, owner, path, indexed);
    return !field.pointer && !field.always && isZero(read) ? undefined : read;
  }

  /** What Go writes for a field that is always written and was not given. */
  #absent(field: FieldPlan): Json {
    if (field.pointer || field.map || field.repeated) return null;
    if (!field.type.includes(".")) return field.type === "string" ? "" : field.type === "bool" ? false : field.type === "bytes" ? null : 0;
    if (field.type.endsWith(".Quantity")) return "0";
    if (field.type.endsWith(".IntOrString")) return 0;
    if (SPECIAL[field.type] !== undefined) return null;
    const plan = planOf(field.type);
    return plan === undefined ? {} : this.message({}, plan, "", "");
  }

  #value(value: Json, type: string, owner: string, path: string, indexed: string): Json {
    if (value === null) {
      // A null element is the zero of its type.
      const zero = this.#absent({ json: "", type, repeated: false, map: false, pointer: false, always: true });
      return zero;
    }
    const special = SPECIAL[type];
    if (special !== undefined) return special(value, this, path, indexed) ?? null;
    if (type.includes(".")) {
      const plan = planOf(type);
      return plan === undefined ? value : this.message(value, plan, path, indexed);
    }
    return this.#scalar(value, type, owner, path);
  }

  #scalar(value: Json, type: string, owner: string, path: string): Json {
    if (type === "string" && typeof value === "string") return value;
    if (type === "bool" && typeof value === "boolean") return value;
    if (type === "double" && typeof value === "number") return value;
    if (type === "bytes" && typeof value === "string") {
      // JavaScript's own decoder accepts anything; a character outside of the alphabet or a broken length is an error.
      const bad = /[^A-Za-z0-9+/=\r\n]/.exec(value)?.index ?? (value.replaceAll(/[\r\n]/g, "").length % 4 === 0 ? -1 : value.length);
      if (bad >= 0) throw this.error(`illegal base64 data at input byte ${bad}`);
      return Buffer.from(value, "base64").toString("base64");
    }
    if (/^u?int/.test(type) && typeof value === "number") {
      if (Number.isInteger(value) && (!type.endsWith("32") || Math.abs(value) <= 0x7fff_ffff)) return value;
      throw this.#mismatch(value, owner, path, type, ` ${value}`);
    }
    throw this.#mismatch(value, owner, path, GO_TYPES[type] ?? type);
  }

  time(value: Json, micro: boolean): Json {
    if (typeof value !== "string") throw this.error(`json: cannot unmarshal ${jsonKind(value)} into Go value of type string`);
    const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/.exec(value);
    const ms = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`);
    if (match === null || Number.isNaN(ms)) {
      const layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
      throw this.error(`parsing time "${value}" as "${layout}": cannot parse "${value}" as "2006"`);
    }
    const whole = new Date(ms).toISOString().slice(0, 19);
    return micro ? `${whole}.${(match[2] ?? "").slice(0, 6).padEnd(6, "0")}Z` : `${whole}Z`;
  }

  quantity(value: Json): Json {
    const text = typeof value === "number" ? String(value) : value;
    const canonical = typeof text === "string" ? canonicalQuantity(text.trim()) : undefined;
    if (canonical === undefined) throw this.error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    return canonical;
  }

  intOrString(value: Json, path: string): Json {
    if (typeof value === "string" || (typeof value === "number" && Number.isInteger(value))) return value;
    throw this.#mismatch(value, "", path, "int32");
  }

  schemaOr(value: Json, path: string, indexed: string): Json {
    const plan = planOf(`${CRD}.JSONSchemaProps`);
    return plan === undefined ? value : this.message(value, plan, path, indexed);
  }

  error(what: string): Error {
    return badRequest(`${this.#prefix}: ${what}`);
  }

  #mismatch(value: Json | undefined, owner: string, path: string, goType: string, extra = ""): Error {
    const target = path === "" ? `Go value of type ${goType}` : `Go struct field ${owner.split(".").at(-1) ?? ""}.${path} of type ${goType}`;
    return this.error(`json: cannot unmarshal ${jsonKind(value)}${extra} into ${target}`);
  }
}

/** `k8s.io.api.core.v1.Container` is `v1.Container` in Go. */
function goTypeName(type: string): string {
  return type.includes(".") ? type.split(".").slice(-2).join(".") : (GO_TYPES[type] ?? type);
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function jsonKind(value: Json | undefined): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

function isZero(value: Json): boolean {
  return value === "" || value === 0 || value === false || value === null || (isObject(value) && Object.keys(value).length === 0);
}
