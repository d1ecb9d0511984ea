/** A mover's parameters in the manner of `kubectl explain`: all of them, or one by its path, with what lies below it. */
import { DrayError } from "@drayage/base";

interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
}

interface Explained {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** Throws KUBE_NOT_FOUND naming the fields that there are. */
export function explainParameters(mover: Explained, path: readonly string[]): string[] {
  let schema = mover.parameters as Schema;
  let isRequired = false;
  const head = [`MOVER:    ${mover.name}`, `VERSION:  ${mover.version}`, ""];
  for (const [depth, field] of path.entries()) {
    const { properties = {}, required = [] } = objectIn(schema);
    const found = Object.hasOwn(properties, field) ? properties[field] : undefined;
    if (found === undefined) {
      const within = [mover.name, ...path.slice(0, depth)].join(".");
      const names = Object.keys(properties);
      throw new DrayError("KUBE_NOT_FOUND", `Cannot explain "${[mover.name, ...path].join(".")}": "${within}" has no field "${field}"`, {
        hint: names.length === 0 ? "It has no fields." : `Its fields are ${names.join(", ")}.`,
      });
    }
    schema = found;
    isRequired = required.includes(field);
  }
  const last = path.at(-1);
  const title = last === undefined ? [] : [`FIELD: ${last} <${typeOf(schema)}>${isRequired ? " -required-" : ""}`, ""];
  const description = last === undefined ? mover.description : (schema.description ?? "<none>");
  const fields = Object.entries(objectIn(schema).properties ?? {});
  const required = objectIn(schema).required ?? [];
  const below = fields.flatMap(([name, field]) => [
    `  ${name}\t<${typeOf(field)}>${required.includes(name) ? " -required-" : ""}`,
    ...limits(field).map((line) => `  ${line}`),
    `    ${field.description ?? "<none>"}`,
    "",
  ]);
  return [...head, ...title, "DESCRIPTION:", `    ${description}`, ...limits(schema), "", ...(fields.length === 0 ? [] : ["FIELDS:", ...below])];
}

/** Lists are explained by what they hold. */
function objectIn(schema: Schema): Schema {
  return schema.items ?? schema;
}

/** `[]string` for a list, as kubectl has it. */
function typeOf({ type, items, properties }: Schema): string {
  const names = [type ?? (properties === undefined ? "any" : "object")].flat();
  return names.map((name) => (name === "array" ? `[]${items === undefined ? "any" : typeOf(items)}` : name === "object" ? "Object" : name)).join("|");
}

function limits(schema: Schema): string[] {
  const { enum: values, default: standard, minimum, maximum, minLength, maxLength, pattern } = schema;
  const json = (value: unknown): string => JSON.stringify(value);
  const facts: [string, string | undefined][] = [
    ["ENUM", values?.map(json).join(", ")],
    ["DEFAULT", standard === undefined ? undefined : json(standard)],
    ["MINIMUM", minimum?.toString()],
    ["MAXIMUM", maximum?.toString()],
    ["MINIMUM LENGTH", minLength?.toString()],
    ["MAXIMUM LENGTH", maxLength?.toString()],
    ["PATTERN", pattern],
  ];
  return facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name}: ${value}`]));
}
