import { type DataDownload, dataDownloads, LABELS, type Restore } from "@drayage/api";
import { type Clock, type Logger, nullLogger, type RandomSource } from "@drayage/base";
import { type KubeClient, requireDuration, startInformer } from "@drayage/kube";
import { advanceOperations } from "../backup-operations/operations.ts";
import type { ItemOperation } from "../ports.ts";
import { claimsWithoutData, loadRestoreMovements, MOVED_RECHECK_MS } from "../restore-operations/restore-movements.ts";

export interface WaitForDataOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly namespace: string;
  readonly restore: Restore;
  readonly operations: readonly ItemOperation[];
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Waits until every operation of a restore has ended or has taken too long (spec.itemOperationTimeout), and says which claims (`namespace/name`) have no data, with the reason.
 * Nothing is recorded and nothing is told to stop: the restore's operations are judged again, and finally, by the controller that waits for them.
 */
export async function waitForData(options: WaitForDataOptions): Promise<ReadonlyMap<string, string>> {
  const { client, clock, random, namespace, restore, operations, log, signal } = options;
  if (operations.length === 0) return new Map();
  const timeoutMs = requireDuration(restore.spec.itemOperationTimeout ?? "0s", "spec.itemOperationTimeout");
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid}`;
  let changed = Promise.withResolvers<void>();
  const cache = startInformer<DataDownload>(dataDownloads, { client, clock, random, logger: nullLogger, namespace, labelSelector });
  cache.onChange((_before, after) => {
    const phase = after?.status?.phase;
    if (after === undefined || phase === "Completed" || phase === "Failed" || phase === "Canceled") changed.resolve();
  });
  const onAbort = (): void => changed.resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      // Before the look: what changes meanwhile is looked at again.
      changed = Promise.withResolvers<void>();
      const movements = await loadRestoreMovements({ client, namespace }, restore, operations, signal);
      const outcome = advanceOperations(operations, {
        kind: "DataDownload",
        nowMs: clock.nowMs(),
        timeoutMs,
        movementsOf: (id) => movements.movementsOf(id),
      });
      if (!outcome.inProgress) return claimsWithoutData(outcome.operations, movements);
      const untilTimeoutMs = Math.max((outcome.nextTimeoutMs ?? 0) - clock.nowMs(), 0);
      const waitMs = movements.volumeSnapshotRestores === undefined ? untilTimeoutMs : Math.min(untilTimeoutMs, MOVED_RECHECK_MS);
      log.debug("Workloads wait for their volumes", { operations: operations.length, ended: outcome.completed + outcome.failed });
      const cancelTimer = clock.after(waitMs, () => changed.resolve());
      await changed.promise;
      cancelTimer();
    }
  } finally {
    cache.stop();
    signal.removeEventListener("abort", onAbort);
  }
}
