import type { BlobMetadata, BlobStorage } from "@drayage/blob";

/** Kopia's diagnostic logs, which its clients leave in the storage; we write none. */
const LOG_PREFIX = "_log_";

/** What is kept of them, newest first. */
export interface LogRetention {
  readonly maxTotalBytes: number;
  readonly maxCount: number;
  readonly maxAgeMs: number;
}

export const defaultLogRetention: LogRetention = { maxTotalBytes: 1 << 30, maxCount: 10_000, maxAgeMs: 30 * 24 * 3_600_000 };

/** Names of the logs that are over any of the limits. */
export async function planLogCleanup(storage: BlobStorage, retention: LogRetention, nowMs: number, signal?: AbortSignal): Promise<string[]> {
  const logs: BlobMetadata[] = [];
  for await (const blob of storage.list(LOG_PREFIX, signal)) logs.push(blob);
  logs.sort((a, b) => b.timestampMs - a.timestampMs);
  let total = 0;
  const names: string[] = [];
  for (const [i, { id, length, timestampMs }] of logs.entries()) {
    total += length;
    if (total > retention.maxTotalBytes || i >= retention.maxCount || nowMs - timestampMs > retention.maxAgeMs) names.push(id);
  }
  return names;
}
