import { LABELS, type PodVolumeRestore, podVolumeRestores, type Restore } from "@drayage/api";
import { type Clock, nullLogger, type RandomSource } from "@drayage/base";
import { type KubeClient, keyOf, startInformer } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { hasEnded } from "../backup/pod-volume-backups.ts";
import type { OperationLog } from "../operation-log/operation-log.ts";

export interface WaitForPodVolumesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly namespace: string;
  readonly restore: Restore;
  readonly operationLog: OperationLog;
  readonly timeoutMs: number;
  /** Called, one call at a time, when some of them have ended and others have not. */
  readonly onSomeEnded: () => Promise<void>;
  readonly signal: AbortSignal;
}

/** Waits until every PodVolumeRestore of a restore has ended, by a watch. One that failed, or takes too long and is told to stop, is an error of the restore. */
export async function waitForPodVolumes(options: WaitForPodVolumesOptions): Promise<void> {
  const { client, clock, random, namespace, restore, operationLog, timeoutMs, onSomeEnded, signal } = options;
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid}`;
  const waiting = new Set(
    (await allOf(client.listAll<PodVolumeRestore>(podVolumeRestores, { namespace, labelSelector, signal }))).map(({ metadata }) => metadata.name ?? ""),
  );
  if (waiting.size === 0) return;
  const all = Promise.withResolvers<"ended" | "timeout">();
  let changed = Promise.withResolvers<"changed">();
  const cache = startInformer<PodVolumeRestore>(podVolumeRestores, { client, clock, random, logger: nullLogger, namespace, labelSelector });
  cache.onChange((before, after) => {
    const found = after ?? before;
    if (found === undefined || !waiting.has(found.metadata.name ?? "") || (after !== undefined && !hasEnded(after))) return;
    waiting.delete(found.metadata.name ?? "");
    if (after === undefined || found.status?.phase !== "Completed") report(operationLog, found, after === undefined);
    if (waiting.size === 0) all.resolve("ended");
    else changed.resolve("changed");
  });
  const onAbort = (): void => all.reject(signal.reason);
  const cancelTimer = clock.after(timeoutMs, () => all.resolve("timeout"));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    signal.throwIfAborted();
    for (;;) {
      const seen = await Promise.race([all.promise, changed.promise]);
      if (seen === "ended") return;
      if (seen === "timeout") break;
      changed = Promise.withResolvers();
      await onSomeEnded();
    }
    for (const name of waiting) {
      operationLog.error("", `PodVolumeRestore "${name}" has not ended within ${timeoutMs / 1000} s; it was told to stop`);
      await client.patch<PodVolumeRestore>(podVolumeRestores, { namespace, name }, "merge", { spec: { cancel: true } }, { signal });
    }
  } finally {
    cache.stop();
    cancelTimer();
    signal.removeEventListener("abort", onAbort);
  }
}

/** Tells those of a restore that have not ended to stop: one whose pod never holds its volumes would wait for it for ever. */
export async function cancelPodVolumeRestores(client: KubeClient, { metadata }: Restore, why: string, signal: AbortSignal): Promise<void> {
  const labelSelector = `${LABELS.restoreUid}=${metadata.uid}`;
  for await (const found of client.listAll<PodVolumeRestore>(podVolumeRestores, { namespace: metadata.namespace, labelSelector, signal })) {
    if (hasEnded(found) || found.spec.cancel === true) continue;
    await client.patch<PodVolumeRestore>(podVolumeRestores, keyOf(found), "merge", { spec: { cancel: true }, status: { message: why } }, { signal });
  }
}

function report(log: OperationLog, { spec, status }: PodVolumeRestore, gone: boolean): void {
  const why = gone ? "its PodVolumeRestore was deleted" : (status?.message ?? `its PodVolumeRestore is ${status?.phase}`);
  log.error(spec.pod.namespace ?? "", `volume "${spec.volume}" of pod "${spec.pod.namespace}/${spec.pod.name}" was not filled: ${why}`);
}
