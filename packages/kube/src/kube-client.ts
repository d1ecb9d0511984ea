import { type Clock, DrayError, type Logger, nullLogger, type RandomSource, systemClock, systemRandom } from "@drayage/base";
import { type Connection, type ConnectionSource, loadConnection } from "./connection.ts";
import { pods } from "./core.ts";
import { jsonLines } from "./json-lines.ts";
import { listAll } from "./list-all.ts";
import { podExec } from "./pod-exec.ts";
import { apiVersionOf, collectionPath, formatKey, groupResourceOf, objectPath, type ResourceAddress } from "./resource.ts";
import { errorFromStatus, type Status } from "./status-error.ts";
import { Transport } from "./transport.ts";
import type {
  DeleteOptions,
  KubeClient,
  KubeList,
  KubeObject,
  ListOptions,
  ObjectKey,
  PatchType,
  PodLogOptions,
  ResourceType,
  WatchEvent,
  WriteOptions,
} from "./types.ts";

export interface KubeClientOptions extends ConnectionSource {
  /** A connection that was loaded already; the sources are then not looked at. */
  readonly connection?: Connection;
  readonly clock?: Clock;
  readonly random?: RandomSource;
  readonly logger?: Logger;
  /** `dray/0.1.0 (linux/amd64)`; shown in the server's audit log. */
  readonly userAgent?: string;
  /** Requests a second in the long run, and at once; Velero's own 100 and 100 when left out. A qps of 0 means no limit. */
  readonly qps?: number;
  readonly burst?: number;
}

/** The client, with where it is connected to. */
export interface ConnectedClient extends KubeClient {
  readonly connection: Connection;
}

const CONTENT_TYPE: Readonly<Record<PatchType, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
};
/** Added to a watch's own end before silence counts as a dead connection. */
const WATCH_GRACE_MS = 30_000;
const WATCH_TIMEOUT_SECONDS = 300;

/** A client of one API server. Nothing is sent before the first call. Throws KUBE_CONFIG when no usable connection is found. */
export function createKubeClient(options: KubeClientOptions = {}): ConnectedClient {
  const clock = options.clock ?? systemClock;
  const connection = options.connection ?? loadConnection(options, clock);
  return new HttpKubeClient(
    new Transport({
      connection,
      clock,
      random: options.random ?? systemRandom,
      logger: options.logger ?? nullLogger,
      userAgent: options.userAgent ?? "dray",
      qps: options.qps ?? 100,
      burst: options.burst ?? 100,
    }),
    clock,
  );
}

class HttpKubeClient implements ConnectedClient {
  readonly #transport: Transport;
  readonly #clock: Clock;

  constructor(transport: Transport, clock: Clock) {
    this.#transport = transport;
    this.#clock = clock;
  }

  get connection(): Connection {
    return this.#transport.connection;
  }

  async get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T> {
    return this.#transport.json<T>({ method: "GET", path: objectPath(type, key), action: `get ${describe(type, key)}`, signal });
  }

  async find<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T | undefined> {
    try {
      return await this.get(type, key, signal);
    } catch (error) {
      if (isMissingObject(error)) return undefined;
      throw error;
    }
  }

  async list<T extends KubeObject>(
    type: ResourceType<T>,
    options: ListOptions & { readonly limit?: number; readonly continue?: string; readonly resourceVersion?: string } = {},
  ): Promise<KubeList<T>> {
    const page = await this.#transport.json<KubeList<T>>({
      method: "GET",
      path: collectionPath(type, options.namespace),
      query: { ...selectors(options), limit: options.limit, continue: options.continue, resourceVersion: options.resourceVersion },
      action: `list ${groupResourceOf(type)}`,
      signal: options.signal,
    });
    // The server leaves both out of a list's items.
    const apiVersion = apiVersionOf(type);
    for (const item of page.items ?? []) {
      item.apiVersion ??= apiVersion;
      item.kind ??= type.kind;
    }
    return { ...page, items: page.items ?? [] };
  }

  listAll<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): AsyncIterable<T> {
    return listAll(this, type, options);
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name, generateName } = object.metadata;
    const key = { namespace, name: name ?? `${generateName ?? ""}…` };
    // Addressing one object checks that the namespace is there when the kind wants one.
    objectPath(type, key);
    return this.#write("POST", collectionPath(type, namespace), `create ${describe(type, key)}`, withType(type, object), options);
  }

  async replace<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const key = writtenKey(object);
    return this.#write("PUT", objectPath(type, key), `replace ${describe(type, key)}`, withType(type, object), options);
  }

  async replaceStatus<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const key = writtenKey(object);
    return this.#write("PUT", objectPath(type, key, "status"), `replace the status of ${describe(type, key)}`, withType(type, object), options);
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options: WriteOptions = {}): Promise<T> {
    return this.#write("PATCH", objectPath(type, key), `patch ${describe(type, key)}`, patch, options, CONTENT_TYPE[patchType]);
  }

  async patchStatus<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options: WriteOptions = {}): Promise<T> {
    return this.#write("PATCH", objectPath(type, key, "status"), `patch the status of ${describe(type, key)}`, patch, options, CONTENT_TYPE[patchType]);
  }

  async apply<T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    options: WriteOptions & { readonly fieldManager: string; readonly force?: boolean },
  ): Promise<T> {
    const key = writtenKey(object);
    // JSON is YAML, so the object goes out as it is.
    return this.#write(
      "PATCH",
      objectPath(type, key),
      `apply ${describe(type, key)}`,
      withType(type, object),
      options,
      "application/apply-patch+yaml",
      options.force,
    );
  }

  async delete<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options: DeleteOptions = {}): Promise<boolean> {
    try {
      await this.#transport.json({
        method: "DELETE",
        path: objectPath(type, key),
        body: deleteBody(options),
        action: `delete ${describe(type, key)}`,
        signal: options.signal,
      });
      return true;
    } catch (error) {
      if (isMissingObject(error)) return false;
      throw error;
    }
  }

  async deleteCollection<T extends KubeObject>(type: ResourceType<T>, options: ListOptions & DeleteOptions): Promise<void> {
    await this.#transport.json({
      method: "DELETE",
      path: collectionPath(type, options.namespace),
      query: selectors(options),
      body: deleteBody(options),
      action: `delete ${groupResourceOf(type)}`,
      signal: options.signal,
    });
  }

  async *watch<T extends KubeObject>(
    type: ResourceType<T>,
    options: ListOptions & { readonly resourceVersion?: string; readonly timeoutSeconds?: number; readonly sendInitialEvents?: boolean },
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const action = `watch ${groupResourceOf(type)}`;
    const timeoutSeconds = options.timeoutSeconds ?? WATCH_TIMEOUT_SECONDS;
    const chunks = this.#transport.stream({
      method: "GET",
      path: collectionPath(type, options.namespace),
      query: {
        ...selectors(options),
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds,
        resourceVersion: options.resourceVersion,
        ...(options.sendInitialEvents === undefined ? {} : { sendInitialEvents: options.sendInitialEvents, resourceVersionMatch: "NotOlderThan" }),
      },
      action,
      signal: options.signal,
      bodyTimeoutMs: timeoutSeconds * 1000 + WATCH_GRACE_MS,
    });
    for await (const line of jsonLines(chunks)) {
      const { type: change, object } = line as { readonly type: string; readonly object: T & Status };
      if (change === "ADDED" || change === "MODIFIED" || change === "DELETED") yield { type: change, object };
      else if (change === "BOOKMARK") yield { type: "BOOKMARK", resourceVersion: object.metadata.resourceVersion ?? "" };
      else if (change === "ERROR") throw errorFromStatus(action, object.code ?? 500, object);
      else throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${action}: an event of the unknown type "${change}" came`);
    }
  }

  async request<R = unknown>(
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    options: Parameters<KubeClient["request"]>[2] = {},
  ): Promise<R> {
    return this.#transport.json<R>({
      method,
      path,
      action: `${method} ${path}`,
      ...(options.query === undefined ? {} : { query: options.query }),
      ...(options.body === undefined ? {} : { body: options.body }),
      ...(options.contentType === undefined ? {} : { contentType: options.contentType }),
      ...(options.accept === undefined ? {} : { accept: options.accept }),
      signal: options.signal,
    });
  }

  podLog(key: ObjectKey, options: PodLogOptions = {}): AsyncIterable<Uint8Array> {
    return this.#transport.stream({
      method: "GET",
      path: objectPath(pods, key, "log"),
      query: {
        container: options.container,
        follow: options.follow,
        previous: options.previous,
        tailLines: options.tailLines,
        limitBytes: options.limitBytes,
      },
      accept: "*/*",
      action: `read the log of ${describe(pods, key)}`,
      signal: options.signal,
      // A followed container may be silent for as long as it likes.
      ...(options.follow === true ? { bodyTimeoutMs: 0 } : {}),
    });
  }

  async podExec(key: ObjectKey, options: Parameters<KubeClient["podExec"]>[1]): ReturnType<KubeClient["podExec"]> {
    return podExec(this.#transport, this.#clock, key, options);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #write<T>(
    method: "POST" | "PUT" | "PATCH",
    path: string,
    action: string,
    body: unknown,
    options: WriteOptions,
    contentType?: string,
    force?: boolean,
  ): Promise<T> {
    return this.#transport.json<T>({
      method,
      path,
      query: { dryRun: options.dryRun === true ? "All" : undefined, fieldManager: options.fieldManager, fieldValidation: options.fieldValidation, force },
      body,
      ...(contentType === undefined ? {} : { contentType }),
      action,
      signal: options.signal,
    });
  }
}

/** `pods "ns/name"`. */
function describe(type: ResourceAddress, key: ObjectKey): string {
  return `${groupResourceOf(type)} "${formatKey(key)}"`;
}

function withType<T extends KubeObject>(type: ResourceType<T>, object: T): T {
  return object.apiVersion !== undefined && object.kind !== undefined ? object : { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
}

function writtenKey(object: KubeObject): ObjectKey {
  return { namespace: object.metadata.namespace, name: object.metadata.name ?? "" };
}

function selectors(options: ListOptions): Record<string, string | undefined> {
  return {
    labelSelector: options.labelSelector === "" ? undefined : options.labelSelector,
    fieldSelector: options.fieldSelector === "" ? undefined : options.fieldSelector,
  };
}

function deleteBody(options: DeleteOptions): unknown {
  const { propagationPolicy, gracePeriodSeconds, preconditions } = options;
  return { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy, gracePeriodSeconds, preconditions };
}

/**
 * Whether a 404 means that the object is not there. A 404 about the resource itself (its CustomResourceDefinition is missing) has no name in its details
 * and must not pass for "there is none".
 */
function isMissingObject(error: unknown): boolean {
  return error instanceof DrayError && error.code === "KUBE_NOT_FOUND" && error.context["resourceMissing"] !== true;
}
