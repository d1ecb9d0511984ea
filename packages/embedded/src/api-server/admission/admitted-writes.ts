/**
 * Writes that somebody else may refuse. What a request would lead to is tried without storing it, shown to the webhooks that want it, and only then done, in one turn as always: where
 * the object has changed while the webhooks were asked, it is tried and shown again. Requests that no webhook wants are done at once.
 */
import type { ApiObject, JsonObject } from "../json.ts";
import { clone } from "../json.ts";
import { type DeleteOptions, keyFor, type Operations, type WriteOptions } from "../operations.ts";
import type { ResourceRequest } from "../request-info.ts";
import { resourceName, type ServedResource } from "../served-resource.ts";
import { modified } from "../status-error.ts";
import type { Storage } from "../storage.ts";
import type { User } from "../tokens.ts";
import type { Operation, WebhookAdmission } from "./webhook-admission.ts";

export interface Writer {
  readonly resource: ServedResource;
  readonly info: ResourceRequest;
  readonly user: User;
}

type Written = ReturnType<Operations["update"]>;

/** How often an object may change under the eyes of the webhooks. */
const TRIES_MAX = 5;

export class AdmittedWrites {
  readonly #operations: Operations;
  readonly #storage: Storage;
  readonly #webhooks: WebhookAdmission;

  constructor(operations: Operations, storage: Storage, webhooks: WebhookAdmission) {
    this.#operations = operations;
    this.#storage = storage;
    this.#webhooks = webhooks;
  }

  async create(by: Writer, body: JsonObject, options: WriteOptions): Promise<ApiObject> {
    const { resource, info } = by;
    const create = (how: WriteOptions): ApiObject => this.#operations.create(resource, info.namespace, clone(body), how);
    if (!this.#webhooks.wants(resource, undefined, "CREATE")) return create(options);
    const tried = create({ ...options, dryRun: true, warnings: [] });
    const warnings = await this.#judge(by, "CREATE", tried, undefined, options.dryRun);
    const created = create({ ...options, identity: { name: tried.metadata.name ?? "", uid: tried.metadata.uid ?? "" } });
    options.warnings.push(...warnings);
    return created;
  }

  /** `perform` is an update or a patch, which may be done more than once. */
  async update(by: Writer, perform: (options: WriteOptions) => Written, options: WriteOptions): Promise<Written> {
    const { resource, info } = by;
    if (!this.#webhooks.wants(resource, info.subresource, "UPDATE") && !this.#webhooks.wants(resource, info.subresource, "CREATE")) return perform(options);
    const current = (): ApiObject | undefined => this.#storage.get(resource.storedAs, keyFor(info.namespace, info.name ?? ""));
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const before = current();
      const old = before === undefined ? undefined : this.#operations.get(resource, info.namespace, info.name ?? "");
      const { object, created } = perform({ ...options, dryRun: true, warnings: [] });
      const warnings = await this.#judge(by, created ? "CREATE" : "UPDATE", object, old, options.dryRun);
      if (current()?.metadata.resourceVersion !== before?.metadata.resourceVersion) continue;
      const identity = created ? { identity: { name: object.metadata.name ?? "", uid: object.metadata.uid ?? "" } } : {};
      const written = perform({ ...options, ...identity });
      options.warnings.push(...warnings);
      return written;
    }
    throw modified(resourceName(resource), info.name ?? "");
  }

  async delete(
    by: Writer,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions,
  ): Promise<ReturnType<Operations["delete"]> & { readonly warnings: readonly string[] }> {
    let warnings: readonly string[] = [];
    if (this.#webhooks.wants(by.resource, undefined, "DELETE")) {
      const old = this.#operations.get(by.resource, namespace, name);
      warnings = await this.#judge(by, "DELETE", undefined, old, options.dryRun);
    }
    return { ...this.#operations.delete(by.resource, namespace, name, options), warnings };
  }

  #judge(
    { resource, info, user }: Writer,
    operation: Operation,
    object: ApiObject | undefined,
    old: ApiObject | undefined,
    dryRun: boolean,
  ): Promise<string[]> {
    return this.#webhooks.judge({ resource, subresource: info.subresource, operation, object, old, user, dryRun });
  }
}
