/** Counts what the server's kinds do, from how their objects change. */
import type { BackupRepository, BackupStorageLocation, Schedule } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { ServerCaches } from "../server-caches.ts";
import { backupChanges, deletionChanges, restoreChanges, scheduleOf, successChanges } from "./backup-metrics.ts";
import { type MetricChange, type Metrics, report } from "./metrics.ts";

/** The caches of the server. */
export type ServerMetricSources = Omit<ServerCaches, "stop">;

/** Counts until the returned function is called. What is there before the first list is in is shown, not counted. */
export function startServerMetrics(sources: ServerMetricSources, metrics: Metrics): () => void {
  const { backups, restores, schedules, deletions, locations, repositories } = sources;
  // Which schedule the backup of a deletion came from is asked when the backup is gone.
  const scheduleOfBackup = new Map<string, string>();
  for (const name of INITIALLY_ZERO) metrics.add(name, { schedule: "" }, 0);
  const ends = [
    backups.onChange((before, after) => {
      if (after !== undefined) scheduleOfBackup.set(after.metadata.name ?? "", scheduleOf(after));
      metrics.set("velero_backup_total", {}, backups.list().length);
      report(metrics, [...backupChanges(before, after), ...(before === undefined && after !== undefined ? successChanges(after) : [])]);
    }),
    restores.onChange((before, after) => {
      metrics.set("velero_restore_total", {}, restores.list().length);
      report(metrics, restoreChanges(before, after));
    }),
    schedules.onChange((before, after) => report(metrics, scheduleChanges(before, after))),
    deletions.onChange((before, after) => {
      const name = (after ?? before)?.spec.backupName ?? "";
      report(metrics, deletionChanges(before, after, scheduleOfBackup.get(name) ?? ""));
      if (backups.list().every(({ metadata }) => metadata.name !== name) && (after === undefined || after.status?.phase === "Processed"))
        scheduleOfBackup.delete(name);
    }),
    locations.onChange((_before, after) => report(metrics, locationChanges(after))),
    repositories.onChange((before, after) => report(metrics, maintenanceChanges(before, after))),
  ];
  return () => {
    for (const end of ends) end();
  };
}

/** Shown from the start, so that a rate can be taken over the first failure. */
const INITIALLY_ZERO = [
  "velero_backup_attempt_total",
  "velero_backup_success_total",
  "velero_backup_partial_failure_total",
  "velero_backup_failure_total",
  "velero_backup_validation_failure_total",
  "velero_backup_warning_total",
  "velero_backup_deletion_attempt_total",
  "velero_backup_deletion_success_total",
  "velero_backup_deletion_failure_total",
  "velero_restore_attempt_total",
  "velero_restore_success_total",
  "velero_restore_partial_failure_total",
  "velero_restore_failed_total",
  "velero_restore_validation_failed_total",
  "velero_volume_snapshot_attempt_total",
  "velero_volume_snapshot_success_total",
  "velero_volume_snapshot_failure_total",
] as const;

export function scheduleChanges(before: Schedule | undefined, after: Schedule | undefined): readonly MetricChange[] {
  const schedule = (after ?? before)?.metadata.name ?? "";
  const labels = { schedule };
  const zeros = before === undefined ? INITIALLY_ZERO.map((name) => ({ kind: "add", name, labels, value: 0 }) as const) : [];
  const beganMs = parseTime(after?.status?.lastBackup);
  return [
    ...zeros,
    { kind: "set", name: "drayage_schedule_paused", labels, value: after?.spec.paused === true ? 1 : 0 },
    ...(beganMs === undefined ? [] : [{ kind: "set", name: "drayage_schedule_last_backup_timestamp", labels, value: Math.floor(beganMs / 1000) } as const]),
  ];
}

export function locationChanges(after: BackupStorageLocation | undefined): readonly MetricChange[] {
  if (after === undefined) return [];
  const labels = { backup_location_name: after.metadata.name ?? "" };
  return [{ kind: "set", name: "velero_backup_location_status_gauge", labels, value: after.status?.phase === "Available" ? 1 : 0 }];
}

/** Runs that the status names now and did not before. */
export function maintenanceChanges(before: BackupRepository | undefined, after: BackupRepository | undefined): readonly MetricChange[] {
  if (before === undefined || after === undefined) return [];
  const known = new Set((before.status?.recentMaintenance ?? []).map(({ startTimestamp }) => startTimestamp));
  const labels = { repository_name: after.metadata.name ?? "" };
  return (after.status?.recentMaintenance ?? [])
    .filter(({ startTimestamp }) => !known.has(startTimestamp))
    .flatMap(({ result, startTimestamp, completeTimestamp }) => {
      const name = result === "Succeeded" ? "velero_repo_maintenance_success_total" : "velero_repo_maintenance_failure_total";
      const [startMs, endMs] = [parseTime(startTimestamp), parseTime(completeTimestamp)];
      const took = startMs === undefined || endMs === undefined ? undefined : Math.max(0, endMs - startMs) / 1000;
      return [
        { kind: "add", name, labels, value: 1 } as const,
        ...(took === undefined ? [] : [{ kind: "observe", name: "velero_repo_maintenance_duration_seconds", labels, value: took } as const]),
      ];
    });
}
