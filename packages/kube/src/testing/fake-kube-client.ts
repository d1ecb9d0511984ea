/**
 * An API server's manners in memory, for unit tests of controllers: resourceVersion conflicts, finalizers, status subresources, watches with history.
 * It knows no schema, no admission and no defaults, and never will: what needs those is tested against the embedded API server.
 */
import { type Clock, type Code, DrayError, formatTime, type RandomSource, randomSuffix, randomUuid } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import {
  apiVersionOf,
  type DeleteOptions,
  formatKey,
  groupResourceOf,
  type KubeClient,
  type KubeList,
  type KubeObject,
  keyOf,
  type ListOptions,
  listAll,
  type ObjectKey,
  type PatchType,
  type PodExecOptions,
  type PodExecResult,
  pods,
  type ResourceType,
  type WatchEvent,
  type WriteOptions,
} from "../index.ts";
import { clone } from "./clone.ts";
import type { FakeCall, FakeHandlers, FakeKubeClientOptions, FakeVerb } from "./fake-call.ts";
import { applyMergePatch } from "./json-patches.ts";
import {
  changeAfter,
  gone,
  isUnchanged,
  parseToken,
  patched,
  patchedVersion,
  type Stored,
  selection,
  specOf,
  WITH_STATUS,
  waitForChange,
} from "./stored-objects.ts";

type Reaction = (before: KubeObject | undefined, after: KubeObject | undefined) => void;

export class FakeKubeClient implements KubeClient {
  readonly clock: Clock;
  readonly handlers: FakeHandlers = {};
  readonly calls: FakeCall[] = [];
  /** Called before each call; what it throws (or rejects with) is what the call ends in. */
  intercept: ((call: FakeCall) => void | Promise<void>) | undefined;
  readonly #random: RandomSource;
  readonly #withStatus: ReadonlySet<string>;
  readonly #kinds = new Map<string, Stored>();
  readonly #reactions = new Map<string, Reaction[]>();
  #version = 100;
  #closed = false;

  constructor(options: FakeKubeClientOptions = {}) {
    this.clock = options.clock ?? new VirtualClock();
    this.#random = options.random ?? seededRandom(1);
    this.#withStatus = new Set([...WITH_STATUS, ...(options.statusSubresources ?? [])]);
  }

  // ---- what tests do to the world ------------------------------------------------------------------------------------------

  /** Stores an object as it is, status included, as if it had been there all along. Replaces one of that name. */
  seed<T extends KubeObject>(type: ResourceType<T>, object: T): T {
    const stored = this.#stored(type);
    const key = formatKey(keyOf(object));
    const before = stored.objects.get(key);
    const seeded = this.#withIdentity(type, clone(object));
    return this.#commit(stored, key, before, seeded) as T;
  }

  /** The object, without a call being counted or intercepted. */
  peek<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): T | undefined {
    const object = this.#stored(type).objects.get(formatKey(key));
    return object === undefined ? undefined : (clone(object) as T);
  }

  /** Every object of a kind as it is stored, in order of keys: only to be looked at. */
  stored<T extends KubeObject>(type: ResourceType<T>): readonly T[] {
    const { objects, order } = this.#stored(type);
    if (order.length !== objects.size) order.splice(0, order.length, ...[...objects.keys()].sort());
    return order.flatMap((key) => (objects.get(key) as T | undefined) ?? []);
  }

  /** The object as it is stored: only to be looked at. */
  storedAt<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): T | undefined {
    return this.#stored(type).objects.get(formatKey(key)) as T | undefined;
  }

  /** A copy of every object of a kind, in order of keys. */
  all<T extends KubeObject>(type: ResourceType<T>): T[] {
    return this.stored(type).map((object) => clone(object) as T);
  }

  /** Changes an object behind everybody's back, status and all; the version moves on. */
  mutate<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, change: (object: T) => void): T {
    const stored = this.#stored(type);
    const text = formatKey(key);
    const before = stored.objects.get(text);
    if (before === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot change ${groupResourceOf(type)} "${text}": there is none`);
    const after = clone(before);
    change(after as T);
    return this.#settle(stored, text, before, after) as T;
  }

  /** Deletes an object behind everybody's back, with finalizers respected; no call is counted or intercepted. */
  discard<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): void {
    const stored = this.#stored(type);
    const object = stored.objects.get(formatKey(key));
    if (object !== undefined) this.#remove(stored, formatKey(key), object);
  }

  /** Plays the part of a controller: called after each change of a kind, once the call that made it is done. */
  react<T extends KubeObject>(type: ResourceType<T>, reaction: (before: T | undefined, after: T | undefined) => void): void {
    const name = groupResourceOf(type);
    this.#reactions.set(name, [...(this.#reactions.get(name) ?? []), reaction as unknown as Reaction]);
  }

  /** Fails the next `times` calls that fit. */
  failNext(fits: Partial<Pick<FakeCall, "verb" | "resource" | "name">>, code: Code, times = 1): void {
    const earlier = this.intercept;
    let left = times;
    this.intercept = async (call) => {
      await earlier?.(call);
      const matches = (["verb", "resource", "name"] as const).every((field) => fits[field] === undefined || fits[field] === call[field]);
      if (!matches || left === 0) return;
      left--;
      throw new DrayError(code, `Cannot ${call.verb} ${call.resource} "${call.name ?? ""}": injected`, { context: { sent: true } });
    };
  }

  /** Forgets all history: watches from an older version, and pages of older lists, end in KUBE_GONE. */
  compact(): void {
    for (const stored of this.#kinds.values()) {
      stored.compactedVersion = this.#version;
      stored.history.length = 0;
      for (const wake of [...stored.watchers]) wake();
    }
  }

  /** Deletes what is owned only by objects that are gone, again and again until nothing is; returns how many went. */
  collectGarbage(): number {
    let count = 0;
    for (let found = true; found; ) {
      const alive = new Set([...this.#kinds.values()].flatMap(({ objects }) => [...objects.values()].map(({ metadata }) => metadata.uid)));
      found = false;
      for (const stored of this.#kinds.values()) {
        for (const [key, object] of [...stored.objects]) {
          const owners = object.metadata.ownerReferences ?? [];
          if (owners.length === 0 || object.metadata.deletionTimestamp !== undefined || owners.some(({ uid }) => alive.has(uid))) continue;
          this.#remove(stored, key, object);
          count++;
          found = true;
        }
      }
    }
    return count;
  }

  // ---- the port ------------------------------------------------------------------------------------------------------------

  async get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T> {
    await this.#enter("get", type, key, signal);
    return clone(this.#need(type, key)) as T;
  }

  async find<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T | undefined> {
    await this.#enter("get", type, key, signal);
    return this.peek(type, key);
  }

  async list<T extends KubeObject>(
    type: ResourceType<T>,
    options: ListOptions & { readonly limit?: number; readonly continue?: string; readonly resourceVersion?: string } = {},
  ): Promise<KubeList<T>> {
    await this.#enter("list", type, { namespace: options.namespace, name: "" }, options.signal);
    const [startAfter, listedVersion] = options.continue === undefined ? ["", this.#version] : parseToken(options.continue);
    if (listedVersion < this.#stored(type).compactedVersion) throw gone(type);
    const fits = selection(options);
    const matching = this.stored(type).filter((object) => fits(object) && formatKey(keyOf(object)) > startAfter);
    const items = matching.slice(0, options.limit ?? matching.length).map((object) => clone(object));
    const last = items.at(-1);
    const more = items.length < matching.length && last !== undefined;
    return {
      apiVersion: apiVersionOf(type),
      kind: `${type.kind}List`,
      metadata: {
        resourceVersion: String(listedVersion),
        ...(more ? { continue: `${listedVersion}:${formatKey(keyOf(last))}`, remainingItemCount: matching.length - items.length } : {}),
      },
      items,
    };
  }

  listAll<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): AsyncIterable<T> {
    return listAll(this, type, options);
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { name, generateName } = object.metadata;
    await this.#enter("create", type, { namespace: object.metadata.namespace, name: name ?? generateName ?? "" }, options.signal, object);
    this.#checkScope(type, object.metadata.namespace);
    const created = clone(object);
    if (name === undefined) {
      if (generateName === undefined) throw new DrayError("KUBE_INVALID", `Cannot create ${groupResourceOf(type)}: neither name nor generateName is given`);
      created.metadata.name = `${generateName.slice(0, 58)}${randomSuffix(this.#random)}`;
    }
    if (created.metadata.resourceVersion !== undefined) {
      throw new DrayError(
        "KUBE_BAD_REQUEST",
        `Cannot create ${groupResourceOf(type)} "${created.metadata.name}": resourceVersion must not be set on objects to be created`,
      );
    }
    delete created.metadata.uid;
    delete created.metadata.deletionTimestamp;
    if (this.#hasStatus(type)) delete (created as { status?: unknown }).status;
    const stored = this.#stored(type);
    const key = formatKey(keyOf(created));
    if (stored.objects.has(key))
      throw new DrayError("KUBE_ALREADY_EXISTS", `Cannot create ${groupResourceOf(type)} "${key}": it already exists`, {
        context: { status: 409, reason: "AlreadyExists" },
      });
    const complete = this.#withIdentity(type, created);
    return (options.dryRun === true ? complete : this.#commit(stored, key, undefined, complete)) as T;
  }

  async replace<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    await this.#enter("replace", type, keyOf(object), options.signal, object);
    return this.#write(type, keyOf(object), object.metadata.resourceVersion, () => object, "spec", options);
  }

  async replaceStatus<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    await this.#enter("replaceStatus", type, keyOf(object), options.signal, object);
    this.#needStatus(type, keyOf(object));
    return this.#write(type, keyOf(object), object.metadata.resourceVersion, () => object, "status", options);
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options: WriteOptions = {}): Promise<T> {
    await this.#enter("patch", type, key, options.signal, patch);
    return this.#write(type, key, patchedVersion(patchType, patch), (before) => patched(before, patchType, patch), "spec", options);
  }

  async patchStatus<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options: WriteOptions = {}): Promise<T> {
    await this.#enter("patchStatus", type, key, options.signal, patch);
    this.#needStatus(type, key);
    return this.#write(type, key, patchedVersion(patchType, patch), (before) => patched(before, patchType, patch), "status", options);
  }

  async apply<T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    options: WriteOptions & { readonly fieldManager: string; readonly force?: boolean },
  ): Promise<T> {
    const key = keyOf(object);
    await this.#enter("apply", type, key, options.signal, object);
    const stored = this.#stored(type);
    if (stored.objects.has(formatKey(key))) return this.#write(type, key, undefined, (before) => applyMergePatch(before, object) as T, "spec", options);
    this.#checkScope(type, object.metadata.namespace);
    return this.#commit(stored, formatKey(key), undefined, this.#withIdentity(type, clone(object))) as T;
  }

  async delete<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options: DeleteOptions = {}): Promise<boolean> {
    await this.#enter("delete", type, key, options.signal);
    const stored = this.#stored(type);
    const object = stored.objects.get(formatKey(key));
    if (object === undefined) return false;
    const { uid, resourceVersion } = options.preconditions ?? {};
    if ((uid !== undefined && uid !== object.metadata.uid) || (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion)) {
      throw new DrayError("KUBE_CONFLICT", `Cannot delete ${groupResourceOf(type)} "${formatKey(key)}": the precondition does not hold`);
    }
    this.#remove(stored, formatKey(key), object);
    return true;
  }

  async deleteCollection<T extends KubeObject>(type: ResourceType<T>, options: ListOptions & DeleteOptions): Promise<void> {
    await this.#enter("deleteCollection", type, { namespace: options.namespace, name: "" }, options.signal);
    const stored = this.#stored(type);
    const fits = selection(options);
    for (const [key, object] of [...stored.objects]) if (fits(object)) this.#remove(stored, key, object);
  }

  async *watch<T extends KubeObject>(
    type: ResourceType<T>,
    options: ListOptions & { readonly resourceVersion?: string; readonly timeoutSeconds?: number; readonly sendInitialEvents?: boolean },
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    await this.#enter("watch", type, { namespace: options.namespace, name: "" }, options.signal);
    const stored = this.#stored(type);
    const fits = selection(options);
    let version = options.resourceVersion === undefined || options.resourceVersion === "" ? undefined : Number(options.resourceVersion);
    if (version === undefined || options.sendInitialEvents === true) {
      version = this.#version;
      for (const object of this.all(type)) if (fits(object)) yield { type: "ADDED", object };
      if (options.sendInitialEvents === true) yield { type: "BOOKMARK", resourceVersion: String(version) };
    }
    while (!this.#closed) {
      options.signal?.throwIfAborted();
      if (version < stored.compactedVersion) throw gone(type);
      const next = changeAfter(stored, version);
      if (next === undefined) {
        await waitForChange(stored, options.signal);
        continue;
      }
      version = next.version;
      // An object that enters or leaves the selection is added or deleted, for whoever watches the selection.
      const was = next.before !== undefined && fits(next.before);
      const is = next.after !== undefined && fits(next.after);
      if (!was && !is) continue;
      const object = clone(next.after ?? next.last) as T;
      yield { type: is ? (was ? "MODIFIED" : "ADDED") : "DELETED", object };
    }
  }

  async request<R = unknown>(
    method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
    path: string,
    options: { readonly body?: unknown; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<R> {
    await this.#intercept({ verb: "request", resource: path, namespace: undefined, name: method }, options.signal);
    if (this.handlers.request === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot ${method} ${path}: the fake has no handler for requests`);
    return this.handlers.request(method, path, options.body) as R;
  }

  async *podLog(key: ObjectKey): AsyncGenerator<Uint8Array, void, undefined> {
    this.#need(pods, key);
    yield Buffer.from(this.handlers.podLog?.(key) ?? "", "utf8");
  }

  async podExec(key: ObjectKey, options: PodExecOptions): Promise<PodExecResult> {
    this.#need(pods, key);
    if (this.handlers.podExec === undefined) throw new DrayError("NOT_SUPPORTED", "Cannot run a command in a pod: the fake has no handler for exec");
    return this.handlers.podExec(key, options);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const stored of this.#kinds.values()) for (const wake of [...stored.watchers]) wake();
  }

  // ---- inside --------------------------------------------------------------------------------------------------------------

  async #enter(verb: FakeVerb, type: Pick<ResourceType, "group" | "plural">, key: ObjectKey, signal: AbortSignal | undefined, body?: unknown): Promise<void> {
    const named = { verb, resource: groupResourceOf(type), namespace: key.namespace, name: key.name === "" ? undefined : key.name };
    await this.#intercept(body === undefined ? named : { ...named, body: clone(body) }, signal);
  }

  async #intercept(call: Omit<FakeCall, "number">, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const numbered = { ...call, number: this.calls.length + 1 };
    this.calls.push(numbered);
    await this.intercept?.(numbered);
  }

  #stored<T extends KubeObject>(type: ResourceType<T>): Stored {
    const name = groupResourceOf(type);
    let stored = this.#kinds.get(name);
    if (stored === undefined) {
      stored = { type: type as unknown as ResourceType<KubeObject>, objects: new Map(), order: [], history: [], watchers: new Set(), compactedVersion: 0 };
      this.#kinds.set(name, stored);
    }
    return stored;
  }

  #need<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): KubeObject {
    const object = this.#stored(type).objects.get(formatKey(key));
    if (object === undefined)
      throw new DrayError("KUBE_NOT_FOUND", `Cannot find ${groupResourceOf(type)} "${formatKey(key)}": not found`, {
        context: { status: 404, reason: "NotFound" },
      });
    return object;
  }

  #hasStatus<T extends KubeObject>(type: ResourceType<T>): boolean {
    return this.#withStatus.has(groupResourceOf(type));
  }

  #needStatus<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): void {
    if (!this.#hasStatus(type))
      throw new DrayError("KUBE_NOT_FOUND", `Cannot find the status of ${groupResourceOf(type)} "${formatKey(key)}": the kind has no status subresource`);
  }

  #checkScope<T extends KubeObject>(type: ResourceType<T>, namespace: string | undefined): void {
    if (type.namespaced !== (namespace !== undefined)) {
      throw new DrayError(
        "KUBE_BAD_REQUEST",
        `Cannot create ${groupResourceOf(type)}: the kind is ${type.namespaced ? "namespaced and no namespace is given" : "cluster-scoped and a namespace is given"}`,
      );
    }
  }

  #withIdentity<T extends KubeObject>(type: ResourceType<T>, object: T): T {
    const { metadata } = object;
    return {
      apiVersion: apiVersionOf(type),
      kind: type.kind,
      ...object,
      metadata: {
        ...metadata,
        uid: metadata.uid ?? randomUuid(this.#random),
        creationTimestamp: metadata.creationTimestamp ?? formatTime(this.clock.nowMs()),
        generation: metadata.generation ?? 1,
      },
    };
  }

  /** A write to an object that is there: the version is compared, what the subresource does not own is kept, and an object without finalizers left goes. */
  #write<T extends KubeObject>(
    type: ResourceType<T>,
    key: ObjectKey,
    version: string | undefined,
    change: (before: T) => T,
    part: "spec" | "status",
    options: WriteOptions,
  ): T {
    const stored = this.#stored(type);
    const before = this.#need(type, key);
    if (version !== undefined && version !== before.metadata.resourceVersion) {
      throw new DrayError("KUBE_CONFLICT", `Cannot write ${groupResourceOf(type)} "${formatKey(key)}": the object has been modified`, {
        context: { status: 409, reason: "Conflict" },
      });
    }
    const wanted = clone(change(clone(before) as T)) as KubeObject & { status?: unknown };
    if (wanted.metadata.uid !== undefined && wanted.metadata.uid !== before.metadata.uid) {
      throw new DrayError(
        "KUBE_CONFLICT",
        `Cannot write ${groupResourceOf(type)} "${formatKey(key)}": its UID is ${before.metadata.uid}, not ${wanted.metadata.uid}`,
      );
    }
    const old = before as KubeObject & { status?: unknown };
    const after: KubeObject & { status?: unknown } = part === "status" ? { ...clone(old), status: wanted.status } : wanted;
    if (part === "spec" && this.#hasStatus(type)) {
      if (old.status === undefined) delete after.status;
      else after.status = clone(old.status);
    }
    const { uid, creationTimestamp, deletionTimestamp, generation } = before.metadata;
    after.apiVersion ??= before.apiVersion ?? apiVersionOf(type);
    after.kind ??= before.kind ?? type.kind;
    after.metadata = { ...after.metadata };
    Object.assign(after.metadata, { uid, creationTimestamp, generation });
    if (deletionTimestamp !== undefined) after.metadata.deletionTimestamp = deletionTimestamp;
    else delete after.metadata.deletionTimestamp;
    if (after.metadata.finalizers?.length === 0) delete after.metadata.finalizers;
    if (specOf(before) !== specOf(after)) after.metadata.generation = (generation ?? 1) + 1;
    return (options.dryRun === true ? after : this.#settle(stored, formatKey(key), before, after)) as T;
  }

  /** Commits a changed object, or removes it when it was only waiting for its last finalizer. */
  #settle(stored: Stored, key: string, before: KubeObject, after: KubeObject): KubeObject {
    if (after.metadata.deletionTimestamp !== undefined && (after.metadata.finalizers?.length ?? 0) === 0) {
      this.#drop(stored, key, before, after);
      return clone(after);
    }
    return isUnchanged(before, after) ? clone(before) : this.#commit(stored, key, before, after);
  }

  #remove(stored: Stored, key: string, object: KubeObject): void {
    if ((object.metadata.finalizers?.length ?? 0) === 0) {
      this.#drop(stored, key, object, object);
      return;
    }
    if (object.metadata.deletionTimestamp !== undefined) return;
    const after = clone(object);
    after.metadata.deletionTimestamp = formatTime(this.clock.nowMs());
    after.metadata.deletionGracePeriodSeconds = 0;
    this.#commit(stored, key, object, after);
  }

  #drop(stored: Stored, key: string, before: KubeObject, last: KubeObject): void {
    stored.objects.delete(key);
    stored.order.length = 0;
    const version = ++this.#version;
    this.#publish(stored, before, undefined, { ...clone(last), metadata: { ...last.metadata, resourceVersion: String(version) } }, version);
  }

  #commit(stored: Stored, key: string, before: KubeObject | undefined, object: KubeObject): KubeObject {
    const version = ++this.#version;
    const after = { ...clone(object), metadata: { ...clone(object.metadata), resourceVersion: String(version) } };
    if (before === undefined) stored.order.length = 0;
    stored.objects.set(key, after);
    this.#publish(stored, before, after, after, version);
    return clone(after);
  }

  #publish(stored: Stored, before: KubeObject | undefined, after: KubeObject | undefined, last: KubeObject, version: number): void {
    stored.history.push({ version, before, after, last });
    for (const wake of [...stored.watchers]) wake();
    const reactions = this.#reactions.get(groupResourceOf(stored.type)) ?? [];
    if (reactions.length === 0) return;
    // After the caller has its answer, as a controller of the cluster would act.
    queueMicrotask(() => {
      for (const reaction of reactions) reaction(clone(before), clone(after));
    });
  }
}
