import type { ApiObject, Json } from "../json.ts";

/** A column of a table and how its cells are made. */
export interface Column {
  readonly name: string;
  readonly type: string;
  readonly format?: string;
  readonly description?: string;
  /** Columns above 0 are shown with `-o wide` only. */
  readonly priority?: number;
  readonly cell: (object: ApiObject, nowMs: number) => Json;
}
