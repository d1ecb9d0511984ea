/** Validation of an object against a structural schema: every breach as a field error in the words of the real server. CEL rules are checked elsewhere. */
import { equal, isObject, type Json, type JsonObject } from "../json.ts";
import { duplicate, type FieldError, invalid, notSupported, required, tooLong, tooMany, typeInvalid } from "../status-error.ts";
import { formatProblem } from "./formats.ts";
import type { StructuralSchema } from "./structural.ts";

/** Errors beyond this many add nothing for a reader, and a hostile object could cause millions. */
const ERRORS_MAX = 100;

export function validateSchema(value: Json | undefined, schema: StructuralSchema, path = ""): FieldError[] {
  const errors: FieldError[] = [];
  check(value ?? null, schema, path, errors);
  return errors.slice(0, ERRORS_MAX);
}

function check(value: Json, schema: StructuralSchema, path: string, errors: FieldError[]): void {
  if (errors.length >= ERRORS_MAX) return;
  if (value === null) {
    if (schema.nullable !== true && schema.type !== undefined) errors.push(typeError(path, "null", typeName(schema)));
    return;
  }
  if (schema["x-kubernetes-int-or-string"] === true) {
    if (typeof value !== "string" && !(typeof value === "number" && Number.isInteger(value))) {
      errors.push(typeError(path, jsonType(value), "integer,string"));
      // Of the alternatives that generated definitions repeat, the first is told as well.
      const [alternative] = schema.anyOf ?? [];
      if (alternative?.type !== undefined) errors.push(typeError(path, jsonType(value), alternative.type));
      return;
    }
  } else if (schema.type !== undefined && !hasType(value, schema.type)) {
    // What else is wrong with it is told as well.
    errors.push(wrongType(value, schema, path));
  }
  if (schema.enum !== undefined && !schema.enum.some((it) => equal(it, value))) errors.push(notSupported(path, value, schema.enum));
  if (typeof value === "string") checkString(value, schema, path, errors);
  else if (typeof value === "number") checkNumber(value, schema, path, errors);
  else if (Array.isArray(value)) checkList(value, schema, path, errors);
  else if (isObject(value)) checkObject(value, schema, path, errors);
  checkCombinations(value, schema, path, errors);
}

const where = (path: string): string => (path === "" ? "" : `${path} in body `);

function checkString(value: string, schema: StructuralSchema, path: string, errors: FieldError[]): void {
  const length = [...value].length;
  if (schema.maxLength !== undefined && length > schema.maxLength) errors.push(tooLong(path, schema.maxLength));
  if (schema.minLength !== undefined && length < schema.minLength)
    errors.push(invalid(path, value, `${where(path)}should be at least ${schema.minLength} chars long`));
  if (schema.pattern !== undefined && !patternOf(schema.pattern).test(value))
    errors.push(invalid(path, value, `${where(path)}should match '${schema.pattern}'`));
  if (schema.format !== undefined && formatProblem(value, schema.format))
    errors.push(typeInvalid(path, value, `${where(path)}must be of type ${schema.format}: ${JSON.stringify(value)}`));
}

function checkNumber(value: number, schema: StructuralSchema, path: string, errors: FieldError[]): void {
  const { minimum, maximum } = schema;
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum))
    errors.push(invalid(path, value, `${where(path)}should be less than ${schema.exclusiveMaximum === true ? "" : "or equal to "}${maximum}`));
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum))
    errors.push(invalid(path, value, `${where(path)}should be greater than ${schema.exclusiveMinimum === true ? "" : "or equal to "}${minimum}`));
  if (schema.multipleOf !== undefined && !Number.isInteger(value / schema.multipleOf))
    errors.push(invalid(path, value, `${where(path)}should be a multiple of ${schema.multipleOf}`));
  if (schema.format === "int32" && Number.isInteger(value) && (value > 2 ** 31 - 1 || value < -(2 ** 31)))
    errors.push(invalid(path, value, `${where(path)}must be of type int32: "int64"`));
}

function checkList(value: Json[], schema: StructuralSchema, path: string, errors: FieldError[]): void {
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    errors.push(tooMany(path, value.length, schema.maxItems));
    return;
  }
  if (schema.minItems !== undefined && value.length < schema.minItems)
    errors.push(invalid(path, value.length, `${where(path)}should have at least ${schema.minItems} items`));
  if (schema.items !== undefined) for (const [index, item] of value.entries()) check(item, schema.items, `${path}[${index}]`, errors);
  const listType = schema["x-kubernetes-list-type"];
  if (listType === "set" || schema.uniqueItems === true) checkUnique(value, (item) => item, path, errors);
  if (listType !== "map") return;
  for (const [index, item] of value.entries())
    if (!isObject(item)) errors.push(invalid(`${path}[${index}]`, item, "must be an object for an array of list-type map"));
  checkUnique(value, (item) => keysOf(item, schema), path, errors);
}

function keysOf(item: Json, schema: StructuralSchema): Json {
  const keys = schema["x-kubernetes-list-map-keys"] ?? [];
  return isObject(item) ? Object.fromEntries(keys.map((key) => [key, item[key] ?? schema.items?.properties?.[key]?.default])) : item;
}

function checkUnique(items: readonly Json[], keyOf: (item: Json) => Json, path: string, errors: FieldError[]): void {
  const seen = new Set<string>();
  for (const [index, item] of items.entries()) {
    const key = keyOf(item);
    const text = JSON.stringify(key);
    if (seen.has(text)) errors.push(duplicate(`${path}[${index}]`, key));
    seen.add(text);
  }
}

function checkObject(value: JsonObject, schema: StructuralSchema, path: string, errors: FieldError[]): void {
  const count = Object.keys(value).length;
  if (schema.maxProperties !== undefined && count > schema.maxProperties) errors.push(tooMany(path, count, schema.maxProperties));
  if (schema.minProperties !== undefined && count < schema.minProperties)
    errors.push(invalid(path, count, `${where(path)}should have at least ${schema.minProperties} properties`));
  for (const key of schema.required ?? []) if (!Object.hasOwn(value, key) || value[key] === undefined) errors.push(required(childPath(path, key)));
  for (const [key, child] of Object.entries(value)) {
    if (child === undefined) continue;
    const property = schema.properties !== undefined && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    if (property !== undefined) check(child, property, childPath(path, key), errors);
    else if (isObject(schema.additionalProperties)) check(child, schema.additionalProperties as StructuralSchema, childPath(path, key), errors);
  }
}

function checkCombinations(value: Json, schema: StructuralSchema, path: string, errors: FieldError[]): void {
  const holds = (other: StructuralSchema): boolean => validateSchema(value, other, path).length === 0;
  for (const other of schema.allOf ?? []) errors.push(...validateSchema(value, other, path));
  if (schema.anyOf !== undefined && schema["x-kubernetes-int-or-string"] !== true && !schema.anyOf.some(holds))
    errors.push(invalid(path, value, `"${path}" must validate at least one schema (anyOf)`));
  if (schema.oneOf !== undefined) {
    const count = schema.oneOf.filter(holds).length;
    if (count !== 1)
      errors.push(
        invalid(
          path,
          value,
          `"${path}" must validate one and only one schema (oneOf). ${count === 0 ? "Found none valid" : `Found ${count} valid alternatives`}`,
        ),
      );
  }
  if (schema.not !== undefined && holds(schema.not)) errors.push(invalid(path, value, `"${path}" must not validate the schema (not)`));
}

function childPath(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

const patterns = new Map<string, RegExp>();

/** The pattern as a JavaScript expression. A pattern that JavaScript cannot read is refused with the CustomResourceDefinition, so it never gets here. */
export function patternOf(pattern: string): RegExp {
  let known = patterns.get(pattern);
  if (known === undefined) {
    known = new RegExp(pattern.replace(/^\(\?i\)/, ""), pattern.startsWith("(?i)") ? "ui" : "u");
    patterns.set(pattern, known);
  }
  return known;
}

function typeError(path: string, actual: string, wanted: string): FieldError {
  return typeInvalid(path, actual, `${where(path)}must be of type ${wanted}: "${actual}"`);
}

/** Where a format is wanted, the real server names it instead of the type, and what it has by its format too. */
function wrongType(value: Json, schema: StructuralSchema, path: string): FieldError {
  if (schema.format === undefined || typeof value === "string" || Array.isArray(value)) return typeError(path, jsonType(value), typeName(schema));
  const actual = typeof value !== "number" ? "" : Number.isInteger(value) ? "int64" : "double";
  return typeError(path, actual, schema.format);
}

function typeName(schema: StructuralSchema): string {
  return schema.type ?? "";
}

function hasType(value: Json, type: string): boolean {
  if (type === "integer") return typeof value === "number" && Number.isInteger(value);
  return type === jsonType(value) || (type === "number" && typeof value === "number");
}

function jsonType(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}
