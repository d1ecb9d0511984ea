/**
 * Brings volumes back whose data OADP 1.1 or 1.2 moved: each VolumeSnapshotBackup in a backup becomes a VolumeSnapshotRestore in the cluster, which fills the volume of its claim.
 *
 * OADP restored into a snapshot and made the claim from that, waiting for each volume; here the data goes into the volume itself, so that no snapshots are needed, and the restore goes
 * on meanwhile. What the backup holds of the snapshots of then is left out: they are gone with their cluster.
 */
import {
  type Backup,
  DRAYAGE_ANNOTATIONS,
  hasMovedItsData,
  LABELS,
  locationResticSecret,
  type MovedVolumeFacts,
  movedVolumeFacts,
  movedVolumeProblem,
  type Restore,
  type VolumeSnapshotBackup,
  type VolumeSnapshotRestore,
  VSM_LABELS,
  VSR_ANNOTATIONS,
  validLabelValue,
  volumeSnapshotRestores,
} from "@drayage/api";
import { type GenericObject, type KubeClient, keyOf, type ObjectKey, persistentVolumeClaims } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { isDataFirst, isRestoredBy, type RestoreAction, type RestoreActionContext, resumesOf } from "./restore-action.ts";

const VOLUME_SNAPSHOT_RESTORES = "volumesnapshotrestores.datamover.oadp.openshift.io";
export const VOLUME_SNAPSHOT_BACKUPS = "volumesnapshotbackups.datamover.oadp.openshift.io";
/** As OADP's plug-in is called in the records of operations. */
export const VOLUME_SNAPSHOT_BACKUP_ACTION = "velero.io/vsm-datamover-restorer";

export interface MovedVolume {
  /** Why there is nothing to restore. */
  readonly problem?: string;
  /** The VolumeSnapshotRestore that brings it back. */
  readonly restore?: ObjectKey;
  /** The VolumeSnapshot that came back for it, beside the claim. */
  readonly snapshot?: string;
}

/** What became of the VolumeSnapshotBackups of a backup, for the items that come after them. */
export class MovedVolumes {
  readonly #claims = new Map<string, MovedVolume>();

  /** Claims are named as they are in the backup. */
  add(namespace: string, claim: string, volume: MovedVolume): void {
    this.#claims.set(`${namespace}/${claim}`, volume);
  }

  /** Undefined for a claim whose data was not moved in this way. */
  of(namespace: string, claim: string): MovedVolume | undefined {
    return this.#claims.get(`${namespace}/${claim}`);
  }
}

export interface VolumeSnapshotBackupActionOptions {
  readonly client: KubeClient;
  /** Of the installation. */
  readonly namespace: string;
  readonly moved: MovedVolumes;
  /** VolSync restores into a snapshot, as OADP 1.2 had it. */
  readonly intoSnapshot?: boolean;
}

/** The actions for what the data mover of OADP 1.1 and 1.2 left in a backup. */
export function createVolumeSnapshotBackupRestoreActions(options: VolumeSnapshotBackupActionOptions): RestoreAction[] {
  return [
    { name: VOLUME_SNAPSHOT_BACKUP_ACTION, groupResource: VOLUME_SNAPSHOT_BACKUPS, execute: (item, context) => restoreOne(options, item, context) },
    // The record of a restore of then: made again, it would be carried out again.
    { name: VOLUME_SNAPSHOT_BACKUP_ACTION, groupResource: VOLUME_SNAPSHOT_RESTORES, execute: async (item) => ({ item, skip: true }) },
  ];
}

async function restoreOne(options: VolumeSnapshotBackupActionOptions, item: Parameters<RestoreAction["execute"]>[0], context: RestoreActionContext) {
  const { client, moved } = options;
  const { restore, backup, itemFromBackup, targetNamespace = "", log, signal } = context;
  const volume = itemFromBackup as unknown as VolumeSnapshotBackup;
  const facts = movedVolumeFacts(volume);
  const sourceNamespace = volume.metadata.namespace ?? "";
  if (restore.spec.restorePVs === false) return { item, skip: true };
  // A backup takes along what lies in the namespace, also of the backups before it.
  const ofBackup = volume.metadata.labels?.[LABELS.backupName];
  if (ofBackup !== undefined && ofBackup !== validLabelValue(backup.metadata.name ?? "")) return { item, skip: true };
  const problem = movedVolumeProblem(volume);
  if (facts.claimName === "") {
    log.warn(`VolumeSnapshotBackup "${sourceNamespace}/${volume.metadata.name}" names no claim: its data is left where it is`);
    return { item, skip: true };
  }
  if (moved.of(sourceNamespace, facts.claimName) !== undefined) {
    log.warn(`Claim "${sourceNamespace}/${facts.claimName}" has several VolumeSnapshotBackups: "${volume.metadata.name}" is left out`);
    return { item, skip: true };
  }
  moved.add(sourceNamespace, facts.claimName, problem === undefined ? {} : { problem });
  // The claim says so itself.
  if (problem !== undefined) return { item, skip: true };
  const earlier = await earlierRestore(options, targetNamespace, facts.claimName, context);
  if (earlier !== undefined) {
    moved.add(sourceNamespace, facts.claimName, { restore: keyOf(earlier) });
    return { item, skip: true, operationId: `${targetNamespace}/${earlier.metadata.name}`, operationCreated: earlier.metadata.creationTimestamp };
  }
  const claim = await client.find(persistentVolumeClaims, { namespace: targetNamespace, name: facts.claimName }, signal);
  if (claim !== undefined && !isRestoredBy(restore, claim as unknown as GenericObject)) {
    log.warn(`Claim "${targetNamespace}/${facts.claimName}" exists already: its data is left as it is`);
    return { item, skip: true };
  }
  const created = await client.create<VolumeSnapshotRestore>(
    volumeSnapshotRestores,
    restoreFor(volume, facts, { restore, backup, namespace: options.namespace, targetNamespace, intoSnapshot: options.intoSnapshot === true }),
    { signal },
  );
  moved.add(sourceNamespace, facts.claimName, { restore: keyOf(created) });
  log.info(`VolumeSnapshotRestore "${targetNamespace}/${created.metadata.name}" was created`);
  return { item, skip: true, operationId: `${targetNamespace}/${created.metadata.name}` };
}

/** One that a process of before made for the same claim. */
async function earlierRestore(
  { client }: VolumeSnapshotBackupActionOptions,
  namespace: string,
  claim: string,
  { restore, signal }: RestoreActionContext,
): Promise<VolumeSnapshotRestore | undefined> {
  if (resumesOf(restore) === 0) return undefined;
  const labelSelector = `${LABELS.restoreName}=${validLabelValue(restore.metadata.name ?? "")},${VSM_LABELS.claimName}=${validLabelValue(claim)}`;
  const found = await allOf(client.listAll<VolumeSnapshotRestore>(volumeSnapshotRestores, { namespace, labelSelector, signal }));
  return found.find(({ metadata }) => metadata.annotations?.[VSR_ANNOTATIONS.restoreUid] === restore.metadata.uid);
}

function restoreFor(
  volume: VolumeSnapshotBackup,
  facts: MovedVolumeFacts,
  {
    restore,
    backup,
    namespace,
    targetNamespace,
    intoSnapshot,
  }: {
    readonly restore: Restore;
    readonly backup: Backup;
    readonly namespace: string;
    readonly targetNamespace: string;
    readonly intoSnapshot: boolean;
  },
): VolumeSnapshotRestore {
  const location = backup.spec.storageLocation ?? "";
  return {
    apiVersion: "datamover.oadp.openshift.io/v1alpha1",
    kind: "VolumeSnapshotRestore",
    metadata: {
      generateName: "vsr-",
      namespace: targetNamespace,
      labels: {
        [LABELS.restoreName]: validLabelValue(restore.metadata.name ?? ""),
        [LABELS.backupName]: validLabelValue(backup.metadata.name ?? ""),
        [VSM_LABELS.claimName]: validLabelValue(facts.claimName),
        [VSM_LABELS.volumeSnapshotBackupName]: validLabelValue(volume.metadata.name ?? ""),
      },
      annotations: {
        [VSR_ANNOTATIONS.location]: location,
        [VSR_ANNOTATIONS.restoreUid]: restore.metadata.uid ?? "",
        ...(intoSnapshot ? { [VSR_ANNOTATIONS.into]: "snapshot" } : {}),
        ...(hasMovedItsData(volume) ? { [VSR_ANNOTATIONS.mayBeEmpty]: "true" } : {}),
        ...(isDataFirst(restore) ? { [DRAYAGE_ANNOTATIONS.ignoreDelayBinding]: "true" } : {}),
      },
    },
    spec: {
      protectedNamespace: namespace,
      // The Secret of the location it is read from now, which need not be called as it was then.
      resticSecretRef: { name: locationResticSecret(location) },
      volumeSnapshotMoverBackupRef: {
        resticrepository: facts.repository,
        sourcePVCData: { name: facts.claimName, size: facts.claimSize, storageClassName: facts.storageClass },
        volumeSnapshotClassName: facts.snapshotClass,
      },
    },
  };
}
