/**
 * A body whose signature is in it, chunk by chunk: the digests of the chunks can be made side by side, where that of the whole body is one long chain. It guards the body as that one does,
 * since each signature covers the digest of its chunk and the signature before.
 *
 *   HEX-LENGTH;chunk-signature=SIG CRLF data CRLF … 0;chunk-signature=SIG CRLF CRLF
 *
 * Format: Amazon S3 API Reference, "Signature calculations for the Authorization header: transferring payload in multiple chunks". Kopia, Velero's plug-in and restic send bodies in this form
 * where there is no TLS, so what they can use can read it. As theirs, the request has no `Content-Encoding: aws-chunked`, which some stores would keep with the object.
 */
import { createHash, createHmac } from "node:crypto";
import { Readable } from "node:stream";
import type * as Sdk from "@aws-sdk/client-s3";
import { concat, DrayError, toHex, utf8 } from "@drayage/base";
import type { Sha256Ranges } from "./s3-options.ts";

const PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
/** Fewer than there are lanes for would leave some idle at the end of a pack, more are more to write. */
const CHUNK_BYTES = 512 << 10;
const DIGEST_BYTES = 32;
const EMPTY_SHA256 = createHash("sha256").digest("hex");
/** What stands between the length of a chunk and its data, and behind that. */
const FRAME_BYTES = `;chunk-signature=${EMPTY_SHA256}\r\n\r\n`.length;

/** What the signature of the first chunk goes on from. */
export interface ChunkSeed {
  readonly key: Uint8Array;
  /** As in `x-amz-date`. */
  readonly time: string;
  /** `date/region/s3/aws4_request`. */
  readonly scope: string;
  /** The signature of the request. */
  readonly signature: string;
}

export class SignedChunks {
  /** Bytes of the body itself. */
  readonly length: number;
  /** Bytes that are sent. */
  readonly framedLength: number;
  readonly #chunks: readonly Uint8Array[];
  readonly #digests: Uint8Array;

  constructor(parts: readonly Uint8Array[], sha256: Sha256Ranges, chunkBytes = CHUNK_BYTES) {
    this.#chunks = chunksOf(parts, chunkBytes);
    this.#digests = digestsOf(this.#chunks, sha256);
    this.length = this.#chunks.reduce((sum, { length }) => sum + length, 0);
    this.framedLength = [...this.#chunks, new Uint8Array(0)].reduce((sum, { length }) => sum + length.toString(16).length + FRAME_BYTES + length, 0);
  }

  /** What is sent. Data is not copied. */
  *frames({ key, time, scope, signature }: ChunkSeed): Generator<Uint8Array> {
    let previous = signature;
    let end = "";
    for (let i = 0; i <= this.#chunks.length; i++) {
      const chunk = this.#chunks[i];
      const digest = chunk === undefined ? EMPTY_SHA256 : toHex(this.#digests.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES));
      previous = hmac(key, ["AWS4-HMAC-SHA256-PAYLOAD", time, scope, previous, EMPTY_SHA256, digest].join("\n")).toString("hex");
      yield utf8(`${end}${(chunk?.length ?? 0).toString(16)};chunk-signature=${previous}\r\n`);
      if (chunk !== undefined) yield chunk;
      end = "\r\n";
    }
    yield utf8(end);
  }
}

/** Has a put send chunks as its body, which the SDK has no way to sign. The length that the command announces is `framedLength`. */
export function sendSigned(
  command: Sdk.PutObjectCommand,
  chunks: SignedChunks,
  credentials: () => Promise<{ readonly accessKeyId: string; readonly secretAccessKey: string }>,
): void {
  const headersOf = (request: unknown): Record<string, string> => (request as { headers: Record<string, string> }).headers;
  command.middlewareStack.add(
    (next) => (args) => {
      Object.assign(headersOf(args.request), { "x-amz-content-sha256": PAYLOAD, "x-amz-decoded-content-length": String(chunks.length) });
      return next(args);
    },
    { step: "build", name: "drayageChunkedPayload" },
  );
  command.middlewareStack.add(
    (next) => async (args) => {
      const seed = seedOf(headersOf(args.request), await credentials());
      (args.request as { body: unknown }).body = Readable.from(chunks.frames(seed));
      return next(args);
    },
    // The last of this step, so that the request is signed by then.
    { step: "finalizeRequest", priority: "low", name: "drayageSignedChunks" },
  );
}

/** Throws BLOB_UNAVAILABLE when the request was signed with other keys, which were renewed since: the next try has the new ones. */
function seedOf(
  headers: Record<string, string>,
  { accessKeyId, secretAccessKey }: { readonly accessKeyId: string; readonly secretAccessKey: string },
): ChunkSeed {
  const { authorization = "", "x-amz-date": time = "" } = headers;
  const [, signer, scope = "", signature = ""] = /Credential=([^/]+)\/([^,]+), .*Signature=([0-9a-f]{64})$/.exec(authorization) ?? [];
  if (signer !== accessKeyId) throw new DrayError("BLOB_UNAVAILABLE", "Cannot sign a body: the credentials were renewed after its request was signed");
  const key = scope.split("/").reduce<Uint8Array>((secret, part) => hmac(secret, part), utf8(`AWS4${secretAccessKey}`));
  return { key, time, scope, signature };
}

/** Chunks of one length, but for the last. One that lies in several parts is copied. */
function chunksOf(parts: readonly Uint8Array[], chunkBytes: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let held: Uint8Array[] = [];
  let room = chunkBytes;
  const close = (): void => {
    chunks.push(held.length === 1 ? (held[0] as Uint8Array) : concat(held));
    held = [];
    room = chunkBytes;
  };
  for (const part of parts) {
    for (let at = 0; at < part.length; ) {
      const piece = part.subarray(at, at + room);
      held.push(piece);
      at += piece.length;
      room -= piece.length;
      if (room === 0) close();
    }
  }
  if (held.length > 0) close();
  return chunks;
}

/** Digests of all chunks, those that lie in the same memory side by side. */
function digestsOf(chunks: readonly Uint8Array[], sha256: Sha256Ranges): Uint8Array {
  const digests = new Uint8Array(chunks.length * DIGEST_BYTES);
  for (let from = 0; from < chunks.length; ) {
    const { buffer } = chunks[from] as Uint8Array;
    let to = from + 1;
    while (chunks[to]?.buffer === buffer) to++;
    const together = chunks.slice(from, to);
    sha256(
      new Uint8Array(buffer),
      Uint32Array.from(together, ({ byteOffset }) => byteOffset),
      Uint32Array.from(together, ({ length }) => length),
      together.length,
      digests.subarray(from * DIGEST_BYTES, to * DIGEST_BYTES),
    );
    from = to;
  }
  return digests;
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
