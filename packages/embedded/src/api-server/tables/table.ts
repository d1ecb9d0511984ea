/** Tables, as `kubectl get` shows them. */
import { type ApiObject, type Json, type JsonObject, textAt } from "../json.ts";
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
  if (!["", "None", "Metadata", "Object"].includes(options.includeObject))
    throw badRequest(
      `Unable to convert to Table as requested: includeObject: Invalid value: ${JSON.stringify(options.includeObject)}: must be 'Metadata', 'Object', 'None', or empty`,
    );
  const columns = columnsOf(resource);
  return {
    kind: "Table",
    apiVersion: options.apiVersion,
    metadata: options.metadata,
    columnDefinitions: options.withColumns === false ? null : columns.map(definition),
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.cell(object, options.nowMs)),
      ...rowConditions(object),
      object: rowObject(object, options),
    })),
  };
}

function columnsOf(resource: ServedResource): readonly Column[] {
  if (resource.custom !== undefined) return [NAME, ...customColumns(resource.custom.columns)];
  const own = builtInColumns[resource.storedAs];
  if (own === undefined) return [NAME, CREATED];
  // Events are told by when and what, not by their names.
  return resource.storedAs === "events" ? own(AGE) : [NAME, ...own(AGE)];
}

const ENDED: Readonly<Record<string, string>> = { Succeeded: "The pod has completed successfully.", Failed: "The pod failed." };

/** Clients may leave out rows of pods that have ended. */
function rowConditions(object: ApiObject): JsonObject {
  const phase = object.kind === "Pod" && object.apiVersion === "v1" ? textAt(object, "status", "phase") : "";
  const message = ENDED[phase];
  return message === undefined ? {} : { conditions: [{ type: "Completed", status: "True", reason: phase, message }] };
}

function definition(column: Column): JsonObject {
  return { name: column.name, type: column.type, format: column.format ?? "", description: column.description ?? "", priority: column.priority ?? 0 };
}

function rowObject(object: ApiObject, options: TableOptions): Json {
  if (options.includeObject === "None") return null;
  return options.includeObject === "Object" ? object : partial(object, options.apiVersion);
}
