/**
 * A backup of OADP 1.1 or 1.2 as today's data mover would have left it: DataUploads in place of VolumeSnapshotBackups and of the snapshots of then, claims that name them, and the
 * companions that restores read. What belongs to volumes that were not imported stays as it was.
 */
import {
  ANNOTATIONS,
  type ArchivedItemRef,
  type Backup,
  type BackupVolumeInfo,
  type DataUpload,
  type ItemOperation,
  LABELS,
  OPERATION_ID_PREFIXES,
  validLabelValue,
} from "@drayage/api";
import type { ArchiveBackupStore, StoredBackupFiles, TarballReader } from "@drayage/archive";
import { formatTime, type RandomSource, randomSuffix, randomUuid, utf8 } from "@drayage/base";
import { type PersistentVolume, type PersistentVolumeClaim, requireDuration } from "@drayage/kube";
import type { ImportedVolume } from "./import-volume.ts";

const CLAIMS = "persistentvolumeclaims";
const VOLUMES = "persistentvolumes";
const SNAPSHOTS = "volumesnapshots.snapshot.storage.k8s.io";
const CONTENTS = "volumesnapshotcontents.snapshot.storage.k8s.io";
const MOVED = "volumesnapshotbackups.datamover.oadp.openshift.io";
const UPLOADS = "datauploads.velero.io";
const CLAIM_ACTION = "velero.io/csi-pvc-backupper";
const UNKNOWN = "unknown";
/** Velero's. */
const DEFAULT_TTL = "720h0m0s";
const IMPORTED_FROM = "drayage.io/imported-from";

export interface ConversionSettings {
  /** Of the new backup. */
  readonly name: string;
  /** Of the installation. */
  readonly namespace: string;
  readonly nowMs: number;
  readonly random: RandomSource;
  readonly signal: AbortSignal;
}

export interface ConvertedBackup {
  readonly files: StoredBackupFiles;
  dispose(): Promise<void>;
}

interface Conversion {
  readonly upload: DataUpload;
  readonly claim: PersistentVolumeClaim;
  readonly claimRef: ArchivedItemRef;
  readonly volume: PersistentVolume | undefined;
}

/** The files of the new backup; its tarball lies on local disk until it is disposed of. Throws ARCHIVE_CORRUPT, BLOB_*. */
export async function convertedBackup(
  store: ArchiveBackupStore,
  original: Backup,
  imported: readonly ImportedVolume[],
  settings: ConversionSettings,
): Promise<ConvertedBackup> {
  const { signal, nowMs } = settings;
  const originalName = original.metadata.name ?? "";
  const backup = backupOf(original, imported, settings);
  const archive = await store.openArchive(originalName, signal);
  let conversions: Conversion[];
  let gone: ReadonlySet<string>;
  try {
    conversions = [];
    for (const volume of imported) conversions.push(await convert(archive, volume, backup, settings));
    gone = await goneItems(archive, imported);
  } finally {
    await archive.dispose();
  }
  const replacements = conversions.flatMap(({ upload, claim, claimRef }) => [
    { ref: claimRef, object: claim },
    { ref: uploadRef(upload), object: upload },
  ]);
  const tarball = await store.updateArchive(originalName, replacements, signal, (ref) => gone.has(keyOf(ref)));
  return {
    files: {
      backup,
      archive: tarball,
      log: utf8(`time="${formatTime(nowMs)}" level=info msg="Imported from backup ${originalName}"\n`),
      results: await store.getResults(originalName, signal),
      itemOperations: conversions.map(({ upload, claim }) => operationOf(backup, upload, claim)),
      volumeInfos: conversions.map(volumeInfoOf),
      podVolumeBackups: await store.getPodVolumeBackups(originalName, signal),
    },
    dispose: () => tarball.dispose(),
  };
}

/** It lives as long as it was meant to, from now on: the time of the first may be over. */
function backupOf(original: Backup, imported: readonly ImportedVolume[], { name, namespace, nowMs, random }: ConversionSettings): Backup {
  const { resourceVersion: _, ownerReferences: __, finalizers: ___, ...metadata } = original.metadata;
  const annotations = { ...metadata.annotations, [IMPORTED_FROM]: original.metadata.name ?? "" };
  const isWhole = imported.every(({ problemCount }) => problemCount === 0);
  const operations = { backupItemOperationsAttempted: imported.length, backupItemOperationsCompleted: imported.length };
  return {
    ...original,
    metadata: { ...metadata, name, uid: randomUuid(random), namespace, annotations },
    spec: { ...original.spec, snapshotMoveData: true },
    status: {
      ...original.status,
      ...operations,
      expiration: formatTime(nowMs + requireDuration(original.spec.ttl ?? DEFAULT_TTL, "spec.ttl")),
      ...(isWhole ? {} : { phase: "PartiallyFailed" as const }),
    },
  };
}

async function convert(
  archive: TarballReader,
  { volume, snapshotId, bytes }: ImportedVolume,
  backup: Backup,
  settings: ConversionSettings,
): Promise<Conversion> {
  const { namespace, facts } = volume;
  const claimRef = archive.find(CLAIMS, namespace, facts.claimName) ?? missingRef(namespace, facts.claimName);
  const claim = (await archive.read(claimRef)) as unknown as PersistentVolumeClaim;
  const claimUid = claim.metadata.uid ?? "";
  const volumeRef = archive.find(VOLUMES, undefined, claim.spec.volumeName ?? "");
  const snapshotName = claim.metadata.annotations?.[ANNOTATIONS.volumeSnapshotName] ?? volume.contentName;
  const [backupName, backupUid] = [backup.metadata.name ?? "", backup.metadata.uid ?? ""];
  const time = formatTime(settings.nowMs);
  const upload: DataUpload = {
    apiVersion: "velero.io/v2alpha1",
    kind: "DataUpload",
    metadata: {
      name: `${backupName.slice(0, 200)}-${randomSuffix(settings.random)}`,
      namespace: settings.namespace,
      uid: randomUuid(settings.random),
      labels: {
        [LABELS.backupName]: validLabelValue(backupName),
        [LABELS.backupUid]: backupUid,
        [LABELS.pvcUid]: claimUid,
        [LABELS.asyncOperationId]: validLabelValue(`${OPERATION_ID_PREFIXES.dataUpload}${backupUid}.${claimUid}`),
      },
    },
    spec: {
      backupStorageLocation: backup.spec.storageLocation ?? "",
      csiSnapshot: { snapshotClass: facts.snapshotClass, storageClass: facts.storageClass, volumeSnapshot: snapshotName },
      operationTimeout: backup.spec.csiSnapshotTimeout ?? "10m0s",
      snapshotType: "CSI",
      sourceNamespace: namespace,
      sourcePVC: facts.claimName,
    },
    status: {
      phase: "Completed",
      snapshotID: snapshotId,
      startTimestamp: time,
      completionTimestamp: time,
      nodeOS: "linux",
      progress: { bytesDone: bytes, totalBytes: bytes },
    },
  };
  const marks = { [ANNOTATIONS.volumeSnapshotName]: snapshotName, [ANNOTATIONS.dataUploadName]: `${settings.namespace}/${upload.metadata.name}` };
  return {
    upload,
    claimRef,
    claim: { ...claim, metadata: { ...claim.metadata, annotations: { ...claim.metadata.annotations, ...marks } } },
    volume: volumeRef === undefined ? undefined : ((await archive.read(volumeRef)) as unknown as PersistentVolume),
  };
}

/** Reading it tells that it is not there. */
function missingRef(namespace: string, name: string): ArchivedItemRef {
  return { groupResource: CLAIMS, namespace, name, version: "v1", preferred: true };
}

function uploadRef({ metadata }: DataUpload): ArchivedItemRef {
  return { groupResource: UPLOADS, namespace: metadata.namespace, name: metadata.name ?? "", version: "v2alpha1", preferred: true };
}

/** The records of the old mover, and the snapshots that are gone with their cluster. */
async function goneItems(archive: TarballReader, imported: readonly ImportedVolume[]): Promise<ReadonlySet<string>> {
  const gone = new Set<string>();
  const claims = new Set(imported.map(({ volume }) => `${volume.namespace}/${volume.facts.claimName}`));
  for (const { volume } of imported) {
    gone.add(`${MOVED} ${volume.namespace}/${volume.name}`);
    gone.add(`${CONTENTS} /${volume.contentName}`);
  }
  for (const ref of archive.items(SNAPSHOTS)) {
    const { spec, status } = (await archive.read(ref)) as unknown as {
      readonly spec?: { readonly source?: { readonly persistentVolumeClaimName?: string } };
      readonly status?: { readonly boundVolumeSnapshotContentName?: string };
    };
    const isOfClaim = claims.has(`${ref.namespace}/${spec?.source?.persistentVolumeClaimName}`);
    if (isOfClaim || gone.has(`${CONTENTS} /${status?.boundVolumeSnapshotContentName}`)) gone.add(keyOf(ref));
  }
  return gone;
}

function keyOf({ groupResource, namespace = "", name }: ArchivedItemRef): string {
  return `${groupResource} ${namespace}/${name}`;
}

function operationOf(backup: Backup, upload: DataUpload, claim: PersistentVolumeClaim): ItemOperation {
  const time = upload.status?.completionTimestamp ?? "";
  const bytes = upload.status?.progress?.totalBytes ?? 0;
  return {
    spec: {
      backupName: backup.metadata.name ?? "",
      backupUID: backup.metadata.uid ?? "",
      backupItemAction: CLAIM_ACTION,
      resourceIdentifier: { Group: "", Resource: CLAIMS, Namespace: claim.metadata.namespace ?? "", Name: claim.metadata.name ?? "" },
      operationID: upload.metadata.labels?.[LABELS.asyncOperationId] ?? "",
      postOperationItems: [{ Group: "velero.io", Resource: "datauploads", Namespace: upload.metadata.namespace ?? "", Name: upload.metadata.name ?? "" }],
    },
    status: {
      phase: "Completed",
      nCompleted: bytes,
      nTotal: bytes,
      operationUnits: "Bytes",
      description: "Completed",
      created: time,
      started: time,
      updated: time,
    },
  };
}

function volumeInfoOf({ upload, claim, volume }: Conversion): BackupVolumeInfo {
  const { status, spec, metadata } = upload;
  const size = status?.progress?.totalBytes ?? 0;
  return {
    ...{ pvcName: claim.metadata.name ?? "", pvcNamespace: claim.metadata.namespace ?? "", pvName: claim.spec.volumeName ?? "" },
    ...{ backupMethod: "CSISnapshot", snapshotDataMoved: true, preserveLocalSnapshot: false, skipped: false, result: "succeeded" },
    startTimestamp: status?.startTimestamp ?? "",
    completionTimestamp: status?.completionTimestamp ?? "",
    csiSnapshotInfo: { snapshotHandle: UNKNOWN, size: 0, driver: "", vscName: UNKNOWN, operationID: UNKNOWN, ReadyToUse: null },
    snapshotDataMovementInfo: {
      ...{ dataMover: "velero", uploaderType: "kopia", retainedSnapshot: spec.csiSnapshot?.volumeSnapshot ?? "" },
      ...{ snapshotHandle: status?.snapshotID ?? "", operationID: metadata.labels?.[LABELS.asyncOperationId] ?? "", size, Phase: "Completed" },
    },
    pvInfo: { reclaimPolicy: volume?.spec.persistentVolumeReclaimPolicy ?? "Delete", labels: volume?.metadata.labels ?? null },
  };
}
