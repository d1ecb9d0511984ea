/** Counts what moves on one node, from how its objects change. */
import { parseTime } from "@drayage/base";
import type { Informer } from "@drayage/kube";
import type { DataMovementCaches } from "../data-movement/caches.ts";
import type { AnyMovement } from "../data-movement/movement.ts";
import { type MetricChange, type MetricName, type Metrics, report } from "./metrics.ts";

/** How a kind of movement is counted. */
interface Counted {
  readonly operation: string;
  readonly begins?: MetricName;
  readonly ends: Readonly<Partial<Record<string, MetricName>>>;
}

const UPLOADS: Counted = {
  operation: "data-upload",
  ends: {
    Completed: "podVolume_data_upload_success_total",
    Failed: "podVolume_data_upload_failure_total",
    Canceled: "podVolume_data_upload_cancel_total",
  },
};
const DOWNLOADS: Counted = {
  operation: "data-download",
  ends: {
    Completed: "podVolume_data_download_success_total",
    Failed: "podVolume_data_download_failure_total",
    Canceled: "podVolume_data_download_cancel_total",
  },
};
const DEQUEUED = "podVolume_pod_volume_backup_dequeue_count";
const VOLUME_BACKUPS: Counted = {
  operation: "pod-volume-backup",
  begins: "podVolume_pod_volume_backup_enqueue_count",
  ends: { Completed: DEQUEUED, Failed: DEQUEUED, Canceled: DEQUEUED },
};
const VOLUME_RESTORES: Counted = { operation: "pod-volume-restore", ends: {} };

const PHASES = ["New", "Accepted", "Prepared", "InProgress", "Canceling"] as const;
const ENDED: ReadonlySet<string> = new Set(["Completed", "Failed", "Canceled"]);

/** Counts the movements of a node until the returned function is called. */
export function startMovementMetrics(
  caches: Pick<DataMovementCaches, "uploads" | "downloads" | "volumeBackups" | "volumeRestores">,
  node: string,
  metrics: Metrics,
): () => void {
  for (const counted of [UPLOADS, DOWNLOADS, VOLUME_BACKUPS, VOLUME_RESTORES])
    for (const name of [counted.begins, ...Object.values(counted.ends)]) if (name !== undefined) metrics.add(name, { node }, 0);
  const watch = <T extends AnyMovement>(informer: Informer<T>, counted: Counted): (() => void) =>
    informer.onChange((before, after) => {
      report(metrics, movementChanges(before, after, node, counted));
      // Progress comes every second, and moves nothing from one phase to another.
      if (before?.status?.phase !== after?.status?.phase || before === undefined || after === undefined)
        report(metrics, phaseGauges(informer.list(), node, counted.operation));
    });
  const ends = [
    watch(caches.uploads, UPLOADS),
    watch(caches.downloads, DOWNLOADS),
    watch(caches.volumeBackups, VOLUME_BACKUPS),
    watch(caches.volumeRestores, VOLUME_RESTORES),
  ];
  return () => {
    for (const end of ends) end();
  };
}

function movementChanges(before: AnyMovement | undefined, after: AnyMovement | undefined, node: string, counted: Counted): readonly MetricChange[] {
  if (before === undefined || after === undefined || nodeOf(after) !== node) return [];
  const [was, is] = [before.status?.phase ?? "New", after.status?.phase ?? "New"];
  const { operation } = counted;
  const changes: MetricChange[] = [];
  const moved = (after.status?.progress?.bytesDone ?? 0) - (before.status?.progress?.bytesDone ?? 0);
  if (moved > 0) changes.push({ kind: "add", name: "drayage_moved_bytes_total", labels: { node, operation }, value: moved });
  if (was === is) return changes;
  if (is === "InProgress" && counted.begins !== undefined) changes.push({ kind: "add", name: counted.begins, labels: { node }, value: 1 });
  const end = counted.ends[is];
  if (end !== undefined) changes.push({ kind: "add", name: end, labels: { node }, value: 1 });
  const [startMs, endMs] = [parseTime(after.status?.startTimestamp), parseTime(after.status?.completionTimestamp)];
  if (ENDED.has(is) && startMs !== undefined && endMs !== undefined) {
    const value = Math.max(0, endMs - startMs) / 1000;
    changes.push({ kind: "observe", name: "podVolume_pod_volume_operation_latency_seconds", labels: { node, operation }, value });
  }
  return changes;
}

function phaseGauges(movements: readonly AnyMovement[], node: string, operation: string): readonly MetricChange[] {
  const counts = new Map<string, number>(PHASES.map((phase) => [phase, 0]));
  for (const movement of movements) {
    const phase = movement.status?.phase ?? "New";
    if (nodeOf(movement) === node && counts.has(phase)) counts.set(phase, (counts.get(phase) ?? 0) + 1);
  }
  return [...counts].map(([phase, value]) => ({ kind: "set", name: "drayage_movements", labels: { node, operation, phase }, value }));
}

/** The node that acts on it, or did: kinds write it down in different places. */
function nodeOf({ spec, status }: AnyMovement): string | undefined {
  const stated = (status ?? {}) as { readonly node?: string; readonly acceptedByNode?: string };
  return stated.node ?? ("node" in spec ? spec.node : undefined) ?? stated.acceptedByNode;
}
