import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import type * as Sdk from "@aws-sdk/client-s3";
import { concat, DrayError, hasCode } from "@drayage/base";
import { blobAlreadyExists, blobNotFound } from "../blob-errors.ts";
import { checkBlobId } from "../blob-id.ts";
import { httpRange, rangedGet } from "../ranged-get.ts";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";
import { receiveInto } from "./received-range.ts";
import { S3Connection } from "./s3-connection.ts";
import type { S3Options } from "./s3-options.ts";
import { S3PointInTimeStorage } from "./s3-point-in-time.ts";
import { SignedChunks, sendSigned } from "./signed-chunks.ts";
import { ownerSetting, readSettings, writeSettings } from "./write-settings.ts";

/** Opens a bucket (or what lies under a prefix of it) as blob storage, a key being the prefix and the blob's id and nothing between. Does not call the store. */
export async function openS3Storage(options: S3Options): Promise<BlobStorage> {
  const connection = await S3Connection.open(options);
  return options.pointInTimeMs === undefined ? new S3Storage(connection) : new S3PointInTimeStorage(connection, options.pointInTimeMs);
}

/** As Kopia stores its blobs. */
const CONTENT_TYPE = "application/x-kopia";
/** Parts that are smaller together than this are joined. */
const JOINED_BYTES_MAX = 1 << 20;
/** Kopia's per-prefix storage classes lie beside the blobs and are none. */
const STORAGE_CONFIG = ".storageconfig";

class S3Storage implements BlobStorage {
  readonly description: string;
  readonly capabilities: BlobCapabilities;
  readonly #s3: S3Connection;

  constructor(s3: S3Connection) {
    this.#s3 = s3;
    this.description = s3.place;
    this.capabilities = { putIfAbsent: s3.options.conditionalPut ?? s3.options.endpoint === undefined, retention: s3.options.objectLock !== false };
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    checkBlobId(id);
    const { signal } = options;
    const action = `Cannot read blob "${id}" of ${this.description}`;
    return await rangedGet(id, options, {
      place: this.description,
      fetch: async (range) => {
        const Range = range === undefined ? {} : { Range: httpRange(range) };
        const { into } = options;
        const command = new this.#s3.sdk.GetObjectCommand({ Bucket: this.#s3.bucket, Key: this.#s3.key(id), ...readSettings(this.#s3.options), ...Range });
        const received =
          into !== undefined && range?.length === into.length
            ? receiveInto(command, { connections: this.#s3.ranges, into, offset: range.offset, signal })
            : undefined;
        const response = await this.#s3.call(action, signal, (client, abort) => client.send(command, abort));
        return into !== undefined && received?.() === true ? into : await this.#s3.body(response, action, signal, into);
      },
      length: async () => (await this.head(id, signal)).length,
    });
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    checkBlobId(id);
    try {
      const found = await this.#s3.call(`Cannot read blob "${id}" of ${this.description}`, signal, (client, abort) =>
        client.send(new this.#s3.sdk.HeadObjectCommand({ Bucket: this.#s3.bucket, Key: this.#s3.key(id), ...readSettings(this.#s3.options) }), abort),
      );
      return { id, length: found.ContentLength ?? 0, timestampMs: found.LastModified?.getTime() ?? 0 };
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? blobNotFound(this.description, id, error) : error;
    }
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options: PutBlobOptions = {}): Promise<void> {
    checkBlobId(id);
    if (options.ifAbsent === true && !this.capabilities.putIfAbsent) {
      throw new DrayError("NOT_SUPPORTED", `Cannot create blob "${id}" in ${this.description}: the store is not known to honour conditional puts`);
    }
    const parts = data instanceof Uint8Array ? [data] : data;
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const chunks = this.#chunks(parts, length, options);
    const command = new this.#s3.sdk.PutObjectCommand({
      Bucket: this.#s3.bucket,
      Key: this.#s3.key(id),
      ContentLength: chunks?.framedLength ?? length,
      ContentType: CONTENT_TYPE,
      ...writeSettings(this.#s3.options),
      ...(options.ifAbsent === true ? { IfNoneMatch: "*" } : {}),
      ...(options.retention === undefined ? {} : this.#lock(options.retention)),
      ...this.#body(parts, length, options),
    });
    if (chunks !== undefined) sendSigned(command, chunks, () => this.#s3.client.config.credentials());
    else if (command.input.Body instanceof Readable) signAsWhole(command, parts);
    try {
      await this.#s3.call(`Cannot store blob "${id}" in ${this.description}`, options.signal, (client, abort) => client.send(command, abort));
    } catch (error) {
      throw hasCode(error, "BLOB_ALREADY_EXISTS") ? blobAlreadyExists(this.description, id, error) : error;
    }
  }

  async delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    checkBlobId(id);
    await deleteObject(this.#s3, this.#s3.key(id), `Cannot delete blob "${id}" of ${this.description}`, signal);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const base = this.#s3.options.prefix ?? "";
    // The delimiter hides what others keep in folders below the prefix: no blob id holds a slash.
    for await (const page of listPages(this.#s3, { Prefix: base + prefix, Delimiter: "/" }, `Cannot list ${this.description}`, signal)) {
      for (const { Key: key = "", Size: length = 0, LastModified: modified } of page.Contents ?? []) {
        const id = key.slice(base.length);
        if (id !== "" && id !== STORAGE_CONFIG) yield { id, length, timestampMs: modified?.getTime() ?? 0 };
      }
    }
  }

  async extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    checkBlobId(id);
    const { ObjectLockMode: Mode, ObjectLockRetainUntilDate: RetainUntilDate } = this.#lock(retention);
    try {
      await this.#s3.call(`Cannot lock blob "${id}" of ${this.description}`, signal, (client, abort) =>
        client.send(
          new this.#s3.sdk.PutObjectRetentionCommand({
            Bucket: this.#s3.bucket,
            Key: this.#s3.key(id),
            Retention: { Mode, RetainUntilDate },
            ...ownerSetting(this.#s3.options),
            ChecksumAlgorithm: "CRC32",
          }),
          abort,
        ),
      );
    } catch (error) {
      throw hasCode(error, "BLOB_NOT_FOUND") ? blobNotFound(this.description, id, error) : error;
    }
  }

  async close(): Promise<void> {
    await this.#s3.close();
  }

  /**
   * Large parts are sent as they lie in memory rather than joined, which would hold every pack twice. The SDK would send such a body without a signature or re-framed,
   * so its checksums are computed here (`signAsWhole`). Where an algorithm is asked for that only the SDK knows, they are joined after all.
   */
  #body(parts: readonly Uint8Array[], length: number, options: PutBlobOptions): Partial<Sdk.PutObjectCommandInput> {
    const { checksumAlgorithm, endpoint } = this.#s3.options;
    const [only] = parts;
    if (parts.length === 1 && only !== undefined) return { Body: only };
    if (length < JOINED_BYTES_MAX || options.retention !== undefined || (checksumAlgorithm ?? "") !== "") return { Body: concat(parts) };
    const crc = endpoint === undefined && checksumAlgorithm === undefined ? { ChecksumCRC32: crc32Base64(parts) } : {};
    return { Body: Readable.from(parts.filter((part) => part.length > 0)), ...crc };
  }

  /** The body in chunks that are signed one by one, where that saves time and nothing else of the body is to be sent. */
  #chunks(parts: readonly Uint8Array[], length: number, { retention }: PutBlobOptions): SignedChunks | undefined {
    const { sha256Ranges, endpoint = "", checksumAlgorithm = "" } = this.#s3.options;
    if (sha256Ranges === undefined || !endpoint.startsWith("http:") || length < JOINED_BYTES_MAX || retention !== undefined || checksumAlgorithm !== "") return;
    return new SignedChunks(parts, sha256Ranges);
  }

  /** A locked put needs a checksum that the store checks, also where none is sent otherwise. */
  #lock(retention: BlobRetention): { ObjectLockMode: "GOVERNANCE" | "COMPLIANCE"; ObjectLockRetainUntilDate: Date; ChecksumAlgorithm: "CRC32" } {
    if (!this.capabilities.retention) throw new DrayError("NOT_SUPPORTED", `Cannot lock blobs of ${this.description}: the bucket has no object lock`);
    return { ObjectLockMode: retention.mode, ObjectLockRetainUntilDate: new Date(retention.untilMs), ChecksumAlgorithm: "CRC32" };
  }
}

/** Has the body's SHA-256 signed, although the SDK sees a stream. */
function signAsWhole(command: Sdk.PutObjectCommand, parts: readonly Uint8Array[]): void {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  const sha256 = hash.digest("hex");
  command.middlewareStack.add(
    (next) => (args) => {
      (args.request as { headers: Record<string, string> }).headers["x-amz-content-sha256"] = sha256;
      return next(args);
    },
    { step: "build", name: "drayageContentSha256" },
  );
}

function crc32Base64(parts: readonly Uint8Array[]): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(parts.reduce((value, part) => crc32(part, value), 0));
  return bytes.toString("base64");
}

/** A key that is not there counts as deleted. */
export async function deleteObject(s3: S3Connection, key: string, action: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await s3.call(action, signal, (client, abort) =>
      client.send(new s3.sdk.DeleteObjectCommand({ Bucket: s3.bucket, Key: key, ...ownerSetting(s3.options) }), abort),
    );
  } catch (error) {
    if (!hasCode(error, "BLOB_NOT_FOUND")) throw error;
  }
}

/** The pages of a listing, in byte order of keys. */
export async function* listPages(
  s3: S3Connection,
  wanted: { readonly Prefix: string; readonly Delimiter?: string },
  action: string,
  signal: AbortSignal | undefined,
): AsyncIterable<Sdk.ListObjectsV2CommandOutput> {
  let token: string | undefined;
  do {
    const page: Sdk.ListObjectsV2CommandOutput = await s3.call(action, signal, (client, abort) =>
      client.send(
        new s3.sdk.ListObjectsV2Command({
          Bucket: s3.bucket,
          ...wanted,
          ...ownerSetting(s3.options),
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
        abort,
      ),
    );
    yield page;
    token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
  } while (token !== undefined);
}
