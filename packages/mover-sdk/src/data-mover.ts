/**
 * What a data mover is. A module that exports one as its default is a mover: Drayage runs it in a pod of its own, one pod a move, and knows nothing of the data.
 *
 * What holds for every method:
 * - It may be killed after any line. A backup that did not return has moved nothing that anybody will look for; what it left in the store goes with `delete` of its id.
 * - It is repeated with the same id after a failure, so it writes over what an earlier try left.
 * - When `signal` is aborted it stops within a few seconds and rejects with the signal's reason. One that cannot says so in its capabilities, and its process is ended.
 * - What it throws ends the move as Failed, with the message for people. It does not retry without a limit.
 */
import type { TransferDetails } from "@drayage/api";
import type { Logger } from "@drayage/base";
import type { MoverStore } from "./store.ts";

export interface DataMover extends MoverDescription {
  /** What is wrong with moving this source with these parameters, beyond what the schema can say; nothing: it can be moved. Asked before anything is read. */
  validate?(source: MoverSource, parameters: MoverParameters): Promise<readonly string[]>;
  /** Moves the source into the target. */
  backup(context: BackupContext): Promise<BackupResult>;
  /** Brings back what a backup moved, into `context.source`, which is empty or new. */
  restore(context: RestoreContext): Promise<RestoreResult>;
  /** Removes what a backup moved, or what is left of one that failed. What is not there counts as removed. */
  delete(context: DeleteContext): Promise<void>;
  /** What this mover keeps in the target. One that is incremental has to tell: what its objects are, nobody else knows. */
  list?(context: MoverContext): Promise<readonly MovedData[]>;
  /** What is wrong with moved data; nothing: it can be restored. */
  verify?(context: RestoreContext): Promise<readonly string[]>;
}

/** What is published about a mover: the DataMover resource is made of it. */
export interface MoverDescription {
  /** By which users choose it: a DNS label. */
  readonly name: string;
  readonly version: string;
  /** One line for people. */
  readonly description: string;
  readonly capabilities: MoverCapabilities;
  /** JSON Schema (draft 7) of an object: what users can set, with descriptions and defaults. A parameter that it does not name is refused. */
  readonly parameters: ParameterSchema;
  /** Kinds of targets that it can write to; `BackupStorageLocation` is the one every backup has. */
  readonly targets: readonly string[];
}

export interface MoverCapabilities {
  /** Resources that it moves, as kubectl names them: `persistentvolumeclaims`, `imagestreams.image.openshift.io`. */
  readonly kinds: readonly string[];
  /** Stops when it is told to. */
  readonly cancel: boolean;
  /** Says how far it is. */
  readonly progress: boolean;
  /** Takes volumes of mode Block. */
  readonly block: boolean;
  /** Moves only what has changed since the backup before. Its backups then share data, which it reclaims in its own time after the last one that needs it was deleted. */
  readonly incremental: boolean;
}

export type ParameterSchema = Readonly<Record<string, unknown>>;
/** Checked against the schema, defaults filled in. */
export type MoverParameters = Readonly<Record<string, unknown>>;

/** What is moved. On the way back: where to. */
export interface MoverSource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  /** The resource itself, as it is in the backup. */
  readonly object?: Readonly<Record<string, unknown>>;
  /** Of a volume: where it can be read, or written. A snapshot of it, so that nobody changes it meanwhile. */
  readonly volume?: MoverVolume;
}

export interface MoverVolume {
  /** A folder, or a device where the mode is Block. */
  readonly path: string;
  readonly mode: "Filesystem" | "Block";
}

export interface MoverTarget {
  /** `BackupStorageLocation`, or a kind of the mover's own. */
  readonly kind: string;
  readonly name: string;
  /** The part of the location that is this mover's own; keys of other movers are out of reach. */
  readonly store: MoverStore;
  /** Files with the credentials of the store, for a mover that brings a client of its own: `location.json`, `cloud`, `ca.crt`, each where there is one. */
  readonly credentials?: string;
}

/** What a backup leaves behind for its restore and its deletion: kept in the backup. */
export interface MovedData {
  readonly snapshotId: string;
  /** Facts of the mover's own, small: together with the rest they must fit into a termination message of 4096 bytes. */
  readonly result?: Readonly<Record<string, string>>;
}

export interface MoverContext {
  readonly source: MoverSource;
  readonly target: MoverTarget;
  readonly parameters: MoverParameters;
  /** An empty folder on local disk, removed afterwards. */
  readonly workspace: string;
  readonly signal: AbortSignal;
  readonly log: Logger;
  /** Says how far it is; cheap to call often. Neither number goes back. */
  progress(progress: MoverProgress): void;
}

/** Bytes; the total is 0 while it is not known. */
export interface MoverProgress {
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** How it goes, for people. */
  readonly details?: TransferDetails;
}

export interface BackupContext extends MoverContext {
  /** Of this move, and of every repetition of it: a good name for what is stored. Letters, digits, dashes and dots. */
  readonly id: string;
  /** The backup of the same source before this one, for a mover that is incremental and does not find it by itself. */
  readonly parent?: MovedData;
  /** Whether an earlier process of this move may have left something under the id; it may where the host cannot tell. */
  readonly isRepeated?: boolean;
  /**
   * Where the host can tell: rejects when this process is no longer the one that moves the source, because it was canceled, or taken for dead and replaced. Asked before anything
   * becomes visible, since two of which neither waits for the other could otherwise both end well.
   */
  fence?(before: "checkpoint" | "snapshot"): Promise<void>;
}

export interface RestoreContext extends MoverContext {
  readonly moved: MovedData;
}

export interface DeleteContext extends MoverContext {
  /** Of the move; `moved` is there when it ended well. */
  readonly id: string;
  readonly moved?: MovedData;
}

export interface BackupResult extends MovedData {
  /** Bytes of the source. */
  readonly totalBytes: number;
  /** Bytes that were written because they were new or had changed. */
  readonly incrementalBytes?: number;
  /** What is missing from it. The move then ends as Failed with this message, and what was moved is there all the same. */
  readonly problem?: string;
}

export interface RestoreResult {
  /** Bytes that were brought back. */
  readonly totalBytes: number;
  /** What could not be brought back. The move then ends as Failed with this message. */
  readonly problem?: string;
}
