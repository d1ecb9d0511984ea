/**
 * Watches: changes from a version on, as one JSON line each.
 *
 * Invariants: events of one watch come in the order of their revisions and none is left out, or the watch ends; an object that no longer matches the selectors is DELETED for this
 * watch, one that begins to match is ADDED. A client that does not read is cut off when `BUFFER_MAX_BYTES` wait for it; it then lists again, as after any end of a watch.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "@drayage/base";
import { fromStored } from "./conversion.ts";
import type { ApiObject } from "./json.ts";
import { listRequest, revisionOf, revisionProblem } from "./list.ts";
import { type Selector, selectorOf } from "./selectors.ts";
import { apiVersionOf, type ServedResource } from "./served-resource.ts";
import { expired, invalidObject, StatusError } from "./status-error.ts";
import type { Change, Storage } from "./storage.ts";

const BUFFER_MAX_BYTES = 16 << 20;
const BOOKMARK_INTERVAL_MS = 60_000;
/** When the client names no timeout, the watch ends after this long, as the real server's do. */
const TIMEOUT_DEFAULT_MS = 30 * 60_000;

type EventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";

export interface WatchContext {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly resource: ServedResource;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly query: URLSearchParams;
  /** An injected fault: every event comes this much later. */
  readonly delayEventsMs: number;
  /** Gives the object its wanted form: itself, a Table, or its metadata. `first` is true once a watch. */
  readonly present: (object: ApiObject, first: boolean) => unknown;
  /** Ends the watch from outside: at shutdown, or to inject a lost connection. */
  readonly registerEnd: (end: () => void) => () => void;
}

/** Serves one watch until the client leaves, the time is up, or history no longer reaches. Throws StatusError before the first byte. */
export function serveWatch(request: IncomingMessage, response: ServerResponse, context: WatchContext): Promise<void> {
  const { storage, resource, query } = context;
  const options = listRequest(context.namespace, query);
  const byQuery = selectorOf(resource, options.labelSelector, options.fieldSelector);
  const matches: Selector = (object) => (context.name === undefined || object.metadata.name === context.name) && byQuery(object);
  const sendInitial = initialEventsWanted(query);
  const start = options.resourceVersion === "" || options.resourceVersion === "0" ? undefined : startOf(options.resourceVersion);
  const replay = start === undefined || sendInitial === true ? [] : storage.changesSince(start);
  return new Promise<void>((resolve) => {
    const stream = new WatchStream(response, context, matches);
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      unsubscribe();
      unregister();
      cancelTimeout();
      cancelBookmark();
      stream.close();
      resolve();
    };
    let cancelBookmark = (): void => undefined;
    const bookmarks = (): void => {
      cancelBookmark = context.clock.after(BOOKMARK_INTERVAL_MS, () => {
        stream.bookmark(storage.revision);
        bookmarks();
      });
    };
    const unregister = context.registerEnd(end);
    const cancelTimeout = context.clock.after(timeoutMs(query), end);
    response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-cache, private", "Transfer-Encoding": "chunked" });
    response.flushHeaders();
    request.once("close", end);
    response.once("close", end);
    response.once("error", end);
    let unsubscribe = (): void => undefined;
    // A version of the future is one of another cluster that was here before; its client has to list anew as well.
    if (replay === undefined || (start ?? 0) > storage.revision) {
      stream.error(expired(`too old resource version: ${start} (${storage.oldestRevision + 1})`));
      end();
      return;
    }
    const wantsState = start === undefined ? sendInitial !== false : sendInitial === true;
    if (wantsState) {
      stream.state(storage.list(resource.storedAs, context.namespace));
      if (sendInitial === true) stream.bookmark(storage.revision, true);
    }
    for (const change of replay) stream.change(change);
    unsubscribe = storage.subscribe((change) => {
      stream.change(change);
      if (stream.overflowed) end();
    });
    if (query.get("allowWatchBookmarks") === "true" || query.get("allowWatchBookmarks") === "1") bookmarks();
  });
}

/** A watch tells of a version that is none as of a failure of its own. */
function startOf(text: string): number {
  const revision = revisionOf(text);
  if (revision === undefined) throw new StatusError(500, "", revisionProblem(text));
  return revision;
}

/** `sendInitialEvents` with the rules the API has for it. */
function initialEventsWanted(query: URLSearchParams): boolean | undefined {
  const text = query.get("sendInitialEvents");
  if (text === null) return undefined;
  const match = query.get("resourceVersionMatch") ?? "";
  if (match !== "NotOlderThan")
    throw invalidObject({ group: "meta.k8s.io", name: "ListOptions" }, "", [
      {
        type: "Forbidden",
        field: "resourceVersionMatch",
        message: "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
      },
    ]);
  return text === "true" || text === "1";
}

function timeoutMs(query: URLSearchParams): number {
  const seconds = Number(query.get("timeoutSeconds") ?? "");
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : TIMEOUT_DEFAULT_MS;
}

class WatchStream {
  readonly #response: ServerResponse;
  readonly #context: WatchContext;
  readonly #matches: Selector;
  #first = true;
  #lastRevision = 0;

  constructor(response: ServerResponse, context: WatchContext, matches: Selector) {
    this.#response = response;
    this.#context = context;
    this.#matches = matches;
  }

  get overflowed(): boolean {
    return this.#response.writableLength > BUFFER_MAX_BYTES;
  }

  state(objects: readonly ApiObject[]): void {
    for (const stored of objects) {
      const object = fromStored(this.#context.resource, stored);
      if (this.#matches(object)) this.#write("ADDED", object);
    }
  }

  change(change: Change): void {
    const { resource, namespace } = this.#context;
    if (change.resource !== resource.storedAs || (namespace !== undefined && change.object.metadata.namespace !== namespace)) return;
    this.#lastRevision = change.revision;
    const before = change.previous === undefined ? undefined : fromStored(resource, change.previous);
    const object = fromStored(resource, change.object);
    const matched = before !== undefined && this.#matches(before);
    const matches = change.type !== "DELETED" && this.#matches(object);
    if (matches) this.#write(matched ? "MODIFIED" : "ADDED", object);
    else if (matched) {
      // The object as it was when it was last seen, at the revision at which it left.
      const last = change.type === "DELETED" ? object : { ...before, metadata: { ...before.metadata, resourceVersion: String(change.revision) } };
      this.#write("DELETED", last);
    }
  }

  bookmark(revision: number, initialEventsEnd = false): void {
    const { resource } = this.#context;
    this.#lastRevision = Math.max(this.#lastRevision, revision);
    const object: ApiObject = {
      kind: resource.kind,
      apiVersion: apiVersionOf(resource),
      metadata: { resourceVersion: String(this.#lastRevision), ...(initialEventsEnd ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}) },
    };
    this.#write("BOOKMARK", object);
  }

  error(error: StatusError): void {
    this.#line({ type: "ERROR", object: error.status });
  }

  close(): void {
    if (this.overflowed) this.#response.destroy();
    else this.#response.end();
  }

  #write(type: EventType, object: ApiObject): void {
    this.#line({ type, object: this.#context.present(object, this.#first) });
    this.#first = false;
  }

  #line(event: { readonly type: EventType; readonly object: unknown }): void {
    // Line separators of Unicode are legal in JSON, but clients that read by lines may break on them.
    const text = JSON.stringify(event).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
    const { clock, delayEventsMs } = this.#context;
    if (delayEventsMs === 0) this.#response.write(`${text}\n`);
    else clock.after(delayEventsMs, () => !this.#response.writableEnded && this.#response.write(`${text}\n`));
  }
}
