import { Readable } from "node:stream";
import { DrayError, hasCode } from "@drayage/base";
import { blobAlreadyExists, blobNotFound } from "../blob-errors.ts";
import { checkBlobId, isBlobId } from "../blob-id.ts";
import { rangedGet } from "../ranged-get.ts";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";
import { AzureConnection } from "./azure-connection.ts";
import type { AzureOptions } from "./azure-options.ts";

/** Opens a container (or what lies under a prefix of it) as blob storage, a name being the prefix and the blob's id. Does not call the store. */
export async function openAzureStorage(options: AzureOptions): Promise<BlobStorage> {
  return new AzureStorage(await AzureConnection.open(options));
}

/** As Kopia stores its blobs. */
const CONTENT_TYPE = "application/x-kopia";
/** Decimal nanoseconds since the epoch: the time that a copied blob had where it comes from. Kopia writes it in `sync-to`. */
const MTIME_KEY = "kopiamtime";

class AzureStorage implements BlobStorage {
  readonly description: string;
  readonly capabilities: BlobCapabilities;
  readonly #azure: AzureConnection;

  constructor(azure: AzureConnection) {
    this.#azure = azure;
    this.description = azure.place;
    this.capabilities = { putIfAbsent: true, retention: azure.options.objectLock !== false };
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    checkBlobId(id);
    const { signal } = options;
    const action = `Cannot read blob "${id}" of ${this.description}`;
    return await rangedGet(id, options, {
      place: this.description,
      fetch: async (range) => {
        const response = await this.#azure.call(action, signal, ({ client }, abort) =>
          client.getBlobClient(this.#azure.name(id)).download(range?.offset ?? 0, range?.length, { ...abort, maxRetryRequests: 0 }),
        );
        return await this.#azure.body(response, action, signal);
      },
      length: async () => (await this.head(id, signal)).length,
    });
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    checkBlobId(id);
    try {
      const found = await this.#azure.call(`Cannot read blob "${id}" of ${this.description}`, signal, ({ client }, abort) =>
        client.getBlobClient(this.#azure.name(id)).getProperties(abort),
      );
      return { id, length: found.contentLength ?? 0, timestampMs: timestampOf(found.metadata, found.lastModified) };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? blobNotFound(this.description, id, error) : error;
    }
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options: PutBlobOptions = {}): Promise<void> {
    checkBlobId(id);
    const parts = data instanceof Uint8Array ? [data] : data;
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const lock = options.retention === undefined ? {} : { immutabilityPolicy: this.#policy(options.retention) };
    try {
      await this.#azure.call(`Cannot store blob "${id}" in ${this.description}`, options.signal, ({ client }, abort) =>
        // The parts go out as they lie in memory, in one request: joined, every pack would be held twice.
        client.getBlockBlobClient(this.#azure.name(id)).upload(() => Readable.from(parts.filter((part) => part.length > 0)), length, {
          ...abort,
          ...lock,
          blobHTTPHeaders: { blobContentType: CONTENT_TYPE },
          ...(options.ifAbsent === true ? { conditions: { ifNoneMatch: "*" } } : {}),
        }),
      );
    } catch (error) {
      throw hasCode(error, "BLOB_ALREADY_EXISTS") ? blobAlreadyExists(this.description, id, error) : error;
    }
  }

  async delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    checkBlobId(id);
    await deleteAzureBlob(this.#azure, this.#azure.name(id), `Cannot delete blob "${id}" of ${this.description}`, signal);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const base = this.#azure.options.prefix ?? "";
    // The delimiter hides what others keep in folders below the prefix: no blob id holds a slash.
    for await (const { blobs } of this.#azure.pages(base + prefix, "/", `Cannot list ${this.description}`, signal)) {
      for (const { name, metadata, properties } of blobs) {
        const id = name.slice(base.length);
        if (isBlobId(id)) yield { id, length: properties.contentLength ?? 0, timestampMs: timestampOf(metadata, properties.lastModified) };
      }
    }
  }

  async extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    checkBlobId(id);
    const policy = this.#policy(retention);
    try {
      await this.#azure.call(`Cannot lock blob "${id}" of ${this.description}`, signal, ({ client }, abort) =>
        client.getBlobClient(this.#azure.name(id)).setImmutabilityPolicy(policy, abort),
      );
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? blobNotFound(this.description, id, error) : error;
    }
  }

  async close(): Promise<void> {
    await this.#azure.close();
  }

  /** Both of Kopia's modes become a locked policy: an unlocked one may be shortened and taken off by whoever may write. */
  #policy({ untilMs }: BlobRetention): { policyMode: "Locked"; expiriesOn: Date } {
    if (!this.capabilities.retention) throw new DrayError("NOT_SUPPORTED", `Cannot lock blobs of ${this.description}: the container has no immutability`);
    return { policyMode: "Locked", expiriesOn: new Date(untilMs) };
  }
}

/** What is not there counts as deleted. */
export async function deleteAzureBlob(azure: AzureConnection, name: string, action: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await azure.call(action, signal, ({ client }, abort) => client.getBlobClient(name).delete(abort));
  } catch (error) {
    if (!hasCode(error, "BLOB_NOT_FOUND")) throw error;
  }
}

function timestampOf(metadata: Readonly<Record<string, string>> | undefined, modified: Date | undefined): number {
  const stored = Object.entries(metadata ?? {}).find(([key]) => key.toLowerCase() === MTIME_KEY)?.[1];
  if (stored !== undefined && /^\d{1,19}$/.test(stored)) return Number(BigInt(stored) / 1_000_000n);
  return modified?.getTime() ?? 0;
}
