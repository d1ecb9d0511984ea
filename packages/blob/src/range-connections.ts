/**
 * Ranges over HTTP/1.1, received where they are wanted. Node's client reads a socket into memory of its own, makes a piece of a body from that, and leaves copying it to the caller: for a
 * restore that is more work than decrypting and writing. Here the system puts the bytes into the caller's memory.
 *
 *   take a connection that is idle, or a new one ─ request ─ head of the answer, in a buffer of the connection ─ body, straight into `into` ─ idle again
 *
 * One answer is understood: 206 with the very range that was asked for, as it is. Anything else ends the connection, and whoever asked asks again with a client that knows the rest of
 * HTTP; so errors, redirects and odd servers are that client's.
 */
import { addAbortListener } from "node:events";
import { connect, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectSecurely } from "node:tls";
import { Semaphore } from "@drayage/base";
import type { StoreTimeouts } from "./store-timeouts.ts";

export interface RangeConnectionsOptions {
  readonly connectionsMax: number;
  readonly timeouts: Pick<StoreTimeouts, "connectMs" | "idleMs">;
  readonly tls: Pick<ConnectionOptions, "ca" | "rejectUnauthorized">;
}

/** A request as it is signed. */
export interface RangeRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** First byte of the range; it is as long as the memory for it. */
  readonly offset: number;
}

/** The head of an answer is never so long. */
const HEAD_BYTES_MAX = 16 << 10;
const END_OF_HEAD = "\r\n\r\n";
const DEFAULT_PORTS: Readonly<Record<string, number>> = { "http:": 80, "https:": 443 };

export class RangeConnections {
  readonly #options: RangeConnectionsOptions;
  readonly #free: Semaphore;
  readonly #idle = new Map<string, RangeConnection[]>();
  readonly #open = new Set<RangeConnection>();

  constructor(options: RangeConnectionsOptions) {
    this.#options = options;
    this.#free = new Semaphore(options.connectionsMax);
  }

  /**
   * Whether `into` was filled; false for any answer that is not understood. Throws what the way to the store threw, and the signal's reason. Nothing writes into `into` afterwards; when it
   * was not filled it holds anything.
   */
  async receive(request: RangeRequest, into: Uint8Array, signal: AbortSignal | undefined): Promise<boolean> {
    const text = requestText(request);
    if (text === undefined) return false;
    const release = await this.#free.acquire(1, signal);
    try {
      const { protocol, hostname, port = DEFAULT_PORTS[protocol] ?? 0 } = request;
      const place = `${protocol}//${hostname}:${port}`;
      const connection = this.#idle.get(place)?.pop() ?? this.#connect(protocol, hostname, port);
      const answer = await connection.receive(text, request.offset, into, signal);
      if (answer.isReusable) {
        const idle = this.#idle.get(place);
        if (idle === undefined) this.#idle.set(place, [connection]);
        else idle.push(connection);
      }
      return answer.isFilled;
    } finally {
      release();
    }
  }

  close(): void {
    for (const connection of this.#open) connection.close();
  }

  #connect(protocol: string, hostname: string, port: number): RangeConnection {
    const connection = new RangeConnection(protocol, hostname, port, this.#options, () => {
      this.#open.delete(connection);
      for (const [place, idle] of this.#idle)
        this.#idle.set(
          place,
          idle.filter((other) => other !== connection),
        );
    });
    this.#open.add(connection);
    return connection;
  }
}

/** Undefined where a header has what would end it. */
function requestText({ path, headers }: RangeRequest): string | undefined {
  const lines = [`GET ${path} HTTP/1.1`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be sent.
  return lines.some((line) => /[\u0000-\u001f\u007f-\uffff]/.test(line)) ? undefined : `${lines.join("\r\n")}${END_OF_HEAD}`;
}

interface Answer {
  readonly isFilled: boolean;
  /** Whether the connection may be used again. */
  readonly isReusable: boolean;
}

interface Receiving {
  readonly into: Uint8Array;
  readonly offset: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** One request at a time. */
class RangeConnection {
  readonly #socket: Socket;
  readonly #head = Buffer.allocUnsafeSlow(HEAD_BYTES_MAX);
  #headLength = 0;
  #receiving: Receiving | undefined;
  /** Bytes of the body that are there, once its head is. */
  #at: number | undefined;
  #staysOpen = false;
  #isConnected = false;
  #failure: unknown;

  constructor(protocol: string, hostname: string, port: number, { timeouts, tls }: RangeConnectionsOptions, onClose: () => void) {
    const host = hostname.replace(/^\[|\]$/g, "");
    const onread = { buffer: () => this.#target(), callback: (bytes: number) => this.#take(bytes) };
    const isSecure = protocol === "https:";
    const name = isIP(host) === 0 ? { servername: host } : {};
    const options = { host, port, onread, noDelay: true };
    this.#socket = isSecure ? connectSecurely({ ...options, ...tls, ...name, ALPNProtocols: ["http/1.1"] }) : connect(options);
    this.#socket.once(isSecure ? "secureConnect" : "connect", () => {
      this.#isConnected = true;
      this.#socket.setTimeout(timeouts.idleMs);
    });
    this.#socket.setTimeout(timeouts.connectMs);
    this.#socket.on("timeout", () => {
      const what = this.#isConnected ? `no byte came for ${timeouts.idleMs} ms` : `there was no connection after ${timeouts.connectMs} ms`;
      this.#socket.destroy(Object.assign(new Error(what), { code: "ETIMEDOUT" }));
    });
    this.#socket.on("error", (error) => {
      this.#failure = error;
    });
    this.#socket.on("close", () => {
      onClose();
      this.#receiving?.reject(this.#failure ?? Object.assign(new Error("the connection ended before the answer did"), { code: "ECONNRESET" }));
      this.#receiving = undefined;
    });
  }

  async receive(text: string, offset: number, into: Uint8Array, signal: AbortSignal | undefined): Promise<Answer> {
    const listener = signal === undefined ? undefined : addAbortListener(signal, () => this.#end(undefined, signal.reason));
    try {
      this.#socket.ref();
      return await new Promise<Answer>((resolve, reject) => {
        this.#receiving = { into, offset, resolve, reject };
        this.#headLength = 0;
        this.#at = undefined;
        this.#socket.write(text, "latin1");
      });
    } finally {
      listener?.[Symbol.dispose]();
      this.#socket.unref();
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Where the next bytes are to be put; never nowhere, which the system would take for an error. */
  #target(): Uint8Array {
    const receiving = this.#receiving;
    if (receiving !== undefined && this.#at !== undefined && this.#at < receiving.into.length) return receiving.into.subarray(this.#at);
    return this.#head.subarray(this.#headLength < HEAD_BYTES_MAX ? this.#headLength : 0);
  }

  /** Takes the bytes that were put there; false ends reading. */
  #take(bytes: number): boolean {
    const receiving = this.#receiving;
    if (receiving === undefined) {
      // Nothing was asked for.
      this.#socket.destroy();
      return false;
    }
    if (this.#at !== undefined) {
      this.#at += bytes;
    } else {
      this.#headLength += bytes;
      const end = this.#head.subarray(0, this.#headLength).indexOf(END_OF_HEAD);
      if (end < 0 && this.#headLength < HEAD_BYTES_MAX) return true;
      const head = end < 0 ? undefined : headOf(this.#head.toString("latin1", 0, end));
      const body = this.#head.subarray(end + END_OF_HEAD.length, this.#headLength);
      if (head === undefined || !isWanted(head, receiving) || body.length > receiving.into.length) {
        this.#end({ isFilled: false, isReusable: false });
        return false;
      }
      this.#staysOpen = head.staysOpen;
      receiving.into.set(body);
      this.#at = body.length;
    }
    if (this.#at === receiving.into.length) this.#end({ isFilled: true, isReusable: this.#staysOpen });
    return true;
  }

  /** Answers, and closes what cannot be used again: nothing is put into anybody's memory from here on. */
  #end(answer: Answer | undefined, error?: unknown): void {
    const receiving = this.#receiving;
    this.#receiving = undefined;
    this.#at = undefined;
    this.#headLength = 0;
    if (answer?.isReusable !== true) this.#socket.destroy();
    if (answer === undefined) receiving?.reject(error);
    else receiving?.resolve(answer);
  }
}

interface AnswerHead {
  readonly status: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly staysOpen: boolean;
}

/** Undefined for what is not the head of an answer, or says something twice. */
function headOf(text: string): AnswerHead | undefined {
  const [first = "", ...lines] = text.split("\r\n");
  const [, version, status = ""] = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(first) ?? [];
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name = "", value = ""] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    const key = name.toLowerCase();
    // Stores do send some headers twice, in two ways of writing; these must be clear.
    if (key === "" || (DECISIVE.has(key) && headers.has(key))) return undefined;
    headers.set(key, value);
  }
  return status === "" ? undefined : { status, headers, staysOpen: version === "1" && !/\bclose\b/i.test(headers.get("connection") ?? "") };
}

const DECISIVE: ReadonlySet<string> = new Set(["content-length", "content-range", "content-encoding", "transfer-encoding", "connection"]);

function isWanted({ status, headers }: AnswerHead, { into, offset }: Receiving): boolean {
  if (status !== "206" || headers.has("transfer-encoding") || headers.has("content-encoding")) return false;
  return (
    headers.get("content-length") === String(into.length) && headers.get("content-range")?.startsWith(`bytes ${offset}-${offset + into.length - 1}/`) === true
  );
}
