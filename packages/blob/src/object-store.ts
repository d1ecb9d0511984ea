/**
 * The object store port: a bucket with slash-separated keys, as Velero's bucket layout needs it. Providers: S3 and a directory.
 * The same rules as `storage.ts` hold: atomic puts, read-after-write, no retries inside, concurrent calls, translated errors.
 */
export interface StoredObject {
  readonly key: string;
  /** Bytes. */
  readonly length: number;
  /** Milliseconds since the epoch, by the store's clock. */
  readonly timestampMs: number;
}

export interface ObjectListing {
  /** Objects directly below the prefix, in byte order of keys. */
  readonly objects: readonly StoredObject[];
  /** Common prefixes up to and including the next `/`, in byte order. */
  readonly prefixes: readonly string[];
}

/** A stretch of an object, in bytes; the length is more than 0. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
  /** Memory, exactly as long as `length`, that an implementation may put the bytes into; the answer is then this array. It may be shared between threads. */
  readonly into?: Uint8Array;
}

/** What a bucket says of itself. */
export interface BucketFacts {
  /** Who made the store: `AWS`, `MinIO`, `Ceph`, what it calls itself, or `Unknown`. */
  readonly vendor: string;
  /** Whether it keeps old versions: `Enabled`, `Suspended` or `None`. */
  readonly versioningStatus: string;
  /** How it encrypts what comes in: S3's name of the algorithm, or `None`. */
  readonly encryptionAlgorithm: string;
}

export interface ObjectStore {
  /** For messages and logs: provider, bucket and prefix, no secret. */
  readonly description: string;
  /** Throws BLOB_BUCKET_NOT_FOUND, BLOB_ACCESS_DENIED or BLOB_UNAVAILABLE when the bucket cannot be used. */
  check(signal?: AbortSignal): Promise<void>;
  /** Of S3 only; elsewhere there is nothing to call. Throws BLOB_ACCESS_DENIED where the credentials may not ask. */
  readonly bucketFacts?: ((signal?: AbortSignal) => Promise<BucketFacts>) | undefined;
  /** Throws BLOB_NOT_FOUND. */
  get(key: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** Exactly `range.length` bytes from `range.offset` on. Throws BLOB_NOT_FOUND, and BLOB_INVALID_RANGE when the object ends before. */
  getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array>;
  /** The object as a stream of chunks, for what may be large. Throws BLOB_NOT_FOUND. */
  getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Throws BLOB_NOT_FOUND. */
  head(key: string, signal?: AbortSignal): Promise<StoredObject>;
  put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Stores a file of the local disk, whatever its size (multipart where the store wants it). Throws PATH_NOT_FOUND and PATH_IO for trouble with that file. */
  putFile(key: string, path: string, signal?: AbortSignal): Promise<void>;
  /** Deletes an object; one that is not there counts as deleted. */
  delete(key: string, signal?: AbortSignal): Promise<void>;
  /** One level below `prefix` (which is empty or ends in `/`). */
  listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing>;
  /** Every object below `prefix`. */
  listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject>;
  /** An address under which anybody can GET the object for `validForMs`. */
  signedUrl(key: string, validForMs: number): Promise<string>;
  close(): Promise<void>;
}
