/** Where indexes are kept: epochs (`x…`) since format version 2, single blobs with a compaction log (`n`, `m`) before. */
import type { BlobMetadata } from "@drayage/blob";

export interface ActiveIndexBlobs {
  /** The blobs that together say what exists. */
  readonly blobs: readonly BlobMetadata[];
  /** Deletions up to this time, in unix seconds, are final. */
  readonly deletionWatermark: number;
}

export interface IndexBlobs {
  /** What is active now, by a listing of its own. */
  active(signal?: AbortSignal): Promise<ActiveIndexBlobs>;
  /**
   * Encrypts and stores plain indexes, so that what they say exists. Returns their names in order. When it throws, some of them may be there all the same, and stay: others may
   * rely on them already.
   */
  write(indexes: readonly Uint8Array[], sessionId: string, signal?: AbortSignal): Promise<readonly string[]>;
}
