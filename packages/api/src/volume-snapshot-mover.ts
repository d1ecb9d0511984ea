/**
 * Names of the data mover of OADP 1.1 and 1.2 (VolSync, restic): labels and annotations of VolumeSnapshotBackup and VolumeSnapshotRestore, and the Secrets that open their repositories.
 * Source: volume-snapshot-mover and velero-plugin-for-vsm of OADP 1.2.
 */
import { DrayError, messageOf } from "@drayage/base";
import type { VolumeSnapshotBackup } from "./generated/index.ts";

export const VSM_LABELS = {
  /** On a VolumeSnapshotBackup: the VolumeSnapshotContent it is of. */
  volumeSnapshotContent: "datamover.io/vsb-volumesnapshotcontent",
  /** On a VolumeSnapshotRestore. */
  claimName: "velero.io/persistent-volume-claim-name",
  volumeSnapshotBackupName: "velero.io/vsb-name",
  /** On what is made for a VolumeSnapshotBackup. */
  volumeSnapshotBackup: "datamover.oadp.openshift.io/vsb",
  /** On what is made for a VolumeSnapshotRestore. */
  volumeSnapshotRestore: "datamover.oadp.openshift.io/vsr",
  /** On the Secret of a location: which location it opens, and of which provider. */
  locationName: "openshift.io/oadp-bsl-name",
  locationProvider: "openshift.io/oadp-bsl-provider",
  /** "True" on what the operator made. */
  oadp: "openshift.io/oadp",
  /** On the ConfigMap of a storage class: "True", and which class. */
  options: "openshift.io/volume-snapshot-mover",
  optionsStorageClass: "openshift.io/vsm-storageclass",
} as const;

/** On a VolumeSnapshotBackup inside a backup: what its status said, since a status does not come back with an object. */
export const VSM_ANNOTATIONS = {
  repository: "datamover.io/restic-repository",
  claimName: "datamover.io/source-pvc-name",
  claimSize: "datamover.io/source-pvc-size",
  storageClass: "datamover.io/source-pvc-storageclass",
  snapshotClass: "datamover.io/source-pvc-volumesnapshotclass",
} as const;

export const VSM_FINALIZER = "oadp.openshift.io/oadp-datamover";

/** Our annotations on a VolumeSnapshotBackup. */
export const VSB_ANNOTATIONS = {
  /** "true" asks for it to stop. */
  cancel: "drayage.io/cancel",
} as const;

/** Our annotation on both kinds, whose status has no field for it: JSON of `{bytesDone, totalBytes}`, once VolSync has moved the data. */
export const VSM_PROGRESS_ANNOTATION = "drayage.io/progress";

/** Undefined for what is not such JSON: anybody may write annotations. */
export function parseProgressNote(text: string | undefined): { readonly bytesDone: number; readonly totalBytes: number } | undefined {
  try {
    const { bytesDone, totalBytes } = JSON.parse(text ?? "") as { bytesDone?: unknown; totalBytes?: unknown };
    const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
    return isCount(bytesDone) && isCount(totalBytes) ? { bytesDone, totalBytes } : undefined;
  } catch {
    return undefined;
  }
}

/** On what is made for a VolumeSnapshotBackup or VolumeSnapshotRestore, which as an object of another namespace cannot own it: whose it is, as `namespace/name` and by UID. */
export const VSM_OWNER_ANNOTATIONS = {
  volumeSnapshotBackup: "drayage.io/volume-snapshot-backup",
  volumeSnapshotRestore: "drayage.io/volume-snapshot-restore",
  uid: "drayage.io/owner-uid",
} as const;

/** Our annotations on a VolumeSnapshotRestore. */
export const VSR_ANNOTATIONS = {
  /** "snapshot": VolSync restores into a snapshot, from which the claim is made, as OADP 1.2 did it. Otherwise the claim's own volume is filled. */
  into: "drayage.io/restore-into",
  /** The backup location in whose bucket the repository lies. */
  location: "drayage.io/backup-storage-location",
  /** The Restore it belongs to. */
  restoreUid: "drayage.io/restore-uid",
  /** A snapshot of the repository; the newest when left out. */
  snapshot: "drayage.io/restic-snapshot",
  /** "true" asks for it to stop. */
  cancel: "drayage.io/cancel",
  /** "true" where the backup said that it had moved the volume, so that a repository without snapshots means an empty volume. */
  mayBeEmpty: "drayage.io/volume-may-be-empty",
} as const;

/** Value of `spec.datamover` of a DataDownload that takes its data from a restic repository. */
export const VOLSYNC_DATA_MOVER = "drayage-volsync";

/** Keys of its `spec.dataMoverConfig`. */
export const VOLSYNC_MOVER_CONFIG = {
  /** The repository's folder in the bucket. */
  repositoryPath: "ResticRepositoryPath",
  /** The Secret with the password, in the installation's namespace. */
  secretName: "ResticSecret",
  mayBeEmpty: "VolumeMayBeEmpty",
} as const;

/** `spec.snapshotID` for the newest snapshot of a repository. */
export const NEWEST_SNAPSHOT = "latest";

/** The Secret that OADP made for a location; it holds the password among the store's credentials. */
export function locationResticSecret(location: string): string {
  return `${location}-volsync-restic`;
}

/** The Secret in which OADP's users gave the password of all restic repositories. */
export const USER_RESTIC_SECRET = "dm-credential";
export const RESTIC_PASSWORD_KEY = "RESTIC_PASSWORD";

/** Other keys of a location's Secret and of a volume's; those of the store are the environment of restic. */
export const RESTIC_SECRET_KEYS = {
  repository: "RESTIC_REPOSITORY",
  customCa: "RESTIC_CUSTOM_CA",
  /** Days. */
  pruneInterval: "restic-prune-interval",
  /** A cron expression; the data is moved once, at once, where there is none. */
  schedule: "SnapshotScheduleCron",
} as const;

/** How many snapshots of a repository are kept, by the field of VolSync's `retain`: keys of a location's Secret, and of the ConfigMap of a storage class. */
export const RETAIN_KEYS = {
  hourly: "SnapshotRetainPolicyHourly",
  daily: "SnapshotRetainPolicyDaily",
  weekly: "SnapshotRetainPolicyWeekly",
  monthly: "SnapshotRetainPolicyMonthly",
  yearly: "SnapshotRetainPolicyYearly",
  within: "SnapshotRetainPolicyWithin",
} as const;

/** The ConfigMap with the options of a storage class; keys are `Source` or `Destination` and one of OPTION_KEYS. */
export function storageClassOptions(storageClass: string): string {
  return `${storageClass}-config`;
}

export const OPTION_KEYS = {
  storageClassName: "StorageClassName",
  accessMode: "AccessMode",
  cacheStorageClassName: "CacheStorageClassName",
  cacheAccessMode: "CacheAccessMode",
  cacheCapacity: "CacheCapacity",
  /** "true": the mover runs with the security context of a pod that uses the claim. */
  moverSecurityContext: "MoverSecurityContext",
  /** The account that the mover runs as; Velero's where there is one. */
  moverServiceAccount: "MoverServiceAccount",
} as const;

/** Where a restic repository lies. */
export interface ResticRepositoryPlace {
  readonly bucket: string;
  /** Below the bucket, without slashes around it. */
  readonly path: string;
}

/**
 * The bucket and folder of a repository by its URL, as restic reads it: `s3:https://host/bucket/path`, `s3://host/bucket/path`, `s3:host/bucket/path`, `gs:bucket:/path`,
 * `azure:container:/path`. Throws VALIDATION_FAILED for anything else.
 */
export function parseResticRepository(url: string): ResticRepositoryPlace {
  const cleaned = (text: string): string => {
    const names: string[] = [];
    for (const name of text.split("/")) {
      if (name === "..") names.pop();
      else if (name !== "" && name !== ".") names.push(name);
    }
    return names.join("/");
  };
  const s3 = /^s3:(?:https?:\/\/|\/\/)?[^/]+\/([^/]+)(?:\/(.*))?$/s.exec(url);
  const named = s3 ?? /^(?:gs|azure):([^:/]+):(.*)$/s.exec(url);
  const [bucket = "", path = ""] = named?.slice(1) ?? [];
  if (bucket === "") {
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot read the address of restic repository "${url}": s3:host/bucket/path, gs:bucket:/path or azure:container:/path is wanted`,
    );
  }
  return { bucket, path: cleaned(path) };
}

/** What a VolumeSnapshotBackup says of the volume that it moved; empty where it does not. */
export interface MovedVolumeFacts {
  /** The address of its restic repository. */
  readonly repository: string;
  readonly claimName: string;
  readonly claimSize: string;
  readonly storageClass: string;
  readonly snapshotClass: string;
}

/** The annotations carry what the status said; OADP 1.1 did not always write them. */
export function movedVolumeFacts({ metadata, status }: VolumeSnapshotBackup): MovedVolumeFacts {
  const said = (annotation: string, field: string | undefined): string => {
    const value = metadata.annotations?.[annotation] ?? "";
    return value === "" ? (field ?? "") : value;
  };
  return {
    repository: said(VSM_ANNOTATIONS.repository, status?.resticrepository),
    claimName: said(VSM_ANNOTATIONS.claimName, status?.sourcePVCData?.name),
    claimSize: said(VSM_ANNOTATIONS.claimSize, status?.sourcePVCData?.size),
    storageClass: said(VSM_ANNOTATIONS.storageClass, status?.sourcePVCData?.storageClassName),
    snapshotClass: said(VSM_ANNOTATIONS.snapshotClass, status?.volumeSnapshotClassName),
  };
}

/** Whether it got as far as having moved its data: a repository without snapshots then means an empty volume. */
export function hasMovedItsData({ status }: VolumeSnapshotBackup): boolean {
  return ["SnapshotBackupDone", "Cleanup", "Completed"].includes(status?.phase ?? "");
}

/** Why it has nothing to restore from, as the end of a sentence; undefined when it has. */
export function movedVolumeProblem(volume: VolumeSnapshotBackup): string | undefined {
  const { metadata, status } = volume;
  const phase = status?.phase ?? "";
  const { repository } = movedVolumeFacts(volume);
  if (phase === "Failed" || phase === "PartiallyFailed") return `its VolumeSnapshotBackup "${metadata.name}" ended ${phase}, so the backup has none`;
  if (repository === "") return `its VolumeSnapshotBackup "${metadata.name}" names no repository: it did not get so far`;
  try {
    parseResticRepository(repository);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
