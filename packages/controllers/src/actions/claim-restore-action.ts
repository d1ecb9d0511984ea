/**
 * Brings a claim back with its data (Velero's actions `velero.io/pvc` and `velero.io/csi-pvc-restorer`).
 *
 * A claim whose data was moved is created with a selector that no volume fits, so that no provisioner makes an empty volume for it; a DataDownload fills a volume elsewhere
 * and hands it over with the label that the selector asks for.
 */
import {
  ANNOTATIONS,
  type DataDownload,
  DRAYAGE_ANNOTATIONS,
  dataDownloads,
  LABELS,
  MOVER_ANNOTATIONS,
  OPERATION_ID_PREFIXES,
  type VolumeSnapshot,
  validLabelValue,
} from "@drayage/api";
import { DrayError, type RandomSource, randomSuffix } from "@drayage/base";
import { type GenericObject, type KubeClient, type PersistentVolumeClaim, persistentVolumeClaims } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { volumeOfClaim } from "./claim-backup-action.ts";
import type { DataUploadResult, DataUploadResults } from "./data-upload-restore-action.ts";
import { PERSISTENT_VOLUME_CLAIMS } from "./item-id.ts";
import { isDataFirst, isRestoredBy, type RestoreAction, type RestoreActionContext, resumesOf } from "./restore-action.ts";
import { fillFromSnapshot } from "./snapshot-restore.ts";
import { fillFromVolSync, type VolSyncSnapshotOptions } from "./volsync-snapshot-restore.ts";
import type { MovedVolumes } from "./volume-snapshot-backup-restore-action.ts";

export const CLAIM_RESTORE_ACTION = "velero.io/csi-pvc-restorer";

/** What binders and provisioners noted about the binding that is no more, and what the backup noted for this action. */
const STALE_ANNOTATIONS = [
  "pv.kubernetes.io/bind-completed",
  "pv.kubernetes.io/bound-by-controller",
  "volume.kubernetes.io/storage-provisioner",
  "volume.beta.kubernetes.io/storage-provisioner",
  "volume.kubernetes.io/selected-node",
  ANNOTATIONS.volumeSnapshotName,
  ANNOTATIONS.dataUploadName,
  ANNOTATIONS.mustIncludeAdditionalItems,
  ANNOTATIONS.skippedNoCsiPv,
] as const;

/** A claim loses the notes of its old binding and brings its volume along. */
export const claimRestoreAction: RestoreAction = {
  name: "velero.io/pvc",
  groupResource: PERSISTENT_VOLUME_CLAIMS,
  async execute(item, { itemFromBackup }) {
    const claim = structuredClone(item);
    for (const key of STALE_ANNOTATIONS) delete claim.metadata.annotations?.[key];
    if (claim.metadata.annotations !== undefined && Object.keys(claim.metadata.annotations).length === 0) delete claim.metadata.annotations;
    const volume = volumeOfClaim(itemFromBackup as unknown as PersistentVolumeClaim);
    return { item: claim, additionalItems: volume === undefined ? [] : [volume] };
  },
};

export interface ClaimDataRestoreOptions {
  readonly client: KubeClient;
  readonly random: RandomSource;
  /** Where the DataDownloads go. */
  readonly namespace: string;
  readonly results: DataUploadResults;
  /** A VolumeSnapshot as it lies in the backup. */
  readonly storedSnapshot: (namespace: string, name: string) => Promise<VolumeSnapshot | undefined>;
  /** Claims whose data OADP 1.1 or 1.2 moved. */
  readonly moved: MovedVolumes;
  /** Where VolSync brings that back, and not we. */
  readonly volSync?: VolSyncSnapshotOptions | undefined;
}

/** A claim whose data was moved gets a DataDownload; one whose snapshot stayed with its storage is provisioned from that. */
export function createClaimDataRestoreAction(options: ClaimDataRestoreOptions): RestoreAction {
  return {
    name: CLAIM_RESTORE_ACTION,
    groupResource: PERSISTENT_VOLUME_CLAIMS,
    async execute(item, context) {
      const claim = structuredClone(item) as unknown as PersistentVolumeClaim;
      const { restore, backup, itemFromBackup, targetNamespace = "", log, signal } = context;
      const name = claim.metadata.name ?? "";
      const existing = await options.client.find(persistentVolumeClaims, { namespace: targetNamespace, name }, signal);
      if (existing !== undefined && !isRestoredBy(restore, existing as unknown as GenericObject)) {
        log.warn(`Claim "${targetNamespace}/${name}" exists already: its data is left as it is`);
        return { item };
      }
      if (restore.spec.restorePVs === false) {
        delete claim.spec.volumeName;
        delete claim.spec.dataSource;
        delete claim.spec.dataSourceRef;
        return { item: claim as unknown as GenericObject };
      }
      const movedThen = options.moved.of(itemFromBackup.metadata.namespace ?? "", name);
      if (movedThen?.problem !== undefined) {
        throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot restore the data of claim "${itemFromBackup.metadata.namespace}/${name}": ${movedThen.problem}`, {
          hint: "Take the data from another backup.",
        });
      }
      if (options.volSync !== undefined && movedThen?.restore !== undefined) {
        await fillFromVolSync(
          options.volSync,
          claim,
          { restore: movedThen.restore, ...(movedThen.snapshot === undefined ? {} : { snapshot: movedThen.snapshot }) },
          context,
        );
        return { item: claim as unknown as GenericObject };
      }
      // Its VolumeSnapshotRestore is the operation that is waited for.
      if (movedThen !== undefined) return { item: awaitingVolume(claim, targetNamespace, options.random) };
      const snapshotName = itemFromBackup.metadata.annotations?.[ANNOTATIONS.volumeSnapshotName];
      const uploadName = itemFromBackup.metadata.annotations?.[ANNOTATIONS.dataUploadName];
      if (backup.spec.snapshotMoveData !== true && uploadName === undefined && snapshotName !== undefined) {
        const snapshot = await options.storedSnapshot(itemFromBackup.metadata.namespace ?? "", snapshotName);
        if (snapshot === undefined)
          throw new DrayError(
            "SNAPSHOT_FAILED",
            `Cannot restore the data of claim "${targetNamespace}/${name}": its VolumeSnapshot "${snapshotName}" is not in the backup`,
          );
        await fillFromSnapshot(options.client, claim, snapshot, context);
        log.info(`The claim is filled from snapshot "${claim.spec.dataSource?.name}"`);
        return { item: claim as unknown as GenericObject };
      }
      // The annotation says that there was a DataUpload; other claims come back without data of ours.
      if (backup.spec.snapshotMoveData !== true || itemFromBackup.metadata.annotations?.[ANNOTATIONS.dataUploadName] === undefined) return { item };
      const result = theResult(options.results, claim);
      const operationId = validLabelValue(`${OPERATION_ID_PREFIXES.dataDownload}${restore.metadata.uid}.${itemFromBackup.metadata.uid}`);
      const awaiting = awaitingVolume(claim, targetNamespace, options.random);
      const earlier = await earlierDataDownload(options, operationId, context);
      const download = earlier ?? (await createDataDownload(options, { operationId, result, name, targetNamespace }, context));
      log.info(`DataDownload "${options.namespace}/${download.metadata.name}" was ${earlier === undefined ? "created" : "found"}`);
      return { item: awaiting, operationId, operationCreated: earlier?.metadata.creationTimestamp };
    },
  };
}

/** The claim with a selector that no volume fits until one with its data is handed over. */
function awaitingVolume(claim: PersistentVolumeClaim, targetNamespace: string, random: RandomSource): GenericObject {
  delete claim.spec.volumeName;
  delete claim.spec.dataSource;
  delete claim.spec.dataSourceRef;
  claim.spec.selector = { matchLabels: { [LABELS.dynamicPvRestore]: validLabelValue(`${targetNamespace}.${claim.metadata.name}.${randomSuffix(random)}`) } };
  return claim as unknown as GenericObject;
}

/** The one result there is for a claim. Throws DATA_MOVEMENT_FAILED when there is none that data can be taken from. */
function theResult(results: DataUploadResults, claim: PersistentVolumeClaim): DataUploadResult {
  const { namespace = "", name = "" } = claim.metadata;
  const found = results.of(namespace, name);
  const [first] = found;
  const subject = `Cannot restore the data of claim "${namespace}/${name}"`;
  if (first === undefined || found.length > 1)
    throw new DrayError("DATA_MOVEMENT_FAILED", `${subject}: the backup has ${found.length} DataUploads for it, where there should be one`);
  if (first.result.snapshotID === "") {
    const { phase = "New", message } = first.upload.status ?? {};
    throw new DrayError(
      "DATA_MOVEMENT_FAILED",
      `${subject}: its DataUpload "${first.upload.metadata.name}" ended ${phase}${message === undefined || message === "" ? "" : ` (${message})`}, so the backup has none`,
      {
        hint: "Take the data from another backup.",
      },
    );
  }
  return first.result;
}

interface DownloadSubject {
  readonly operationId: string;
  readonly result: DataUploadResult;
  readonly name: string;
  readonly targetNamespace: string;
}

/** One that a process of before made for the same operation. */
async function earlierDataDownload(
  { client, namespace }: ClaimDataRestoreOptions,
  operationId: string,
  { restore, signal }: RestoreActionContext,
): Promise<DataDownload | undefined> {
  if (resumesOf(restore) === 0) return undefined;
  const [found] = await allOf(client.listAll<DataDownload>(dataDownloads, { namespace, labelSelector: `${LABELS.asyncOperationId}=${operationId}`, signal }));
  return found;
}

function createDataDownload(
  { client, namespace }: ClaimDataRestoreOptions,
  subject: DownloadSubject,
  { restore, backup, signal }: RestoreActionContext,
): Promise<DataDownload> {
  const { operationId, result, name, targetNamespace } = subject;
  const { name: restoreName = "", uid: restoreUid = "" } = restore.metadata;
  const parallel = restore.spec.uploaderConfig?.parallelFilesDownload ?? 0;
  const facts = result.dataMoverResult ?? {};
  const annotations = {
    ...(isDataFirst(restore) ? { [DRAYAGE_ANNOTATIONS.ignoreDelayBinding]: "true" } : {}),
    ...(Object.keys(facts).length === 0 ? {} : { [MOVER_ANNOTATIONS.result]: JSON.stringify(facts) }),
  };
  return client.create<DataDownload>(
    dataDownloads,
    {
      apiVersion: "velero.io/v2alpha1",
      kind: "DataDownload",
      metadata: {
        generateName: `${restoreName}-`,
        namespace,
        labels: {
          [LABELS.asyncOperationId]: operationId,
          [LABELS.restoreName]: validLabelValue(restoreName),
          [LABELS.restoreUid]: restoreUid,
        },
        ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Restore", name: restoreName, uid: restoreUid, controller: true }],
        ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      },
      spec: {
        backupStorageLocation: result.backupStorageLocation,
        dataMoverConfig: {
          WriteSparseFiles: String(restore.spec.uploaderConfig?.writeSparseFiles === true),
          ...(parallel > 0 ? { ParallelFilesDownload: String(parallel) } : {}),
        },
        ...(result.datamover === undefined ? {} : { datamover: result.datamover }),
        ...(isNodeOs(result.nodeOS) ? { nodeOS: result.nodeOS } : {}),
        operationTimeout: backup.spec.csiSnapshotTimeout ?? "",
        snapshotID: result.snapshotID,
        ...(result.snapshotSize === undefined ? {} : { snapshotSize: result.snapshotSize }),
        sourceNamespace: result.sourceNamespace,
        // The volume is the mover's to make.
        targetVolume: { namespace: targetNamespace, pv: "", pvc: name },
      },
    },
    { signal },
  );
}

function isNodeOs(text: string | undefined): text is "auto" | "linux" | "windows" {
  return text === "auto" || text === "linux" || text === "windows";
}
