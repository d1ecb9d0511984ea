/**
 * Finds the members of JSON text without decoding them, so that a stored document can be carried on byte for byte: numbers above 2^53, key order and unknown members survive.
 * The text must have passed JSON.parse before.
 */
import { DrayError } from "@drayage/base";

/** The members of an object as name and raw text of the value, in their order. A name that occurs twice comes twice. */
export function rawMembers(text: string): [name: string, raw: string][] {
  const members: [string, string][] = [];
  let at = expect(text, skipSpace(text, 0), "{");
  if (text[at] === "}") return members;
  for (;;) {
    const nameEnd = endOfString(text, at);
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = expect(text, skipSpace(text, nameEnd), ":");
    const end = endOfValue(text, start);
    members.push([name, text.slice(start, end)]);
    at = skipSpace(text, end);
    if (text[at] === "}") return members;
    at = expect(text, at, ",");
  }
}

/** The raw texts of a list's elements. */
export function rawElements(text: string): string[] {
  const elements: string[] = [];
  let at = expect(text, skipSpace(text, 0), "[");
  if (text[at] === "]") return elements;
  for (;;) {
    const end = endOfValue(text, at);
    elements.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === "]") return elements;
    at = expect(text, at, ",");
  }
}

function expect(text: string, at: number, character: string): number {
  if (text[at] !== character)
    throw new DrayError("REPO_CORRUPT", `Cannot read JSON: ${JSON.stringify(text[at] ?? "its end")} at ${at}, "${character}" was wanted`);
  return skipSpace(text, at + 1);
}

const SPACE = /[ \t\n\r]*/y;
const SCALAR = /[^\s,\]}]*/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;
const PLAIN = /[^"{}[\]]*/y;

function skipSpace(text: string, at: number): number {
  return matchEnd(SPACE, text, at);
}

function endOfString(text: string, at: number): number {
  return matchEnd(STRING, text, at);
}

function endOfValue(text: string, at: number): number {
  const first = text[at];
  if (first === '"') return endOfString(text, at);
  if (first !== "{" && first !== "[") return matchEnd(SCALAR, text, at);
  let depth = 0;
  for (let here = at; here < text.length; ) {
    const character = text[here];
    if (character === '"') {
      here = endOfString(text, here);
      continue;
    }
    if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    here++;
    if (depth === 0) return here;
    here = matchEnd(PLAIN, text, here);
  }
  throw new DrayError("REPO_CORRUPT", "Cannot read JSON: it ends inside a value");
}

function matchEnd(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  const match = pattern.exec(text);
  if (match === null) throw new DrayError("REPO_CORRUPT", `Cannot read JSON: nothing of the wanted form at ${at}`);
  return at + match[0].length;
}
