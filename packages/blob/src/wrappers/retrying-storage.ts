import {
  asBuffer,
  type Clock,
  concat,
  equalBytes,
  errorFields,
  hasCode,
  type Logger,
  nullLogger,
  type RandomSource,
  type RetryPolicy,
  retry,
  storageRetry,
} from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";

export interface RetryingOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger?: Logger;
  /** Kopia's figures when left out. */
  readonly policy?: RetryPolicy;
}

/**
 * The one place that retries: calls whose error may pass are made again with growing pauses. Everything else goes through as it is.
 * `close` ends calls under way: work that several share has no signal of theirs, and would otherwise go on for as long as its retries last, and the process with it.
 */
export class RetryingStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  readonly #options: RetryingOptions;
  readonly #closing = new AbortController();

  constructor(inner: BlobStorage, options: RetryingOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array> {
    return this.#retry("get", options?.signal, (signal) => this.#inner.get(id, { ...options, signal }));
  }

  head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    return this.#retry("head", signal, (either) => this.#inner.head(id, either));
  }

  put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    return this.#retry("put", options?.signal, async (signal, attempt) => {
      try {
        await this.#inner.put(id, data, { ...options, signal });
      } catch (error) {
        // A try before this one may have been applied although its answer was lost: then the blob that is in the way is ours.
        if (attempt > 1 && hasCode(error, "BLOB_ALREADY_EXISTS") && (await this.#holds(id, data, signal))) return;
        throw error;
      }
    });
  }

  delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    return this.#retry("delete", signal, (either) => this.#inner.delete(id, either));
  }

  /** A listing that breaks off is begun again and what was given out already is passed over. */
  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const either = this.#either(signal);
    let last: BlobId | undefined;
    let running: AsyncIterator<BlobMetadata> | undefined;
    const next = async (): Promise<IteratorResult<BlobMetadata>> => {
      running ??= this.#inner.list(prefix, either)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const result = await running.next();
          if (result.done === true || last === undefined || result.value.id > last) return result;
        }
      } catch (error) {
        running = undefined;
        throw error;
      }
    };
    try {
      for (;;) {
        const result = await retryLogged(this.#options, this.description, "list", either, next);
        if (result.done === true) return;
        last = result.value.id;
        yield result.value;
      }
    } finally {
      await running?.return?.();
    }
  }

  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    return this.#retry("extendRetention", signal, (either) => this.#inner.extendRetention(id, retention, either));
  }

  close(): Promise<void> {
    this.#closing.abort(new DOMException("The storage was closed", "AbortError"));
    return this.#inner.close();
  }

  async #holds(id: BlobId, data: Uint8Array | readonly Uint8Array[], signal: AbortSignal): Promise<boolean> {
    const stored = await this.#inner.get(id, { signal });
    return equalBytes(asBuffer(stored), data instanceof Uint8Array ? data : concat(data));
  }

  #retry<T>(operation: string, signal: AbortSignal | undefined, work: (signal: AbortSignal, attempt: number) => Promise<T>): Promise<T> {
    const either = this.#either(signal);
    return retryLogged(this.#options, this.description, operation, either, (attempt) => work(either, attempt));
  }

  /** Aborted by the caller or by `close`. */
  #either(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
  }
}

/** `retry` with a line in the log for each further attempt. */
export function retryLogged<T>(
  options: RetryingOptions,
  place: string,
  operation: string,
  signal: AbortSignal | undefined,
  work: (attempt: number) => Promise<T>,
): Promise<T> {
  const { clock, random, policy = storageRetry, logger = nullLogger } = options;
  return retry(work, {
    clock,
    random,
    policy,
    ...(signal === undefined ? {} : { signal }),
    onRetry: (error, attempt, delayMs) =>
      logger.warn("storage call failed; trying again", { place, operation, attempt, delayMs: Math.round(delayMs), ...errorFields(error) }),
  });
}
