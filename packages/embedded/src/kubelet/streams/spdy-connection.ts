/**
 * The side of a SPDY/3.1 connection that accepts streams. Nothing is held back for want of a window, because Kubernetes' own implementation keeps none: a stream that is
 * not read stops the reading of the whole connection once it holds as much as a Node stream does.
 */
import { Duplex } from "node:stream";
import { encodeData, encodePing, encodeReply, encodeReset, RESET, readFrames, type SpdyFrame } from "./spdy-frames.ts";

/** A connection with more streams than this gets no others; a forwarded port needs two for each of its connections. */
const STREAMS_MAX = 1_000;

export class SpdyConnection {
  readonly #wire: Duplex;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #streams = new Map<number, SpdyStream>();
  #lastStreamId = 0;
  #replied = false;

  /** Takes the connection over; `onStream` is called for each stream that the other side opens, which is accepted already. */
  constructor(wire: Duplex, onStream: (stream: SpdyStream) => void) {
    this.#wire = wire;
    this.#onStream = onStream;
    wire.on("error", () => wire.destroy());
    wire.on("close", () => this.#end());
    void this.#read();
  }

  get isOpen(): boolean {
    return !this.#wire.destroyed && this.#wire.writable;
  }

  onClose(listener: () => void): void {
    if (this.#wire.destroyed) listener();
    else this.#wire.once("close", listener);
  }

  /** Ends the connection at once. The other side may lose what it has not read: give it time to end first. */
  destroy(): void {
    this.#wire.destroy();
  }

  ping(id: number): void {
    this.send(encodePing(id));
  }

  /** Sends a frame; `sent` is called once the wire has taken it, with an error when it did not. */
  send(frame: Buffer, sent?: (error?: Error | null) => void): void {
    if (this.isOpen) this.#wire.write(frame, sent);
    else sent?.(new Error("the connection is closed"));
  }

  forget(streamId: number): void {
    this.#streams.delete(streamId);
  }

  async #read(): Promise<void> {
    try {
      for await (const frame of readFrames(this.#wire)) {
        if (frame.kind === "goAway") break;
        await this.#take(frame);
      }
    } catch {
      // What is no SPDY ends the connection, as a broken one does: there is nobody to tell.
    }
    this.#wire.destroy();
  }

  async #take(frame: SpdyFrame): Promise<void> {
    switch (frame.kind) {
      case "open":
        this.#accept(frame.streamId, frame.headers, frame.isLast);
        return;
      case "data":
        // Of a stream that is gone, or never was.
        await this.#streams.get(frame.streamId)?.deliver(frame.bytes, frame.isLast);
        return;
      case "reset":
        this.#streams.get(frame.streamId)?.resetByPeer();
        return;
      case "ping":
        // Ours are even: those are answers.
        if (frame.id % 2 === 1) this.send(encodePing(frame.id));
        return;
      case "goAway":
        return;
    }
  }

  #accept(streamId: number, headers: ReadonlyMap<string, string>, isLast: boolean): void {
    if (streamId === 0 || streamId % 2 === 0 || streamId <= this.#lastStreamId) {
      this.send(encodeReset(streamId, RESET.protocolError));
      return;
    }
    this.#lastStreamId = streamId;
    if (this.#streams.size >= STREAMS_MAX) {
      this.send(encodeReset(streamId, RESET.refusedStream));
      return;
    }
    const stream = new SpdyStream(this, streamId, headers);
    this.#streams.set(streamId, stream);
    this.send(encodeReply(streamId, !this.#replied));
    this.#replied = true;
    this.#onStream(stream);
    if (isLast) void stream.deliver(Buffer.alloc(0), true);
  }

  #end(): void {
    for (const stream of [...this.#streams.values()]) stream.resetByPeer();
  }
}

/** One stream; both directions end on their own. Destroyed before both have, it is reset. */
export class SpdyStream extends Duplex {
  readonly headers: ReadonlyMap<string, string>;
  readonly #connection: SpdyConnection;
  readonly #id: number;
  #isReset = false;
  #roomMade: (() => void) | undefined;

  constructor(connection: SpdyConnection, id: number, headers: ReadonlyMap<string, string>) {
    super({ allowHalfOpen: true });
    this.#connection = connection;
    this.#id = id;
    this.headers = headers;
    this.on("error", () => undefined);
  }

  /** What came for this stream; resolves when there is room for more. */
  async deliver(bytes: Buffer, isLast: boolean): Promise<void> {
    if (this.destroyed || this.readableEnded) return;
    const hasRoom = bytes.length === 0 || this.push(bytes);
    if (isLast) this.push(null);
    else if (!hasRoom)
      await new Promise<void>((resolve) => {
        this.#roomMade = resolve;
      });
  }

  resetByPeer(): void {
    this.#isReset = true;
    this.destroy();
  }

  override _read(): void {
    this.#roomMade?.();
    this.#roomMade = undefined;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#connection.send(encodeData(this.#id, chunk, false), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#connection.send(encodeData(this.#id, Buffer.alloc(0), true), done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#connection.forget(this.#id);
    if (!this.#isReset && !(this.readableEnded && this.writableFinished)) this.#connection.send(encodeReset(this.#id, RESET.cancel));
    this._read();
    done(error);
  }
}
