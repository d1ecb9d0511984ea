/** How fast a volume moves and what holds it up, in words: from the numbers of Velero's status and the details that our movers add. */
import { DRAYAGE_ANNOTATIONS, type NotedTransferDetails, parseTransferDetails } from "@drayage/api";
import { formatBytes, parseTime } from "@drayage/base";
import type { KubeObject } from "@drayage/kube";
import { formatProgress } from "../cluster/wait.ts";
import { formatElapsed } from "../output/table.ts";

/** What moves, as far as this page looks at it. */
export type Moving = KubeObject & {
  readonly status?: {
    readonly phase?: string;
    readonly message?: string;
    readonly startTimestamp?: string | null;
    readonly completionTimestamp?: string | null;
    readonly progress?: { readonly bytesDone?: number; readonly totalBytes?: number };
  };
};

export interface TransferFacts {
  /** Bytes a second: lately while it runs, on the whole once it has ended. */
  readonly bytesPerSecond: number | undefined;
  readonly etaMs: number | undefined;
  readonly limitedBy: string | undefined;
  readonly details: NotedTransferDetails | undefined;
}

/** Details older than this say nothing of now: their mover is silent. */
const STALE_MS = 60_000;
const LIMITS: Readonly<Record<string, string>> = { reading: "reading the volume", processor: "the processor", storage: "the storage" };

export function transferFacts(movement: Moving, nowMs: number): TransferFacts {
  const { status } = movement;
  const details = parseTransferDetails(movement.metadata.annotations?.[DRAYAGE_ANNOTATIONS.transfer] ?? "");
  const startMs = parseTime(status?.startTimestamp);
  const endMs = parseTime(status?.completionTimestamp);
  const done = status?.progress?.bytesDone ?? 0;
  const total = status?.progress?.totalBytes ?? 0;
  if (endMs !== undefined) {
    const took = startMs === undefined ? 0 : endMs - startMs;
    return { bytesPerSecond: took > 0 && done > 0 ? (done * 1000) / took : undefined, etaMs: undefined, limitedBy: undefined, details };
  }
  if (status?.phase !== "InProgress") return { bytesPerSecond: undefined, etaMs: undefined, limitedBy: undefined, details };
  const isFresh = details !== undefined && nowMs - (parseTime(details.at) ?? 0) < STALE_MS;
  // A mover of others says no more than how much is done.
  const average = startMs !== undefined && nowMs > startMs && done > 0 ? (done * 1000) / (nowMs - startMs) : undefined;
  const bytesPerSecond = (isFresh ? details.bytesPerSecond : undefined) ?? average;
  const etaMs = bytesPerSecond === undefined || bytesPerSecond <= 0 || total <= done ? undefined : ((total - done) * 1000) / bytesPerSecond;
  return {
    bytesPerSecond,
    etaMs,
    limitedBy: isFresh && details.limitedBy !== undefined ? (LIMITS[details.limitedBy] ?? details.limitedBy) : undefined,
    details,
  };
}

/** `shop/files: InProgress, 4.0 GiB of 9.0 GiB (44 %), 12.0 MiB/s, 7m left, limited by the storage`; what it waits for, where its status says so. */
export function formatMovement(volume: string, movement: Moving, nowMs: number | undefined): string {
  const { phase = "New", progress, message } = movement.status ?? {};
  const how = nowMs === undefined ? "" : formatTransfer(movement, nowMs);
  return [`${volume}: ${phase}`, formatProgress(progress?.bytesDone, progress?.totalBytes), how, message ?? ""].filter((part) => part !== "").join(", ");
}

/** `12.0 MiB/s, 4m left, limited by the storage`; empty when nothing is known. */
export function formatTransfer(movement: Moving, nowMs: number): string {
  const { bytesPerSecond, etaMs, limitedBy } = transferFacts(movement, nowMs);
  return [
    ...(bytesPerSecond === undefined ? [] : [`${formatBytes(bytesPerSecond)}/s`]),
    ...(etaMs === undefined ? [] : [`${formatElapsed(Math.max(etaMs, 1000))} left`]),
    ...(limitedBy === undefined ? [] : [`limited by ${limitedBy}`]),
  ].join(", ");
}
