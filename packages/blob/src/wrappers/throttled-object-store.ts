import { stat } from "node:fs/promises";
import type { ByteRange, ObjectListing, ObjectStore, StoredObject } from "../object-store.ts";
import type { Throttle } from "./throttle.ts";

const PAGE = 1000;

/** The limits of an object store's calls, as `ThrottledStorage` keeps them for blobs. A stream is delayed piece by piece. */
export class ThrottledObjectStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #throttle: Throttle;

  constructor(inner: ObjectStore, throttle: Throttle) {
    this.#inner = inner;
    this.#throttle = throttle;
  }

  get description(): string {
    return this.#inner.description;
  }

  check(signal?: AbortSignal): Promise<void> {
    return this.#inner.check(signal);
  }

  get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#throttle.read(lengthOf, () => this.#inner.get(key, signal), signal);
  }

  getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#throttle.read(lengthOf, () => this.#inner.getRange(key, range, signal), signal);
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const stream = await this.#throttle.read(
      () => 0,
      () => this.#inner.getStream(key, signal),
      signal,
    );
    return this.#paced(stream, signal);
  }

  head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    return this.#throttle.read(
      () => 0,
      () => this.#inner.head(key, signal),
      signal,
    );
  }

  put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#throttle.write(data.length, () => this.#inner.put(key, data, signal), signal);
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    // A file that cannot be looked at is for the store to report.
    const bytes = await stat(path).then(
      ({ size }) => size,
      () => 0,
    );
    await this.#throttle.write(bytes, () => this.#inner.putFile(key, path, signal), signal);
  }

  delete(key: string, signal?: AbortSignal): Promise<void> {
    return this.#throttle.write(0, () => this.#inner.delete(key, signal), signal);
  }

  async listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    await this.#throttle.list(signal);
    return await this.#inner.listLevel(prefix, signal);
  }

  async *listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    let seen = 0;
    await this.#throttle.list(signal);
    for await (const object of this.#inner.listAll(prefix, signal)) {
      if (++seen % PAGE === 0) await this.#throttle.list(signal);
      yield object;
    }
  }

  signedUrl(key: string, validForMs: number): Promise<string> {
    return this.#inner.signedUrl(key, validForMs);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async *#paced(stream: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    for await (const piece of stream) {
      await this.#throttle.room(signal);
      this.#throttle.downloaded(piece.length);
      yield piece;
    }
  }
}

function lengthOf({ length }: Uint8Array): number {
  return length;
}
