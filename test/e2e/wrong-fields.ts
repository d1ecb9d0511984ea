/** Specs that are wrong in one field each. */
import { loadCrds } from "@drayage/api";

export interface WrongField {
  /** As the API server writes it: `spec.hooks.resources[0].name`. */
  readonly path: string;
  readonly spec: object;
}

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
}

/** For each field of a kind's spec, a spec in which that field alone has a value of another type. */
export function wrongFields(kind: string, group = "velero.io"): readonly WrongField[] {
  const crd = loadCrds(group).find(({ spec }) => spec.names.kind === kind);
  const [version] = (crd?.spec["versions"] ?? []) as { readonly schema: { readonly openAPIV3Schema: Schema } }[];
  const found: WrongField[] = [];
  /** `around` puts a value where the field is. */
  const walk = (schema: Schema, path: string, around: (value: unknown) => object): void => {
    // What has no type takes anything.
    if (path !== "spec" && schema.type !== undefined) found.push({ path, spec: around(schema.type === "string" ? 7 : "wrong") });
    else if (schema["x-kubernetes-int-or-string"] === true) found.push({ path, spec: around([]) });
    for (const [name, field] of Object.entries(schema.properties ?? {})) walk(field, `${path}.${name}`, (value) => around({ [name]: value }));
    if (schema.items !== undefined && schema["x-kubernetes-preserve-unknown-fields"] !== true) walk(schema.items, `${path}[0]`, (value) => around([value]));
    if (schema.additionalProperties?.type !== undefined) walk(schema.additionalProperties, `${path}.key`, (value) => around({ key: value }));
  };
  walk(version?.schema.openAPIV3Schema.properties?.["spec"] ?? {}, "spec", (value) => value as object);
  return found;
}
