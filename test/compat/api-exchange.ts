/** Requests to an API server under test, and their answers without what differs between any two runs. */
import { request as httpsRequest } from "node:https";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Target {
  readonly url: string;
  readonly token: string;
}

export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly body?: Json | string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent again until the answer is like this, for what the real server does by and by. */
  readonly until?: (answer: Answer) => boolean;
}

export interface Answer {
  readonly code: number;
  readonly contentType: string;
  readonly warning: string | undefined;
  readonly body: Json;
}

const ATTEMPTS_MAX = 200;

export async function exchange(target: Target, it: Exchange): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const answer = await exchangeOnce(target, it);
    if (it.until?.(answer) !== false || attempt === ATTEMPTS_MAX) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function exchangeOnce(target: Target, it: Exchange): Promise<Answer> {
  const body = it.body === undefined ? undefined : Buffer.from(typeof it.body === "string" ? it.body : JSON.stringify(it.body));
  return new Promise((resolve, reject) => {
    const call = httpsRequest(
      `${target.url}${it.path}`,
      {
        method: it.method,
        rejectUnauthorized: false,
        agent: false,
        headers: {
          authorization: `Bearer ${target.token}`,
          "content-type": "application/json",
          "user-agent": "conformance/1",
          ...(body === undefined ? {} : { "content-length": body.length }),
          ...it.headers,
        },
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          const contentType = response.headers["content-type"] ?? "";
          resolve({
            code: response.statusCode ?? 0,
            contentType,
            warning: response.headers["warning"] as string | undefined,
            body: /^\s*\{/.test(text) && !contentType.includes("yaml") ? parseLines(text) : text,
          });
        });
      },
    );
    call.once("error", reject);
    call.end(body);
  });
}

/** An object, or for a watch the list of its events. */
function parseLines(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Json);
  }
}

/** Values that are new in every run, wherever they stand. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "<time>"],
  [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uid>"],
  [/kube-api-access-[a-z0-9]{5}/g, "kube-api-access-<random>"],
  [/^\d+s$/g, "<age>"],
  [/\b(made-)[a-z0-9]{5}\b/g, "$1<random>"],
  [/\b10\.96\.\d+\.\d+\b/g, "<address>"],
  [/\b(too old resource version: )\d+ \(\d+\)/g, "$1<n>"],
  [/\b(Too large resource version: \d+, current: )\d+/g, "$1<n>"],
  [/(\\?"resourceVersion\\?":\\?")\d+/g, "$1<n>"],
  [/( in record \()\d+/g, "$1<n>"],
  [/StorageError: invalid object, Code: 4, .* AdditionalErrorMsg: /g, ""],
  // The real server adds a diff of its Go structs to some refusals.
  [/\n@@ [\s\S]*$/g, ""],
  // The whole object, with its fields in the order of each server.
  [/(patch: Invalid value: |^Invalid value: )"\{[\s\S]*\}"/g, "$1<object>"],
];
const VOLATILE_KEYS: ReadonlySet<string> = new Set(["resourceVersion", "continue", "remainingItemCount", "hash", "token", "serverAddress"]);
/** A cache key of the real server that nothing reads but its own migration. */
const IGNORED_KEYS: ReadonlySet<string> = new Set(["storageVersionHash"]);

/** The value with everything volatile replaced. Texts of column definitions are ours and theirs, and left out. */
export function stable(value: Json, key = ""): Json {
  if (typeof value === "string") {
    if (VOLATILE_KEYS.has(key) && value !== "") return `<${key}>`;
    return VOLATILE.reduce((text, [pattern, replacement]) => text.replaceAll(pattern, replacement), value);
  }
  if (Array.isArray(value)) {
    const items = value.map((item) => stable(item));
    // The real server checks some fields twice and then tells twice.
    // Managers are sorted by their times, which differ.
    if (key === "managedFields") return items.sort((a, b) => (managerOf(a) < managerOf(b) ? -1 : 1));
    return key === "causes"
      ? [...new Map(items.map((item) => [JSON.stringify(item), item])).values()].sort((a, b) => (causeOf(a) < causeOf(b) ? -1 : 1))
      : items;
  }
  if (value === null || typeof value !== "object") return value;
  // Several errors come in any order; the causes tell them all.
  if (value["kind"] === "Status" && typeof value["message"] === "string")
    value = { ...value, message: value["message"].replace(/is invalid: \[[\s\S]*\]$/, "is invalid: [<causes>]") };
  const entries = Object.entries(value)
    .filter(([name]) => !(name === "description" && "priority" in value) && !IGNORED_KEYS.has(name))
    .map(([name, child]) => [name, stable(child, name)] as const);
  return Object.fromEntries(entries);
}

function causeOf(cause: Json): string {
  const { field, message } = cause as Record<string, Json>;
  return `${field} ${message}`;
}

function managerOf(entry: Json): string {
  const { operation, manager, subresource } = entry as Record<string, Json>;
  return [operation, manager, subresource ?? ""].join(" ");
}
