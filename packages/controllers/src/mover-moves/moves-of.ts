/** The DataMoverBackups of a backup and the DataMoverRestores of a restore, from the API server: one that a cache has not seen yet would fail its operation for good. */
import { type DataMoverBackup, type DataMoverRestore, dataMoverBackups, dataMoverRestores, LABELS, MOVER_OPERATION_PREFIXES } from "@drayage/api";
import { hasCode } from "@drayage/base";
import { type KubeClient, type KubeObject, keyOf, type ResourceType } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import type { ItemOperation } from "../ports.ts";

/** They are not watched by who waits for them. */
export const MOVES_LOOK_MS = 2_000;

export function isMoverOperation({ spec }: Pick<ItemOperation, "spec">): boolean {
  return Object.values(MOVER_OPERATION_PREFIXES).some((prefix) => spec.operationID.startsWith(prefix));
}

export interface MovesOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly signal: AbortSignal;
}

/** Those that carry out these operations. */
export function movesOfBackup(options: MovesOptions, backupUid: string, operations: readonly ItemOperation[]): Promise<readonly DataMoverBackup[]> {
  return operations.some(isMoverOperation) ? list(options, dataMoverBackups, `${LABELS.backupUid}=${backupUid}`) : Promise.resolve([]);
}

export function movesOfRestore(options: MovesOptions, restoreUid: string, operations: readonly ItemOperation[]): Promise<readonly DataMoverRestore[]> {
  return operations.some(isMoverOperation) ? list(options, dataMoverRestores, `${LABELS.restoreUid}=${restoreUid}`) : Promise.resolve([]);
}

export function withOperation<T extends KubeObject>(moves: readonly T[], id: string): readonly T[] {
  return moves.filter(({ metadata }) => metadata.labels?.[LABELS.asyncOperationId] === id);
}

/** Tells those that carry out these operations to stop. */
export async function cancelMoves(
  { client, signal }: MovesOptions,
  type: typeof dataMoverBackups | typeof dataMoverRestores,
  moves: readonly KubeObject[],
  operationIds: readonly string[],
): Promise<void> {
  for (const id of operationIds)
    for (const move of withOperation(moves, id)) {
      try {
        await client.patch(type as ResourceType<KubeObject>, keyOf(move), "merge", { spec: { cancel: true } }, { signal });
      } catch (error) {
        if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
      }
    }
}

/** Tells every move of a backup or a restore that failed to stop. */
export async function cancelAllMoves(options: MovesOptions, type: typeof dataMoverBackups | typeof dataMoverRestores, labelSelector: string): Promise<void> {
  try {
    for (const move of await list(options, type as ResourceType<KubeObject>, labelSelector)) {
      const { phase = "New" } = (move as DataMoverBackup).status ?? {};
      if (phase === "Completed" || phase === "Failed" || phase === "Canceled") continue;
      await options.client.patch(type as ResourceType<KubeObject>, keyOf(move), "merge", { spec: { cancel: true } }, { signal: options.signal });
    }
  } catch (error) {
    // A cluster that does not know the kind has none.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

function list<T extends KubeObject>({ client, namespace, signal }: MovesOptions, type: ResourceType<T>, labelSelector: string): Promise<readonly T[]> {
  return allOf(client.listAll<T>(type, { namespace, labelSelector, signal }));
}
