/** Names of VolSync's API beside its kinds: conditions, reasons, annotations. Source: VolSync 0.16, api/v1alpha1. */

export const VOLSYNC_GROUP = "volsync.backube";

/** The one condition of ReplicationSource and ReplicationDestination. */
export const SYNCHRONIZING = "Synchronizing";

export const SYNCHRONIZING_REASONS = {
  inProgress: "SyncInProgress",
  waitingForSchedule: "WaitingForSchedule",
  waitingForManual: "WaitingForManual",
  cleaningUp: "CleaningUp",
  error: "Error",
} as const;

export const VOLSYNC_ANNOTATIONS = {
  /** On a namespace, "true": movers in it are root, and may read and own the files of others. */
  privilegedMovers: "volsync.backube/privileged-movers",
  /** On the claim of a source: a clone or snapshot of it is made only when its owner has brought it to rest and says so. */
  useCopyTrigger: "volsync.backube/use-copy-trigger",
  /** The owner's word that it is at rest: a new value each time. */
  copyTrigger: "volsync.backube/copy-trigger",
  /** The last value that a copy was made for, and how far the copy is: one of `COPY_STATUS`. */
  latestCopyTrigger: "volsync.backube/latest-copy-trigger",
  latestCopyStatus: "volsync.backube/latest-copy-status",
  /** A time, while the status is WaitingForTrigger. */
  waitingSince: "volsync.backube/latest-copy-trigger-waiting-since",
} as const;

export const COPY_STATUS = { waiting: "WaitingForTrigger", inProgress: "InProgress", completed: "Completed" } as const;

/** Our annotation on a ReplicationSource or ReplicationDestination: `restic` (when left out) or `kopia`. */
export const REPOSITORY_FORMAT_ANNOTATION = "drayage.io/repository-format";

/** Our annotation on a ReplicationDestination that reads a repository of Kopia's format: `name@namespace` of the ReplicationSource, where the repository holds several. */
export const SOURCE_IDENTITY_ANNOTATION = "drayage.io/source-identity";

/** Our annotation on the claim of a source while its copy is made: the value of the trigger that it was begun for. The owner may set the next one meanwhile. */
export const COPY_BEGUN_ANNOTATION = "drayage.io/copy-begun-for";

/** Our label on everything that is made for a ReplicationSource or ReplicationDestination: its UID. */
export const VOLSYNC_OWNER_LABEL = "drayage.io/volsync";
