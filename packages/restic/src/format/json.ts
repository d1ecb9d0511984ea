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
/** A file of at most so many bytes is parsed in one go, which is many times faster, and takes a few times its length for a moment. restic's index files have some 9 MB. */
const WHOLE_BYTES_MAX = 12 << 20;

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
 * The objects in the list `member` of a JSON object, one at a time; null stands for an empty list. Returns the object itself, its list perhaps emptied. Whole numbers beyond 2^53
 * are big integers where they are members of `wide`; elsewhere nobody can have them. Throws REPO_CORRUPT when there is no such list, or an element is no object.
 */
export function* listObjects(bytes: Uint8Array, member: string, what: string, wide: readonly string[] = []): Generator<Members, Members> {
  if (bytes.length > WHOLE_BYTES_MAX) {
    const elements = listElements(bytes, member, what);
    for (;;) {
      const next = elements.next();
      if (next.done === true) return parseMembers(next.value, what);
      yield parseMembers(next.value, what);
    }
  }
  const text = fromUtf8(bytes);
  const whole = plainMembers(text, what);
  let list = whole[member];
  if (list === null) return whole;
  if (Array.isArray(list) && list.some((element) => hasWideNumber(element, wide))) list = parseMembers(text, what)[member];
  if (!Array.isArray(list)) throw corrupt(what, `it has no list "${member}"`);
  for (const element of list) {
    if (!isMembers(element)) throw corrupt(what, `an element of "${member}" is no object`);
    yield element;
  }
  return whole;
}

/** Without a look for long numbers, which costs as much as the parsing. */
function plainMembers(text: string, what: string): Members {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw corrupt(what, messageOf(cause), cause);
  }
  if (!isMembers(value)) throw corrupt(what, "it is not a JSON object");
  return value;
}

function hasWideNumber(element: unknown, wide: readonly string[]): boolean {
  if (!isMembers(element)) return false;
  for (const name of wide) {
    const value = element[name];
    if (typeof value === "number" && !Number.isSafeInteger(value)) return true;
  }
  return false;
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
  const id = Buffer.from(typeof value === "string" ? value : "", "hex");
  // Decoding ends at the first character that is no digit.
  if (id.length !== ID_BYTES || (value as string).length !== 2 * ID_BYTES) throw corrupt(what, `${JSON.stringify(value)?.slice(0, 100)} is no id`);
  return id;
}

/** A list of ids as their bytes, one behind the other; none for a missing one. Throws REPO_CORRUPT. */
export function parseIds(value: unknown, name: string, what: string): Uint8Array {
  if (value === undefined || value === null) return new Uint8Array(0);
  if (!Array.isArray(value)) throw corrupt(what, `"${name}" is not a list`);
  const [only] = value as unknown[];
  if (value.length === 1) return parseId(only, what);
  const ids = new Uint8Array(value.length * ID_BYTES);
  for (const [index, id] of value.entries()) ids.set(parseId(id, what), index * ID_BYTES);
  return ids;
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

export function corrupt(what: string, why: string, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${why}`, cause === undefined ? {} : { cause });
}
