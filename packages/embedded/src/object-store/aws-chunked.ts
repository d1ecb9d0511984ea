/**
 * Decoding of `Content-Encoding: aws-chunked` bodies.
 *
 *   HEX-LENGTH [;chunk-signature=SIG] CRLF data CRLF … 0 [;chunk-signature=SIG] CRLF
 *   [name:value CRLF … [x-amz-trailer-signature:SIG CRLF]] CRLF
 */
import { createHash } from "node:crypto";
import { concat, fromUtf8 } from "@drayage/base";
import { S3Error } from "./s3-error.ts";
import { type ChunkSigner, equalText } from "./signature-v4.ts";

/** A frame's head and all trailing headers are small; more is not a frame. */
const LINE_MAX = 4096;
/** A signed chunk is held whole, since its signature covers it. */
const SIGNED_CHUNK_MAX = 64 << 20;

export interface ChunkedOptions {
  readonly signer: ChunkSigner | undefined;
  readonly trailer: boolean;
  /** Receives the trailing headers, names in lower case, when the body has ended. */
  readonly onTrailer: (headers: ReadonlyMap<string, string>) => void;
}

/** The data of an `aws-chunked` body. Throws SignatureDoesNotMatch for a chunk that was changed, IncompleteBody for one that is missing. */
export async function* decodeAwsChunked(body: AsyncIterable<Uint8Array>, options: ChunkedOptions): AsyncIterable<Uint8Array> {
  const reader = new ByteReader(body);
  for (;;) {
    const { length, signature } = parseHead(await reader.line());
    if (options.signer === undefined) {
      for (let left = length; left > 0; ) {
        const part = await reader.some(left);
        left -= part.length;
        yield part;
      }
    } else {
      if (length > SIGNED_CHUNK_MAX) throw new S3Error("InvalidRequest", "A signed chunk is too large.");
      const data = await reader.exactly(length);
      if (!equalText(options.signer.next(createHash("sha256").update(data).digest("hex")), signature ?? "")) throw chunkChanged();
      if (length > 0) yield data;
    }
    if (length === 0) break;
    if ((await reader.line()) !== "") throw malformed();
  }
  if (options.trailer) options.onTrailer(await readTrailer(reader, options.signer));
  else await reader.line().catch(() => "");
}

async function readTrailer(reader: ByteReader, signer: ChunkSigner | undefined): Promise<ReadonlyMap<string, string>> {
  const headers = new Map<string, string>();
  let signedText = "";
  for (;;) {
    const line = await reader.line();
    if (line === "") break;
    const colon = line.indexOf(":");
    if (colon < 1) throw malformed();
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers.set(name, value);
    if (name !== "x-amz-trailer-signature") signedText += `${name}:${value}\n`;
  }
  if (signer !== undefined && !equalText(signer.trailer(signedText), headers.get("x-amz-trailer-signature") ?? "")) throw chunkChanged();
  return headers;
}

function parseHead(line: string): { readonly length: number; readonly signature: string | undefined } {
  const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
  if (match === null) throw malformed();
  return { length: Number.parseInt(match[1] ?? "", 16), signature: match[2] };
}

function malformed(): S3Error {
  return new S3Error("InvalidRequest", "The body is not a well-formed aws-chunked stream.");
}

function chunkChanged(): S3Error {
  return new S3Error("SignatureDoesNotMatch", "The chunk signature we calculated does not match the signature you provided.");
}

/** Reads lines and byte counts from a stream of arbitrary pieces. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Between 1 and `max` bytes. */
  async some(max: number): Promise<Uint8Array> {
    while (this.#held.length === 0) await this.#more();
    const part = this.#held.subarray(0, max);
    this.#held = this.#held.subarray(part.length);
    return part;
  }

  async exactly(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let left = length; left > 0; ) {
      const part = await this.some(left);
      parts.push(part);
      left -= part.length;
    }
    return concat(parts);
  }

  /** Up to the next CRLF, without it. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#held.indexOf(0x0a);
      if (end >= 0) {
        const line = fromUtf8(this.#held.subarray(0, end)).replace(/\r$/, "");
        this.#held = this.#held.subarray(end + 1);
        return line;
      }
      if (this.#held.length > LINE_MAX) throw malformed();
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    const next = await this.#source.next();
    if (next.done === true) throw new S3Error("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.");
    this.#held = this.#held.length === 0 ? next.value : concat([this.#held, next.value]);
  }
}
