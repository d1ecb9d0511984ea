/**
 * What a kubelet serves: logs over HTTP, commands over WebSocket. Only the API server asks, with the bearer token of the cluster; the port is bound to loopback.
 *
 *   GET /healthz
 *   GET /containerLogs/NAMESPACE/POD/CONTAINER?follow&tailLines&sinceSeconds&sinceTime&timestamps&limitBytes&previous
 *   WS  /exec/NAMESPACE/POD/CONTAINER?command=…&stdin&stdout&stderr&tty      sub-protocol v5.channel.k8s.io (or v4)
 */
import { timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, DrayError, errorFields, hasCode, type Logger, messageOf, parseTime } from "@drayage/base";
import { WebSocketServer } from "ws";
import { readContainerLog } from "./container-log.ts";
import type { RunningContainer } from "./container-runtime.ts";
import { serveExec } from "./exec-session.ts";
import { podKey } from "./pod-types.ts";
import type { PodWorker } from "./pod-worker.ts";

export interface KubeletServerOptions {
  readonly address: string;
  /** 0 for any. */
  readonly port: number;
  readonly token: string;
  readonly rootless: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  findPod(namespace: string, name: string): PodWorker | undefined;
}

export interface KubeletServer {
  readonly port: number;
  close(): Promise<void>;
}

const PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"] as const;
const MESSAGE_BYTES_MAX = 16 << 20;

export async function startKubeletServer(options: KubeletServerOptions): Promise<KubeletServer> {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    handleProtocols: (offered) => PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
  });
  const server = createServer((request, response) => {
    handle(options, request, response).catch((error: unknown) => {
      options.logger.warn("kubelet request failed", { path: pathOf(request), ...errorFields(error) });
      if (!response.headersSent) refuse(response, error);
      else response.destroy();
    });
  });
  server.on("upgrade", (request, socket, head) => {
    try {
      upgrade(options, sockets, request, socket, head);
    } catch (error) {
      refuseUpgrade(socket, error);
    }
  });
  await listen(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets.clients) socket.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function handle(options: KubeletServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://kubelet");
  if (url.pathname === "/healthz") {
    response.end("ok");
    return;
  }
  authenticate(options, request);
  const [area, ...rest] = url.pathname.split("/").slice(1).map(decodeURIComponent);
  if (request.method !== "GET" || area !== "containerLogs")
    throw new DrayError("KUBE_NOT_FOUND", `Cannot serve "${request.method} ${url.pathname}": a kubelet has no such path`);
  const { container, running } = findContainer(options, rest, flag(url, "previous"));
  if (running === undefined) throw new DrayError("KUBE_BAD_REQUEST", `container "${container}" in pod "${rest[1]}" is waiting to start: ContainerCreating`);
  response.writeHead(200, { "content-type": "text/plain" });
  response.flushHeaders();
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  const follow = flag(url, "follow") && running.result === undefined ? running.log : undefined;
  for await (const part of readContainerLog(running.log.path, logOptions(options, url), follow, gone.signal)) {
    if (!response.write(part)) await new Promise<void>((resolve) => response.once("drain", resolve).once("close", resolve));
    if (gone.signal.aborted) return;
  }
  response.end();
}

function upgrade(options: KubeletServerOptions, sockets: WebSocketServer, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  authenticate(options, request);
  const url = new URL(request.url ?? "/", "http://kubelet");
  const [area, ...rest] = url.pathname.split("/").slice(1).map(decodeURIComponent);
  if (area !== "exec") throw new DrayError("KUBE_NOT_FOUND", `Cannot serve "${url.pathname}": a kubelet has no such path`);
  const { container, running } = findContainer(options, rest, false);
  const main = running?.process;
  if (running === undefined || main === undefined) throw new DrayError("KUBE_NOT_FOUND", `container not found ("${container}")`);
  // Asked last, so that a client that tries an older protocol after a refusal learns the reason of the refusal.
  if (request.headers.upgrade?.toLowerCase() !== "websocket") throw new DrayError("KUBE_BAD_REQUEST", `unable to upgrade connection: only websocket is served`);
  const command = url.searchParams.getAll("command");
  if (command.length === 0) throw new DrayError("KUBE_BAD_REQUEST", "you must specify at least 1 command for the container");
  sockets.handleUpgrade(request, socket, head, (opened) => {
    serveExec(opened, {
      record: running.record,
      main,
      rootless: options.rootless,
      command,
      stdin: flag(url, "stdin"),
      tty: flag(url, "tty"),
      clock: options.clock,
    });
  });
}

function authenticate(options: KubeletServerOptions, request: IncomingMessage): void {
  const given = Buffer.from(request.headers.authorization ?? "");
  const wanted = Buffer.from(`Bearer ${options.token}`);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw new DrayError("KUBE_UNAUTHORIZED", "Unauthorized");
}

function findContainer(
  options: KubeletServerOptions,
  path: readonly string[],
  previous: boolean,
): { container: string; running: RunningContainer | undefined } {
  const [namespace = "", name = "", container = ""] = path;
  const worker = options.findPod(namespace, name);
  const slot = worker?.container(container);
  if (worker === undefined || podKey(worker.pod).name !== name) throw new DrayError("KUBE_NOT_FOUND", `pod "${name}" is not on this node`);
  if (slot === undefined) throw new DrayError("KUBE_BAD_REQUEST", `container ${container} is not valid for pod ${name}`);
  if (previous && slot.previous === undefined) {
    throw new DrayError("KUBE_BAD_REQUEST", `previous terminated container "${container}" in pod "${name}" not found`);
  }
  return { container, running: previous ? slot.previous : (slot.latest ?? slot.previous) };
}

function logOptions(options: KubeletServerOptions, url: URL) {
  const whole = (name: string): number | undefined => {
    const text = url.searchParams.get(name);
    if (text === null || text === "") return undefined;
    const value = Number(text);
    if (!Number.isInteger(value) || value < 0)
      throw new DrayError("KUBE_BAD_REQUEST", `Cannot read the log: ${name} is "${text}", a number of at least 0 is wanted`);
    return value;
  };
  const tailLines = whole("tailLines");
  const limitBytes = whole("limitBytes");
  const sinceSeconds = whole("sinceSeconds");
  const sinceMs = sinceSeconds === undefined ? parseTime(url.searchParams.get("sinceTime")) : options.clock.nowMs() - sinceSeconds * 1000;
  return {
    timestamps: flag(url, "timestamps"),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  };
}

function flag(url: URL, name: string): boolean {
  const value = url.searchParams.get(name);
  return value !== null && value !== "false" && value !== "0";
}

function statusOf(error: unknown): number {
  if (hasCode(error, "KUBE_UNAUTHORIZED")) return 401;
  if (hasCode(error, "KUBE_NOT_FOUND")) return 404;
  return hasCode(error, "KUBE_BAD_REQUEST") ? 400 : 500;
}

function refuse(response: ServerResponse, error: unknown): void {
  response.writeHead(statusOf(error), { "content-type": "text/plain" });
  response.end(messageOf(error));
}

function refuseUpgrade(socket: Duplex, error: unknown): void {
  const body = messageOf(error);
  socket.end(
    `HTTP/1.1 ${statusOf(error)} Refused\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? "").split("?")[0] ?? "";
}

function listen(server: Server, options: KubeletServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: options.address, port: options.port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
