/**
 * Who maintains a repository and how often (kopia-format.md 8.2): one manifest with the label `type=maintenance`. Intervals are nanoseconds in storage.
 */
import type { Labels } from "../manifest/manifest-content.ts";

export const maintenanceLabels: Labels = { type: "maintenance" };

export interface MaintenanceParametersOptions {
  /** `user@host`: the one identity that may run maintenance. */
  readonly owner: string;
  /** @default 24 hours */
  readonly fullIntervalMs?: number;
  /** @default 1 hour */
  readonly quickIntervalMs?: number;
  /** Whether full maintenance extends the object locks of what is still there. */
  readonly extendObjectLocks?: boolean;
}

const HOUR_MS = 3_600_000;

/** The parameters of a new repository, as Kopia writes them. */
export function maintenanceParameters(options: MaintenanceParametersOptions): string {
  const { owner, fullIntervalMs = 24 * HOUR_MS, quickIntervalMs = HOUR_MS, extendObjectLocks = false } = options;
  const cycle = (intervalMs: number): string => `{"enabled":true,"interval":${intervalMs}000000}`;
  const logRetention = `{"maxTotalSize":1073741824,"maxCount":10000,"maxAge":2592000000000000}`;
  return `{"owner":${JSON.stringify(owner)},"quick":${cycle(quickIntervalMs)},"full":${cycle(fullIntervalMs)},"logRetention":${logRetention},"extendObjectLocks":${extendObjectLocks},"listParallelism":0}`;
}
