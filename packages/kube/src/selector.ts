/** Label and field selectors: the text grammar of list requests, the LabelSelector object, and what they select. */
import { DrayError } from "@drayage/base";
import type { LabelSelector } from "./core.ts";
import type { KubeObject } from "./types.ts";

type Operator = "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt";

export interface LabelRequirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

/** All requirements must hold; none selects everything. */
export type ParsedSelector = readonly LabelRequirement[];

const TOKEN = /\s*(\(|\)|,|==|!=|=|!|>|<|[^\s(),=!<>]+)/y;
const KEY = /^([a-z0-9A-Z]([-a-z0-9A-Z.]{0,251}[a-z0-9A-Z])?\/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$/;
const VALUE = /^([a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?$/;

/** Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`. Throws KUBE_BAD_REQUEST naming what was wanted. */
export function parseLabelSelector(text: string): ParsedSelector {
  const tokens = tokenize(text);
  const requirements: LabelRequirement[] = [];
  let at = 0;
  const fail = (wanted: string): never => {
    throw new DrayError("KUBE_BAD_REQUEST", `Cannot read label selector "${text}": ${wanted} is wanted where "${tokens[at] ?? "the end"}" stands`);
  };
  const name = (): string => {
    const token = tokens[at];
    if (token === undefined || !KEY.test(token)) return fail("a label key");
    at++;
    return token;
  };
  const value = (): string => {
    const token = tokens[at];
    // An empty value is legal: `a=` and `a in (,b)`.
    if (token === undefined || token === "," || token === ")") return "";
    if (!VALUE.test(token)) return fail("a label value");
    at++;
    return token;
  };
  const values = (): string[] => {
    if (tokens[at] !== "(") return fail('"("');
    const list: string[] = [];
    do {
      at++;
      list.push(value());
    } while (tokens[at] === ",");
    if (tokens[at] !== ")") return fail('")"');
    at++;
    return list;
  };
  while (at < tokens.length) {
    if (tokens[at] === "!") {
      at++;
      requirements.push({ key: name(), operator: "DoesNotExist", values: [] });
    } else {
      const key = name();
      const operator = tokens[at];
      if (operator === undefined || operator === ",") requirements.push({ key, operator: "Exists", values: [] });
      else {
        at++;
        if (operator === "=" || operator === "==") requirements.push({ key, operator: "In", values: [value()] });
        else if (operator === "!=") requirements.push({ key, operator: "NotIn", values: [value()] });
        else if (operator === "in") requirements.push({ key, operator: "In", values: values() });
        else if (operator === "notin") requirements.push({ key, operator: "NotIn", values: values() });
        else if (operator === ">" || operator === "<") requirements.push({ key, operator: operator === ">" ? "Gt" : "Lt", values: [value()] });
        else {
          at--;
          fail("an operator (=, !=, in, notin)");
        }
      }
    }
    if (at < tokens.length) {
      if (tokens[at] !== ",") fail('","');
      at++;
      if (at === tokens.length) fail("another requirement");
    }
  }
  return requirements;
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  let at = 0;
  const end = text.trimEnd().length;
  while (at < end) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match?.[1] === undefined) throw new DrayError("KUBE_BAD_REQUEST", `Cannot read label selector "${text}": character ${at + 1} fits nothing`);
    tokens.push(match[1]);
    at = TOKEN.lastIndex;
  }
  return tokens;
}

/** The requirements of a LabelSelector object. An empty object selects everything; `undefined` selects nothing and is the caller's to handle. */
export function requirementsOf(selector: LabelSelector): ParsedSelector {
  return [
    ...Object.entries(selector.matchLabels ?? {}).map(([key, value]): LabelRequirement => ({ key, operator: "In", values: [value] })),
    ...(selector.matchExpressions ?? []).map(({ key, operator, values }): LabelRequirement => ({ key, operator, values: values ?? [] })),
  ];
}

/** The text form, for a list request. */
export function formatLabelSelector(selector: ParsedSelector | LabelSelector): string {
  const requirements = isParsed(selector) ? selector : requirementsOf(selector);
  return requirements.map(formatRequirement).join(",");
}

function formatRequirement({ key, operator, values }: LabelRequirement): string {
  switch (operator) {
    case "In":
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(",")})`;
    case "NotIn":
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
    case "Gt":
      return `${key}>${values[0] ?? ""}`;
    case "Lt":
      return `${key}<${values[0] ?? ""}`;
  }
}

function isParsed(selector: ParsedSelector | LabelSelector): selector is ParsedSelector {
  return Array.isArray(selector);
}

/** Whether labels satisfy a selector. `NotIn` and `!=` also hold for a missing label, as in Kubernetes. */
export function matchesLabels(selector: ParsedSelector | LabelSelector, labels: Readonly<Record<string, string>> | undefined): boolean {
  const requirements = isParsed(selector) ? selector : requirementsOf(selector);
  return requirements.every((requirement) => meets(requirement, labels));
}

function meets({ key, operator, values }: LabelRequirement, labels: Readonly<Record<string, string>> | undefined): boolean {
  const present = labels !== undefined && Object.hasOwn(labels, key);
  const actual = present ? (labels[key] ?? "") : "";
  switch (operator) {
    case "In":
      return present && values.includes(actual);
    case "NotIn":
      return !present || !values.includes(actual);
    case "Exists":
      return present;
    case "DoesNotExist":
      return !present;
    case "Gt":
      return present && /^-?\d+$/.test(actual) && BigInt(actual) > BigInt(values[0] ?? "0");
    case "Lt":
      return present && /^-?\d+$/.test(actual) && BigInt(actual) < BigInt(values[0] ?? "0");
  }
}

export interface FieldRequirement {
  readonly path: string;
  readonly equal: boolean;
  readonly value: string;
}

/** Reads `metadata.name=a,status.phase!=Running`. Throws KUBE_BAD_REQUEST. */
export function parseFieldSelector(text: string): readonly FieldRequirement[] {
  if (text.trim() === "") return [];
  return text.split(",").map((part) => {
    const match = /^\s*([\w.[\]'/-]+?)\s*(==|!=|=)\s*(.*?)\s*$/.exec(part);
    if (match?.[1] === undefined) throw new DrayError("KUBE_BAD_REQUEST", `Cannot read field selector "${text}": "${part}" is not path=value`);
    return { path: match[1], equal: match[2] !== "!=", value: match[3] ?? "" };
  });
}

/** Whether an object's fields satisfy a selector; a missing field is the empty text. */
export function matchesFields(requirements: readonly FieldRequirement[], object: KubeObject): boolean {
  return requirements.every(({ path, equal, value }) => (fieldText(object, path) === value) === equal);
}

function fieldText(object: KubeObject, path: string): string {
  let value: unknown = object;
  for (const part of path.split(".")) value = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[part] : undefined;
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}
