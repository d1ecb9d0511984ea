/**
 * The half of OADP 1.2's data mover that sits in a backup: each snapshot that a backup keeps becomes a VolumeSnapshotBackup beside its claim, and goes into the backup with what its
 * status says (OADP's actions `velero.io/vsm-volumesnapshotcontent-backupper` and `velero.io/vsm-volumesnapshotbackup-backupper`).
 */
import {
  type Backup,
  LABELS,
  locationResticSecret,
  movedVolumeFacts,
  type VolumeSnapshotBackup,
  type VolumeSnapshotContent,
  VSM_ANNOTATIONS,
  VSM_LABELS,
  validLabelValue,
  volumeSnapshotBackups,
} from "@drayage/api";
import type { GenericObject, KubeClient } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { ensureLocationSecret } from "../volsync-era/location-secret.ts";
import type { ResticEnvironment } from "../volsync-era/settings.ts";
import type { BackupAction, BackupActionContext, BackupActionResult } from "./backup-action.ts";
import { VOLUME_SNAPSHOT_CONTENTS } from "./item-id.ts";
import { VOLUME_SNAPSHOT_BACKUPS } from "./volume-snapshot-backup-restore-action.ts";

export const VOLUME_SNAPSHOT_CONTENT_ACTION = "velero.io/vsm-volumesnapshotcontent-backupper";

export interface VolumeSnapshotMoverOptions {
  readonly client: KubeClient;
  /** Of the installation: the protected namespace. */
  readonly namespace: string;
  readonly environment: ResticEnvironment;
}

/** After the actions that keep a snapshot. */
export function createVolumeSnapshotMoverActions(options: VolumeSnapshotMoverOptions): BackupAction[] {
  return [
    { name: VOLUME_SNAPSHOT_CONTENT_ACTION, groupResource: VOLUME_SNAPSHOT_CONTENTS, execute: (item, context) => moveSnapshot(options, item, context) },
    {
      name: "velero.io/vsm-volumesnapshotbackup-backupper",
      groupResource: VOLUME_SNAPSHOT_BACKUPS,
      execute: async (item) => ({ item: withStatusNoted(item) }),
    },
  ];
}

/** A status does not come back with an object, so its annotations say what the status said. OADP's reader of them is `movedVolumeFacts`. */
export function withStatusNoted(item: GenericObject): GenericObject {
  const { repository, claimName, claimSize, storageClass, snapshotClass } = movedVolumeFacts(item as unknown as VolumeSnapshotBackup);
  if (repository === "") return item;
  const annotations = {
    [VSM_ANNOTATIONS.repository]: repository,
    [VSM_ANNOTATIONS.claimName]: claimName,
    [VSM_ANNOTATIONS.claimSize]: claimSize,
    [VSM_ANNOTATIONS.storageClass]: storageClass,
    [VSM_ANNOTATIONS.snapshotClass]: snapshotClass,
  };
  return { ...item, metadata: { ...item.metadata, annotations: { ...item.metadata.annotations, ...annotations } } };
}

async function moveSnapshot(options: VolumeSnapshotMoverOptions, item: GenericObject, context: BackupActionContext): Promise<BackupActionResult> {
  const { client } = options;
  const { backup, log, signal } = context;
  const content = item as unknown as VolumeSnapshotContent;
  const name = content.metadata.name ?? "";
  // Others of the namespace are their owners'.
  if (content.metadata.labels?.[LABELS.backupName] !== validLabelValue(backup.metadata.name ?? "")) return { item };
  // What cannot be opened is told before anything is made.
  await ensureLocationSecret(options, backup.spec.storageLocation ?? "", signal);
  const namespace = content.spec.volumeSnapshotRef.namespace ?? "";
  const labelSelector = `${VSM_LABELS.volumeSnapshotContent}=${validLabelValue(name)}`;
  const [earlier] = await allOf(client.listAll<VolumeSnapshotBackup>(volumeSnapshotBackups, { namespace, labelSelector, signal }));
  const mover = earlier ?? (await client.create<VolumeSnapshotBackup>(volumeSnapshotBackups, backupOf(options, content, backup), { signal }));
  const moverName = mover.metadata.name ?? "";
  log.info(`VolumeSnapshotBackup "${namespace}/${moverName}" was ${earlier === undefined ? "created" : "found"} for VolumeSnapshotContent "${name}"`);
  return {
    item,
    operation: { id: `${namespace}/${moverName}`, postOperationItems: [{ groupResource: VOLUME_SNAPSHOT_BACKUPS, namespace, name: moverName }] },
  };
}

function backupOf({ namespace }: VolumeSnapshotMoverOptions, { metadata, spec }: VolumeSnapshotContent, backup: Backup): VolumeSnapshotBackup {
  const { name: backupName = "", uid = "" } = backup.metadata;
  return {
    apiVersion: "datamover.oadp.openshift.io/v1alpha1",
    kind: "VolumeSnapshotBackup",
    metadata: {
      generateName: "vsb-",
      namespace: spec.volumeSnapshotRef.namespace ?? "",
      labels: {
        [LABELS.backupName]: validLabelValue(backupName),
        [LABELS.backupUid]: uid,
        [VSM_LABELS.volumeSnapshotContent]: validLabelValue(metadata.name ?? ""),
      },
    },
    spec: {
      volumeSnapshotContent: { name: metadata.name ?? "" },
      protectedNamespace: namespace,
      resticSecretRef: { name: locationResticSecret(backup.spec.storageLocation ?? "") },
    },
  };
}
