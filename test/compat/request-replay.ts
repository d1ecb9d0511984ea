/** Recorded requests sent to another API server, in their order, and what it answers beside what was recorded. */
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { type Json, type JsonObject, stable, type Target } from "./api-exchange.ts";
import type { RecordedExchange } from "./recording-proxy.ts";

export interface Replayed {
  readonly exchange: RecordedExchange;
  readonly recorded: Comparable;
  readonly replayed: Comparable;
}

/** An answer without what differs between any two runs. */
export interface Comparable {
  readonly status: number;
  readonly contentType: string;
  readonly warnings: readonly string[];
  readonly body: Json;
}

/** How long a watch of the replay may take to show as many events as were recorded, in milliseconds. */
const EVENTS_WITHIN_MS = 20_000;
const POLL_MS = 10;
const UID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const GENERATED = /^(.*-)[a-z0-9]{5}$/;

interface OpenWatch {
  readonly exchange: RecordedExchange;
  readonly recorded: readonly Json[];
  readonly result: number;
  readonly answer: Receiving;
}

interface Receiving {
  readonly message: IncomingMessage;
  readonly parts: Buffer[];
  readonly ended: Promise<void>;
  isOver: boolean;
}

/** Sends every exchange to the target. Watches stay open as long as the recorded ones did; of their events, as many are compared as the recorded client had seen. */
export async function replay(exchanges: readonly RecordedExchange[], target: Target): Promise<Replayed[]> {
  const names = new Renaming();
  const results: Replayed[] = [];
  const watches = new Set<OpenWatch>();
  const close = async (watch: OpenWatch): Promise<void> => {
    watches.delete(watch);
    const giveUpAt = Date.now() + EVENTS_WITHIN_MS;
    let events = eventsOf(watch.exchange, Buffer.concat(watch.answer.parts));
    while (events.length < watch.recorded.length && !watch.answer.isOver && Date.now() < giveUpAt) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      events = eventsOf(watch.exchange, Buffer.concat(watch.answer.parts));
    }
    watch.answer.message.destroy();
    const seen = events.slice(0, watch.recorded.length);
    names.learn([...watch.recorded], seen);
    const { exchange } = watch;
    results[watch.result] = { exchange, ...compared(exchange, [...watch.recorded], watch.answer.message, seen, names) };
  };
  for (const [index, exchange] of exchanges.entries()) {
    for (const watch of [...watches]) if ((watch.exchange.endedAfter ?? Number.POSITIVE_INFINITY) <= index) await close(watch);
    // Its client ended before the answer: there is nothing to compare.
    if (!exchange.isWatch && !exchange.isComplete) continue;
    const answer = await send(target, exchange, names);
    if (exchange.isWatch && exchange.status === 200 && answer.message.statusCode === 200) {
      results.push({ exchange, ...compared(exchange, [], answer.message, [], names) });
      watches.add({ exchange, recorded: eventsOf(exchange, exchange.answer), result: index, answer });
      continue;
    }
    await answer.ended;
    const recorded = withoutOthers(exchange.path, parse(exchange.answer));
    const replayed = names.aligned(recorded, withoutOthers(exchange.path, parse(Buffer.concat(answer.parts))));
    names.learn(recorded, replayed);
    names.learnTag(exchange.answerHeaders.etag, answer.message.headers.etag);
    results.push({ exchange, ...compared(exchange, recorded, answer.message, replayed, names) });
  }
  for (const watch of [...watches]) await close(watch);
  return results;
}

function send(target: Target, exchange: RecordedExchange, names: Renaming): Promise<Receiving> {
  const isText = exchange.body[0] === 0x7b || exchange.body[0] === 0x5b || /json|yaml/.test(exchange.headers["content-type"] ?? "");
  const body = isText ? Buffer.from(names.inText(withoutManagers(exchange))) : names.inBytes(exchange.body);
  const tag = exchange.headers["if-none-match"];
  return new Promise((resolve, reject) => {
    const call = httpsRequest(
      `${target.url}${names.inPath(exchange.path)}`,
      {
        method: exchange.method,
        rejectUnauthorized: false,
        agent: false,
        headers: {
          ...exchange.headers,
          ...(tag === undefined ? {} : { "if-none-match": names.inText(tag) }),
          authorization: `Bearer ${target.token}`,
          ...(body.length > 0 ? { "content-length": body.length } : {}),
        },
      },
      (message) => {
        const parts: Buffer[] = [];
        message.on("data", (part: Buffer) => parts.push(part));
        message.on("error", () => undefined);
        const ended = new Promise<void>((done) => message.once("close", done));
        const receiving: Receiving = { message, parts, ended, isOver: false };
        void ended.then(() => {
          receiving.isOver = true;
        });
        resolve(receiving);
      },
    );
    call.once("error", reject);
    call.end(body);
  });
}

/**
 * The body of a request. What replaces an object sends along who has changed what, with the times at which that was in the recording: a server would take a replacement that changes nothing
 * for one that changes these times. Left out they stay as they are.
 */
function withoutManagers({ method, body }: RecordedExchange): string {
  const text = body.toString("utf8");
  if (method !== "PUT" || !text.startsWith("{")) return text;
  const object = JSON.parse(text) as JsonObject;
  const { managedFields: _, ...metadata } = (object["metadata"] ?? {}) as JsonObject;
  return JSON.stringify({ ...object, metadata });
}

function parse(bytes: Buffer): Json {
  const text = bytes.toString("utf8");
  if (!/^\s*[{[]/.test(text)) return text;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text;
  }
}

/** The events of a watch that have come completely. Bookmarks come by the clock, and are left out. */
function eventsOf(exchange: RecordedExchange, bytes: Buffer): Json[] {
  const lines = bytes.toString("utf8").split("\n").slice(0, -1);
  return lines
    .map((line) => JSON.parse(line) as JsonObject)
    .filter(({ type, object }) => type !== "BOOKMARK" && !isMadeByOthers(exchange.path, object ?? null));
}

function compared(
  exchange: RecordedExchange,
  recorded: Json,
  message: IncomingMessage,
  replayed: Json,
  names: Renaming,
): { readonly recorded: Comparable; readonly replayed: Comparable } {
  return {
    recorded: comparable(exchange.status, exchange.answerHeaders, names.inAnswer(recorded)),
    replayed: comparable(message.statusCode ?? 0, message.headers, replayed),
  };
}

/** Objects that controllers, or the real server itself, make in a namespace: beside the recorded server no controllers run. */
const MADE_BY_OTHERS: Readonly<Record<string, readonly string[]>> = {
  configmaps: ["kube-root-ca.crt", "kube-apiserver-legacy-service-account-token-tracking"],
  serviceaccounts: ["default"],
};

function isMadeByOthers(path: string, object: Json): boolean {
  const names = MADE_BY_OTHERS[/\/(\w+)(\?|$)/.exec(path)?.[1] ?? ""] ?? [];
  return isObject(object) && isObject(object["metadata"] ?? null) && names.includes(String((object["metadata"] as JsonObject)["name"]));
}

function withoutOthers(path: string, body: Json): Json {
  if (!isObject(body) || !Array.isArray(body["items"])) return body;
  return { ...body, items: body["items"].filter((item) => !isMadeByOthers(path, item)) };
}

function comparable(status: number, headers: IncomingMessage["headers"], body: Json): Comparable {
  const warnings = [headers["warning"] ?? []].flat().map(String);
  return { status, contentType: String(headers["content-type"] ?? "").replaceAll(/\s/g, ""), warnings, body: withoutAllocations(stable(body)) };
}

const UNORDERED: ReadonlySet<string> = new Set(["resourceRules", "nonResourceRules"]);

/** Addresses and ports that a server picks for services, and orders that nobody decides. */
function withoutAllocations(value: Json, key = ""): Json {
  if (typeof value === "string") return value.replaceAll(/\b10\.96\.\d+\.\d+\b/g, "<address>").replaceAll(/:3[0-2]\d{3}\//g, ":<port>/");
  if (key === "nodePort" && typeof value === "number") return "<port>";
  if (Array.isArray(value)) {
    const items = value.map((item) => withoutAllocations(item));
    // The real server goes through the bindings in the order of a hash map.
    return UNORDERED.has(key) ? items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : items;
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, withoutAllocations(child, name)]));
}

/** What the replayed server calls what the recorded one called otherwise: uids, versions, generated names, where a list goes on. */
class Renaming {
  /** Unlike anything else wherever they stand. */
  readonly #texts = new Map<string, string>();
  readonly #versions = new Map<number, string>();
  /** Of whole lists: that of the last write, whatever it wrote, which may have been one that the other server does not make. */
  readonly #listVersions = new Map<number, string>();
  readonly #continues = new Map<string, string>();

  learn(recorded: Json, replayed: Json, key = ""): void {
    if (typeof recorded === "string" && typeof replayed === "string") {
      if (key === "resourceVersion" && /^\d+$/.test(recorded)) this.#versions.set(Number(recorded), replayed);
      else if (key === "continue") this.#continues.set(recorded, replayed);
      else if (recorded === replayed) return;
      else if (this.#texts.has(recorded)) return;
      else if (UID.test(recorded) && UID.test(replayed)) this.#texts.set(recorded, replayed);
      else if (key === "name") this.#learnName(this.#words(recorded), replayed);
    } else if (Array.isArray(recorded) && Array.isArray(replayed)) {
      for (const [index, item] of recorded.entries()) this.learn(item, replayed[index] ?? null, key);
    } else if (isObject(recorded) && isObject(replayed)) {
      if (Array.isArray(recorded["items"])) {
        this.#learnList(recorded["metadata"] ?? null, replayed["metadata"] ?? null);
        this.learn(recorded["items"], replayed["items"] ?? null);
        return;
      }
      for (const [name, child] of Object.entries(recorded)) this.learn(child, replayed[name] ?? null, name);
    }
  }

  /** A list that is sorted by names of which some were generated, and so in another order: its items in that of the recorded one. */
  aligned(recorded: Json, replayed: Json): Json {
    if (!isObject(recorded) || !isObject(replayed) || !Array.isArray(recorded["items"]) || !Array.isArray(replayed["items"])) return replayed;
    const wanted = recorded["items"].map((item) => this.#texts.get(metadataOf(item, "uid")));
    if (!recorded["items"].some((item) => this.#texts.has(metadataOf(item, "name")))) return replayed;
    const placeOf = (item: Json): number => ((place) => (place < 0 ? wanted.length : place))(wanted.indexOf(metadataOf(item, "uid")));
    return { ...replayed, items: replayed["items"].toSorted((a, b) => placeOf(a) - placeOf(b)) };
  }

  #learnList(recorded: Json, replayed: Json): void {
    if (!isObject(recorded) || !isObject(replayed)) return;
    const { resourceVersion: from, continue: at } = recorded;
    if (typeof from === "string" && /^\d+$/.test(from) && typeof replayed["resourceVersion"] === "string")
      this.#listVersions.set(Number(from), replayed["resourceVersion"]);
    if (typeof at === "string" && typeof replayed["continue"] === "string") this.#continues.set(at, replayed["continue"]);
  }

  /** A name may have been generated from another generated one, which is renamed in it already. */
  #learnName(recorded: string, replayed: string): void {
    const start = GENERATED.exec(recorded)?.[1];
    if (start !== undefined && start === GENERATED.exec(replayed)?.[1]) this.#texts.set(recorded, replayed);
  }

  learnTag(recorded: string | undefined, replayed: string | undefined): void {
    if (recorded !== undefined && replayed !== undefined) this.#texts.set(recorded, replayed);
  }

  inText(text: string): string {
    const renamed = this.#words(text);
    // As a field, and as the value of a JSON patch.
    return renamed.replaceAll(
      /("resourceVersion": ?"|\/metadata\/resourceVersion","value": ?")(\d+)(")/g,
      (_whole, before: string, version: string, after: string) => `${before}${this.#version(version)}${after}`,
    );
  }

  /** In protobuf, which says the length of each text: what has a name of the same length, as uids and generated names have. */
  inBytes(bytes: Buffer): Buffer {
    let text = bytes.toString("latin1");
    for (const [from, to] of this.#texts) if (from.length === to.length) text = text.replaceAll(from, to);
    return Buffer.from(text, "latin1");
  }

  inAnswer(answer: Json): Json {
    return JSON.parse(this.#words(JSON.stringify(answer))) as Json;
  }

  inPath(path: string): string {
    const [plain = "", query] = this.#words(path).split("?", 2);
    if (query === undefined) return plain;
    const parameters = new URLSearchParams(query);
    const version = parameters.get("resourceVersion");
    if (version !== null) parameters.set("resourceVersion", this.#listVersions.get(Number(version)) ?? this.#version(version));
    const at = parameters.get("continue");
    if (at !== null) parameters.set("continue", this.#continues.get(at) ?? at);
    return `${plain}?${parameters}`;
  }

  #words(text: string): string {
    let renamed = text;
    for (const [from, to] of this.#texts) renamed = renamed.replaceAll(from, to);
    return renamed;
  }

  /** A version that was never told is that of something in between: the last one told before it is at the same place. */
  #version(recorded: string): string {
    if (!/^\d+$/.test(recorded) || recorded === "0") return recorded;
    let best: number | undefined;
    for (const known of this.#versions.keys()) if (known <= Number(recorded) && (best === undefined || known > best)) best = known;
    return best === undefined ? recorded : (this.#versions.get(best) ?? recorded);
  }
}

function metadataOf(item: Json, field: "name" | "uid"): string {
  const metadata = isObject(item) ? (item["metadata"] ?? null) : null;
  return isObject(metadata) ? String(metadata[field] ?? "") : "";
}

function isObject(value: Json): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
