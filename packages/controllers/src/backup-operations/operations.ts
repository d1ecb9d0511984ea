/** What asynchronous operations become in view of the DataUploads or DataDownloads that carry them out. Pure: time and observations come in, operations go out. */
import type { PluginProgress } from "@drayage/api";
import { MOVER_OPERATION_PREFIXES } from "@drayage/api";
import { formatTime, parseTime } from "@drayage/base";
import type { ItemOperation } from "../ports.ts";
import { pluginStatus } from "./plugin-operations.ts";
import { isOfSnapshot, type ObservedSnapshot, snapshotStatus } from "./snapshot-operations.ts";
import { isOfVolumeSnapshotBackup } from "./volume-snapshot-backups.ts";

/** What an operation needs of a DataUpload or a DataDownload. */
export interface Movement {
  /** Says which mover it is, under a name of its kind. */
  readonly spec?: object;
  readonly status?: {
    readonly phase?: string;
    readonly message?: string;
    /** The phase where nothing more is known. */
    readonly description?: string;
    readonly progress?: { readonly bytesDone?: number; readonly totalBytes?: number };
    readonly startTimestamp?: string | null;
    readonly completionTimestamp?: string | null;
  };
}

export interface OperationsView {
  readonly kind: "DataUpload" | "DataDownload";
  readonly nowMs: number;
  /** spec.itemOperationTimeout, counted from the creation of the operation. */
  readonly timeoutMs: number;
  /** The snapshot that an operation of this id waits for. */
  readonly snapshotOf?: (operationId: string) => ObservedSnapshot | undefined;
  /** What plug-ins say of their operations, by id; undefined for one that could not be asked. */
  readonly pluginAnswers?: ReadonlyMap<string, PluginProgress | undefined>;
  /** The movements that carry this operation's id; there should be one. */
  movementsOf(operationId: string): readonly Movement[];
}

export interface OperationsOutcome {
  readonly operations: readonly ItemOperation[];
  /** Ids of operations that took too long: their movement is to be told to stop. */
  readonly toCancel: readonly string[];
  readonly completed: number;
  readonly failed: number;
  /** Whether any is still under way. */
  readonly inProgress: boolean;
  /** Whether an operation failed that had not before. */
  readonly hasNewFailure: boolean;
  /** When the first of those under way will have taken too long. */
  readonly nextTimeoutMs: number | undefined;
}

/** As Velero begins it. */
const TIMED_OUT = "Asynchronous action timed out";

export function advanceOperations(operations: readonly ItemOperation[], view: OperationsView): OperationsOutcome {
  const toCancel: string[] = [];
  let nextTimeoutMs: number | undefined;
  let hasNewFailure = false;
  const advanced = operations.map((operation): ItemOperation => {
    if (hasEnded(operation)) return operation;
    const status = statusAfter(operation, view);
    const createdMs = parseTime(operation.status.created) ?? view.nowMs;
    if (status.phase === "New" || status.phase === "InProgress") {
      const dueMs = createdMs + view.timeoutMs;
      if (view.nowMs < dueMs) {
        nextTimeoutMs = Math.min(nextTimeoutMs ?? dueMs, dueMs);
      } else {
        toCancel.push(operation.spec.operationID);
        status.phase = "Failed";
        status.error = `${TIMED_OUT}: ${whoWorksOn(operation, view)} has not ended after ${view.timeoutMs / 1000} s`;
      }
    }
    if (status.phase === "Failed") hasNewFailure = true;
    return { spec: operation.spec, status };
  });
  const count = (phase: ItemOperation["status"]["phase"]): number => advanced.filter(({ status }) => status.phase === phase).length;
  return {
    operations: advanced,
    toCancel,
    completed: count("Completed"),
    failed: count("Failed"),
    inProgress: advanced.some((operation) => !hasEnded(operation)),
    hasNewFailure,
    nextTimeoutMs,
  };
}

/** For people: the mover or plug-in that an operation waits for. */
function whoWorksOn({ spec }: ItemOperation, view: OperationsView): string {
  if (view.pluginAnswers?.has(spec.operationID) === true) return `plug-in "${spec.backupItemAction ?? spec.restoreItemAction ?? ""}"`;
  const { mover, datamover } = (view.movementsOf(spec.operationID)[0]?.spec ?? {}) as { readonly mover?: string; readonly datamover?: string };
  const name = mover ?? datamover ?? "";
  return name === "" ? "it" : `mover "${name}"`;
}

export function hasEnded(operation: ItemOperation): boolean {
  return operation.status.phase === "Completed" || operation.status.phase === "Failed";
}

function statusAfter(operation: ItemOperation, view: OperationsView): ItemOperation["status"] {
  if (isOfSnapshot(operation)) return snapshotStatus(operation, view.snapshotOf?.(operation.spec.operationID), view.nowMs);
  const { operationID } = operation.spec;
  if (view.pluginAnswers?.has(operationID) === true) return pluginStatus(operation, view.pluginAnswers.get(operationID), view.nowMs);
  const kind = operationID.startsWith(MOVER_OPERATION_PREFIXES.backup)
    ? "DataMoverBackup"
    : operationID.startsWith(MOVER_OPERATION_PREFIXES.restore)
      ? "DataMoverRestore"
      : isOfVolumeSnapshotBackup(operation)
        ? "VolumeSnapshotBackup"
        : view.kind;
  const found = view.movementsOf(operation.spec.operationID);
  const [movement] = found;
  if (found.length !== 1 || movement === undefined) {
    return {
      ...operation.status,
      phase: "Failed",
      error:
        found.length === 0
          ? `the ${kind} of operation ${operation.spec.operationID} does not exist any more`
          : `operation ${operation.spec.operationID} has ${found.length} ${kind}s, where there should be one`,
      updated: formatTime(view.nowMs),
    };
  }
  const { phase = "", message, description = phase, progress, startTimestamp, completionTimestamp } = movement.status ?? {};
  if (phase === "" || phase === "New") return { ...operation.status };
  const status: ItemOperation["status"] = { ...operation.status, operationUnits: "Bytes", description };
  if ((progress?.bytesDone ?? 0) > 0) status.nCompleted = progress?.bytesDone ?? 0;
  if ((progress?.totalBytes ?? 0) > 0) status.nTotal = progress?.totalBytes ?? 0;
  if (startTimestamp !== undefined && startTimestamp !== null) {
    status.started = startTimestamp;
    if (status.phase === "New") status.phase = "InProgress";
  }
  if (completionTimestamp !== undefined && completionTimestamp !== null) status.updated = completionTimestamp;
  if (phase === "Completed") status.phase = "Completed";
  if (phase === "Failed") Object.assign(status, { phase: "Failed", error: message ?? "" });
  if (phase === "Canceled")
    Object.assign(status, { phase: "Failed", error: `${kind} is canceled${kind.startsWith("DataMover") && message !== undefined ? `: ${message}` : ""}` });
  return status;
}
