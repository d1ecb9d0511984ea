/**
 * `x-kubernetes-validations`: rules in CEL over a value (`self`) and, on updates, over what it was (`oldSelf`). Compiled once with the definition.
 *
 * A rule that names oldSelf is a transition rule: it runs only where there is an old value, unless it says `optionalOldSelf`.
 */
import { type CelInput, CelScalar, celEnv, celFunc, celList, celMap, celMethod, isCelError, listType, parse, plan } from "@bufbuild/cel";
import { messageOf } from "@drayage/base";
import { isObject, type Json } from "../json.ts";
import { duplicate, type FieldError, fieldForbidden, invalid, required } from "../status-error.ts";
import type { StructuralSchema, ValidationRule } from "./structural.ts";

type Bindings = Record<string, CelInput>;

interface CompiledRule {
  readonly rule: ValidationRule;
  readonly usesOld: boolean;
  readonly evaluate: (bindings: Bindings) => unknown;
  readonly message: ((bindings: Bindings) => unknown) | undefined;
}

/** Rules of a schema node and of those below it; nodes without any are left out. */
export interface RuleSet {
  readonly schema: StructuralSchema | undefined;
  readonly rules: readonly CompiledRule[];
  readonly properties: ReadonlyMap<string, RuleSet>;
  readonly items: RuleSet | undefined;
  readonly values: RuleSet | undefined;
}

const NONE: RuleSet = { schema: undefined, rules: [], properties: new Map(), items: undefined, values: undefined };

const regexes = new Map<string, RegExp>();
function regex(pattern: string): RegExp {
  let known = regexes.get(pattern);
  if (known === undefined) {
    known = new RegExp(pattern, "u");
    regexes.set(pattern, known);
  }
  return known;
}

const LIST = listType(CelScalar.DYN);

/** Functions Kubernetes adds to CEL that rules in the field use. */
const FUNCTIONS = [
  celMethod("find", CelScalar.STRING, [CelScalar.STRING], CelScalar.STRING, function (pattern) {
    return regex(pattern).exec(String(this))?.[0] ?? "";
  }),
  celMethod("lowerAscii", CelScalar.STRING, [], CelScalar.STRING, function () {
    return String(this).replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
  }),
  celMethod("upperAscii", CelScalar.STRING, [], CelScalar.STRING, function () {
    return String(this).replaceAll(/[a-z]/g, (letter) => letter.toUpperCase());
  }),
  celMethod("trim", CelScalar.STRING, [], CelScalar.STRING, function () {
    return String(this).trim();
  }),
  celMethod("split", CelScalar.STRING, [CelScalar.STRING], LIST, function (separator) {
    return celList(String(this).split(separator));
  }),
  celMethod("replace", CelScalar.STRING, [CelScalar.STRING, CelScalar.STRING], CelScalar.STRING, function (from, to) {
    return String(this).replaceAll(from, to);
  }),
  celMethod("substring", CelScalar.STRING, [CelScalar.INT], CelScalar.STRING, function (start) {
    return String(this).slice(Number(start));
  }),
  celMethod("substring", CelScalar.STRING, [CelScalar.INT, CelScalar.INT], CelScalar.STRING, function (start, end) {
    return String(this).slice(Number(start), Number(end));
  }),
  celMethod("indexOf", CelScalar.STRING, [CelScalar.STRING], CelScalar.INT, function (part) {
    return BigInt(String(this).indexOf(part));
  }),
  celMethod("join", LIST, [], CelScalar.STRING, function () {
    return [...(this as Iterable<unknown>)].join("");
  }),
  celMethod("join", LIST, [CelScalar.STRING], CelScalar.STRING, function (separator) {
    return [...(this as Iterable<unknown>)].join(separator);
  }),
  celMethod("sum", LIST, [], CelScalar.DYN, function () {
    const items = [...(this as Iterable<unknown>)];
    return items.every((it) => typeof it === "bigint")
      ? (items as bigint[]).reduce((sum, it) => sum + it, 0n)
      : items.reduce<number>((sum, it) => sum + Number(it), 0);
  }),
  celMethod("lastIndexOf", CelScalar.STRING, [CelScalar.STRING], CelScalar.INT, function (part) {
    return BigInt(String(this).lastIndexOf(part));
  }),
  celMethod("charAt", CelScalar.STRING, [CelScalar.INT], CelScalar.STRING, function (index) {
    return String(this).charAt(Number(index));
  }),
  celMethod("isSorted", LIST, [], CelScalar.BOOL, function () {
    const items = [...(this as Iterable<string | number | bigint>)];
    return items.every((it, index) => index === 0 || (items[index - 1] ?? it) <= it);
  }),
  celMethod("min", LIST, [], CelScalar.DYN, function () {
    return extreme(this as Iterable<CelInput>, (a, b) => a < b);
  }),
  celMethod("max", LIST, [], CelScalar.DYN, function () {
    return extreme(this as Iterable<CelInput>, (a, b) => a > b);
  }),
  celFunc("isURL", [CelScalar.STRING], CelScalar.BOOL, (text) => URL.canParse(text)),
];

function extreme(items: Iterable<CelInput>, wins: (a: string | number | bigint, b: string | number | bigint) => boolean): CelInput {
  const list = [...items] as (string | number | bigint)[];
  if (list.length === 0) throw new Error("the list is empty");
  return list.reduce((best, it) => (wins(it, best) ? it : best));
}

const environment = celEnv({ funcs: FUNCTIONS });

/** Texts of these formats are values of a type of their own in rules; the environment itself makes them. */
const CONVERSIONS: Readonly<Record<string, (bindings: Bindings) => unknown>> = {
  "date-time": plan(environment, parse("timestamp(text)")),
  date: plan(environment, parse("timestamp(text + 'T00:00:00Z')")),
  duration: plan(environment, parse("duration(text)")),
};

/** Compiles the rules of a schema. Rules that do not compile were refused with the definition (`ruleProblems`). */
export function compileRules(schema: StructuralSchema | undefined): RuleSet {
  if (schema === undefined) return NONE;
  const properties = new Map<string, RuleSet>();
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const compiled = compileRules(property);
    if (!isEmpty(compiled)) properties.set(name, compiled);
  }
  const items = compileRules(schema.items);
  const values = isObject(schema.additionalProperties) ? compileRules(schema.additionalProperties as StructuralSchema) : NONE;
  const rules = (schema["x-kubernetes-validations"] ?? []).flatMap((rule) => {
    const compiled = compileRule(rule);
    return typeof compiled === "string" ? [] : [compiled];
  });
  return { schema, rules, properties, items: isEmpty(items) ? undefined : items, values: isEmpty(values) ? undefined : values };
}

/** What is wrong with the rules that stand at one node of a schema. */
export function ruleProblems(schema: StructuralSchema, path: string): FieldError[] {
  return (schema["x-kubernetes-validations"] ?? []).flatMap((rule, index) => {
    const at = `${path}.x-kubernetes-validations[${index}]`;
    if (rule.rule.trim() === "") return [required(`${at}.rule`, "rule is not specified")];
    const compiled = compileRule(rule);
    return typeof compiled === "string" ? [invalid(`${at}.rule`, rule, `compilation failed: ${compiled}`)] : [];
  });
}

function compileRule(rule: ValidationRule): CompiledRule | string {
  try {
    const compile = (text: string): ((bindings: Bindings) => unknown) => plan(environment, parse(text)) as (bindings: Bindings) => unknown;
    return {
      rule,
      usesOld: /\boldSelf\b/.test(rule.rule),
      evaluate: compile(rule.rule),
      message: rule.messageExpression === undefined || rule.messageExpression === "" ? undefined : compile(rule.messageExpression),
    };
  } catch (error) {
    return messageOf(error);
  }
}

/** An expression over whole objects, as conditions of webhooks are: fields have their own names. Throws what the compiler says of one that cannot be compiled; `evaluate` throws what fails. */
export function compileExpression(text: string): (values: Readonly<Record<string, Json | undefined>>) => unknown {
  const evaluate = plan(environment, parse(text)) as (bindings: Bindings) => unknown;
  return (values) => {
    const result = evaluate(Object.fromEntries(Object.entries(values).map(([name, value]) => [name, plainToCel(value)])));
    if (isCelError(result)) throw new Error(result.message);
    return result;
  };
}

/** A JSON value whose schema is not known. */
function plainToCel(value: Json | undefined): CelInput {
  if (value === null || value === undefined) return null;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : value;
  if (typeof value !== "object") return value;
  if (Array.isArray(value)) return celList(value.map(plainToCel));
  return celMap(new Map<string, CelInput>(Object.entries(value).map(([key, child]) => [key, plainToCel(child)])));
}

const isEmpty = (set: RuleSet): boolean => set.rules.length === 0 && set.properties.size === 0 && set.items === undefined && set.values === undefined;

/** Whether a schema has any rule. */
export const hasRules = (set: RuleSet): boolean => !isEmpty(set);

/** Every broken rule of an object. */
export function ruleErrors(set: RuleSet, value: Json | undefined, old: Json | undefined, path = ""): FieldError[] {
  if (value === undefined || value === null || isEmpty(set)) return [];
  const errors = set.rules.flatMap((compiled) => brokenRule(compiled, set.schema, value, old, path));
  if (Array.isArray(value) && set.items !== undefined) {
    const items = set.items;
    for (const [index, item] of value.entries()) errors.push(...ruleErrors(items, item, oldItem(set.schema, item, old), `${path}[${index}]`));
  } else if (isObject(value)) {
    for (const [key, child] of Object.entries(value)) {
      const below = set.properties.get(key) ?? (set.schema?.properties?.[key] === undefined ? set.values : undefined);
      const before = isObject(old) && Object.hasOwn(old, key) ? old[key] : undefined;
      if (below !== undefined) errors.push(...ruleErrors(below, child, before, path === "" ? key : `${path}.${key}`));
    }
  }
  return errors;
}

/** The old item that a new one can be told to continue: only lists of map type have an identity for their items. */
function oldItem(schema: StructuralSchema | undefined, item: Json, old: Json | undefined): Json | undefined {
  const keys = schema?.["x-kubernetes-list-map-keys"];
  if (keys === undefined || !Array.isArray(old) || !isObject(item)) return undefined;
  return old.find((it) => isObject(it) && keys.every((key) => it[key] === item[key]));
}

function brokenRule(compiled: CompiledRule, schema: StructuralSchema | undefined, value: Json, old: Json | undefined, path: string): FieldError[] {
  if (compiled.usesOld && compiled.rule.optionalOldSelf !== true && (old === undefined || old === null)) return [];
  const bindings: Bindings = { self: toCel(value, schema) };
  if (compiled.usesOld && old !== undefined && old !== null) bindings["oldSelf"] = toCel(old, schema);
  const result = compiled.evaluate(bindings);
  if (result === true) return [];
  const at = fieldOf(compiled.rule, path);
  if (isCelError(result)) return [invalid(at, shown(value), `${result.message} evaluating rule: ${compiled.rule.message ?? compiled.rule.rule}`)];
  let message = compiled.rule.message ?? `failed rule: ${compiled.rule.rule}`;
  if (compiled.message !== undefined) {
    const text = compiled.message(bindings);
    if (typeof text === "string" && text.trim() !== "") message = text;
  }
  switch (compiled.rule.reason) {
    case "FieldValueForbidden":
      return [fieldForbidden(at, message)];
    case "FieldValueRequired":
      return [required(at, message)];
    case "FieldValueDuplicate":
      return [{ ...duplicate(at, value), message }];
    default:
      return [invalid(at, shown(value), message)];
  }
}

/** Values are named by their type in messages, as the real server does. */
function shown(value: Json): Json {
  if (Array.isArray(value)) return "array";
  return typeof value === "number" ? (Number.isInteger(value) ? "integer" : "number") : typeof value;
}

function fieldOf(rule: ValidationRule, path: string): string {
  const below = (rule.fieldPath ?? "").replace(/^\./, "");
  return below === "" ? path : path === "" ? below : `${path}.${below}`;
}

/** A JSON value as CEL sees it under this schema: integers as int, numbers as double, fields by their escaped names. */
function toCel(value: Json | undefined, schema: StructuralSchema | undefined): CelInput {
  if (value === null || value === undefined) return null;
  if (typeof value === "number") return schema?.type === "number" || !Number.isInteger(value) ? value : BigInt(value);
  if (typeof value === "string") {
    const converted = CONVERSIONS[schema?.format ?? ""]?.({ text: value });
    return converted === undefined || isCelError(converted) ? value : (converted as CelInput);
  }
  if (typeof value !== "object") return value;
  if (Array.isArray(value)) return celList(value.map((item) => toCel(item, schema?.items)));
  const additional = isObject(schema?.additionalProperties) ? (schema.additionalProperties as StructuralSchema) : undefined;
  const entries = Object.entries(value).map(([key, child]) => {
    const property = schema?.properties?.[key];
    return [property === undefined && additional !== undefined ? key : escapeName(key), toCel(child, property ?? additional)] as const;
  });
  return celMap(new Map<string, CelInput>(entries));
}

const RESERVED = new Set([
  "true",
  "false",
  "null",
  "in",
  "as",
  "break",
  "const",
  "continue",
  "else",
  "for",
  "function",
  "if",
  "import",
  "let",
  "loop",
  "package",
  "namespace",
  "return",
  "var",
  "void",
  "while",
]);

/** Names that are not identifiers of CEL are written in an escaped form. */
function escapeName(name: string): string {
  if (RESERVED.has(name)) return `__${name}__`;
  return name.replaceAll("__", "__underscores__").replaceAll(".", "__dot__").replaceAll("-", "__dash__").replaceAll("/", "__slash__");
}
