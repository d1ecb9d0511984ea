import type { Clock } from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";

export interface ThrottleOptions {
  readonly clock: Clock;
  /** 0 or left out: no limit. */
  readonly uploadBytesPerSecond?: number;
  readonly downloadBytesPerSecond?: number;
}

/**
 * Keeps the average rate of bytes under a limit in each direction. A put waits before it is sent; what a get costs is known only afterwards, so it delays the next one.
 * One second's worth may go at once.
 */
export class ThrottledStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  readonly #up: RateLimit;
  readonly #down: RateLimit;

  constructor(inner: BlobStorage, options: ThrottleOptions) {
    this.#inner = inner;
    this.#up = new RateLimit(options.clock, options.uploadBytesPerSecond ?? 0);
    this.#down = new RateLimit(options.clock, options.downloadBytesPerSecond ?? 0);
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  async get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array> {
    await this.#down.wait(options?.signal);
    const bytes = await this.#inner.get(id, options);
    this.#down.spend(bytes.length);
    return bytes;
  }

  head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    return this.#inner.head(id, signal);
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    await this.#up.wait(options?.signal);
    this.#up.spend(data instanceof Uint8Array ? data.length : data.reduce((sum, part) => sum + part.length, 0));
    await this.#inner.put(id, data, options);
  }

  delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    return this.#inner.delete(id, signal);
  }

  list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    return this.#inner.list(prefix, signal);
  }

  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    return this.#inner.extendRetention(id, retention, signal);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

/** A token bucket that may go into debt: whoever comes while it is in debt waits until it is paid. */
class RateLimit {
  readonly #clock: Clock;
  readonly #perSecond: number;
  #tokens: number;
  #updatedMs: number;

  constructor(clock: Clock, perSecond: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
    this.#updatedMs = clock.monotonicMs();
  }

  spend(bytes: number): void {
    this.#refill();
    this.#tokens -= bytes;
  }

  async wait(signal?: AbortSignal): Promise<void> {
    if (this.#perSecond === 0) return;
    for (;;) {
      this.#refill();
      if (this.#tokens >= 0) return;
      await this.#clock.sleep(Math.ceil((-this.#tokens / this.#perSecond) * 1000), signal);
    }
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#perSecond, this.#tokens + ((nowMs - this.#updatedMs) / 1000) * this.#perSecond);
    this.#updatedMs = nowMs;
  }
}
