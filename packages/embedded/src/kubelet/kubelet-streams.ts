/**
 * Connections to a pod that both sides write to: `exec`, `attach` and `portforward`. Commands travel over a WebSocket (`v5.channel.k8s.io` or v4) or over SPDY/3.1
 * (`v4.channel.k8s.io`), ports over SPDY/3.1, which a client may also speak inside a WebSocket.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type Clock, DrayError } from "@drayage/base";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";
import { serveAttach } from "./attach-session.ts";
import type { RunningContainer } from "./container-runtime.ts";
import { serveExec } from "./exec-session.ts";
import { servePortForward } from "./port-forward.ts";
import { acceptSpdyCommand, type CommandWire, type StreamName, webSocketWire } from "./streams/command-wire.ts";
import { SpdyConnection, type SpdyStream } from "./streams/spdy-connection.ts";

/** What is asked for, found. */
export type StreamTarget =
  | {
      readonly area: "exec" | "attach";
      readonly running: RunningContainer;
      /** What the container's own description says of its input and terminal. */
      readonly stdin: boolean;
      readonly stdinOnce: boolean;
      readonly tty: boolean;
    }
  | { readonly area: "portforward"; readonly pod: string; readonly addresses: readonly string[] };

const COMMAND_PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"] as const;
const SPDY_COMMAND_PROTOCOL = "v4.channel.k8s.io";
const PORT_PROTOCOL = "portforward.k8s.io";
const PORT_PROTOCOL_IN_WEBSOCKET = `SPDY/3.1+${PORT_PROTOCOL}`;
const MESSAGE_BYTES_MAX = 16 << 20;

export class KubeletStreams {
  readonly #clock: Clock;
  readonly #rootless: boolean;
  readonly #sockets: WebSocketServer;
  readonly #wires = new Set<Duplex>();

  constructor(options: { readonly clock: Clock; readonly rootless: boolean }) {
    this.#clock = options.clock;
    this.#rootless = options.rootless;
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: MESSAGE_BYTES_MAX,
      handleProtocols: (offered) => [...COMMAND_PROTOCOLS, PORT_PROTOCOL_IN_WEBSOCKET].find((protocol) => offered.has(protocol)) ?? false,
    });
  }

  /** Takes a connection over. Throws before anything is answered; what it throws is the client's answer. */
  upgrade(target: StreamTarget, url: URL, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const serve = target.area === "portforward" ? undefined : this.#command(target, url);
    const kind = request.headers.upgrade?.toLowerCase();
    if (kind === "websocket") {
      if (serve === undefined) requireOffer(request.headers["sec-websocket-protocol"], PORT_PROTOCOL_IN_WEBSOCKET);
      this.#sockets.handleUpgrade(request, socket, head, (opened) => {
        if (serve !== undefined) serve(webSocketWire(opened));
        else if (target.area === "portforward") servePortForward(this.#overWebSocket(opened), { ...target, clock: this.#clock });
      });
      return;
    }
    if (kind !== "spdy/3.1")
      throw new DrayError("KUBE_BAD_REQUEST", `unable to upgrade connection: protocol "${kind}" is not served, websocket and SPDY/3.1 are`);
    const protocol = serve === undefined ? PORT_PROTOCOL : SPDY_COMMAND_PROTOCOL;
    requireOffer(request.headers["x-stream-protocol-version"], protocol);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`);
    if (head.length > 0) socket.unshift(head);
    const open = this.#over(socket);
    if (serve !== undefined) acceptSpdyCommand(open, streamsOf(url), this.#clock, serve);
    else if (target.area === "portforward") servePortForward(open, { ...target, clock: this.#clock });
  }

  close(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
    for (const wire of this.#wires) wire.destroy();
  }

  #command(target: Extract<StreamTarget, { area: "exec" | "attach" }>, url: URL): (wire: CommandWire) => void {
    const { running } = target;
    const main = running.process;
    if (main === undefined) throw new DrayError("KUBE_NOT_FOUND", `container not found ("${running.record.identity.container}")`);
    const [clock, rootless] = [this.#clock, this.#rootless];
    if (target.area === "attach") {
      const wantsInput = flag(url, "stdin");
      if (flag(url, "tty") && !target.tty) throw new DrayError("KUBE_BAD_REQUEST", "Unable to use a TTY - container did not allocate one");
      return (wire) => serveAttach(wire, { running, rootless, stdin: wantsInput && target.stdin, stdinOnce: target.stdinOnce, clock });
    }
    const command = url.searchParams.getAll("command");
    if (command.length === 0) throw new DrayError("KUBE_BAD_REQUEST", "you must specify at least 1 command for the container");
    const session = { record: running.record, main, rootless, command, stdin: flag(url, "stdin"), tty: flag(url, "tty"), clock };
    return (wire) => serveExec(wire, session);
  }

  #over(wire: Duplex): (onStream: (stream: SpdyStream) => void) => SpdyConnection {
    this.#wires.add(wire);
    wire.on("close", () => this.#wires.delete(wire));
    return (onStream) => new SpdyConnection(wire, onStream);
  }

  #overWebSocket(socket: WebSocket): (onStream: (stream: SpdyStream) => void) => SpdyConnection {
    return this.#over(createWebSocketStream(socket));
  }
}

/** The streams a client opens for what it asks: the one that says how a command ended always, the others as it says; a terminal has no stderr of its own. */
function streamsOf(url: URL): StreamName[] {
  const tty = flag(url, "tty");
  return [
    "error",
    ...(["stdin", "stdout"] as const).filter((name) => flag(url, name)),
    ...(flag(url, "stderr") && !tty ? (["stderr"] as const) : []),
    ...(tty ? (["resize"] as const) : []),
  ];
}

function requireOffer(header: string | string[] | undefined, wanted: string): void {
  const offered = [header ?? []].flat().flatMap((each) => each.split(",").map((name) => name.trim()));
  if (offered.includes(wanted)) return;
  throw new DrayError("KUBE_BAD_REQUEST", `unable to upgrade connection: the client offers ${offered.join(", ") || "no protocol"}, "${wanted}" is wanted`);
}

export function flag(url: URL, name: string): boolean {
  const value = url.searchParams.get(name);
  return value !== null && value !== "false" && value !== "0";
}
