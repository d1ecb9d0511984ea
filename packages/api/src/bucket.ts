/**
 * The shapes of what Velero keeps in a bucket beside a backup's tarball (`backups/NAME/…`, `restores/NAME/…`). Keys are stored exactly so, also the capitalised ones. File names are known to `archive` alone.
 */
/** Errors and warnings of a backup or a restore, by where they belong: Velero's `-results.gz`. */
export interface ResultMessages {
  /** Of the program itself. */
  readonly velero?: readonly string[];
  /** Of cluster-scoped resources. */
  readonly cluster?: readonly string[];
  readonly namespaces?: Readonly<Record<string, readonly string[]>>;
}

export interface OperationResults {
  readonly errors: ResultMessages;
  readonly warnings: ResultMessages;
}

/** One asynchronous operation of a backup or a restore: Velero's `-itemoperations.json.gz`, one entry. Keys are stored exactly so. */
export interface ItemOperation {
  readonly spec: {
    readonly backupName?: string;
    readonly backupUID?: string;
    readonly backupItemAction?: string;
    readonly restoreName?: string;
    readonly restoreUID?: string;
    readonly restoreItemAction?: string;
    readonly resourceIdentifier: { readonly Group: string; readonly Resource: string; readonly Namespace: string; readonly Name: string };
    readonly operationID: string;
    readonly postOperationItems?: readonly { readonly Group: string; readonly Resource: string; readonly Namespace: string; readonly Name: string }[];
  };
  readonly status: {
    phase: "New" | "InProgress" | "Completed" | "Failed";
    error?: string;
    nCompleted?: number;
    nTotal?: number;
    operationUnits?: string;
    description?: string;
    created?: string;
    started?: string;
    updated?: string;
  };
}

/** One entry of `volumeinfo.json.gz`; key names (also the capitalised ones) are those of the file. */
export interface BackupVolumeInfo {
  pvcName?: string;
  pvcNamespace?: string;
  pvName?: string;
  backupMethod?: "NativeSnapshot" | "PodVolumeBackup" | "CSISnapshot" | "";
  snapshotDataMoved?: boolean;
  preserveLocalSnapshot?: boolean;
  skipped?: boolean;
  skippedReason?: string;
  startTimestamp?: string;
  completionTimestamp?: string;
  result?: "succeeded" | "failed";
  csiSnapshotInfo?: {
    snapshotHandle: string;
    size: number;
    driver: string;
    vscName: string;
    operationID?: string;
    ReadyToUse?: boolean | null;
    volumeGroupSnapshotHandle?: string;
  };
  snapshotDataMovementInfo?: {
    dataMover: string;
    uploaderType: string;
    retainedSnapshot?: string;
    snapshotHandle: string;
    operationID: string;
    size: number;
    incrementalSize?: number;
    Phase?: string;
  };
  nativeSnapshotInfo?: Record<string, unknown>;
  pvbInfo?: Record<string, unknown>;
  pvInfo?: { reclaimPolicy: string; labels: Record<string, string> | null };
}

/** Where a resource lies in the backup: `resources/<groupResource>/…` of the tarball. */
export interface ArchivedItemRef {
  /** `pods`, `deployments.apps`. */
  readonly groupResource: string;
  /** Undefined for cluster scope. */
  readonly namespace: string | undefined;
  readonly name: string;
  /** `v1`; the folder `<version>-preferredversion` where this is the preferred one. */
  readonly version: string;
  readonly preferred: boolean;
}

export type DownloadTargetKind =
  | "BackupLog"
  | "BackupContents"
  | "BackupVolumeSnapshots"
  | "BackupItemOperations"
  | "BackupResourceList"
  | "BackupResults"
  | "RestoreLog"
  | "RestoreResults"
  | "RestoreResourceList"
  | "RestoreItemOperations"
  | "CSIBackupVolumeSnapshots"
  | "CSIBackupVolumeSnapshotContents"
  | "BackupVolumeInfos"
  | "RestoreVolumeInfo";
