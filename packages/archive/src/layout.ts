/**
 * The names of Velero's bucket layout (`<prefix>/backups/NAME/…`, `<prefix>/restores/NAME/…`) and of the entries of a backup's tarball. Nobody else in the house knows one of them.
 *
 *   backups/NAME/velero-backup.json                     the Backup; a backup exists if and only if this does
 *   backups/NAME/NAME.tar.gz                            its resources, below
 *   backups/NAME/NAME-{logs,results}.gz
 *   backups/NAME/NAME-{podvolumebackups,volumesnapshots,itemoperations,resource-list,volumeinfo}.json.gz
 *   restores/NAME/restore-NAME-{logs,results}.gz · restore-NAME-{resource-list,itemoperations}.json.gz · NAME-volumeinfo.json.gz
 *
 *   metadata/version                                    "1.1.0\n"
 *   resources/RESOURCE.GROUP/{namespaces/NS,cluster}/OBJECT.json                              the preferred version, for readers of format 1.0
 *   resources/RESOURCE.GROUP/VERSION[-preferredversion]/{namespaces/NS,cluster}/OBJECT.json
 */
import type { ArchivedItemRef, DownloadTargetKind } from "@drayage/api";
import { DrayError } from "@drayage/base";

/** What may lie at the top of a location; anything else makes Velero call it Unavailable. */
export const TOP_LEVEL_FOLDERS: ReadonlySet<string> = new Set(["backups", "restores", "restic", "metadata", "plugins", "kopia"]);

/**
 * Whether a key is of a restic repository that the data mover of OADP 1.1 or 1.2 wrote for one volume: `<namespace>/<content>-pvc/…` or `<namespace>/<backup>/<content>-pvc/…`. They lie at the
 * root of the bucket, so at the top of a location that has no prefix.
 */
export function isOfVolumeRepository(key: string): boolean {
  return /^[^/]+\/(?:[^/]+\/)?[^/]+-pvc\/(?:config$|(?:data|index|keys|locks|snapshots)\/)/.test(key);
}

export const FORMAT_VERSION = "1.1.0";
export const VERSION_ENTRY = "metadata/version";
const PREFERRED = "-preferredversion";

export const backupFolder = (name: string): string => `backups/${checkName(name)}/`;
export const restoreFolder = (name: string): string => `restores/${checkName(name)}/`;

export const backupFile = {
  metadata: (name: string) => `${backupFolder(name)}velero-backup.json`,
  contents: (name: string) => `${backupFolder(name)}${name}.tar.gz`,
  log: (name: string) => `${backupFolder(name)}${name}-logs.gz`,
  results: (name: string) => `${backupFolder(name)}${name}-results.gz`,
  podVolumeBackups: (name: string) => `${backupFolder(name)}${name}-podvolumebackups.json.gz`,
  volumeSnapshots: (name: string) => `${backupFolder(name)}${name}-volumesnapshots.json.gz`,
  itemOperations: (name: string) => `${backupFolder(name)}${name}-itemoperations.json.gz`,
  resourceList: (name: string) => `${backupFolder(name)}${name}-resource-list.json.gz`,
  volumeInfos: (name: string) => `${backupFolder(name)}${name}-volumeinfo.json.gz`,
  csiVolumeSnapshots: (name: string) => `${backupFolder(name)}${name}-csi-volumesnapshots.json.gz`,
  csiVolumeSnapshotContents: (name: string) => `${backupFolder(name)}${name}-csi-volumesnapshotcontents.json.gz`,
} as const;

export const restoreFile = {
  log: (name: string) => `${restoreFolder(name)}restore-${name}-logs.gz`,
  results: (name: string) => `${restoreFolder(name)}restore-${name}-results.gz`,
  resourceList: (name: string) => `${restoreFolder(name)}restore-${name}-resource-list.json.gz`,
  itemOperations: (name: string) => `${restoreFolder(name)}restore-${name}-itemoperations.json.gz`,
  volumeInfos: (name: string) => `${restoreFolder(name)}${name}-volumeinfo.json.gz`,
} as const;

/** The key of each file that a DownloadRequest can name. */
export const downloadKey: Readonly<Record<DownloadTargetKind, (name: string) => string>> = {
  BackupLog: backupFile.log,
  BackupContents: backupFile.contents,
  BackupVolumeSnapshots: backupFile.volumeSnapshots,
  BackupItemOperations: backupFile.itemOperations,
  BackupResourceList: backupFile.resourceList,
  BackupResults: backupFile.results,
  RestoreLog: restoreFile.log,
  RestoreResults: restoreFile.results,
  RestoreResourceList: restoreFile.resourceList,
  RestoreItemOperations: restoreFile.itemOperations,
  CSIBackupVolumeSnapshots: backupFile.csiVolumeSnapshots,
  CSIBackupVolumeSnapshotContents: backupFile.csiVolumeSnapshotContents,
  BackupVolumeInfos: backupFile.volumeInfos,
  RestoreVolumeInfo: restoreFile.volumeInfos,
};

/** A backup's name is a Kubernetes name; one that is not could lead out of its folder. */
function checkName(name: string): string {
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\\") || name.includes("\u0000")) {
    throw new DrayError("VALIDATION_FAILED", `Cannot name a folder in the bucket "${name}": a Kubernetes name is wanted`);
  }
  return name;
}

/** The entries an item gets: its version's, and for the preferred version the one without a version too. */
export function itemEntries({ groupResource, namespace, name, version, preferred }: ArchivedItemRef): string[] {
  const rest = namespace === undefined ? `cluster/${name}.json` : `namespaces/${namespace}/${name}.json`;
  const versioned = `resources/${groupResource}/${version}${preferred ? PREFERRED : ""}/${rest}`;
  return preferred ? [`resources/${groupResource}/${rest}`, versioned] : [versioned];
}

/** What an entry's name says; `version` is empty in the form without one. Undefined for entries that are no items. Throws ARCHIVE_CORRUPT for names that lead elsewhere. */
export function parseEntry(entry: string): ArchivedItemRef | undefined {
  const parts = entry.replace(/^\.\//, "").split("/");
  if (parts.includes("..") || entry.startsWith("/") || entry.includes("\u0000"))
    throw new DrayError("ARCHIVE_CORRUPT", `Cannot read backup: entry "${entry}" leads out of the tarball`);
  if (parts[0] !== "resources" || !entry.endsWith(".json")) return undefined;
  const groupResource = parts[1] ?? "";
  const unversioned = parts[2] === "namespaces" || parts[2] === "cluster";
  const folder = unversioned ? "" : (parts[2] ?? "");
  const place = parts.slice(unversioned ? 2 : 3);
  const preferred = unversioned || folder.endsWith(PREFERRED);
  const version = folder.endsWith(PREFERRED) ? folder.slice(0, -PREFERRED.length) : folder;
  const name = (place.at(-1) ?? "").slice(0, -".json".length);
  if (groupResource === "" || name === "") return undefined;
  if (place[0] === "cluster" && place.length === 2) return { groupResource, namespace: undefined, name, version, preferred };
  if (place[0] === "namespaces" && place.length === 3) return { groupResource, namespace: place[1] ?? "", name, version, preferred };
  return undefined;
}
