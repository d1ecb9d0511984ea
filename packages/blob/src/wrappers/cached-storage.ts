import { fromUtf8, utf8 } from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";
import type { BlobCache } from "./blob-cache.ts";

/**
 * Keeps what was read of blobs that never change, and answers from there. Which blobs those are is the caller's to say, and so is it to use the store itself where the question
 * is what the store holds: verification, maintenance, copies. Ranges are kept as they were asked for: whoever reads in blocks finds them again.
 *
 * A blob that this client replaces or deletes is forgotten first. One that somebody else deletes may be read from here for as long as it is kept, as in kopia.
 */
export class CachedStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  readonly #cache: BlobCache;
  readonly #isKept: (id: BlobId) => boolean;

  constructor(inner: BlobStorage, cache: BlobCache, isKept: (id: BlobId) => boolean) {
    this.#inner = inner;
    this.#cache = cache;
    this.#isKept = isKept;
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    const { fresh, ...rest } = options;
    if (!this.#isKept(id)) return await this.#inner.get(id, rest);
    const { offset = 0, length, into, signal } = options;
    signal?.throwIfAborted();
    const name = offset === 0 && length === undefined ? "all" : `${offset}-${length ?? "end"}`;
    if (fresh === true) this.#cache.forget(id);
    else {
      const known = this.#cache.load(id, name);
      if (known !== undefined) {
        if (into === undefined) return known;
        into.set(known);
        return into;
      }
    }
    const bytes = await this.#inner.get(id, rest);
    this.#cache.store(id, name, bytes);
    return bytes;
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    if (!this.#isKept(id)) return await this.#inner.head(id, signal);
    signal?.throwIfAborted();
    const known = this.#cache.load(id, "head");
    if (known !== undefined) {
      const [length = 0, timestampMs = 0] = fromUtf8(known).split(" ").map(Number);
      return { id, length, timestampMs };
    }
    const metadata = await this.#inner.head(id, signal);
    this.#cache.store(id, "head", utf8(`${metadata.length} ${metadata.timestampMs}`));
    return metadata;
  }

  put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    return this.#changing(id, () => this.#inner.put(id, data, options));
  }

  delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    return this.#changing(id, () => this.#inner.delete(id, signal));
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

  /** Before, since the process may end after the store was changed; and afterwards, since somebody may have read the old one meanwhile. */
  async #changing(id: BlobId, work: () => Promise<void>): Promise<void> {
    if (!this.#isKept(id)) return await work();
    this.#cache.forget(id);
    try {
      await work();
    } finally {
      this.#cache.forget(id);
    }
  }
}
