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
} as const;

/** Our annotation on a ReplicationSource or ReplicationDestination: `restic` (when left out) or `kopia`. */
export const REPOSITORY_FORMAT_ANNOTATION = "drayage.io/repository-format";

/** Our annotation on a ReplicationDestination that reads a repository of Kopia's format: `name@namespace` of the ReplicationSource, where the repository holds several. */
export const SOURCE_IDENTITY_ANNOTATION = "drayage.io/source-identity";

/** Our label on everything that is made for a ReplicationSource or ReplicationDestination: its UID. */
export const VOLSYNC_OWNER_LABEL = "drayage.io/volsync";
