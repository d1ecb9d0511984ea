/**
 * Kubernetes' protobuf bodies, read into the JSON form of the same object.
 *
 *   bytes 0..3   "k8s\0"
 *   bytes 4..    runtime.Unknown { 1: typeMeta { 1: apiVersion, 2: kind }, 2: raw, 3: contentEncoding, 4: contentType }
 *
 * `raw` is the message of the kind. The writers are generated from Go structs: a field held by value is written although it is zero, a pointer only when it is set. The table
 * therefore says of each field whether its zero means something; the others are dropped, as their JSON form would drop them.
 */
import { DrayError, fromUtf8, toBase64 } from "@drayage/base";
import { readTable } from "./built-in-resources.ts";

/**
 * A field of a message: `[number, JSON name, type, flags]`; an empty JSON name means that the fields of its type are inlined. Flags: `r` repeated, `m` map (type is that of the
 * values), `p` held by pointer, so that its zero means something, `a` always in the JSON form.
 */
export type FieldRow = readonly [number: number, json: string, type: string, flags?: string];

type JsonObject = Record<string, unknown>;

const MAGIC = [0x6b, 0x38, 0x73, 0x00] as const;
/** Nesting of messages; JSON schemas in CustomResourceDefinitions are the deepest there are. */
const DEPTH_MAX = 100;
const META = "k8s.io.apimachinery.pkg.apis.meta.v1";

/** Whether the bytes begin as a Kubernetes protobuf body does. */
export function isKubernetesProtobuf(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, index) => bytes[index] === byte);
}

/**
 * The object of a protobuf body, with apiVersion and kind. Throws KUBE_BAD_REQUEST for bytes that are not one, and NOT_SUPPORTED for a kind without a protobuf form.
 */
export function decodeKubernetesProtobuf(bytes: Uint8Array): JsonObject {
  if (!isKubernetesProtobuf(bytes)) throw malformed("the prefix k8s\\0 is missing");
  const envelope = new Reader(bytes.subarray(MAGIC.length));
  const typeMeta = { apiVersion: "", kind: "" };
  let raw: Uint8Array = new Uint8Array(0);
  for (let tag = envelope.tag(); tag !== undefined; tag = envelope.tag()) {
    if (tag.field === 1 && tag.wire === 2) {
      const inner = new Reader(envelope.bytes());
      for (let it = inner.tag(); it !== undefined; it = inner.tag()) {
        if (it.field === 1 && it.wire === 2) typeMeta.apiVersion = inner.text();
        else if (it.field === 2 && it.wire === 2) typeMeta.kind = inner.text();
        else inner.skip(it.wire);
      }
    } else if (tag.field === 2 && tag.wire === 2) raw = envelope.bytes();
    else envelope.skip(tag.wire);
  }
  const message = messageFor(typeMeta.apiVersion, typeMeta.kind);
  if (message === undefined) {
    throw new DrayError("NOT_SUPPORTED", `Cannot decode protobuf body: kind "${typeMeta.kind}" of "${typeMeta.apiVersion}" has no protobuf form here`, {
      hint: "Send it as application/json.",
    });
  }
  const body = decodeMessage(raw, message, 0) as JsonObject;
  return { kind: typeMeta.kind, apiVersion: typeMeta.apiVersion, ...body };
}

/** The message of a kind: groups are packages by their first label, but for the two that live in modules of their own. */
export function messageFor(apiVersion: string, kind: string): string | undefined {
  const [group = "", version = ""] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  const packageOf: Record<string, string> = {
    "": "k8s.io.api.core",
    "apiextensions.k8s.io": "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "k8s.io.kube_aggregator.pkg.apis.apiregistration",
  };
  const own = `${packageOf[group] ?? `k8s.io.api.${group.split(".")[0]}`}.${version}.${kind}`;
  // Options such as DeleteOptions are sent under any group.
  return [own, `${META}.${kind}`].find((name) => fieldsOf(name) !== undefined);
}

let table: Record<string, readonly FieldRow[]> | undefined;
const fieldsByNumber = new Map<string, ReadonlyMap<number, FieldRow>>();

/** The fields of a message by their numbers, or undefined when there is no such message. */
export function fieldsOf(message: string): ReadonlyMap<number, FieldRow> | undefined {
  table ??= readTable<readonly FieldRow[]>("protobuf.json");
  const rows = Object.hasOwn(table, message) ? table[message] : undefined;
  if (rows === undefined) return undefined;
  let known = fieldsByNumber.get(message);
  if (known === undefined) {
    known = new Map(rows.map((row) => [row[0], row]));
    fieldsByNumber.set(message, known);
  }
  return known;
}

/** Messages whose JSON form is not an object of their fields. */
const SPECIAL: Readonly<Record<string, (bytes: Uint8Array, depth: number) => unknown>> = {
  [`${META}.Time`]: (bytes) => timeOf(bytes, false),
  [`${META}.MicroTime`]: (bytes) => timeOf(bytes, true),
  [`${META}.Duration`]: (bytes) => decodeFields(bytes, `${META}.Duration`, 0)["duration"],
  [`${META}.FieldsV1`]: (bytes) => rawJsonOf(bytes),
  [`${META}.Verbs`]: (bytes) => itemsOf(bytes),
  "k8s.io.apimachinery.pkg.runtime.RawExtension": (bytes) => rawJsonOf(bytes),
  "k8s.io.apimachinery.pkg.api.resource.Quantity": (bytes) => firstText(bytes) ?? "0",
  "k8s.io.apimachinery.pkg.util.intstr.IntOrString": (bytes) => intOrStringOf(bytes),
  "k8s.io.api.authentication.v1.ExtraValue": (bytes) => itemsOf(bytes),
  "k8s.io.api.authorization.v1.ExtraValue": (bytes) => itemsOf(bytes),
  "k8s.io.api.certificates.v1.ExtraValue": (bytes) => itemsOf(bytes),
  "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": (bytes) => rawJsonOf(bytes),
  "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": (bytes, depth) => eitherOf(bytes, "JSONSchemaPropsOrArray", depth),
  "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": (bytes, depth) => eitherOf(bytes, "JSONSchemaPropsOrBool", depth),
  "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": (bytes, depth) =>
    eitherOf(bytes, "JSONSchemaPropsOrStringArray", depth),
};

function decodeMessage(bytes: Uint8Array, message: string, depth: number): unknown {
  const special = SPECIAL[message];
  return special === undefined ? decodeFields(bytes, message, depth) : special(bytes, depth);
}

function decodeFields(bytes: Uint8Array, message: string, depth: number): JsonObject {
  if (depth > DEPTH_MAX) throw malformed(`messages are nested deeper than ${DEPTH_MAX}`);
  const fields = fieldsOf(message);
  if (fields === undefined) throw new DrayError("NOT_SUPPORTED", `Cannot decode protobuf body: message "${message}" is not known`);
  const reader = new Reader(bytes);
  const out: JsonObject = {};
  for (let tag = reader.tag(); tag !== undefined; tag = reader.tag()) {
    const field = fields.get(tag.field);
    if (field === undefined) {
      reader.skip(tag.wire);
      continue;
    }
    const [, json, type, flags = ""] = field;
    if (flags.includes("m")) {
      const [key, value] = mapEntry(reader.expectBytes(tag.wire), type, depth);
      out[json] ??= {};
      const map = out[json] as JsonObject;
      Object.defineProperty(map, key, { value, enumerable: true, writable: true, configurable: true });
      continue;
    }
    if (flags.includes("r")) {
      out[json] ??= [];
      const list = out[json] as unknown[];
      if (tag.wire === 2 && NUMERIC.has(type)) {
        const packed = new Reader(reader.bytes());
        while (!packed.done) list.push(scalar(packed, type, type === "double" ? 1 : 0));
      } else list.push(fieldValue(reader, type, tag.wire, depth));
      continue;
    }
    const value = fieldValue(reader, type, tag.wire, depth);
    if (json === "") Object.assign(out, value);
    else if (value !== undefined && (flags !== "" || !isZero(value))) out[json] = value;
  }
  return out;
}

function fieldValue(reader: Reader, type: string, wire: number, depth: number): unknown {
  return type.includes(".") ? decodeMessage(reader.expectBytes(wire), type, depth + 1) : scalar(reader, type, wire);
}

function mapEntry(bytes: Uint8Array, type: string, depth: number): [string, unknown] {
  const reader = new Reader(bytes);
  let key = "";
  let value: unknown = type.includes(".") ? {} : type === "bytes" || type === "string" ? "" : 0;
  for (let tag = reader.tag(); tag !== undefined; tag = reader.tag()) {
    if (tag.field === 1 && tag.wire === 2) key = reader.text();
    else if (tag.field === 2) value = fieldValue(reader, type, tag.wire, depth);
    else reader.skip(tag.wire);
  }
  return [key, value];
}

/** Zero as Go's omitempty and omitzero see it. */
function isZero(value: unknown): boolean {
  return value === "" || value === 0 || value === false || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
}

const NUMERIC: ReadonlySet<string> = new Set(["bool", "int32", "int64", "uint32", "uint64", "double"]);

function scalar(reader: Reader, type: string, wire: number): unknown {
  switch (type) {
    case "string":
      return fromUtf8(reader.expectBytes(wire));
    case "bytes":
      return toBase64(reader.expectBytes(wire));
    case "bool":
      return reader.expectVarint(wire) !== 0n;
    case "int32":
    case "int64":
      return Number(BigInt.asIntN(64, reader.expectVarint(wire)));
    case "uint32":
    case "uint64":
      return Number(reader.expectVarint(wire));
    case "double":
      return reader.double(wire);
    default:
      throw new DrayError("NOT_SUPPORTED", `Cannot decode protobuf body: scalar type "${type}" is not known`);
  }
}

/** RFC 3339 of seconds and nanoseconds; undefined for Go's zero time, which is written as an empty message. */
function timeOf(bytes: Uint8Array, micro: boolean): string | undefined {
  const reader = new Reader(bytes);
  let seconds: bigint | undefined;
  let nanos = 0n;
  for (let tag = reader.tag(); tag !== undefined; tag = reader.tag()) {
    if (tag.field === 1 && tag.wire === 0) seconds = BigInt.asIntN(64, reader.varint());
    else if (tag.field === 2 && tag.wire === 0) nanos = BigInt.asIntN(64, reader.varint());
    else reader.skip(tag.wire);
  }
  if (seconds === undefined) return undefined;
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime())) throw malformed(`time ${seconds} is out of range`);
  const whole = date.toISOString().slice(0, 19);
  return micro ? `${whole}.${String(nanos / 1000n).padStart(6, "0")}Z` : `${whole}Z`;
}

function intOrStringOf(bytes: Uint8Array): number | string {
  const reader = new Reader(bytes);
  let isText = false;
  let number = 0;
  let text = "";
  for (let tag = reader.tag(); tag !== undefined; tag = reader.tag()) {
    if (tag.field === 1 && tag.wire === 0) isText = reader.varint() === 1n;
    else if (tag.field === 2 && tag.wire === 0) number = Number(BigInt.asIntN(64, reader.varint()));
    else if (tag.field === 3 && tag.wire === 2) text = reader.text();
    else reader.skip(tag.wire);
  }
  return isText ? text : number;
}

/** JSON carried as bytes in field 1. */
function rawJsonOf(bytes: Uint8Array): unknown {
  const text = firstText(bytes);
  if (text === undefined || text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw malformed("embedded JSON is not valid", cause);
  }
}

function firstText(bytes: Uint8Array): string | undefined {
  return itemsOf(bytes)[0];
}

/** The texts of field 1. */
function itemsOf(bytes: Uint8Array): string[] {
  const reader = new Reader(bytes);
  const items: string[] = [];
  for (let tag = reader.tag(); tag !== undefined; tag = reader.tag()) {
    if (tag.field === 1 && tag.wire === 2) items.push(reader.text());
    else reader.skip(tag.wire);
  }
  return items;
}

/** The types of JSON Schema that are one thing or another: whichever alternative is set is the value. */
function eitherOf(bytes: Uint8Array, name: string, depth: number): unknown {
  const fields = decodeFields(bytes, `k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.${name}`, depth);
  return fields["schema"] ?? fields["jSONSchemas"] ?? fields["property"] ?? fields["allows"] ?? false;
}

interface Tag {
  readonly field: number;
  readonly wire: number;
}

/** The wire format. Every read is checked against what remains. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  tag(): Tag | undefined {
    if (this.done) return undefined;
    const value = this.varint();
    if (value >> 3n === 0n) throw malformed("a field has number 0");
    return { field: Number(value >> 3n), wire: Number(value & 7n) };
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw malformed("it ends inside a number");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed("a number is longer than 10 bytes");
  }

  bytes(): Uint8Array {
    const length = Number(this.varint());
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed(`${length} bytes are announced, ${this.#bytes.length - this.#at} remain`);
    const part = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return part;
  }

  text(): string {
    return fromUtf8(this.bytes());
  }

  expectBytes(wire: number): Uint8Array {
    if (wire !== 2) throw malformed(`wire type ${wire} stands where 2 was wanted`);
    return this.bytes();
  }

  expectVarint(wire: number): bigint {
    if (wire !== 0) throw malformed(`wire type ${wire} stands where 0 was wanted`);
    return this.varint();
  }

  double(wire: number): number {
    if (wire !== 1 || this.#at + 8 > this.#bytes.length) throw malformed("a double is cut off");
    const value = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, 8).getFloat64(0, true);
    this.#at += 8;
    return value;
  }

  skip(wire: number): void {
    if (wire === 0) this.varint();
    else if (wire === 1) this.#advance(8);
    else if (wire === 2) this.bytes();
    else if (wire === 5) this.#advance(4);
    else throw malformed(`wire type ${wire} is not known`);
  }

  #advance(count: number): void {
    this.#at += count;
    if (this.#at > this.#bytes.length) throw malformed("it ends inside a field");
  }
}

function malformed(what: string, cause?: unknown): DrayError {
  return new DrayError("KUBE_BAD_REQUEST", `Cannot decode protobuf body: ${what}`, cause === undefined ? {} : { cause });
}
