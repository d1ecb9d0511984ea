/** A reverse proxy before a real API server that keeps every request and its answer, the events of watches included. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { request as httpsRequest } from "node:https";
import type { AddressInfo } from "node:net";
import type { Target } from "./api-exchange.ts";

export interface RecordedExchange {
  /** What was being done when it came, as the caller of the proxy says. */
  readonly during: string;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly isWatch: boolean;
  status: number;
  answerHeaders: IncomingHttpHeaders;
  answer: Buffer;
  /** Whether the answer came to its end: false when its client went before that. */
  isComplete: boolean;
  /** How many exchanges had begun when the client ended it; undefined while it goes on. */
  endedAfter: number | undefined;
}

export interface RecordingProxy {
  readonly url: string;
  /** In the order in which the API server did them. */
  readonly exchanges: readonly RecordedExchange[];
  /** Said of the requests that come from now on. */
  during(what: string): void;
  close(): Promise<void>;
}

/** What a client says of a request that makes a difference to its answer. */
const KEPT_HEADERS = ["content-type", "accept", "user-agent", "if-none-match", "impersonate-user", "impersonate-group", "impersonate-uid"] as const;

/**
 * Listens on loopback without TLS and speaks as the administrator, so that clients need no key. Requests are let through one after another, each when the one before it is answered (of a
 * watch: has begun), so that their order in the recording is that of their effects. Answers are asked for uncompressed, and as JSON only: the embedded server has no other.
 */
export async function startRecordingProxy(target: Target): Promise<RecordingProxy> {
  const exchanges: RecordedExchange[] = [];
  let what = "";
  let turn: Promise<void> = Promise.resolve();
  const server = createServer((request, response) => {
    const label = what;
    void readAll(request).then((body) => {
      turn = turn.then(() => forward(target, { request, response, body, label, exchanges }));
    });
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exchanges,
    during: (it) => {
      what = it;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: Buffer;
  readonly label: string;
  readonly exchanges: RecordedExchange[];
}

/** Resolves when the answer is complete, or, of a watch, when it has begun. */
function forward(target: Target, { request, response, body, label, exchanges }: Call): Promise<void> {
  const path = request.url ?? "/";
  const kept = KEPT_HEADERS.flatMap((name) => (request.headers[name] === undefined ? [] : [[name, String(request.headers[name])] as const]));
  const exchange: RecordedExchange = {
    during: label,
    method: request.method ?? "GET",
    path,
    headers: Object.fromEntries(kept),
    body,
    isWatch: ["true", "1"].includes(new URL(path, target.url).searchParams.get("watch") ?? ""),
    status: 0,
    answerHeaders: {},
    answer: Buffer.alloc(0),
    isComplete: false,
    endedAfter: undefined,
  };
  exchanges.push(exchange);
  return new Promise((resolve) => {
    const call = httpsRequest(
      `${target.url}${path}`,
      {
        method: exchange.method,
        rejectUnauthorized: false,
        agent: false,
        headers: {
          ...exchange.headers,
          ...(exchange.headers["accept"] === undefined ? {} : { accept: asJson(exchange.headers["accept"]) }),
          authorization: `Bearer ${target.token}`,
          ...(body.length > 0 ? { "content-length": body.length } : {}),
        },
      },
      (answer) => {
        exchange.status = answer.statusCode ?? 0;
        exchange.answerHeaders = answer.headers;
        const { "transfer-encoding": _encoding, connection: _connection, ...headers } = answer.headers;
        response.writeHead(exchange.status, headers);
        response.flushHeaders();
        if (exchange.isWatch) resolve();
        answer.on("data", (chunk: Buffer) => {
          exchange.answer = Buffer.concat([exchange.answer, chunk]);
          response.write(chunk);
        });
        answer.once("close", () => {
          exchange.isComplete = answer.complete;
          response.end();
          ended();
        });
      },
    );
    const ended = (): void => {
      exchange.endedAfter ??= exchanges.length;
      resolve();
    };
    call.once("error", () => {
      response.destroy();
      ended();
    });
    // A watch ends when its client goes.
    response.once("close", () => call.destroy());
    call.end(body);
  });
}

/** An Accept header without its offers of other encodings than JSON. */
function asJson(accept: string): string {
  const offers = accept.split(",").filter((offer) => !offer.includes("protobuf") && !offer.includes("cbor"));
  return offers.length === 0 ? "application/json" : offers.join(",");
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
