/** Operations that a plug-in carries out: it is asked how far they are, as nothing in the cluster tells. */
import type { ItemPlugins, PluginProgress } from "@drayage/api";
import { formatTime, type Logger, messageOf } from "@drayage/base";
import type { ItemOperation } from "../ports.ts";
import { hasEnded } from "./operations.ts";

/** How often (Velero's item-operation-sync-frequency is 10 s). */
export const PLUGIN_LOOK_MS = 10_000;

/** Asks for and stops operations of one backup or restore; undefined for an action that is no plug-in's. */
export interface OperationPlugin {
  progress(operationId: string): Promise<PluginProgress>;
  cancel(operationId: string): Promise<void>;
}

export type OperationPlugins = (actionName: string) => OperationPlugin | undefined;

export function actionOf({ spec }: ItemOperation): string {
  return spec.backupItemAction ?? spec.restoreItemAction ?? "";
}

/** What a plug-in says of each operation of its own that has not ended, by its id. One that cannot be asked now is asked again: only the operation's own time limit ends it. */
export async function askPlugins(
  operations: readonly ItemOperation[],
  plugins: OperationPlugins,
  log: Logger,
): Promise<ReadonlyMap<string, PluginProgress | undefined>> {
  const answers = new Map<string, PluginProgress | undefined>();
  for (const operation of operations) {
    const plugin = hasEnded(operation) ? undefined : plugins(actionOf(operation));
    if (plugin === undefined) continue;
    const { operationID } = operation.spec;
    try {
      answers.set(operationID, await plugin.progress(operationID));
    } catch (error) {
      log.warn("A plug-in did not tell how far its operation is; it is asked again", {
        action: actionOf(operation),
        operation: operationID,
        error: messageOf(error),
      });
      answers.set(operationID, undefined);
    }
  }
  return answers;
}

/** Where an operation stands by what its plug-in says. */
export function pluginStatus(operation: ItemOperation, progress: PluginProgress | undefined, nowMs: number): ItemOperation["status"] {
  if (progress === undefined) return { ...operation.status };
  const status: ItemOperation["status"] = { ...operation.status, phase: "InProgress", operationUnits: progress.units, description: progress.description };
  if (progress.done > 0) status.nCompleted = progress.done;
  if (progress.total > 0) status.nTotal = progress.total;
  if (progress.started !== undefined) status.started = progress.started;
  status.updated = progress.updated ?? formatTime(nowMs);
  if (progress.completed) Object.assign(status, progress.error === "" ? { phase: "Completed" } : { phase: "Failed", error: progress.error });
  return status;
}

/** Tells plug-ins to stop what took too long. Throws nothing: the operation has failed already. */
export async function cancelPluginOperations(
  operations: readonly ItemOperation[],
  ids: readonly string[],
  plugins: OperationPlugins,
  log: Logger,
): Promise<void> {
  for (const operation of operations.filter(({ spec }) => ids.includes(spec.operationID))) {
    try {
      await plugins(actionOf(operation))?.cancel(operation.spec.operationID);
    } catch (error) {
      log.warn("A plug-in could not be told to stop", { action: actionOf(operation), operation: operation.spec.operationID, error: messageOf(error) });
    }
  }
}

/** Of a backup; actions of version 1 have no operations, and so are never asked. */
export function backupOperationPlugins(
  { backup: plugins }: ItemPlugins,
  backup: Parameters<ItemPlugins["backup"][number]["progress"]>[1],
  signal: AbortSignal,
): OperationPlugins {
  return (name) => {
    const plugin = plugins.find((candidate) => candidate.name === name);
    if (plugin === undefined) return undefined;
    return { progress: (id) => plugin.progress(id, backup, signal), cancel: (id) => plugin.cancel(id, backup, signal) };
  };
}

export function restoreOperationPlugins(
  { restore: plugins }: ItemPlugins,
  restore: Parameters<ItemPlugins["restore"][number]["progress"]>[1],
  signal: AbortSignal,
): OperationPlugins {
  return (name) => {
    const plugin = plugins.find((candidate) => candidate.name === name);
    if (plugin === undefined) return undefined;
    return { progress: (id) => plugin.progress(id, restore, signal), cancel: (id) => plugin.cancel(id, restore, signal) };
  };
}
