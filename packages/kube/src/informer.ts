/**
 * A cache of one kind, kept by list and watch.
 *
 * Invariants:
 * - A handler sees changes of one object in order, and what `get` returns is never older than what the last handler was given.
 * - An object that was deleted and made again while nobody watched is seen as gone, then as new: its UID says so.
 * - Trouble never ends the loop; it backs off with jitter and starts again from the last version known, or from a new list when that one is too old.
 */
import { type Clock, DrayError, errorFields, hasCode, isAbort, type Logger, type RandomSource } from "@drayage/base";
import { LIST_PAGE_SIZE } from "./list-all.ts";
import { formatKey, groupResourceOf } from "./resource.ts";
import type { Informer, InformerOptions, KubeClient, KubeObject, ObjectKey, ResourceType } from "./types.ts";

export interface StartInformerOptions<T extends KubeObject> extends InformerOptions<T> {
  readonly client: Pick<KubeClient, "list" | "watch">;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

type ChangeHandler<T> = (before: T | undefined, after: T | undefined) => void;

/** A watch lasts between one and two times this, so that a thousand informers do not come back at once. */
const WATCH_SECONDS = 300;
const BACKOFF_FIRST_MS = 200;
const BACKOFF_MAX_MS = 30_000;

/** A cache of its own, whatever others keep; see shared-informers.ts for the one that is shared. It runs until `stop`. */
export function newInformer<T extends KubeObject>(type: ResourceType<T>, options: StartInformerOptions<T>): CachedInformer<T> {
  return new CachedInformer(type, options);
}

export class CachedInformer<T extends KubeObject> implements Informer<T> {
  readonly type: ResourceType<T>;
  readonly #options: StartInformerOptions<T>;
  readonly #objects = new Map<string, T>();
  readonly #byNamespace = new Map<string, Map<string, T>>();
  readonly #indexes = new Map<string, Map<string, Set<string>>>();
  readonly #handlers = new Set<ChangeHandler<T>>();
  readonly #ending = new AbortController();
  readonly #firstList = Promise.withResolvers<void>();
  readonly #logger: Logger;

  constructor(type: ResourceType<T>, options: StartInformerOptions<T>) {
    this.type = type;
    this.#options = options;
    this.#logger = options.logger.child({ resource: groupResourceOf(type) });
    for (const index of Object.keys(options.indexes ?? {})) this.#indexes.set(index, new Map());
    // Nobody may be waiting when it is stopped before its first list.
    this.#firstList.promise.catch(() => undefined);
    void this.#run();
  }

  async synced(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (signal === undefined) return this.#firstList.promise;
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await Promise.race([this.#firstList.promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  get(key: ObjectKey): T | undefined {
    return this.#objects.get(formatKey(key));
  }

  list(namespace?: string): readonly T[] {
    return [...(namespace === undefined ? this.#objects : (this.#byNamespace.get(namespace) ?? new Map<string, T>())).values()];
  }

  byIndex(index: string, value: string): readonly T[] {
    const keys = this.#indexes.get(index);
    if (keys === undefined) throw new DrayError("INVARIANT", `Cannot look into index "${index}" of ${groupResourceOf(this.type)}: there is none`);
    return [...(keys.get(value) ?? [])].flatMap((key) => this.#objects.get(key) ?? []);
  }

  onChange(handler: ChangeHandler<T>): () => void {
    this.#handlers.add(handler);
    for (const object of [...this.#objects.values()]) this.#call(handler, undefined, object);
    return () => this.#handlers.delete(handler);
  }

  stop(): void {
    this.#ending.abort(new DrayError("INVARIANT", `Cannot wait for ${groupResourceOf(this.type)}: the cache was stopped`));
    this.#firstList.reject(this.#ending.signal.reason);
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#ending;
    let version: string | undefined;
    let delayMs = BACKOFF_FIRST_MS;
    while (!signal.aborted) {
      const startedMs = clock.monotonicMs();
      try {
        version ??= await this.#relist(signal);
        for await (const next of this.#follow(version, signal)) {
          version = next;
          delayMs = BACKOFF_FIRST_MS;
        }
        // The server ended it in order. One that ends every watch at once is not asked in a tight loop.
        if (clock.monotonicMs() - startedMs < 1_000) await clock.sleep(BACKOFF_FIRST_MS, signal);
        continue;
      } catch (error) {
        if (isAbort(error, signal)) break;
        if (hasCode(error, "KUBE_GONE")) version = undefined;
        this.#logger[version === undefined && hasCode(error, "KUBE_GONE") ? "debug" : "warn"]("Watch ended; it is started again", errorFields(error));
      }
      try {
        await clock.sleep(delayMs * (0.5 + random.fraction() / 2), signal);
      } catch {
        break;
      }
      delayMs = Math.min(delayMs * 2, BACKOFF_MAX_MS);
    }
  }

  /** Brings the cache to what a consistent list says and returns the list's version. */
  async #relist(signal: AbortSignal): Promise<string> {
    const { client, namespace, labelSelector, fieldSelector } = this.#options;
    const listed = new Map<string, T>();
    let token: string | undefined;
    let version = "";
    do {
      const page = await client.list(this.type, {
        namespace,
        labelSelector,
        fieldSelector,
        limit: LIST_PAGE_SIZE,
        signal,
        ...(token === undefined ? {} : { continue: token }),
      });
      for (const item of page.items) listed.set(keyText(item), this.#prepare(item));
      version = page.metadata.resourceVersion ?? version;
      token = page.metadata.continue === "" ? undefined : page.metadata.continue;
    } while (token !== undefined);
    for (const key of [...this.#objects.keys()]) if (!listed.has(key)) this.#remove(key);
    for (const object of listed.values()) this.#store(object);
    this.#firstList.resolve();
    return version;
  }

  /** One watch; yields the version reached after each event. */
  async *#follow(from: string, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    const { client, random, namespace, labelSelector, fieldSelector } = this.#options;
    const events = client.watch(this.type, {
      namespace,
      labelSelector,
      fieldSelector,
      resourceVersion: from,
      timeoutSeconds: Math.round(WATCH_SECONDS * (1 + random.fraction())),
      signal,
    });
    for await (const event of events) {
      // An event that was on its way when the cache was stopped must not reach a handler.
      if (signal.aborted) return;
      if (event.type === "BOOKMARK") {
        if (event.resourceVersion !== "") yield event.resourceVersion;
        continue;
      }
      if (event.type === "DELETED") this.#remove(keyText(event.object), event.object);
      else this.#store(this.#prepare(event.object));
      if (event.object.metadata.resourceVersion !== undefined) yield event.object.metadata.resourceVersion;
    }
  }

  #prepare(object: T): T {
    delete object.metadata.managedFields;
    return this.#options.transform?.(object) ?? object;
  }

  #store(object: T): void {
    const key = keyText(object);
    const before = this.#objects.get(key);
    if (before !== undefined && before.metadata.uid !== object.metadata.uid) {
      this.#remove(key);
      this.#store(object);
      return;
    }
    if (before !== undefined && before.metadata.resourceVersion === object.metadata.resourceVersion) return;
    this.#objects.set(key, object);
    const { namespace } = object.metadata;
    if (namespace !== undefined) {
      const members = this.#byNamespace.get(namespace) ?? new Map<string, T>();
      this.#byNamespace.set(namespace, members.set(key, object));
    }
    this.#reindex(key, before, object);
    this.#notify(before, object);
  }

  /** `last` is the state at deletion, which the server sends with the event. */
  #remove(key: string, last?: T): void {
    const before = this.#objects.get(key);
    // A deletion of an earlier life of the name is not one of the object that is here.
    if (before === undefined || (last !== undefined && last.metadata.uid !== before.metadata.uid)) return;
    this.#objects.delete(key);
    const { namespace } = before.metadata;
    if (namespace !== undefined) {
      const members = this.#byNamespace.get(namespace);
      members?.delete(key);
      if (members?.size === 0) this.#byNamespace.delete(namespace);
    }
    this.#reindex(key, before, undefined);
    this.#notify(last === undefined ? before : this.#prepare(last), undefined);
  }

  #reindex(key: string, before: T | undefined, after: T | undefined): void {
    for (const [index, valuesOf] of Object.entries(this.#options.indexes ?? {})) {
      const entries = this.#indexes.get(index);
      if (entries === undefined) continue;
      for (const value of before === undefined ? [] : valuesOf(before)) {
        const keys = entries.get(value);
        keys?.delete(key);
        if (keys?.size === 0) entries.delete(value);
      }
      for (const value of after === undefined ? [] : valuesOf(after)) {
        const keys = entries.get(value) ?? new Set<string>();
        entries.set(value, keys.add(key));
      }
    }
  }

  #notify(before: T | undefined, after: T | undefined): void {
    for (const handler of [...this.#handlers]) this.#call(handler, before, after);
  }

  /** One handler's defect must not end the cache of the others. */
  #call(handler: ChangeHandler<T>, before: T | undefined, after: T | undefined): void {
    try {
      handler(before, after);
    } catch (error) {
      this.#logger.error("A handler of changes failed", errorFields(error));
    }
  }
}

function keyText(object: KubeObject): string {
  return formatKey({ namespace: object.metadata.namespace, name: object.metadata.name ?? "" });
}
