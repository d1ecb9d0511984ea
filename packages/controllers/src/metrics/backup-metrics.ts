/** What a change of a Backup, a Restore or a request to delete one counts as. Pure: the object before and after. */
import { type Backup, type DeleteBackupRequest, LABELS, type Restore } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { MetricChange, MetricName } from "./metrics.ts";

const BACKUP_ENDS: Readonly<Record<string, MetricName>> = {
  Completed: "velero_backup_success_total",
  PartiallyFailed: "velero_backup_partial_failure_total",
  Failed: "velero_backup_failure_total",
  FailedValidation: "velero_backup_validation_failure_total",
};
const RESTORE_ENDS: Readonly<Record<string, MetricName>> = {
  Completed: "velero_restore_success_total",
  PartiallyFailed: "velero_restore_partial_failure_total",
  Failed: "velero_restore_failed_total",
  FailedValidation: "velero_restore_validation_failed_total",
};

/** The schedule that a Backup came from, empty for none. */
export const scheduleOf = (backup: Backup): string => backup.metadata.labels?.[LABELS.scheduleName] ?? "";

export function backupChanges(before: Backup | undefined, after: Backup | undefined): readonly MetricChange[] {
  // What is there when counting begins, or comes from the bucket with its end, was counted by others.
  if (before === undefined || after === undefined) return [];
  const [was, is] = [before.status?.phase ?? "New", after.status?.phase ?? "New"];
  if (was === is) return [];
  const labels = { schedule: scheduleOf(after) };
  const changes: MetricChange[] = [];
  if (is === "InProgress") changes.push(counted("velero_backup_attempt_total", labels));
  const end = BACKUP_ENDS[is];
  if (end === undefined) return changes;
  changes.push(counted(end, labels), { kind: "set", name: "velero_backup_last_status", labels, value: is === "Completed" ? 1 : 0 });
  if (is === "FailedValidation") return changes;
  return [...changes, ...successChanges(after), ...backupFigures(after)];
}

/** When the latest success was: also of Backups that are there already, so that a restart of the server raises no alarm. */
export function successChanges(backup: Backup): readonly MetricChange[] {
  const completedMs = parseTime(backup.status?.completionTimestamp);
  if (backup.status?.phase !== "Completed" || completedMs === undefined) return [];
  return [{ kind: "set", name: "velero_backup_last_successful_timestamp", labels: { schedule: scheduleOf(backup) }, value: Math.floor(completedMs / 1000) }];
}

function backupFigures(backup: Backup): readonly MetricChange[] {
  const labels = { schedule: scheduleOf(backup) };
  const { status = {} } = backup;
  const startedMs = parseTime(status.startTimestamp);
  const endedMs = parseTime(status.completionTimestamp);
  const named = { ...labels, backupName: backup.metadata.name ?? "" };
  return [
    ...(startedMs === undefined || endedMs === undefined
      ? []
      : [{ kind: "observe", name: "velero_backup_duration_seconds", labels, value: Math.max(0, endedMs - startedMs) / 1000 } as const]),
    { kind: "set", name: "velero_backup_items_total", labels, value: status.progress?.totalItems ?? 0 },
    { kind: "set", name: "velero_backup_items_errors", labels, value: status.errors ?? 0 },
    ...((status.warnings ?? 0) > 0 ? [counted("velero_backup_warning_total", labels)] : []),
    ...snapshotChanges("velero_volume_snapshot", labels, status.volumeSnapshotsAttempted, status.volumeSnapshotsCompleted),
    ...snapshotChanges("velero_csi_snapshot", named, status.csiVolumeSnapshotsAttempted, status.csiVolumeSnapshotsCompleted),
  ];
}

function snapshotChanges(
  prefix: "velero_volume_snapshot" | "velero_csi_snapshot",
  labels: Readonly<Record<string, string>>,
  attempted = 0,
  completed = 0,
): readonly MetricChange[] {
  if (attempted === 0) return [];
  return [
    counted(`${prefix}_attempt_total`, labels, attempted),
    counted(`${prefix}_success_total`, labels, completed),
    counted(`${prefix}_failure_total`, labels, Math.max(0, attempted - completed)),
  ];
}

export function restoreChanges(before: Restore | undefined, after: Restore | undefined): readonly MetricChange[] {
  if (before === undefined || after === undefined) return [];
  const [was, is] = [before.status?.phase ?? "New", after.status?.phase ?? "New"];
  if (was === is) return [];
  const labels = { schedule: after.spec.scheduleName ?? "" };
  const end = RESTORE_ENDS[is];
  return [...(is === "InProgress" ? [counted("velero_restore_attempt_total", labels)] : []), ...(end === undefined ? [] : [counted(end, labels)])];
}

/** `schedule` is that of the backup, which may be gone by the time its request ends. */
export function deletionChanges(before: DeleteBackupRequest | undefined, after: DeleteBackupRequest | undefined, schedule: string): readonly MetricChange[] {
  const [was, is] = [before?.status?.phase ?? "New", after?.status?.phase];
  const labels = { schedule };
  const changes: MetricChange[] = [];
  if (before !== undefined && is === "InProgress" && was === "New") changes.push(counted("velero_backup_deletion_attempt_total", labels));
  if (was !== "InProgress") return changes;
  // A request whose backup left nothing behind is deleted together with it.
  if (after === undefined) changes.push(counted("velero_backup_deletion_success_total", labels));
  else if (is === "Processed")
    changes.push(counted((after.status?.errors ?? []).length === 0 ? "velero_backup_deletion_success_total" : "velero_backup_deletion_failure_total", labels));
  return changes;
}

function counted(name: MetricName, labels: Readonly<Record<string, string>>, value = 1): MetricChange {
  return { kind: "add", name, labels, value };
}
