/** Requests about resources: reading, watching and writing them, and handing their subresources on. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AdmittedWrites } from "./admission/admitted-writes.ts";
import { acceptedForm, decodeJson, decodeObject, decodeYaml, mediaTypeOf, readBody, send, warn } from "./content.ts";
import type { FaultRule } from "./faults.ts";
import { at, clone, isObject, type JsonObject, textAt } from "./json.ts";
import { listObject, listPage, listRequest } from "./list.ts";
import type { DeleteOptions, Operations, WriteOptions } from "./operations.ts";
import { applyPatch, type PatchKind, patchKinds } from "./patch/apply-patch.ts";
import { present, presentList } from "./presentation.ts";
import { sendText } from "./request-handler.ts";
import type { ResourceRequest } from "./request-info.ts";
import type { Catalog, ServedResource } from "./served-resource.ts";
import { badRequest, invalidObject, isStatusError, methodNotAllowed, resourceUnknown, type Status, StatusError, unsupportedMediaType } from "./status-error.ts";
import type { World } from "./strategies/strategy.ts";
import type { Subresources } from "./subresources/subresources.ts";
import type { User } from "./tokens.ts";
import { serveWatch } from "./watch.ts";

export interface ResourceHandlerOptions {
  readonly world: World;
  readonly catalog: Catalog;
  readonly operations: Operations;
  readonly writes: AdmittedWrites;
  readonly subresources: Subresources;
}

export class ResourceHandler {
  readonly #it: ResourceHandlerOptions;
  readonly #watches = new Set<() => void>();

  constructor(options: ResourceHandlerOptions) {
    this.#it = options;
  }

  /** How many watches are open. */
  get watchCount(): number {
    return this.#watches.size;
  }

  /** Ends every watch, as a lost connection or a shutdown does. */
  dropWatches(): void {
    for (const end of [...this.#watches]) end();
  }

  async serve(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, user: User, fault?: FaultRule): Promise<void> {
    const resource = this.#it.catalog.find(info.group, info.version, info.plural);
    if (resource === undefined || (resource.namespaced === false && info.namespace !== undefined)) {
      if (this.#it.catalog.hasGroup(info.group)) throw resourceUnknown();
      sendText(response, 404, "404 page not found\n");
      return;
    }
    const deprecation = resource.custom === undefined ? DEPRECATIONS[resource.storedAs] : resource.custom.deprecationWarning;
    if (deprecation !== undefined) warn(response, [deprecation]);
    if (info.subresource !== undefined || !resource.verbs.includes("get")) {
      await this.#it.subresources.serve({ request, response, info, user, resource });
      return;
    }
    if (!isServed(info, resource)) throw methodNotAllowed();
    switch (info.verb) {
      case "get":
        return this.#get(request, response, info, resource);
      case "list":
        return this.#list(request, response, info, resource);
      case "watch":
        return this.#watch(request, response, info, resource, fault?.delayEventsMs ?? 0);
      case "create":
        return this.#create(request, response, info, resource, user);
      case "update":
      case "patch":
        return this.#write(request, response, info, resource, user);
      case "delete":
        return this.#delete(request, response, info, resource, user);
      default:
        return this.#deleteCollection(request, response, info, resource, user);
    }
  }

  async #get(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, resource: ServedResource): Promise<void> {
    const accepted = acceptedForm(request.headers.accept);
    const object = this.#it.operations.get(resource, info.namespace, info.name ?? "");
    await send(request, response, { code: 200, body: present(resource, object, accepted, this.#presentation(info)) }, accepted.type);
  }

  async #list(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, resource: ServedResource): Promise<void> {
    const accepted = acceptedForm(request.headers.accept);
    const page = listPage(this.#it.world.storage, resource, listRequest(info.namespace, info.query));
    const body = presentList(resource, page, accepted, this.#presentation(info)) ?? listObject(resource, page);
    await send(request, response, { code: 200, body }, accepted.type);
  }

  async #watch(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, resource: ServedResource, delayEventsMs: number): Promise<void> {
    const accepted = acceptedForm(request.headers.accept);
    const presentation = this.#presentation(info);
    await serveWatch(request, response, {
      storage: this.#it.world.storage,
      clock: this.#it.world.clock,
      resource,
      namespace: info.namespace,
      name: info.name,
      query: info.query,
      delayEventsMs,
      present: (object, first) => present(resource, object, accepted, { ...presentation, withColumns: first }),
      registerEnd: (end) => {
        this.#watches.add(end);
        return () => void this.#watches.delete(end);
      },
    });
  }

  async #create(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, resource: ServedResource, user: User): Promise<void> {
    const accepted = acceptedForm(request.headers.accept);
    const options = writeOptions(request, info);
    const body = decodeObject(await readBody(request), request.headers["content-type"], resource.kind);
    const object = await this.#it.writes.create({ resource, info, user }, body, options);
    await send(
      request,
      response,
      { code: 201, body: present(resource, object, accepted, this.#presentation(info)), warnings: options.warnings },
      accepted.type,
    );
  }

  async #write(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, resource: ServedResource, user: User): Promise<void> {
    const accepted = acceptedForm(request.headers.accept);
    const { object, created, warnings } = await this.write(request, info, resource, user);
    await send(request, response, { code: created ? 201 : 200, body: present(resource, object, accepted, this.#presentation(info)), warnings }, accepted.type);
  }

  /** An update or patch of the object or of one of its subresources that has the object's own kind. */
  async write(
    request: IncomingMessage,
    info: ResourceRequest,
    resource: ServedResource,
    user: User,
  ): Promise<{
    readonly object: JsonObject & { kind: string; apiVersion: string; metadata: JsonObject };
    readonly created: boolean;
    readonly warnings: string[];
  }> {
    const options = writeOptions(request, info);
    const bytes = await readBody(request);
    const name = info.name ?? "";
    if (info.verb === "update") {
      const body = decodeObject(bytes, request.headers["content-type"], resource.kind);
      const perform = (how: WriteOptions) =>
        this.#it.operations.update(resource, info.namespace, name, () => clone(body), how, { subresource: info.subresource });
      return { ...(await this.#it.writes.update({ resource, info, user }, perform, options)), warnings: options.warnings };
    }
    const kind = patchKind(request, resource);
    const patch = kind === "apply" ? decodeYaml(bytes) : decodeJson(bytes);
    const perform = (how: WriteOptions) =>
      applyPatch({
        operations: this.#it.operations,
        resource,
        namespace: info.namespace,
        name,
        subresource: info.subresource,
        kind,
        patch,
        options: how,
        force: info.query.get("force") === "true",
        query: info.query,
      });
    return { ...(await this.#it.writes.update({ resource, info, user }, perform, options)), warnings: options.warnings };
  }

  async #delete(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, resource: ServedResource, user: User): Promise<void> {
    const accepted = acceptedForm(request.headers.accept);
    const options = await deleteOptions(request, info);
    const { object, removed, warnings } = await this.#it.writes.delete({ resource, info, user }, info.namespace, info.name ?? "", options);
    const warning = options.propagationPolicy === undefined ? resource.strategy.deletionWarning : undefined;
    const body =
      removed && !RETURNS_DELETED.has(resource.storedAs) ? deletedStatus(resource, object) : present(resource, object, accepted, this.#presentation(info));
    await send(request, response, { code: 200, body, warnings: [...warnings, ...(warning === undefined ? [] : [warning])] }, accepted.type);
  }

  async #deleteCollection(request: IncomingMessage, response: ServerResponse, info: ResourceRequest, resource: ServedResource, user: User): Promise<void> {
    const accepted = acceptedForm(request.headers.accept);
    const options = await deleteOptions(request, info);
    const page = listPage(this.#it.world.storage, resource, listRequest(info.namespace, info.query));
    for (const item of page.items) {
      try {
        const each = { ...options, uid: undefined, resourceVersion: undefined };
        await this.#it.writes.delete({ resource, info, user }, item.metadata.namespace, item.metadata.name ?? "", each);
      } catch (error) {
        if (!isStatusError(error) || error.code !== 404) throw error;
      }
    }
    const { resourceVersion: _version, ...rest } = page;
    await send(
      request,
      response,
      { code: 200, body: listObject(resource, { ...rest, resourceVersion: String(this.#it.world.storage.revision) }) },
      accepted.type,
    );
  }

  #presentation(info: ResourceRequest): { readonly includeObject: string; readonly nowMs: number } {
    return { includeObject: info.query.get("includeObject") ?? "", nowMs: this.#it.world.clock.nowMs() };
  }
}

/** Built-in kinds whose every answer warns. */
const DEPRECATIONS: Readonly<Record<string, string>> = {
  endpoints: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
  componentstatuses: "v1 ComponentStatus is deprecated in v1.19+",
};

/** Whether the verb is served at this path: what is written by name needs one, what is made does not, and neither is done across namespaces. */
function isServed(info: ResourceRequest, resource: ServedResource): boolean {
  if (!resource.verbs.includes(info.verb)) return false;
  if (resource.namespaced && info.namespace === undefined && !["list", "watch", "get"].includes(info.verb)) return false;
  return info.verb === "create" ? info.name === undefined : !["update", "patch"].includes(info.verb) || info.name !== undefined;
}

/** Kinds whose deletion answers with the object instead of a Status. */
const RETURNS_DELETED: ReadonlySet<string> = new Set([
  "pods",
  "podtemplates",
  "persistentvolumeclaims",
  "persistentvolumes",
  "services",
  "serviceaccounts",
  "resourcequotas",
  "storage.k8s.io/storageclasses",
  "storage.k8s.io/volumeattachments",
  "storage.k8s.io/csidrivers",
  "storage.k8s.io/csinodes",
  "policy/podsecuritypolicies",
]);

function deletedStatus(resource: ServedResource, object: JsonObject): Status {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: {
      name: textAt(object, "metadata", "name"),
      ...(resource.group === "" ? {} : { group: resource.group }),
      kind: resource.plural,
      uid: textAt(object, "metadata", "uid"),
    },
  };
}

/** The options a query gives a write. Throws Invalid for values the API does not know. */
export function writeOptions(request: IncomingMessage, info: ResourceRequest): WriteOptions {
  const dryRun = info.query.getAll("dryRun").filter((it) => it !== "");
  const fieldValidation = info.query.get("fieldValidation") || "Warn";
  const fail = (field: string, value: string | string[], supported: readonly string[]): Error =>
    invalidObject({ group: "meta.k8s.io", name: info.verb === "patch" ? "PatchOptions" : info.verb === "update" ? "UpdateOptions" : "CreateOptions" }, "", [
      {
        type: "NotSupported",
        field,
        message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${supported.map((it) => JSON.stringify(it)).join(", ")}`,
      },
    ]);
  if (dryRun.some((value) => value !== "All")) throw fail("dryRun", dryRun, ["All"]);
  if (fieldValidation !== "Ignore" && fieldValidation !== "Warn" && fieldValidation !== "Strict")
    throw fail("fieldValidation", fieldValidation, ["", "Ignore", "Strict", "Warn"]);
  const agent = String(request.headers["user-agent"] ?? "unknown").split("/")[0] ?? "unknown";
  return { dryRun: dryRun.length > 0, manager: info.query.get("fieldManager") || agent, fieldValidation, warnings: [] };
}

function patchKind(request: IncomingMessage, resource: ServedResource): PatchKind {
  const kind = patchKinds[mediaTypeOf(request.headers["content-type"])];
  // Strategic merges need the keys of typed lists, which custom resources do not have.
  const accepted = Object.keys(patchKinds).filter((it) => resource.custom === undefined || patchKinds[it] !== "strategic");
  if (kind === undefined) throw new StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
  if (!accepted.includes(mediaTypeOf(request.headers["content-type"]))) throw unsupportedMediaType(accepted);
  return kind;
}

/** Options from the body, or from the query when there is none. */
export async function deleteOptions(request: IncomingMessage, info: ResourceRequest): Promise<DeleteOptions> {
  const bytes = await readBody(request);
  const body: JsonObject = bytes.length === 0 ? {} : decodeObject(bytes, request.headers["content-type"], "DeleteOptions");
  const kind = textAt(body, "kind");
  if (kind !== "" && kind !== "DeleteOptions") throw badRequest(`unable to decode delete options: no kind "${kind}" is registered for deletion`);
  const number = (value: unknown): number | undefined =>
    typeof value === "number" ? value : typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : undefined;
  const orphan = at(body, "orphanDependents") ?? { true: true, false: false }[info.query.get("orphanDependents") ?? ""];
  const policy =
    textAt(body, "propagationPolicy") || info.query.get("propagationPolicy") || (orphan === true ? "Orphan" : orphan === false ? "Background" : undefined);
  if (policy !== undefined && !["Orphan", "Background", "Foreground"].includes(policy))
    throw invalidObject({ group: "meta.k8s.io", name: "DeleteOptions" }, "", [
      {
        type: "NotSupported",
        field: "propagationPolicy",
        message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Foreground", "Background", "Orphan", "nil"`,
      },
    ]);
  const dryRun = [...info.query.getAll("dryRun"), ...(Array.isArray(body["dryRun"]) ? body["dryRun"] : [])].includes("All");
  const preconditions = isObject(body["preconditions"]) ? body["preconditions"] : {};
  return {
    dryRun,
    gracePeriodSeconds: number(body["gracePeriodSeconds"]) ?? number(info.query.get("gracePeriodSeconds")),
    propagationPolicy: policy,
    uid: textAt(preconditions, "uid") || undefined,
    resourceVersion: textAt(preconditions, "resourceVersion") || undefined,
  };
}
