/**
 * Caches that everybody who works with one client shares: one list and one watch for each kind and process, however many controllers look at it.
 *
 * Invariants:
 * - A cache is begun when it is first asked for and kept until the sharing ends, so that its kind is listed once.
 * - Within a namespace the kind is kept whole, and whoever asks for a part of it by labels sees that part: an object that comes to fit was not there before, one that ceases to fit is gone.
 *   Across namespaces a part has a cache of its own, since the whole may be without bound.
 * - Objects are the same for all who look, so nobody changes one.
 */
import { DrayError } from "@drayage/base";
import { type CachedInformer, newInformer, type StartInformerOptions } from "./informer.ts";
import { groupResourceOf } from "./resource.ts";
import { matchesLabels, parseLabelSelector } from "./selector.ts";
import type { Informer, KubeObject, ObjectKey, ResourceType } from "./types.ts";

type ChangeHandler<T> = (before: T | undefined, after: T | undefined) => void;

const sharing = new WeakMap<object, Map<string, CachedInformer<KubeObject>>>();

/** From now on informers that are started over this client share caches. Returns the function that ends these; what is started afterwards has its own again. */
export function shareInformers(client: StartInformerOptions<KubeObject>["client"]): () => void {
  const caches = new Map<string, CachedInformer<KubeObject>>();
  sharing.set(client, caches);
  return () => {
    sharing.delete(client);
    for (const cache of caches.values()) cache.stop();
  };
}

/**
 * Starts to fill and keep a cache, or to look into the one that is shared over this client (`shareInformers`). It runs until `stop`.
 * A selection by fields, an index or a transform is somebody's own: such a cache is not shared.
 */
export function startInformer<T extends KubeObject>(type: ResourceType<T>, options: StartInformerOptions<T>): Informer<T> {
  const caches = sharing.get(options.client);
  const isOwn = options.fieldSelector !== undefined || options.indexes !== undefined || options.transform !== undefined;
  if (caches === undefined || isOwn) return newInformer(type, options);
  const { labelSelector, ...rest } = options;
  const isPart = labelSelector !== undefined && options.namespace !== undefined;
  const key = [groupResourceOf(type), options.namespace ?? "", isPart ? "" : (labelSelector ?? "")].join(" ");
  const cache = (caches.get(key) ?? newInformer(type, isPart ? rest : options)) as CachedInformer<T>;
  caches.set(key, cache as unknown as CachedInformer<KubeObject>);
  return new InformerView(cache, isPart ? labelSelector : undefined);
}

/** What one user sees of a shared cache. */
class InformerView<T extends KubeObject> implements Informer<T> {
  readonly type: ResourceType<T>;
  readonly #cache: Informer<T>;
  readonly #fits: (object: T) => boolean;
  readonly #ends = new Set<() => void>();
  readonly #ended = Promise.withResolvers<never>();

  constructor(cache: Informer<T>, labelSelector: string | undefined) {
    this.type = cache.type;
    this.#cache = cache;
    const selector = labelSelector === undefined ? undefined : parseLabelSelector(labelSelector);
    this.#fits = selector === undefined ? () => true : ({ metadata }) => matchesLabels(selector, metadata.labels);
    // Nobody may be waiting when it is stopped.
    this.#ended.promise.catch(() => undefined);
  }

  async synced(signal?: AbortSignal): Promise<void> {
    await Promise.race([this.#cache.synced(signal), this.#ended.promise]);
  }

  get(key: ObjectKey): T | undefined {
    const object = this.#cache.get(key);
    return object !== undefined && this.#fits(object) ? object : undefined;
  }

  list(namespace?: string): readonly T[] {
    return this.#cache.list(namespace).filter(this.#fits);
  }

  byIndex(index: string): readonly T[] {
    throw new DrayError("INVARIANT", `Cannot look into index "${index}" of ${groupResourceOf(this.type)}: there is none`);
  }

  onChange(handler: ChangeHandler<T>): () => void {
    const seen = (object: T | undefined): T | undefined => (object !== undefined && this.#fits(object) ? object : undefined);
    const end = this.#cache.onChange((before, after) => {
      const [was, is] = [seen(before), seen(after)];
      if (was !== undefined || is !== undefined) handler(was, is);
    });
    const ending = (): void => {
      end();
      this.#ends.delete(ending);
    };
    this.#ends.add(ending);
    return ending;
  }

  stop(): void {
    for (const end of [...this.#ends]) end();
    this.#ended.reject(new DrayError("INVARIANT", `Cannot wait for ${groupResourceOf(this.type)}: the cache was stopped`));
  }
}
