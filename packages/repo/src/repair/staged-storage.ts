/**
 * A storage as it would be after changes that are not made yet: what is to be put is there, what is to be deleted is not, and blobs that a second copy gives are read from it.
 * A repair is planned on one, so that what its result is like can be verified before a byte is changed; then the changes are applied in the order in which they were staged.
 */
import { concat, DrayError, equalBytes } from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "@drayage/blob";

type Change =
  | { readonly do: "put"; readonly length: number; readonly data: Uint8Array; readonly options: PutBlobOptions }
  | { readonly do: "restore"; readonly length: number }
  | { readonly do: "delete" };

export class StagedStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  readonly #copy: BlobStorage | undefined;
  readonly #changes = new Map<BlobId, Change>();
  readonly #nowMs: () => number;

  constructor(inner: BlobStorage, copy: BlobStorage | undefined, nowMs: () => number) {
    this.#inner = inner;
    this.#copy = copy;
    this.#nowMs = nowMs;
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  /** Blobs that would be put, and what is deleted. */
  get changes(): { readonly put: readonly BlobId[]; readonly restored: readonly BlobId[]; readonly deleted: readonly BlobId[] } {
    const of = (kind: Change["do"]): BlobId[] => [...this.#changes].filter(([, change]) => change.do === kind).map(([id]) => id);
    return { put: of("put"), restored: of("restore"), deleted: of("delete") };
  }

  /** Reads a blob from the copy from now on, and puts it into the storage in the end. */
  restore(id: BlobId, length: number): void {
    this.#changes.set(id, { do: "restore", length });
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    const change = this.#changes.get(id);
    if (change === undefined) return await this.#inner.get(id, options);
    if (change.do === "delete") throw this.#notFound(id);
    if (change.do === "restore" && this.#copy !== undefined) return await this.#copy.get(id, options);
    const data = change.do === "put" ? change.data : new Uint8Array(0);
    const { offset = 0, length = data.length - (options.offset ?? 0) } = options;
    if (offset < 0 || length < 0 || offset + length > data.length)
      throw new DrayError("BLOB_INVALID_RANGE", `Cannot read ${length} bytes at ${offset} of blob "${id}"`);
    return data.slice(offset, offset + length);
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    const change = this.#changes.get(id);
    if (change === undefined) return await this.#inner.head(id, signal);
    if (change.do === "delete") throw this.#notFound(id);
    return { id, length: change.length, timestampMs: this.#nowMs() };
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options: PutBlobOptions = {}): Promise<void> {
    const whole = concat(data instanceof Uint8Array ? [data] : data);
    this.#changes.set(id, { do: "put", data: whole, length: whole.length, options });
  }

  async delete(id: BlobId): Promise<void> {
    this.#changes.set(id, { do: "delete" });
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const added = [...this.#changes].filter(([id, change]) => id.startsWith(prefix) && change.do !== "delete").map(([id]) => id);
    added.sort();
    let next = 0;
    const before = function* (this: StagedStorage, id: BlobId | undefined): Generator<BlobMetadata> {
      for (; next < added.length && (id === undefined || (added[next] ?? "") < id); next++) yield this.#metadata(added[next] ?? "");
    }.bind(this);
    for await (const blob of this.#inner.list(prefix, signal)) {
      yield* before(blob.id);
      if (!this.#changes.has(blob.id)) yield blob;
    }
    yield* before(undefined);
  }

  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    return this.#inner.extendRetention(id, retention, signal);
  }

  /** The storages below stay open. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * Makes the changes: puts first, in the order in which they were staged, each read back; then deletions. Whoever is killed in between leaves a repository that a further repair goes on with.
   * Throws REPO_CORRUPT when the storage gives back other bytes than it was given.
   */
  async apply(signal?: AbortSignal): Promise<void> {
    const aborting = signal === undefined ? {} : { signal };
    for (const [id, change] of this.#changes) {
      if (change.do === "delete") continue;
      const data = change.do === "put" ? change.data : await this.get(id, aborting);
      await this.#inner.put(id, data, { ...(change.do === "put" ? change.options : {}), ...aborting });
      if (!equalBytes(await this.#inner.get(id, aborting), data))
        throw new DrayError("REPO_CORRUPT", `Cannot store blob "${id}": other bytes came back than were stored`);
    }
    for (const [id, change] of this.#changes) if (change.do === "delete") await this.#inner.delete(id, signal);
    this.#changes.clear();
  }

  #metadata(id: BlobId): BlobMetadata {
    const change = this.#changes.get(id);
    return { id, length: change === undefined || change.do === "delete" ? 0 : change.length, timestampMs: this.#nowMs() };
  }

  #notFound(id: BlobId): DrayError {
    return new DrayError("BLOB_NOT_FOUND", `Cannot read blob "${id}" of ${this.description}: it is not there`);
  }
}
