/** What DataProtectionTests do with a location: joins `blob` and the Secrets. */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import type { BackupStorageLocation } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { ObjectStore } from "@drayage/blob";
import { type BucketDescription, type LocationTrials, readLocationSecrets } from "@drayage/controllers";
import { type LocationStoresOptions, openObjectStore } from "./backup-stores.ts";

/** The file is written in pieces of this size, all of them alike: what is sent must not be small when it is packed, and need not be random twice. */
const PIECE_BYTES = 1 << 20;
/** How long the removal of the file may take once its upload has ended, or has been given up. */
const REMOVAL_MS = 10_000;

export class LocationTester implements LocationTrials {
  readonly #options: LocationStoresOptions;

  constructor(options: LocationStoresOptions) {
    this.#options = options;
  }

  async describeBucket(location: BackupStorageLocation, signal?: AbortSignal): Promise<BucketDescription> {
    return await this.#with(location, signal, (store) => {
      if (store.bucketFacts === undefined)
        throw new DrayError("NOT_SUPPORTED", `Cannot ask ${store.description} what it is: only S3 tells versions and encryption`);
      return store.bucketFacts(signal);
    });
  }

  async upload(
    location: BackupStorageLocation,
    { key, lengthBytes }: { readonly key: string; readonly lengthBytes: number },
    signal?: AbortSignal,
  ): Promise<number> {
    const { clock, temporaryFolder } = this.#options;
    const path = join(temporaryFolder, key);
    try {
      await this.#writeFile(path, lengthBytes);
      return await this.#with(location, signal, async (store) => {
        try {
          const startMs = clock.monotonicMs();
          await store.putFile(key, path, signal);
          return clock.monotonicMs() - startMs;
        } finally {
          // Its signal may be aborted, and the file is to go all the same.
          await store.delete(key, AbortSignal.timeout(REMOVAL_MS));
        }
      });
    } finally {
      await rm(path, { force: true });
    }
  }

  async #writeFile(path: string, lengthBytes: number): Promise<void> {
    const piece = this.#options.random.bytes(Math.min(PIECE_BYTES, lengthBytes));
    const file = await open(path, "w", 0o600);
    try {
      for (let written = 0; written < lengthBytes; written += piece.length) await file.write(piece, 0, Math.min(piece.length, lengthBytes - written), written);
    } finally {
      await file.close();
    }
  }

  async #with<T>(location: BackupStorageLocation, signal: AbortSignal | undefined, work: (store: ObjectStore) => Promise<T>): Promise<T> {
    const { client, namespace } = this.#options;
    const store = await openObjectStore(location, await readLocationSecrets(client, namespace, location, signal), this.#options);
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }
}
