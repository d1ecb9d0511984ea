/** Where a mover puts its data: objects under slash-separated keys. Whoever calls retries nothing: the store does, within a limit. */
import { createReadStream } from "node:fs";
import { DrayError } from "@drayage/base";

export interface MoverStore {
  /** Writes the whole object or nothing, over one of the same key. */
  put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** The same with a file of the local disk, whatever its size. */
  putFile(key: string, path: string, signal?: AbortSignal): Promise<void>;
  /** Throws BLOB_NOT_FOUND. */
  get(key: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** The object in parts, for what may be large. Throws BLOB_NOT_FOUND. */
  getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Every object whose key begins so, in no order that can be relied on. */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredFile>;
  /** One that is not there counts as deleted. */
  delete(key: string, signal?: AbortSignal): Promise<void>;
}

export interface StoredFile {
  readonly key: string;
  /** Bytes. */
  readonly length: number;
}

/** A store in memory, for tests and for the conformance suite. */
export class MemoryMoverStore implements MoverStore {
  readonly #objects = new Map<string, Uint8Array>();
  readonly #beforeEach: (call: string) => void;

  /** `beforeEach` is called with the name of every operation, and may throw to make it fail. */
  constructor(beforeEach: (call: string) => void = () => undefined) {
    this.#beforeEach = beforeEach;
  }

  get keys(): readonly string[] {
    return [...this.#objects.keys()].sort();
  }

  /** Of all objects together. */
  get bytes(): number {
    return [...this.#objects.values()].reduce((sum, { length }) => sum + length, 0);
  }

  async put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.#begin("put", signal);
    this.#objects.set(checkedKey(key), Uint8Array.from(data));
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    this.#begin("put", signal);
    const parts: Uint8Array[] = [];
    for await (const part of createReadStream(path)) parts.push(part as Uint8Array);
    this.#objects.set(checkedKey(key), Buffer.concat(parts));
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    this.#begin("get", signal);
    const found = this.#objects.get(key);
    if (found === undefined) throw new DrayError("BLOB_NOT_FOUND", `Cannot read object "${key}": it does not exist`);
    return found;
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const data = await this.get(key, signal);
    return (async function* () {
      yield data;
    })();
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<StoredFile> {
    this.#begin("list", signal);
    for (const key of this.keys) if (key.startsWith(prefix)) yield { key, length: this.#objects.get(key)?.length ?? 0 };
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    this.#begin("delete", signal);
    this.#objects.delete(key);
  }

  #begin(call: string, signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    this.#beforeEach(call);
    signal?.throwIfAborted();
  }
}

const KEY_LENGTH_MAX = 512;

/** The key, when it stays inside of what is the mover's own. Throws VALIDATION_FAILED. */
export function checkedKey(key: string): string {
  const parts = key.split("/");
  if (key.length > KEY_LENGTH_MAX || parts.some((part) => part === "" || part === "." || part === ".."))
    throw new DrayError("VALIDATION_FAILED", `Cannot use key "${key}": names with slashes between them are wanted, at most ${KEY_LENGTH_MAX} characters`);
  return key;
}
