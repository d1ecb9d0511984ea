/** Everything that is asked of an object besides itself, and the kinds that are only ever created: reviews and bindings. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Authorizer } from "../authorization.ts";
import { acceptedForm, decodeObject, readBody, send } from "../content.ts";
import type { JsonObject } from "../json.ts";
import type { Operations } from "../operations.ts";
import { present } from "../presentation.ts";
import type { ResourceRequest } from "../request-info.ts";
import type { ResourceHandler } from "../resource-handler.ts";
import { writeOptions } from "../resource-handler.ts";
import type { ServedResource } from "../served-resource.ts";
import { methodNotAllowed, resourceUnknown } from "../status-error.ts";
import type { World } from "../strategies/strategy.ts";
import type { TokenIssuer, User } from "../tokens.ts";
import { bindPod } from "./binding.ts";
import { evictPod } from "./eviction.ts";
import { type NodeProxy, serveLog, serveStream } from "./node-proxy.ts";
import { review } from "./reviews.ts";
import { readScale, writeScale } from "./scale.ts";
import { requestToken } from "./token.ts";

export interface SubresourcesOptions {
  readonly world: World;
  readonly operations: Operations;
  readonly authorizer: Authorizer;
  readonly tokens: TokenIssuer;
  readonly nodes: NodeProxy;
}

export interface SubresourceRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly info: ResourceRequest;
  readonly user: User;
  readonly resource: ServedResource;
}

export class Subresources {
  readonly #it: SubresourcesOptions;
  #handler: ResourceHandler | undefined;

  constructor(options: SubresourcesOptions) {
    this.#it = options;
  }

  /** The handler of the objects themselves, which writes those subresources that have the object's own kind. */
  attach(handler: ResourceHandler): void {
    this.#handler = handler;
  }

  async serve(it: SubresourceRequest): Promise<void> {
    const { info, resource } = it;
    if (info.subresource === undefined) return this.#createOnly(it);
    const known = resource.subresources.find((sub) => sub.name === info.subresource);
    if (known === undefined) throw resourceUnknown();
    if (!known.verbs.includes(info.verb)) throw methodNotAllowed();
    switch (info.subresource) {
      case "scale":
        return this.#scale(it);
      case "binding":
        return this.#answer(it, 201, bindPod(this.#it, info, await this.#body(it), writeOptions(it.request, info)));
      case "eviction":
        return this.#answer(it, 201, evictPod(this.#it, info, await this.#body(it)));
      case "token":
        return this.#answer(it, 201, requestToken(this.#it, info, await this.#body(it), writeOptions(it.request, info)));
      case "log":
        return serveLog(this.#it, it);
      case "exec":
      case "attach":
      case "portforward":
        return serveStream(this.#it, it);
      case "proxy":
        throw methodNotAllowed();
      default:
        return this.#ownKind(it);
    }
  }

  /** status, finalize, approval, ephemeralcontainers, resize: the object itself, of which a part is written. */
  async #ownKind(it: SubresourceRequest): Promise<void> {
    const { request, response, info, resource, user } = it;
    const accepted = acceptedForm(request.headers.accept);
    const how = { includeObject: info.query.get("includeObject") ?? "", nowMs: this.#it.world.clock.nowMs() };
    if (info.verb === "get") {
      const object = this.#it.operations.get(resource, info.namespace, info.name ?? "");
      return send(request, response, { code: 200, body: present(resource, object, accepted, how) }, accepted.type);
    }
    const written = await this.#handler?.write(request, info, resource, user);
    if (written === undefined) throw methodNotAllowed();
    await send(
      request,
      response,
      { code: written.created ? 201 : 200, body: present(resource, written.object as never, accepted, how), warnings: written.warnings },
      accepted.type,
    );
  }

  async #scale(it: SubresourceRequest): Promise<void> {
    const { info, resource, request } = it;
    if (info.verb === "get") return this.#answer(it, 200, readScale(this.#it.operations, resource, info));
    const bytes = await readBody(request);
    return this.#answer(it, 200, writeScale(this.#it.operations, resource, info, request, bytes));
  }

  async #createOnly(it: SubresourceRequest): Promise<void> {
    const { info, resource } = it;
    if (resource.plural === "componentstatuses") return this.#answer(it, 200, { kind: "ComponentStatusList", apiVersion: "v1", metadata: {}, items: [] });
    if (info.verb !== "create") throw methodNotAllowed();
    const body = await this.#body(it);
    if (resource.plural === "bindings") return this.#answer(it, 201, bindPod(this.#it, info, body, writeOptions(it.request, info)));
    return this.#answer(it, 201, review(this.#it, resource, info, body, it.user, writeOptions(it.request, info)));
  }

  async #body(it: SubresourceRequest): Promise<JsonObject> {
    return decodeObject(await readBody(it.request), it.request.headers["content-type"]);
  }

  async #answer(it: SubresourceRequest, code: number, body: unknown): Promise<void> {
    await send(it.request, it.response, { code, body }, acceptedForm(it.request.headers.accept).type);
  }
}
