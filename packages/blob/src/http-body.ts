import { addAbortListener } from "node:events";
import { IncomingMessage } from "node:http";
import { finished, type Readable } from "node:stream";
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
  if (body instanceof IncomingMessage && options.idleMs === undefined) return await fillFrom(body, bytes, options);
  let at = 0;
  for await (const chunk of streamBody(body, options)) {
    if (at + chunk.length > length) throw longer(options);
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * As above, from Node's own client. Each read of its socket and each piece of a body has memory of its own, which is given back as soon as it was copied: left to the collector, that would
 * look through the whole heap for every 10 MiB that come in, which for a restore is as much work as a third of the rest.
 */
async function fillFrom(body: IncomingMessage, bytes: Uint8Array, options: BodyOptions): Promise<Uint8Array> {
  const { action, signal, translate } = options;
  let at = 0;
  let before: Uint8Array | undefined;
  const { socket } = body;
  // Called after the parser, which listens for longer. Nothing of what was read is needed any more when nothing of the body waits.
  const onRead = (read: Uint8Array): void => {
    if (body.readableLength === 0) giveBack(read);
  };
  const listener = signal === undefined ? undefined : addAbortListener(signal, () => body.destroy());
  try {
    await new Promise<void>((resolve, reject) => {
      finished(body, { writable: false }, (error) => (error == null ? resolve() : reject(error)));
      socket.on("data", onRead);
      body.on("data", (chunk: Uint8Array) => {
        if (at + chunk.length > bytes.length) {
          body.destroy(longer(options));
          return;
        }
        bytes.set(chunk, at);
        at += chunk.length;
        // Where pieces lie in what was read, the parser may still be at work on this one's memory: that of the one before is done with.
        if (before !== undefined && before.buffer !== chunk.buffer) giveBack(before);
        before = chunk;
      });
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof DrayError ? error : translate(error, action);
  } finally {
    listener?.[Symbol.dispose]();
    socket.off("data", onRead);
    body.destroy();
  }
  signal?.throwIfAborted();
  if (at !== bytes.length) throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer ended after ${at} of ${bytes.length} bytes`);
  return bytes;
}

/** Node keeps memory of one size that small pieces of anything share; longer ones never lie there. */
function giveBack({ buffer, length }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && (buffer.byteLength !== Buffer.poolSize || length >= Buffer.poolSize / 2)) buffer.transfer(0);
}

function longer({ action, length }: BodyOptions): DrayError {
  return new DrayError("BLOB_UNAVAILABLE", `${action}: the answer is longer than its announced ${length} bytes`);
}
