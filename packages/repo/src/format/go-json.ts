/**
 * JSON as Kopia stores and reads it: Go's escapes on writing, integers beyond 2^53 kept on reading.
 */
import { DrayError, fromUtf8Strict, messageOf } from "@drayage/base";

/** Go's encoder escapes these in every string; they occur nowhere else in JSON. */
const ESCAPED: Readonly<Record<string, string>> = { "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029" };

/** Compact or indented JSON with Go's escapes. Members that are undefined are left out. */
export function stringifyGo(value: unknown, indent?: string): string {
  return JSON.stringify(value, keepBigIntegers, indent).replace(/[<>&\u2028\u2029]/g, (character) => ESCAPED[character] ?? character);
}

export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses a JSON object of one of Kopia's documents. Integers that a number cannot hold come as bigint.
 * Throws REPO_CORRUPT naming the document when the bytes are not UTF-8, not JSON, or not an object.
 */
export function parseJsonObject(bytes: Uint8Array, document: string): JsonObject {
  const text = fromUtf8Strict(bytes);
  if (text === undefined) throw corrupt(document, "it is not UTF-8 text");
  let value: unknown;
  try {
    value = JSON.parse(text, keepIntegers);
  } catch (cause) {
    throw corrupt(document, `it is not JSON (${messageOf(cause)})`, cause);
  }
  return asObject(value, document);
}

/** Reads typed members of a JSON object; what is absent or null counts as zero, as in Go. Every method throws REPO_CORRUPT for another type. */
export class JsonReader {
  readonly #object: JsonObject;
  readonly #document: string;

  constructor(object: JsonObject, document: string) {
    this.#object = object;
    this.#document = document;
  }

  text(key: string): string {
    const value = this.#object[key] ?? "";
    if (typeof value !== "string") throw this.#wrong(key, "a string");
    return value;
  }

  flag(key: string): boolean {
    const value = this.#object[key] ?? false;
    if (typeof value !== "boolean") throw this.#wrong(key, "true or false");
    return value;
  }

  /** An integer from 0 to `max`. */
  count(key: string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#object[key] ?? 0;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max) throw this.#wrong(key, `an integer from 0 to ${max}`);
    return value;
  }

  /** A duration stored in nanoseconds, in milliseconds. */
  durationMs(key: string): number {
    const value = this.#object[key] ?? 0;
    if (typeof value === "bigint" && value >= 0n) return Number(value / 1_000_000n);
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0) throw this.#wrong(key, "a duration in nanoseconds");
    return value / 1_000_000;
  }

  bytes(key: string): Uint8Array {
    const value = this.text(key);
    if (value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw this.#wrong(key, "base64 text");
    return Uint8Array.from(Buffer.from(value, "base64"));
  }

  /** A time in RFC 3339, in milliseconds; 0 when it is absent or Go's zero time. */
  timeMs(key: string): number {
    const value = this.text(key);
    const ms = value === "" ? 0 : Date.parse(value);
    if (Number.isNaN(ms)) throw this.#wrong(key, "a time");
    return Math.max(ms, 0);
  }

  object(key: string): JsonReader | undefined {
    const value = this.#object[key];
    return value === undefined || value === null ? undefined : new JsonReader(asObject(value, `${this.#document}.${key}`), `${this.#document}.${key}`);
  }

  list(key: string): JsonReader[] {
    const value = this.#object[key] ?? [];
    if (!Array.isArray(value)) throw this.#wrong(key, "a list");
    return value.map((item: unknown, i) => new JsonReader(asObject(item, `${this.#document}.${key}[${i}]`), `${this.#document}.${key}[${i}]`));
  }

  /** A list of anything, as it is. */
  values(key: string): readonly unknown[] {
    const value = this.#object[key] ?? [];
    if (!Array.isArray(value)) throw this.#wrong(key, "a list");
    return value as readonly unknown[];
  }

  texts(key: string): string[] {
    return this.values(key).map((item, i) => {
      if (typeof item !== "string") throw this.#wrong(`${key}[${i}]`, "a string");
      return item;
    });
  }

  /** Names of all members. */
  keys(): string[] {
    return Object.keys(this.#object);
  }

  /** The members that are not named, to be carried along. */
  rest(known: ReadonlySet<string>): JsonObject {
    return Object.fromEntries(Object.entries(this.#object).filter(([key]) => !known.has(key)));
  }

  #wrong(key: string, wanted: string): DrayError {
    return corrupt(this.#document, `"${key}" is not ${wanted}`);
  }
}

/** Nanoseconds of a duration, for storing. */
export function nanoseconds(ms: number): number {
  return Math.round(ms * 1_000_000);
}

/** RFC 3339 in UTC as Go prints it: trailing zeros of the fraction trimmed, no fraction when it is zero. */
export function formatGoTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.?0*Z$/, "Z");
}

function asObject(value: unknown, document: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw corrupt(document, "it is not a JSON object");
  return value as JsonObject;
}

function keepIntegers(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  return typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
}

/** Prints a bigint as the number that it is; the types of the standard library do not know the function yet. */
function keepBigIntegers(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(value.toString()) : value;
}

function corrupt(document: string, what: string, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read ${document}: ${what}`, cause === undefined ? {} : { cause });
}
