/** Workers that call a reconcile for each key whose objects changed. */
import { type Clock, dispositionOf, errorFields, isAbort, type Logger, type RandomSource } from "@drayage/base";
import { formatKey, keyOf, parseKey } from "./resource.ts";
import type { Informer, KubeObject, ObjectKey, Reconcile } from "./types.ts";
import { Workqueue } from "./workqueue.ts";

/** A cache, and which keys a change in it concerns: the object's own when `toKeys` is left out. */
export interface ControllerSource<T extends KubeObject = KubeObject> {
  readonly informer: Informer<T>;
  readonly toKeys?: (object: T) => readonly ObjectKey[];
  /** Changes that matter; all when left out. */
  readonly when?: (before: T | undefined, after: T | undefined) => boolean;
}

export interface StartControllerOptions {
  /** In every line of its log. */
  readonly name: string;
  readonly sources: readonly ControllerSource[];
  readonly reconcile: Reconcile;
  /** Reconciles under way at once, never two of the same key; 1 when left out. */
  readonly workers?: number;
  /** Every key of the first source is queued again after this long, whatever was seen; not at all when left out. */
  readonly resyncMs?: number;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

export interface Controller {
  /** Queues a key, now or after a while. */
  enqueue(key: ObjectKey, afterMs?: number): void;
  /** Resolves when nothing waits and nothing is worked on (what is due later does not count). */
  idle(): Promise<void>;
  /** Ends the taking of keys and waits for the reconciles under way, which see their signal aborted. Caches are their owner's to stop. */
  stop(): Promise<void>;
}

/** A failure that waits for somebody (`wait`) is tried again at this pace; one that is final or a defect at the second. */
const WAITING_MS = 30_000;
const HOPELESS_MS = 300_000;

/** Adapts a typed source, whose handlers want its own kind. */
export function source<T extends KubeObject>(informer: Informer<T>, options: Omit<ControllerSource<T>, "informer"> = {}): ControllerSource {
  return { informer, ...options } as unknown as ControllerSource;
}

/** Starts the workers once every cache has its first list. */
export function startController(options: StartControllerOptions): Controller {
  const { clock, random, reconcile } = options;
  const logger = options.logger.child({ controller: options.name });
  const queue = new Workqueue({ clock, random });
  const ending = new AbortController();
  const idlers: (() => void)[] = [];
  const stopHandlers = options.sources.map(({ informer, toKeys, when }) =>
    informer.onChange((before, after) => {
      if (when?.(before, after) === false) return;
      for (const object of [after, before]) {
        if (object === undefined) continue;
        for (const key of toKeys?.(object) ?? [keyOf(object)]) queue.add(formatKey(key));
        // Its own key is the same before and after; keys that a source maps to may differ, and both are concerned.
        if (toKeys === undefined) break;
      }
    }),
  );

  const settleIdle = (): void => {
    if (queue.length === 0 && queue.working === 0) for (const resolve of idlers.splice(0)) resolve();
  };

  const work = async (): Promise<void> => {
    for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
      try {
        const { requeueAfterMs } = await reconcile(parseKey(key), ending.signal);
        queue.forget(key);
        if (requeueAfterMs !== undefined) queue.addAfter(key, requeueAfterMs);
      } catch (error) {
        if (!isAbort(error, ending.signal)) putOff(key, error);
      } finally {
        queue.done(key);
        settleIdle();
      }
    }
  };

  const putOff = (key: string, error: unknown): void => {
    const disposition = dispositionOf(error);
    const floorMs = disposition === "retry" ? 0 : disposition === "wait" ? WAITING_MS : HOPELESS_MS;
    // The first failures come quickly again whatever they are: a change by another hand is the most frequent cause.
    const delayMs = queue.addFailed(key, queue.failures(key) < 3 ? 0 : floorMs);
    const fields = { key, ...errorFields(error), disposition, delayMs: Math.round(delayMs), failures: queue.failures(key) };
    if (disposition === "retry") logger.debug("Reconcile failed and is tried again", fields);
    else if (disposition === "bug") logger.error("Reconcile failed by a defect", { ...fields, stack: error instanceof Error ? error.stack : undefined });
    else logger.warn("Reconcile failed", fields);
  };

  const resync = async (): Promise<void> => {
    if (options.resyncMs === undefined) return;
    const [first] = options.sources;
    while (!ending.signal.aborted) {
      await clock.sleep(options.resyncMs, ending.signal);
      for (const object of first?.informer.list() ?? []) for (const key of first?.toKeys?.(object) ?? [keyOf(object)]) queue.add(formatKey(key));
    }
  };

  const running = (async () => {
    try {
      for (const { informer } of options.sources) await informer.synced(ending.signal);
      await Promise.all([...Array.from({ length: options.workers ?? 1 }, work), resync()]);
    } catch (error) {
      if (!ending.signal.aborted) logger.error("The controller ended", errorFields(error));
    }
  })();

  return {
    enqueue: (key, afterMs = 0) => queue.addAfter(formatKey(key), afterMs),
    idle: () =>
      new Promise((resolve) => {
        idlers.push(resolve);
        settleIdle();
      }),
    stop: async () => {
      ending.abort(new DOMException(`Controller ${options.name} was stopped`, "AbortError"));
      for (const stop of stopHandlers) stop();
      queue.close();
      await running;
    },
  };
}
