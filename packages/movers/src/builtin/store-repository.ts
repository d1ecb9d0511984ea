/** A repository in a mover's own part of a target: what the conformance suite, which knows of stores and of no location, gives the built-in mover. */
import { type Clock, DrayError, hasCode, type RandomSource, randomHex } from "@drayage/base";
import { type BlobId, type BlobMetadata, type BlobStorage, type GetBlobOptions, ThrottledStorage } from "@drayage/blob";
import type { MoverStore } from "@drayage/mover-sdk";
import { createRepository, openRepository, rememberingKeys, veleroIdentity } from "@drayage/repo";
import type { OpenTargetRepository } from "./built-in-mover.ts";

/** Opens the repository in a target's store, or makes one in an empty store. Its password is as short-lived as what this returns. */
export function openInStore({ clock, random }: { readonly clock: Clock; readonly random: RandomSource }): OpenTargetRepository {
  const password = randomHex(random, 16);
  const deriveKey = rememberingKeys();
  const storages = new WeakMap<MoverStore, BlobStorage>();
  return async (target, { logger, readOnly = false, bandwidth, signal }, work) => {
    const unlimited = storages.get(target.store) ?? new MoverStoreStorage(target.store, clock);
    storages.set(target.store, unlimited);
    const storage =
      bandwidth === undefined ? unlimited : new ThrottledStorage(unlimited, { uploadBytesPerSecond: bandwidth, downloadBytesPerSecond: bandwidth, clock });
    const options = { password, identity: veleroIdentity, clock, random, logger, readOnly, deriveKey, signal };
    const repository = await openRepository(storage, options).catch((error: unknown) => {
      if (!hasCode(error, "REPO_NOT_FOUND") || readOnly) throw error;
      return createRepository(storage, options);
    });
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  };
}

/** A mover's store as a blob storage. It keeps no times, so a blob is as old as this object's knowledge of it. */
class MoverStoreStorage implements BlobStorage {
  readonly description = "store of a mover";
  readonly capabilities = { putIfAbsent: false, retention: false };
  readonly #store: MoverStore;
  readonly #clock: Clock;
  readonly #writtenMs = new Map<BlobId, number>();

  constructor(store: MoverStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  async get(id: BlobId, { offset = 0, length, into, signal }: GetBlobOptions = {}): Promise<Uint8Array> {
    const whole = await this.#store.get(id, signal);
    const end = length === undefined ? whole.length : offset + length;
    if (end > whole.length) throw new DrayError("BLOB_INVALID_RANGE", `Cannot read blob "${id}": it has ${whole.length} bytes, ${end} are wanted`);
    const part = whole.subarray(offset, end);
    if (into === undefined) return part.slice();
    into.set(part);
    return into;
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    for await (const found of this.list(id, signal)) if (found.id === id) return found;
    throw new DrayError("BLOB_NOT_FOUND", `Cannot find blob "${id}": it does not exist`);
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.#store.put(id, data instanceof Uint8Array ? data : Buffer.concat(data), options.signal);
    this.#writtenMs.set(id, this.#clock.nowMs());
  }

  async delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    await this.#store.delete(id, signal);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const found: BlobMetadata[] = [];
    for await (const { key, length } of this.#store.list(prefix, signal))
      found.push({ id: key, length, timestampMs: this.#writtenMs.get(key) ?? this.#clock.nowMs() });
    yield* found.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  extendRetention(id: BlobId): Promise<void> {
    return Promise.reject(new DrayError("NOT_SUPPORTED", `Cannot lock blob "${id}": a mover's store knows no locks`));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
