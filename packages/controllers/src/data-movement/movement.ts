/** What DataUpload, DataDownload, PodVolumeBackup and PodVolumeRestore have in common, which is nearly everything: the engine sees only this. */
import { type DataDownload, type DataUpload, DRAYAGE_ANNOTATIONS, type PodVolumeBackup, type PodVolumeRestore } from "@drayage/api";
import type { KubeObject, ResourceType } from "@drayage/kube";
import type { Work } from "./work.ts";

export type Phase = "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";
export type TerminalPhase = "Completed" | "Failed" | "Canceled";

/** The fields the engine reads and writes, by the same names in all kinds that have them. */
export type DataMovement = KubeObject & {
  spec: { cancel?: boolean; datamover?: string; operationTimeout?: string; backupStorageLocation: string };
  status?: {
    phase?: Phase;
    acceptedByNode?: string;
    acceptedTimestamp?: string | null;
    startTimestamp?: string | null;
    completionTimestamp?: string | null;
    node?: string;
    message?: string;
    progress?: { bytesDone?: number; totalBytes?: number };
  };
};

/** How a movement ended, written down before anything is taken away, so that a restart in the middle of cleaning up ends the same. */
export interface Ending {
  readonly phase: TerminalPhase;
  readonly message?: string;
  /** RFC 3339. */
  readonly at: string;
  /** The node whose agent cleans up. */
  readonly by: string;
  /** Fields of the status that come with success. */
  readonly status?: Readonly<Record<string, unknown>>;
}

/** What a kind adds to the engine. */
export interface MovementKind<T extends DataMovement> {
  readonly type: ResourceType<T>;
  /** For messages: `data upload`. */
  readonly noun: string;
  /** The label by which its mover pod is found. */
  readonly podLabel: string;
  /** Names of the status fields that say which node acts; both when left out. */
  readonly nodeFields?: readonly ("acceptedByNode" | "node")[];
  /** Where the volume is on one node for good: the agent of that node acts, and no other can take over. `""`: that node is not known (here). */
  readonly pinnedTo?: (movement: T) => string;
  /** Why a movement that no node has taken will be taken by none; undefined while one may. Asked for what is tied to a node that is not known. */
  readonly astray?: (movement: T) => Promise<string | undefined>;
  /** Instead of the one that goes with its data mover. */
  readonly finalizer?: string;
  /** Movers that serve this kind alone, in every way of running. */
  readonly alsoServedBy?: readonly string[];
  /** Whether a start time is also given to what never started (Velero does so for uploads). */
  readonly stampsStartOnEnd: boolean;
  /** Fields of the status that come with InProgress. */
  readonly startStatus: Readonly<Record<string, unknown>>;
  /** What a mover whose pod runs has to wait for yet, by what is in memory: a repository that is made meanwhile. */
  heldBy?(movement: T): string | undefined;
  /** What a prepared one leaves a free place to, which somebody waits for. */
  leavesPlaceTo?(movement: T): string | undefined;
  /** This agent has claimed one that was new: nothing was made for it before. */
  begun?(movement: T): void;
  /** It was concluded by this agent. */
  ended?(movement: T): void;
  /** Something that must be there before it can be claimed; what it is waiting for, or undefined. */
  blockedBy(movement: T): Promise<string | undefined>;
  /** How long that may take; for ever when left out. */
  readonly blockedMaxMs?: number;
  /** Makes the volume readable or writable on a node: done when the mover pod runs. */
  expose(movement: T): Promise<Work>;
  /** After the mover has ended well: hands over what it made, of `totalBytes` while its result is at hand. */
  deliver(movement: T, totalBytes: number | undefined): Promise<Work>;
  /** Whether `deliver` has passed its first lasting step, so that it must be brought to its end even if the mover pod is gone. */
  isDelivering(movement: T): boolean;
  /** Takes away everything that was made on the way. `endedForMs` ago the ending was written down. */
  cleanUp(movement: T, ending: Ending, endedForMs: number): Promise<Work>;
  /** By which its mover proves what it tells of its end before the kubelet does (told-result.ts of the api); undefined where it was given no key. */
  resultKey(movement: T): Promise<Uint8Array | undefined>;
  /** What the mover said at its end: fields of the status, or undefined when it is not a result. */
  parseResult(
    message: string,
    movement: T,
  ): { readonly status: Readonly<Record<string, unknown>>; readonly totalBytes: number; readonly message?: string } | undefined;
}

export type AnyMovement = DataUpload | DataDownload | PodVolumeBackup | PodVolumeRestore;

/** How often a movement was exposed anew; 0 for one that nothing happened to. The same mark is on what was made for it since. */
export function epochOf({ metadata }: KubeObject): number {
  const text = metadata.annotations?.[DRAYAGE_ANNOTATIONS.epoch];
  return text !== undefined && /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0;
}

/** The mark of a movement's epoch for what is made for it; nothing in the first one. */
export function epochAnnotations(movement: KubeObject): Readonly<Record<string, string>> {
  const epoch = epochOf(movement);
  return epoch === 0 ? {} : { [DRAYAGE_ANNOTATIONS.epoch]: String(epoch) };
}

export function phaseOf(movement: DataMovement): Phase {
  return movement.status?.phase ?? "New";
}

export function isTerminal(phase: Phase): phase is TerminalPhase {
  return phase === "Completed" || phase === "Failed" || phase === "Canceled";
}

/** Whether a data path may run. One that ended well does not, though what was made for it is still being taken away. */
export function isMoving(movement: DataMovement): boolean {
  const phase = phaseOf(movement);
  return (phase === "InProgress" || phase === "Canceling") && endingOf(movement)?.phase !== "Completed";
}

/** Our annotations on the objects of Velero. */
export const MOVEMENT_ANNOTATIONS = {
  /** JSON of Ending; there while the intermediate objects are taken away. */
  ending: "drayage.io/ending",
  /** When a node-agent first saw that a cancel was asked for. */
  cancelSeen: "drayage.io/cancel-seen-at",
  /** On a DataDownload: the volume that is being handed over, JSON of `{volume, reclaimPolicy}`. */
  handover: "drayage.io/handover",
  /** On backup VolumeSnapshots and contents: the UID of their DataUpload. */
  ownerUid: "drayage.io/owner-uid",
  /** On a backup VolumeSnapshotContent: the content it took the snapshot over from. */
  sourceContent: "drayage.io/source-content",
  /** On a backup VolumeSnapshotContent: bytes that the volume made from it must have. */
  restoreSize: "drayage.io/restore-size",
  /** On a backup VolumeSnapshotContent: the volume mode of the volume it is of. */
  sourceVolumeMode: "drayage.io/source-volume-mode",
} as const;

/** The ending written on an object, or undefined. One that cannot be read counts as a failure, not as none. */
export function endingOf(movement: DataMovement): Ending | undefined {
  const text = movement.metadata.annotations?.[MOVEMENT_ANNOTATIONS.ending];
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as Ending;
    if (isTerminal(value.phase) && typeof value.at === "string" && typeof value.by === "string") return value;
  } catch {
    // Told below, together with one that is JSON of another shape.
  }
  return { phase: "Failed", message: `annotation ${MOVEMENT_ANNOTATIONS.ending} cannot be read`, at: "1970-01-01T00:00:00Z", by: "" };
}
