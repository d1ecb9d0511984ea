/** The printer columns of a CustomResourceDefinition. */
import type { PrinterColumn } from "../custom-resource.ts";
import { isObject, type Json } from "../json.ts";
import { age } from "./age.ts";
import type { Column } from "./column.ts";
import { findAll } from "./json-path.ts";

const AGE: PrinterColumn = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

/** Without columns of its own a definition shows the age. */
export function customColumns(columns: readonly PrinterColumn[]): Column[] {
  return (columns.length === 0 ? [AGE] : columns).map((column) => ({
    name: column.name,
    type: column.type,
    ...(column.format === undefined ? {} : { format: column.format }),
    ...(column.description === undefined ? {} : { description: column.description }),
    ...(column.priority === undefined ? {} : { priority: column.priority }),
    cell: (object, nowMs) => cellOf(findAll(object, column.jsonPath)[0], column.type, nowMs),
  }));
}

function cellOf(value: Json | undefined, type: string, nowMs: number): Json {
  if (value === undefined || value === null) return null;
  switch (type) {
    case "string":
      return isObject(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
    case "date":
      return typeof value === "string" ? age(value, nowMs) : "<unknown>";
    case "integer":
      return typeof value === "number" ? Math.trunc(value) : null;
    case "number":
      return typeof value === "number" ? value : null;
    case "boolean":
      return typeof value === "boolean" ? value : null;
    default:
      return null;
  }
}
