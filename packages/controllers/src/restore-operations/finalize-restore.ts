/**
 * The last part of a restore, when every volume has its data: volumes get back the reclaim policy and labels that they had, the hooks of the last pods run,
 * and what came of it is added to the restore's files. Can be repeated after a crash.
 */
import { type Backup, type DataDownload, LABELS, type PodVolumeRestore, podVolumeRestores, type Restore } from "@drayage/api";
import { type Clock, DrayError, forEachLimit, isAbort, type Logger, messageOf } from "@drayage/base";
import {
  type KubeClient,
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  type StorageClass,
  storageClasses,
} from "@drayage/kube";
import { targetNamespaceOf } from "../actions/restore-action.ts";
import type { HookCounts } from "../hooks/exec-hook.ts";
import type { RestoreHookRuns } from "../hooks/restore-hook-runs.ts";
import { mergeMessages, ResultCollector } from "../operation-log/operation-log.ts";
import type { BackupStore, BackupVolumeInfo, ItemOperation } from "../ports.ts";
import { loadPodData, loadRestoreMovements } from "./restore-movements.ts";

export interface FinalizeRestoreOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly namespace: string;
  readonly store: BackupStore;
  readonly restore: Restore;
  readonly backup: Backup;
  /** Those of pods whose data was there early may have run already. */
  readonly hookRuns: RestoreHookRuns;
  readonly resourceTimeoutMs: number;
  readonly signal: AbortSignal;
}

export interface FinalizedRestore {
  readonly hooks: HookCounts;
  /** Errors and warnings that came up here. */
  readonly errors: number;
  readonly warnings: number;
}

const VOLUMES_AT_ONCE = 3;
const POLL_FIRST_MS = 100;
const POLL_FACTOR = 1.5;
const POLL_MAX_MS = 2_000;

export async function finalizeRestore(options: FinalizeRestoreOptions): Promise<FinalizedRestore> {
  const { store, restore, backup, hookRuns, signal } = options;
  const name = restore.metadata.name ?? "";
  const log = options.logger.child({ restore: `${options.namespace}/${name}` });
  const errors = new ResultCollector();
  const warnings = new ResultCollector();
  const claims = restoredClaims(await store.getRestoreResourceList(name, signal));
  const operations = await store.getRestoreItemOperations(name, signal);
  const infos = await store.getVolumeInfos(backup.metadata.name ?? "", signal);
  for (const { spec, status } of operations) {
    const { Namespace, Name, Resource } = spec.resourceIdentifier;
    // Of OADP's first data mover, the operation is named for what moved the data then.
    const what = Resource === "persistentvolumeclaims" ? "claim" : Resource;
    if (status.phase === "Failed") errors.add(Namespace, `the data of ${what} "${Namespace}/${Name}" was not restored: ${status.error ?? ""}`);
  }
  await forEachLimit(
    infos.filter(
      (info) => claims.has(claimOf(info, restore)) && info.pvInfo !== undefined && info.backupMethod !== undefined && !hasFailed(info, restore, operations),
    ),
    VOLUMES_AT_ONCE,
    async (info) => {
      try {
        await restoreVolumeMarks(info, options, log);
      } catch (error) {
        if (isAbort(error, signal)) throw error;
        warnings.add(
          targetNamespaceOf(restore, info.pvcNamespace ?? ""),
          `could not restore reclaim policy and labels of the volume of claim "${claimOf(info, restore)}": ${messageOf(error)}`,
        );
      }
    },
    signal,
  );
  const movements = await loadRestoreMovements(options, restore, operations, signal);
  const dataOf = await loadPodData(options, restore, operations, movements, signal);
  // What has not come by now does not come: every operation has ended.
  await hookRuns.offer((pod) => {
    const data = dataOf(pod);
    return data.state === "pending" ? { state: "missing", why: data.why } : data;
  });
  const hooks: HookCounts = { attempted: 0, failed: 0 };
  for (const pod of await hookRuns.results()) {
    hooks.attempted += pod.attempted;
    hooks.failed += pod.failed;
    for (const message of pod.errors) errors.add(pod.namespace, message);
  }
  const results = await store.getRestoreResults(name, signal);
  await store.putRestore(
    {
      restoreName: name,
      results: { errors: mergeMessages(results.errors, errors.messages()), warnings: mergeMessages(results.warnings, warnings.messages()) },
      volumeInfos: await restoredVolumeInfos(infos, claims, operations, movements.downloads, options),
    },
    signal,
  );
  return { hooks, errors: errors.count, warnings: warnings.count };
}

/** `namespace/name` of the claims that this restore created. */
function restoredClaims(resources: Readonly<Record<string, readonly string[]>>): ReadonlySet<string> {
  const created = (resources["v1/PersistentVolumeClaim"] ?? []).filter((entry) => entry.endsWith("(created)") || entry.endsWith("(updated)"));
  return new Set(created.map((entry) => entry.slice(0, entry.lastIndexOf("("))));
}

function claimOf(info: BackupVolumeInfo, restore: Restore): string {
  return `${targetNamespaceOf(restore, info.pvcNamespace ?? "")}/${info.pvcName}`;
}

function operationOf(info: BackupVolumeInfo, restore: Restore, operations: readonly ItemOperation[]): ItemOperation | undefined {
  const claim = claimOf(info, restore);
  return operations.find(({ spec }) => `${spec.resourceIdentifier.Namespace}/${spec.resourceIdentifier.Name}` === claim);
}

/** A volume whose data did not come back is left as it is. */
function hasFailed(info: BackupVolumeInfo, restore: Restore, operations: readonly ItemOperation[]): boolean {
  const operation = operationOf(info, restore, operations);
  return operation !== undefined && operation.status.phase !== "Completed";
}

async function restoreVolumeMarks(info: BackupVolumeInfo, options: FinalizeRestoreOptions, log: Logger): Promise<void> {
  const { client, restore, signal } = options;
  const claim = await boundClaim({ namespace: targetNamespaceOf(restore, info.pvcNamespace ?? ""), name: info.pvcName ?? "" }, options, log);
  if (claim?.spec.volumeName === undefined) return;
  const volume = await client.get(persistentVolumes, { name: claim.spec.volumeName }, signal);
  const policy = info.pvInfo?.reclaimPolicy ?? "";
  const missing = Object.entries(info.pvInfo?.labels ?? {}).filter(([key]) => volume.metadata.labels?.[key] === undefined);
  const changesPolicy = policy !== "" && policy !== volume.spec.persistentVolumeReclaimPolicy;
  if (!changesPolicy && missing.length === 0) return;
  const patch = {
    ...(missing.length === 0 ? {} : { metadata: { labels: Object.fromEntries(missing) } }),
    ...(changesPolicy ? { spec: { persistentVolumeReclaimPolicy: policy } } : {}),
  };
  await client.patch<PersistentVolume>(persistentVolumes, { name: claim.spec.volumeName }, "merge", patch, { signal });
}

/** The claim once it is bound; undefined when it is gone, or when it rightly waits for a pod. Throws when it does not get there in time. */
async function boundClaim(
  key: { readonly namespace: string; readonly name: string },
  options: FinalizeRestoreOptions,
  log: Logger,
): Promise<PersistentVolumeClaim | undefined> {
  const { client, clock, resourceTimeoutMs, signal } = options;
  const untilMs = clock.nowMs() + resourceTimeoutMs;
  for (let delayMs = POLL_FIRST_MS; ; delayMs = Math.min(delayMs * POLL_FACTOR, POLL_MAX_MS)) {
    const claim = await client.find(persistentVolumeClaims, key, signal);
    if (claim === undefined || claim.status?.phase === "Bound") return claim;
    const storageClass = await client.find<StorageClass>(storageClasses, { name: claim.spec.storageClassName ?? "-" }, signal);
    if (storageClass?.volumeBindingMode === "WaitForFirstConsumer") {
      log.info("Not waiting for a claim that waits for its first pod", { claim: `${key.namespace}/${key.name}` });
      return undefined;
    }
    if (clock.nowMs() + delayMs > untilMs) throw new DrayError("TIMED_OUT", `it is not bound after ${resourceTimeoutMs / 1000} s`);
    await clock.sleep(delayMs, signal);
  }
}

/** What became of each volume: the entries of the restore's volume file. */
async function restoredVolumeInfos(
  infos: readonly BackupVolumeInfo[],
  claims: ReadonlySet<string>,
  operations: readonly ItemOperation[],
  downloads: readonly DataDownload[],
  options: FinalizeRestoreOptions,
): Promise<Record<string, unknown>[]> {
  const { client, restore, signal } = options;
  const filled = await filledVolumeInfos(infos, options);
  if (operations.length === 0) return filled;
  const restored: Record<string, unknown>[] = [];
  for (const info of infos) {
    const operation = operationOf(info, restore, operations);
    if (operation === undefined || !claims.has(claimOf(info, restore))) continue;
    const claim = await client.find(
      persistentVolumeClaims,
      { namespace: operation.spec.resourceIdentifier.Namespace, name: operation.spec.resourceIdentifier.Name },
      signal,
    );
    const download: DataDownload | undefined = downloads.find(({ metadata }) => metadata.labels?.[LABELS.asyncOperationId] === operation.spec.operationID);
    restored.push({
      pvcName: info.pvcName,
      pvcNamespace: operation.spec.resourceIdentifier.Namespace,
      pvName: claim?.spec.volumeName ?? "",
      restoreMethod: "CSISnapshot",
      snapshotDataMoved: true,
      snapshotDataMovementInfo: {
        dataMover: info.snapshotDataMovementInfo?.dataMover ?? "velero",
        uploaderType: info.snapshotDataMovementInfo?.uploaderType ?? "kopia",
        snapshotHandle: download?.spec.snapshotID ?? "",
        operationID: operation.spec.operationID,
        size: download?.status?.progress?.totalBytes ?? 0,
        Phase: download?.status?.phase ?? "",
      },
    });
  }
  return [...restored, ...filled];
}

/** Volumes that were filled through the pods that mount them. */
async function filledVolumeInfos(
  infos: readonly BackupVolumeInfo[],
  { client, namespace, restore, signal }: FinalizeRestoreOptions,
): Promise<Record<string, unknown>[]> {
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid}`;
  const filled: Record<string, unknown>[] = [];
  for await (const { spec, status } of client.listAll<PodVolumeRestore>(podVolumeRestores, { namespace, labelSelector, signal })) {
    const info = infos.find(({ pvbInfo }) => pvbInfo?.["snapshotHandle"] === spec.snapshotID);
    const pvcNamespace = spec.pod.namespace ?? "";
    const claim = info?.pvcName === undefined ? undefined : await client.find(persistentVolumeClaims, { namespace: pvcNamespace, name: info.pvcName }, signal);
    filled.push({
      ...(info?.pvcName === undefined ? {} : { pvcName: info.pvcName, pvcNamespace, pvName: claim?.spec.volumeName ?? "" }),
      restoreMethod: "PodVolumeRestore",
      snapshotDataMoved: false,
      pvrInfo: {
        snapshotHandle: spec.snapshotID,
        size: status?.progress?.totalBytes ?? 0,
        uploaderType: spec.uploaderType ?? "kopia",
        volumeName: spec.volume,
        podName: spec.pod.name ?? "",
        podNamespace: pvcNamespace,
        ...(status?.node === undefined ? {} : { nodeName: status.node }),
        Phase: status?.phase ?? "",
      },
    });
  }
  return filled;
}
