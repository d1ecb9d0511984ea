/** What the pod of a ReplicationSource or ReplicationDestination is told, and what it tells. Both ends of it are ours; nothing else reads it. */
import { DrayError } from "@drayage/base";

export type RepositoryFormat = "restic" | "kopia";

/** Which snapshots of a repository stay; the fields of `spec.restic.retain`. */
export interface VolSyncRetention {
  readonly hourly?: number;
  readonly daily?: number;
  readonly weekly?: number;
  readonly monthly?: number;
  readonly yearly?: number;
  /** All that are younger, as restic writes it: `3d12h`. */
  readonly within?: string;
  /** A number. */
  readonly last?: string;
}

/** Holds no secret: the repository's address, password and credentials are files beside it. */
export type VolSyncRequest = VolSyncBackupRequest | VolSyncRestoreRequest;

export interface VolSyncBackupRequest {
  readonly operation: "backup";
  readonly format: RepositoryFormat;
  /** `name@namespace` of the object, by which a repository of Kopia's format knows the volume. */
  readonly identity: string;
  readonly retain: VolSyncRetention;
  readonly prune: boolean;
  readonly unlock: boolean;
}

export interface VolSyncRestoreRequest {
  readonly operation: "restore";
  readonly format: RepositoryFormat;
  /** The line of snapshots of a repository of Kopia's format; its only one when left out. */
  readonly identity?: string;
  /** The newest snapshot that is not younger; RFC 3339. */
  readonly restoreAsOf?: string;
  /** Snapshots to go back from there. */
  readonly previous: number;
  /** Files of the volume that the snapshot does not hold go. @default false */
  readonly deleteOthers?: boolean;
}

/** The termination message. */
export interface VolSyncResult {
  /** One line for people. */
  readonly message: string;
  /** The last lines of the log. */
  readonly logs: string;
  readonly pruned?: boolean;
  readonly unlocked?: boolean;
}

/** Exit codes of the mover: one that may go well the next time, and one that will not until somebody changes something. */
export const VOLSYNC_EXIT = { ok: 0, failed: 1, hopeless: 3 } as const;

/** Where the pod has what, and the names under which it is told. */
export const VOLSYNC_POD = {
  request: "DRAYAGE_VOLSYNC_REQUEST",
  resticProgram: "DRAYAGE_RESTIC",
  /** VolSync's: restic keeps the path in its snapshots. */
  data: "/data",
  cache: "/cache",
  repository: "/repository",
  customCa: "/customCA",
} as const;

/** Keys of the repository's Secret. */
export const RESTIC_KEYS = { repository: "RESTIC_REPOSITORY", password: "RESTIC_PASSWORD" } as const;

/** Throws VALIDATION_FAILED. */
export function parseVolSyncRequest(text: string | undefined): VolSyncRequest {
  try {
    const value = JSON.parse(text ?? "") as VolSyncRequest;
    if (["backup", "restore"].includes(value.operation) && ["restic", "kopia"].includes(value.format)) return value;
  } catch (cause) {
    throw new DrayError("VALIDATION_FAILED", `Cannot read the request in ${VOLSYNC_POD.request}: it is not JSON`, { cause });
  }
  throw new DrayError("VALIDATION_FAILED", `Cannot read the request in ${VOLSYNC_POD.request}: it names neither a backup nor a restore`);
}

/** What a mover's termination message says; a message of somebody else's (a kubelet's) is taken for the whole. */
export function parseVolSyncResult(text: string): VolSyncResult {
  try {
    const value = JSON.parse(text) as Partial<VolSyncResult>;
    if (typeof value.message === "string" && typeof value.logs === "string")
      return { message: value.message, logs: value.logs, pruned: value.pruned === true, unlocked: value.unlocked === true };
  } catch {
    // Not ours.
  }
  return { message: text.trim(), logs: text.trim() };
}
