/** A server in a folder of its own for one test, and requests to it. */
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ApiServer, type ApiServerOptions, startApiServer } from "../index.ts";
import { isObject, type JsonObject } from "../json.ts";

export interface Answer {
  readonly code: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body, when it is a JSON object; an empty one otherwise. */
  readonly body: JsonObject;
}

export interface CallOptions {
  readonly contentType?: string;
  readonly accept?: string;
  /** A user's token instead of the administrator's; an empty one for none. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestServer extends AsyncDisposable {
  server: ApiServer;
  readonly directory: string;
  /** Closes the server and starts another over the same folder. */
  restart(): Promise<void>;
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Answer>;
  get(path: string, options?: CallOptions): Promise<JsonObject>;
  post(path: string, body: unknown, options?: CallOptions): Promise<JsonObject>;
  merge(path: string, patch: unknown): Promise<JsonObject>;
  delete(path: string, options?: unknown): Promise<JsonObject>;
  /** A watch: its events as they come, until it ends or is aborted. */
  watch(path: string, signal?: AbortSignal): AsyncIterable<{ readonly type: string; readonly object: JsonObject }>;
}

export async function startTestServer(options: Partial<ApiServerOptions> = {}): Promise<TestServer> {
  const directory = mkdtempSync(join(tmpdir(), "drayage-api-"));
  const start = (): Promise<ApiServer> => startApiServer({ clock: systemClock, random: systemRandom, logger: nullLogger, ...options, directory });
  let server = await start();
  const send = (method: string, path: string, body: unknown, given: CallOptions = {}) => {
    const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    const token = given.token ?? server.adminToken;
    const request = httpsRequest(`${server.url}${path}`, {
      method,
      ca: server.caPem,
      agent: false,
      headers: {
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(bytes === undefined ? {} : { "content-type": given.contentType ?? "application/json", "content-length": bytes.length }),
        ...(given.accept === undefined ? {} : { accept: given.accept }),
        ...given.headers,
      },
    });
    return { request, bytes };
  };
  const call: TestServer["call"] = (method, path, body, given) =>
    new Promise((resolve, reject) => {
      const { request, bytes } = send(method, path, body, given);
      request.once("error", reject);
      request.once("response", (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({ code: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) });
        });
      });
      request.end(bytes);
    });
  const expectOk = async (answer: Promise<Answer>): Promise<JsonObject> => {
    const { code, body, text } = await answer;
    if (code >= 300) throw new Error(`${code} ${text}`);
    return body;
  };
  return {
    directory,
    get server() {
      return server;
    },
    set server(next) {
      server = next;
    },
    call,
    async restart() {
      await server.close();
      server = await start();
    },
    get: (path, given) => expectOk(call("GET", path, undefined, given)),
    post: (path, body, given) => expectOk(call("POST", path, body, given)),
    merge: (path, patch) => expectOk(call("PATCH", path, patch, { contentType: "application/merge-patch+json" })),
    delete: (path, given) => expectOk(call("DELETE", path, given)),
    async *watch(path, signal) {
      const { request } = send("GET", path, undefined);
      const abort = (): void => void request.destroy();
      signal?.addEventListener("abort", abort, { once: true });
      const response = await new Promise<AsyncIterable<Buffer>>((resolve, reject) => request.once("response", resolve).once("error", reject).end());
      let rest = "";
      try {
        for await (const part of response) {
          rest += part.toString("utf8");
          const lines = rest.split("\n");
          rest = lines.pop() ?? "";
          for (const line of lines) yield JSON.parse(line) as { type: string; object: JsonObject };
        }
      } catch (error) {
        if (signal?.aborted !== true) throw error;
      } finally {
        request.destroy();
      }
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function parsed(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/** The first `count` events of a watch. */
export async function take<T>(events: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  if (count === 0) return taken;
  for await (const event of events) {
    taken.push(event);
    if (taken.length === count) break;
  }
  return taken;
}

/** Calls `check` until it holds; for what happens in turns of its own. */
export async function eventually(check: () => Promise<boolean>, attempts = 200): Promise<void> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (await check()) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  throw new Error("it did not come to be");
}

export const configMap = (name: string, data: Record<string, string> = {}, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...metadata },
  data,
});
