/** The JSON of restic's files: numbers beyond 2^53 are kept, ids and times are checked, long lists are read element by element. */
import { DrayError, fromUtf8, messageOf } from "@drayage/base";

export type Members = Readonly<Record<string, unknown>>;

/** Bytes of an id: a SHA-256. */
export const ID_BYTES = 32;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
/** One element of a list may not be longer: a limit on memory, far above what restic writes. */
const ELEMENT_BYTES_MAX = 128 << 20;
const DEPTH_MAX = 16;

/** Numbers that a double does not hold, as inodes and device numbers of some file systems are. */
const LONG_NUMBER = /[:[,]\s*-?\d{16,}/;

/** JSON.parse in which whole numbers beyond 2^53 become big integers. Throws REPO_CORRUPT, naming `what`. */
export function parseJson(text: string, what: string): unknown {
  try {
    return LONG_NUMBER.test(text) ? JSON.parse(text, keepLongNumbers) : JSON.parse(text);
  } catch (cause) {
    throw corrupt(what, messageOf(cause), cause);
  }
}

function keepLongNumbers(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== "number" || Number.isSafeInteger(value) || source === undefined || !/^-?\d+$/.test(source)) return value;
  return BigInt(source);
}

/** An object of JSON. Throws REPO_CORRUPT. */
export function parseMembers(text: string, what: string): Members {
  const value = parseJson(text, what);
  if (!isMembers(value)) throw corrupt(what, "it is not a JSON object");
  return value;
}

export function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The elements of the list `member` of a JSON object, as text, one at a time; null stands for an empty list. Returns the text of the object with an empty list in its place.
 * Throws REPO_CORRUPT when the object has no such list, or is no JSON as far as brackets and quotes go; elements are not looked into.
 */
export function* listElements(bytes: Uint8Array, member: string, what: string): Generator<string, string> {
  let depth = 0;
  let listAt = -1;
  let listEnd = -1;
  let elementAt = 0;
  let sawElement = false;
  const opened: number[] = [];
  const element = (end: number, mayBeEmpty: boolean): string | undefined => {
    if (end - elementAt > ELEMENT_BYTES_MAX) throw corrupt(what, `one element of "${member}" has ${end - elementAt} bytes`);
    const text = fromUtf8(bytes.subarray(elementAt, end));
    if (text.trim() !== "") return text;
    if (!mayBeEmpty) throw corrupt(what, `an element of "${member}" is empty`);
    return undefined;
  };
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) {
      at = endOfString(bytes, at, what);
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (byte === OPEN_BRACKET && depth === 1 && opened[0] === OPEN_BRACE && listAt < 0 && followsKey(bytes, at, member)) {
        listAt = at;
        elementAt = at + 1;
      }
      opened[depth++] = byte;
      if (depth > DEPTH_MAX) throw corrupt(what, `it is nested more than ${DEPTH_MAX} deep`);
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth--;
      if (depth < 0 || opened[depth] !== (byte === CLOSE_BRACE ? OPEN_BRACE : OPEN_BRACKET)) throw corrupt(what, `a bracket at byte ${at} closes nothing`);
      if (depth === 1 && listAt >= 0 && listEnd < 0) {
        const last = element(at, !sawElement);
        if (last !== undefined) yield last;
        listEnd = at;
      }
    } else if (byte === COMMA && depth === 2 && listAt >= 0 && listEnd < 0) {
      yield element(at, false) as string;
      sawElement = true;
      elementAt = at + 1;
    }
  }
  if (depth !== 0) throw corrupt(what, "it ends too early");
  if (listAt >= 0) return fromUtf8(bytes.subarray(0, listAt + 1)) + fromUtf8(bytes.subarray(listEnd));
  // Go writes an empty list that was never made as null.
  const text = fromUtf8(bytes);
  const members = parseMembers(text, what);
  if (members[member] !== null) throw corrupt(what, `it has no list "${member}"`);
  return text;
}

/** The index of the closing quote. */
function endOfString(bytes: Uint8Array, start: number, what: string): number {
  for (let at = start + 1; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === BACKSLASH) at++;
    else if (byte === QUOTE) return at;
  }
  throw corrupt(what, "a string does not end");
}

function followsKey(bytes: Uint8Array, at: number, member: string): boolean {
  const before = fromUtf8(bytes.subarray(Math.max(0, at - member.length - 32), at));
  return new RegExp(`"${member}"\\s*:\\s*$`).test(before);
}

/** The bytes of a hexadecimal id. Throws REPO_CORRUPT. */
export function parseId(value: unknown, what: string): Uint8Array {
  if (typeof value !== "string" || !isId(value)) throw corrupt(what, `${JSON.stringify(value)?.slice(0, 100)} is no id`);
  return Buffer.from(value, "hex");
}

/** Whether a text is an id as file names are: 64 lower-case hexadecimal digits. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

/** A whole number from 0 to 2^53 − 1; a missing one is 0. Throws REPO_CORRUPT. */
export function parseCount(value: unknown, name: string, what: string): number {
  if (value === undefined || value === null) return 0;
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw corrupt(what, `"${name}" is ${String(value).slice(0, 40)}, a whole number was wanted`);
  return value as number;
}

/** A whole number from 0 to 2^64 − 1. Throws REPO_CORRUPT. */
export function parseUint64(value: unknown, name: string, what: string): bigint {
  const number = value === undefined || value === null ? 0n : typeof value === "bigint" ? value : Number.isSafeInteger(value) ? BigInt(value as number) : -1n;
  if (number < 0n || number >= 1n << 64n) throw corrupt(what, `"${name}" is ${String(value).slice(0, 40)}, a whole number was wanted`);
  return number;
}

/** A text; a missing one is empty. Throws REPO_CORRUPT. */
export function parseText(value: unknown, name: string, what: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw corrupt(what, `"${name}" is not a text`);
  return value;
}

export function parseTexts(value: unknown, name: string, what: string): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) throw corrupt(what, `"${name}" is not a list of texts`);
  return value as string[];
}

const TIME = /^(-?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** Nanoseconds since 1970 of an RFC 3339 time, as Go writes them; a missing one is 0. Throws REPO_CORRUPT. */
export function parseTime(value: unknown, name: string, what: string): bigint {
  if (value === undefined) return 0n;
  const match = typeof value === "string" ? TIME.exec(value) : null;
  const ms = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`);
  if (match === null || Number.isNaN(ms)) throw corrupt(what, `"${name}" is ${JSON.stringify(value)?.slice(0, 60)}, a time was wanted`);
  return BigInt(ms) * 1_000_000n + BigInt((match[2] ?? "0").padEnd(9, "0"));
}

export function corrupt(what: string, why: string, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${why}`, cause === undefined ? {} : { cause });
}
