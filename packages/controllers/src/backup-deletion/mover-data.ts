/**
 * Data that movers of others moved for a backup: it goes by their own hand. Each move is stood for by a DataMoverBackup that is deleted with spec.deletionPolicy Delete; where there
 * is none (the data is a volume's, or this cluster only synchronised the backup) one is made. Its controller has the mover delete the data and lets the object go after that.
 */
import {
  type Backup,
  type DataMoverBackup,
  type DataUpload,
  DRAYAGE_API_VERSION,
  dataMoverBackups,
  dataUploads,
  LABELS,
  LOCATION_TARGET,
  MOVED_DATA_FINALIZER,
  MOVER_ANNOTATIONS,
  validLabelValue,
} from "@drayage/api";
import { type Clock, DrayError, hasCode } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { DATA_UPLOADS } from "../actions/item-id.ts";
import { moverBackupsIn } from "../actions/mover-restore-action.ts";
import { allOf } from "../all-of.ts";
import { isBuiltIn, loadMoverRegistry } from "../mover-choice/mover-registry.ts";
import type { BackupStore } from "../ports.ts";
import { withArchive } from "./with-archive.ts";

export interface DeleteMoverDataDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly namespace: string;
  /** How long the mover may take for one move. */
  readonly resourceTimeoutMs: number;
}

const POLL_MS = 500;

/** Has the data removed and waits for it. Can be repeated. Throws TIMED_OUT with what the mover complains of. */
export async function deleteMoverData(deps: DeleteMoverDataDeps, store: BackupStore, backup: Backup, signal: AbortSignal): Promise<void> {
  for (const move of await movesOf(deps, store, backup, signal)) await deleteMove(deps, move, signal);
}

async function movesOf({ client, namespace }: DeleteMoverDataDeps, store: BackupStore, backup: Backup, signal: AbortSignal): Promise<DataMoverBackup[]> {
  const name = backup.metadata.name ?? "";
  const labelSelector = `${LABELS.backupName}=${validLabelValue(name)}`;
  const registry = await loadMoverRegistry(client, signal);
  const archived = await withArchive(store, name, signal, async (archive) => {
    const uploads: DataUpload[] = [];
    for (const ref of archive.items(DATA_UPLOADS)) uploads.push((await archive.read(ref)) as unknown as DataUpload);
    return { moves: await moverBackupsIn(archive), uploads };
  });
  const uploads = [...(archived?.uploads ?? []), ...(await allOf(client.listAll(dataUploads, { namespace, labelSelector, signal })))].filter(
    // Of a vendor's controller, the data is the vendor's to delete (by the finalizer of the request, or its own plug-in).
    ({ spec, metadata }) =>
      metadata.labels?.[LABELS.backupName] === validLabelValue(name) && !isBuiltIn(spec.datamover ?? "") && registry.isRunnable(spec.datamover ?? ""),
  );
  const inCluster = registry.isKnown ? await allOf(client.listAll(dataMoverBackups, { namespace, labelSelector, signal })) : [];
  const all = [...(archived?.moves ?? []), ...uploads.map((upload) => standInFor(upload, namespace)), ...inCluster];
  return [...new Map(all.map((move) => [move.metadata.name ?? "", move])).values()];
}

/** A DataMoverBackup of the data that a DataUpload moved. */
function standInFor({ metadata, spec, status }: DataUpload, namespace: string): DataMoverBackup {
  const { snapshotID, dataMoverResult } = status ?? {};
  return {
    apiVersion: DRAYAGE_API_VERSION,
    kind: "DataMoverBackup",
    metadata: { name: `delete-${metadata.uid}`, namespace, annotations: { [MOVER_ANNOTATIONS.moveId]: metadata.uid ?? "" } },
    spec: {
      source: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: spec.sourceNamespace, name: spec.sourcePVC },
      mover: spec.datamover ?? "",
      parameters: { ...spec.dataMoverConfig },
      target: { kind: LOCATION_TARGET, name: spec.backupStorageLocation },
    },
    status: {
      phase: "Completed",
      ...(snapshotID === undefined || snapshotID === "" ? {} : { snapshotID }),
      ...(dataMoverResult == null ? {} : { result: dataMoverResult }),
    },
  };
}

async function deleteMove(deps: DeleteMoverDataDeps, move: DataMoverBackup, signal: AbortSignal): Promise<void> {
  const { client, clock, namespace, resourceTimeoutMs } = deps;
  const { name = "", annotations, labels, uid = "" } = move.metadata;
  const key = { namespace, name };
  if ((await client.find(dataMoverBackups, key, signal)) === undefined) {
    await client.create(
      dataMoverBackups,
      {
        apiVersion: DRAYAGE_API_VERSION,
        kind: "DataMoverBackup",
        metadata: {
          name,
          namespace,
          annotations: { [MOVER_ANNOTATIONS.moveId]: uid, ...annotations },
          ...(labels === undefined ? {} : { labels }),
          finalizers: [MOVED_DATA_FINALIZER],
        },
        spec: { ...move.spec, deletionPolicy: "Delete" },
        ...(move.status === undefined ? {} : { status: move.status }),
      },
      { signal },
    );
  } else {
    await client.patch<DataMoverBackup>(dataMoverBackups, key, "merge", { spec: { deletionPolicy: "Delete" } }, { signal });
  }
  try {
    await client.delete(dataMoverBackups, key, { signal });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
  const deadlineMs = clock.monotonicMs() + resourceTimeoutMs;
  for (;;) {
    const current = await client.find(dataMoverBackups, key, signal);
    if (current === undefined) return;
    if (current.status?.dataRemoved === false || clock.monotonicMs() >= deadlineMs) {
      const why = current.status?.message ?? `it has not answered within ${resourceTimeoutMs / 1000} s`;
      const { kind, name: source } = move.spec.source;
      throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot delete the data of ${kind} "${source}" that mover "${move.spec.mover}" moved: ${why}`, {
        hint: `DataMoverBackup "${name}" is tried again by itself; then delete the backup again.`,
      });
    }
    await clock.sleep(POLL_MS, signal);
  }
}
