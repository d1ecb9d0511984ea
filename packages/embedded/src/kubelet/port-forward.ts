/**
 * Ports of a pod, forwarded over a SPDY connection: for each connection the client opens two streams with the same `requestid`, one for the bytes and one for what went
 * wrong. Pods share this machine's network, so a program listens on the pod's address, or on the machine's loopback, where it would be in a pod with a network of its own.
 */
import { connect, type Socket } from "node:net";
import { type Clock, messageOf } from "@drayage/base";
import type { SpdyConnection, SpdyStream } from "./streams/spdy-connection.ts";

export interface PortForwardSession {
  readonly pod: string;
  /** Tried in order. */
  readonly addresses: readonly string[];
  readonly clock: Clock;
}

/** A stream whose other half does not come is not kept longer. */
const HALF_WAIT_MS = 30_000;

interface Half {
  readonly data?: SpdyStream;
  readonly error?: SpdyStream;
  readonly stopWaiting: () => void;
}

/** Serves the streams of one connection; `open` takes the connection over. */
export function servePortForward(open: (onStream: (stream: SpdyStream) => void) => SpdyConnection, session: PortForwardSession): void {
  const waiting = new Map<string, Half>();
  open((stream) => {
    const { headers } = stream;
    const type = headers.get("streamtype");
    if (type !== "data" && type !== "error") {
      stream.destroy();
      return;
    }
    const port = Number(headers.get("port"));
    const key = headers.get("requestid") ?? String(port);
    const other = waiting.get(key);
    if (other === undefined) {
      const stopWaiting = session.clock.after(HALF_WAIT_MS, () => {
        waiting.delete(key);
        stream.destroy();
      });
      waiting.set(key, { [type]: stream, stopWaiting });
      return;
    }
    other.stopWaiting();
    waiting.delete(key);
    const { data, error }: Partial<Half> = { ...other, [type]: stream };
    if (data === undefined || error === undefined) {
      stream.destroy();
      return;
    }
    error.resume();
    void forward(session, port, data, error);
  });
}

async function forward(session: PortForwardSession, port: number, data: SpdyStream, error: SpdyStream): Promise<void> {
  try {
    const socket = await dial(session.addresses, port);
    data.pipe(socket);
    socket.pipe(data);
    socket.on("error", () => data.destroy());
    data.on("close", () => socket.destroy());
    socket.on("close", () => error.end());
  } catch (cause) {
    error.end(`error forwarding port ${port} to pod ${session.pod}: ${messageOf(cause)}`);
    data.destroy();
  }
}

async function dial(addresses: readonly string[], port: number): Promise<Socket> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`"${port}" is no port`);
  let failure: unknown;
  for (const host of addresses) {
    try {
      return await new Promise<Socket>((resolve, reject) => {
        const socket = connect({ host, port, allowHalfOpen: true });
        socket.once("error", reject);
        socket.once("connect", () => {
          socket.off("error", reject);
          resolve(socket);
        });
      });
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}
