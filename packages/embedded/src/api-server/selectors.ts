/** Label and field selectors: their text form in queries, and the structured form in objects. */
import { type ApiObject, type JsonObject, objectAt, objectsAt, textAt, textsAt } from "./json.ts";
import { keyProblems, labelValueProblems } from "./names.ts";
import type { ServedResource } from "./served-resource.ts";
import { badRequest } from "./status-error.ts";

export type Labels = Readonly<Record<string, string>>;

interface Requirement {
  readonly key: string;
  readonly operator: "in" | "notin" | "exists" | "absent" | "gt" | "lt";
  readonly values: readonly string[];
}

export type Selector = (object: ApiObject) => boolean;

function holds(it: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, it.key) ? labels[it.key] : undefined;
  switch (it.operator) {
    case "in":
      return value !== undefined && it.values.includes(value);
    case "notin":
      return value === undefined || !it.values.includes(value);
    case "exists":
      return value !== undefined;
    case "absent":
      return value === undefined;
    case "gt":
      return value !== undefined && Number(value) > Number(it.values[0]);
    case "lt":
      return value !== undefined && Number(value) < Number(it.values[0]);
  }
}

/** `LabelSelector` of an object. An empty one selects everything. */
export function matchesLabelSelector(selector: JsonObject, labels: Labels): boolean {
  const operators = { In: "in", NotIn: "notin", Exists: "exists", DoesNotExist: "absent" } as const;
  return (
    Object.entries(objectAt(selector, "matchLabels") ?? {}).every(([key, value]) => labels[key] === value) &&
    objectsAt(selector, "matchExpressions").every((it) => {
      const operator = operators[textAt(it, "operator") as keyof typeof operators];
      return operator !== undefined && holds({ key: textAt(it, "key"), operator, values: textsAt(it, "values") }, labels);
    })
  );
}

const TOKEN = /\s*(notin\b|in\b|==|!=|[=!(),<>]|[^\s=!(),<>]+)/gy;

/** Reads `app=web,tier in (a,b),!legacy`. Throws BadRequest when it cannot be read. */
export function parseLabelSelector(text: string): (labels: Labels) => boolean {
  const tokens = tokenize(text);
  const requirements: Requirement[] = [];
  let at = 0;
  const next = (): string | undefined => tokens[at++];
  const fail = (found: string | undefined, expected: string): Error => badRequest(`unable to parse requirement: found '${found ?? ""}', expected: ${expected}`);
  while (at < tokens.length) {
    const negated = tokens[at] === "!";
    if (negated) at++;
    const key = next();
    if (key === undefined || /^[=!(),<>]/.test(key))
      throw negated ? fail(key, "identifier") : badRequest(`found '${key ?? ""}', expected: !, identifier, or 'end of string'`);
    const problems = keyProblems(key);
    if (problems.length > 0) throw badRequest(`unable to parse requirement: <nil>: Invalid value: "${key}": ${problems.join("; ")}`);
    if (negated || at >= tokens.length || tokens[at] === ",") {
      requirements.push({ key, operator: negated ? "absent" : "exists", values: [] });
    } else {
      requirements.push(readOperation(key, next, fail));
    }
    const separator = next();
    if (separator !== undefined && separator !== ",") throw badRequest(`found '${separator}', expected: ',' or 'end of string'`);
    if (separator === "," && at >= tokens.length) throw fail("", "identifier after ','");
  }
  return (labels) => requirements.every((it) => holds(it, labels));
}

function readOperation(key: string, next: () => string | undefined, fail: (found: string | undefined, expected: string) => Error): Requirement {
  const operator = next();
  const value = (): string => {
    const text = next() ?? "";
    const problems = labelValueProblems(text);
    if (problems.length > 0) throw badRequest(`unable to parse requirement: values[0][${key}]: Invalid value: "${text}": ${problems.join("; ")}`);
    return text;
  };
  if (operator === "=" || operator === "==") return { key, operator: "in", values: [value()] };
  if (operator === "!=") return { key, operator: "notin", values: [value()] };
  if (operator === ">" || operator === "<") return { key, operator: operator === ">" ? "gt" : "lt", values: [value()] };
  if (operator === "in" || operator === "notin") {
    const open = next();
    if (open !== "(") throw fail(open, "'('");
    const values: string[] = [];
    for (let token = next(); token !== ")"; token = next()) {
      if (token === undefined) throw fail("", "',' or ')'");
      if (token !== ",") values.push(token);
    }
    return { key, operator, values };
  }
  throw fail(operator, "in, notin, =, ==, !=, gt, lt");
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const trimmed = text.trimEnd();
  while (TOKEN.lastIndex < trimmed.length) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(trimmed);
    if (match === null) throw badRequest(`unable to parse requirement: found '${trimmed.slice(start)}', expected: identifier`);
    tokens.push(match[1] ?? "");
  }
  // An operator without a value compares with the empty string.
  return tokens.flatMap((token, index) =>
    /^(=|==|!=)$/.test(token) && (tokens[index + 1] === undefined || tokens[index + 1] === ",") ? [token, ""] : [token],
  );
}

/** Both selectors of a list or watch as one predicate. Throws BadRequest for fields that cannot be selected by. */
export function selectorOf(resource: ServedResource, labelSelector: string, fieldSelector: string): Selector {
  const byLabels = labelSelector.trim() === "" ? undefined : parseLabelSelector(labelSelector);
  const byFields = fieldSelector.trim() === "" ? undefined : parseFieldSelector(resource, fieldSelector);
  return (object) => (byLabels === undefined || byLabels(object.metadata.labels ?? {})) && (byFields === undefined || byFields(object));
}

const EMPTY: ApiObject = { apiVersion: "", kind: "", metadata: {} };

function parseFieldSelector(resource: ServedResource, text: string): Selector {
  const fieldsOf = (object: ApiObject): Readonly<Record<string, string>> => ({
    "metadata.name": object.metadata.name ?? "",
    ...(resource.namespaced || resource.custom === undefined ? { "metadata.namespace": object.metadata.namespace ?? "" } : {}),
    ...resource.strategy.selectableFields?.(object),
  });
  const known = fieldsOf({ ...EMPTY, kind: resource.kind });
  const terms = text.split(/(?<!\\),/).map((term) => {
    const match = /^(.*?)(==|!=|=)(.*)$/s.exec(term.trim());
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const field = match[1] ?? "";
    if (!Object.hasOwn(known, field)) throw unknownField(resource, field);
    return { field, negated: match[2] === "!=", value: (match[3] ?? "").replaceAll(/\\([\\,=])/g, "$1") };
  });
  return (object) => {
    const fields = fieldsOf(object);
    return terms.every((it) => (fields[it.field] === it.value) !== it.negated);
  };
}

/** Kinds that only know name and namespace say so. */
function unknownField(resource: ServedResource, field: string): Error {
  return resource.custom === undefined && resource.strategy.selectableFields === undefined
    ? badRequest(`${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`)
    : badRequest(`field label not supported: ${field}`);
}

/** The name a field selector pins, as `kubectl wait` sends it: authorization then asks for that object only. */
export function nameOfFieldSelector(text: string): string | undefined {
  return /(?:^|,)metadata\.name==?([^,]+)/.exec(text)?.[1];
}
