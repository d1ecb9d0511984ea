/** What a ReplicationSource or ReplicationDestination says of the one synchronization that it was made for. Pure. */
import { parseTime } from "@drayage/base";
import { bytesOfLog } from "./moved-bytes.ts";

/** The part of VolSync's status that both kinds have. */
export interface SyncStatus {
  readonly lastManualSync?: string;
  readonly lastSyncTime?: string | null;
  readonly nextSyncTime?: string | null;
  readonly lastSyncStartTime?: string | null;
  readonly latestMoverStatus?: { readonly result?: string; readonly logs?: string } | null;
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
    readonly lastTransitionTime: string;
  }[];
}

export type Synchronization =
  | { readonly state: "absent" }
  /** Nobody has looked at it yet. */
  | { readonly state: "silent" }
  | { readonly state: "running" }
  /** `bytes` where the mover's log says how many there were. */
  | { readonly state: "done"; readonly bytes?: number }
  | { readonly state: "failed"; readonly message: string };

/** VolSync sets this reason at every hindrance, also at one that is gone a moment later. */
const ERROR_PATIENCE_MS = 60_000;
/** Lines of a mover's log that go into a message. */
const LOG_LINES = 5;

/** `manual` is the tag that was asked for; undefined where a schedule was. */
export function synchronizationOf(object: { readonly status?: SyncStatus } | undefined, manual: string | undefined, nowMs: number): Synchronization {
  if (object === undefined) return { state: "absent" };
  const { status } = object;
  const condition = status?.conditions?.find(({ type }) => type === "Synchronizing");
  if (status?.latestMoverStatus?.result === "Failed") return { state: "failed", message: moverMessage(status.latestMoverStatus.logs) };
  const isSynchronized = manual === undefined ? given(status?.nextSyncTime) && given(status?.lastSyncTime) : status?.lastManualSync === manual;
  // The tag is set before the mover's pod is gone; the condition says that nothing runs any more.
  if (isSynchronized && condition?.status === "False" && condition.reason !== "Error") {
    const bytes = bytesOfLog(status?.latestMoverStatus?.logs);
    return { state: "done", ...(bytes === undefined ? {} : { bytes }) };
  }
  if (condition?.reason === "Error") {
    const sinceMs = nowMs - (parseTime(condition.lastTransitionTime) ?? nowMs);
    if (sinceMs >= ERROR_PATIENCE_MS) return { state: "failed", message: condition.message };
  }
  const isSilent = condition === undefined && !given(status?.lastSyncStartTime) && status?.lastManualSync === undefined;
  return { state: isSilent ? "silent" : "running" };
}

function given(text: string | null | undefined): boolean {
  return text !== undefined && text !== null && text !== "";
}

function moverMessage(logs: string | undefined): string {
  const lines = (logs ?? "").split("\n").filter((line) => line.trim() !== "");
  return lines.length === 0 ? "the mover failed and says nothing" : lines.slice(-LOG_LINES).join("; ");
}
