/** Which snapshots in the repositories belong to a backup. */
import {
  type Backup,
  BUILTIN_DATA_MOVERS,
  type DataUpload,
  DRAYAGE_DATA_MOVER,
  dataUploads,
  LABELS,
  type PodVolumeBackup,
  podVolumeBackups,
  validLabelValue,
} from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import { type ConfigMap, configMaps, type KubeClient } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import type { BackupArchiveReader, BackupStore } from "../ports.ts";
import { type KeptSnapshot, keptSnapshotsIn } from "./kept-snapshots.ts";
import { withArchive } from "./with-archive.ts";

/** A snapshot's manifest, in the repository of a namespace. */
export interface RepositorySnapshot {
  readonly volumeNamespace: string;
  readonly manifestId: string;
}

/** What a mover tags its snapshots with, in the repository of a namespace. */
export interface RepositoryTags {
  readonly volumeNamespace: string;
  readonly tags: Readonly<Record<string, string>>;
}

export interface BackupSnapshots {
  readonly snapshots: readonly RepositorySnapshot[];
  /** Of movers that ended without a word: one that lost its node after its snapshot was saved has left that, and nobody knows its id. */
  readonly untold: readonly RepositoryTags[];
  /** Those that stayed with their storage. */
  readonly kept: readonly KeptSnapshot[];
  /** Where earlier tries, or plug-ins for other movers, wrote down what is to be deleted; they go once that is done. */
  readonly configMaps: readonly ConfigMap[];
}

/** Together they name one volume of one backup (velero.md 8.3). */
const VOLUME_TAGS: ReadonlySet<string> = new Set(["backup-uid", "pod-uid", "volume"]);

/** All of them keep their snapshots as manifests of the same repository. */
const MOVERS: ReadonlySet<string> = new Set([...BUILTIN_DATA_MOVERS, DRAYAGE_DATA_MOVER]);

/**
 * Every snapshot of a backup, from its tarball, its DataUploads and PodVolumeBackups in the cluster and in the bucket, and the ConfigMaps about it: any of them may be missing,
 * in a cluster that synchronised the backup or after a try that broke off. Throws NOT_SUPPORTED for snapshots of restic.
 */
export async function snapshotsOf(client: KubeClient, store: BackupStore, backup: Backup, signal: AbortSignal): Promise<BackupSnapshots> {
  const { namespace, name = "" } = backup.metadata;
  const labelSelector = `${LABELS.backupName}=${validLabelValue(name)}`;
  const archived = await withArchive(store, name, signal, async (reader) => ({ uploads: await uploadsIn(reader), kept: await keptSnapshotsIn(reader) }));
  const uploads = [...(archived?.uploads ?? []), ...(await allOf(client.listAll(dataUploads, { namespace, labelSelector, signal })))];
  const volumes = [...(await storedVolumes(store, name, signal)), ...(await allOf(client.listAll(podVolumeBackups, { namespace, labelSelector, signal })))];
  const infoSelector = `${labelSelector},${LABELS.dataUploadSnapshotInfo}=true`;
  const infos = await allOf(client.listAll(configMaps, { namespace, labelSelector: infoSelector, signal }));
  const found = [
    ...uploads
      .filter((upload) => isOf(upload, name) && MOVERS.has(upload.spec.datamover ?? ""))
      .map((upload) => snapshot(upload.spec.sourceNamespace, upload.status?.snapshotID)),
    ...volumes.map((volume) => snapshot(volume.spec.pod.namespace, volume.status?.snapshotID, volume.spec.uploaderType)),
    ...infos.map(({ data = {} }) => snapshot(data["volumeNamespace"], data["snapshotID"], data["repositoryType"])),
  ];
  const distinct = new Map(found.flatMap((entry) => (entry === undefined ? [] : [[`${entry.volumeNamespace}/${entry.manifestId}`, entry]])));
  const untold = [
    ...uploads.filter((upload) => isOf(upload, name) && MOVERS.has(upload.spec.datamover ?? "") && isUntold(upload)).map(tagsOfUpload),
    ...volumes.filter((volume) => volume.spec.uploaderType !== "restic" && isUntold(volume)).map(tagsOfVolume),
  ].filter((entry) => entry !== undefined);
  return { snapshots: [...distinct.values()], untold, kept: archived?.kept ?? [], configMaps: infos };
}

async function uploadsIn(reader: BackupArchiveReader): Promise<DataUpload[]> {
  const uploads: DataUpload[] = [];
  for (const ref of reader.items("datauploads.velero.io")) uploads.push((await reader.read(ref)) as unknown as DataUpload);
  return uploads;
}

async function storedVolumes(store: BackupStore, backupName: string, signal: AbortSignal): Promise<PodVolumeBackup[]> {
  try {
    return (await store.getPodVolumeBackups(backupName, signal)) as unknown as PodVolumeBackup[];
  } catch (error) {
    if (hasCode(error, "BACKUP_NOT_FOUND")) return [];
    throw error;
  }
}

/** A DataUpload of another backup may have been backed up as an ordinary resource. */
function isOf(upload: DataUpload, backupName: string): boolean {
  return upload.metadata.labels?.[LABELS.backupName] === validLabelValue(backupName);
}

/** It does not say what was stored: it never did, or was put into the tarball before. */
function isUntold({ status }: Pick<DataUpload | PodVolumeBackup, "status">): boolean {
  return (status?.snapshotID ?? "") === "";
}

/** As movers tag, ours and Velero's. */
function tagsOfUpload({ metadata, spec }: DataUpload): RepositoryTags | undefined {
  const operationId = metadata.labels?.[LABELS.asyncOperationId] ?? "";
  return operationId === "" ? undefined : { volumeNamespace: spec.sourceNamespace, tags: { [LABELS.asyncOperationId]: operationId } };
}

function tagsOfVolume({ spec }: PodVolumeBackup): RepositoryTags | undefined {
  const tags = Object.fromEntries(Object.entries(spec.tags ?? {}).filter(([name]) => VOLUME_TAGS.has(name)));
  const { namespace } = spec.pod;
  return namespace !== undefined && Object.keys(tags).length === VOLUME_TAGS.size ? { volumeNamespace: namespace, tags } : undefined;
}

function snapshot(volumeNamespace: string | undefined, manifestId: string | undefined, type = "kopia"): RepositorySnapshot | undefined {
  if (volumeNamespace === undefined || volumeNamespace === "" || manifestId === undefined || manifestId === "") return undefined;
  if (type === "restic") {
    throw new DrayError("NOT_SUPPORTED", `Cannot delete snapshot "${manifestId}" of namespace "${volumeNamespace}": it lies in a restic repository`, {
      hint: 'Delete it with restic ("restic forget"), remove its PodVolumeBackup, and delete the backup again.',
    });
  }
  return { volumeNamespace, manifestId };
}
