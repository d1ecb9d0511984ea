/** Names by which data movers are chosen, and by which what they moved is found again. */

/** Group and version of our own kinds. */
export const DRAYAGE_API_VERSION = "drayage.io/v1alpha1";

export const MOVER_ANNOTATIONS = {
  /** The mover that is wanted: on an object that is backed up (also as a label), a StorageClass or a VolumeSnapshotClass. */
  mover: "drayage.io/data-mover",
  /** Its parameters, as JSON: on the same objects, and on a Backup. */
  parameters: "drayage.io/data-mover-parameters",
  /** On an item of a backup, and on what moves it: the mover that was chosen, and why. */
  chosen: "drayage.io/chosen-data-mover",
  reason: "drayage.io/data-mover-reason",
  /** On a DataUpload whose mover is a controller of its vendor's: what it moved is not ours to delete. */
  vendorController: "drayage.io/vendor-controller",
  /** On a Backup that is to be deleted although movers that are registered no more cannot delete what they moved: it stays in the location. */
  abandon: "drayage.io/abandon-moved-data",
  /** On an item of a backup: the name of its DataMoverBackup. */
  backup: "drayage.io/data-mover-backup",
  /** On a DataMoverBackup: the resource of its source, as kubectl names it. */
  resource: "drayage.io/source-resource",
  /** On a DataMoverBackup that stands for data moved by another object: the id of that move. */
  moveId: "drayage.io/move-id",
  /** On a DataDownload: JSON of what the mover left behind. */
  result: "drayage.io/data-mover-result",
} as const;

/** On the pod and the Secret of a move: the name of its DataMoverBackup or DataMoverRestore. */
export const MOVER_LABELS = {
  backup: "drayage.io/data-mover-backup",
  restore: "drayage.io/data-mover-restore",
  /** What its pod does: backup, restore or delete. */
  operation: "drayage.io/data-move",
} as const;

/** On a DataMoverBackup while its data may have to be removed. */
export const MOVED_DATA_FINALIZER = "drayage.io/moved-data";

/** How the ids of their operations begin. */
export const MOVER_OPERATION_PREFIXES = { backup: "dmb-", restore: "dmr-" } as const;

/** The kind of target that every backup has. */
export const LOCATION_TARGET = "BackupStorageLocation";

/**
 * On a DataMover: the namespaces of the installations that it was added in, with commas between. The registration is the cluster's, the files of a module are each installation's own;
 * it goes when it was removed in the last of them. `*` stands for whoever registered it without saying so, by hand or before this was noted.
 */
export const MOVER_INSTALLATIONS = "drayage.io/installations";

/** Where the files of a module that were given to the cluster are in its pods. */
export const MOVER_FILES_PATH = "/mover";
