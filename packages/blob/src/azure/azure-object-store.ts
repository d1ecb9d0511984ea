import type { StorageSharedKeyCredential } from "@azure/storage-blob";
import { DrayError, hasCode, systemClock } from "@drayage/base";
import { objectNotFound, objectRangeMissing } from "../blob-errors.ts";
import type { ByteRange, ObjectListing, ObjectStore, StoredObject } from "../object-store.ts";
import { openSourceFile } from "../source-file.ts";
import { AzureConnection, type OpenContainer } from "./azure-connection.ts";
import type { AzureOptions } from "./azure-options.ts";
import { deleteAzureBlob } from "./azure-storage.ts";

/** Opens a container (or what lies under a prefix of it) as an object store. Does not call the store; `check` does. */
export async function openAzureObjectStore(options: AzureOptions): Promise<ObjectStore> {
  return new AzureObjectStore(await AzureConnection.open(options));
}

const BLOCK_BYTES = 16 << 20;
/** Bytes in flight of one upload: blocks at once × size of a block. */
const BLOCKS_AT_ONCE = 3;
/** A signed address begins to be valid this long ago, for clocks that are behind ours. */
const SKEW_MS = 10 * 60_000;

class AzureObjectStore implements ObjectStore {
  readonly description: string;
  readonly #azure: AzureConnection;

  constructor(azure: AzureConnection) {
    this.#azure = azure;
    this.description = azure.place;
  }

  async check(signal?: AbortSignal): Promise<void> {
    for await (const _page of this.#azure.pages(this.#azure.options.prefix ?? "", "/", `Cannot use ${this.description}`, signal)) return;
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    const { response, action } = await this.#open(key, signal);
    return await this.#azure.body(response, action, signal);
  }

  async getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    try {
      const { response, action } = await this.#open(key, signal, range);
      const bytes = await this.#azure.body(response, action, signal);
      // A range that reaches beyond the end is answered with what there is.
      if (bytes.length !== range.length) throw objectRangeMissing(this.description, key, range);
      return bytes;
    } catch (error) {
      throw hasCode(error, "BLOB_INVALID_RANGE") ? objectRangeMissing(this.description, key, range, error) : error;
    }
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { response, action } = await this.#open(key, signal);
    return this.#azure.stream(response, action, signal);
  }

  async head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    try {
      const found = await this.#azure.call(`Cannot read "${key}" of ${this.description}`, signal, ({ client }, abort) =>
        client.getBlobClient(this.#azure.name(key)).getProperties(abort),
      );
      return { key, length: found.contentLength ?? 0, timestampMs: found.lastModified?.getTime() ?? 0 };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? objectNotFound(this.description, key, error) : error;
    }
  }

  async put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#azure.call(`Cannot store "${key}" in ${this.description}`, signal, ({ client }, abort) =>
      client.getBlockBlobClient(this.#azure.name(key)).upload(data, data.length, abort),
    );
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    const action = `Cannot store "${key}" in ${this.description}`;
    const file = await openSourceFile(path, action);
    try {
      if ((await file.stat()).size === 0) return await this.put(key, new Uint8Array(), signal);
    } finally {
      await file.close();
    }
    const blockSize = this.#azure.options.blockSizeBytes ?? BLOCK_BYTES;
    await this.#azure.call(action, signal, ({ client }, abort) =>
      client
        .getBlockBlobClient(this.#azure.name(key))
        .uploadFile(path, { ...abort, blockSize, maxSingleShotSize: Math.min(blockSize, BLOCK_BYTES), concurrency: BLOCKS_AT_ONCE }),
    );
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await deleteAzureBlob(this.#azure, this.#azure.name(key), `Cannot delete "${key}" of ${this.description}`, signal);
  }

  async listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    const base = this.#azure.options.prefix ?? "";
    const objects: StoredObject[] = [];
    const prefixes: string[] = [];
    for await (const page of this.#azure.pages(base + prefix, "/", this.#listing(prefix), signal)) {
      for (const blob of page.blobs) objects.push(this.#stored(blob));
      for (const common of page.prefixes) prefixes.push(common.slice(base.length));
    }
    return { objects: objects.filter(({ key }) => key !== prefix), prefixes };
  }

  async *listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    for await (const { blobs } of this.#azure.pages(this.#azure.name(prefix), "", this.#listing(prefix), signal)) {
      for (const blob of blobs) yield this.#stored(blob);
    }
  }

  /** A SAS for this one blob, signed with the account's key, or with a key that the service gives the identity. Throws NOT_SUPPORTED under a SAS, from which none can be made. */
  async signedUrl(key: string, validForMs: number): Promise<string> {
    const action = `Cannot sign an address of "${key}" of ${this.description}`;
    const { options, sdk } = this.#azure;
    if (options.credential.kind === "sas") {
      throw new DrayError("NOT_SUPPORTED", `${action}: the location is opened with a SAS, which cannot sign another`, {
        hint: "Use an account key or an identity.",
      });
    }
    const nowMs = (options.clock ?? systemClock).nowMs();
    const startsOn = new Date(nowMs - SKEW_MS);
    const expiresOn = new Date(nowMs + Math.max(1000, validForMs));
    return await this.#azure.call(action, undefined, async (container) => {
      const blob = container.client.getBlobClient(this.#azure.name(key));
      const values = {
        containerName: options.container,
        blobName: this.#azure.name(key),
        permissions: sdk.BlobSASPermissions.parse("r"),
        startsOn,
        expiresOn,
        ...(new URL(blob.url).protocol === "https:" ? { protocol: sdk.SASProtocol.Https } : {}),
      };
      const query = isSharedKey(container)
        ? sdk.generateBlobSASQueryParameters(values, container.signer)
        : sdk.generateBlobSASQueryParameters(values, await container.service.getUserDelegationKey(startsOn, expiresOn), options.storageAccount);
      return `${blob.url}?${query.toString()}`;
    });
  }

  async close(): Promise<void> {
    await this.#azure.close();
  }

  #listing(prefix: string): string {
    return `Cannot list "${prefix}" of ${this.description}`;
  }

  #stored(blob: { readonly name: string; readonly properties: { readonly contentLength?: number; readonly lastModified?: Date } }): StoredObject {
    const base = this.#azure.options.prefix ?? "";
    return { key: blob.name.slice(base.length), length: blob.properties.contentLength ?? 0, timestampMs: blob.properties.lastModified?.getTime() ?? 0 };
  }

  async #open(key: string, signal: AbortSignal | undefined, range?: ByteRange) {
    const action = `Cannot read "${key}" of ${this.description}`;
    try {
      const response = await this.#azure.call(action, signal, ({ client }, abort) =>
        client.getBlobClient(this.#azure.name(key)).download(range?.offset ?? 0, range?.length, { ...abort, maxRetryRequests: 0 }),
      );
      return { response, action };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? objectNotFound(this.description, key, error) : error;
    }
  }
}

function isSharedKey(container: OpenContainer): container is OpenContainer & { readonly signer: StorageSharedKeyCredential } {
  return "accountName" in container.signer;
}
