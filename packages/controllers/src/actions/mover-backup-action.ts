/** Has the data of a resource that is no claim moved: a DataMoverBackup for every item that something chooses a mover for. */
import {
  type DataMoverBackup,
  DRAYAGE_API_VERSION,
  dataMoverBackups,
  LABELS,
  LOCATION_TARGET,
  MOVER_ANNOTATIONS,
  MOVER_OPERATION_PREFIXES,
  validLabelValue,
} from "@drayage/api";
import { hasCode } from "@drayage/base";
import type { GenericObject, KubeClient } from "@drayage/kube";
import { chooseMover, type MoverChoice } from "../mover-choice/choose-mover.ts";
import type { MoverRegistry } from "../mover-choice/mover-registry.ts";
import type { BackupAction, BackupActionContext, BackupActionResult } from "./backup-action.ts";
import { PERSISTENT_VOLUME_CLAIMS } from "./item-id.ts";

export const MOVER_BACKUP_ACTION = "drayage.io/data-mover";
export const DATA_MOVER_BACKUPS = "datamoverbackups.drayage.io";

export interface MoverBackupOptions {
  readonly client: KubeClient;
  /** Where the DataMoverBackups go. */
  readonly namespace: string;
  readonly movers: MoverRegistry;
}

/** One action for each resource that a registered mover takes; claims have their own. */
export function createMoverBackupActions(options: MoverBackupOptions): BackupAction[] {
  return options.movers.kinds
    .filter((groupResource) => groupResource !== PERSISTENT_VOLUME_CLAIMS)
    .map((groupResource) => ({
      name: MOVER_BACKUP_ACTION,
      groupResource,
      execute: (item: GenericObject, context: BackupActionContext) => moveData(options, groupResource, item, context),
    }));
}

async function moveData(options: MoverBackupOptions, groupResource: string, item: GenericObject, context: BackupActionContext): Promise<BackupActionResult> {
  const { backup, log, signal } = context;
  const { namespace, name = "", labels = {}, annotations = {} } = item.metadata;
  const choice = chooseMover({ groupResource, namespace, name, labels, annotations }, backup, options.movers);
  if (choice === undefined || choice.builtin) return { item };
  const move = moveFor(options, { groupResource, item, choice }, context);
  try {
    await options.client.create(dataMoverBackups, move, { signal });
  } catch (error) {
    // Its name comes from the backup and the item, so an answer that was lost is found again.
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
  const moveName = move.metadata.name ?? "";
  log.info(`DataMoverBackup "${options.namespace}/${moveName}" was created for mover "${choice.mover}": ${choice.reason}`);
  const stored = structuredClone(item);
  stored.metadata.annotations = {
    ...stored.metadata.annotations,
    [MOVER_ANNOTATIONS.backup]: moveName,
    [MOVER_ANNOTATIONS.chosen]: choice.mover,
    [MOVER_ANNOTATIONS.reason]: choice.reason,
  };
  return {
    item: stored,
    operation: {
      id: move.metadata.labels?.[LABELS.asyncOperationId] ?? "",
      postOperationItems: [{ groupResource: DATA_MOVER_BACKUPS, namespace: options.namespace, name: moveName }],
    },
  };
}

function moveFor(
  { namespace }: MoverBackupOptions,
  { groupResource, item, choice }: { readonly groupResource: string; readonly item: GenericObject; readonly choice: MoverChoice },
  { backup }: BackupActionContext,
): DataMoverBackup {
  const { name: backupName = "", uid: backupUid = "" } = backup.metadata;
  const { apiVersion = "", kind = "", metadata } = item;
  return {
    apiVersion: DRAYAGE_API_VERSION,
    kind: "DataMoverBackup",
    metadata: {
      name: `${backupName.slice(0, 100)}-${metadata.uid}`,
      namespace,
      labels: {
        [LABELS.backupName]: validLabelValue(backupName),
        [LABELS.backupUid]: backupUid,
        [LABELS.asyncOperationId]: validLabelValue(`${MOVER_OPERATION_PREFIXES.backup}${backupUid}.${metadata.uid}`),
      },
      annotations: {
        [MOVER_ANNOTATIONS.resource]: groupResource,
        [MOVER_ANNOTATIONS.reason]: choice.reason,
        // Two backups may be of one name in two clusters that share a bucket.
        [MOVER_ANNOTATIONS.moveId]: `${backupUid}.${metadata.uid}`,
      },
      ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Backup", name: backupName, uid: backupUid, controller: true }],
    },
    spec: {
      source: { apiVersion, kind, ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }), name: metadata.name ?? "" },
      mover: choice.mover,
      parameters: { ...choice.parameters },
      target: { kind: LOCATION_TARGET, name: backup.spec.storageLocation ?? "" },
      timeout: backup.spec.itemOperationTimeout ?? "",
    },
  };
}
