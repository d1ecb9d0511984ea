/**
 * What the controllers need from the rest of the program. `archive` provides BackupStore, `movers` provides RepositoryService, `apps/dray` joins them.
 * Shapes follow Velero's bucket layout (velero.md 7.2) and its repository service; nothing here knows a file name or a Kopia type.
 */
import type {
  ArchivedItemRef,
  Backup,
  BackupRepository,
  BackupStorageLocation,
  BackupVolumeInfo,
  DownloadTargetKind,
  ItemOperation,
  OperationResults,
  Restore,
} from "@drayage/api";
import type { GenericObject } from "@drayage/kube";

export type { ArchivedItemRef, BackupVolumeInfo, DownloadTargetKind, ItemOperation, OperationResults, ResultMessages } from "@drayage/api";

/** Collects the tarball of a backup on local disk; memory does not grow with the number of items. */
export interface BackupArchiveWriter {
  add(ref: ArchivedItemRef, object: GenericObject): Promise<void>;
  /** Ends the tarball. Its bytes are uploaded by `BackupStore.putBackup`. */
  finish(): Promise<FinishedArchive>;
  /** Removes what lies on disk; safe to call at any time, more than once. */
  dispose(): Promise<void>;
}

export interface FinishedArchive {
  readonly path: string;
  readonly lengthBytes: number;
}

/** A backup's tarball, unpacked where it can be read item by item. */
export interface BackupArchiveReader {
  readonly formatVersion: string;
  /** Plurals with group, in byte order. */
  resources(): readonly string[];
  /** Items of one resource at the version that should be restored. Never all contents in memory. */
  items(groupResource: string): readonly ArchivedItemRef[];
  /** Versions of a resource in the tarball. */
  versions(groupResource: string): readonly { readonly version: string; readonly preferred: boolean }[];
  read(ref: ArchivedItemRef): Promise<GenericObject>;
  find(groupResource: string, namespace: string | undefined, name: string): ArchivedItemRef | undefined;
  dispose(): Promise<void>;
}

/** Everything of a finished or waiting backup that goes to the bucket beside the tarball. */
export interface BackupFiles {
  readonly backup: Backup;
  readonly archive?: FinishedArchive;
  /** Plain text, Velero's log format. Compressed on the way. */
  readonly log?: Uint8Array;
  readonly results?: OperationResults;
  readonly itemOperations?: readonly ItemOperation[];
  /** `v1/Pod` → [`ns/name`]. */
  readonly resourceList?: Readonly<Record<string, readonly string[]>>;
  readonly volumeInfos?: readonly BackupVolumeInfo[];
  /** Stored as `null` where there are none, as Velero does. */
  readonly podVolumeBackups?: readonly GenericObject[] | null;
  readonly volumeSnapshots?: readonly unknown[] | null;
}

export interface RestoreFiles {
  readonly restoreName: string;
  readonly log?: Uint8Array;
  readonly results?: OperationResults;
  readonly itemOperations?: readonly ItemOperation[];
  readonly resourceList?: Readonly<Record<string, readonly string[]>>;
  readonly volumeInfos?: readonly Record<string, unknown>[];
}

/** One backup location's backups and restores. Errors are those of the object store, plus ARCHIVE_CORRUPT and BACKUP_NOT_FOUND. */
export interface BackupStore {
  /** Whether the location can be used and holds nothing foreign: `reason` says what is wrong otherwise (velero.md 0.4). */
  validate(signal?: AbortSignal): Promise<{ readonly ok: true } | { readonly ok: false; readonly reason: string }>;
  /** Names of the backups whose velero-backup.json is there, in byte order. */
  listBackups(signal?: AbortSignal): Promise<readonly string[]>;
  /** Throws BACKUP_NOT_FOUND, ARCHIVE_CORRUPT. */
  getBackup(name: string, signal?: AbortSignal): Promise<Backup>;
  backupExists(name: string, signal?: AbortSignal): Promise<boolean>;
  newArchiveWriter(backupName: string): Promise<BackupArchiveWriter>;
  /** Throws ARCHIVE_UNSUPPORTED for a tarball of a newer format, unless `anyVersion` is set: what is known of its layout is then read, and the rest is not seen. */
  openArchive(backupName: string, signal?: AbortSignal, options?: { readonly anyVersion?: boolean }): Promise<BackupArchiveReader>;
  /** Uploads what is given. velero-backup.json goes last when the backup is new, since it makes the backup exist; a failure in the middle leaves no listed backup. */
  putBackup(files: BackupFiles, signal?: AbortSignal): Promise<void>;
  getItemOperations(backupName: string, signal?: AbortSignal): Promise<readonly ItemOperation[]>;
  getVolumeInfos(backupName: string, signal?: AbortSignal): Promise<readonly BackupVolumeInfo[]>;
  getPodVolumeBackups(backupName: string, signal?: AbortSignal): Promise<readonly GenericObject[]>;
  getResults(backupName: string, signal?: AbortSignal): Promise<OperationResults>;
  getLog(kind: "backup" | "restore", name: string, signal?: AbortSignal): Promise<Uint8Array>;
  /**
   * Replaces single resources inside a stored tarball, or adds them at its end where they are not in it yet (the finalizing phase does this with DataUploads);
   * everything else is copied as it is. Nothing is uploaded: the result goes to `putBackup`.
   */
  updateArchive(
    backupName: string,
    replacements: readonly { readonly ref: ArchivedItemRef; readonly object: GenericObject }[],
    signal?: AbortSignal,
  ): Promise<FinishedArchive & { dispose(): Promise<void> }>;
  deleteBackup(backupName: string, signal?: AbortSignal): Promise<void>;
  putRestore(files: RestoreFiles, signal?: AbortSignal): Promise<void>;
  getRestoreItemOperations(restoreName: string, signal?: AbortSignal): Promise<readonly ItemOperation[]>;
  /** What a restore's first part found, so that its finalizing can add to it. Throws BLOB_NOT_FOUND. */
  getRestoreResults(restoreName: string, signal?: AbortSignal): Promise<OperationResults>;
  /** `v1/Pod` → [`ns/name(created)`]. Throws BLOB_NOT_FOUND. */
  getRestoreResourceList(restoreName: string, signal?: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>>;
  deleteRestore(restoreName: string, signal?: AbortSignal): Promise<void>;
  /** A signed address of one file. `backupName` is the restore's backup for restore kinds of files. */
  downloadUrl(kind: DownloadTargetKind, name: string, validForMs: number): Promise<string>;
}

/** Opens the store of a location with its credentials. A store is kept while the location's spec and credential do not change. */
export interface BackupStores {
  open(location: BackupStorageLocation, signal?: AbortSignal): Promise<BackupStore>;
}

/** What a bucket says of itself. */
export interface BucketDescription {
  /** Who made the store, as far as its answers tell: `AWS`, `MinIO`, `Ceph`, what it calls itself, or `Unknown`. */
  readonly vendor: string;
  /** `Enabled`, `Suspended` or `None`. */
  readonly versioningStatus: string;
  /** `AES256`, `aws:kms` or another of S3's names; `None`. */
  readonly encryptionAlgorithm: string;
}

/** What DataProtectionTests need of a location, which need not be an object of the cluster. */
export interface LocationTrials {
  /** Throws NOT_SUPPORTED for providers that are not S3, and the errors of an object store. */
  describeBucket(location: BackupStorageLocation, signal?: AbortSignal): Promise<BucketDescription>;
  /** Uploads so many bytes of no meaning under `key` and deletes them again, also when it fails or is aborted. Milliseconds that the upload took. Throws the errors of an object store. */
  upload(location: BackupStorageLocation, file: { readonly key: string; readonly lengthBytes: number }, signal?: AbortSignal): Promise<number>;
}

/** What CloudStorages need: buckets, not what is in them. Each throws the errors of an object store, and KUBE_NOT_FOUND where the credentials' Secret is not there. */
export interface CloudBuckets {
  exists(location: BackupStorageLocation, signal?: AbortSignal): Promise<boolean>;
  /** One that is there already and one's own is made. */
  create(location: BackupStorageLocation, signal?: AbortSignal): Promise<void>;
  /** Beside the tags that it has. Throws NOT_SUPPORTED where the store has none. */
  tag(location: BackupStorageLocation, tags: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<void>;
  /** Only an empty one; one that is not there is removed. */
  remove(location: BackupStorageLocation, signal?: AbortSignal): Promise<void>;
}

/** What the BackupRepository controller and backup deletion need from the repository engine. */
export interface ForgottenSnapshots {
  readonly manifestIds: readonly string[];
  /** Besides, all that have one of these sets of tags: of a mover that nobody heard of again it is not known what it stored. */
  readonly tags: readonly Readonly<Record<string, string>>[];
}

export interface RepositoryService {
  /** Connects to the repository of this namespace and location, creating and initialising it as Velero does when it is not there (never on a read-only location). */
  ensure(repository: BackupRepository, location: BackupStorageLocation, signal?: AbortSignal): Promise<void>;
  /** Deletes snapshot manifests and flushes; what is not there counts as deleted. */
  forget(repository: BackupRepository, location: BackupStorageLocation, snapshots: ForgottenSnapshots, signal?: AbortSignal): Promise<void>;
  /** Seconds between maintenance runs where nothing else is said. */
  readonly defaultMaintenanceFrequencySeconds: number;
}

/** Where a Restore or Backup came from, for item actions. */
export type BackupOrRestore = { readonly backup: Backup } | { readonly restore: Restore; readonly backup: Backup };
