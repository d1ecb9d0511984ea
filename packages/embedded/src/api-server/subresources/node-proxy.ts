/**
 * Logs and commands of containers: the server only checks who asks and hands the connection to the node that runs the pod. Nodes say where they listen in their status
 * (`addresses`, `daemonEndpoints.kubeletEndpoint`) and share a bearer token with the server in the file `kubelet-token` of the cluster's folder.
 *
 *   GET /containerLogs/NAMESPACE/POD/CONTAINER?follow&tailLines…
 *   UP  /exec/NAMESPACE/POD/CONTAINER?command=…&stdin&stdout&stderr&tty      (also attach; and portforward, which is of no container)
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { isAbort, messageOf } from "@drayage/base";
import { type ApiObject, numberAt, objectsAt, textAt } from "../json.ts";
import type { Operations } from "../operations.ts";
import type { ResourceRequest } from "../request-info.ts";
import { badRequest, internalError, notFound, StatusError } from "../status-error.ts";
import type { Storage } from "../storage.ts";
import { POD_RESOURCE } from "./binding.ts";
import type { SubresourceRequest } from "./subresources.ts";

/** Of a node that says none. */
const KUBELET_PORT = 10_250;

export interface NodeAddress {
  readonly host: string;
  readonly port: number;
}

export class NodeProxy {
  readonly #storage: Storage;
  readonly #token: string;

  constructor(storage: Storage, token: string) {
    this.#storage = storage;
    this.#token = token;
  }

  get headers(): Record<string, string> {
    return { authorization: `Bearer ${this.#token}` };
  }

  /** Where the node of a pod listens. Throws when the pod has none, or the node is not there or does not say. */
  addressFor(pod: ApiObject): NodeAddress {
    const nodeName = textAt(pod, "spec", "nodeName");
    if (nodeName === "") throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
    const node = this.#storage.get("nodes", nodeName);
    if (node === undefined) throw notFound({ group: "", name: "pods" }, nodeName);
    const port = numberAt(node, "status", "daemonEndpoints", "kubeletEndpoint", "Port") ?? KUBELET_PORT;
    const addresses = objectsAt(node, "status", "addresses");
    const host = ["InternalIP", "Hostname", "ExternalIP"]
      .map((type) =>
        textAt(
          addresses.find((it) => it["type"] === type),
          "address",
        ),
      )
      .find((it) => it !== "");
    if (host === undefined) {
      const known = addresses.map((it) => `{${textAt(it, "type")} ${textAt(it, "address")}}`).join(" ");
      throw new StatusError(500, "", `no preferred addresses found; known addresses: [${known}]`);
    }
    return { host, port };
  }
}

interface PodAccess {
  readonly operations: Operations;
  readonly nodes: NodeProxy;
}

/** The pod and the container a request is about. */
function target(it: PodAccess, info: ResourceRequest): { readonly pod: ApiObject; readonly container: string } {
  const pod = it.operations.get(POD_RESOURCE, info.namespace, info.name ?? "");
  const all = ["containers", "initContainers", "ephemeralContainers"].flatMap((field) =>
    objectsAt(pod, "spec", field).map((container) => textAt(container, "name")),
  );
  const main = objectsAt(pod, "spec", "containers").map((container) => textAt(container, "name"));
  const wanted = info.query.get("container") ?? "";
  if (wanted !== "") {
    if (!all.includes(wanted)) throw badRequest(`container ${wanted} is not valid for pod ${info.name}`);
    return { pod, container: wanted };
  }
  const [only, ...others] = main;
  if (only === undefined || others.length > 0) {
    const inits = objectsAt(pod, "spec", "initContainers").map((container) => textAt(container, "name"));
    const also = inits.length === 0 ? "" : ` or one of the init containers: [${inits.join(" ")}]`;
    throw badRequest(`a container name must be specified for pod ${info.name}, choose one of: [${main.join(" ")}]${also}`);
  }
  return { pod, container: only };
}

function pathFor(area: string, info: ResourceRequest, container?: string): string {
  const query = new URLSearchParams(info.query);
  query.delete("container");
  const text = query.toString();
  return `/${area}/${[info.namespace ?? "", info.name ?? "", ...(container === undefined ? [] : [container])].map(encodeURIComponent).join("/")}${text === "" ? "" : `?${text}`}`;
}

/** Streams a container's log. What the node refuses is answered as a Status. */
export async function serveLog(it: PodAccess, { response, info }: SubresourceRequest): Promise<void> {
  const { pod, container } = target(it, info);
  if (textAt(pod, "spec", "nodeName") === "") {
    // A pod that no node has yet has logged nothing.
    response.writeHead(204).end();
    return;
  }
  const address = it.nodes.addressFor(pod);
  const upstream = httpRequest({ ...address, path: pathFor("containerLogs", info, container), headers: it.nodes.headers });
  response.once("close", () => upstream.destroy());
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    upstream.once("response", resolve);
    upstream.once("error", (error) => reject(unreachable(pod, error)));
    upstream.end();
  });
  if (answer.statusCode !== 200) throw await refusalOf(answer);
  response.writeHead(200, { "Content-Type": "text/plain", "Cache-Control": "no-cache, private" });
  response.flushHeaders();
  try {
    await pipeline(answer, response);
  } catch (error) {
    // A client that goes, or a node that dies, ends the stream; there is nobody left to tell.
    if (!isAbort(error)) response.destroy();
  }
}

/** Commands need a connection that both sides write to; a plain request cannot be one. */
export function serveStream(_it: PodAccess, _request: SubresourceRequest): Promise<void> {
  return Promise.reject(badRequest("Upgrade request required"));
}

/** What of a handshake concerns the other end: the protocol, and the versions of it that are offered. */
const HANDSHAKE = /^(upgrade|sec-websocket-.*|x-stream-protocol-version)$/;

/** Joins a client's connection with the node's: the handshake is forwarded as it came, then bytes go both ways. Rejects with a StatusError before anything was answered. */
export async function tunnel(it: PodAccess, info: ResourceRequest, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const isOfPod = info.subresource === "portforward";
  const { pod, container } = isOfPod ? { pod: it.operations.get(POD_RESOURCE, info.namespace, info.name ?? ""), container: undefined } : target(it, info);
  const address = it.nodes.addressFor(pod);
  const headers: Record<string, string> = { ...it.nodes.headers, connection: "Upgrade" };
  for (const [name, value] of Object.entries(request.headers)) if (HANDSHAKE.test(name) && value !== undefined) headers[name] = [value].flat().join(", ");
  const upstream = httpRequest({ ...address, path: pathFor(info.subresource ?? "", info, container), headers });
  await new Promise<void>((resolve, reject) => {
    upstream.once("error", (error) => reject(unreachable(pod, error)));
    upstream.once("response", (answer) => {
      refusalOf(answer).then(reject, reject);
    });
    upstream.once("upgrade", (answer, nodeSocket, nodeHead) => {
      join(socket, nodeSocket);
      const lines = Object.entries(answer.headers).flatMap(([name, value]) => [value ?? []].flat().map((it) => `${name}: ${it}`));
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
      if (nodeHead.length > 0) socket.write(nodeHead);
      if (head.length > 0) nodeSocket.write(head);
      resolve();
    });
    upstream.end();
  });
}

/** Either end that closes or breaks takes the other with it. */
function join(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
  }
}

function unreachable(pod: ApiObject, error: unknown): StatusError {
  return internalError(`error dialing backend: node "${textAt(pod, "spec", "nodeName")}": ${messageOf(error)}`);
}

/** What a node answered instead, as a Status: nodes explain themselves in plain text. */
async function refusalOf(answer: IncomingMessage): Promise<StatusError> {
  const parts: Buffer[] = [];
  for await (const part of answer as AsyncIterable<Buffer>) parts.push(part);
  const text = Buffer.concat(parts).toString("utf8").trim() || `the node answered ${answer.statusCode}`;
  const code = answer.statusCode ?? 500;
  if (code === 404) return new StatusError(404, "NotFound", text, {});
  return code === 400 ? badRequest(text) : internalError(text);
}
