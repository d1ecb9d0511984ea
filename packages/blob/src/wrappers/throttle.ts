import type { Clock } from "@drayage/base";

/** Averages that are not exceeded, and calls at once. 0 or left out: no limit. */
export interface ThrottleLimits {
  readonly uploadBytesPerSecond?: number;
  readonly downloadBytesPerSecond?: number;
  /** Gets and heads. */
  readonly readsPerSecond?: number;
  /** Puts, deletes and extensions of locks. */
  readonly writesPerSecond?: number;
  /** Pages of listings, of a thousand blobs each. */
  readonly listsPerSecond?: number;
  /** Gets and heads under way. */
  readonly concurrentReads?: number;
  /** Puts, deletes and extensions of locks under way. */
  readonly concurrentWrites?: number;
}

export interface ThrottleOptions extends ThrottleLimits {
  readonly clock: Clock;
  /** Where limits are looked up that others may change meanwhile; asked at most once a second, by calls that come or wait. It returns what holds now, and never throws. */
  readonly follow?: () => ThrottleLimits;
}

const FOLLOW_EVERY_MS = 1_000;
const RATES = ["uploadBytesPerSecond", "downloadBytesPerSecond", "readsPerSecond", "writesPerSecond", "listsPerSecond"] as const;
type RateName = (typeof RATES)[number];

/** Keeps rates of bytes and requests under limits, for all stores that share it. The limits may be changed while calls wait. One second's worth may go at once. */
export class Throttle {
  readonly #clock: Clock;
  readonly #follow: (() => ThrottleLimits) | undefined;
  readonly #rates: Readonly<Record<RateName, RateLimit>>;
  readonly #reads = new ConcurrencyLimit();
  readonly #writes = new ConcurrencyLimit();
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(options: ThrottleOptions) {
    this.#clock = options.clock;
    this.#follow = options.follow;
    const look = options.follow === undefined ? undefined : (): void => this.#lookUp();
    this.#rates = Object.fromEntries(RATES.map((name) => [name, new RateLimit(options.clock, look)])) as Record<RateName, RateLimit>;
    this.setLimits(options);
  }

  /** From now on these hold, all of them; calls that wait are measured anew. */
  setLimits(limits: ThrottleLimits): void {
    for (const name of RATES) this.#rates[name].setRate(limits[name] ?? 0);
    this.#reads.setLimit(limits.concurrentReads ?? 0);
    this.#writes.setLimit(limits.concurrentWrites ?? 0);
  }

  /** A request that reads. What it brings is known only afterwards, so it delays the next one. */
  async read<T>(bytesOf: (result: T) => number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#lookUp();
    await this.#rates.readsPerSecond.take(1, signal);
    await this.#rates.downloadBytesPerSecond.take(0, signal);
    return await this.#reads.run(async () => {
      const result = await work();
      this.downloaded(bytesOf(result));
      return result;
    }, signal);
  }

  /** A request that changes something and sends `bytes`. */
  async write<T>(bytes: number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#lookUp();
    await this.#rates.writesPerSecond.take(1, signal);
    await this.#rates.uploadBytesPerSecond.take(bytes, signal);
    return await this.#writes.run(work, signal);
  }

  /** A page of a listing. */
  async list(signal?: AbortSignal): Promise<void> {
    this.#lookUp();
    await this.#rates.listsPerSecond.take(1, signal);
  }

  /** Counts what came in without a request of its own: pieces of a stream. */
  downloaded(bytes: number): void {
    this.#rates.downloadBytesPerSecond.spend(bytes);
  }

  /** Resolves when more may come in. */
  async room(signal?: AbortSignal): Promise<void> {
    await this.#rates.downloadBytesPerSecond.take(0, signal);
  }

  #lookUp(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#follow === undefined || nowMs - this.#askedMs < FOLLOW_EVERY_MS) return;
    this.#askedMs = nowMs;
    this.setLimits(this.#follow());
  }
}

/** A token bucket that may go into debt: whoever comes while it is in debt waits until it is paid. */
class RateLimit {
  readonly #clock: Clock;
  readonly #look: (() => void) | undefined;
  #perSecond = 0;
  #tokens = 0;
  #updatedMs: number;
  #change = new AbortController();

  constructor(clock: Clock, look: (() => void) | undefined) {
    this.#clock = clock;
    this.#look = look;
    this.#updatedMs = clock.monotonicMs();
  }

  setRate(perSecond: number): void {
    if (perSecond === this.#perSecond) return;
    this.#refill();
    // Debts stay: what was sent was sent. Out of no limit one starts with a second's worth.
    this.#tokens = this.#perSecond === 0 ? perSecond : Math.min(this.#tokens, perSecond);
    this.#perSecond = perSecond;
    const change = this.#change;
    this.#change = new AbortController();
    change.abort();
  }

  spend(amount: number): void {
    if (this.#perSecond === 0) return;
    this.#refill();
    this.#tokens -= amount;
  }

  /** Waits until there is no debt, then takes `amount` into it. */
  async take(amount: number, signal?: AbortSignal): Promise<void> {
    while (this.#perSecond > 0) {
      this.#refill();
      if (this.#tokens >= 0) break;
      const changed = this.#change.signal;
      const debtMs = Math.ceil((-this.#tokens / this.#perSecond) * 1000);
      try {
        // Limits that others may change are looked up while one waits: a debt of hours would otherwise outlast the wish for it.
        const waitMs = this.#look === undefined ? debtMs : Math.min(debtMs, FOLLOW_EVERY_MS);
        await this.#clock.sleep(waitMs, signal === undefined ? changed : AbortSignal.any([signal, changed]));
      } catch (error) {
        signal?.throwIfAborted();
        if (!changed.aborted) throw error;
      }
      this.#look?.();
    }
    this.spend(amount);
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((nowMs - this.#updatedMs) / 1000) * this.#perSecond);
    this.#updatedMs = nowMs;
  }
}

/** Calls under way, at most `limit` of them; those that wait go in the order in which they came. */
class ConcurrencyLimit {
  #limit = 0;
  #running = 0;
  readonly #waiting = new Set<() => void>();

  setLimit(limit: number): void {
    this.#limit = limit;
    this.#admit();
  }

  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#isFull() || this.#waiting.size > 0) await this.#turn(signal);
    else this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
      this.#admit();
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const admit = (): void => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const abort = (): void => {
        this.#waiting.delete(admit);
        reject(signal?.reason);
      };
      this.#waiting.add(admit);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  #admit(): void {
    for (const admit of this.#waiting) {
      if (this.#isFull()) return;
      this.#waiting.delete(admit);
      this.#running++;
      admit();
    }
  }

  #isFull(): boolean {
    return this.#limit > 0 && this.#running >= this.#limit;
  }
}
