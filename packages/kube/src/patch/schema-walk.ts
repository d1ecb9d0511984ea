/** Following a published schema: references resolved, the wrappers around them joined. */
import { builtInSchemas, type OpenApiSchema } from "@drayage/protocols/kubernetes";
import { isObject } from "./json.ts";

const resolved = new WeakMap<object, OpenApiSchema>();
const PREFIX = "#/components/schemas/";

/** The schema itself: what it refers to, with what stands beside the reference. */
export function resolveSchema(schema: OpenApiSchema | undefined): OpenApiSchema | undefined {
  if (schema === undefined) return undefined;
  const only = schema.allOf?.length === 1 ? schema.allOf[0] : undefined;
  if (schema.$ref === undefined && only === undefined) return schema;
  let known = resolved.get(schema);
  if (known === undefined) {
    const target = schema.$ref === undefined ? resolveSchema(only) : resolveSchema(builtInSchemas()[schema.$ref.slice(PREFIX.length)]);
    const { $ref: _ref, allOf: _allOf, ...own } = schema;
    known = { ...target, ...own };
    resolved.set(schema, known);
  }
  return known;
}

/** The schema of a field. */
export function fieldSchema(schema: OpenApiSchema | undefined, key: string): OpenApiSchema | undefined {
  const it = resolveSchema(schema);
  if (it?.properties !== undefined && Object.hasOwn(it.properties, key)) return resolveSchema(it.properties[key]);
  return isObject(it?.additionalProperties) ? resolveSchema(it.additionalProperties as OpenApiSchema) : undefined;
}

export function itemSchema(schema: OpenApiSchema | undefined): OpenApiSchema | undefined {
  return resolveSchema(resolveSchema(schema)?.items);
}
