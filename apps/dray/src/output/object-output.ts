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

const TEMPLATE = /^jsonpath=(.*)$/s;

/** Throws USAGE for a format, or a JSONPath template, that cannot be printed: before anything is asked of the cluster. */
export function checkFormat(format: string | undefined): void {
  if (format === undefined || ["table", "wide", "json", "yaml", "name"].includes(format)) return;
  const template = TEMPLATE.exec(format)?.[1];
  if (template === undefined) throw new DrayError("USAGE", `Cannot print as "${format}": table, wide, json, yaml, name or jsonpath=TEMPLATE is wanted`);
  evaluateJsonPath(template, {});
}

/** The text of one object (asked for by name) or of a list; who set which field (managedFields) is left out, as by kubectl. Throws USAGE for a format that is not known. */
export function printObjects<T extends Named>(kind: PrintableKind<T>, objects: readonly T[], format: string | undefined, single: boolean): string {
  checkFormat(format);
  const identified = objects.map((object) => {
    const { managedFields: _, ...metadata } = object.metadata as Named["metadata"] & { readonly managedFields?: unknown };
    return { apiVersion: kind.apiVersion, kind: kind.kind, ...object, metadata };
  });
  const value: unknown = single ? identified[0] : { apiVersion: "v1", kind: "List", metadata: {}, items: identified };
  if (format === undefined || format === "table") return formatTable(objects, kind.columns);
  if (format === "wide") return formatTable(objects, kind.columns, { wide: true });
  if (format === "json") return `${JSON.stringify(value, null, 4)}\n`;
  if (format === "yaml") return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
  if (format === "name") return objects.map((object) => `${kind.singularWithGroup}/${object.metadata.name}\n`).join("");
  return evaluateJsonPath(TEMPLATE.exec(format)?.[1] ?? "", value);
}
