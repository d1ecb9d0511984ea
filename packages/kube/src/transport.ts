/** HTTP to one API server: connections, credentials, pacing, retries and the translation of refusals. Knows no resource. */
import { StringDecoder } from "node:string_decoder";
import { asBuffer, type Clock, DrayError, isDrayError, type Logger, type RandomSource, type RetryPolicy, retry } from "@drayage/base";
import type { Dispatcher } from "undici";
import type { Connection, Credentials } from "./connection.ts";
import { RateLimiter } from "./rate-limit.ts";
import { errorFromStatus, errorFromTransport, neverSent, parseStatus } from "./status-error.ts";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface TransportRequest {
  readonly method: Method;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
  /** Continues the word "Cannot" in an error message: `get pods "ns/name"`. */
  readonly action: string;
  /** The longest silence inside the answer's body; that of an ordinary request when left out, none when 0. */
  readonly bodyTimeoutMs?: number;
}

export interface TransportOptions {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly userAgent: string;
  readonly qps: number;
  readonly burst: number;
}

/** Small: a reconcile that fails comes back anyway, and a person waits for a command. */
const requestRetry: RetryPolicy = { attemptsMax: 5, firstDelayMs: 200, factor: 2, delayMaxMs: 2_000, budgetMs: 15_000 };
const HEADERS_TIMEOUT_MS = 65_000;
const BODY_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** An answer to one request is never larger: a page of a list is the largest. */
const BODY_BYTES_MAX = 256 << 20;
const RETRY_AFTER_MAX_MS = 10_000;

export class Transport {
  readonly connection: Connection;
  readonly #options: TransportOptions;
  readonly #limiter: RateLimiter;
  #agent: { readonly identity: string; readonly dispatcher: Dispatcher } | undefined;
  #closed = false;

  constructor(options: TransportOptions) {
    this.connection = options.connection;
    this.#options = options;
    this.#limiter = new RateLimiter(options.clock, options);
  }

  /** Sends a request and reads its JSON answer. Retries as the port of the client promises. */
  async json<R>(request: TransportRequest): Promise<R> {
    const text = await this.#withRetries(request, async () => {
      const body = await this.#send(request);
      try {
        return await readText(body);
      } catch (cause) {
        throw this.#transportError(request, cause, true);
      }
    });
    if (text === "") return undefined as R;
    try {
      return JSON.parse(text) as R;
    } catch (cause) {
      throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${request.action}: the answer is not JSON`, { cause });
    }
  }

  /** Sends a request and gives its answer as it comes. Only the opening is retried; a connection that breaks later throws KUBE_UNAVAILABLE. */
  async *stream(request: TransportRequest): AsyncGenerator<Uint8Array, void, undefined> {
    const body = await this.#withRetries(request, () => this.#send(request));
    try {
      for await (const chunk of body) yield chunk as Uint8Array;
    } catch (cause) {
      throw this.#transportError(request, cause, true);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#agent?.dispatcher.destroy();
  }

  async #withRetries<T>(request: TransportRequest, attempt: () => Promise<T>): Promise<T> {
    const { clock, random, logger } = this.#options;
    let refreshed = false;
    return retry(
      async () => {
        try {
          return await attempt();
        } catch (error) {
          const waitMs = isDrayError(error) ? error.context["retryAfterMs"] : undefined;
          if (typeof waitMs === "number" && isRetryable(request, error)) await clock.sleep(Math.min(waitMs, RETRY_AFTER_MAX_MS), request.signal);
          throw error;
        }
      },
      {
        clock,
        random,
        policy: requestRetry,
        ...(request.signal === undefined ? {} : { signal: request.signal }),
        retryable: (error) => {
          if (isDrayError(error) && error.code === "KUBE_UNAUTHORIZED" && !refreshed) {
            // A token may have been rotated since it was read.
            refreshed = true;
            this.connection.invalidate();
            return true;
          }
          return !this.#closed && isRetryable(request, error);
        },
        onRetry: (error, count) => logger.debug("Request is tried again", { action: request.action, attempt: count, reason: String(error) }),
      },
    );
  }

  async #send(request: TransportRequest): Promise<Dispatcher.ResponseData["body"]> {
    if (this.#closed) throw new DrayError("INVARIANT", `Cannot ${request.action}: the client is closed`);
    await this.#limiter.take(request.signal);
    request.signal?.throwIfAborted();
    const credentials = await this.connection.credentials();
    const dispatcher = await this.#dispatcherFor(credentials);
    const url = new URL(this.connection.server);
    let response: Dispatcher.ResponseData;
    try {
      response = await dispatcher.request({
        origin: url.origin,
        path: `${url.pathname === "/" ? "" : url.pathname}${request.path}${formatQuery(request.query)}`,
        method: request.method,
        headers: {
          accept: request.accept ?? "application/json",
          "user-agent": this.#options.userAgent,
          ...credentials.headers,
          ...(request.body === undefined ? {} : { "content-type": request.contentType ?? "application/json" }),
        },
        ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
        headersTimeout: HEADERS_TIMEOUT_MS,
        bodyTimeout: request.bodyTimeoutMs ?? BODY_TIMEOUT_MS,
      });
    } catch (cause) {
      throw this.#transportError(request, cause, !neverSent(cause));
    }
    if (response.statusCode >= 200 && response.statusCode < 300) return response.body;
    const text = await readText(response.body).catch(() => "");
    throw errorFromStatus(request.action, response.statusCode, parseStatus(text), retryAfterMs(response.headers["retry-after"]));
  }

  #transportError(request: TransportRequest, cause: unknown, sent: boolean): unknown {
    if (request.signal?.aborted === true) return request.signal.reason;
    return isDrayError(cause) ? cause : errorFromTransport(request.action, cause, sent);
  }

  async #dispatcherFor(credentials: Credentials): Promise<Dispatcher> {
    // A plug-in may hand out a new client certificate; connections made with the old one are then left to end.
    const identity = credentials.cert ?? "";
    if (this.#agent?.identity === identity) return this.#agent.dispatcher;
    const { Agent, ProxyAgent } = await import("undici");
    const tls = tlsOptions(this.connection, credentials);
    const proxy = this.connection.proxyUrl;
    const dispatcher = proxy === undefined ? new Agent({ connect: { ...tls, timeout: CONNECT_TIMEOUT_MS } }) : new ProxyAgent({ uri: proxy, requestTls: tls });
    void this.#agent?.dispatcher.close();
    this.#agent = { identity, dispatcher };
    return dispatcher;
  }
}

/** The TLS part of a connection, for undici and ws alike. */
export function tlsOptions(
  connection: Connection,
  credentials: Credentials,
): { ca?: string; cert?: string; key?: string; rejectUnauthorized: boolean; servername?: string } {
  return {
    rejectUnauthorized: !connection.skipVerify,
    ...(connection.ca === undefined ? {} : { ca: connection.ca }),
    ...(credentials.cert === undefined || credentials.key === undefined ? {} : { cert: credentials.cert, key: credentials.key }),
    ...(connection.tlsServerName === undefined ? {} : { servername: connection.tlsServerName }),
  };
}

/** A read may be asked again after any passing trouble; a write only when the server refused to look at it, or cannot have seen it. */
function isRetryable(request: TransportRequest, error: unknown): boolean {
  if (!isDrayError(error) || error.disposition !== "retry" || error.code === "KUBE_CONFLICT" || error.code === "KUBE_GONE") return false;
  if (request.method === "GET") return true;
  return error.context["sent"] === false || error.code === "KUBE_THROTTLED" || (error.context["status"] === 503 && error.context["retryAfterMs"] !== undefined);
}

export function formatQuery(query: TransportRequest["query"]): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`],
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function retryAfterMs(header: string | string[] | undefined): number | undefined {
  const seconds = Number(Array.isArray(header) ? header[0] : header);
  return header !== undefined && Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

/** Put together as it comes, so that the bytes of a long answer are not all in memory beside its text. */
async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new StringDecoder("utf8");
  let text = "";
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > BODY_BYTES_MAX) throw new DrayError("KUBE_UNAVAILABLE", `Cannot read the API server's answer: it is larger than ${BODY_BYTES_MAX} bytes`);
    text += decoder.write(asBuffer(chunk));
  }
  return text + decoder.end();
}
