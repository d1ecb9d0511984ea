/** Parameters of movers: checked against the JSON Schema that the mover publishes, wherever they come from, with its defaults. */
import { DrayError, messageOf } from "@drayage/base";
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { MoverParameters, ParameterSchema } from "./data-mover.ts";

/** A schema larger than this is not one that people can read. */
const SCHEMA_BYTES_MAX = 64 << 10;

function compiler(coerce: boolean): Ajv {
  return new Ajv({ allErrors: true, useDefaults: true, coerceTypes: coerce, strict: "log", logger: false, validateFormats: false });
}

/** What is wrong with a schema of parameters; nothing: it can be used. */
export function checkSchema(schema: unknown): string[] {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return ["parameters is missing: a JSON Schema of an object is wanted"];
  if (JSON.stringify(schema).length > SCHEMA_BYTES_MAX) return [`parameters is larger than ${SCHEMA_BYTES_MAX >> 10} KiB`];
  const { type, properties = {} } = schema as { readonly type?: unknown; readonly properties?: Readonly<Record<string, unknown>> };
  if (type !== "object") return ['parameters.type is not "object"'];
  let validate: ValidateFunction;
  try {
    validate = compiler(false).compile(closed(schema as ParameterSchema));
  } catch (error) {
    return [`parameters is not a JSON Schema: ${messageOf(error)}`];
  }
  const problems: string[] = [];
  for (const [name, property] of Object.entries(properties)) {
    const { description, default: standard } = (property ?? {}) as { readonly description?: unknown; readonly default?: unknown };
    if (typeof description !== "string" || description === "") problems.push(`parameter "${name}" has no description`);
    if (standard === undefined) continue;
    validate({ [name]: standard });
    for (const error of validate.errors ?? []) if (error.instancePath.startsWith(`/${name}`)) problems.push(`the default of ${sentence(error)}`);
  }
  return problems;
}

/**
 * The parameters with the mover's defaults. Texts are taken for numbers and booleans where the schema wants those, since annotations and policies hold texts.
 * Throws VALIDATION_FAILED naming `origin` and every parameter that does not fit.
 */
export function resolveParameters(
  mover: { readonly name: string; readonly parameters: ParameterSchema },
  given: MoverParameters,
  origin: string,
): MoverParameters {
  const { values, problems } = fitted(mover.parameters, given);
  if (problems.length === 0) return values;
  const names = Object.keys((mover.parameters as { readonly properties?: object }).properties ?? {});
  throw new DrayError("VALIDATION_FAILED", `Cannot use parameters of ${origin} with mover "${mover.name}": ${problems.join("; ")}`, {
    hint: names.length === 0 ? "The mover has no parameters." : `Its parameters are ${names.join(", ")}; "dray mover describe ${mover.name}" explains them.`,
  });
}

/** What does not fit about parameters, each as a sentence that names the parameter; nothing: they can be used. */
export function parameterProblems(mover: { readonly parameters: ParameterSchema }, given: MoverParameters): readonly string[] {
  return fitted(mover.parameters, given).problems;
}

function fitted(schema: ParameterSchema, given: MoverParameters): { readonly values: MoverParameters; readonly problems: readonly string[] } {
  const values = structuredClone(given) as Record<string, unknown>;
  const validate = compiler(true).compile(closed(schema));
  return { values, problems: validate(values) ? [] : (validate.errors ?? []).map(sentence) };
}

/** Parameters as the map of texts that a DataUpload holds; `resolveParameters` reads them back. */
export function textParameters(parameters: MoverParameters): Record<string, string> {
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]));
}

/** The other way: lists and objects are JSON where the schema wants them. */
export function parseTextParameters(schema: ParameterSchema, texts: Readonly<Record<string, string>>): MoverParameters {
  const properties = (schema as { readonly properties?: Readonly<Record<string, { readonly type?: unknown }>> }).properties ?? {};
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => {
      const type = properties[name]?.type;
      if (type !== "array" && type !== "object") return [name, text];
      try {
        return [name, JSON.parse(text) as unknown];
      } catch {
        return [name, text];
      }
    }),
  );
}

/** What the schema does not name is a mistake of the user's, unless it says otherwise. */
function closed(schema: ParameterSchema): ParameterSchema {
  return "additionalProperties" in schema ? schema : { ...schema, additionalProperties: false };
}

function sentence(error: ErrorObject): string {
  const { keyword, params, instancePath, message = "" } = error as ErrorObject<string, Readonly<Record<string, unknown>>>;
  if (keyword === "additionalProperties") return `"${String(params["additionalProperty"])}" is not a parameter`;
  if (keyword === "required") return `parameter "${String(params["missingProperty"])}" is missing`;
  const name = instancePath.slice(1).replaceAll("/", ".");
  const allowed = keyword === "enum" ? `: ${(params["allowedValues"] as readonly unknown[]).map((value) => JSON.stringify(value)).join(", ")}` : "";
  return `parameter "${name}" ${message}${allowed}`;
}
