import { LABELS } from "@drayage/api";
import type { GenericObject, PersistentVolumeClaim } from "@drayage/kube";
import type { BackupAction } from "./backup-action.ts";
import { type ItemId, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES } from "./item-id.ts";

/** The volume a claim is bound to. */
export function volumeOfClaim(claim: PersistentVolumeClaim): ItemId | undefined {
  const name = claim.spec.volumeName;
  if (claim.status?.phase !== "Bound" || name === undefined || name === "") return undefined;
  return { groupResource: PERSISTENT_VOLUMES, namespace: undefined, name };
}

/**
 * A bound claim brings its volume along and leaves behind what an earlier restore wrote into it: where its data came from, the selector that kept the provisioner away,
 * and the labels of that restore. Otherwise the next restore would wait for things that are long gone.
 */
export const claimBackupAction: BackupAction = {
  name: "velero.io/pvc",
  groupResource: PERSISTENT_VOLUME_CLAIMS,
  async execute(item, { backup }) {
    const volume = volumeOfClaim(item as unknown as PersistentVolumeClaim);
    if (volume === undefined) return { item };
    const claim = structuredClone(item) as unknown as PersistentVolumeClaim;
    delete claim.spec.dataSource;
    delete claim.spec.dataSourceRef;
    // A claim of no class binds by its selector; one of a class is provisioned, and its selector was a restore's.
    if (claim.spec.storageClassName !== "") delete claim.spec.selector;
    const { labels } = claim.metadata;
    if (labels !== undefined) {
      delete labels[LABELS.restoreName];
      delete labels[LABELS.volumeSnapshotName];
      if (labels[LABELS.backupName] !== backup.metadata.name) delete labels[LABELS.backupName];
      if (Object.keys(labels).length === 0) delete claim.metadata.labels;
    }
    return { item: claim as unknown as GenericObject, additionalItems: [volume] };
  },
};
