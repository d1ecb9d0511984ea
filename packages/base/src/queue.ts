import { DrayError } from "./errors.ts";

/** Counts weight in flight against a limit. Waiters are served in order, so a heavy one is not starved by light ones. */
export class Semaphore {
  #limit: number;
  #used = 0;
  readonly #waiters: { weight: number; grant: () => void }[] = [];

  /** @param limit - the total weight that may be held at once, in whatever unit the caller counts */
  constructor(limit: number) {
    if (!(limit > 0)) throw new DrayError("INVARIANT", `Cannot create a semaphore: limit is ${limit}, more than 0 is wanted`);
    this.#limit = limit;
  }

  get limit(): number {
    return this.#limit;
  }

  get used(): number {
    return this.#used;
  }

  /**
   * Waits for `weight` and returns the function that gives it back (once; later calls do nothing).
   * A weight over the limit is granted alone, so that one large item passes instead of waiting for ever.
   */
  async acquire(weight = 1, signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    const held = Math.min(weight, this.#limit);
    if (this.#waiters.length > 0 || this.#used + held > this.#limit) {
      await new Promise<void>((resolve, reject) => {
        const waiter = {
          weight: held,
          grant: () => {
            signal?.removeEventListener("abort", onAbort);
            resolve();
          },
        };
        const onAbort = (): void => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          reject(signal?.reason);
          this.#serve();
        };
        signal?.addEventListener("abort", onAbort, { once: true });
        this.#waiters.push(waiter);
      });
    } else {
      this.#used += held;
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#used -= held;
      this.#serve();
    };
  }

  /** Runs `work` while holding `weight`. */
  async run<T>(work: () => Promise<T>, weight = 1, signal?: AbortSignal): Promise<T> {
    const release = await this.acquire(weight, signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Lets more be held from now on. */
  raise(limit: number): void {
    this.#limit = Math.max(this.#limit, limit);
    this.#serve();
  }

  #serve(): void {
    for (let next = this.#waiters[0]; next !== undefined && this.#used + next.weight <= this.#limit; next = this.#waiters[0]) {
      this.#waiters.shift();
      this.#used += next.weight;
      next.grant();
    }
  }
}

/**
 * Runs `work` over `items` with at most `limit` at once. The first failure stops the taking of new items; it is thrown after those under way have ended.
 * Items may be an async iterable, of which never more than `limit` are held.
 */
export async function forEachLimit<T>(
  items: AsyncIterable<T> | Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const slots = new Semaphore(limit);
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  try {
    for await (const item of items) {
      const release = await slots.acquire(1, signal);
      if (failures.length > 0) {
        release();
        break;
      }
      const task: Promise<void> = work(item)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => {
          release();
          running.delete(task);
        });
      running.add(task);
    }
  } finally {
    await Promise.all(running);
  }
  if (failures.length > 0) throw failures[0];
}

/** The results of `work` over `items`, in the order of the items, with at most `limit` at once. */
export async function mapLimit<T, R>(items: readonly T[], limit: number, work: (item: T) => Promise<R>, signal?: AbortSignal): Promise<R[]> {
  const results = new Array<R>(items.length);
  await forEachLimit(
    items.entries(),
    limit,
    async ([index, item]) => {
      results[index] = await work(item);
    },
    signal,
  );
  return results;
}
