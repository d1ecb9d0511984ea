import { type Clock, compareUtf8, systemClock } from "@drayage/base";
import { objectNotFound, objectRangeMissing } from "../blob-errors.ts";
import type { ByteRange, ObjectListing, ObjectStore, StoredObject } from "../object-store.ts";
import { openSourceFile } from "../source-file.ts";

/** An object store in memory. */
export class MemoryObjectStore implements ObjectStore {
  readonly description = "memory:";
  readonly #clock: Clock;
  readonly #objects = new Map<string, { readonly data: Uint8Array; readonly timestampMs: number }>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  check(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    return Promise.resolve();
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    await this.check(signal);
    return this.#find(key).data.slice();
  }

  async getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    await this.check(signal);
    const { data } = this.#find(key);
    if (range.offset + range.length > data.length) throw objectRangeMissing(this.description, key, range);
    return data.slice(range.offset, range.offset + range.length);
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const data = await this.get(key, signal);
    return (async function* () {
      for (let at = 0; at < data.length; at += 65_536) {
        await Promise.resolve();
        signal?.throwIfAborted();
        yield data.subarray(at, at + 65_536);
      }
    })();
  }

  async head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    await this.check(signal);
    const { data, timestampMs } = this.#find(key);
    return { key, length: data.length, timestampMs };
  }

  async put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    const copy = data.slice();
    await this.check(signal);
    this.#objects.set(key, { data: copy, timestampMs: this.#clock.nowMs() });
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    const file = await openSourceFile(path, `Cannot store "${key}" in ${this.description}`);
    try {
      await this.put(key, await file.readFile(), signal);
    } finally {
      await file.close();
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await this.check(signal);
    this.#objects.delete(key);
  }

  async listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    const objects: StoredObject[] = [];
    const prefixes = new Set<string>();
    for await (const object of this.listAll(prefix, signal)) {
      const slash = object.key.indexOf("/", prefix.length);
      if (slash === -1) objects.push(object);
      else prefixes.add(object.key.slice(0, slash + 1));
    }
    return { objects, prefixes: [...prefixes] };
  }

  async *listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    await this.check(signal);
    for (const key of [...this.#objects.keys()].filter((other) => other.startsWith(prefix)).sort(compareUtf8)) {
      const held = this.#objects.get(key);
      if (held !== undefined) yield { key, length: held.data.length, timestampMs: held.timestampMs };
    }
  }

  /** A `data:` address, which holds the bytes themselves. */
  signedUrl(key: string, _validForMs: number): Promise<string> {
    const held = this.#objects.get(key)?.data ?? new Uint8Array();
    return Promise.resolve(`data:application/octet-stream;base64,${Buffer.from(held).toString("base64")}`);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #find(key: string): { readonly data: Uint8Array; readonly timestampMs: number } {
    const held = this.#objects.get(key);
    if (held === undefined) throw objectNotFound(this.description, key);
    return held;
  }
}
