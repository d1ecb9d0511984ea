/** What is wrong with a CustomResourceDefinition: names, versions, and a schema that is not structural. */
import { type ApiObject, isObject, type Json, type JsonObject, objectAt, objectsAt, textAt, textsAt } from "../json.ts";
import { ruleProblems } from "../schema/cel-rules.ts";
import type { StructuralSchema } from "../schema/structural.ts";
import { patternOf, validateSchema } from "../schema/validate.ts";
import { type FieldError, fieldForbidden, invalid, notSupported, required } from "../status-error.ts";

const TYPES = ["array", "boolean", "integer", "number", "object", "string"];
/** Nesting a schema may have; real ones stay below 30. */
const DEPTH_MAX = 100;

export function validateDefinition(definition: ApiObject): FieldError[] {
  const spec = objectAt(definition, "spec") ?? {};
  const names = objectAt(spec, "names") ?? {};
  const errors: FieldError[] = [];
  const group = textAt(spec, "group");
  if (group === "") errors.push(required("spec.group"));
  else if (!group.includes(".")) errors.push(invalid("spec.group", group, "should be a domain with at least one dot"));
  for (const field of ["plural", "singular", "kind", "listKind"]) if (textAt(names, field) === "") errors.push(required(`spec.names.${field}`));
  if (textAt(names, "kind") !== "" && textAt(names, "kind") === textAt(names, "listKind"))
    errors.push(invalid("spec.names.listKind", textAt(names, "listKind"), "kind and listKind may not be the same"));
  const expected = `${textAt(names, "plural")}.${group}`;
  if (definition.metadata.name !== expected) errors.push(invalid("metadata.name", definition.metadata.name, 'must be spec.names.plural+"."+spec.group'));
  const scope = textAt(spec, "scope");
  if (scope !== "Cluster" && scope !== "Namespaced")
    errors.push(scope === "" ? required("spec.scope") : notSupported("spec.scope", scope, ["Cluster", "Namespaced"]));
  errors.push(...validateVersions(objectsAt(spec, "versions")));
  if (textsAt(definition, "status", "storedVersions").length === 0)
    errors.push(invalid("status.storedVersions", null, "must have at least one stored version"));
  return errors;
}

function validateVersions(versions: readonly JsonObject[]): FieldError[] {
  const errors: FieldError[] = [];
  const storage = versions.filter((it) => it["storage"] === true);
  if (storage.length !== 1) errors.push(invalid("spec.versions", versions, "must have exactly one version marked as storage version"));
  for (const [index, version] of versions.entries()) {
    const path = `spec.versions[${index}]`;
    if (textAt(version, "name") === "") errors.push(required(`${path}.name`));
    const schema = objectAt(version, "schema", "openAPIV3Schema");
    if (schema === undefined) {
      errors.push(required(`${path}.schema.openAPIV3Schema`, "schemas are required"));
      continue;
    }
    const at = `${path}.schema.openAPIV3Schema`;
    if (schema["type"] !== "object")
      errors.push(invalid(`${at}.type`, schema["type"] ?? "", `must be object${schema["type"] === undefined ? " at the root" : ""}`));
    errors.push(...structuralProblems(schema as unknown as StructuralSchema, at, 0));
    for (const [columnIndex, column] of objectsAt(version, "additionalPrinterColumns").entries()) {
      for (const field of ["name", "type", "jsonPath"])
        if (textAt(column, field) === "") errors.push(required(`${path}.additionalPrinterColumns[${columnIndex}].${field}`));
      const types = ["boolean", "date", "integer", "number", "string"];
      if (textAt(column, "type") !== "" && !types.includes(textAt(column, "type")))
        errors.push(notSupported(`${path}.additionalPrinterColumns[${columnIndex}].type`, textAt(column, "type"), types));
    }
  }
  return errors;
}

function structuralProblems(schema: StructuralSchema, path: string, depth: number): FieldError[] {
  if (depth > DEPTH_MAX) return [fieldForbidden(path, `must not be nested deeper than ${DEPTH_MAX}`)];
  const errors: FieldError[] = [];
  const free = schema["x-kubernetes-preserve-unknown-fields"] === true || schema["x-kubernetes-int-or-string"] === true;
  if (schema.type === undefined && !free) errors.push(required(`${path}.type`, "must not be empty for specified object fields"));
  if (schema.type !== undefined && !TYPES.includes(schema.type)) errors.push(notSupported(`${path}.type`, schema.type, TYPES));
  if (schema.properties !== undefined && schema.additionalProperties !== undefined && schema.additionalProperties !== false)
    errors.push(fieldForbidden(`${path}.additionalProperties`, "additionalProperties and properties are mutual exclusive"));
  if (schema.type === "array" && schema.items === undefined) errors.push(required(`${path}.items`, "must be specified"));
  if (schema.pattern !== undefined) {
    try {
      patternOf(schema.pattern);
    } catch {
      errors.push(invalid(`${path}.pattern`, schema.pattern, "must be a valid regular expression"));
    }
  }
  const listType = schema["x-kubernetes-list-type"];
  if (listType === "map" && (schema["x-kubernetes-list-map-keys"] ?? []).length === 0)
    errors.push(required(`${path}.x-kubernetes-list-map-keys`, "must not be empty if x-kubernetes-list-type is map"));
  if (schema.default !== undefined) {
    for (const problem of validateSchema(schema.default as Json, schema, ""))
      errors.push(invalid(`${path}.default`, schema.default, `must validate: ${problem.message}`));
  }
  errors.push(...ruleProblems(schema, path));
  for (const [name, property] of Object.entries(schema.properties ?? {}))
    errors.push(...structuralProblems(property, `${path}.properties[${name}]`, depth + 1));
  if (isObject(schema.items)) errors.push(...structuralProblems(schema.items as StructuralSchema, `${path}.items`, depth + 1));
  if (isObject(schema.additionalProperties))
    errors.push(...structuralProblems(schema.additionalProperties as StructuralSchema, `${path}.additionalProperties`, depth + 1));
  return errors;
}
