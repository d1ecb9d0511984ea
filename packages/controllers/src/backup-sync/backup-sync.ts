/**
 * Backup synchronisation: the Backups of a cluster follow what lies in its buckets. That is how a new cluster learns of the backups of a lost one.
 *
 *   in the bucket, not in the cluster ──► Backup (and its PodVolumeBackups) created, as a record of what has ended
 *   in the cluster, not in the bucket ──► Backup deleted, if it had ended
 *
 * DataUploads are not brought back: a restore reads them from the tarball (Velero: backup_sync_controller).
 */
import { type Backup, type BackupStorageLocation, LABELS, type PodVolumeBackup, type Schedule, validLabelValue } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { OwnerReference } from "@drayage/kube";
import { periodOf } from "../backup-location/backup-location.ts";

export interface Observed {
  readonly available: boolean;
  /** Since the last pass, by the stored time; undefined when there was none. */
  readonly syncedForMs: number | undefined;
  /** 0: never. */
  readonly periodMs: number;
  /** This process has made a pass over the location as it is. */
  readonly syncedHere: boolean;
}

export type Decision = { readonly do: "sync" } | { readonly do: "nothing"; readonly recheckAfterMs?: number };

export function decide(o: Observed): Decision {
  if (!o.available || o.periodMs === 0) return { do: "nothing" };
  if (o.syncedForMs === undefined || !o.syncedHere) return { do: "sync" };
  const leftMs = o.periodMs - Math.max(0, o.syncedForMs);
  return leftMs <= 0 ? { do: "sync" } : { do: "nothing", recheckAfterMs: leftMs };
}

export function observe(location: BackupStorageLocation, syncedHere: boolean, defaultPeriodMs: number, nowMs: number): Observed {
  const syncedMs = parseTime(location.status?.lastSyncedTime);
  return {
    available: location.status?.phase === "Available",
    syncedForMs: syncedMs === undefined ? undefined : nowMs - syncedMs,
    periodMs: periodOf(location.spec.backupSyncPeriod, defaultPeriodMs),
    syncedHere,
  };
}

const ENDED: ReadonlySet<string | undefined> = new Set(["Completed", "PartiallyFailed", "Failed"]);
const UNDER_WAY: ReadonlySet<string | undefined> = new Set([
  "WaitingForPluginOperations",
  "WaitingForPluginOperationsPartiallyFailed",
  "Finalizing",
  "FinalizingPartiallyFailed",
]);

/** The phase under which a stored backup comes into the cluster; undefined when it does not (yet). */
export function phaseToImport(stored: Backup, nowMs: number): "Completed" | "PartiallyFailed" | "Failed" | undefined {
  const phase = stored.status?.phase;
  if (phase === "Completed" || phase === "PartiallyFailed" || phase === "Failed") return phase;
  const expiresMs = parseTime(stored.status?.expiration);
  // Somebody may still be working on it. Past its time nobody is, and only what is in the cluster is ever cleaned up.
  return UNDER_WAY.has(phase) && expiresMs !== undefined && expiresMs <= nowMs ? "PartiallyFailed" : undefined;
}

/** The Backup of this cluster for a stored one. */
export function importedBackup(
  stored: Backup,
  phase: NonNullable<ReturnType<typeof phaseToImport>>,
  location: BackupStorageLocation,
  schedules: readonly Schedule[],
): Backup {
  const name = location.metadata.name ?? "";
  const owners = (stored.metadata.ownerReferences ?? []).filter((owner) => isLiveSchedule(owner, schedules));
  const { labels, annotations } = stored.metadata;
  return {
    metadata: {
      name: stored.metadata.name ?? "",
      ...(location.metadata.namespace === undefined ? {} : { namespace: location.metadata.namespace }),
      // The location may have had another name where the backup was made.
      labels: { ...labels, [LABELS.storageLocation]: validLabelValue(name) },
      ...(annotations === undefined ? {} : { annotations }),
      ...(owners.length === 0 ? {} : { ownerReferences: owners }),
    },
    // Hooks are commands for a run; this one has been. Nobody's stored commands enter the cluster.
    spec: { ...stored.spec, storageLocation: name, hooks: {} },
    status: { ...stored.status, phase },
  };
}

/** An owner that does not exist here would have the garbage collector delete the Backup. */
function isLiveSchedule(owner: OwnerReference, schedules: readonly Schedule[]): boolean {
  return owner.kind === "Schedule" && schedules.some(({ metadata }) => metadata.name === owner.name && metadata.uid === owner.uid);
}

/** The PodVolumeBackup of this cluster for a stored one of that backup. */
export function importedPodVolumeBackup(stored: PodVolumeBackup, backup: Backup, location: BackupStorageLocation): PodVolumeBackup {
  const uid = backup.metadata.uid ?? "";
  const { labels = {}, annotations, name = "" } = stored.metadata;
  return {
    metadata: {
      name,
      ...(backup.metadata.namespace === undefined ? {} : { namespace: backup.metadata.namespace }),
      labels: labels[LABELS.backupUid] === undefined ? labels : { ...labels, [LABELS.backupUid]: uid },
      ...(annotations === undefined ? {} : { annotations }),
      ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Backup", name: backup.metadata.name ?? "", uid, controller: true }],
    },
    spec: { ...stored.spec, backupStorageLocation: location.metadata.name ?? "" },
    ...(stored.status === undefined ? {} : { status: stored.status }),
  };
}

/** Backups of the cluster that belong to the location, have ended, and are not in its bucket. */
export function orphans(cluster: readonly Backup[], locationName: string, stored: ReadonlySet<string>): readonly Backup[] {
  const label = validLabelValue(locationName);
  return cluster.filter(({ metadata, status }) => {
    // A failed backup may never have reached the bucket; it stays to be looked at, as with Velero.
    const gone = ENDED.has(status?.phase) && status?.phase !== "Failed" && !stored.has(metadata.name ?? "");
    return gone && metadata.labels?.[LABELS.storageLocation] === label;
  });
}
