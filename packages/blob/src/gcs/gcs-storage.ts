import { DrayError, hasCode } from "@drayage/base";
import { blobAlreadyExists, blobNotFound } from "../blob-errors.ts";
import { checkBlobId, isBlobId } from "../blob-id.ts";
import { httpRange, rangedGet } from "../ranged-get.ts";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";
import { GcsConnection } from "./gcs-connection.ts";
import { deleteObject, type GcsObject, getObjectFacts, insertObject, listObjects, openObject } from "./gcs-objects.ts";
import type { GcsOptions } from "./gcs-options.ts";

/** Opens a bucket (or what lies under a prefix of it) as blob storage, a name being the prefix and the blob's id. Does not call the store. */
export async function openGcsStorage(options: GcsOptions): Promise<BlobStorage> {
  return new GcsStorage(await GcsConnection.open(options));
}

/** As Kopia stores its blobs. */
const CONTENT_TYPE = "application/x-kopia";
/** Decimal nanoseconds since the epoch: the time that a copied blob had where it comes from. Kopia writes it in `sync-to`. */
const MTIME_KEY = "kopia-mtime";

class GcsStorage implements BlobStorage {
  readonly description: string;
  readonly capabilities: BlobCapabilities;
  readonly #gcs: GcsConnection;

  constructor(gcs: GcsConnection) {
    this.#gcs = gcs;
    this.description = gcs.place;
    this.capabilities = { putIfAbsent: true, retention: gcs.options.objectLock !== false };
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    checkBlobId(id);
    const { signal } = options;
    const action = `Cannot read blob "${id}" of ${this.description}`;
    return await rangedGet(id, options, {
      place: this.description,
      fetch: async (range) => {
        const answer = await openObject(this.#gcs, this.#gcs.name(id), range === undefined ? undefined : httpRange(range), action, signal);
        return await this.#gcs.body(answer, action, signal);
      },
      length: async () => (await this.head(id, signal)).length,
    });
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    checkBlobId(id);
    try {
      const found = await getObjectFacts(this.#gcs, this.#gcs.name(id), `Cannot read blob "${id}" of ${this.description}`, signal);
      return { id, length: Number(found.size ?? 0), timestampMs: timestampOf(found) };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? blobNotFound(this.description, id, error) : error;
    }
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options: PutBlobOptions = {}): Promise<void> {
    checkBlobId(id);
    const { retention, ifAbsent, signal } = options;
    const settings = {
      contentType: CONTENT_TYPE,
      ...(ifAbsent === undefined ? {} : { ifAbsent }),
      ...(retention === undefined ? {} : { retention: this.#retention(retention) }),
    };
    try {
      const parts = data instanceof Uint8Array ? [data] : data;
      await insertObject(this.#gcs, this.#gcs.name(id), parts, settings, `Cannot store blob "${id}" in ${this.description}`, signal);
    } catch (error) {
      throw hasCode(error, "BLOB_ALREADY_EXISTS") ? blobAlreadyExists(this.description, id, error) : error;
    }
  }

  async delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    checkBlobId(id);
    await deleteObject(this.#gcs, this.#gcs.name(id), `Cannot delete blob "${id}" of ${this.description}`, signal);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const base = this.#gcs.options.prefix ?? "";
    // The delimiter hides what others keep in folders below the prefix: no blob id holds a slash.
    for await (const { items } of listObjects(this.#gcs, { prefix: base + prefix, delimiter: "/" }, `Cannot list ${this.description}`, signal)) {
      for (const item of items) {
        const id = (item.name ?? "").slice(base.length);
        if (isBlobId(id)) yield { id, length: Number(item.size ?? 0), timestampMs: timestampOf(item) };
      }
    }
  }

  async extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    checkBlobId(id);
    const action = `Cannot lock blob "${id}" of ${this.description}`;
    const body = JSON.stringify({ retention: this.#retention(retention) });
    try {
      await this.#gcs.json(
        { method: "PATCH", path: this.#gcs.objectPath(this.#gcs.name(id)), query: { fields: "name" }, headers: { "content-type": "application/json" }, body },
        action,
        signal,
      );
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? blobNotFound(this.description, id, error) : error;
    }
  }

  async close(): Promise<void> {
    await this.#gcs.close();
  }

  /** Both of Kopia's modes become a locked retention: an unlocked one may be taken off by whoever may write. */
  #retention({ untilMs }: BlobRetention): { mode: "Locked"; retainUntilTime: string } {
    if (!this.capabilities.retention) throw new DrayError("NOT_SUPPORTED", `Cannot lock blobs of ${this.description}: the bucket has no object retention`);
    return { mode: "Locked", retainUntilTime: new Date(untilMs).toISOString() };
  }
}

/** As Kopia has it: the stored time, else when the object was created, which renewing its metadata does not move. */
function timestampOf({ metadata, timeCreated, updated }: GcsObject): number {
  const stored = Object.entries(metadata ?? {}).find(([key]) => key.toLowerCase() === MTIME_KEY)?.[1];
  if (stored !== undefined && /^\d{1,19}$/.test(stored)) return Number(BigInt(stored) / 1_000_000n);
  const timeMs = Date.parse(timeCreated ?? updated ?? "");
  return Number.isNaN(timeMs) ? 0 : timeMs;
}
