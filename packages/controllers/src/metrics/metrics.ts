/**
 * What is counted, under Velero's names (its dashboards and alerts go on working) and a few of our own. Controllers say what happened through this port; the program shows it.
 *
 * Nearly all of it is taken from how objects change, so that a figure is what the API says and no controller has to remember to count.
 */

export type MetricName = keyof typeof METRICS;

export interface Metrics {
  /** Adds to a counter. */
  add(name: MetricName, labels: Readonly<Record<string, string>>, by?: number): void;
  /** Sets a gauge. */
  set(name: MetricName, labels: Readonly<Record<string, string>>, value: number): void;
  /** Puts a value into a histogram. */
  observe(name: MetricName, labels: Readonly<Record<string, string>>, value: number): void;
}

/** One figure that changed. */
export interface MetricChange {
  readonly kind: "add" | "set" | "observe";
  readonly name: MetricName;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface MetricDefinition {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds in seconds. */
  readonly buckets?: readonly number[];
}

const MINUTE = 60;
const HOUR = 3600;
/** Velero's, for everything that moves data. */
const LONG_BUCKETS = [MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR];

const counter = (help: string, ...labels: string[]): MetricDefinition => ({ type: "counter", help, labels });
const gauge = (help: string, ...labels: string[]): MetricDefinition => ({ type: "gauge", help, labels });
const histogram = (help: string, ...labels: string[]): MetricDefinition => ({ type: "histogram", help, labels, buckets: LONG_BUCKETS });

/** Of the server; `schedule` is the empty string for what nobody scheduled. */
const SERVER_METRICS = {
  velero_backup_total: gauge("Backups that there are now."),
  velero_backup_attempt_total: counter("Backups that were begun.", "schedule"),
  velero_backup_success_total: counter("Backups that completed.", "schedule"),
  velero_backup_partial_failure_total: counter("Backups that completed in part.", "schedule"),
  velero_backup_failure_total: counter("Backups that failed.", "schedule"),
  velero_backup_validation_failure_total: counter("Backups whose spec cannot be carried out.", "schedule"),
  velero_backup_warning_total: counter("Backups that ended with warnings.", "schedule"),
  velero_backup_duration_seconds: histogram("Time from the start of a backup to its end, moved data included.", "schedule"),
  velero_backup_last_successful_timestamp: gauge("When the latest backup that completed did so, in Unix seconds.", "schedule"),
  velero_backup_last_status: gauge("1 when the latest backup completed, 0 when it did not.", "schedule"),
  velero_backup_items_total: gauge("Items in the latest backup.", "schedule"),
  velero_backup_items_errors: gauge("Errors in the latest backup.", "schedule"),
  velero_backup_tarball_size_bytes: gauge("Size of the resources of the latest backup.", "schedule"),
  velero_backup_deletion_attempt_total: counter("Deletions of backups that were begun.", "schedule"),
  velero_backup_deletion_success_total: counter("Deletions of backups that left nothing behind.", "schedule"),
  velero_backup_deletion_failure_total: counter("Deletions of backups that ended with errors.", "schedule"),
  velero_restore_total: gauge("Restores that there are now."),
  velero_restore_attempt_total: counter("Restores that were begun.", "schedule"),
  velero_restore_success_total: counter("Restores that completed.", "schedule"),
  velero_restore_partial_failure_total: counter("Restores that completed in part.", "schedule"),
  velero_restore_failed_total: counter("Restores that failed.", "schedule"),
  velero_restore_validation_failed_total: counter("Restores whose spec cannot be carried out.", "schedule"),
  velero_volume_snapshot_attempt_total: counter("Snapshots by volume snapshotters that were begun.", "schedule"),
  velero_volume_snapshot_success_total: counter("Snapshots by volume snapshotters that were taken.", "schedule"),
  velero_volume_snapshot_failure_total: counter("Snapshots by volume snapshotters that failed.", "schedule"),
  velero_csi_snapshot_attempt_total: counter("CSI snapshots that were begun.", "schedule", "backupName"),
  velero_csi_snapshot_success_total: counter("CSI snapshots that were taken.", "schedule", "backupName"),
  velero_csi_snapshot_failure_total: counter("CSI snapshots that failed.", "schedule", "backupName"),
  velero_backup_location_status_gauge: gauge("1 when a backup location is available, 0 when it is not.", "backup_location_name"),
  velero_repo_maintenance_success_total: counter("Runs of maintenance that succeeded.", "repository_name"),
  velero_repo_maintenance_failure_total: counter("Runs of maintenance that failed.", "repository_name"),
  velero_repo_maintenance_duration_seconds: histogram("Time that maintenance took.", "repository_name"),
  drayage_schedule_paused: gauge("1 when a schedule is paused.", "schedule"),
  drayage_schedule_last_backup_timestamp: gauge("When the latest backup of a schedule was begun, in Unix seconds.", "schedule"),
} as const satisfies Readonly<Record<string, MetricDefinition>>;

/** Of a node-agent. */
const NODE_AGENT_METRICS = {
  podVolume_pod_volume_backup_enqueue_count: counter("Volumes read through their pods that were begun on this node.", "node"),
  podVolume_pod_volume_backup_dequeue_count: counter("Volumes read through their pods that ended on this node.", "node"),
  podVolume_data_upload_success_total: counter("Data uploads that completed on this node.", "node"),
  podVolume_data_upload_failure_total: counter("Data uploads that failed on this node.", "node"),
  podVolume_data_upload_cancel_total: counter("Data uploads that were cancelled on this node.", "node"),
  podVolume_data_download_success_total: counter("Data downloads that completed on this node.", "node"),
  podVolume_data_download_failure_total: counter("Data downloads that failed on this node.", "node"),
  podVolume_data_download_cancel_total: counter("Data downloads that were cancelled on this node.", "node"),
  podVolume_pod_volume_operation_latency_seconds: histogram("Time that moving a volume took.", "node", "operation"),
  drayage_moved_bytes_total: counter("Bytes of volumes that were read or written by movers on this node.", "node", "operation"),
  drayage_movements: gauge("Data movements of this node by phase.", "node", "operation", "phase"),
} as const satisfies Readonly<Record<string, MetricDefinition>>;

export const METRICS = { ...SERVER_METRICS, ...NODE_AGENT_METRICS };

/** For who has nothing to show them with. */
export const noMetrics: Metrics = { add: () => undefined, set: () => undefined, observe: () => undefined };

/** Hands changes to the port. */
export function report(metrics: Metrics, changes: readonly MetricChange[]): void {
  for (const { kind, name, labels, value } of changes) {
    if (kind === "add") metrics.add(name, labels, value);
    else if (kind === "set") metrics.set(name, labels, value);
    else metrics.observe(name, labels, value);
  }
}
