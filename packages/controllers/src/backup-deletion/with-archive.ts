import { hasCode } from "@drayage/base";
import type { BackupArchiveReader, BackupStore } from "../ports.ts";

/**
 * Works on a backup's tarball; undefined when there is none: a backup that failed early has none, and one whose deletion broke off has none any more. A damaged one is another
 * matter, and thrown. One of a newer format is read as far as it is understood, which is what Velero 1.18 makes of it too: a backup that cannot be restored here can be deleted all the same.
 */
export async function withArchive<T>(
  store: BackupStore,
  backupName: string,
  signal: AbortSignal,
  work: (reader: BackupArchiveReader) => Promise<T>,
): Promise<T | undefined> {
  const reader = await store.openArchive(backupName, signal, { anyVersion: true }).catch((error: unknown) => {
    if (hasCode(error, "BACKUP_NOT_FOUND") || (hasCode(error, "ARCHIVE_CORRUPT") && hasCode(error.cause, "BLOB_NOT_FOUND"))) return undefined;
    throw error;
  });
  if (reader === undefined) return undefined;
  try {
    return await work(reader);
  } finally {
    await reader.dispose();
  }
}
