import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";
import { Throttle, type ThrottleLimits, type ThrottleOptions } from "./throttle.ts";

const PAGE = 1000;

/** Keeps the rates of bytes in each direction and of requests under limits, which may be changed while calls wait. */
export class ThrottledStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  readonly #throttle: Throttle;

  /** @param throttle - one that several stores share, or the options of one of its own */
  constructor(inner: BlobStorage, throttle: Throttle | ThrottleOptions) {
    this.#inner = inner;
    this.#throttle = throttle instanceof Throttle ? throttle : new Throttle(throttle);
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  /** From now on these hold, all of them; calls that wait are measured anew. */
  setLimits(limits: ThrottleLimits): void {
    this.#throttle.setLimits(limits);
  }

  get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array> {
    return this.#throttle.read(
      ({ length }) => length,
      () => this.#inner.get(id, options),
      options?.signal,
    );
  }

  head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    return this.#throttle.read(
      () => 0,
      () => this.#inner.head(id, signal),
      signal,
    );
  }

  put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    const length = data instanceof Uint8Array ? data.length : data.reduce((sum, part) => sum + part.length, 0);
    return this.#throttle.write(length, () => this.#inner.put(id, data, options), options?.signal);
  }

  delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    return this.#throttle.write(0, () => this.#inner.delete(id, signal), signal);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    let seen = 0;
    await this.#throttle.list(signal);
    for await (const blob of this.#inner.list(prefix, signal)) {
      if (++seen % PAGE === 0) await this.#throttle.list(signal);
      yield blob;
    }
  }

  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    return this.#throttle.write(0, () => this.#inner.extendRetention(id, retention, signal), signal);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
