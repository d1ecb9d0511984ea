import { type Clock, errorFields, hasCode, type Logger } from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";

export interface RenewingOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The storage under other credentials than those used last; undefined while there are none. */
  readonly renew: () => Promise<BlobStorage | undefined>;
  /** How long other credentials are waited for. @default 5 minutes: what a node-agent and a kubelet take to bring a changed Secret into a pod, twice */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 5 * 60_000;
const LOOK_EVERY_MS = 5_000;
/** Keys may be changed again while a call waits for them; a store that refuses everything is not asked for ever. */
const RENEWALS_OF_A_CALL_MAX = 3;

/**
 * Goes on with other credentials when a store refuses those that it took before: keys are rotated, and tokens run out, while an upload of hours is under way. Calls that find themselves
 * refused wait together, and are made again. A store that refused the first call keeps refusing: those credentials never were good.
 *
 * Deleting and locking are made again only when there are other credentials already: a store may permit everything else and never these, and nothing waits for them.
 */
export class RenewingStorage implements BlobStorage {
  readonly #options: RenewingOptions;
  readonly #closing = new AbortController();
  /** The last is used; calls may still be under way in those before. */
  readonly #storages: [BlobStorage, ...BlobStorage[]];
  #worked = false;
  #renewing: Promise<boolean> | undefined;
  /** Of the storage for which other credentials were waited for in vain. */
  #givenUp: BlobStorage | undefined;

  constructor(inner: BlobStorage, options: RenewingOptions) {
    this.#storages = [inner];
    this.#options = options;
  }

  get description(): string {
    return this.#current.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#current.capabilities;
  }

  get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array> {
    return this.#call(options?.signal, (storage) => storage.get(id, options));
  }

  head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    return this.#call(signal, (storage) => storage.head(id, signal));
  }

  put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    return this.#call(options?.signal, (storage) => storage.put(id, data, options));
  }

  delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    return this.#call(signal, (storage) => storage.delete(id, signal), 0);
  }

  /** A listing that is refused on its way is begun again, and what was given out already is passed over. */
  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    let last: BlobId | undefined;
    for (let renewals = 0; ; renewals++) {
      const storage = this.#current;
      try {
        for await (const metadata of storage.list(prefix, signal)) {
          this.#worked = true;
          if (last !== undefined && metadata.id <= last) continue;
          last = metadata.id;
          yield metadata;
        }
        this.#worked = true;
        return;
      } catch (error) {
        await this.#recover(storage, error, { renewals, patienceMs: this.#patienceMs, signal });
      }
    }
  }

  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    return this.#call(signal, (storage) => storage.extendRetention(id, retention, signal), 0);
  }

  async close(): Promise<void> {
    this.#closing.abort(new DOMException("The storage was closed", "AbortError"));
    await this.#renewing?.catch(() => undefined);
    for (const storage of this.#storages) await storage.close();
  }

  get #current(): BlobStorage {
    return this.#storages.at(-1) ?? this.#storages[0];
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? PATIENCE_MS;
  }

  async #call<T>(signal: AbortSignal | undefined, work: (storage: BlobStorage) => Promise<T>, patienceMs: number = this.#patienceMs): Promise<T> {
    for (let renewals = 0; ; renewals++) {
      const storage = this.#current;
      try {
        const result = await work(storage);
        this.#worked = true;
        return result;
      } catch (error) {
        await this.#recover(storage, error, { renewals, patienceMs, signal });
      }
    }
  }

  /** Returns once the call may be made again; throws its error when it may not. */
  async #recover(
    refused: BlobStorage,
    error: unknown,
    { renewals, patienceMs, signal }: { readonly renewals: number; readonly patienceMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<void> {
    if (!hasCode(error, "BLOB_ACCESS_DENIED") || !this.#worked || renewals >= RENEWALS_OF_A_CALL_MAX) throw error;
    if (refused !== this.#current) return;
    if (refused === this.#givenUp) throw error;
    if (patienceMs === 0) {
      if (!(await this.#look(error))) throw error;
      return;
    }
    this.#renewing ??= this.#waitForOthers(refused, error, patienceMs).finally(() => {
      this.#renewing = undefined;
    });
    if (!(await orAborted(this.#renewing, signal))) throw error;
  }

  async #waitForOthers(refused: BlobStorage, error: unknown, patienceMs: number): Promise<boolean> {
    const { clock, logger } = this.#options;
    const deadlineMs = clock.monotonicMs() + patienceMs;
    logger.warn("The store refuses the credentials it took before; waiting for others", { store: this.description, ...errorFields(error) });
    while (!(await this.#look(error))) {
      if (clock.monotonicMs() >= deadlineMs) {
        this.#givenUp = refused;
        return false;
      }
      await clock.sleep(LOOK_EVERY_MS, this.#closing.signal);
    }
    return true;
  }

  /** Whether there are other credentials now. What cannot be read in the middle of being replaced can be a moment later. */
  async #look(refusal: unknown): Promise<boolean> {
    const { logger, renew } = this.#options;
    try {
      const renewed = await renew();
      if (renewed === undefined) return false;
      this.#storages.push(renewed);
      logger.info("Going on with other credentials", { store: renewed.description });
      return true;
    } catch (error) {
      logger.warn("Cannot use the other credentials", { ...errorFields(error), refused: errorFields(refusal)["code"] });
      return false;
    }
  }
}

/** Waits for shared work no longer than until one's own signal is aborted. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
