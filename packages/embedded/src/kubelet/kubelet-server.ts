/**
 * What a kubelet serves: logs over HTTP, commands and ports over WebSocket or SPDY. Only the API server asks, with the bearer token of the cluster; the port is bound to
 * loopback.
 *
 *   GET /healthz
 *   GET /containerLogs/NAMESPACE/POD/CONTAINER?follow&tailLines&sinceSeconds&sinceTime&timestamps&limitBytes&previous
 *   UP  /exec/NAMESPACE/POD/CONTAINER?command=…&stdin&stdout&stderr&tty
 *   UP  /attach/NAMESPACE/POD/CONTAINER?stdin&stdout&stderr&tty
 *   UP  /portforward/NAMESPACE/POD
 */
import { timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type Clock, DrayError, errorFields, hasCode, type Logger, messageOf, parseTime } from "@drayage/base";
import { readContainerLog } from "./container-log.ts";
import type { RunningContainer } from "./container-runtime.ts";
import { flag, KubeletStreams, type StreamTarget } from "./kubelet-streams.ts";
import { containersOf, initContainersOf } from "./pod-types.ts";
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

export async function startKubeletServer(options: KubeletServerOptions): Promise<KubeletServer> {
  const streams = new KubeletStreams(options);
  const server = createServer((request, response) => {
    handle(options, request, response).catch((error: unknown) => {
      options.logger.warn("kubelet request failed", { path: pathOf(request), ...errorFields(error) });
      if (!response.headersSent) refuse(response, error);
      else response.destroy();
    });
  });
  server.on("upgrade", (request, socket, head) => {
    try {
      authenticate(options, request);
      const url = new URL(request.url ?? "/", "http://kubelet");
      streams.upgrade(streamTarget(options, url), url, request, socket, head);
    } catch (error) {
      refuseUpgrade(socket, error);
    }
  });
  await listen(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        streams.close();
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

function streamTarget(options: KubeletServerOptions, url: URL): StreamTarget {
  const [area, ...rest] = url.pathname.split("/").slice(1).map(decodeURIComponent);
  if (area === "portforward") {
    const { worker, name } = findPod(options, rest);
    if (worker.pod.status?.phase !== "Running") throw new DrayError("KUBE_BAD_REQUEST", `unable to forward port because pod "${name}" is not running`);
    const { podIP } = worker.pod.status as { readonly podIP?: string };
    return { area, pod: name, addresses: [...(podIP === undefined ? [] : [podIP]), "127.0.0.1", "::1"] };
  }
  if (area !== "exec" && area !== "attach") throw new DrayError("KUBE_NOT_FOUND", `Cannot serve "${url.pathname}": a kubelet has no such path`);
  const { container, running, worker } = findContainer(options, rest, false);
  if (running === undefined) throw new DrayError("KUBE_NOT_FOUND", `container not found ("${container}")`);
  const {
    stdin = false,
    stdinOnce = false,
    tty = false,
  } = [...containersOf(worker.pod), ...initContainersOf(worker.pod)].find(({ name }) => name === container) ?? {};
  return { area, running, stdin, stdinOnce, tty };
}

function authenticate(options: KubeletServerOptions, request: IncomingMessage): void {
  const given = Buffer.from(request.headers.authorization ?? "");
  const wanted = Buffer.from(`Bearer ${options.token}`);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw new DrayError("KUBE_UNAUTHORIZED", "Unauthorized");
}

function findPod(options: KubeletServerOptions, path: readonly string[]): { readonly worker: PodWorker; readonly name: string } {
  const [namespace = "", name = ""] = path;
  const worker = options.findPod(namespace, name);
  if (worker === undefined) throw new DrayError("KUBE_NOT_FOUND", `pod "${name}" is not on this node`);
  return { worker, name };
}

function findContainer(
  options: KubeletServerOptions,
  path: readonly string[],
  previous: boolean,
): { readonly container: string; readonly running: RunningContainer | undefined; readonly worker: PodWorker } {
  const { worker, name } = findPod(options, path);
  const container = path[2] ?? "";
  const slot = worker.container(container);
  if (slot === undefined) throw new DrayError("KUBE_BAD_REQUEST", `container ${container} is not valid for pod ${name}`);
  if (previous && slot.previous === undefined) {
    throw new DrayError("KUBE_BAD_REQUEST", `previous terminated container "${container}" in pod "${name}" not found`);
  }
  return { container, running: previous ? slot.previous : (slot.latest ?? slot.previous), worker };
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
