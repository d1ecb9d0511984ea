/** What the server's flags say; the figures are the defaults of Velero's server. Durations are milliseconds. */
export interface ServerSettings {
  /** Used by backups that name no location, when no location says that it is the default. */
  readonly defaultStorageLocation: string;
  readonly defaultTtlMs: number;
  readonly defaultCsiSnapshotTimeoutMs: number;
  readonly defaultItemOperationTimeoutMs: number;
  readonly defaultSnapshotMoveData: boolean;
  readonly defaultVolumesToFsBackup: boolean;
  readonly defaultVolumeGroupSnapshotLabelKey: string;
  /** How long resources are waited for: a namespace to be gone, a CRD to be served, a volume to be bound. */
  readonly resourceTimeoutMs: number;
  /** Backups that may run at once. */
  readonly concurrentBackups: number;
  /** How long reading or filling one volume through its file system may take. */
  readonly fsBackupTimeoutMs: number;
  /** Applications (pods with their claims and volumes) of one backup that are worked on at once. */
  readonly itemBlockWorkers: number;
  /** How often what is in the way of deleting an expired backup is looked at again. */
  readonly garbageCollectionPeriodMs: number;
  readonly scheduleSkipImmediately: boolean;
  readonly restorePriorities: RestorePriorities;
}

/** The order in which resources come back: `high` first, then what is named nowhere in byte order, then `low`. */
export interface RestorePriorities {
  readonly high: readonly string[];
  readonly low: readonly string[];
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export const defaultServerSettings: ServerSettings = {
  defaultStorageLocation: "default",
  defaultTtlMs: 720 * HOUR_MS,
  defaultCsiSnapshotTimeoutMs: 10 * MINUTE_MS,
  defaultItemOperationTimeoutMs: 4 * HOUR_MS,
  defaultSnapshotMoveData: false,
  defaultVolumesToFsBackup: false,
  defaultVolumeGroupSnapshotLabelKey: "velero.io/volume-group",
  resourceTimeoutMs: 10 * MINUTE_MS,
  concurrentBackups: 1,
  fsBackupTimeoutMs: 4 * HOUR_MS,
  // Velero's is 1; then a backup waits for the sum of all snapshots.
  itemBlockWorkers: 4,
  garbageCollectionPeriodMs: HOUR_MS,
  scheduleSkipImmediately: false,
  restorePriorities: {
    high: [
      "customresourcedefinitions",
      "namespaces",
      "storageclasses",
      // Before the snapshots that it stands for, as OADP 1.2 had it.
      "volumesnapshotbackups.datamover.oadp.openshift.io",
      "volumesnapshotclass.snapshot.storage.k8s.io",
      "volumesnapshotcontents.snapshot.storage.k8s.io",
      "volumesnapshots.snapshot.storage.k8s.io",
      "datauploads.velero.io",
      "persistentvolumes",
      "persistentvolumeclaims",
      "clusterroles",
      "roles",
      "serviceaccounts",
      "clusterrolebindings",
      "rolebindings",
      "secrets",
      "configmaps",
      "limitranges",
      "priorityclasses",
      "pods",
      // A ReplicaSet that comes before its Deployment is adopted by it, and the pods by the ReplicaSet.
      "replicasets.apps",
      "clusterclasses.cluster.x-k8s.io",
      "endpoints",
      "services",
    ],
    low: [
      "clusterbootstraps.run.tanzu.vmware.com",
      "clusters.cluster.x-k8s.io",
      "clusterresourcesets.addons.cluster.x-k8s.io",
      "apps.kappctrl.k14s.io",
      "packageinstalls.packaging.carvel.dev",
    ],
  },
};
