/** What there is to import of one backup: the volumes that VolSync moved, the snapshot of restic's that each is, and how much. */
import {
  type Backup,
  hasMovedItsData,
  type MovedVolumeFacts,
  movedVolumeFacts,
  movedVolumeProblem,
  parseResticRepository,
  type VolumeSnapshotBackup,
} from "@drayage/api";
import type { ArchiveBackupStore } from "@drayage/archive";
import { DrayError, hasCode } from "@drayage/base";
import type { Terminal } from "../terminal.ts";
import { type BucketImport, IMPORTED_SUFFIX } from "./import-backups.ts";
import { newestOfVolume, withResticAt } from "./restic-source.ts";

const VOLUME_SNAPSHOT_BACKUPS = "volumesnapshotbackups.datamover.oadp.openshift.io";

export interface MovedVolume {
  readonly namespace: string;
  /** Of the VolumeSnapshotBackup. */
  readonly name: string;
  /** Of the VolumeSnapshotContent whose snapshot was moved. */
  readonly contentName: string;
  readonly facts: MovedVolumeFacts;
  /** Of the restic repository, below the bucket. */
  readonly path: string;
  /** Undefined for a volume that had nothing in it. */
  readonly snapshotId: string | undefined;
  /** Undefined where restic's snapshot does not say. */
  readonly files: number | undefined;
  readonly bytes: number | undefined;
}

export interface PlannedBackup {
  readonly backup: Backup;
  readonly volumes: readonly MovedVolume[];
  /** The backup that it became already. */
  readonly importedAs: string | undefined;
}

/** Reads a backup and looks at each of its repositories. Throws what opening those throws. A volume whose backup failed then is said, and stays as it is. */
export async function planBackup(bucket: BucketImport, store: ArchiveBackupStore, backup: Backup): Promise<PlannedBackup> {
  const { terminal } = bucket;
  const { signal } = terminal;
  const name = backup.metadata.name ?? "";
  const successor = `${name}${IMPORTED_SUFFIX}`;
  const importedAs = (await store.backupExists(successor, signal)) ? successor : undefined;
  const volumes = new Map<string, MovedVolume>();
  const archive = await store.openArchive(name, signal);
  try {
    for (const ref of archive.items(VOLUME_SNAPSHOT_BACKUPS)) {
      const item = (await archive.read(ref)) as unknown as VolumeSnapshotBackup;
      const facts = movedVolumeFacts(item);
      const key = `${ref.namespace}/${facts.claimName}`;
      const problem = facts.claimName === "" ? "it names no claim" : movedVolumeProblem(item);
      // The first counts, as when it is restored.
      if (problem !== undefined || volumes.has(key)) {
        warn(terminal, name, ref.name, problem ?? `claim "${key}" has another one`);
        continue;
      }
      const { path } = parseResticRepository(facts.repository);
      const found = importedAs === undefined ? await snapshotIn(bucket, path, item) : undefined;
      volumes.set(key, {
        ...{ namespace: ref.namespace ?? "", name: ref.name, contentName: item.spec?.volumeSnapshotContent?.name ?? "", facts, path },
        ...{ snapshotId: found?.id, files: found?.files, bytes: found?.bytes },
      });
    }
  } finally {
    await archive.dispose();
  }
  return { backup, volumes: [...volumes.values()], importedAs };
}

function warn(terminal: Terminal, backup: string, item: string, why: string): void {
  terminal.err(`dray: warning: VolumeSnapshotBackup "${item}" of backup "${backup}" is left as it is: ${why}\n`);
}

async function snapshotIn(
  { url, resticPassword, terminal }: BucketImport,
  path: string,
  item: VolumeSnapshotBackup,
): Promise<{ readonly id: string; readonly files?: number; readonly bytes?: number } | undefined> {
  try {
    return await withResticAt({ url, below: path }, resticPassword, terminal, async (restic) => {
      const { snapshots, unreadable } = await restic.listSnapshots(terminal.signal);
      const [damaged] = unreadable;
      if (damaged !== undefined) throw damaged.error;
      const chosen = newestOfVolume(snapshots);
      if (chosen === undefined && !hasMovedItsData(item)) throw nothingThere(restic.description);
      return chosen === undefined ? undefined : { id: chosen.id, ...chosen.summary };
    });
  } catch (error) {
    // VolSync made no repository for a volume with nothing in it.
    if (!hasCode(error, "REPO_NOT_FOUND", "BLOB_BUCKET_NOT_FOUND") || !hasMovedItsData(item)) throw error;
    return undefined;
  }
}

function nothingThere(place: string): DrayError {
  return new DrayError("REPO_MANIFEST_NOT_FOUND", `Cannot import the volume: restic repository "${place}" has no snapshot`, {
    hint: "The backup does not say that its data was moved: it may never have come so far, or its data was deleted since.",
  });
}

export function sizeOf(volumes: readonly MovedVolume[]): { readonly bytes: number; readonly isKnown: boolean } {
  return {
    bytes: volumes.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
    isKnown: volumes.every(({ bytes, snapshotId }) => bytes !== undefined || snapshotId === undefined),
  };
}
