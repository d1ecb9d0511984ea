/** Bodies in and out: media types, limits, JSON, YAML and Kubernetes protobuf. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { gzip } from "node:zlib";
import { fromUtf8, hasCode, messageOf } from "@drayage/base";
import { decodeKubernetesProtobuf, isKubernetesProtobuf } from "@drayage/protocols/kubernetes";
import { parse as parseYaml, stringify as stringifyYaml } from "yaml";
import { isObject, type Json, type JsonObject } from "./json.ts";
import { badRequest, entityTooLarge, notAcceptable, unsupportedMediaType } from "./status-error.ts";

export const BODY_MAX_BYTES = 3 * 1024 * 1024;
/** Answers from this size on are compressed for clients that take it. */
const GZIP_FROM_BYTES = 128 * 1024;
const BODY_TYPES = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"] as const;

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    // The rest is still read, so that the client gets the answer instead of a broken connection.
    if (size <= BODY_MAX_BYTES) parts.push(part);
  }
  if (size > BODY_MAX_BYTES) throw entityTooLarge(BODY_MAX_BYTES);
  return Buffer.concat(parts);
}

export function mediaTypeOf(header: string | undefined): string {
  return (header ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

/** The object of a request's body. Throws BadRequest or UnsupportedMediaType. `kind` is what was expected, for messages. */
export function decodeObject(body: Buffer, contentType: string | undefined, kind = "JSON"): JsonObject {
  const type = mediaTypeOf(contentType);
  const unrecognized = (why: string): Error => badRequest(`the object provided is unrecognized (must be of type ${kind}): ${why} (${excerpt(body)})`);
  if (type === "application/vnd.kubernetes.protobuf") {
    if (!isKubernetesProtobuf(body)) throw unrecognized("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    try {
      return decodeKubernetesProtobuf(body) as JsonObject;
    } catch (error) {
      if (hasCode(error, "NOT_SUPPORTED")) throw unsupportedMediaType(["application/json", "application/yaml"]);
      throw unrecognized(messageOf(error));
    }
  }
  if (type !== "" && !(BODY_TYPES as readonly string[]).includes(type)) throw unsupportedMediaType(BODY_TYPES);
  const value = type === "application/yaml" ? decodeYaml(body) : parseJson(body, (why) => unrecognized(`couldn't get version/kind; json parse error: ${why}`));
  if (!isObject(value))
    throw unrecognized(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(value) ? "array" : typeof value} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`,
    );
  return value;
}

/** The JSON value of a patch. */
export function decodeJson(body: Buffer): Json {
  return parseJson(body, (why) => badRequest(`error decoding patch: ${why}`));
}

function parseJson(body: Buffer, failure: (why: string) => Error): Json {
  const text = fromUtf8(body);
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw failure(syntaxProblem(text, messageOf(error)));
  }
}

/** What was expected where a JSON text breaks, by the beginning of the engine's message. */
const EXPECTED: readonly (readonly [RegExp, string])[] = [
  [/^Expected property name/, "looking for beginning of object key string"],
  [/^Expected double-quoted property name/, "looking for beginning of object key string"],
  [/^Expected ':'/, "after object key"],
  [/^Expected ',' or '}'/, "after object key:value pair"],
  [/^Expected ',' or '\]'/, "after array element"],
  [/^Unexpected non-whitespace/, "after top-level value"],
  [/^Bad control character/, "in string literal"],
  [/^Unexpected token/, "looking for beginning of value"],
];

/** A syntax error in the words clients of the API know. */
function syntaxProblem(text: string, message: string): string {
  const position = /at position (\d+)/.exec(message)?.[1];
  const token = /^Unexpected token '(.)'/su.exec(message)?.[1] ?? (position === undefined ? undefined : text[Number(position)]);
  const expected = EXPECTED.find(([pattern]) => pattern.test(message))?.[1];
  return token === undefined || expected === undefined ? "unexpected end of JSON input" : `invalid character '${token}' ${expected}`;
}

const EXCERPT_BYTES = 30;

/** The beginning of a body: as text when it could be JSON, else in hex. */
function excerpt(body: Buffer): string {
  if (body.length === 0) return "<empty>";
  const part = body.subarray(0, EXCERPT_BYTES).toString(body[0] === 0x7b ? "utf8" : "hex");
  return body.length > EXCERPT_BYTES ? `${part} ...` : part;
}

export function decodeYaml(body: Buffer): Json {
  try {
    // JSON is YAML; aliases are limited, so that a small body cannot become a huge object.
    return (parseYaml(fromUtf8(body), { maxAliasCount: 100 }) ?? null) as Json;
  } catch (error) {
    throw badRequest(`error converting YAML to JSON: ${messageOf(error)}`);
  }
}

/** In what form an answer is wanted. */
export interface Accepted {
  readonly type: "application/json" | "application/yaml";
  /** Table, PartialObjectMetadata, PartialObjectMetadataList, or undefined for the object itself. */
  readonly as: string | undefined;
  readonly asVersion: string;
}

/** The first form of an Accept header that can be given. Throws NotAcceptable when there is none. */
export function acceptedForm(header: string | undefined): Accepted {
  const offers = (header ?? "").trim() === "" ? ["*/*"] : (header ?? "").split(",");
  for (const offer of offers) {
    const [type = "", ...parameters] = offer.split(";").map((it) => it.trim());
    const values = Object.fromEntries(parameters.map((it) => it.split("=", 2) as [string, string]));
    const as = values["as"];
    if (as !== undefined && (values["g"] !== "meta.k8s.io" || !["v1", "v1beta1"].includes(values["v"] ?? ""))) {
      if (values["g"] !== "apidiscovery.k8s.io") continue;
    }
    const form = { as, asVersion: `${values["g"] ?? "meta.k8s.io"}/${values["v"] ?? "v1"}` };
    if (type === "application/json" || type === "*/*" || type === "application/*") return { type: "application/json", ...form };
    if (type === "application/yaml") return { type: "application/yaml", ...form };
  }
  throw notAcceptable(BODY_TYPES);
}

export interface Answer {
  readonly code: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly warnings?: readonly string[];
}

/** Adds warnings to an answer, each once. */
export function warn(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  const before = [response.getHeader("Warning") ?? []].flat().map(String);
  response.setHeader("Warning", [...new Set([...before, ...warnings.map((it) => `299 - ${JSON.stringify(it)}`)])]);
}

/** Sends an object as JSON or YAML. */
export async function send(request: IncomingMessage, response: ServerResponse, answer: Answer, type: Accepted["type"] = "application/json"): Promise<void> {
  const text = type === "application/yaml" ? stringifyYaml(answer.body, { aliasDuplicateObjects: false }) : `${JSON.stringify(answer.body)}\n`;
  warn(response, answer.warnings ?? []);
  response.setHeader("Content-Type", type);
  response.setHeader("Cache-Control", "no-cache, private");
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  let bytes: Buffer = Buffer.from(text, "utf8");
  if (bytes.length >= GZIP_FROM_BYTES && /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""))) {
    bytes = await new Promise<Buffer>((resolve, reject) => gzip(bytes, { level: 1 }, (error, packed) => (error === null ? resolve(packed) : reject(error))));
    response.setHeader("Content-Encoding", "gzip");
    response.setHeader("Vary", "Accept-Encoding");
  }
  response.setHeader("Content-Length", bytes.length);
  response.writeHead(answer.code);
  if (response.destroyed) return;
  await new Promise<void>((resolve) => {
    response.once("close", resolve);
    response.end(request.method === "HEAD" ? undefined : bytes, resolve);
  });
}
