/** Which of the objects that carry a backup's name are the backup's own. */
import { type Backup, LABELS } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { KubeObject } from "@drayage/kube";

/**
 * Whether a snapshot, or its content, that carries the backup's name was made by it. Another installation's backup of the same name has its own, and what was restored from the backup carries its
 * name too. By its UID where it has one; a Backup that came back from its bucket has another, and what older releases cut has none.
 */
export function isOfThisRun({ metadata }: KubeObject, backup: Backup): boolean {
  const { labels = {} } = metadata;
  if (labels[LABELS.restoreName] !== undefined) return false;
  if (labels[LABELS.backupUid] !== undefined && labels[LABELS.backupUid] === backup.metadata.uid) return true;
  const cutMs = parseTime(metadata.creationTimestamp);
  const startedMs = parseTime(backup.status?.startTimestamp);
  const endedMs = parseTime(backup.status?.completionTimestamp);
  if (cutMs === undefined || startedMs === undefined) return true;
  return cutMs >= startedMs && (endedMs === undefined || cutMs <= endedMs);
}
