/** Custom resources: everything about them comes from their definition. */
import { atSimplePath, type CustomVersion } from "../custom-resource.ts";
import { type ApiObject, equal, isObject, textAt } from "../json.ts";
import { validateMetadata } from "../names.ts";
import { hasRules, ruleErrors } from "../schema/cel-rules.ts";
import { embeddedResources } from "../schema/structural.ts";
import { validateSchema } from "../schema/validate.ts";
import { type FieldError, invalid, required } from "../status-error.ts";
import type { Strategy } from "./strategy.ts";

export function customStrategy(version: CustomVersion): Strategy {
  const validate = (object: ApiObject, old: ApiObject | undefined): FieldError[] => {
    const errors = version.schema === undefined ? [] : validateSchema(withoutMetadata(object), version.schema);
    for (const embedded of embeddedResources(
      object,
      version.schema === undefined ? undefined : { ...version.schema, "x-kubernetes-embedded-resource": false },
      "",
    )) {
      for (const field of ["apiVersion", "kind"])
        if (textAt(embedded.object, field) === "") errors.push(required(`${embedded.path}.${field}`, "must not be empty"));
      if (isObject(embedded.object["metadata"]) && textAt(embedded.object, "metadata", "name") !== "")
        errors.push(...validateMetadata(embedded.object as ApiObject, "path", false, `${embedded.path}.metadata`));
    }
    errors.push(...scaleErrors(object, version));
    // Rules see only objects whose shape is right.
    if (!errors.some((it) => BLOCKING.has(it.type))) return [...errors, ...ruleErrors(version.rules, object, old)];
    return hasRules(version.rules) ? [...errors, NOT_CHECKED] : errors;
  };
  return {
    generation: true,
    statusFields: version.hasStatus ? ["status"] : [],
    validate: (object) => validate(object, undefined),
    validateUpdate: (object, old) => ratchet(validate(object, old), object, old, version),
    validateStatus: (object, old) => ratchet(validate(object, old), object, old, version),
    selectableFields: (object) => Object.fromEntries(version.selectableFields.map((path) => [path, String(atSimplePath(object, path) ?? "")])),
  };
}

const BLOCKING: ReadonlySet<FieldError["type"]> = new Set(["NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid"]);
const NOT_CHECKED: FieldError = invalid(
  "<nil>",
  null,
  "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
);

/** What the scale subresource reads must be a count. */
function scaleErrors(object: ApiObject, version: CustomVersion): FieldError[] {
  const path = version.scale?.specReplicasPath;
  const value = path === undefined ? undefined : atSimplePath(object, path);
  if (path === undefined || value === undefined) return [];
  if (typeof value !== "number") return [invalid(path, 0, `${path} accessor error: ${String(value)} is of the type ${typeof value}, expected int64`)];
  return value < 0 ? [invalid(path, value, "should be a non-negative integer")] : [];
}

/** Breaches of the schema that were there before and did not change do not stop an update of something else. */
function ratchet(errors: readonly FieldError[], object: ApiObject, old: ApiObject, version: CustomVersion): FieldError[] {
  if (errors.length === 0 || version.schema === undefined) return [...errors];
  const before = new Set(validateSchema(withoutMetadata(old), version.schema).map((it) => `${it.field}\n${it.message}`));
  return errors.filter((it) => !before.has(`${it.field}\n${it.message}`) || !equal(fieldOf(object, it.field), fieldOf(old, it.field)));
}

function fieldOf(object: ApiObject, path: string): unknown {
  return atSimplePath(object, path.replaceAll(/\[(\d+)\]/g, ".$1"));
}

/** The metadata has rules of its own, and no schema but for the name. */
function withoutMetadata(object: ApiObject): ApiObject {
  return {
    ...object,
    metadata: {
      ...(object.metadata.name === undefined ? {} : { name: object.metadata.name }),
      ...(object.metadata.generateName === undefined ? {} : { generateName: object.metadata.generateName }),
    },
  };
}
