import type { ServerResponse } from "node:http";
import type { Clock } from "@drayage/base";
import type { StoreFault } from "./store-faults.ts";
import type { FileRange, StoreAnswer } from "./store-request.ts";

const READ_BYTES = 256 << 10;

export interface SendOptions {
  readonly headOnly: boolean;
  readonly fault: StoreFault | undefined;
  readonly clock: Clock;
}

/** Sends an answer and returns how many bytes of body went out. Rejects when the connection ends before it is all sent. */
export async function sendAnswer(response: ServerResponse, answer: StoreAnswer, options: SendOptions): Promise<number> {
  const { body } = answer;
  try {
    const text = typeof body === "string" ? Buffer.from(body, "utf8") : undefined;
    const length =
      text !== undefined
        ? { "content-length": String(text.length) }
        : body === undefined && answer.headers?.["content-length"] === undefined
          ? { "content-length": "0" }
          : {};
    response.writeHead(answer.status, { ...answer.headers, ...(answer.status === 204 || answer.status === 304 ? {} : length) });
    if (options.headOnly || body === undefined) return await end(response, 0);
    const pieces = text !== undefined ? [text] : readPieces(body as FileRange, options.fault?.kind === "slow" ? options.fault.pieceBytes : READ_BYTES);
    return await sendPieces(response, pieces, options);
  } finally {
    if (typeof body === "object") await body.file.close();
  }
}

async function sendPieces(response: ServerResponse, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, { fault, clock }: SendOptions): Promise<number> {
  let sent = 0;
  for await (const piece of pieces) {
    if (fault?.kind === "slow") await clock.sleep(fault.pauseMs);
    if (fault?.kind === "truncate" && sent + piece.length > fault.afterBytes) {
      const part = piece.subarray(0, fault.afterBytes - sent);
      await new Promise<void>((resolve) => response.write(part, () => resolve()));
      throw new Error("truncated by a fault rule");
    }
    sent += piece.length;
    // A response that is closed tells nobody any more: neither drain nor close would come.
    if (response.destroyed || response.closed) throw new Error("the client has gone");
    if (!response.write(piece)) await drained(response);
  }
  return await end(response, sent);
}

async function* readPieces({ file, offset, length }: FileRange, pieceBytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < length; ) {
    const piece = new Uint8Array(Math.min(pieceBytes, length - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, offset + at);
    if (bytesRead === 0) throw new Error("the file became shorter while being sent");
    at += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
}

function end(response: ServerResponse, sent: number): Promise<number> {
  if (response.destroyed || response.closed) return Promise.reject(new Error("the client has gone"));
  return new Promise((resolve, reject) => {
    response.once("close", () => (response.writableFinished ? resolve(sent) : reject(new Error("the client has gone"))));
    response.end(() => resolve(sent));
  });
}

function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed || response.closed) return Promise.reject(new Error("the client has gone"));
  return new Promise((resolve, reject) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", gone);
      resolve();
    };
    const gone = (): void => {
      response.off("drain", done);
      reject(new Error("the client has gone"));
    };
    response.once("drain", done);
    response.once("close", gone);
  });
}
