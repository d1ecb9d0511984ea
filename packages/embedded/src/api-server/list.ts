/** Lists: selectors, pages, and what resourceVersion means for them. */
import { fromStored } from "./conversion.ts";
import { type ApiObject, isObject, type JsonObject } from "./json.ts";
import { selectorOf } from "./selectors.ts";
import { apiVersionOf, type ServedResource } from "./served-resource.ts";
import { badRequest, expired, invalidObject, resourceVersionTooLarge } from "./status-error.ts";
import { keyOf, type Storage } from "./storage.ts";

export interface ListRequest {
  readonly namespace: string | undefined;
  readonly labelSelector: string;
  readonly fieldSelector: string;
  readonly limit: number | undefined;
  readonly continue: string;
  readonly resourceVersion: string;
  readonly resourceVersionMatch: string;
}

export interface ListPage {
  readonly items: readonly ApiObject[];
  readonly resourceVersion: string;
  readonly continue: string | undefined;
  readonly remaining: number | undefined;
}

interface ContinueToken {
  readonly v: "meta.k8s.io/v1";
  readonly rv: number;
  readonly start: string;
}

export function listRequest(namespace: string | undefined, query: URLSearchParams): ListRequest {
  const limit = query.get("limit");
  return {
    namespace,
    labelSelector: query.get("labelSelector") ?? "",
    fieldSelector: query.get("fieldSelector") ?? "",
    limit: limit === null || limit === "" || !/^\d+$/.test(limit) || limit === "0" ? undefined : Number(limit),
    continue: query.get("continue") ?? "",
    resourceVersion: query.get("resourceVersion") ?? "",
    resourceVersionMatch: query.get("resourceVersionMatch") ?? "",
  };
}

/** One page. Throws BadRequest, Expired for a version that is gone, and Timeout for one that is yet to come. */
export function listPage(storage: Storage, resource: ServedResource, request: ListRequest): ListPage {
  const matches = selectorOf(resource, request.labelSelector, request.fieldSelector);
  const token = request.continue === "" ? undefined : decodeToken(request.continue);
  const revision = revisionFor(storage, request, token);
  const stored = storage.listAt(resource.storedAs, revision, request.namespace);
  if (stored === undefined)
    throw expired(
      token === undefined
        ? `The resourceVersion for the provided list is too old: ${revision}`
        : "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
  const items: ApiObject[] = [];
  let next: string | undefined;
  let remaining = 0;
  for (const object of stored) {
    if (token !== undefined && keyOf(object) < token.start) continue;
    if (request.limit !== undefined && items.length >= request.limit) {
      next ??= keyOf(object);
      remaining++;
      continue;
    }
    const served = fromStored(resource, object);
    if (matches(served)) items.push(served);
  }
  const selective = request.labelSelector !== "" || request.fieldSelector !== "";
  return {
    items,
    resourceVersion: String(revision),
    continue: next === undefined ? undefined : encodeToken({ v: "meta.k8s.io/v1", rv: revision, start: next }),
    remaining: next === undefined || selective ? undefined : remaining,
  };
}

function revisionFor(storage: Storage, request: ListRequest, token: ContinueToken | undefined): number {
  const { resourceVersion, resourceVersionMatch } = request;
  if (resourceVersionMatch !== "" && !["Exact", "NotOlderThan"].includes(resourceVersionMatch))
    throw invalidObject({ group: "meta.k8s.io", name: "ListOptions" }, "", [
      {
        type: "NotSupported",
        field: "resourceVersionMatch",
        message: `Unsupported value: "${resourceVersionMatch}": supported values: "Exact", "NotOlderThan", ""`,
      },
    ]);
  if (resourceVersionMatch !== "" && resourceVersion === "")
    throw invalidObject({ group: "meta.k8s.io", name: "ListOptions" }, "", [
      { type: "Forbidden", field: "resourceVersionMatch", message: "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided" },
    ]);
  if (token !== undefined) return token.rv <= 0 ? storage.revision : token.rv;
  if (resourceVersion === "" || resourceVersion === "0") return storage.revision;
  const wanted = parseRevision(resourceVersion);
  if (wanted > storage.revision) throw resourceVersionTooLarge(wanted, storage.revision);
  return resourceVersionMatch === "Exact" ? wanted : storage.revision;
}

/** A resourceVersion as the number it is here. Throws BadRequest. */
export function parseRevision(text: string): number {
  const value = revisionOf(text);
  if (value === undefined) throw badRequest(`invalid resource version: ${revisionProblem(text)}`);
  return value;
}

export function revisionOf(text: string): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text) && Number.isSafeInteger(value) ? value : undefined;
}

export const revisionProblem = (text: string): string =>
  `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;

function encodeToken(token: ContinueToken): string {
  return Buffer.from(JSON.stringify(token)).toString("base64url");
}

function decodeToken(text: string): ContinueToken {
  try {
    const token: unknown = JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
    if (isObject(token) && token["v"] === "meta.k8s.io/v1" && typeof token["rv"] === "number" && typeof token["start"] === "string")
      return { v: "meta.k8s.io/v1", rv: token["rv"], start: token["start"] };
  } catch {
    // Reported below, as any other token that is not one of ours.
  }
  throw badRequest("continue key is not valid: invalid continue token");
}

/** The list as its kind. Items of built-in kinds carry no apiVersion and kind, as typed lists do not. */
export function listObject(resource: ServedResource, page: ListPage): JsonObject {
  return {
    kind: resource.listKind,
    apiVersion: apiVersionOf(resource),
    metadata: {
      resourceVersion: page.resourceVersion,
      // Lists of custom resources always have the field.
      ...(page.continue === undefined ? (resource.custom === undefined ? {} : { continue: "" }) : { continue: page.continue }),
      ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
    },
    items: page.items.map((item) => (resource.custom === undefined ? withoutType(item) : item)),
  };
}

function withoutType(object: ApiObject): JsonObject {
  const { apiVersion: _apiVersion, kind: _kind, ...rest } = object as JsonObject;
  return rest;
}
