/** The forms in which objects and lists are sent: themselves, as a Table, or their metadata only. */
import type { Accepted } from "./content.ts";
import type { ApiObject, JsonObject } from "./json.ts";
import type { ListPage } from "./list.ts";
import type { ServedResource } from "./served-resource.ts";
import { notAcceptable } from "./status-error.ts";
import { tableOf } from "./tables/table.ts";

export interface Presentation {
  /** For tables: None, Metadata (the default) or Object. */
  readonly includeObject: string;
  readonly nowMs: number;
  /** Watches send a table's columns once. */
  readonly withColumns?: boolean;
}

export function present(resource: ServedResource, object: ApiObject, accepted: Accepted, how: Presentation): JsonObject {
  if (accepted.as === undefined) return object;
  if (accepted.as === "Table")
    return tableOf(resource, [object], { ...how, apiVersion: accepted.asVersion, metadata: { resourceVersion: object.metadata.resourceVersion ?? "" } });
  if (accepted.as === "PartialObjectMetadata") return partial(object, accepted.asVersion);
  throw notAcceptable(["application/json", "application/yaml"]);
}

/** The list in its wanted form, or undefined when that is the list itself. */
export function presentList(resource: ServedResource, page: ListPage, accepted: Accepted, how: Presentation): JsonObject | undefined {
  if (accepted.as === undefined) return undefined;
  const metadata = {
    resourceVersion: page.resourceVersion,
    ...(page.continue === undefined ? {} : { continue: page.continue }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  };
  if (accepted.as === "Table") return tableOf(resource, page.items, { ...how, apiVersion: accepted.asVersion, metadata });
  if (accepted.as === "PartialObjectMetadataList")
    return { kind: "PartialObjectMetadataList", apiVersion: accepted.asVersion, metadata, items: page.items.map((item) => partial(item, accepted.asVersion)) };
  throw notAcceptable(["application/json", "application/yaml"]);
}

export function partial(object: ApiObject, apiVersion: string): JsonObject {
  return { kind: "PartialObjectMetadata", apiVersion, metadata: object.metadata };
}
