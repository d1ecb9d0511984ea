import { addAbortListener } from "node:events";
import type { Readable } from "node:stream";
import { DrayError } from "@drayage/base";

export interface BodyOptions {
  /** First half of messages: `Cannot read blob "x" of s3://b/p`. */
  readonly action: string;
  /** Bytes announced, where they are. */
  readonly length: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** Memory for the whole body, taken where it has exactly the announced length. */
  readonly into?: Uint8Array | undefined;
  /** Milliseconds without a byte after which the answer counts as broken off; no limit when left out. */
  readonly idleMs?: number;
  readonly translate: (error: unknown, action: string) => DrayError;
}

/** The body of an answer as it comes in. Exactly the announced number of bytes, or BLOB_UNAVAILABLE; an abort throws the signal's reason. */
export async function* streamBody(body: Readable | undefined, options: BodyOptions): AsyncIterable<Uint8Array> {
  const { action, length, signal, idleMs } = options;
  let seen = 0;
  if (body !== undefined) {
    const listener = signal === undefined ? undefined : addAbortListener(signal, () => body.destroy());
    const idle =
      idleMs === undefined ? undefined : setTimeout(() => body.destroy(new DrayError("BLOB_UNAVAILABLE", `${action}: no byte came for ${idleMs} ms`)), idleMs);
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        seen += chunk.length;
        yield chunk;
        idle?.refresh();
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof DrayError ? error : options.translate(error, action);
    } finally {
      clearTimeout(idle);
      listener?.[Symbol.dispose]();
      body.destroy();
    }
  }
  signal?.throwIfAborted();
  if (length !== undefined && seen !== length) {
    throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer ended after ${seen} of ${length} bytes`);
  }
}

/** The whole body of an answer, read into one array of its announced length. */
export async function readBody(body: Readable | undefined, options: BodyOptions): Promise<Uint8Array> {
  const { action, length } = options;
  if (length === undefined) throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer does not say its length`);
  const bytes = options.into?.length === length ? options.into : new Uint8Array(length);
  let at = 0;
  for await (const chunk of streamBody(body, options)) {
    if (at + chunk.length > length) throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer is longer than its announced ${length} bytes`);
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
