/**
 * The half of OADP 1.2's data mover that sits in a restore: a claim is made from the snapshot into which VolSync restores its data, once that is there
 * (OADP's action `velero.io/vsm-volumesnapshot-restorer`). Everything after the volumes waits for them, as it did then.
 */
import { createHash } from "node:crypto";
import {
  ANNOTATIONS,
  DRAYAGE_ANNOTATIONS,
  LABELS,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  type VolumeSnapshotRestore,
  validLabelValue,
  volumeSnapshotContents,
  volumeSnapshotRestores,
  volumeSnapshots,
} from "@drayage/api";
import { type Clock, DrayError, hasCode } from "@drayage/base";
import { compareQuantities, type KubeClient, type ObjectKey, type PersistentVolumeClaim, parseDuration, storageClasses } from "@drayage/kube";
import { CONTENT_FINALIZER } from "../backup-deletion/kept-snapshots.ts";
import { readClassOptions } from "../volsync-era/class-options.ts";
import { phaseOf } from "../volume-snapshot-restore/observe.ts";
import { isTerminal } from "../volume-snapshot-restore/volume-snapshot-restore.ts";
import { VOLUME_SNAPSHOTS } from "./item-id.ts";
import type { RestoreAction, RestoreActionContext } from "./restore-action.ts";
import type { MovedVolumes } from "./volume-snapshot-backup-restore-action.ts";

export interface VolSyncSnapshotOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Of the installation. */
  readonly namespace: string;
  readonly moved: MovedVolumes;
  /** For a restore that has no limit of its own. */
  readonly timeoutMs: number;
}

const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";
const LOOK_MS = 1_000;

/** Before the claims: a VolumeSnapshot of the backup comes back over the snapshot that VolSync made, under its own name. One whose data was not moved is not concerned. */
export function createVolSyncSnapshotAction(options: VolSyncSnapshotOptions): RestoreAction {
  return {
    name: "velero.io/vsm-volumesnapshot-restorer",
    groupResource: VOLUME_SNAPSHOTS,
    async execute(item, context) {
      const stored = context.itemFromBackup as unknown as VolumeSnapshot;
      const { namespace = "", name = "" } = stored.metadata;
      const claim = stored.spec.source.persistentVolumeClaimName ?? "";
      const moved = options.moved.of(namespace, claim);
      // The claim tells of what went wrong.
      if (moved?.restore !== undefined && moved.problem === undefined) {
        try {
          await ensureSnapshot(options, { key: moved.restore, name, driver: stored.metadata.annotations?.[ANNOTATIONS.csiDriverName] }, context);
          options.moved.add(namespace, claim, { ...moved, snapshot: name });
        } catch (error) {
          if (!hasCode(error, "DATA_MOVEMENT_FAILED")) throw error;
          options.moved.add(namespace, claim, { ...moved, problem: (error as DrayError).message });
        }
      }
      return { item, skip: true };
    },
  };
}

/** Names the snapshot as the claim's source, and makes it where the backup had none of its own to come back. */
export async function fillFromVolSync(
  options: VolSyncSnapshotOptions,
  claim: PersistentVolumeClaim,
  moved: { readonly restore: ObjectKey; readonly snapshot?: string },
  context: RestoreActionContext,
): Promise<void> {
  const name = moved.snapshot ?? `${claim.metadata.name}-${digest(context, claim.metadata.name ?? "").slice(0, 16)}`;
  const restore = await ensureSnapshot(options, { key: moved.restore, name, driver: undefined }, context);
  const size = restore.spec.volumeSnapshotMoverBackupRef?.sourcePVCData?.size ?? "0";
  delete claim.spec.volumeName;
  delete claim.spec.selector;
  delete claim.spec.dataSourceRef;
  claim.spec.dataSource = { apiGroup: SNAPSHOT_GROUP, kind: "VolumeSnapshot", name };
  // A volume that is smaller than its snapshot would be refused.
  if (compareQuantities(size, claim.spec.resources?.requests?.["storage"] ?? "0") > 0)
    claim.spec.resources = { ...claim.spec.resources, requests: { ...claim.spec.resources?.requests, storage: size } };
}

interface WantedSnapshot {
  /** Of the VolumeSnapshotRestore. */
  readonly key: ObjectKey;
  readonly name: string;
  /** As the backup has it. */
  readonly driver: string | undefined;
}

/** The snapshot goes when its VolumeSnapshot is deleted: it was made for this restore, and nobody else knows of it. */
async function ensureSnapshot(
  options: VolSyncSnapshotOptions,
  { key, name, driver }: WantedSnapshot,
  context: RestoreActionContext,
): Promise<VolumeSnapshotRestore> {
  const { client } = options;
  const { restore, backup, targetNamespace = "", signal } = context;
  const done = await untilRestored(options, key, context);
  const snapshotClass = done.spec.volumeSnapshotMoverBackupRef?.volumeSnapshotClassName ?? "";
  const ofClass = snapshotClass === "" ? {} : { volumeSnapshotClassName: snapshotClass };
  const labels = { [LABELS.restoreName]: validLabelValue(restore.metadata.name ?? ""), [LABELS.backupName]: validLabelValue(backup.metadata.name ?? "") };
  const contentName = `velero-${name.slice(0, 200)}-${digest(context, name).slice(0, 16)}`;
  await createOnce(async () =>
    client.create<VolumeSnapshotContent>(
      volumeSnapshotContents,
      {
        apiVersion: `${SNAPSHOT_GROUP}/v1`,
        kind: "VolumeSnapshotContent",
        // With the snapshotter's finalizer from the start: deleted before it has been seen, it would leave the snapshot behind.
        metadata: {
          name: contentName,
          labels,
          annotations: { [DRAYAGE_ANNOTATIONS.backupNamespace]: backup.metadata.namespace ?? "" },
          finalizers: [CONTENT_FINALIZER],
        },
        spec: {
          deletionPolicy: "Delete",
          driver: (await driverOf(options, done)) ?? driver ?? "",
          source: { snapshotHandle: done.status?.snapshotHandle ?? "" },
          volumeSnapshotRef: { apiVersion: `${SNAPSHOT_GROUP}/v1`, kind: "VolumeSnapshot", namespace: targetNamespace, name },
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
        apiVersion: `${SNAPSHOT_GROUP}/v1`,
        kind: "VolumeSnapshot",
        metadata: { namespace: targetNamespace, name, labels },
        spec: { source: { volumeSnapshotContentName: contentName }, ...ofClass },
      },
      { signal },
    ),
  );
  return done;
}

/** VolSync's volume was of this class, and so is its snapshot. */
async function driverOf({ client, namespace }: VolSyncSnapshotOptions, { spec }: VolumeSnapshotRestore): Promise<string | undefined> {
  const ofClaim = spec.volumeSnapshotMoverBackupRef?.sourcePVCData?.storageClassName ?? "";
  const { storageClassName = ofClaim } = await readClassOptions(client, namespace, ofClaim, "Destination");
  return storageClassName === "" ? undefined : (await client.find(storageClasses, { name: storageClassName }))?.provisioner;
}

/** Throws DATA_MOVEMENT_FAILED with what it failed by, and when it has not ended within the restore's limit. */
async function untilRestored(
  { client, clock, timeoutMs }: VolSyncSnapshotOptions,
  key: ObjectKey,
  { restore, log, signal }: RestoreActionContext,
): Promise<VolumeSnapshotRestore> {
  const limitMs = parseDuration(restore.spec.itemOperationTimeout ?? "") || timeoutMs;
  const untilMs = clock.nowMs() + limitMs;
  const name = `VolumeSnapshotRestore "${key.namespace}/${key.name}"`;
  log.info(`Waiting for ${name}`);
  for (;;) {
    const current = await client.find<VolumeSnapshotRestore>(volumeSnapshotRestores, key, signal);
    const phase = current === undefined ? "" : phaseOf(current);
    if (current !== undefined && phase === "Completed" && (current.status?.snapshotHandle ?? "") !== "") return current;
    const message = current?.status?.conditions?.find(({ type }) => type === "Reconciled")?.message;
    const why = current === undefined ? "it is gone" : isTerminal(phase) ? `it ended ${phase}${message === undefined ? "" : `: ${message}`}` : undefined;
    if (why !== undefined) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot restore the data of ${name}: ${why}`);
    if (clock.nowMs() >= untilMs)
      throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot restore the data of ${name}: it has not ended within ${limitMs / 1000} s`);
    await clock.sleep(LOOK_MS, signal);
  }
}

function digest({ restore }: RestoreActionContext, name: string): string {
  return createHash("sha256").update(`${restore.metadata.uid}/${name}`).digest("hex");
}

async function createOnce(create: () => Promise<unknown>): Promise<void> {
  try {
    await create();
  } catch (error) {
    // An earlier process of this restore made it.
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
}
