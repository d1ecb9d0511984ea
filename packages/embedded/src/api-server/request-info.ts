/** What a request's method and path ask for. */
import { badRequest } from "./status-error.ts";

export interface ResourceRequest {
  readonly isResource: true;
  /** The verb as authorization knows it: get, list, watch, create, update, patch, delete, deletecollection. */
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** What follows the subresource, for proxies. */
  readonly rest: string;
  readonly query: URLSearchParams;
}

export interface PathRequest {
  readonly isResource: false;
  readonly verb: string;
  readonly path: string;
  readonly query: URLSearchParams;
}

export type RequestInfo = ResourceRequest | PathRequest;

/**
 * `/api/v1/namespaces/shop/pods/web-0/log` and the like. Throws BadRequest for a path that cannot be decoded.
 * `/api/v1/watch/…` is the older form of a watch.
 */
export function requestInfo(method: string, url: string): RequestInfo {
  const { pathname, searchParams: query } = new URL(url, "https://localhost");
  const parts = decode(pathname);
  const root = parts[0];
  const resource = root === "api" ? parts.slice(1) : root === "apis" ? parts.slice(2) : [];
  const group = root === "apis" ? (parts[1] ?? "") : "";
  const version = resource[0];
  let path = resource.slice(1);
  const older = path[0] === "watch";
  if (older) path = path.slice(1);
  if (version === undefined || path.length === 0) return { isResource: false, verb: method.toLowerCase(), path: pathname, query };
  let namespace: string | undefined;
  // `namespaces/shop` is the namespace itself, as are its subresources; `namespaces/shop/pods` is something in it.
  if (path[0] === "namespaces" && path.length > 2 && !["status", "finalize"].includes(path[2] ?? "")) {
    namespace = path[1];
    path = path.slice(2);
  }
  const [plural = "", name, subresource, ...rest] = path;
  const watching = older || ["true", "1"].includes(query.get("watch") ?? "");
  const verb = verbOf(method, name, watching);
  return { isResource: true, verb, group, version, plural, namespace, name, subresource, rest: rest.join("/"), query };
}

function verbOf(method: string, name: string | undefined, watching: boolean): string {
  switch (method) {
    case "GET":
    case "HEAD":
      return watching ? "watch" : name === undefined ? "list" : "get";
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return name === undefined ? "deletecollection" : "delete";
    default:
      return method.toLowerCase();
  }
}

function decode(pathname: string): string[] {
  try {
    return pathname
      .split("/")
      .filter((part) => part !== "")
      .map((part) => decodeURIComponent(part));
  } catch {
    throw badRequest(`invalid path "${pathname}"`);
  }
}
