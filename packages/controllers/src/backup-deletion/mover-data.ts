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
import { type Clock, DrayError, hasCode, isAbort, messageOf } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { moverPrefix } from "@drayage/mover-sdk";
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

/**
 * Has the data removed and waits for it. Can be repeated: what is gone by then is not asked for again. Every move is tried. Throws DATA_MOVEMENT_FAILED with what stays and why:
 * a mover complains or does not answer, or is registered no more and the Backup's annotation does not say that its data may stay.
 */
export async function deleteMoverData(deps: DeleteMoverDataDeps, store: BackupStore, backup: Backup, signal: AbortSignal): Promise<void> {
  const { moves, orphans } = await movesOf(deps, store, backup, signal);
  const problems: unknown[] = [];
  if (backup.metadata.annotations?.[MOVER_ANNOTATIONS.abandon] !== "true") problems.push(...orphans.map(orphaned));
  for (const move of moves) {
    try {
      await deleteMove(deps, move, signal);
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      problems.push(error);
    }
  }
  if (problems.length === 1) throw problems[0];
  if (problems.length > 1) throw new DrayError("DATA_MOVEMENT_FAILED", problems.map(messageOf).join("; "), { cause: problems[0] });
}

interface MovesOfBackup {
  readonly moves: readonly DataMoverBackup[];
  /** Volumes that a mover moved which is registered no more. */
  readonly orphans: readonly DataUpload[];
}

async function movesOf({ client, namespace }: DeleteMoverDataDeps, store: BackupStore, backup: Backup, signal: AbortSignal): Promise<MovesOfBackup> {
  const name = backup.metadata.name ?? "";
  const labelSelector = `${LABELS.backupName}=${validLabelValue(name)}`;
  const registry = await loadMoverRegistry(client, namespace, signal);
  const archived = await withArchive(store, name, signal, async (archive) => {
    const uploads: DataUpload[] = [];
    for (const ref of archive.items(DATA_UPLOADS)) uploads.push((await archive.read(ref)) as unknown as DataUpload);
    return { moves: await moverBackupsIn(archive), uploads };
  });
  const found = [...(archived?.uploads ?? []), ...(await allOf(client.listAll(dataUploads, { namespace, labelSelector, signal })))];
  const uploads = [...new Map(found.map((upload) => [upload.metadata.uid ?? upload.metadata.name, upload])).values()].filter(
    ({ spec, metadata }) => metadata.labels?.[LABELS.backupName] === validLabelValue(name) && !isBuiltIn(spec.datamover ?? ""),
  );
  const runs = Map.groupBy(uploads, ({ spec }) => registry.runs(spec.datamover ?? ""));
  const inCluster = registry.isKnown ? await allOf(client.listAll(dataMoverBackups, { namespace, labelSelector, signal })) : [];
  // Of a vendor's controller that does not say that it can be asked, the data is the vendor's to delete by means of its own, such as a plug-in.
  const asked = [...(runs.get("pods") ?? []), ...(runs.get("controller") ?? []).filter(({ spec }) => registry.vendorDeletes(spec.datamover ?? ""))];
  const all = [...(archived?.moves ?? []), ...asked.map((upload) => standInFor(upload, namespace)), ...inCluster];
  return {
    moves: [...new Map(all.map((move) => [move.metadata.name ?? "", move])).values()],
    orphans: (runs.get("nobody") ?? []).filter(isLeftBehind),
  };
}

/** A server of ours chose the mover, so it was registered, with pods of ours, and it has moved something. Uploads of other servers name movers that we never knew. */
function isLeftBehind({ metadata, status }: DataUpload): boolean {
  const { [MOVER_ANNOTATIONS.chosen]: chosen, [MOVER_ANNOTATIONS.vendorController]: vendor } = metadata.annotations ?? {};
  return chosen !== undefined && vendor !== "true" && status?.snapshotID !== undefined && status.snapshotID !== "";
}

function orphaned({ spec, status }: DataUpload): DrayError {
  const mover = spec.datamover ?? "";
  return new DrayError(
    "DATA_MOVEMENT_FAILED",
    `Cannot delete the data of PersistentVolumeClaim "${spec.sourceNamespace}/${spec.sourcePVC}" that mover "${mover}" moved: the mover is not registered any more, ` +
      `and snapshot "${status?.snapshotID}" stays in location "${spec.backupStorageLocation}" under ${moverPrefix(mover)}. Register it again with dray mover add and delete the ` +
      `backup again, or annotate the backup with ${MOVER_ANNOTATIONS.abandon}=true to leave the data there`,
  );
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
    // How an earlier try ended is forgotten: the mover is asked again now, not when its next turn comes.
    await client.patch(dataMoverBackups, key, "merge", { spec: { deletionPolicy: "Delete" }, status: { dataRemoved: null } }, { signal });
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
        hint: `DataMoverBackup "${name}" is tried again by itself; delete the backup again after that.`,
      });
    }
    await clock.sleep(POLL_MS, signal);
  }
}
