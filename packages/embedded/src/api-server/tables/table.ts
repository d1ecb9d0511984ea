/** Tables, as `kubectl get` shows them. */
import type { ApiObject, Json, JsonObject } from "../json.ts";
import { partial } from "../presentation.ts";
import type { ServedResource } from "../served-resource.ts";
import { badRequest } from "../status-error.ts";
import { age } from "./age.ts";
import { builtInColumns } from "./built-in-columns.ts";
import type { Column } from "./column.ts";
import { customColumns } from "./custom-columns.ts";

export interface TableOptions {
  readonly apiVersion: string;
  readonly includeObject: string;
  readonly nowMs: number;
  readonly metadata: JsonObject;
  readonly withColumns?: boolean;
}

const NAME: Column = { name: "Name", type: "string", format: "name", cell: nameCell };
const AGE: Column = { name: "Age", type: "string", cell: (object, nowMs) => age(object.metadata.creationTimestamp, nowMs) };
const CREATED: Column = { name: "Created At", type: "date", cell: (object) => object.metadata.creationTimestamp ?? null };

/** A class that claims get by themselves is marked. */
function nameCell(object: ApiObject): string {
  const name = object.metadata.name ?? "";
  const isDefault = object.kind === "StorageClass" && object.metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true";
  return isDefault ? `${name} (default)` : name;
}

export function tableOf(resource: ServedResource, objects: readonly ApiObject[], options: TableOptions): JsonObject {
  if (!["", "None", "Metadata", "Object"].includes(options.includeObject)) throw badRequest(`unrecognized includeObject value: "${options.includeObject}"`);
  const columns = columnsOf(resource);
  return {
    kind: "Table",
    apiVersion: options.apiVersion,
    metadata: options.metadata,
    columnDefinitions: options.withColumns === false ? [] : columns.map(definition),
    rows: objects.map((object) => ({ cells: columns.map((column) => column.cell(object, options.nowMs)), object: rowObject(object, options) })),
  };
}

function columnsOf(resource: ServedResource): readonly Column[] {
  if (resource.custom !== undefined) return [NAME, ...customColumns(resource.custom.columns)];
  const own = builtInColumns[resource.storedAs];
  return own === undefined ? [NAME, CREATED] : [NAME, ...own(AGE)];
}

function definition(column: Column): JsonObject {
  return { name: column.name, type: column.type, format: column.format ?? "", description: column.description ?? "", priority: column.priority ?? 0 };
}

function rowObject(object: ApiObject, options: TableOptions): Json {
  if (options.includeObject === "None") return null;
  return options.includeObject === "Object" ? object : partial(object, options.apiVersion);
}
