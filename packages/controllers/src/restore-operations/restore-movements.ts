/** The objects that bring the data of a restore back, as its asynchronous operations see them: DataDownloads, and the VolumeSnapshotRestores of OADP's first data mover. */
import {
  type DataDownload,
  type DataMoverRestore,
  dataDownloads,
  LABELS,
  type PodVolumeRestore,
  podVolumeRestores,
  type Restore,
  type VolumeSnapshotRestore,
  VSR_ANNOTATIONS,
  validLabelValue,
  volumeSnapshotRestores,
} from "@drayage/api";
import { hasCode } from "@drayage/base";
import { formatKey, type KubeClient, keyOf, type Pod } from "@drayage/kube";
import { claimsOfPod } from "../actions/pod-backup-action.ts";
import { VOLUME_SNAPSHOT_BACKUP_ACTION } from "../actions/volume-snapshot-backup-restore-action.ts";
import { allOf } from "../all-of.ts";
import { hasEnded, type Movement } from "../backup-operations/operations.ts";
import type { PodData } from "../hooks/restore-hook-runs.ts";
import { movesOfRestore, withOperation } from "../mover-moves/moves-of.ts";
import type { ItemOperation } from "../ports.ts";
import { progressOf } from "../volsync-era/moved-bytes.ts";
import { OWNER_ANNOTATION } from "../volume-snapshot-restore/apply.ts";

/** A VolumeSnapshotRestore is not watched: its kind need not be served. */
export const MOVED_RECHECK_MS = 2_000;

export interface RestoreMovements {
  readonly downloads: readonly DataDownload[];
  readonly moves: readonly DataMoverRestore[];
  /** By the ids of their operations; undefined where there are none. */
  readonly volumeSnapshotRestores: ReadonlyMap<string, readonly VolumeSnapshotRestore[]> | undefined;
  movementsOf(operationId: string): readonly Movement[];
}

/** Reads them from the API server, not from a cache: one that is not there yet would fail its operation for good. */
export async function loadRestoreMovements(
  { client, namespace }: { readonly client: KubeClient; readonly namespace: string },
  restore: Restore,
  operations: readonly ItemOperation[],
  signal: AbortSignal,
): Promise<RestoreMovements> {
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid}`;
  const downloads = await allOf(client.listAll<DataDownload>(dataDownloads, { namespace, labelSelector, signal }));
  const moved = await loadVolumeSnapshotRestores(client, restore, operations, signal);
  const moves = await movesOfRestore({ client, namespace, signal }, restore.metadata.uid ?? "", operations);
  return {
    downloads,
    moves,
    volumeSnapshotRestores: moved,
    movementsOf: (id) =>
      moved?.get(id)?.map((found) => movementOf(found, downloads)) ?? withOperation<DataDownload | DataMoverRestore>([...downloads, ...moves], id),
  };
}

/** Claims (`namespace/name`) whose data did not come back, with the reason. */
export function claimsWithoutData(
  operations: readonly ItemOperation[],
  { volumeSnapshotRestores: moved }: Pick<RestoreMovements, "volumeSnapshotRestores">,
): ReadonlyMap<string, string> {
  const reasons = new Map<string, string>();
  for (const { spec, status } of operations) {
    const claim = status.phase === "Failed" ? claimOfOperation({ spec, status }, moved) : undefined;
    if (claim !== undefined) reasons.set(claim, status.error ?? "its data was not restored");
  }
  return reasons;
}

/** `namespace/name` of the claim that an operation fills. */
function claimOfOperation({ spec }: ItemOperation, moved: RestoreMovements["volumeSnapshotRestores"]): string | undefined {
  const { Namespace, Name } = spec.resourceIdentifier;
  // Such an operation belongs to the record of the old mover; its claim is another item.
  const claim =
    spec.restoreItemAction === VOLUME_SNAPSHOT_BACKUP_ACTION
      ? moved?.get(spec.operationID)?.[0]?.spec?.volumeSnapshotMoverBackupRef?.sourcePVCData?.name
      : Name;
  return claim === undefined ? undefined : `${Namespace}/${claim}`;
}

/** What is known of the data of each pod: of its claims by the operations as they are judged now, of volumes that are filled through the pod by their PodVolumeRestores. */
export async function loadPodData(
  { client, namespace }: { readonly client: KubeClient; readonly namespace: string },
  restore: Restore,
  operations: readonly ItemOperation[],
  movements: Pick<RestoreMovements, "volumeSnapshotRestores">,
  signal: AbortSignal,
): Promise<(pod: Pod) => PodData> {
  const claims = new Map<string, PodData>();
  for (const operation of operations) {
    const claim = hasEnded(operation) ? undefined : claimOfOperation(operation, movements.volumeSnapshotRestores);
    if (claim !== undefined) claims.set(claim, { state: "pending", why: `the data of its claim "${claim}" is not there yet` });
  }
  for (const [claim, reason] of claimsWithoutData(operations, movements))
    claims.set(claim, { state: "missing", why: `the data of its claim "${claim.slice(claim.indexOf("/") + 1)}" was not restored: ${reason}` });
  const filled = new Map<string, PodData[]>();
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid}`;
  for await (const { spec, status } of client.listAll<PodVolumeRestore>(podVolumeRestores, { namespace, labelSelector, signal })) {
    const phase = status?.phase ?? "New";
    if (phase === "Completed") continue;
    const state = phase === "Failed" || phase === "Canceled" ? "missing" : "pending";
    const pod = `${spec.pod.namespace}/${spec.pod.name}`;
    filled.set(pod, [...(filled.get(pod) ?? []), { state, why: `its volume "${spec.volume}" was not filled: ${status?.message ?? phase}` }]);
  }
  return (pod) => {
    const { namespace: podNamespace = "", name } = pod.metadata;
    const data = [...claimsOfPod(pod).map((claim) => claims.get(`${podNamespace}/${claim.name}`)), ...(filled.get(`${podNamespace}/${name}`) ?? [])].filter(
      (found) => found !== undefined,
    );
    return data.find(({ state }) => state === "missing") ?? data.find(({ state }) => state === "pending") ?? { state: "ready" };
  };
}

export function operationIdOf({ metadata }: DataDownload): string {
  return metadata.labels?.[LABELS.asyncOperationId] ?? "";
}

async function loadVolumeSnapshotRestores(
  client: KubeClient,
  restore: Restore,
  operations: readonly ItemOperation[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly VolumeSnapshotRestore[]> | undefined> {
  const ids = operations.filter(({ spec }) => spec.restoreItemAction === VOLUME_SNAPSHOT_BACKUP_ACTION).map(({ spec }) => spec.operationID);
  if (ids.length === 0) return undefined;
  const found = new Map<string, VolumeSnapshotRestore[]>(ids.map((id) => [id, []]));
  const labelSelector = `${LABELS.restoreName}=${validLabelValue(restore.metadata.name ?? "")}`;
  for await (const object of client.listAll<VolumeSnapshotRestore>(volumeSnapshotRestores, { labelSelector, signal }))
    found.get(formatKey(keyOf(object)))?.push(object);
  return found;
}

/** Tells all of a restore that failed to stop. */
export async function cancelVolumeSnapshotRestores(client: KubeClient, { metadata }: Restore, signal: AbortSignal): Promise<void> {
  const labelSelector = `${LABELS.restoreName}=${validLabelValue(metadata.name ?? "")}`;
  const patch = { metadata: { annotations: { [VSR_ANNOTATIONS.cancel]: "true" } } };
  try {
    for (const found of await allOf(client.listAll<VolumeSnapshotRestore>(volumeSnapshotRestores, { labelSelector, signal })))
      if (found.metadata.annotations?.[VSR_ANNOTATIONS.restoreUid] === metadata.uid)
        await client.patch<VolumeSnapshotRestore>(volumeSnapshotRestores, keyOf(found), "merge", patch, { signal });
  } catch (error) {
    // A cluster that does not know the kind has none; one that went meanwhile has stopped.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

/** A VolumeSnapshotRestore as an operation sees it: its end, and the bytes of the DataDownload that works for it, or those that VolSync restored. */
function movementOf(restore: VolumeSnapshotRestore, downloads: readonly DataDownload[]): Movement {
  const { metadata, status } = restore;
  const { phase = "", startTimestamp, completionTimestamp, conditions } = status ?? {};
  const download = downloads.find((other) => other.metadata.annotations?.[OWNER_ANNOTATION] === `${metadata.namespace}/${metadata.name}`);
  const progress = download?.status?.progress ?? progressOf(restore);
  return {
    status: {
      phase: phase === "PartiallyFailed" ? "Failed" : phase === "" || phase === "Completed" || phase === "Failed" ? phase : "InProgress",
      message: conditions?.find(({ type }) => type === "Reconciled")?.message ?? "",
      ...(progress === undefined ? {} : { progress }),
      ...(startTimestamp === undefined ? {} : { startTimestamp }),
      ...(completionTimestamp === undefined ? {} : { completionTimestamp }),
    },
  };
}
