/**
 * The blob storage port: opaque, named, immutable-by-convention byte strings, as a Kopia repository needs them.
 *
 * Contract, which `contract/` checks on every implementation:
 * - Read-after-write for get, head and list. A put is atomic: a reader sees the old blob, the new one or none, never a part.
 * - The storage assigns the timestamp. It does not go backwards by more than a few minutes.
 * - Methods do not retry; the retry wrapper does, by the disposition of the error code.
 * - Every method may be called concurrently. Buffers passed in are not kept after the promise settles; buffers returned belong to the caller.
 * - `signal` aborts the call as soon as it can; the signal's reason is what is thrown.
 */
export type BlobId = string;

export interface BlobMetadata {
  readonly id: BlobId;
  /** Bytes. */
  readonly length: number;
  /** Milliseconds since the epoch, by the storage's clock. */
  readonly timestampMs: number;
}

export interface GetBlobOptions {
  /** First byte wanted; 0 when left out. */
  readonly offset?: number;
  /** Bytes wanted; all from `offset` on when left out. The answer has exactly this length, or BLOB_INVALID_RANGE is thrown. */
  readonly length?: number;
  /**
   * Memory, exactly as long as `length`, that an implementation may put the bytes into; the answer is then this array. It saves whoever reads many ranges the allocation of each.
   * After a failure it holds anything.
   */
  readonly into?: Uint8Array;
  /** From the store itself, past copies that a wrapper keeps: what was read before did not prove right. */
  readonly fresh?: boolean;
  readonly signal?: AbortSignal;
}

/** Object lock of one blob: nobody may delete or replace it before `untilMs`. */
export interface BlobRetention {
  readonly mode: "GOVERNANCE" | "COMPLIANCE";
  readonly untilMs: number;
}

export interface PutBlobOptions {
  /** Fail with BLOB_ALREADY_EXISTS rather than replace. Only where `capabilities.putIfAbsent`; NOT_SUPPORTED otherwise. */
  readonly ifAbsent?: boolean;
  readonly retention?: BlobRetention;
  /** It will hardly be read again soon: an implementation may leave the system's cache out. */
  readonly pastCache?: boolean;
  readonly signal?: AbortSignal;
}

export interface BlobCapabilities {
  readonly putIfAbsent: boolean;
  readonly retention: boolean;
  /** Whether blobs lie in this machine's own file system: one upload at a time keeps it busy, and one range ahead a reader, where a network wants several on their way. @default false */
  readonly isLocal?: boolean;
}

export interface BlobStorage {
  /** For messages and logs: provider and place, no secret. `s3://bucket/prefix`. */
  readonly description: string;
  readonly capabilities: BlobCapabilities;

  /** The bytes of a blob or of a range of it. Throws BLOB_NOT_FOUND, BLOB_INVALID_RANGE. */
  get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array>;
  /** Length and timestamp. Throws BLOB_NOT_FOUND. */
  head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata>;
  /** Stores a blob whole, replacing one of that name. Several parts are stored one after the other as one blob. */
  put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void>;
  /** Deletes a blob; one that is not there counts as deleted. */
  delete(id: BlobId, signal?: AbortSignal): Promise<void>;
  /** Every blob whose id begins with `prefix`, in byte order of ids. Never the whole listing in memory. */
  list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata>;
  /** Extends the object lock of a blob. Throws NOT_SUPPORTED where `capabilities.retention` is false. */
  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void>;
  /** Gives back connections. The storage is not used afterwards. */
  close(): Promise<void>;
}
