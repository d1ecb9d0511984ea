import type { Clock } from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";

/** Averages that are not exceeded. 0 or left out: no limit. */
export interface ThrottleLimits {
  readonly uploadBytesPerSecond?: number;
  readonly downloadBytesPerSecond?: number;
  /** Gets and heads. */
  readonly readsPerSecond?: number;
  /** Puts, deletes and extensions of locks. */
  readonly writesPerSecond?: number;
  /** Pages of listings, of a thousand blobs each. */
  readonly listsPerSecond?: number;
}

export interface ThrottleOptions extends ThrottleLimits {
  readonly clock: Clock;
}

const PAGE = 1000;

/**
 * Keeps the average rates of bytes in each direction and of requests under limits, which may be changed while calls wait. A put waits before it is sent; what a get costs is known
 * only afterwards, so it delays the next one. One second's worth may go at once.
 */
export class ThrottledStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  readonly #rates: Record<keyof ThrottleLimits, RateLimit>;

  constructor(inner: BlobStorage, options: ThrottleOptions) {
    this.#inner = inner;
    const rate = (): RateLimit => new RateLimit(options.clock);
    this.#rates = { uploadBytesPerSecond: rate(), downloadBytesPerSecond: rate(), readsPerSecond: rate(), writesPerSecond: rate(), listsPerSecond: rate() };
    this.setLimits(options);
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  /** From now on these hold, all of them; calls that wait are measured anew. */
  setLimits(limits: ThrottleLimits): void {
    for (const [name, rate] of Object.entries(this.#rates)) rate.setRate(limits[name as keyof ThrottleLimits] ?? 0);
  }

  async get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array> {
    await this.#rates.readsPerSecond.take(1, options?.signal);
    await this.#rates.downloadBytesPerSecond.take(0, options?.signal);
    const bytes = await this.#inner.get(id, options);
    this.#rates.downloadBytesPerSecond.spend(bytes.length);
    return bytes;
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    await this.#rates.readsPerSecond.take(1, signal);
    return await this.#inner.head(id, signal);
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    const length = data instanceof Uint8Array ? data.length : data.reduce((sum, part) => sum + part.length, 0);
    await this.#rates.writesPerSecond.take(1, options?.signal);
    await this.#rates.uploadBytesPerSecond.take(length, options?.signal);
    await this.#inner.put(id, data, options);
  }

  async delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    await this.#rates.writesPerSecond.take(1, signal);
    await this.#inner.delete(id, signal);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    let seen = 0;
    await this.#rates.listsPerSecond.take(1, signal);
    for await (const blob of this.#inner.list(prefix, signal)) {
      if (++seen % PAGE === 0) await this.#rates.listsPerSecond.take(1, signal);
      yield blob;
    }
  }

  async extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    await this.#rates.writesPerSecond.take(1, signal);
    await this.#inner.extendRetention(id, retention, signal);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** A token bucket that may go into debt: whoever comes while it is in debt waits until it is paid. */
class RateLimit {
  readonly #clock: Clock;
  #perSecond = 0;
  #tokens = 0;
  #updatedMs: number;
  #change = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
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
      try {
        await this.#clock.sleep(Math.ceil((-this.#tokens / this.#perSecond) * 1000), signal === undefined ? changed : AbortSignal.any([signal, changed]));
      } catch (error) {
        signal?.throwIfAborted();
        if (!changed.aborted) throw error;
      }
    }
    this.spend(amount);
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((nowMs - this.#updatedMs) / 1000) * this.#perSecond);
    this.#updatedMs = nowMs;
  }
}
