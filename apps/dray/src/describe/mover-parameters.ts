/** The published parameters of a mover, for people: of its JSON Schema, what a user has to know of each. */

interface Property {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
}

export interface ParameterFacts {
  readonly name: string;
  /** `integer`, `required`, `one of "a", "b"`, `at least 1`, `default "a"`. */
  readonly facts: readonly string[];
  readonly description: string;
}

export function parameterFacts(schema: Readonly<Record<string, unknown>>): readonly ParameterFacts[] {
  const { properties = {}, required = [] } = schema as { readonly properties?: Readonly<Record<string, Property>>; readonly required?: readonly string[] };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    description: property.description ?? "",
    facts: [
      [property.type ?? "any"].flat().join(" or "),
      ...(required.includes(name) ? ["required"] : []),
      ...(property.enum === undefined ? [] : [`one of ${property.enum.map((value) => JSON.stringify(value)).join(", ")}`]),
      ...(property.minimum === undefined ? [] : [`at least ${property.minimum}`]),
      ...(property.maximum === undefined ? [] : [`at most ${property.maximum}`]),
      ...(property.pattern === undefined ? [] : [`matching ${property.pattern}`]),
      ...(property.default === undefined ? [] : [`default ${JSON.stringify(property.default)}`]),
    ],
  }));
}
