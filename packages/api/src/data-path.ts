/**
 * What a node-agent and a mover say to each other: Events about the custom resource while the data path runs, JSON in the container's termination message at its end.
 * Source: Velero's micro-service data path (1.18). One side may be Velero's, so names and keys are exactly these.
 */

import { parseObject } from "./json-object.ts";

/** Reasons of the Events that a mover writes about its object. */
export const DATA_PATH_EVENTS = {
  started: "Data-Path-Started",
  /** The message is DataPathProgress. */
  progress: "Data-Path-Progress",
  /** The message is the result. */
  completed: "Data-Path-Completed",
  failed: "Data-Path-Failed",
  canceled: "Data-Path-Canceled",
  canceling: "Data-Path-Canceling",
  stopped: "Data-Path-Stopped",
} as const;

/** How the termination message of a canceled data path ends. */
export const DATA_PATH_CANCELED = "data path is canceled";

/** Of a word for people. */
const WORD_LENGTH_MAX = 40;

/** The kubelet keeps no more of a termination message. */
export const TERMINATION_MESSAGE_BYTES_MAX = 4096;

/** Zero values are left out on the wire. */
export interface DataPathProgress {
  readonly totalBytes?: number;
  readonly doneBytes?: number;
  /** Ours; Velero's node-agent does not look at it. */
  readonly details?: TransferDetails;
}

/** How a transfer goes, for people: in the message of the progress Event, and from there in an annotation of its object. */
export interface TransferDetails {
  readonly phase: string;
  readonly filesDone: number;
  readonly filesTotal: number;
  /** Read from the volume and hashed, or written to it. */
  readonly bytesHashed: number;
  /** Of these, what the repository had already. */
  readonly bytesDeduplicated: number;
  /** Sent to the store after compression and encryption, or fetched from it. */
  readonly bytesStored: number;
  /** Entries that could not be moved. */
  readonly errors: number;
  /** Over the last seconds. */
  readonly bytesPerSecond?: number;
  readonly etaSeconds?: number;
  /** What most of the time goes into: `reading`, `processor` or `storage`. */
  readonly limitedBy?: string;
}

/** Details as they were at a time, as JSON in `DRAYAGE_ANNOTATIONS.transfer`. */
export interface NotedTransferDetails extends TransferDetails {
  /** RFC 3339. */
  readonly at: string;
}

interface AccessPoint {
  readonly byPath: string;
  readonly volumeMode: "Filesystem" | "Block";
}

export interface BackupDataPathResult {
  readonly snapshotID: string;
  readonly emptySnapshot: boolean;
  readonly source: AccessPoint;
  readonly totalBytes?: number;
  readonly incrementalBytes?: number;
  /** Ours: what is missing from the snapshot. The container ends with a code other than 0, and the upload is Failed but names the snapshot, so that the rest can be restored. */
  readonly error?: string;
}

export interface RestoreDataPathResult {
  readonly target: AccessPoint;
  readonly totalBytes?: number;
  /** Ours: what could not be restored. The container ends with a code other than 0. */
  readonly error?: string;
}

/** The progress in an Event's message, or undefined when it is not one. */
export function parseDataPathProgress(
  message: string,
): { readonly totalBytes: number; readonly doneBytes: number; readonly details?: TransferDetails } | undefined {
  const value = parseObject(message);
  if (value === undefined) return undefined;
  const totalBytes = count(value["totalBytes"]);
  const doneBytes = count(value["doneBytes"]);
  if (totalBytes === undefined || doneBytes === undefined) return undefined;
  const details = detailsOf(value["details"]);
  return { totalBytes, doneBytes, ...(details === undefined ? {} : { details }) };
}

/** The details that an annotation holds, or undefined when it holds none. */
export function parseTransferDetails(text: string): NotedTransferDetails | undefined {
  const value = parseObject(text);
  const details = detailsOf(value);
  const at = value?.["at"];
  return details === undefined || typeof at !== "string" ? undefined : { ...details, at };
}

/** Whoever may write Events or annotations may write anything: only what has the right form is taken over. */
function detailsOf(value: unknown): TransferDetails | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const { phase, limitedBy } = fields;
  if (typeof phase !== "string" || phase.length > WORD_LENGTH_MAX) return undefined;
  const [filesDone, filesTotal, bytesHashed] = [count(fields["filesDone"]), count(fields["filesTotal"]), count(fields["bytesHashed"])];
  const [bytesDeduplicated, bytesStored, errors] = [count(fields["bytesDeduplicated"]), count(fields["bytesStored"]), count(fields["errors"])];
  if (filesDone === undefined || filesTotal === undefined || bytesHashed === undefined) return undefined;
  if (bytesDeduplicated === undefined || bytesStored === undefined || errors === undefined) return undefined;
  const optional = (name: "bytesPerSecond" | "etaSeconds"): object => {
    const number = fields[name] === undefined ? undefined : count(fields[name]);
    return number === undefined ? {} : { [name]: number };
  };
  return {
    ...{ phase, filesDone, filesTotal, bytesHashed, bytesDeduplicated, bytesStored, errors },
    ...optional("bytesPerSecond"),
    ...optional("etaSeconds"),
    ...(typeof limitedBy === "string" && limitedBy.length <= WORD_LENGTH_MAX ? { limitedBy } : {}),
  };
}

/** The result of a backup in a termination message, or undefined when it is not one that names a snapshot. */
export function parseBackupDataPathResult(
  message: string,
): (Required<Omit<BackupDataPathResult, "source" | "error">> & { readonly error?: string }) | undefined {
  const value = parseObject(message);
  const snapshotID = value?.["snapshotID"];
  const totalBytes = count(value?.["totalBytes"]);
  const incrementalBytes = count(value?.["incrementalBytes"]);
  if (typeof snapshotID !== "string" || snapshotID === "" || totalBytes === undefined || incrementalBytes === undefined) return undefined;
  const error = value?.["error"];
  return { snapshotID, emptySnapshot: value?.["emptySnapshot"] === true, totalBytes, incrementalBytes, ...(typeof error === "string" ? { error } : {}) };
}

/** The result of a restore in a termination message, or undefined when it is not one. */
export function parseRestoreDataPathResult(message: string): { readonly totalBytes: number; readonly error?: string } | undefined {
  const value = parseObject(message);
  const totalBytes = count(value?.["totalBytes"]);
  const error = value?.["error"];
  return value === undefined || totalBytes === undefined ? undefined : { totalBytes, ...(typeof error === "string" ? { error } : {}) };
}

/** A count of bytes; a missing one is 0. */
function count(value: unknown): number | undefined {
  if (value === undefined) return 0;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/**
 * The files of the Secret that a mover pod of ours has mounted, so that its service account needs to read no Secret.
 * `locationJson` is a BackupStorageLocation without its status; the others are bytes as the tools of the store expect them.
 */
export const MOVER_SECRET_KEYS = {
  locationJson: "location.json",
  repositoryJson: "repository.json",
  repositoryPassword: "repository-password",
  /** Absent where the environment brings credentials (a workload identity). */
  credentials: "cloud",
  caCert: "ca.crt",
  /** 32 random bytes, of this one movement (told-result.ts). Absent where the result of a mover is not awaited by its progress. */
  resultKey: "result-key",
} as const;

/** Where that Secret is mounted, and the variable that says so. */
export const MOVER_SECRET_PATH = "/credentials";
export const MOVER_SECRET_PATH_ENV = "DRAYAGE_MOVER_SECRET_PATH";
/** The variable by which a mover knows the UID of its pod, and so whether it is the one that may move the data. */
export const MOVER_POD_UID_ENV = "DRAYAGE_POD_UID";

/** Velero's block mover, of a later release: volumes of either mode as devices, in blocks of 1 MiB. */
export const BLOCK_DATA_MOVER = "velero-block";
/** Names of `spec.datamover` that Velero itself serves; the empty one stands for `velero`. */
export const BUILTIN_DATA_MOVERS = ["", "velero", "velero-fs", BLOCK_DATA_MOVER] as const;
/** Ours, when a real Velero drives us. */
export const DRAYAGE_DATA_MOVER = "drayage";
