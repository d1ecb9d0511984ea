import { type Clock, concat, DrayError, systemClock } from "@drayage/base";
import { blobAlreadyExists, blobNotFound, rangeOf } from "../blob-errors.ts";
import { checkBlobId } from "../blob-id.ts";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";

interface Held {
  readonly data: Uint8Array;
  readonly timestampMs: number;
  readonly retention: BlobRetention | undefined;
}

/** Blob storage in memory, with object lock: the smallest thing that keeps the whole contract. */
export class MemoryStorage implements BlobStorage {
  readonly description = "memory:";
  readonly capabilities: BlobCapabilities = { putIfAbsent: true, retention: true };
  readonly #clock: Clock;
  readonly #blobs = new Map<BlobId, Held>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    await this.#enter(id, options.signal);
    const { data } = this.#find(id);
    const { offset, length } = rangeOf(this.description, id, options, data.length);
    return data.slice(offset, offset + length);
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    await this.#enter(id, signal);
    const { data, timestampMs } = this.#find(id);
    return { id, length: data.length, timestampMs };
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options: PutBlobOptions = {}): Promise<void> {
    const copy = concat(data instanceof Uint8Array ? [data] : data);
    await this.#enter(id, options.signal);
    if (options.ifAbsent === true && this.#blobs.has(id)) throw blobAlreadyExists(this.description, id);
    this.#refuseLocked(id, "replace");
    this.#blobs.set(id, { data: copy, timestampMs: this.#clock.nowMs(), retention: options.retention });
  }

  async delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    await this.#enter(id, signal);
    this.#refuseLocked(id, "delete");
    this.#blobs.delete(id);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    signal?.throwIfAborted();
    for (const id of [...this.#blobs.keys()].filter((key) => key.startsWith(prefix)).sort()) {
      await Promise.resolve();
      signal?.throwIfAborted();
      const held = this.#blobs.get(id);
      if (held !== undefined) yield { id, length: held.data.length, timestampMs: held.timestampMs };
    }
  }

  async extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    await this.#enter(id, signal);
    this.#blobs.set(id, { ...this.#find(id), retention });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Every id held, in byte order. */
  ids(): readonly BlobId[] {
    return [...this.#blobs.keys()].sort();
  }

  /** Changes a blob behind the storage's back, as a failing disk does. `undefined` takes it away. */
  tamper(id: BlobId, change: (data: Uint8Array) => Uint8Array | undefined): void {
    const held = this.#find(id);
    const data = change(held.data.slice());
    if (data === undefined) this.#blobs.delete(id);
    else this.#blobs.set(id, { ...held, data });
  }

  /** A storage with the same blobs that goes its own way from here: the state after a crash at this point. */
  fork(): MemoryStorage {
    const copy = new MemoryStorage(this.#clock);
    for (const [id, held] of this.#blobs) copy.#blobs.set(id, held);
    return copy;
  }

  async #enter(id: BlobId, signal: AbortSignal | undefined): Promise<void> {
    checkBlobId(id);
    signal?.throwIfAborted();
    await Promise.resolve();
  }

  #find(id: BlobId): Held {
    const held = this.#blobs.get(id);
    if (held === undefined) throw blobNotFound(this.description, id);
    return held;
  }

  #refuseLocked(id: BlobId, verb: string): void {
    const until = this.#blobs.get(id)?.retention?.untilMs;
    if (until !== undefined && until > this.#clock.nowMs()) {
      throw new DrayError("BLOB_ACCESS_DENIED", `Cannot ${verb} blob "${id}" of ${this.description}: it is locked`, { context: { blob: id } });
    }
  }
}
