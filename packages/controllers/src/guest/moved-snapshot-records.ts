/**
 * A Velero server whose backups our mover served cannot ask us what to delete: it looks for ConfigMaps that name the snapshots (velero.md 7.3) and deletes those from the repository itself.
 * So a guest keeps one for every volume that it moved, as long as the backup is there. It finds them in the backup's tarball, since the DataUploads are gone in a cluster
 * that synchronised the backup, and were never in one that lost everything.
 */
import { type Backup, type DataUpload, DRAYAGE_DATA_MOVER, dataUploads, LABELS, validLabelValue } from "@drayage/api";
import type { ConfigMap, KubeClient } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { withArchive } from "../backup-deletion/with-archive.ts";
import type { BackupStore } from "../ports.ts";

/** Of a backup that has ended, with everything it will ever have moved. */
const ENDED: ReadonlySet<string> = new Set(["Completed", "PartiallyFailed", "Failed", "Deleting"]);
const UPLOAD_ENDED: ReadonlySet<string> = new Set(["Completed", "Failed", "Canceled"]);

export interface ObservedRecords {
  readonly phase: string;
  readonly deleting: boolean;
  readonly movesData: boolean;
  /** What our mover moved for it; undefined when that was not looked up. */
  readonly moved: readonly MovedVolume[] | undefined;
  /** Names of the ConfigMaps about it that there are. */
  readonly recorded: readonly string[];
}

export interface MovedVolume {
  readonly uploadName: string;
  readonly volumeNamespace: string;
  readonly claim: string;
  readonly snapshotId: string;
  readonly location: string;
}

export type RecordsDecision =
  | { readonly do: "nothing"; readonly why: string }
  | { readonly do: "lookUp" }
  | { readonly do: "create"; readonly volumes: readonly MovedVolume[] };

/**
 * A deletion takes the records away before it deletes the snapshots, and when it fails leaves the backup in phase Deleting: the next request needs them again, so they are made again.
 * Those that nobody needs any more go with the backup, which owns them.
 */
export function decideRecords(o: ObservedRecords): RecordsDecision {
  if (!o.movesData) return { do: "nothing", why: "it moves no data" };
  if (o.deleting) return { do: "nothing", why: "it is being deleted" };
  if (!ENDED.has(o.phase)) return { do: "nothing", why: "it has not ended" };
  if (o.moved === undefined) return { do: "lookUp" };
  const volumes = o.moved.filter(({ uploadName }) => !o.recorded.includes(recordName(uploadName)));
  return volumes.length === 0 ? { do: "nothing", why: "every moved volume has its record" } : { do: "create", volumes };
}

/** Velero's own plug-in names them so, for its own movers. */
export const recordName = (uploadName: string): string => `${uploadName}-info`;

/** The ConfigMap that Velero's deletion looks for. It goes with its Backup. */
export function buildRecord(backup: Backup, volume: MovedVolume): ConfigMap {
  const { namespace = "", name = "", uid = "" } = backup.metadata;
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      namespace,
      name: recordName(volume.uploadName),
      labels: { [LABELS.backupName]: validLabelValue(name), [LABELS.dataUploadSnapshotInfo]: "true" },
      ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Backup", name, uid }],
    },
    data: {
      volumeNamespace: volume.volumeNamespace,
      backupStorageLocation: volume.location,
      snapshotID: volume.snapshotId,
      repositoryType: "kopia",
      uploaderType: "kopia",
      source: `${volume.volumeNamespace}/${volume.claim}`,
      repoIdentifier: "",
    },
  };
}

/** The volumes of a backup that our mover moved, from its DataUploads in the cluster and in its tarball; `final` when none is under way that may still add to them, as after a time-out. */
export async function movedVolumesOf(
  client: KubeClient,
  store: BackupStore,
  backup: Backup,
  signal: AbortSignal,
): Promise<{ readonly volumes: readonly MovedVolume[]; readonly final: boolean }> {
  const { namespace, name = "" } = backup.metadata;
  const labelSelector = `${LABELS.backupName}=${validLabelValue(name)}`;
  const archived = await withArchive(store, name, signal, async (reader) => {
    const uploads: DataUpload[] = [];
    for (const ref of reader.items("datauploads.velero.io")) uploads.push((await reader.read(ref)) as unknown as DataUpload);
    return uploads;
  });
  const living = await allOf(client.listAll(dataUploads, { namespace, labelSelector, signal }));
  const final = living.every(({ spec, status }) => spec.datamover !== DRAYAGE_DATA_MOVER || UPLOAD_ENDED.has(status?.phase ?? ""));
  const found = new Map<string, MovedVolume>();
  for (const { metadata, spec, status } of [...(archived ?? []), ...living]) {
    // A DataUpload of another backup may lie in the tarball as an ordinary resource.
    if (spec.datamover !== DRAYAGE_DATA_MOVER || metadata.labels?.[LABELS.backupName] !== validLabelValue(name)) continue;
    const [uploadName = "", snapshotId = ""] = [metadata.name, status?.snapshotID];
    if (snapshotId === "") continue;
    found.set(uploadName, { uploadName, volumeNamespace: spec.sourceNamespace, claim: spec.sourcePVC, snapshotId, location: spec.backupStorageLocation });
  }
  return { volumes: [...found.values()], final };
}
