/** `-o` of the verbs that print objects: table, wide, json, yaml, name, jsonpath=…, as kubectl has it. */
import { DrayError } from "@drayage/base";
import { stringify } from "yaml";
import { evaluateJsonPath } from "./json-path.ts";
import { type Column, formatTable } from "./table.ts";

export interface PrintableKind<T> {
  /** `backup.velero.io`: what `-o name` puts before the slash. */
  readonly singularWithGroup: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly columns: readonly Column<T>[];
}

interface Named {
  readonly metadata: { readonly name?: string };
}

/** The text of one object (asked for by name) or of a list. Throws USAGE for a format that is not known. */
export function printObjects<T extends Named>(kind: PrintableKind<T>, objects: readonly T[], format: string | undefined, single: boolean): string {
  const identified = objects.map((object) => ({ apiVersion: kind.apiVersion, kind: kind.kind, ...object }));
  const value: unknown = single ? identified[0] : { apiVersion: "v1", kind: "List", metadata: {}, items: identified };
  if (format === undefined || format === "table") return formatTable(objects, kind.columns);
  if (format === "wide") return formatTable(objects, kind.columns, { wide: true });
  if (format === "json") return `${JSON.stringify(value, null, 4)}\n`;
  if (format === "yaml") return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
  if (format === "name") return objects.map((object) => `${kind.singularWithGroup}/${object.metadata.name}\n`).join("");
  const template = /^jsonpath=(.*)$/s.exec(format)?.[1];
  if (template !== undefined) return evaluateJsonPath(template, value);
  throw new DrayError("USAGE", `Cannot print as "${format}": table, wide, json, yaml, name or jsonpath=TEMPLATE is wanted`);
}
