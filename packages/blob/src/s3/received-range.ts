/** A get of the SDK whose answer goes straight into memory that is there: the SDK signs the request and follows what answers there are, of which the usual one never comes to it. */
import { Readable } from "node:stream";
import type * as Sdk from "@aws-sdk/client-s3";
import type { RangeConnections, RangeRequest } from "../range-connections.ts";

export interface ReceivedRange {
  readonly connections: RangeConnections;
  readonly into: Uint8Array;
  /** First byte of the range, which the command asks for. */
  readonly offset: number;
  readonly signal: AbortSignal | undefined;
}

/** Gives what says, once the command was sent, whether `into` was filled. Where it was not, the command was sent as any other, and has its answer. */
export function receiveInto(command: Sdk.GetObjectCommand, { connections, into, offset, signal }: ReceivedRange): () => boolean {
  let isFilled = false;
  command.middlewareStack.add(
    (next) => async (args) => {
      const request = requestOf(args.request, offset);
      isFilled = request !== undefined && (await connections.receive(request, into, signal));
      // What is left for the SDK to read is an answer without anything in it.
      return isFilled ? { response: { statusCode: 206, headers: {}, body: Readable.from([]) }, output: undefined as never } : await next(args);
    },
    // The last before the request is sent: it is signed by then.
    { step: "deserialize", priority: "low", name: "drayageReceivedRange" },
  );
  return () => isFilled;
}

interface SignedRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
}

/** Undefined for a query of another form than these requests have. */
function requestOf(signed: unknown, offset: number): RangeRequest | undefined {
  const { protocol, hostname, port, path, query = {}, headers } = signed as SignedRequest;
  const parts: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (typeof value !== "string") return undefined;
    parts.push(`${encoded(name)}=${encoded(value)}`);
  }
  return { protocol, hostname, port, path: parts.length === 0 ? path : `${path}?${parts.join("&")}`, headers, offset };
}

/** As the signature has it: everything but letters, digits and `-._~`. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
