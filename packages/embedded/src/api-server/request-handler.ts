/** One request from its first byte to its answer: who, what, may they, do it, say it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type Clock, errorFields, type Logger, messageOf } from "@drayage/base";
import type { AuditLog, AuditStage } from "./audit-log.ts";
import { authenticate } from "./authentication.ts";
import { type Access, type Authorizer, refusal } from "./authorization.ts";
import { type Accepted, acceptedForm, send } from "./content.ts";
import { discovery, VERSION } from "./discovery.ts";
import type { FaultRule, Faults } from "./faults.ts";
import { sha256 } from "./hashes.ts";
import type { OpenApi } from "./openapi.ts";
import type { Operations } from "./operations.ts";
import { type PathRequest, type RequestInfo, type ResourceRequest, requestInfo } from "./request-info.ts";
import type { ResourceHandler } from "./resource-handler.ts";
import { nameOfFieldSelector } from "./selectors.ts";
import type { Catalog } from "./served-resource.ts";
import { conflict, forbidden, internalError, isStatusError, resourceUnknown, StatusError, tooManyRequests } from "./status-error.ts";
import { type NodeProxy, tunnel } from "./subresources/node-proxy.ts";
import { ISSUER, type TokenIssuer, type User } from "./tokens.ts";

export interface RequestHandlerOptions {
  readonly catalog: Catalog;
  readonly tokens: TokenIssuer;
  readonly authorizer: Authorizer;
  readonly resources: ResourceHandler;
  readonly openApi: OpenApi;
  readonly faults: Faults;
  readonly operations: Operations;
  readonly nodes: NodeProxy;
  readonly adminToken: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly address: () => string;
  /** Nobody writes down who asks what when left out. */
  readonly auditLog?: AuditLog | undefined;
}

const STREAMS: ReadonlySet<string> = new Set(["exec", "attach", "portforward"]);

export interface RequestRecord {
  readonly method: string;
  readonly url: string;
  readonly user: string;
  readonly code: number;
}

export class RequestHandler {
  readonly #it: RequestHandlerOptions;
  /** Called with every request that was answered. */
  onRequest: ((record: RequestRecord) => void) | undefined;

  constructor(options: RequestHandlerOptions) {
    this.#it = options;
  }

  /** Answers a request. Never throws: what goes wrong is answered, or the connection is ended. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let userName = "";
    let info: RequestInfo | undefined;
    try {
      const user = this.#user(request);
      userName = user.name;
      info = requestInfo(request.method ?? "GET", request.url ?? "/");
      this.authorize(user, info);
      if (info.verb === "watch") this.#audit("ResponseStarted", info, request, { userName, code: 0 });
      const fault = this.#it.faults.take({ info, user: user.name });
      if (fault !== undefined) await this.#applyFault(fault, info);
      if (fault?.cutAnswer === true) response.writeHead = cutConnection(response);
      if (info.isResource) await this.#it.resources.serve(request, response, info, user, fault);
      else await this.#servePath(request, response, info);
    } catch (error) {
      await this.#answerError(request, response, error);
    } finally {
      if (info !== undefined) this.#audit("ResponseComplete", info, request, { userName, code: response.statusCode });
      this.onRequest?.({ method: request.method ?? "", url: request.url ?? "", user: userName, code: response.statusCode });
    }
  }

  #audit(stage: AuditStage, info: RequestInfo, { url = "", headers }: IncomingMessage, { userName: user, code }: { userName: string; code: number }): void {
    this.#it.auditLog?.write({ stage, info, url, user, userAgent: headers["user-agent"], code });
  }

  /** Answers a request for a connection that both sides write to: exec, attach, portforward. */
  async handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on("error", () => socket.destroy());
    try {
      const user = this.#user(request);
      const info = requestInfo(request.method ?? "GET", request.url ?? "/");
      this.authorize(user, info);
      if (!info.isResource || info.plural !== "pods" || !STREAMS.has(info.subresource ?? "")) throw resourceUnknown();
      await tunnel(this.#it, info, request, socket, head);
    } catch (error) {
      const { status, code } = isStatusError(error) ? error : internalError(messageOf(error));
      const body = `${JSON.stringify(status)}\n`;
      socket.end(
        `HTTP/1.1 ${code} ${status.reason ?? "Error"}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    }
  }

  /** The user behind a request, after impersonation. Throws Unauthorized or Forbidden. */
  #user(request: IncomingMessage): User {
    const user = authenticate(request, this.#it.tokens, this.#it.adminToken);
    const wanted = request.headers["impersonate-user"];
    if (typeof wanted !== "string" || wanted === "") return user;
    const groups = [request.headers["impersonate-group"] ?? []].flat().flatMap((it) => it.split(",").map((name) => name.trim()));
    this.#require(user, { verb: "impersonate", group: "", resource: "users", name: wanted });
    for (const group of groups) this.#require(user, { verb: "impersonate", group: "", resource: "groups", name: group });
    const account = /^system:serviceaccount:([^:]+):/.exec(wanted);
    const implied = account === null ? [] : ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`];
    return { name: wanted, groups: [...groups, ...implied, "system:authenticated"] };
  }

  /** Throws Forbidden when the user may not make this request. */
  authorize(user: User, info: RequestInfo): void {
    this.#require(user, info.isResource ? resourceAccess(info) : { verb: info.verb, path: info.path });
  }

  #require(user: User, access: Access): void {
    if (this.#it.authorizer.decide(user, access).allowed) return;
    if ("path" in access) throw new StatusError(403, "Forbidden", `forbidden: ${refusal(user, access)}`, {});
    throw forbidden({ group: access.group, name: access.resource }, access.name ?? "", refusal(user, access));
  }

  async #applyFault(fault: FaultRule, info: RequestInfo): Promise<void> {
    if (fault.delayMs !== undefined) await this.#it.clock.sleep(fault.delayMs);
    if (fault.code === undefined) return;
    const resource = info.isResource ? { group: info.group, name: info.plural } : { group: "", name: "" };
    if (fault.code === 409)
      throw conflict(
        resource,
        info.isResource ? (info.name ?? "") : "",
        "injected: the object has been modified; please apply your changes to the latest version and try again",
      );
    if (fault.code === 429)
      throw tooManyRequests("the server has received too many requests and has asked us to try again later", fault.retryAfterSeconds ?? 1);
    if (fault.code === 500) throw internalError("injected fault");
    throw new StatusError(fault.code, fault.code === 503 ? "ServiceUnavailable" : "Timeout", "injected fault", {
      ...(fault.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: fault.retryAfterSeconds }),
    });
  }

  async #servePath(request: IncomingMessage, response: ServerResponse, info: PathRequest): Promise<void> {
    const { path } = info;
    if (info.verb !== "get" && info.verb !== "head")
      throw new StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
    if (/^\/(healthz|livez|readyz)(\/.*)?$/.test(path)) return sendText(response, 200, "ok");
    const accepted = acceptedForm(request.headers.accept);
    const body = await this.#pathBody(path, accepted);
    if (body === undefined) return sendText(response, 404, "404 page not found\n");
    const aggregated = accepted.as === "APIGroupDiscoveryList" && /^\/apis?\/?$/.test(path);
    const contentType = `application/json;g=apidiscovery.k8s.io;v=${accepted.asVersion.split("/")[1]};as=APIGroupDiscoveryList`;
    if (!aggregated) return await send(request, response, { code: 200, body });
    // Clients keep it on disk, and ask at each start whether it is still the same.
    const tag = `"${sha256(JSON.stringify(body)).toString("hex").toUpperCase()}"`;
    if (request.headers["if-none-match"] === tag) {
      response.writeHead(304, { ETag: tag, Vary: "Accept" }).end();
      return;
    }
    await send(request, response, { code: 200, body, headers: { "Content-Type": contentType, ETag: tag, Vary: "Accept" } });
  }

  async #pathBody(path: string, accepted: Accepted): Promise<unknown> {
    if (path === "/version") return VERSION;
    if (path === "/") return { paths: ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] };
    if (path === "/openid/v1/jwks") return this.#it.tokens.keySet();
    if (path === "/.well-known/openid-configuration")
      return {
        issuer: ISSUER,
        jwks_uri: `${this.#it.address()}/openid/v1/jwks`,
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256"],
      };
    if (path === "/openapi/v3") return this.#it.openApi.index();
    if (path.startsWith("/openapi/v3/")) return this.#it.openApi.document(path.slice("/openapi/v3/".length));
    if (!/^\/apis?(\/|$)/.test(path)) return undefined;
    try {
      return discovery(this.#it.catalog, path, accepted, this.#it.address().replace("https://", ""));
    } catch (error) {
      if (isStatusError(error) && error.code === resourceUnknown().code) return undefined;
      throw error;
    }
  }

  async #answerError(request: IncomingMessage, response: ServerResponse, error: unknown): Promise<void> {
    if (response.headersSent || response.destroyed || request.socket.destroyed) {
      this.#it.logger.debug("a client left before it was answered", { method: request.method, url: request.url, ...errorFields(error) });
      response.destroy();
      return;
    }
    if (!isStatusError(error))
      this.#it.logger.error("a request failed in an unexpected way", { method: request.method, url: request.url, ...errorFields(error) });
    const { status, code } = isStatusError(error) ? error : internalError(messageOf(error));
    const retryAfter = status.details?.retryAfterSeconds;
    // What was not read of the body is thrown away, so that the connection can be used again.
    request.resume();
    await send(request, response, { code, body: status, ...(retryAfter === undefined ? {} : { headers: { "Retry-After": String(retryAfter) } }) });
  }
}

function resourceAccess(info: ResourceRequest): Access {
  const name = info.name ?? nameOfFieldSelector(info.query.get("fieldSelector") ?? "");
  const namespace = info.plural === "namespaces" && info.group === "" ? info.name : info.namespace;
  return { verb: info.verb, group: info.group, resource: info.plural, subresource: info.subresource, namespace, name };
}

export function sendText(response: ServerResponse, code: number, text: string): void {
  response.writeHead(code, { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Content-Length": Buffer.byteLength(text) });
  response.end(text);
}

/** A `writeHead` that ends the connection instead, after the request has taken effect. */
function cutConnection(response: ServerResponse): ServerResponse["writeHead"] {
  return () => {
    response.destroy();
    return response;
  };
}
