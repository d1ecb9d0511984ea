/**
 * kubectl's JSONPath templates, the part people use: `{.status.phase}`, `{.items[*].metadata.name}`, `{.items[0]}`, `{.metadata.labels.app\.kubernetes\.io/name}`, `{['a.b']}`,
 * `{range .items[*]}{.metadata.name}{"\n"}{end}`, and text between braces. Several values of one expression are separated by a space; objects are printed as JSON.
 */
import { DrayError } from "@drayage/base";

type Step = { readonly kind: "key"; readonly name: string } | { readonly kind: "all" } | { readonly kind: "index"; readonly index: number };
type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "path"; readonly steps: readonly Step[] }
  | { readonly kind: "range"; readonly steps: readonly Step[]; readonly body: readonly Part[] };

function usage(template: string, what: string): DrayError {
  return new DrayError("USAGE", `Cannot read JSONPath template "${template}": ${what}`, {
    hint: `Write it as kubectl takes it, for example '{.items[*].metadata.name}'.`,
  });
}

/** Evaluates a template. Throws USAGE when the template cannot be read; a path that leads nowhere prints nothing. */
export function evaluateJsonPath(template: string, root: unknown): string {
  const text =
    template.startsWith("{") || template.includes("{") ? template : `{${template.startsWith(".") || template.startsWith("[") ? "" : "."}${template}}`;
  const tokens = tokenize(text, template);
  const { parts, next } = parseParts(tokens, 0, template, false);
  if (next !== tokens.length) throw usage(template, "{end} without {range}");
  return render(parts, root, root);
}

type Token = { readonly text: string; readonly inBraces: boolean };

function tokenize(text: string, template: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf("{", at);
    if (open < 0) {
      tokens.push({ text: text.slice(at), inBraces: false });
      break;
    }
    if (open > at) tokens.push({ text: text.slice(at, open), inBraces: false });
    let close = open + 1;
    let quote = "";
    for (; close < text.length; close++) {
      const character = text[close] ?? "";
      if (quote !== "") {
        if (character === "\\") close++;
        else if (character === quote) quote = "";
      } else if (character === '"' || character === "'") quote = character;
      else if (character === "}") break;
    }
    if (close >= text.length) throw usage(template, "a brace is not closed");
    tokens.push({ text: text.slice(open + 1, close).trim(), inBraces: true });
    at = close + 1;
  }
  return tokens;
}

function parseParts(tokens: readonly Token[], from: number, template: string, inRange: boolean): { parts: Part[]; next: number } {
  const parts: Part[] = [];
  for (let at = from; at < tokens.length; at++) {
    const token = tokens[at];
    if (token === undefined) break;
    if (!token.inBraces) parts.push({ kind: "text", text: token.text });
    else if (token.text === "end") {
      if (!inRange) return { parts, next: at };
      return { parts, next: at + 1 };
    } else if (token.text.startsWith("range ")) {
      const body = parseParts(tokens, at + 1, template, true);
      parts.push({ kind: "range", steps: parseSteps(token.text.slice(6).trim(), template), body: body.parts });
      at = body.next - 1;
    } else if (/^["']/.test(token.text)) parts.push({ kind: "text", text: unquote(token.text) });
    else parts.push({ kind: "path", steps: parseSteps(token.text, template) });
  }
  if (inRange) throw usage(template, "{range} without {end}");
  return { parts, next: tokens.length };
}

function unquote(text: string): string {
  const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r" };
  return text.slice(1, -1).replaceAll(/\\(.)/g, (_, character: string) => escapes[character] ?? character);
}

function parseSteps(path: string, template: string): Step[] {
  const steps: Step[] = [];
  let rest = path.replace(/^[$@]/, "");
  while (rest !== "") {
    const key = /^\.((?:\\.|[^.[\]\\])+)/.exec(rest);
    const bracket = /^\.?\[(?:(\*)|(-?\d+)|'([^']*)'|"([^"]*)")\]/.exec(rest);
    if (bracket !== null) {
      if (bracket[1] !== undefined) steps.push({ kind: "all" });
      else if (bracket[2] !== undefined) steps.push({ kind: "index", index: Number(bracket[2]) });
      else steps.push({ kind: "key", name: bracket[3] ?? bracket[4] ?? "" });
      rest = rest.slice(bracket[0].length);
    } else if (key !== null) {
      const name = (key[1] ?? "").replaceAll(/\\(.)/g, "$1");
      steps.push(name === "*" ? { kind: "all" } : { kind: "key", name });
      rest = rest.slice(key[0].length);
    } else if (rest === ".") rest = "";
    else throw usage(template, `"${rest}" is not understood`);
  }
  return steps;
}

function valuesAt(steps: readonly Step[], root: unknown): unknown[] {
  let values: unknown[] = [root];
  for (const step of steps) {
    values = values.flatMap((value): unknown[] => {
      if (typeof value !== "object" || value === null) return [];
      if (step.kind === "all") return Object.values(value);
      if (step.kind === "index") return Array.isArray(value) ? value.slice(step.index, step.index === -1 ? undefined : step.index + 1) : [];
      return Object.hasOwn(value, step.name) ? [(value as Record<string, unknown>)[step.name]] : [];
    });
  }
  return values;
}

function render(parts: readonly Part[], current: unknown, root: unknown): string {
  return parts
    .map((part) => {
      if (part.kind === "text") return part.text;
      const values = valuesAt(part.steps, current);
      if (part.kind === "range") return values.map((value) => render(part.body, value, root)).join("");
      return values.map((value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value))).join(" ");
    })
    .join("");
}
