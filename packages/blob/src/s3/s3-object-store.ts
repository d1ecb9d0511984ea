import { DrayError, forEachLimit, hasCode } from "@drayage/base";
import { objectNotFound, objectRangeMissing } from "../blob-errors.ts";
import type { BucketFacts, ByteRange, ObjectListing, ObjectStore, StoredObject } from "../object-store.ts";
import { httpRange } from "../ranged-get.ts";
import { openSourceFile } from "../source-file.ts";
import { bucketFacts } from "./bucket-facts.ts";
import { S3Connection } from "./s3-connection.ts";
import type { S3Options } from "./s3-options.ts";
import { deleteObject, listPages } from "./s3-storage.ts";
import { ownerSetting, readSettings, writeSettings } from "./write-settings.ts";

/** Opens a bucket (or what lies under a prefix of it) as an object store. Does not call the store; `check` does. */
export async function openS3ObjectStore(options: S3Options): Promise<ObjectStore> {
  return new S3ObjectStore(await S3Connection.open(options));
}

/** Files up to this size go in one request. */
const SINGLE_PUT_BYTES = 16 << 20;
/** S3 takes at most so many parts of one upload. */
const PARTS_MAX = 10_000;
/** Bytes in flight of one upload: parts at once × size of a part. */
const PARTS_AT_ONCE = 3;

class S3ObjectStore implements ObjectStore {
  readonly description: string;
  readonly #s3: S3Connection;

  constructor(s3: S3Connection) {
    this.#s3 = s3;
    this.description = s3.place;
  }

  async check(signal?: AbortSignal): Promise<void> {
    const action = `Cannot use ${this.description}`;
    // A listing rather than a HEAD: its errors come with a body that says what is wrong, and it is a right that a location needs anyway.
    await this.#s3.call(action, signal, (client, abort) =>
      client.send(
        new this.#s3.sdk.ListObjectsV2Command({
          Bucket: this.#s3.bucket,
          Prefix: this.#s3.options.prefix ?? "",
          MaxKeys: 1,
          ...ownerSetting(this.#s3.options),
        }),
        abort,
      ),
    );
  }

  bucketFacts(signal?: AbortSignal): Promise<BucketFacts> {
    return bucketFacts(this.#s3, signal);
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    const { response, action } = await this.#open(key, signal);
    return await this.#s3.body(response, action, signal);
  }

  async getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    try {
      const { response, action } = await this.#open(key, signal, range);
      const bytes = await this.#s3.body(response, action, signal, range.into);
      // A range that reaches beyond the end is answered with what there is.
      if (bytes.length !== range.length) throw objectRangeMissing(this.description, key, range);
      return bytes;
    } catch (error) {
      throw hasCode(error, "BLOB_INVALID_RANGE") ? objectRangeMissing(this.description, key, range, error) : error;
    }
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { response, action } = await this.#open(key, signal);
    return this.#s3.stream(response, action, signal);
  }

  async head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    try {
      const found = await this.#s3.call(`Cannot read "${key}" of ${this.description}`, signal, (client, abort) =>
        client.send(new this.#s3.sdk.HeadObjectCommand({ Bucket: this.#s3.bucket, Key: this.#s3.key(key), ...readSettings(this.#s3.options) }), abort),
      );
      return { key, length: found.ContentLength ?? 0, timestampMs: found.LastModified?.getTime() ?? 0 };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? objectNotFound(this.description, key, error) : error;
    }
  }

  async put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#s3.call(`Cannot store "${key}" in ${this.description}`, signal, (client, abort) =>
      client.send(
        new this.#s3.sdk.PutObjectCommand({
          Bucket: this.#s3.bucket,
          Key: this.#s3.key(key),
          Body: data,
          ContentLength: data.length,
          ...writeSettings(this.#s3.options),
        }),
        abort,
      ),
    );
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    const file = await openSourceFile(path, `Cannot store "${key}" in ${this.description}`);
    try {
      const { size } = await file.stat();
      const readPart = async (offset: number, length: number): Promise<Uint8Array> => {
        const part = new Uint8Array(length);
        const { bytesRead } = await file.read(part, 0, length, offset);
        if (bytesRead !== length)
          throw new DrayError("PATH_IO", `Cannot store "${key}" in ${this.description}: file "${path}" became shorter while being read`);
        return part;
      };
      if (size <= SINGLE_PUT_BYTES) await this.put(key, await readPart(0, size), signal);
      else await this.#putParts(key, size, readPart, signal);
    } finally {
      await file.close();
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    await deleteObject(this.#s3, this.#s3.key(key), `Cannot delete "${key}" of ${this.description}`, signal);
  }

  async listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    const objects: StoredObject[] = [];
    const prefixes: string[] = [];
    const base = this.#s3.options.prefix ?? "";
    for await (const page of listPages(this.#s3, { Prefix: base + prefix, Delimiter: "/" }, this.#listing(prefix), signal)) {
      for (const found of page.Contents ?? []) objects.push(this.#stored(found));
      for (const { Prefix: common = "" } of page.CommonPrefixes ?? []) prefixes.push(common.slice(base.length));
    }
    // A key that ends in a slash is how consoles draw an empty folder; it is no object of ours.
    return { objects: objects.filter(({ key }) => key !== prefix), prefixes };
  }

  async *listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    for await (const page of listPages(this.#s3, { Prefix: this.#s3.key(prefix) }, this.#listing(prefix), signal)) {
      for (const found of page.Contents ?? []) yield this.#stored(found);
    }
  }

  /** Under SSE-C whoever uses the address must send the key as well, which nobody without it can: NOT_SUPPORTED. */
  async signedUrl(key: string, validForMs: number): Promise<string> {
    const action = `Cannot sign an address of "${key}" of ${this.description}`;
    if (this.#s3.options.customerKey !== undefined) {
      throw new DrayError("NOT_SUPPORTED", `${action}: what a customer key encrypts is read with that key only`, {
        hint: "Fetch it with dray backup download where the location's Secrets are at hand.",
      });
    }
    const { getSignedUrl } = await import("@aws-sdk/s3-request-presigner");
    const command = new this.#s3.sdk.GetObjectCommand({ Bucket: this.#s3.bucket, Key: this.#s3.key(key) });
    const client = await this.#s3.signingClient(action);
    try {
      return await this.#s3.call(action, undefined, () => getSignedUrl(client, command, { expiresIn: Math.max(1, Math.floor(validForMs / 1000)) }));
    } finally {
      if (client !== this.#s3.client) client.destroy();
    }
  }

  async close(): Promise<void> {
    await this.#s3.close();
  }

  #listing(prefix: string): string {
    return `Cannot list "${prefix}" of ${this.description}`;
  }

  #stored(found: { readonly Key?: string | undefined; readonly Size?: number | undefined; readonly LastModified?: Date | undefined }): StoredObject {
    const base = this.#s3.options.prefix ?? "";
    return { key: (found.Key ?? "").slice(base.length), length: found.Size ?? 0, timestampMs: found.LastModified?.getTime() ?? 0 };
  }

  async #open(key: string, signal: AbortSignal | undefined, range?: ByteRange) {
    const action = `Cannot read "${key}" of ${this.description}`;
    const Range = range === undefined ? {} : { Range: httpRange(range) };
    try {
      const response = await this.#s3.call(action, signal, (client, abort) =>
        client.send(new this.#s3.sdk.GetObjectCommand({ Bucket: this.#s3.bucket, Key: this.#s3.key(key), ...readSettings(this.#s3.options), ...Range }), abort),
      );
      return { response, action };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? objectNotFound(this.description, key, error) : error;
    }
  }

  /** An upload that does not complete is aborted, so that its parts do not go on costing. */
  async #putParts(
    key: string,
    size: number,
    readPart: (offset: number, length: number) => Promise<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const action = `Cannot store "${key}" in ${this.description}`;
    const { sdk } = this.#s3;
    const target = { Bucket: this.#s3.bucket, Key: this.#s3.key(key) };
    const settings = writeSettings(this.#s3.options);
    const ofParts = { ...readSettings(this.#s3.options), ...("ChecksumAlgorithm" in settings ? { ChecksumAlgorithm: settings.ChecksumAlgorithm } : {}) };
    const { UploadId } = await this.#s3.call(action, signal, (client, abort) =>
      client.send(new sdk.CreateMultipartUploadCommand({ ...target, ...settings }), abort),
    );
    const partBytes = Math.max(SINGLE_PUT_BYTES, Math.ceil(size / PARTS_MAX));
    const parts: {
      PartNumber: number;
      ETag?: string;
      ChecksumCRC32?: string;
      ChecksumCRC32C?: string;
      ChecksumCRC64NVME?: string;
      ChecksumSHA1?: string;
      ChecksumSHA256?: string;
    }[] = Array.from({ length: Math.ceil(size / partBytes) }, (_, index) => ({ PartNumber: index + 1 }));
    try {
      await forEachLimit(
        parts,
        PARTS_AT_ONCE,
        async (part) => {
          const offset = (part.PartNumber - 1) * partBytes;
          const Body = await readPart(offset, Math.min(partBytes, size - offset));
          const stored = await this.#s3.call(action, signal, (client, abort) =>
            client.send(new sdk.UploadPartCommand({ ...target, ...ofParts, UploadId, PartNumber: part.PartNumber, Body, ContentLength: Body.length }), abort),
          );
          for (const field of ["ETag", "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256"] as const) {
            const value = stored[field];
            if (value !== undefined) part[field] = value;
          }
        },
        signal,
      );
      await this.#s3.call(action, signal, (client, abort) =>
        client.send(
          new sdk.CompleteMultipartUploadCommand({ ...target, ...readSettings(this.#s3.options), UploadId, MultipartUpload: { Parts: parts } }),
          abort,
        ),
      );
    } catch (error) {
      await this.#s3
        .call(action, undefined, (client) => client.send(new sdk.AbortMultipartUploadCommand({ ...target, ...ownerSetting(this.#s3.options), UploadId })))
        .catch(() => undefined);
      throw error;
    }
  }
}
