/**
 * An S3 server over a folder, for the embedded cluster and for tests: the part of S3 that Velero, Kopia and Drayage use, spoken exactly, with faults on demand and a log of requests.
 * Path-style addresses; one pair of keys; no versions, no object lock, no settings of buckets.
 *
 * A request goes: parse → fault? → verify the signature → route → operation → answer. Whatever it throws becomes S3's XML error at one place.
 */
import { readFile, rm } from "node:fs/promises";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type Clock, errorFields, type Logger, makeFolders, type RandomSource, systemRandom } from "@drayage/base";
import { MultipartFiles } from "./multipart-files.ts";
import { ObjectFiles } from "./object-files.ts";
import { receiveBody } from "./receive-body.ts";
import { RequestLog } from "./request-log.ts";
import { routeOf } from "./route.ts";
import { S3Error } from "./s3-error.ts";
import { xmlDocument } from "./s3-xml.ts";
import { sendAnswer } from "./send-answer.ts";
import { type PayloadRule, type StoreCredentials, verifyRequest } from "./signature-v4.ts";
import { type RequestFacts, type StoreFault, StoreFaults } from "./store-faults.ts";
import type { Store, StoreAnswer, StoreRequest } from "./store-request.ts";

export interface ObjectStoreOptions {
  /** Holds everything; made when it is missing. A store started on it again goes on where it stopped. */
  readonly directory: string;
  readonly credentials: StoreCredentials;
  /** `127.0.0.1` when left out. */
  readonly host?: string;
  /** A free one when left out. */
  readonly port?: number;
  /** PEM; https when given. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Made at the start if missing. */
  readonly buckets?: readonly string[];
  readonly region?: string;
  readonly faults?: StoreFaults;
  /** The least size of a part of a multipart upload but the last, in bytes; S3's 5 MiB when left out. */
  readonly partBytesMin?: number;
  /** How many requests the log keeps; 10,000 when left out. */
  readonly requestsKept?: number;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random?: RandomSource;
}

export interface ObjectStore {
  /** `http://127.0.0.1:34567`. */
  readonly url: string;
  readonly faults: StoreFaults;
  readonly requests: RequestLog;
  /** Takes these credentials from now on, and no others: keys that were rotated. */
  accept(credentials: StoreCredentials): void;
  /** Ends the connections under way. */
  close(): Promise<void>;
}

/** Starts the server. Fails with the system's error when the address is taken or the folder cannot be used. */
export async function startObjectStore(options: ObjectStoreOptions): Promise<ObjectStore> {
  const { clock, random = systemRandom, faults = new StoreFaults() } = options;
  makeFolders(options.directory, 0o700);
  const files = await ObjectFiles.open(options.directory, clock, random);
  for (const bucket of options.buckets ?? []) await files.checkBucket(bucket).catch(() => files.createBucket(bucket));
  const store: Store = {
    files,
    multipart: new MultipartFiles(files, clock, random, options.partBytesMin ?? 5 << 20),
    faults,
    region: options.region ?? "us-east-1",
  };
  const requests = new RequestLog(options.requestsKept ?? 10_000);

  const handler = new RequestHandler(store, requests, options);
  const server: Server = options.tls === undefined ? createHttpServer() : createHttpsServer(options.tls);
  server.on("request", (request: IncomingMessage, response: ServerResponse) => void handler.handle(request, response));
  // A client that waits for leave to send its body gets it only after its signature was verified.
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => void handler.handle(request, response, () => response.writeContinue()));
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(options.port ?? 0, options.host ?? "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const url = `${options.tls === undefined ? "http" : "https"}://${options.host ?? "127.0.0.1"}:${port}`;
  options.logger.info("object store listens", { url, directory: options.directory });
  return {
    url,
    faults,
    requests,
    accept: (credentials) => handler.accept(credentials),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

const TEXT_BYTES_MAX = 4 << 20;

class RequestHandler {
  readonly #store: Store;
  readonly #requests: RequestLog;
  readonly #options: ObjectStoreOptions;
  #credentials: StoreCredentials;
  #index = 0;

  constructor(store: Store, requests: RequestLog, options: ObjectStoreOptions) {
    this.#store = store;
    this.#requests = requests;
    this.#options = options;
    this.#credentials = options.credentials;
  }

  accept(credentials: StoreCredentials): void {
    this.#credentials = credentials;
  }

  /** Never rejects: what goes wrong is answered or logged. */
  async handle(request: IncomingMessage, response: ServerResponse, sendContinue?: () => void): Promise<void> {
    const { clock, logger } = this.#options;
    const startedMs = clock.monotonicMs();
    const parsed = parseTarget(request);
    let facts: RequestFacts = { index: ++this.#index, operation: "Unknown", method: request.method ?? "", bucket: parsed.bucket, key: parsed.key };
    let errorCode: string | undefined;
    let bytesOut = 0;
    response.setHeader("x-amz-request-id", facts.index.toString(16).toUpperCase().padStart(16, "0"));
    response.setHeader("server", "drayage");
    try {
      if (this.#store.faults.outage === "reset") throw new CutConnection();
      let fault: StoreFault | undefined;
      let answer: StoreAnswer;
      try {
        const route = routeOf(facts.method, facts.bucket, facts.key, parsed.query, parsed.headers);
        facts = { ...facts, operation: route.name };
        fault = this.#store.faults.strike(facts);
        await this.#before(fault);
        const rule = verifyRequest({ ...facts, path: parsed.path, query: parsed.pairs, headers: parsed.headers }, this.#credentials, clock);
        answer = await route.run(this.#storeRequest(request, parsed, rule, sendContinue));
        if (fault?.kind === "lostAnswer") {
          if (typeof answer.body === "object") await answer.body.file.close();
          throw new CutConnection();
        }
      } catch (error) {
        answer = this.#errorAnswer(error, request, facts);
        errorCode = error instanceof S3Error ? error.code : "InternalError";
      }
      bytesOut = await sendAnswer(response, answer, { headOnly: facts.method === "HEAD", fault, clock });
    } catch (error) {
      errorCode = "ConnectionCut";
      if (!(error instanceof CutConnection)) logger.debug("object store: the connection ended early", { ...facts, ...errorFields(error) });
      request.socket.destroy();
    } finally {
      // What the client still sends is taken and thrown away, or it would never read the answer.
      request.resume();
      this.#requests.add({
        ...facts,
        query: parsed.rawQuery,
        atMs: clock.nowMs(),
        durationMs: clock.monotonicMs() - startedMs,
        status: response.headersSent ? response.statusCode : 0,
        errorCode,
        bytesIn: Number(parsed.headers["content-length"] ?? 0),
        bytesOut,
      });
    }
  }

  async #before(fault: StoreFault | undefined): Promise<void> {
    if (this.#store.faults.outage === "unavailable") throw new S3Error("SlowDown", "Please reduce your request rate.");
    if (fault?.kind === "delay") await this.#options.clock.sleep(fault.ms);
    if (fault?.kind === "hold") await fault.until.catch(() => undefined);
    if (fault?.kind === "reset") throw new CutConnection();
    if (fault?.kind === "error") throw new S3Error(fault.code, "Injected by a fault rule.");
  }

  #storeRequest(request: IncomingMessage, parsed: ParsedTarget, rule: PayloadRule, sendContinue: (() => void) | undefined): StoreRequest {
    const receive: StoreRequest["receive"] = () => {
      sendContinue?.();
      // A body that is found wrong in the middle gets an answer, so its connection must outlive the reading.
      const body = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
      return receiveBody(body, parsed.headers, rule, this.#store.files.incomingPath());
    };
    return {
      store: this.#store,
      bucket: parsed.bucket,
      key: parsed.key,
      query: parsed.query,
      headers: parsed.headers,
      receive,
      text: async () => {
        const body = await receive();
        try {
          if (body.size > TEXT_BYTES_MAX) throw new S3Error("EntityTooLarge", "The document is too large.");
          return await readFile(body.path, "utf8");
        } finally {
          await rm(body.path, { force: true });
        }
      },
    };
  }

  #errorAnswer(error: unknown, request: IncomingMessage, facts: RequestFacts): StoreAnswer {
    if (error instanceof CutConnection || request.errored !== null || request.socket.destroyed) throw error;
    if (!(error instanceof S3Error)) this.#options.logger.error("object store: request failed", { ...facts, ...errorFields(error) });
    const known = error instanceof S3Error ? error : translated(error);
    if (known.status === 304) return { status: 304, headers: known.headers };
    const resource = `/${facts.bucket}${facts.key === "" ? "" : `/${facts.key}`}`;
    const body = xmlDocument([
      "Error",
      [
        ["Code", known.code],
        ["Message", known.message],
        ["Resource", resource],
        ["RequestId", String(facts.index)],
      ],
    ]);
    return { status: known.status, headers: { ...known.headers, "content-type": "application/xml" }, body: body.replace(/ xmlns="[^"]*"/, "") };
  }
}

/** What went wrong here and not with the request. */
function translated(error: unknown): S3Error {
  const errno = (error as { code?: unknown } | null)?.code;
  if (errno === "ENOSPC" || errno === "EDQUOT") return new S3Error("InsufficientStorage", "The disk of the object store is full.");
  return new S3Error("InternalError", "We encountered an internal error. Please try again.");
}

/** The client gets no answer: its connection ends. */
class CutConnection extends Error {}

interface ParsedTarget {
  readonly path: string;
  readonly rawQuery: string;
  readonly bucket: string;
  readonly key: string;
  readonly pairs: readonly (readonly [string, string])[];
  readonly query: ReadonlyMap<string, string>;
  readonly headers: Readonly<Record<string, string>>;
}

function parseTarget(request: IncomingMessage): ParsedTarget {
  const target = request.url ?? "/";
  const mark = target.indexOf("?");
  const path = decode(mark < 0 ? target : target.slice(0, mark));
  const rawQuery = mark < 0 ? "" : target.slice(mark + 1);
  const pairs = rawQuery
    .split("&")
    .filter((part) => part !== "")
    .map((part): readonly [string, string] => {
      const equals = part.indexOf("=");
      const [name, value] = equals < 0 ? [part, ""] : [part.slice(0, equals), part.slice(equals + 1)];
      return [decode(name.replaceAll("+", " ")), decode(value.replaceAll("+", " "))];
    });
  const slash = path.indexOf("/", 1);
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(",") : (value ?? "")]));
  return {
    path,
    rawQuery,
    bucket: slash < 0 ? path.slice(1) : path.slice(1, slash),
    key: slash < 0 ? "" : path.slice(slash + 1),
    pairs,
    query: new Map(pairs),
    headers,
  };
}

/** Broken escapes stay as they are; the signature will not match them. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
