/** As much of Helm's templates as our chart uses: what `helm template` prints of it. An expression that is not known here fails the test that renders it. */
import { parse, stringify } from "yaml";
import type { ChartFile } from "../chart/chart.ts";

type Scope = Readonly<Record<string, unknown>>;

export interface Release {
  readonly namespace: string;
  /** Over the chart's own values. */
  readonly values?: Scope;
}

/** The objects of the chart: its CRDs, then what its templates give. */
export function renderChart(files: readonly ChartFile[], { namespace, values = {} }: Release): unknown[] {
  const text = (path: string): string => files.find((file) => file.path === path)?.text ?? "";
  const chart = parse(text("Chart.yaml")) as Scope;
  const scope = {
    Release: { Namespace: namespace },
    Values: merged(parse(text("values.yaml")) as Scope, values),
    Chart: { AppVersion: chart["appVersion"], Version: chart["version"] },
  };
  return files
    .filter(({ path }) => path.endsWith(".yaml") && (path.startsWith("crds/") || path.startsWith("templates/")))
    .flatMap(({ path, text: source }) => (path.startsWith("crds/") ? source : render(source, scope)).split(/^---$/m))
    .filter((document) => document.trim() !== "")
    .map((document) => parse(document) as unknown);
}

export function render(source: string, scope: Scope): string {
  // `{{-` takes the white space before it, line ends too.
  const tokens = source.replaceAll(/\s*\{\{-/g, "{{").split(/(\{\{.*?\}\})/);
  let at = 0;
  const block = (dot: unknown, isShown: boolean): { text: string; ended: string } => {
    let text = "";
    for (; at < tokens.length; at++) {
      const token = tokens[at] ?? "";
      const [, words] = /^\{\{(.*)\}\}$/.exec(token) ?? [];
      if (words === undefined) {
        if (isShown) text += token;
        continue;
      }
      const [keyword = "", ...rest] = words.trim().split(/\s+/);
      if (keyword === "end" || keyword === "else") return { text, ended: keyword };
      if (keyword !== "if" && keyword !== "with") {
        if (isShown) text += String(pipeline(words.trim(), dot, scope));
        continue;
      }
      const value = pipeline(rest.join(" "), dot, scope);
      at++;
      const first = block(keyword === "with" ? value : dot, isShown && isTrue(value));
      text += first.text;
      if (first.ended === "else") {
        at++;
        text += block(dot, isShown && !isTrue(value)).text;
      }
    }
    return { text, ended: "" };
  };
  return block(scope, true).text;
}

function pipeline(words: string, dot: unknown, scope: Scope): unknown {
  const [first = "", ...functions] = words.split("|").map((part) => part.trim());
  return functions.reduce<unknown>((value, call) => apply(call, value, dot, scope), call(first, dot, scope));
}

function call(words: string, dot: unknown, scope: Scope): unknown {
  const [name = "", ...args] = words.split(/\s+/);
  if (args.length === 0) return lookUp(name, dot, scope);
  const values = args.map((argument) => lookUp(argument, dot, scope));
  if (name === "or") return values.find(isTrue) ?? values.at(-1);
  if (name === "toYaml") return stringify(values[0], { lineWidth: 0 }).trimEnd();
  throw new Error(`Cannot render "${words}"`);
}

function apply(words: string, value: unknown, dot: unknown, scope: Scope): unknown {
  const [name, argument = ""] = words.split(/\s+/);
  switch (name) {
    case "default":
      return isTrue(value) ? value : lookUp(argument, dot, scope);
    case "quote":
      return JSON.stringify(String(value));
    case "b64enc":
      return Buffer.from(String(value)).toString("base64");
    case "nindent":
      return `\n${String(value).replaceAll(/^/gm, " ".repeat(Number(argument)))}`;
    default:
      throw new Error(`Cannot render "| ${words}"`);
  }
}

function lookUp(path: string, dot: unknown, scope: Scope): unknown {
  if (path === ".") return dot;
  if (!/^(\.\w+)+$/.test(path)) throw new Error(`Cannot render "${path}"`);
  return path
    .slice(1)
    .split(".")
    .reduce<unknown>((value, name) => (value as Scope | undefined)?.[name], scope);
}

/** As Go's templates see it: nothing, zero, an empty text, list or map is false. */
function isTrue(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

function merged(below: Scope, above: Scope): Scope {
  const isMap = (value: unknown): value is Scope => typeof value === "object" && value !== null && !Array.isArray(value);
  return Object.fromEntries(
    [...new Set([...Object.keys(below), ...Object.keys(above)])].map((name) => {
      const [lower, upper] = [below[name], above[name]];
      return [name, upper === undefined ? lower : isMap(lower) && isMap(upper) ? merged(lower, upper) : upper];
    }),
  );
}
