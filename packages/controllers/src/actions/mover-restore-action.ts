/** Brings the data of resources back that a mover had moved: a DataMoverRestore for every item whose DataMoverBackup is in the backup. */
import {
  type DataMoverBackup,
  type DataMoverRestore,
  DRAYAGE_API_VERSION,
  dataMoverRestores,
  LABELS,
  MOVER_ANNOTATIONS,
  MOVER_OPERATION_PREFIXES,
  validLabelValue,
} from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import type { GenericObject, KubeClient } from "@drayage/kube";
import type { BackupArchiveReader } from "../ports.ts";
import { DATA_MOVER_BACKUPS, MOVER_BACKUP_ACTION } from "./mover-backup-action.ts";
import type { RestoreAction, RestoreActionContext, RestoreActionResult } from "./restore-action.ts";

export interface MoverRestoreOptions {
  readonly client: KubeClient;
  /** Where the DataMoverRestores go. */
  readonly namespace: string;
}

/** Those of a backup, as they lie in its tarball. */
export async function moverBackupsIn(archive: BackupArchiveReader): Promise<readonly DataMoverBackup[]> {
  const found: DataMoverBackup[] = [];
  for (const ref of archive.items(DATA_MOVER_BACKUPS)) found.push((await archive.read(ref)) as unknown as DataMoverBackup);
  return found;
}

/** One action for each resource of which the backup has moved data, and one that keeps the records of the moves out of the cluster. */
export function createMoverRestoreActions(options: MoverRestoreOptions, moves: readonly DataMoverBackup[]): RestoreAction[] {
  if (moves.length === 0) return [];
  const byName = new Map(moves.map((move) => [move.metadata.name ?? "", move]));
  const resources = new Set(moves.map(({ metadata }) => metadata.annotations?.[MOVER_ANNOTATIONS.resource] ?? ""));
  return [
    { name: MOVER_BACKUP_ACTION, groupResource: DATA_MOVER_BACKUPS, execute: async (item) => ({ item, skip: true }) },
    ...[...resources].map((groupResource) => ({
      name: MOVER_BACKUP_ACTION,
      groupResource,
      execute: (item: GenericObject, context: RestoreActionContext) => restoreData(options, byName, item, context),
    })),
  ];
}

async function restoreData(
  options: MoverRestoreOptions,
  moves: ReadonlyMap<string, DataMoverBackup>,
  item: GenericObject,
  context: RestoreActionContext,
): Promise<RestoreActionResult> {
  const { itemFromBackup, targetNamespace, restore, log, signal } = context;
  const moveName = itemFromBackup.metadata.annotations?.[MOVER_ANNOTATIONS.backup];
  if (moveName === undefined) return { item };
  const restored = structuredClone(item);
  for (const key of [MOVER_ANNOTATIONS.backup, MOVER_ANNOTATIONS.chosen, MOVER_ANNOTATIONS.reason]) delete restored.metadata.annotations?.[key];
  const move = moves.get(moveName);
  const { phase = "New", message, snapshotID = "", result } = move?.status ?? {};
  if (move === undefined || phase !== "Completed" || snapshotID === "") {
    const why = move === undefined ? "is not in the backup" : `ended ${phase}${message === undefined ? "" : ` (${message})`}`;
    throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot restore the data of ${item.kind} "${item.metadata.name}": its DataMoverBackup "${moveName}" ${why}`, {
      hint: "Take the data from another backup.",
    });
  }
  const { name: restoreName = "", uid: restoreUid = "" } = restore.metadata;
  const operationId = validLabelValue(`${MOVER_OPERATION_PREFIXES.restore}${restoreUid}.${itemFromBackup.metadata.uid}`);
  const { apiVersion, kind, name } = move.spec.source;
  const wanted: DataMoverRestore = {
    apiVersion: DRAYAGE_API_VERSION,
    kind: "DataMoverRestore",
    metadata: {
      name: `${restoreName.slice(0, 100)}-${itemFromBackup.metadata.uid}`,
      namespace: options.namespace,
      labels: { [LABELS.asyncOperationId]: operationId, [LABELS.restoreName]: validLabelValue(restoreName), [LABELS.restoreUid]: restoreUid },
      ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Restore", name: restoreName, uid: restoreUid, controller: true }],
    },
    spec: {
      source: { apiVersion, kind, ...(targetNamespace === undefined ? {} : { namespace: targetNamespace }), name },
      mover: move.spec.mover,
      parameters: move.spec.parameters ?? {},
      target: move.spec.target,
      snapshotID,
      ...(result === undefined ? {} : { result }),
      timeout: restore.spec.itemOperationTimeout ?? "",
    },
  };
  try {
    await options.client.create(dataMoverRestores, wanted, { signal });
  } catch (error) {
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
  log.info(`DataMoverRestore "${options.namespace}/${wanted.metadata.name}" was created`);
  return { item: restored, operationId };
}
