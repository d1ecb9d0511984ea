/** Times as Go writes them into JSON: RFC 3339 with up to nine digits of a second. There is one for every entry of a tree, so that most are read digit by digit. */
import { corrupt } from "./json.ts";

const TIME = /^(-?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;
/** Up to here: `2006-01-02T15:04:05`. */
const SECOND_LENGTH = 19;
const NS_DIGITS = 9;
const MS_PER_MINUTE = 60_000;
/** Every month has it. What lies behind it is looked at with more care. */
const LAST_SURE_DAY = 28;
const [ZERO, DASH, PLUS, DOT, COLON, T, Z] = [0x30, 0x2d, 0x2b, 0x2e, 0x3a, 0x54, 0x5a];

/** Nanoseconds since 1970; 0 for a missing time. Throws REPO_CORRUPT. */
export function parseTime(value: unknown, name: string, what: string): bigint {
  if (value === undefined) return 0n;
  const quick = typeof value === "string" ? ordinaryTime(value) : undefined;
  if (quick !== undefined) return quick;
  const match = typeof value === "string" ? TIME.exec(value) : null;
  const ms = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`);
  if (match === null || Number.isNaN(ms)) throw corrupt(what, `"${name}" is ${JSON.stringify(value)?.slice(0, 60)}, a time was wanted`);
  return BigInt(ms) * 1_000_000n + BigInt((match[2] ?? "0").padEnd(NS_DIGITS, "0"));
}

/** Undefined for what is not a time of the usual form within the first 28 days of a month of the years 1000 to 9999: it may still be one. */
function ordinaryTime(text: string): bigint | undefined {
  const is = (at: number, code: number): boolean => text.charCodeAt(at) === code;
  if (!(is(4, DASH) && is(7, DASH) && is(10, T) && is(13, COLON) && is(16, COLON))) return undefined;
  const [year, month, day] = [digits(text, 0, 4), digits(text, 5, 7), digits(text, 8, 10)];
  const [hour, minute, second] = [digits(text, 11, 13), digits(text, 14, 16), digits(text, 17, SECOND_LENGTH)];
  if (!(year >= 1000 && month >= 1 && month <= 12 && day >= 1 && day <= LAST_SURE_DAY && hour < 24 && minute < 60 && second < 60)) return undefined;
  let at = SECOND_LENGTH;
  let ns = 0;
  if (is(at, DOT)) {
    const from = ++at;
    while (at - from <= NS_DIGITS && text.charCodeAt(at) - ZERO >= 0 && text.charCodeAt(at) - ZERO <= 9) at++;
    if (at === from || at - from > NS_DIGITS) return undefined;
    ns = digits(text, from, at) * 10 ** (NS_DIGITS - (at - from));
  }
  let offsetMinutes = 0;
  if (is(at, Z)) {
    if (text.length !== at + 1) return undefined;
  } else {
    if (!(is(at, PLUS) || is(at, DASH)) || !is(at + 3, COLON) || text.length !== at + 6) return undefined;
    const [hours, minutes] = [digits(text, at + 1, at + 3), digits(text, at + 4, at + 6)];
    if (!(hours < 24 && minutes < 60)) return undefined;
    offsetMinutes = (is(at, PLUS) ? 1 : -1) * (hours * 60 + minutes);
  }
  const ms = Date.UTC(year, month - 1, day, hour, minute, second) - offsetMinutes * MS_PER_MINUTE;
  return BigInt(ms) * 1_000_000n + BigInt(ns);
}

/** The number that text[from, to) is, NaN when it is none. */
function digits(text: string, from: number, to: number): number {
  let number = 0;
  for (let at = from; at < to; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    number = number * 10 + digit;
  }
  return number;
}
