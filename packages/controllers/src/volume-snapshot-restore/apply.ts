/** Carries out one step of a VolumeSnapshotRestore. Each can be repeated. */
import {
  type DataDownload,
  DRAYAGE_ANNOTATIONS,
  dataDownloads,
  LABELS,
  NEWEST_SNAPSHOT,
  parseResticRepository,
  VOLSYNC_DATA_MOVER,
  VOLSYNC_MOVER_CONFIG,
  type VolumeSnapshotRestore,
  type VolumeSnapshotRestoreStatus,
  VSM_FINALIZER,
  VSM_LABELS,
  VSR_ANNOTATIONS,
  validLabelValue,
  volumeSnapshotRestores,
} from "@drayage/api";
import { formatTime, hasCode, type Logger } from "@drayage/base";
import { type KubeClient, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { reconciled } from "../volsync-era/reconciled.ts";
import { downloadName, locationOf } from "./observe.ts";
import { isTerminal, type Step } from "./volume-snapshot-restore.ts";

export interface ApplierDeps {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly logger: Logger;
  readonly nowMs: () => number;
}

/** On a DataDownload: `namespace/name` of its VolumeSnapshotRestore, which as an object of another namespace cannot own it. */
export const OWNER_ANNOTATION = "drayage.io/volume-snapshot-restore";
/** For the single steps of preparing a volume; the whole has the node-agent's own limit. */
const OPERATION_TIMEOUT = "10m0s";

export async function apply(deps: ApplierDeps, restore: VolumeSnapshotRestore, step: Step): Promise<void> {
  const { client, namespace, logger } = deps;
  const key = { namespace, name: downloadName(restore) };
  switch (step.do) {
    case "addFinalizer":
      await client.replace(volumeSnapshotRestores, withFinalizer(restore, VSM_FINALIZER));
      return;
    case "removeFinalizer":
      await client.replace(volumeSnapshotRestores, withoutFinalizer(restore, VSM_FINALIZER));
      return;
    case "createDownload":
      try {
        await client.create(dataDownloads, buildDownload(deps, restore));
      } catch (error) {
        // Its name holds our UID, so it is ours.
        if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
      }
      return;
    case "cancelDownload":
      await client.patch(dataDownloads, key, "merge", { spec: { cancel: true } });
      return;
    case "deleteDownload":
      await client.delete(dataDownloads, key);
      return;
    case "setPhase":
      await client.replaceStatus(volumeSnapshotRestores, { ...restore, status: statusAfter(deps, restore, step) });
      logger.info(`VolumeSnapshotRestore is ${step.to}`, { name: restore.metadata.name, namespace: restore.metadata.namespace, message: step.message });
  }
}

function statusAfter({ nowMs }: ApplierDeps, restore: VolumeSnapshotRestore, step: Extract<Step, { do: "setPhase" }>): VolumeSnapshotRestoreStatus {
  const now = formatTime(nowMs());
  const { status = {}, metadata } = restore;
  return {
    ...status,
    phase: step.to,
    batchingStatus: step.batching,
    startTimestamp: status.startTimestamp ?? now,
    ...(isTerminal(step.to) ? { completionTimestamp: now } : {}),
    conditions: reconciled(status.conditions, { failed: step.to === "Failed", message: step.message, now, generation: metadata.generation }),
  };
}

function buildDownload({ namespace }: ApplierDeps, restore: VolumeSnapshotRestore): DataDownload {
  const { name = "", namespace: targetNamespace = "", labels, annotations } = restore.metadata;
  const backupRef = restore.spec?.volumeSnapshotMoverBackupRef;
  const restoreName = labels?.[LABELS.restoreName];
  const restoreUid = annotations?.[VSR_ANNOTATIONS.restoreUid];
  return {
    apiVersion: "velero.io/v2alpha1",
    kind: "DataDownload",
    metadata: {
      name: downloadName(restore),
      namespace,
      labels: {
        [VSM_LABELS.volumeSnapshotRestore]: validLabelValue(name),
        ...(restoreName === undefined ? {} : { [LABELS.restoreName]: restoreName }),
        ...(restoreUid === undefined ? {} : { [LABELS.restoreUid]: restoreUid }),
      },
      annotations: {
        [OWNER_ANNOTATION]: `${targetNamespace}/${name}`,
        ...(annotations?.[DRAYAGE_ANNOTATIONS.ignoreDelayBinding] === "true" ? { [DRAYAGE_ANNOTATIONS.ignoreDelayBinding]: "true" } : {}),
      },
    },
    spec: {
      backupStorageLocation: locationOf(restore),
      datamover: VOLSYNC_DATA_MOVER,
      dataMoverConfig: {
        [VOLSYNC_MOVER_CONFIG.repositoryPath]: parseResticRepository(backupRef?.resticrepository ?? "").path,
        [VOLSYNC_MOVER_CONFIG.secretName]: restore.spec?.resticSecretRef?.name ?? "",
        [VOLSYNC_MOVER_CONFIG.mayBeEmpty]: String(annotations?.[VSR_ANNOTATIONS.mayBeEmpty] === "true"),
      },
      operationTimeout: OPERATION_TIMEOUT,
      snapshotID: annotations?.[VSR_ANNOTATIONS.snapshot] ?? NEWEST_SNAPSHOT,
      sourceNamespace: targetNamespace,
      targetVolume: { namespace: targetNamespace, pv: "", pvc: backupRef?.sourcePVCData?.name ?? "" },
    },
  };
}
