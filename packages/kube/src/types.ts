/** The wire facts of the Kubernetes API that every other file of this package builds on. Objects are plain JSON and keep fields this program does not know. */

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: unknown[];
}

/** Any object of the API. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** An object whose fields are not known here. */
export interface GenericObject extends KubeObject {
  [field: string]: unknown;
}

export interface KubeList<T> {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string; readonly remainingItemCount?: number };
  readonly items: T[];
}

/**
 * One resource of the API: where it is served, and (as a type only) what its objects look like.
 * `{ group: "", version: "v1", plural: "pods", kind: "Pod", namespaced: true }`.
 */
export interface ResourceType<T extends KubeObject = GenericObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set; carries the type of the objects. */
  readonly objectType?: T;
}

/** Names one object; `namespace` is left out for cluster-scoped kinds. */
export interface ObjectKey {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface ListOptions {
  /** All namespaces when left out. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export type PatchType = "json" | "merge" | "strategic";

export interface WriteOptions {
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  /** How unknown fields are treated; the server's default (Warn) when left out. */
  readonly fieldValidation?: "Ignore" | "Warn" | "Strict";
  readonly signal?: AbortSignal | undefined;
}

export interface DeleteOptions {
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly signal?: AbortSignal | undefined;
}

export type WatchEvent<T> =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly object: T }
  | { readonly type: "BOOKMARK"; readonly resourceVersion: string };

/**
 * The client port. Errors carry the codes KUBE_NOT_FOUND, KUBE_ALREADY_EXISTS, KUBE_CONFLICT, KUBE_GONE, KUBE_INVALID, KUBE_BAD_REQUEST, KUBE_FORBIDDEN,
 * KUBE_UNAUTHORIZED, KUBE_THROTTLED and KUBE_UNAVAILABLE, with the server's message and its reason in `context`. Idempotent reads are retried within a small budget; writes only
 * when the server cannot have seen them, or said Retry-After.
 */
export interface KubeClient {
  get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T>;
  /** The object, or undefined when there is none. */
  find<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T | undefined>;
  /** One page with its resourceVersion. `items` carry apiVersion and kind. */
  list<T extends KubeObject>(
    type: ResourceType<T>,
    options?: ListOptions & { readonly limit?: number; readonly continue?: string; readonly resourceVersion?: string },
  ): Promise<KubeList<T>>;
  /** Every object, page by page; never all in memory. */
  listAll<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): AsyncIterable<T>;
  /** The namespace is that of the object's metadata. */
  create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** Replaces the whole object; with a resourceVersion in it this is a compare-and-swap that throws KUBE_CONFLICT. */
  replace<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** Replaces through the status subresource, for kinds that have one. */
  replaceStatus<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options?: WriteOptions): Promise<T>;
  patchStatus<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options?: WriteOptions): Promise<T>;
  /** Server-side apply. */
  apply<T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    options: WriteOptions & { readonly fieldManager: string; readonly force?: boolean },
  ): Promise<T>;
  /** Asks for deletion; an object that is not there counts as deleted (returns false). */
  delete<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options?: DeleteOptions): Promise<boolean>;
  deleteCollection<T extends KubeObject>(type: ResourceType<T>, options: ListOptions & DeleteOptions): Promise<void>;
  /** One watch connection from `resourceVersion` on. Ends when the server ends it; throws KUBE_GONE when that version is too old. */
  watch<T extends KubeObject>(
    type: ResourceType<T>,
    options: ListOptions & { readonly resourceVersion?: string; readonly timeoutSeconds?: number; readonly sendInitialEvents?: boolean },
  ): AsyncIterable<WatchEvent<T>>;
  /** Any other request: discovery, subresources such as `token`, `eviction`, `binding`. JSON in, JSON out. */
  request<R = unknown>(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, options?: RequestOptions): Promise<R>;
  /** The log of a container, as it stands; with `follow` until the container ends; with `previous` that of the run before its last restart. */
  podLog(key: ObjectKey, options?: PodLogOptions): AsyncIterable<Uint8Array>;
  /** Runs a command in a container. A command that exits non-zero is a result; a container that is not there is an error. */
  podExec(key: ObjectKey, options: PodExecOptions): Promise<PodExecResult>;
  close(): Promise<void>;
}

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface PodLogOptions {
  readonly container?: string;
  readonly follow?: boolean;
  readonly previous?: boolean;
  readonly tailLines?: number;
  readonly limitBytes?: number;
  readonly signal?: AbortSignal;
}

export interface PodExecOptions {
  readonly container?: string;
  readonly command: readonly string[];
  readonly stdin?: Uint8Array;
  /** The command is ended and TIMED_OUT thrown when it takes longer. */
  readonly timeoutMs?: number;
  /** At most this much of each stream is kept; 1 MiB when left out. */
  readonly outputLimitBytes?: number;
  readonly signal?: AbortSignal;
}

export interface PodExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A resource as discovery describes it. */
export interface DiscoveredResource extends ResourceType {
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly singular: string;
  readonly categories: readonly string[];
  /** Whether this version is the group's preferred one. */
  readonly preferred: boolean;
}

/** What the API serves; subresources are left out. Loaded once and again after `invalidate`. */
export interface Discovery {
  all(signal?: AbortSignal): Promise<readonly DiscoveredResource[]>;
  /** Aggregated APIs (`group/version`) whose server did not answer: what they serve is not known. */
  unavailable(signal?: AbortSignal): Promise<readonly string[]>;
  /** By plural (`pods`), plural.group (`datauploads.velero.io`), kind, singular or short name, the preferred version first. */
  find(name: string, signal?: AbortSignal): Promise<DiscoveredResource | undefined>;
  /** By apiVersion and kind. */
  forKind(apiVersion: string, kind: string, signal?: AbortSignal): Promise<DiscoveredResource | undefined>;
  serverVersion(signal?: AbortSignal): Promise<{ readonly major: string; readonly minor: string; readonly gitVersion: string }>;
  invalidate(): void;
}

/** A cache of one kind (in one namespace or all, after selectors), kept by list and watch. Objects in it are shared: never change them. */
export interface Informer<T extends KubeObject> {
  readonly type: ResourceType<T>;
  /** Resolves when the first list is in. */
  synced(signal?: AbortSignal): Promise<void>;
  get(key: ObjectKey): T | undefined;
  list(namespace?: string): readonly T[];
  /** Objects whose `index` function (given at creation) returned this value. */
  byIndex(index: string, value: string): readonly T[];
  /** Called for each change, with undefined for what was not there before or is not there after. Returns the function that ends it. */
  onChange(handler: (before: T | undefined, after: T | undefined) => void): () => void;
  stop(): void;
}

export interface InformerOptions<T extends KubeObject> {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly indexes?: Readonly<Record<string, (object: T) => readonly string[]>>;
  /** Applied to each object before it is kept; strips what is not needed. managedFields are always stripped. */
  readonly transform?: (object: T) => T;
}

/** What a reconcile wants next: nothing, or to be called again after a while. Throwing means: again with backoff. */
export interface ReconcileResult {
  readonly requeueAfterMs?: number;
}

/** A key is `namespace/name`, or `name` for cluster-scoped kinds. */
export type Reconcile = (key: ObjectKey, signal: AbortSignal) => Promise<ReconcileResult>;

export interface EventRecorder {
  /** Records an Event on an object. Equal events within minutes are counted on one object. Never throws: a failure is logged. */
  event(about: KubeObject, type: "Normal" | "Warning", reason: string, message: string): void;
  /** Waits until what was recorded is written, at most `timeoutMs`. */
  flush(timeoutMs: number): Promise<void>;
}
