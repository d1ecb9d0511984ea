/** Sees what `decide` needs to know of one VolumeSnapshotRestore. Reads only. */
import {
  backupStorageLocations,
  type DataDownload,
  dataDownloads,
  LABELS,
  parseResticRepository,
  RESTIC_PASSWORD_KEY,
  USER_RESTIC_SECRET,
  type VolumeSnapshotRestore,
  VSM_FINALIZER,
  VSR_ANNOTATIONS,
} from "@drayage/api";
import { messageOf } from "@drayage/base";
import { hasFinalizer, isDeleting, type KubeClient, type PersistentVolumeClaim, persistentVolumeClaims, secrets, storageClasses } from "@drayage/kube";
import { type BatchingStatus, type Download, isTerminal, type Observed, type RestorePhase } from "./volume-snapshot-restore.ts";

export interface ObserverDeps {
  readonly client: KubeClient;
  /** Of the installation. */
  readonly namespace: string;
  /** How many of one Restore may be worked on at once. */
  readonly concurrency: number;
  /** All of this installation, as the cache has them. */
  readonly all: () => readonly VolumeSnapshotRestore[];
}

export function phaseOf({ status }: VolumeSnapshotRestore): RestorePhase {
  return (status?.phase ?? "") as RestorePhase;
}

/** The name of its DataDownload: from its own name and UID, so that it is the same after a crash and never that of another. */
export function downloadName({ metadata }: VolumeSnapshotRestore): string {
  return `${(metadata.name ?? "").slice(0, 40).replace(/[^a-z0-9]+$/, "")}-${(metadata.uid ?? "").slice(0, 8)}`;
}

export async function observe(deps: ObserverDeps, restore: VolumeSnapshotRestore): Promise<Observed> {
  const { client, namespace, concurrency } = deps;
  const phase = phaseOf(restore);
  const download = await client.find(dataDownloads, { namespace, name: downloadName(restore) });
  const processing = deps
    .all()
    .filter((other) => isOfSameRestore(other, restore) && other.status?.batchingStatus === "Processing" && !isTerminal(phaseOf(other)));
  const claimName = restore.spec?.volumeSnapshotMoverBackupRef?.sourcePVCData?.name ?? "";
  const claim = claimName === "" ? undefined : await client.find(persistentVolumeClaims, { namespace: restore.metadata.namespace, name: claimName });
  const isMade = download !== undefined || isTerminal(phase);
  return {
    phase,
    batching: (restore.status?.batchingStatus ?? "") as BatchingStatus,
    deleting: isDeleting(restore),
    finalizer: hasFinalizer(restore, VSM_FINALIZER),
    cancelRequested: restore.metadata.annotations?.[VSR_ANNOTATIONS.cancel] === "true",
    fault: isMade || isDeleting(restore) ? undefined : await faultOf(deps, restore, claim),
    download: stateOf(download),
    claimIsThere: claim !== undefined,
    slotFree: processing.length < concurrency,
  };
}

/** Each Restore has places of its own, so that a large one does not hold up the others. */
function isOfSameRestore({ metadata: a }: VolumeSnapshotRestore, { metadata: b }: VolumeSnapshotRestore): boolean {
  return a.labels?.[LABELS.restoreName] === b.labels?.[LABELS.restoreName];
}

function stateOf(download: DataDownload | undefined): Download {
  if (download === undefined) return { state: "absent" };
  const { phase = "New", message } = download.status ?? {};
  if (phase === "Completed") return { state: "completed" };
  if (phase === "Failed" || phase === "Canceled") return { state: "failed", message: message ?? `its DataDownload "${download.metadata.name}" ended ${phase}` };
  return { state: "running", started: phase === "InProgress", cancelRequested: download.spec.cancel === true };
}

async function faultOf(
  { client, namespace }: ObserverDeps,
  restore: VolumeSnapshotRestore,
  claim: PersistentVolumeClaim | undefined,
): Promise<string | undefined> {
  const { resticSecretRef, volumeSnapshotMoverBackupRef } = restore.spec ?? {};
  const repository = volumeSnapshotMoverBackupRef?.resticrepository ?? "";
  const claimName = volumeSnapshotMoverBackupRef?.sourcePVCData?.name ?? "";
  if (repository === "") return "spec.volumeSnapshotMoverBackupRef.resticrepository is missing";
  if (claimName === "") return "spec.volumeSnapshotMoverBackupRef.sourcePVCData.name is missing";
  try {
    parseResticRepository(repository);
  } catch (error) {
    return messageOf(error);
  }
  const location = locationOf(restore);
  if ((await client.find(backupStorageLocations, { namespace, name: location })) === undefined) return `backup storage location "${location}" does not exist`;
  const secretFault = await passwordFault(client, namespace, resticSecretRef?.name ?? "");
  if (secretFault !== undefined) return secretFault;
  if (claim?.spec.volumeMode === "Block") return `claim "${restore.metadata.namespace}/${claimName}" is of mode Block, and the data are files`;
  const className = claim?.spec.storageClassName ?? "";
  if (className !== "" && (await client.find(storageClasses, { name: className })) === undefined) {
    return `storage class "${className}" of claim "${restore.metadata.namespace}/${claimName}" does not exist in this cluster: create it, and restore again`;
  }
  return undefined;
}

/** The location says in which bucket the repository lies; it is the one whose Secret is named where nothing else says so. */
export function locationOf({ metadata, spec }: VolumeSnapshotRestore): string {
  return metadata.annotations?.[VSR_ANNOTATIONS.location] ?? (spec?.resticSecretRef?.name ?? "").replace(/-volsync-restic$/, "");
}

async function passwordFault(client: KubeClient, namespace: string, secretName: string): Promise<string | undefined> {
  for (const name of [secretName, USER_RESTIC_SECRET]) {
    const secret = name === "" ? undefined : await client.find(secrets, { namespace, name });
    if (secret === undefined) continue;
    if ((secret.data?.[RESTIC_PASSWORD_KEY] ?? "") !== "") return undefined;
    return `secret "${namespace}/${name}" has no key "${RESTIC_PASSWORD_KEY}": give it the password that the restic repositories were written with`;
  }
  return `the password of the restic repositories is not known: create secret "${namespace}/${USER_RESTIC_SECRET}" with the key "${RESTIC_PASSWORD_KEY}"`;
}
