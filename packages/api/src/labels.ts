/**
 * Labels, annotations and finalizers by which Velero's objects know each other. The keys are Velero's (1.18); a value that may be longer than 63 characters
 * goes through `validLabelValue`.
 */
export const LABELS = {
  backupName: "velero.io/backup-name",
  backupUid: "velero.io/backup-uid",
  restoreName: "velero.io/restore-name",
  restoreUid: "velero.io/restore-uid",
  scheduleName: "velero.io/schedule-name",
  storageLocation: "velero.io/storage-location",
  volumeNamespace: "velero.io/volume-namespace",
  repositoryType: "velero.io/repository-type",
  pvcUid: "velero.io/pvc-uid",
  podUid: "velero.io/pod-uid",
  /** On a DataUpload or DataDownload: the operation it carries out. */
  asyncOperationId: "velero.io/async-operation-id",
  /** On a mover pod: its DataUpload. */
  dataUpload: "velero.io/data-upload",
  /** On a mover pod: its DataDownload. */
  dataDownload: "velero.io/data-download",
  /** On a pod that reads a volume of another pod: its PodVolumeBackup. */
  podVolumeBackup: "velero.io/pod-volume-backup",
  /** On a pod that fills a volume of another pod: its PodVolumeRestore. */
  podVolumeRestore: "velero.io/pod-volume-restore",
  /** "true" on the ConfigMaps from which moved snapshots are deleted. */
  dataUploadSnapshotInfo: "velero.io/data-upload-snapshot-info",
  /** `namespace.name` of a PVC, on the ConfigMap of a DataUpload's result. */
  pvcNamespaceName: "velero.io/pvc-namespace-name",
  resourceUsage: "velero.io/resource-usage",
  /** "true" from Accepted until the data path runs. */
  exposeOnGoing: "velero.io/expose-on-going",
  exposerPodGroup: "velero.io/exposer-pod-group",
  /** On the copy of a Secret or ConfigMap that an intermediate claim's storage looks for: the UID of the movement that it was made for. */
  backupPvcSecret: "velero.io/backup-pvc-secret",
  /** In a restored PVC's selector and on the PV that was made for it; keeps the provisioner from making an empty one. */
  dynamicPvRestore: "velero.io/dynamic-pv-restore",
  /** On a PVC inside a backup, as label and as annotation. */
  volumeSnapshotName: "velero.io/volume-snapshot-name",
  /** Marks the VolumeSnapshotClass that backups should use. */
  volumeSnapshotClass: "velero.io/csi-volumesnapshot-class",
  volumeGroup: "velero.io/volume-group",
  /** "true" on the VolumeGroupSnapshotClass that backups should use. */
  volumeGroupSnapshotClass: "velero.io/csi-volumegroupsnapshot-class",
  /** "true" keeps an object (or a whole namespace) out of every backup. */
  excludeFromBackup: "velero.io/exclude-from-backup",
} as const;

export const ANNOTATIONS = {
  sourceClusterGitVersion: "velero.io/source-cluster-k8s-gitversion",
  sourceClusterMajorVersion: "velero.io/source-cluster-k8s-major-version",
  sourceClusterMinorVersion: "velero.io/source-cluster-k8s-minor-version",
  resourceTimeout: "velero.io/resource-timeout",
  /** `namespace/name` of the DataUpload, on a PVC inside a backup. */
  dataUploadName: "velero.io/data-upload-name",
  volumeSnapshotName: "velero.io/volume-snapshot-name",
  /** On a PVC: the VolumeSnapshotClass for it. On a Backup, followed by `_` and the driver in lower case: the one for that driver. */
  volumeSnapshotClass: "velero.io/csi-volumesnapshot-class",
  snapshotHandle: "velero.io/csi-volumesnapshot-handle",
  snapshotRestoreSize: "velero.io/csi-volumesnapshot-restore-size",
  csiDriverName: "velero.io/csi-driver-name",
  volumeGroupSnapshotHandle: "velero.io/csi-volumegroupsnapshot-handle",
  /** On a PVC: the VolumeGroupSnapshotClass for its group. */
  volumeGroupSnapshotClassOfClaim: "velero.io/csi-volume-group-snapshot-class",
  /** On a Backup, followed by `_` and the driver: the VolumeGroupSnapshotClass for that driver. */
  volumeGroupSnapshotClass: "velero.io/csi-volumegroupsnapshot-class",
  contentDeletionPolicy: "velero.io/csi-vsc-deletion-policy",
  mustIncludeAdditionalItems: "backup.velero.io/must-include-additional-items",
  mustIncludeAdditionalItemsOnRestore: "restore.velero.io/must-include-additional-items",
  /** On a PVC of which no snapshot was made because its volume is not a CSI one. */
  skippedNoCsiPv: "backup.velero.io/skipped-no-csi-pv",
  /** On a PodVolumeBackup: the claim behind the volume. */
  pvcName: "velero.io/pvc-name",
  /** Comma-separated pod volumes for file-system backup. */
  backupVolumes: "backup.velero.io/backup-volumes",
  backupVolumesExcludes: "backup.velero.io/backup-volumes-excludes",
  /** On any object: whether its status comes back with it. */
  restoreStatus: "velero.io/restore-status",
} as const;

/** Annotations of our own; Velero leaves them alone. */
export const DRAYAGE_ANNOTATIONS = {
  /** `secret/key` on a BackupStorageLocation: the password of its repositories, where it is not the one of the installation. */
  repositoryPassword: "drayage.io/repository-password",
  /** On a VolumeSnapshotContent that is marked with a backup's name: the namespace of that Backup. Another installation of the cluster may have one of the same name. */
  backupNamespace: "drayage.io/backup-namespace",
  /** "true" on a Restore: workloads are created only when their volumes have their data. */
  dataFirst: "drayage.io/data-first",
  /** JSON of NotedTransferDetails, on what moves: how fast it goes and what holds it up; at most every ten seconds. */
  transfer: "drayage.io/transfer",
  /** "true" on a DataDownload or VolumeSnapshotRestore: no pod will choose the node of a volume whose class waits for its first consumer, so the mover does. */
  ignoreDelayBinding: "drayage.io/ignore-delay-binding",
  /** On a Restore: how often another process went on with it after the one before had ended. */
  resumed: "drayage.io/resumed",
  /** On a restored pod: for which restore its hooks have run, and how they ended. */
  restoreHooks: "drayage.io/restore-hooks",
  /** On a DataUpload or DataDownload, and on what was made for it: how often it was exposed anew because its node or its pod was lost. Absent for never. */
  epoch: "drayage.io/epoch",
  /** On a DataUpload or DataDownload whose data path runs: the UID of the only pod that may move it. */
  moverPod: "drayage.io/mover-pod",
} as const;

export const FINALIZERS = {
  /** On a PodVolumeBackup or PodVolumeRestore until it has ended. */
  podVolume: "velero.io/pod-volume-finalizer",
  /** On a DataUpload or DataDownload until it has ended. */
  dataMovement: "velero.io/data-upload-download-finalizer",
  /** On a Restore while its files lie in the bucket. */
  restoreFiles: "restores.velero.io/external-resources-finalizer",
  /** On a CloudStorage that asks for its bucket to go with it, until that has gone. */
  bucket: "oadp.openshift.io/bucket-protection",
} as const;

/** The value of `LABELS.resourceUsage` on the ConfigMap that hands a DataUpload's result to the restore of its PVC. */
export const RESOURCE_USAGE_DATA_UPLOAD = "DataUpload";

/** How the ids of asynchronous operations begin. */
export const OPERATION_ID_PREFIXES = { dataUpload: "du-", dataDownload: "dd-" } as const;
