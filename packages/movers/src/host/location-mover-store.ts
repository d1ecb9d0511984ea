/** A mover's part of a backup location: what is under its prefix, and nothing else. */
import type { ObjectStore } from "@drayage/blob";
import { checkedKey, type MoverStore, type StoredFile } from "@drayage/mover-sdk";

export class LocationMoverStore implements MoverStore {
  readonly #store: ObjectStore;
  readonly #prefix: string;

  /** `prefix` ends in a slash. */
  constructor(store: ObjectStore, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#store.put(this.#at(key), data, signal);
  }

  putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    return this.#store.putFile(this.#at(key), path, signal);
  }

  get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#store.get(this.#at(key), signal);
  }

  getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#store.getStream(this.#at(key), signal);
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredFile> {
    // A prefix need not end with a name, so the store is asked for the folder that it lies in.
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    for await (const { key, length } of this.#store.listAll(`${this.#prefix}${folder}`, signal)) {
      const own = key.slice(this.#prefix.length);
      if (own.startsWith(prefix)) yield { key: own, length };
    }
  }

  delete(key: string, signal?: AbortSignal): Promise<void> {
    return this.#store.delete(this.#at(key), signal);
  }

  #at(key: string): string {
    return `${this.#prefix}${checkedKey(key)}`;
  }
}
