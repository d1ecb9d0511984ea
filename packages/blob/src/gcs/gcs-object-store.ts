import { DrayError, hasCode, systemClock } from "@drayage/base";
import { objectNotFound, objectRangeMissing } from "../blob-errors.ts";
import type { ByteRange, ObjectListing, ObjectStore, StoredObject } from "../object-store.ts";
import { httpRange } from "../ranged-get.ts";
import { openSourceFile } from "../source-file.ts";
import { GcsConnection } from "./gcs-connection.ts";
import { deleteObject, type GcsObject, getObjectFacts, insertInSteps, insertObject, listObjects, openObject } from "./gcs-objects.ts";
import type { GcsOptions } from "./gcs-options.ts";
import { signedGetUrl } from "./signed-url.ts";

/** Opens a bucket (or what lies under a prefix of it) as an object store. Does not call the store; `check` does. */
export async function openGcsObjectStore(options: GcsOptions): Promise<ObjectStore> {
  return new GcsObjectStore(await GcsConnection.open(options));
}

/** Files up to this size go in one request, larger ones in steps of it; one step is in memory. A multiple of 256 KiB. */
const STEP_BYTES = 16 << 20;
const PLAIN = { contentType: "application/octet-stream" } as const;

class GcsObjectStore implements ObjectStore {
  readonly description: string;
  readonly #gcs: GcsConnection;

  constructor(gcs: GcsConnection) {
    this.#gcs = gcs;
    this.description = gcs.place;
  }

  async check(signal?: AbortSignal): Promise<void> {
    for await (const _page of listObjects(this.#gcs, { prefix: this.#gcs.options.prefix ?? "", maxResults: 1 }, `Cannot use ${this.description}`, signal))
      return;
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    const action = `Cannot read "${key}" of ${this.description}`;
    return await this.#gcs.body(await this.#open(key, action, signal), action, signal);
  }

  async getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const action = `Cannot read "${key}" of ${this.description}`;
    try {
      const bytes = await this.#gcs.body(await this.#open(key, action, signal, range), action, signal);
      // A range that reaches beyond the end is answered with what there is.
      if (bytes.length !== range.length) throw objectRangeMissing(this.description, key, range);
      return bytes;
    } catch (error) {
      throw hasCode(error, "BLOB_INVALID_RANGE") ? objectRangeMissing(this.description, key, range, error) : error;
    }
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const action = `Cannot read "${key}" of ${this.description}`;
    return this.#gcs.stream(await this.#open(key, action, signal), action, signal);
  }

  async head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    try {
      return { ...this.#stored(await getObjectFacts(this.#gcs, this.#gcs.name(key), `Cannot read "${key}" of ${this.description}`, signal)), key };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? objectNotFound(this.description, key, error) : error;
    }
  }

  async put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    await insertObject(this.#gcs, this.#gcs.name(key), [data], PLAIN, `Cannot store "${key}" in ${this.description}`, signal);
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    const action = `Cannot store "${key}" in ${this.description}`;
    const file = await openSourceFile(path, action);
    try {
      const { size } = await file.stat();
      const read = async (offset: number, length: number): Promise<Uint8Array> => {
        const part = new Uint8Array(length);
        const { bytesRead } = await file.read(part, 0, length, offset);
        if (bytesRead !== length) throw new DrayError("PATH_IO", `${action}: file "${path}" became shorter while being read`);
        return part;
      };
      if (size <= STEP_BYTES) await this.put(key, await read(0, size), signal);
      else await insertInSteps(this.#gcs, this.#gcs.name(key), { size, chunkBytes: STEP_BYTES, read }, PLAIN, action, signal);
    } finally {
      await file.close();
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await deleteObject(this.#gcs, this.#gcs.name(key), `Cannot delete "${key}" of ${this.description}`, signal);
  }

  async listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    const base = this.#gcs.options.prefix ?? "";
    const objects: StoredObject[] = [];
    const prefixes: string[] = [];
    for await (const page of listObjects(this.#gcs, { prefix: base + prefix, delimiter: "/" }, this.#listing(prefix), signal)) {
      for (const item of page.items) objects.push(this.#stored(item));
      for (const common of page.prefixes) prefixes.push(common.slice(base.length));
    }
    // A name that ends in a slash is how consoles draw an empty folder; it is no object of ours.
    return { objects: objects.filter(({ key }) => key !== prefix), prefixes };
  }

  async *listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    for await (const { items } of listObjects(this.#gcs, { prefix: this.#gcs.name(prefix) }, this.#listing(prefix), signal)) {
      for (const item of items) yield this.#stored(item);
    }
  }

  /** A V4 signed address. Throws NOT_SUPPORTED where no service account is known that could sign. */
  async signedUrl(key: string, validForMs: number): Promise<string> {
    const signer = await this.#gcs.signer(`Cannot sign an address of "${key}" of ${this.description}`);
    return await signedGetUrl({
      ...{ endpoint: this.#gcs.endpoint, bucket: this.#gcs.options.bucket, name: this.#gcs.name(key), signer },
      ...{ nowMs: (this.#gcs.options.clock ?? systemClock).nowMs(), validForMs },
    });
  }

  async close(): Promise<void> {
    await this.#gcs.close();
  }

  #listing(prefix: string): string {
    return `Cannot list "${prefix}" of ${this.description}`;
  }

  #stored({ name = "", size, timeCreated, updated }: GcsObject): StoredObject {
    const timeMs = Date.parse(updated ?? timeCreated ?? "");
    return { key: name.slice((this.#gcs.options.prefix ?? "").length), length: Number(size ?? 0), timestampMs: Number.isNaN(timeMs) ? 0 : timeMs };
  }

  async #open(key: string, action: string, signal: AbortSignal | undefined, range?: ByteRange) {
    try {
      return await openObject(this.#gcs, this.#gcs.name(key), range === undefined ? undefined : httpRange(range), action, signal);
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? objectNotFound(this.description, key, error) : error;
    }
  }
}
