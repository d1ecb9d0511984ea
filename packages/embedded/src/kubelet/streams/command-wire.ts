/** What the streams of one command travel over: the channels of a WebSocket, or the streams of a SPDY connection. */
import type { Readable, Writable } from "node:stream";
import type { Clock } from "@drayage/base";
import type { RawData, WebSocket } from "ws";
import type { SpdyConnection, SpdyStream } from "./spdy-connection.ts";

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface CommandHandlers {
  /** Input came. Nothing more comes until the promise is settled, if one is returned. */
  stdin(bytes: Buffer): Promise<void> | undefined;
  stdinEnded(): void;
  resize(size: TerminalSize): void;
  /** The other side has gone. */
  closed(): void;
}

export interface CommandWire {
  readonly isOpen: boolean;
  /** Called once; what came before is handed on then. */
  listen(handlers: CommandHandlers): void;
  /** Sends all of an output, as fast as the other side takes it, and resolves at its end. Output that nobody asked for is read and dropped. */
  pump(channel: "stdout" | "stderr", from: Readable): void;
  /** Says how the command ended (a Status), and ends. */
  finish(status: object): void;
  ping(): void;
}

/** Settled when a stream that was full takes more, or never will. */
export function roomIn(to: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      to.off("drain", done);
      to.off("close", done);
      resolve();
    };
    to.on("drain", done);
    to.on("close", done);
  });
}

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;

/**
 * Each message begins with its channel: 0 stdin, 1 stdout, 2 stderr, 3 how it ended (a Status as JSON), 4 the size of the terminal.
 * In version 5 the two bytes 255 and 0 say that stdin has ended; in version 4 nothing can.
 */
export function webSocketWire(socket: WebSocket): CommandWire {
  return {
    get isOpen() {
      return socket.readyState === socket.OPEN;
    },
    listen(handlers) {
      socket.on("message", (data: RawData) => {
        const message = bytesOf(data);
        const payload = message.subarray(1);
        if (message[0] === CHANNEL.resize) {
          const size = sizeOf(payload);
          if (size !== undefined) handlers.resize(size);
        } else if (message[0] === CHANNEL.close && payload[0] === CHANNEL.stdin) handlers.stdinEnded();
        else if (message[0] === CHANNEL.stdin) {
          const busy = handlers.stdin(payload);
          if (busy === undefined) return;
          socket.pause();
          void busy.finally(() => socket.resume());
        }
      });
      socket.on("close", () => handlers.closed());
      socket.on("error", () => socket.terminate());
    },
    pump(channel, from) {
      from.on("data", (chunk: Buffer) => {
        if (socket.readyState !== socket.OPEN) return;
        from.pause();
        socket.send(Buffer.concat([Buffer.of(CHANNEL[channel]), chunk]), () => from.resume());
      });
    },
    finish(status) {
      if (socket.readyState !== socket.OPEN) return;
      socket.send(Buffer.concat([Buffer.of(CHANNEL.status), Buffer.from(JSON.stringify(status))]));
      socket.close(1000);
    },
    ping: () => socket.ping(),
  };
}

/** The streams of a command by the names that Kubernetes gives them in their header `streamtype`. */
export type StreamName = "error" | "stdin" | "stdout" | "stderr" | "resize";

/** A client that opens no streams is not waited for longer. */
const STREAMS_WAIT_MS = 30_000;
/** A client that was told how its command ended hangs up; one that does not is hung up on after this. */
const HANG_UP_MS = 10_000;
const LINE_BYTES_MAX = 4 << 10;

/** Waits until the other side has opened the streams of its request, then calls `ready`. */
export function acceptSpdyCommand(
  open: (onStream: (stream: SpdyStream) => void) => SpdyConnection,
  wanted: readonly StreamName[],
  clock: Clock,
  ready: (wire: CommandWire) => void,
): void {
  const streams = new Map<string, SpdyStream>();
  const connection = open((stream) => {
    const name = stream.headers.get("streamtype") ?? "";
    if (streams.has(name) || !wanted.some((each) => each === name)) {
      stream.destroy();
      return;
    }
    streams.set(name, stream);
    if (streams.size < wanted.length) return;
    stopWaiting();
    ready(spdyWire(connection, streams, clock));
  });
  const stopWaiting = clock.after(STREAMS_WAIT_MS, () => connection.destroy());
  connection.onClose(stopWaiting);
}

function spdyWire(connection: SpdyConnection, streams: ReadonlyMap<string, SpdyStream>, clock: Clock): CommandWire {
  const pumped: Promise<void>[] = [];
  let pings = 0;
  return {
    get isOpen() {
      return connection.isOpen;
    },
    listen(handlers) {
      const stdin = streams.get("stdin");
      stdin?.on("data", (chunk: Buffer) => {
        const busy = handlers.stdin(chunk);
        if (busy === undefined) return;
        stdin.pause();
        void busy.finally(() => stdin.resume());
      });
      stdin?.on("end", () => handlers.stdinEnded());
      const resize = streams.get("resize");
      if (resize !== undefined) readLines(resize, (line) => takeSize(line, handlers));
      // What nobody sends still has to be read to its end.
      for (const name of ["error", "stdout", "stderr"]) streams.get(name)?.resume();
      connection.onClose(() => handlers.closed());
    },
    pump(channel, from) {
      const to = streams.get(channel);
      if (to === undefined) from.resume();
      else
        pumped.push(
          new Promise((resolve) => {
            to.once("close", resolve);
            to.once("finish", resolve);
            from.pipe(to);
          }),
        );
    },
    finish(status) {
      // The other side stops reading when it knows how the command ended.
      void Promise.all(pumped).then(() => {
        streams.get("error")?.end(JSON.stringify(status));
        const cancel = clock.after(HANG_UP_MS, () => connection.destroy());
        connection.onClose(cancel);
      });
    },
    ping() {
      pings += 2;
      connection.ping(pings);
    },
  };
}

function takeSize(line: Buffer, handlers: CommandHandlers): void {
  const size = sizeOf(line);
  if (size !== undefined) handlers.resize(size);
}

/** Sizes come as JSON values one after the other, each in a line. */
function readLines(from: Readable, take: (line: Buffer) => void): void {
  let held: Buffer = Buffer.alloc(0);
  from.on("data", (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    for (let end = held.indexOf("\n"); end !== -1; end = held.indexOf("\n")) {
      take(held.subarray(0, end));
      held = held.subarray(end + 1);
    }
    if (held.length > LINE_BYTES_MAX) held = Buffer.alloc(0);
  });
}

function sizeOf(payload: Buffer): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(payload.toString("utf8")) as { Width?: unknown; Height?: unknown };
    return typeof Width === "number" && typeof Height === "number" && Width > 0 && Height > 0
      ? { columns: Math.floor(Width), rows: Math.floor(Height) }
      : undefined;
  } catch {
    return undefined;
  }
}

function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}
