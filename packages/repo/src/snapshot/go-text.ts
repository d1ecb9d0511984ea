/**
 * The text forms of Go's encoding/json and time packages, in which Kopia stores listings and manifests. Object ids depend on them byte for byte (kopia-format.md 7.5).
 *
 * Names travel in this house as *byte strings*: one character per byte (latin1). Such a string sorts by bytes, goes into a Map, and holds names that are not UTF-8.
 */
import { DrayError } from "@drayage/base";

/** Anything that UTF-8 writes as more than one byte. */
const BEYOND_ASCII = /[\u0080-\uffff]/;

/** The byte string of a text. */
export function byteStringOf(text: string): string {
  return !BEYOND_ASCII.test(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** The text of a byte string, with U+FFFD for each byte that is not part of valid UTF-8, as Go decodes. */
export function textOfByteString(name: string): string {
  if (!BEYOND_ASCII.test(name)) return name;
  const text = utf8TextOf(name);
  if (text !== undefined) return text;
  let out = "";
  for (const piece of splitInvalid(name)) out += piece ?? "\ufffd";
  return out;
}

export function isUtf8(name: string): boolean {
  return !BEYOND_ASCII.test(name) || utf8TextOf(name) !== undefined;
}

/** A JSON string as Go writes it: HTML characters and line separators escaped, everything else raw. */
export function goJsonString(text: string): string {
  return JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, escapeCharacter);
}

/** A JSON string of a byte string. An invalid byte becomes the escape `\ufffd`, while a genuine U+FFFD stays raw. */
export function goJsonBytes(name: string): string {
  const text = BEYOND_ASCII.test(name) ? utf8TextOf(name) : name;
  if (text !== undefined) return goJsonString(text);
  let out = '"';
  for (const piece of splitInvalid(name)) out += piece === undefined ? "\\ufffd" : goJsonString(piece).slice(1, -1);
  return `${out}"`;
}

/** RFC 3339 in UTC with up to nine digits of fraction, trailing zeros trimmed. */
export function goTime(ns: bigint): string {
  let seconds = ns / 1_000_000_000n;
  let fraction = ns % 1_000_000_000n;
  if (fraction < 0n) {
    fraction += 1_000_000_000n;
    seconds -= 1n;
  }
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return fraction === 0n ? `${whole}Z` : `${whole}.${String(fraction).padStart(9, "0").replace(/0+$/, "")}Z`;
}

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** Nanoseconds since 1970 of an RFC 3339 time with any offset. Throws REPO_CORRUPT. */
export function parseGoTime(text: unknown): bigint {
  const match = typeof text === "string" ? TIME.exec(text) : null;
  const seconds = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`);
  if (match === null || Number.isNaN(seconds)) throw new DrayError("REPO_CORRUPT", `Cannot read time ${JSON.stringify(text)}: it is not RFC 3339`);
  return BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? "0").padEnd(9, "0"));
}

const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_ISVTX = 0o1000;
const GO_SETUID = 1 << 23;
const GO_SETGID = 1 << 22;
const GO_STICKY = 1 << 20;

/** Permission bits (the low 12 of st_mode) as Kopia stores them: an octal number with a leading 0 in the bits of Go's os.FileMode. */
export function goMode(mode: number): string {
  const bits = (mode & 0o777) | ((mode & S_ISUID) === 0 ? 0 : GO_SETUID) | ((mode & S_ISGID) === 0 ? 0 : GO_SETGID) | ((mode & S_ISVTX) === 0 ? 0 : GO_STICKY);
  return `0${bits.toString(8)}`;
}

/** The permission bits of a stored mode. Throws REPO_CORRUPT. */
export function parseGoMode(text: unknown): number {
  if (typeof text !== "string" || !/^(0[0-7]{0,11}|[1-9]\d{0,9})$/.test(text))
    throw new DrayError("REPO_CORRUPT", `Cannot read mode ${JSON.stringify(text)}: it is not a number`);
  const bits = text.startsWith("0") ? Number.parseInt(text, 8) : Number(text);
  return (bits & 0o777) | ((bits & GO_SETUID) === 0 ? 0 : S_ISUID) | ((bits & GO_SETGID) === 0 ? 0 : S_ISGID) | ((bits & GO_STICKY) === 0 ? 0 : S_ISVTX);
}

function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8TextOf(name: string): string | undefined {
  try {
    return strict.decode(Buffer.from(name, "latin1"));
  } catch {
    return undefined;
  }
}

/** The valid stretches of a byte string as text, and `undefined` for each byte between them. WHATWG decoders would merge several bytes into one replacement; Go does not. */
function* splitInvalid(name: string): Generator<string | undefined> {
  const bytes = Buffer.from(name, "latin1");
  let valid = 0;
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    if (length > 0) {
      at += length;
      continue;
    }
    if (at > valid) yield bytes.toString("utf8", valid, at);
    yield undefined;
    at++;
    valid = at;
  }
  if (bytes.length > valid) yield bytes.toString("utf8", valid);
}

/** Bytes of the valid UTF-8 sequence at `at`, 0 when there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) return 1;
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  const second = bytes[at + 1] ?? 0;
  // Overlong forms, surrogates and what lies beyond U+10FFFF differ from valid text in the second byte.
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let index = 2; index < length; index++) if (((bytes[at + index] ?? 0) & 0xc0) !== 0x80) return 0;
  return length;
}
