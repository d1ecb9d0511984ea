/**
 * Snapshots that a backup left with their storage. No object in the cluster stands for them, so one is made whose deletion has the driver delete the snapshot
 * (Velero: the delete action `velero.io/csi-volumesnapshotcontent-delete`).
 *
 *   content of the handle, policy Delete, with its finalizer ──► its driver knows the snapshot ──► deleted ──► the driver has deleted the snapshot and lets go
 */
import { createHash } from "node:crypto";
import {
  type Backup,
  DRAYAGE_ANNOTATIONS,
  LABELS,
  type Restore,
  restores,
  type VolumeSnapshot,
  type VolumeSnapshotBackup,
  type VolumeSnapshotContent,
  validLabelValue,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { type Clock, DrayError, hasCode } from "@drayage/base";
import { type KubeClient, keyOf } from "@drayage/kube";
import { VOLUME_SNAPSHOT_CONTENTS } from "../actions/item-id.ts";
import { isOfThisRun } from "../actions/of-this-run.ts";
import { VOLUME_SNAPSHOT_BACKUPS } from "../actions/volume-snapshot-backup-restore-action.ts";
import type { BackupArchiveReader } from "../ports.ts";

export interface KeptSnapshot {
  readonly driver: string;
  readonly handle: string;
  readonly className: string | undefined;
  /** Of the content in the backup: the Secret that its driver needs for the deletion is named there. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** Keeps a content until its driver has dealt with it; the snapshotter takes it off. */
export const CONTENT_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
const POLL_MS = 500;
const NOT_THERE = /not[ -]?found|can ?not find|does not exist/i;

/** The snapshots whose contents lie in the tarball, without those that went when their data had been moved. */
export async function keptSnapshotsIn(reader: BackupArchiveReader): Promise<readonly KeptSnapshot[]> {
  const found: KeptSnapshot[] = [];
  const moved = new Set<string>();
  for (const ref of reader.items(VOLUME_SNAPSHOT_BACKUPS))
    moved.add(((await reader.read(ref)) as unknown as VolumeSnapshotBackup).spec.volumeSnapshotContent?.name ?? "");
  for (const ref of reader.items(VOLUME_SNAPSHOT_CONTENTS)) {
    const { metadata, spec, status } = (await reader.read(ref)) as unknown as VolumeSnapshotContent;
    const handle = status?.snapshotHandle ?? "";
    if (handle !== "" && !moved.has(metadata.name ?? ""))
      found.push({ driver: spec.driver, handle, className: spec.volumeSnapshotClassName, annotations: metadata.annotations ?? {} });
  }
  return found;
}

export interface DeleteKeptOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** How long the driver may take to know, and again to delete, a snapshot. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Deletes one snapshot in its storage. Can be repeated. Throws TIMED_OUT with what the driver complains of. */
export async function deleteKeptSnapshot(backup: Backup, kept: KeptSnapshot, options: DeleteKeptOptions): Promise<void> {
  const { client, signal } = options;
  const content = contentFor(backup, kept);
  try {
    await client.create<VolumeSnapshotContent>(volumeSnapshotContents, content, { signal });
  } catch (error) {
    // An earlier try made it.
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
  const known = await until(options, kept, content, "the driver has not found it", (current) => {
    if (current === undefined || current.metadata.deletionTimestamp !== undefined || current.status?.snapshotHandle !== undefined) return true;
    return NOT_THERE.test(current.status?.error?.message ?? "");
  });
  if (known === undefined) return;
  await client.delete(volumeSnapshotContents, keyOf(content), { signal });
  if (known.metadata.deletionTimestamp === undefined && known.status?.snapshotHandle === undefined) await letGo(client, content, signal);
  await until(options, kept, content, "the driver has not deleted it", (current) => current === undefined);
}

/** There is nothing for the driver to delete, and not every snapshotter lets go of a content that it never found. */
async function letGo(client: KubeClient, content: VolumeSnapshotContent, signal: AbortSignal): Promise<void> {
  try {
    await client.patch<VolumeSnapshotContent>(volumeSnapshotContents, keyOf(content), "merge", { metadata: { finalizers: null } }, { signal });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

/** The name comes from the backup and the handle, so that a second try meets the first one's. */
function contentFor({ metadata }: Backup, { driver, handle, className, annotations }: KeptSnapshot): VolumeSnapshotContent {
  const name = contentName({ metadata }, driver, handle);
  const secrets = Object.entries(annotations).filter(([key]) => key.startsWith("snapshot.storage.kubernetes.io/deletion-secret-"));
  return {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshotContent",
    metadata: {
      name,
      labels: { [LABELS.backupName]: validLabelValue(metadata.name ?? "") },
      annotations: { [DRAYAGE_ANNOTATIONS.backupNamespace]: metadata.namespace ?? "", ...Object.fromEntries(secrets) },
      finalizers: [CONTENT_FINALIZER],
    },
    spec: {
      deletionPolicy: "Delete",
      driver,
      source: { snapshotHandle: handle },
      // Nobody's: it is never bound, which is what lets the snapshotter delete it.
      volumeSnapshotRef: { apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshot", namespace: metadata.namespace ?? "", name },
      ...(className === undefined ? {} : { volumeSnapshotClassName: className }),
    },
  };
}

function contentName({ metadata }: Pick<Backup, "metadata">, driver: string, handle: string): string {
  return `vsc-${createHash("sha256").update(`${metadata.uid}/${driver}/${handle}`).digest("hex").slice(0, 32)}`;
}

/**
 * Takes the contents of a backup away that no VolumeSnapshot stands for: those that were made for a deletion whose process ended before it, and those of a backup or a restore whose
 * process ended between a content and its VolumeSnapshot. What their policies say becomes of the snapshots; those that the backup kept go by themselves. What another installation made for
 * its backup of the same name stays.
 */
export async function removeLeftContents(client: KubeClient, backup: Backup, signal: AbortSignal): Promise<void> {
  const labelSelector = `${LABELS.backupName}=${validLabelValue(backup.metadata.name ?? "")}`;
  for await (const content of client.listAll<VolumeSnapshotContent>(volumeSnapshotContents, { labelSelector, signal })) {
    const { driver, source, volumeSnapshotRef } = content.spec;
    const isOfDeletion = content.metadata.name === contentName(backup, driver, source.snapshotHandle ?? "");
    if (!isOfDeletion && !(await isOfBackup(client, content, backup, signal))) continue;
    const key = { namespace: volumeSnapshotRef.namespace, name: volumeSnapshotRef.name ?? "" };
    if (isOfDeletion || (await client.find<VolumeSnapshot>(volumeSnapshots, key, signal)) === undefined)
      await client.delete(volumeSnapshotContents, keyOf(content), { signal });
  }
}

/**
 * By the namespace that a content names. What Velero or an older release made names none: a restore's is the backup's when that restore is in its namespace, any other when the backup was
 * running when it was made.
 */
async function isOfBackup(client: KubeClient, { metadata }: VolumeSnapshotContent, backup: Backup, signal: AbortSignal): Promise<boolean> {
  const named = metadata.annotations?.[DRAYAGE_ANNOTATIONS.backupNamespace];
  if (named !== undefined) return named === backup.metadata.namespace;
  const restoreName = metadata.labels?.[LABELS.restoreName];
  if (restoreName === undefined) return isOfThisRun({ metadata }, backup);
  for await (const { spec, metadata: restore } of client.listAll<Restore>(restores, { namespace: backup.metadata.namespace ?? "", signal }))
    if (spec.backupName === backup.metadata.name && validLabelValue(restore.name ?? "") === restoreName) return true;
  return false;
}

async function until(
  { client, clock, timeoutMs, signal }: DeleteKeptOptions,
  kept: KeptSnapshot,
  content: VolumeSnapshotContent,
  what: string,
  reached: (current: VolumeSnapshotContent | undefined) => boolean,
): Promise<VolumeSnapshotContent | undefined> {
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const current = await client.find<VolumeSnapshotContent>(volumeSnapshotContents, keyOf(content), signal);
    if (reached(current)) return current;
    if (clock.monotonicMs() >= deadlineMs) {
      const complaint = current?.status?.error?.message;
      throw new DrayError(
        "TIMED_OUT",
        `Cannot delete snapshot "${kept.handle}" of driver "${kept.driver}": ${what} within ${timeoutMs / 1000} s${complaint === undefined ? "" : ` (${complaint})`}`,
        { hint: `Look at VolumeSnapshotContent "${content.metadata.name}" and at the snapshotter of the driver.` },
      );
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** Handles that an object of the backup in the cluster stands for: they go with it. */
export async function liveHandles(client: KubeClient, backup: Backup, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const handles = new Set<string>();
  const labelSelector = `${LABELS.backupName}=${validLabelValue(backup.metadata.name ?? "")}`;
  for await (const snapshot of client.listAll<VolumeSnapshot>(volumeSnapshots, { labelSelector, signal })) {
    const name = snapshot.status?.boundVolumeSnapshotContentName;
    const content = name === undefined ? undefined : await client.find<VolumeSnapshotContent>(volumeSnapshotContents, { name }, signal);
    // What was restored from the backup stands for its snapshot too, but leaves it when it goes.
    if (content?.status?.snapshotHandle !== undefined && snapshot.metadata.labels?.[LABELS.restoreName] === undefined)
      handles.add(content.status.snapshotHandle);
  }
  return handles;
}
