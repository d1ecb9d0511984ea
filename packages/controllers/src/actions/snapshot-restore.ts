/** Fills a claim from a snapshot that stayed with its storage, by objects of the restore's own that stand for it. */
import { createHash } from "node:crypto";
import {
  ANNOTATIONS,
  DRAYAGE_ANNOTATIONS,
  LABELS,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  validLabelValue,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import { type KubeClient, type PersistentVolumeClaim, parseQuantity } from "@drayage/kube";
import { VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS } from "./item-id.ts";
import type { RestoreAction, RestoreActionContext } from "./restore-action.ts";
import { LIST_SECRET, secretNamedBy } from "./snapshot-secrets.ts";

const SNAPSHOT_API = "snapshot.storage.k8s.io";

/**
 * The snapshots of a backup and their contents come back with the claims that are filled from them, under names of the restore's own. A class brings the Secret with which its
 * driver lists snapshots (Velero's `csi-volumesnapshotclass-restorer`).
 */
export const snapshotRestoreActions: readonly RestoreAction[] = [
  { name: "velero.io/csi-volumesnapshot-restorer", groupResource: VOLUME_SNAPSHOTS, execute: async (item) => ({ item, skip: true }) },
  { name: "velero.io/csi-volumesnapshotcontent-restorer", groupResource: VOLUME_SNAPSHOT_CONTENTS, execute: async (item) => ({ item, skip: true }) },
  {
    name: "velero.io/csi-volumesnapshotclass-restorer",
    groupResource: VOLUME_SNAPSHOT_CLASSES,
    execute: async (item) => ({ item, additionalItems: secretNamedBy(item, LIST_SECRET) }),
  },
];

/**
 * Makes a content and a VolumeSnapshot for the stored one and names it as the claim's source. They keep the snapshot when they are deleted: it belongs to the backup.
 * Throws SNAPSHOT_FAILED when the backup does not say where the snapshot is.
 */
export async function fillFromSnapshot(client: KubeClient, claim: PersistentVolumeClaim, stored: VolumeSnapshot, context: RestoreActionContext): Promise<void> {
  const { restore, backup, targetNamespace = "", signal } = context;
  const annotations = stored.metadata.annotations ?? {};
  const handle = annotations[ANNOTATIONS.snapshotHandle];
  const driver = annotations[ANNOTATIONS.csiDriverName];
  if (handle === undefined || driver === undefined) {
    throw new DrayError(
      "SNAPSHOT_FAILED",
      `Cannot restore from VolumeSnapshot "${stored.metadata.namespace}/${stored.metadata.name}": the backup does not say where it is`,
      {
        hint: "It was not ready when the backup ended; take the data from another backup.",
      },
    );
  }
  // Velero's way to a name that is the restore's own and the same for each try.
  const name = createHash("sha256").update(`${restore.metadata.uid}/${stored.metadata.name}`).digest("hex");
  const labels = { [LABELS.restoreName]: validLabelValue(restore.metadata.name ?? ""), [LABELS.backupName]: validLabelValue(backup.metadata.name ?? "") };
  const className = stored.spec.volumeSnapshotClassName;
  const ofClass = className === undefined ? {} : { volumeSnapshotClassName: className };
  await createOnce(() =>
    client.create<VolumeSnapshotContent>(
      volumeSnapshotContents,
      {
        apiVersion: `${SNAPSHOT_API}/v1`,
        kind: "VolumeSnapshotContent",
        metadata: { name, labels, annotations: { [DRAYAGE_ANNOTATIONS.backupNamespace]: backup.metadata.namespace ?? "" } },
        spec: {
          deletionPolicy: "Retain",
          driver,
          source: { snapshotHandle: handle },
          ...(claim.spec.volumeMode === undefined ? {} : { sourceVolumeMode: claim.spec.volumeMode }),
          volumeSnapshotRef: { apiVersion: `${SNAPSHOT_API}/v1`, kind: "VolumeSnapshot", namespace: targetNamespace, name },
          ...ofClass,
        },
      },
      { signal },
    ),
  );
  await createOnce(() =>
    client.create<VolumeSnapshot>(
      volumeSnapshots,
      {
        apiVersion: `${SNAPSHOT_API}/v1`,
        kind: "VolumeSnapshot",
        metadata: { namespace: targetNamespace, name, labels },
        spec: { source: { volumeSnapshotContentName: name }, ...ofClass },
      },
      { signal },
    ),
  );
  delete claim.spec.volumeName;
  delete claim.spec.selector;
  delete claim.spec.dataSourceRef;
  claim.spec.dataSource = { apiGroup: SNAPSHOT_API, kind: "VolumeSnapshot", name };
  askForEnough(claim, annotations[ANNOTATIONS.snapshotRestoreSize]);
}

/** A volume that is smaller than its snapshot would be refused. */
function askForEnough(claim: PersistentVolumeClaim, size: string | undefined): void {
  const needed = parseQuantity(size ?? "");
  const asked = parseQuantity(claim.spec.resources?.requests?.["storage"] ?? "0");
  if (size === undefined || needed === undefined || asked === undefined || needed.nanos <= asked.nanos) return;
  claim.spec.resources = { ...claim.spec.resources, requests: { ...claim.spec.resources?.requests, storage: size } };
}

async function createOnce(create: () => Promise<unknown>): Promise<void> {
  try {
    await create();
  } catch (error) {
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
}
