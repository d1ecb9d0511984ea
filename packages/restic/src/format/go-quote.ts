/**
 * The names in restic's trees: the body of a string literal of Go (strconv.Quote), inside JSON. What Go cannot print, and bytes that are not UTF-8, are escapes there.
 *
 * Names travel as byte strings: one character per byte.
 */
import { corrupt } from "./json.ts";

const BEYOND_ASCII = /[\u0080-\uffff]/;
const SIMPLE: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11, "\\": 0x5c, '"': 0x22, "'": 0x27 };
const ESCAPE = /\\(?:([abfnrtv\\"'])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|\\/g;

/** The byte string of a text. */
export function byteStringOf(text: string): string {
  return BEYOND_ASCII.test(text) ? Buffer.from(text, "utf8").toString("latin1") : text;
}

/** The byte string that a literal's body stands for. Throws REPO_CORRUPT for an escape that Go does not know. */
export function unquoteGo(body: string, what: string): string {
  const bytes = byteStringOf(body);
  if (!bytes.includes("\\")) return bytes;
  return bytes.replace(ESCAPE, (whole, simple?: string, hex?: string, octal?: string, short?: string, long?: string) => {
    if (simple !== undefined) return String.fromCharCode(SIMPLE[simple] ?? 0);
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    const code = octal === undefined ? Number.parseInt(short ?? long ?? "", 16) : Number.parseInt(octal, 8);
    const isCharacter = octal === undefined ? code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) : code <= 0xff;
    if (!isCharacter) throw corrupt(what, `the name ${JSON.stringify(body.slice(0, 200))} holds the escape ${JSON.stringify(whole)}`);
    return octal === undefined ? byteStringOf(String.fromCodePoint(code)) : String.fromCharCode(code);
  });
}
