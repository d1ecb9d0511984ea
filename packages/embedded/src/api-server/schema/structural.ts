/**
 * What a CustomResourceDefinition's schema does to an object besides validating it: unknown fields are dropped, defaults filled in. The schema is structural, as the API
 * demands: types and fields stand outside of allOf, anyOf, oneOf and not.
 */
import { clone, isObject, type Json, type JsonObject, setOwn } from "../json.ts";

/** The JSON Schema of a CustomResourceDefinition, as published by the API. */
export interface StructuralSchema {
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly nullable?: boolean;
  readonly default?: Json;
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly additionalProperties?: StructuralSchema | boolean;
  readonly items?: StructuralSchema;
  readonly required?: readonly string[];
  readonly enum?: readonly Json[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: boolean;
  readonly exclusiveMaximum?: boolean;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly allOf?: readonly StructuralSchema[];
  readonly anyOf?: readonly StructuralSchema[];
  readonly oneOf?: readonly StructuralSchema[];
  readonly not?: StructuralSchema;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-map-type"?: "atomic" | "granular";
  readonly "x-kubernetes-validations"?: readonly ValidationRule[];
}

export interface ValidationRule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly reason?: "FieldValueInvalid" | "FieldValueForbidden" | "FieldValueRequired" | "FieldValueDuplicate";
  readonly fieldPath?: string;
  readonly optionalOldSelf?: boolean;
}

const ALWAYS_KNOWN: ReadonlySet<string> = new Set(["apiVersion", "kind", "metadata"]);

/** Drops, in place, every field that the schema does not know and adds its path to `dropped`. At an object's root and in embedded resources apiVersion, kind and metadata stay. */
export function prune(value: Json | undefined, schema: StructuralSchema | undefined, isResource: boolean, dropped: string[], path = ""): void {
  if (schema === undefined) return;
  if (Array.isArray(value)) {
    const embedded = schema.items?.["x-kubernetes-embedded-resource"] === true;
    for (const [index, item] of value.entries()) prune(item, schema.items, embedded, dropped, `${path}[${index}]`);
    return;
  }
  if (!isObject(value)) return;
  const preserve = schema["x-kubernetes-preserve-unknown-fields"] === true;
  for (const key of Object.keys(value)) {
    const keyPath = path === "" ? key : `${path}.${key}`;
    if (isResource && ALWAYS_KNOWN.has(key)) {
      continue;
    }
    const property = schema.properties !== undefined && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
    if (property !== undefined) {
      prune(value[key], property, property["x-kubernetes-embedded-resource"] === true, dropped, keyPath);
    } else if (isObject(schema.additionalProperties)) {
      const values = schema.additionalProperties as StructuralSchema;
      prune(value[key], values, values["x-kubernetes-embedded-resource"] === true, dropped, keyPath);
    } else if (schema.additionalProperties !== true && !preserve) {
      delete value[key];
      dropped.push(keyPath);
    }
  }
}

/** Fills in defaults, in place. A null where null is not allowed counts as absent when there is a default. */
export function applyDefaults(value: Json | undefined, schema: StructuralSchema | undefined): void {
  if (schema === undefined) return;
  if (Array.isArray(value)) {
    for (const item of value) applyDefaults(item, schema.items);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    const own = Object.hasOwn(value, key) ? value[key] : undefined;
    if (property.default !== undefined && (own === undefined || (own === null && property.nullable !== true))) setOwn(value, key, clone(property.default));
    applyDefaults(value[key], property);
  }
  if (isObject(schema.additionalProperties)) {
    for (const [key, child] of Object.entries(value))
      if (schema.properties?.[key] === undefined) applyDefaults(child, schema.additionalProperties as StructuralSchema);
  }
}

/** Removes, in place, fields that are null, may not be, and have no default: they count as not given. */
export function pruneNulls(value: Json | undefined, schema: StructuralSchema | undefined): void {
  if (schema === undefined) return;
  if (Array.isArray(value)) {
    for (const item of value) pruneNulls(item, schema.items);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    if (!Object.hasOwn(value, key)) continue;
    if (value[key] === null && property.nullable !== true && property.default === undefined) delete value[key];
    else pruneNulls(value[key], property);
  }
}

/** Whether a schema has a default anywhere. */
export function hasDefaults(schema: StructuralSchema | undefined): boolean {
  if (schema === undefined) return false;
  return (
    schema.default !== undefined ||
    hasDefaults(schema.items) ||
    Object.values(schema.properties ?? {}).some(hasDefaults) ||
    (isObject(schema.additionalProperties) && hasDefaults(schema.additionalProperties as StructuralSchema))
  );
}

/** The metadata and type fields an embedded resource must have, checked after pruning. */
export function embeddedResources(
  value: Json | undefined,
  schema: StructuralSchema | undefined,
  path: string,
): { readonly path: string; readonly object: JsonObject }[] {
  if (schema === undefined) return [];
  if (Array.isArray(value)) return value.flatMap((item, index) => embeddedResources(item, schema.items, `${path}[${index}]`));
  if (!isObject(value)) return [];
  const own = schema["x-kubernetes-embedded-resource"] === true ? [{ path, object: value }] : [];
  const additional = isObject(schema.additionalProperties) ? (schema.additionalProperties as StructuralSchema) : undefined;
  return [
    ...own,
    ...Object.entries(value).flatMap(([key, child]) => {
      const property = schema.properties !== undefined && Object.hasOwn(schema.properties, key) ? schema.properties[key] : additional;
      return embeddedResources(child, property, path === "" ? key : `${path}.${key}`);
    }),
  ];
}
