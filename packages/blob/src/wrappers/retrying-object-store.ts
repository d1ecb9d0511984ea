import { compareUtf8 } from "@drayage/base";
import type { BucketFacts, ByteRange, ObjectListing, ObjectStore, StoredObject } from "../object-store.ts";
import { type RetryingOptions, retryLogged } from "./retrying-storage.ts";

/** The retrying of an object store's calls, as `RetryingStorage` does it for blobs. */
export class RetryingObjectStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #options: RetryingOptions;

  constructor(inner: ObjectStore, options: RetryingOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  get description(): string {
    return this.#inner.description;
  }

  /** Not retried: a check reports what is the case now, and is made again by its caller. */
  check(signal?: AbortSignal): Promise<void> {
    return this.#inner.check(signal);
  }

  /** Not there where the store itself has no such call. */
  get bucketFacts(): ((signal?: AbortSignal) => Promise<BucketFacts>) | undefined {
    const { bucketFacts } = this.#inner;
    return bucketFacts === undefined ? undefined : (signal) => this.#retry("bucketFacts", signal, () => bucketFacts.call(this.#inner, signal));
  }

  get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#retry("get", signal, () => this.#inner.get(key, signal));
  }

  getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#retry("getRange", signal, () => this.#inner.getRange(key, range, signal));
  }

  /** Only the opening is retried: a stream that breaks off says so to its reader, who alone knows whether what came can be thrown away. */
  getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#retry("getStream", signal, () => this.#inner.getStream(key, signal));
  }

  head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    return this.#retry("head", signal, () => this.#inner.head(key, signal));
  }

  put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#retry("put", signal, () => this.#inner.put(key, data, signal));
  }

  putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    return this.#retry("putFile", signal, () => this.#inner.putFile(key, path, signal));
  }

  delete(key: string, signal?: AbortSignal): Promise<void> {
    return this.#retry("delete", signal, () => this.#inner.delete(key, signal));
  }

  listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    return this.#retry("listLevel", signal, () => this.#inner.listLevel(prefix, signal));
  }

  /** A listing that breaks off is begun again and what was given out already is passed over. */
  async *listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    let last: string | undefined;
    let running: AsyncIterator<StoredObject> | undefined;
    const next = async (): Promise<IteratorResult<StoredObject>> => {
      running ??= this.#inner.listAll(prefix, signal)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const result = await running.next();
          if (result.done === true || last === undefined || compareUtf8(result.value.key, last) > 0) return result;
        }
      } catch (error) {
        running = undefined;
        throw error;
      }
    };
    try {
      for (;;) {
        const result = await this.#retry("listAll", signal, next);
        if (result.done === true) return;
        last = result.value.key;
        yield result.value;
      }
    } finally {
      await running?.return?.();
    }
  }

  signedUrl(key: string, validForMs: number): Promise<string> {
    return this.#retry("signedUrl", undefined, () => this.#inner.signedUrl(key, validForMs));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #retry<T>(operation: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return retryLogged(this.#options, this.description, operation, signal, work);
  }
}
