/**
 * Cuts a CSI snapshot of a claim's volume, and hands it to a mover as a DataUpload or has it stay with its storage (Velero's action `velero.io/csi-pvc-backupper`).
 *
 * Invariants:
 * - Either a DataUpload, or an item of the backup, owns the fate of the VolumeSnapshot, or the VolumeSnapshot and the snapshot in the storage are gone again.
 * - The claim in the backup names its VolumeSnapshot and, where there is one, its DataUpload; the restore finds the data by nothing else.
 */
import {
  ANNOTATIONS,
  type Backup,
  type DataUpload,
  dataUploads,
  LABELS,
  MOVER_ANNOTATIONS,
  OPERATION_ID_PREFIXES,
  type VolumeSnapshot,
  type VolumeSnapshotClass,
  type VolumeSnapshotContent,
  validLabelValue,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { type Clock, DrayError, type Logger } from "@drayage/base";
import {
  formatQuantity,
  type GenericObject,
  type KubeClient,
  keyOf,
  type PersistentVolume,
  type PersistentVolumeClaim,
  parseQuantity,
  persistentVolumes,
  requireDuration,
  storageClasses,
} from "@drayage/kube";
import { textParameters } from "@drayage/mover-sdk";
import { chooseMover, type MoverChoice } from "../mover-choice/choose-mover.ts";
import type { MoverRegistry } from "../mover-choice/mover-registry.ts";
import type { ClaimChoice } from "../resource-policy/volume-choice.ts";
import type { BackupAction, BackupActionContext, BackupActionResult } from "./backup-action.ts";
import { DATA_UPLOADS, PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS } from "./item-id.ts";
import { type RemoveSnapshotOptions, removeSnapshot } from "./remove-snapshot.ts";
import { groupOf, type VolumeGroupSnapshots } from "./volume-group-snapshots.ts";
import { selectVolumeSnapshotClass, volumeSnapshotClassesOnce } from "./volume-snapshot-class.ts";

export interface ClaimSnapshotActionOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Where the DataUploads go. */
  readonly namespace: string;
  /** What becomes of a claim's data. */
  readonly choose: (claim: PersistentVolumeClaim, volume: PersistentVolume | undefined, signal: AbortSignal) => Promise<ClaimChoice>;
  /** Cuts claims that belong together at one moment. */
  readonly groups: VolumeGroupSnapshots;
  /** The movers there are. */
  readonly movers: MoverRegistry;
}

/** Drivers answer within tens of milliseconds or within minutes; both are met by waiting longer each time. That a snapshot got its content is watched, and looked at for what is wrong. */
const POLL_FIRST_MS = 100;
const POLL_FACTOR = 1.5;
const POLL_MAX_MS = 2_000;
/** Cleaning up goes on after an abort, but not for ever. */
const CLEAN_UP_MS = 30_000;

export const CLAIM_SNAPSHOT_ACTION = "velero.io/csi-pvc-backupper";

interface SnapshotOptions extends ClaimSnapshotActionOptions {
  readonly classes: ReturnType<typeof volumeSnapshotClassesOnce>;
}

/** For one backup: what its claims have in common is read once. */
export function createClaimSnapshotAction(options: ClaimSnapshotActionOptions): BackupAction {
  const shared: SnapshotOptions = { ...options, classes: volumeSnapshotClassesOnce(options.client) };
  return {
    name: CLAIM_SNAPSHOT_ACTION,
    groupResource: PERSISTENT_VOLUME_CLAIMS,
    execute: (item, context) => snapshotClaim(shared, item, context),
  };
}

async function snapshotClaim(options: SnapshotOptions, item: GenericObject, context: BackupActionContext): Promise<BackupActionResult> {
  const { client } = options;
  const { backup, signal } = context;
  const claim = item as unknown as PersistentVolumeClaim;
  const name = `${claim.metadata.namespace}/${claim.metadata.name}`;
  const log = context.log.child({ claim: name });
  if (claim.status?.phase !== "Bound" || claim.spec.volumeName === undefined) {
    log.info("The claim is not bound: there is no data yet");
    return { item };
  }
  const volume = await client.get(persistentVolumes, { name: claim.spec.volumeName }, signal);
  const choice = await options.choose(claim, volume, signal);
  if (choice.by !== "snapshot") {
    log.info(`No snapshot of the claim is taken: ${choice.why}`);
    return choice.by === "nothing" ? { item, volumeSkipped: choice.why } : { item };
  }
  const driver = volume.spec.csi?.driver;
  if (driver === undefined) {
    log.warn(`Not taking a snapshot of claim "${name}": its volume is not provided by a CSI driver`);
    return { item: annotated(claim, { [ANNOTATIONS.skippedNoCsiPv]: "true" }), volumeSkipped: "the volume is not provided by a CSI driver" };
  }
  if (claim.spec.storageClassName === undefined || claim.spec.storageClassName === "") {
    throw new DrayError("SNAPSHOT_FAILED", `Cannot take a snapshot of claim "${name}": it has no storage class, so its copy cannot be provisioned`);
  }
  const group = groupOf(claim, backup);
  const className = choice.parameters["snapshotClass"];
  const subject = { driver, claim, backup, ...(typeof className === "string" ? { policyClass: className } : {}) };
  const cut = group === undefined ? { snapshotClass: await selectVolumeSnapshotClass(options.classes, subject, log, signal) } : { group };
  // Before anything is made: a mover that does not exist fails at once.
  const mover =
    backup.spec.snapshotMoveData === true
      ? await moverFor(options, { claim, backup, snapshotClass: cut.snapshotClass, policy: choice.parameters }, signal)
      : undefined;
  const snapshot =
    cut.group === undefined
      ? await createSnapshot(client, claim, backup, cut.snapshotClass, signal)
      : await options.groups.snapshotOf(subject, cut.group, log, signal);
  const marked = (annotations: Readonly<Record<string, string>>): GenericObject => withMarks(claim, backup, snapshot, annotations);
  const undo = { client, clock: options.clock, backup, snapshot, log };
  if (backup.spec.snapshotMoveData !== true) return orRemove(undo, () => keepSnapshot(options, { claim, snapshot, backup, marked }, log, signal));
  const uploaded = await orRemove(undo, async () => {
    await waitForHandle(options, snapshot, requireDuration(backup.spec.csiSnapshotTimeout ?? "0s", "spec.csiSnapshotTimeout"), signal);
    return createDataUpload(options, { backup, mover, claim, volume, snapshot }, signal);
  });
  const { name: snapshotName = "" } = snapshot.metadata;
  const { name: uploadName = "" } = uploaded.metadata;
  log.info(`DataUpload "${options.namespace}/${uploadName}" was created for VolumeSnapshot "${snapshotName}"`);
  return {
    item: marked({ [ANNOTATIONS.dataUploadName]: `${options.namespace}/${uploadName}`, ...noteOf(mover) }),
    mustInclude: true,
    operation: {
      id: uploaded.metadata.labels?.[LABELS.asyncOperationId] ?? "",
      postOperationItems: [{ groupResource: DATA_UPLOADS, namespace: options.namespace, name: uploadName }],
    },
  };
}

/**
 * Has the snapshot stay: it comes along into the backup, with its content. The claim asks for as much as the snapshot needs, which may be more than it did when it was made.
 */
async function keepSnapshot(
  options: ClaimSnapshotActionOptions,
  {
    claim,
    snapshot,
    backup,
    marked,
  }: Pick<DataUploadSubject, "claim" | "snapshot" | "backup"> & { readonly marked: (annotations: Record<string, string>) => GenericObject },
  log: Logger,
  signal: AbortSignal,
): Promise<BackupActionResult> {
  const { namespace = "", name = "" } = snapshot.metadata;
  const content = await waitForHandle(options, snapshot, requireDuration(backup.spec.csiSnapshotTimeout ?? "0s", "spec.csiSnapshotTimeout"), signal);
  log.info(`VolumeSnapshot "${namespace}/${name}" was cut and stays with its storage`);
  const stored = marked({});
  const size = content.status?.restoreSize;
  const asked = parseQuantity(claim.spec.resources?.requests?.["storage"] ?? "0");
  if (size !== undefined && asked !== undefined && BigInt(size) * 1_000_000_000n > asked.nanos) {
    const spec = stored["spec"] as PersistentVolumeClaim["spec"];
    const storage = formatQuantity({ nanos: BigInt(size) * 1_000_000_000n, format: "BinarySI" });
    spec.resources = { ...spec.resources, requests: { ...spec.resources?.requests, storage } };
  }
  return { item: stored, mustInclude: true, additionalItems: [{ groupResource: VOLUME_SNAPSHOTS, namespace, name }] };
}

/** The claim as it is stored: by these marks a restore finds its snapshot. */
function withMarks(claim: PersistentVolumeClaim, backup: Backup, snapshot: VolumeSnapshot, annotations: Readonly<Record<string, string>>): GenericObject {
  const snapshotName = snapshot.metadata.name ?? "";
  const stored = annotated(claim, { [ANNOTATIONS.volumeSnapshotName]: snapshotName, ...annotations, [ANNOTATIONS.mustIncludeAdditionalItems]: "true" });
  stored.metadata.labels = {
    ...stored.metadata.labels,
    [LABELS.volumeSnapshotName]: validLabelValue(snapshotName),
    [LABELS.backupName]: validLabelValue(backup.metadata.name ?? ""),
  };
  return stored;
}

function annotated(claim: PersistentVolumeClaim, annotations: Readonly<Record<string, string>>): GenericObject {
  const copy = structuredClone(claim);
  copy.metadata.annotations = { ...copy.metadata.annotations, ...annotations };
  return copy as unknown as GenericObject;
}

function createSnapshot(
  client: KubeClient,
  claim: PersistentVolumeClaim,
  backup: Backup,
  snapshotClass: VolumeSnapshotClass,
  signal: AbortSignal,
): Promise<VolumeSnapshot> {
  const { name: claimName = "", namespace = "", labels } = claim.metadata;
  return client.create<VolumeSnapshot>(
    volumeSnapshots,
    {
      apiVersion: "snapshot.storage.k8s.io/v1",
      kind: "VolumeSnapshot",
      metadata: {
        generateName: `velero-${claimName}-`,
        namespace,
        // The UID is ours to add: by it a deletion knows the backup's own, whatever the clocks of server and API server say.
        labels: { ...labels, [LABELS.backupName]: validLabelValue(backup.metadata.name ?? ""), [LABELS.backupUid]: backup.metadata.uid ?? "" },
      },
      spec: { source: { persistentVolumeClaimName: claimName }, volumeSnapshotClassName: snapshotClass.metadata.name ?? "" },
    },
    { signal },
  );
}

/**
 * Waits until the storage has cut the snapshot, which is when it has a handle; whether it is ready to be read is the mover's to wait for.
 * Throws TIMED_OUT with the driver's last complaint.
 */
async function waitForHandle(
  options: ClaimSnapshotActionOptions,
  snapshot: VolumeSnapshot,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<VolumeSnapshotContent> {
  const { client, clock } = options;
  const untilMs = clock.nowMs() + timeoutMs;
  const ending = new AbortController();
  const bound = watchedContent(client, snapshot, AbortSignal.any([signal, ending.signal]));
  let isWatched = true;
  let contentName = snapshot.status?.boundVolumeSnapshotContentName;
  let delayMs = POLL_FIRST_MS;
  let complaint: string | undefined;
  try {
    for (;;) {
      if (contentName === undefined && isWatched) {
        const found = await unlessLate(bound, Math.min(untilMs - clock.nowMs(), POLL_MAX_MS), clock, signal);
        isWatched = found === LATE;
        contentName = found === LATE ? undefined : found;
      }
      if (contentName === undefined) {
        const current = await client.get(volumeSnapshots, keyOf(snapshot), signal);
        contentName = current.status?.boundVolumeSnapshotContentName;
        complaint = current.status?.error?.message ?? complaint;
      }
      const content = contentName === undefined ? undefined : await client.find(volumeSnapshotContents, { name: contentName }, signal);
      if (content?.status?.snapshotHandle !== undefined && content.status.snapshotHandle !== "") return content;
      complaint = content?.status?.error?.message ?? complaint;
      const restMs = contentName === undefined && isWatched ? 0 : delayMs;
      if (clock.nowMs() + restMs >= untilMs) {
        const { name, namespace } = snapshot.metadata;
        throw new DrayError(
          "TIMED_OUT",
          `Cannot take a snapshot of claim "${namespace}/${snapshot.spec.source.persistentVolumeClaimName}": VolumeSnapshot "${name}" has no handle after ${timeoutMs / 1000} s${complaint === undefined ? "" : `: ${complaint}`}`,
          { hint: "Look at the CSI driver's snapshotter, or raise spec.csiSnapshotTimeout." },
        );
      }
      if (restMs === 0) continue;
      await clock.sleep(restMs, signal);
      delayMs = Math.min(delayMs * POLL_FACTOR, POLL_MAX_MS);
    }
  } finally {
    ending.abort();
  }
}

const LATE = Symbol("late");

async function unlessLate(promise: Promise<string | undefined>, limitMs: number, clock: Clock, signal: AbortSignal): Promise<string | undefined | typeof LATE> {
  const ending = new AbortController();
  const late = clock.sleep(Math.max(limitMs, 0), AbortSignal.any([signal, ending.signal])).then((): typeof LATE => LATE);
  try {
    return await Promise.race([promise, late]);
  } finally {
    ending.abort();
    late.catch(() => undefined);
  }
}

/** The content that a VolumeSnapshot is given, by one watch; undefined when that ends before it is. Never throws. */
async function watchedContent(client: KubeClient, { metadata }: VolumeSnapshot, signal: AbortSignal): Promise<string | undefined> {
  const { namespace, name = "", resourceVersion } = metadata;
  if (resourceVersion === undefined) return undefined;
  try {
    for await (const event of client.watch(volumeSnapshots, { namespace, fieldSelector: `metadata.name=${name}`, resourceVersion, signal })) {
      if (event.type === "DELETED") return undefined;
      if (event.type === "ADDED" || event.type === "MODIFIED") {
        const { boundVolumeSnapshotContentName } = event.object.status ?? {};
        if (boundVolumeSnapshotContentName !== undefined) return boundVolumeSnapshotContentName;
      }
    }
  } catch {
    // It is looked at all the same.
  }
  return undefined;
}
/** Runs `work`; when it fails or is aborted, the snapshot is removed before the failure goes on. */
async function orRemove<T>(
  { client, clock, backup, snapshot, log }: Omit<RemoveSnapshotOptions, "signal"> & { readonly snapshot: VolumeSnapshot; readonly log: Logger },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    try {
      await removeSnapshot(snapshot, { client, clock, backup, signal: AbortSignal.timeout(CLEAN_UP_MS) });
    } catch (failure) {
      log.warn(`VolumeSnapshot "${snapshot.metadata.namespace}/${snapshot.metadata.name}" was left behind`, {
        error: failure instanceof Error ? failure.message : String(failure),
      });
    }
    throw error;
  }
}

/** The mover of a claim's data. */
async function moverFor(
  { client, movers }: ClaimSnapshotActionOptions,
  subject: Pick<DataUploadSubject, "claim" | "backup"> & {
    readonly snapshotClass: VolumeSnapshotClass | undefined;
    readonly policy: Readonly<Record<string, unknown>>;
  },
  signal: AbortSignal,
): Promise<MoverChoice | undefined> {
  const { claim, backup, snapshotClass, policy } = subject;
  const { namespace, name = "", labels = {}, annotations = {} } = claim.metadata;
  const storageClass = await client.find(storageClasses, { name: claim.spec.storageClassName ?? "" }, signal);
  const facts = { groupResource: PERSISTENT_VOLUME_CLAIMS, namespace, name, labels, annotations, storageClass, snapshotClass, policy };
  return chooseMover(facts, backup, movers);
}

/** The choice as it is recorded; the built-in mover of old needs no word. */
function noteOf(mover: MoverChoice | undefined): Record<string, string> {
  if (mover === undefined || (mover.builtin && mover.mover === "")) return {};
  return {
    [MOVER_ANNOTATIONS.chosen]: mover.mover,
    [MOVER_ANNOTATIONS.reason]: mover.reason,
    ...(mover.vendorController ? { [MOVER_ANNOTATIONS.vendorController]: "true" } : {}),
  };
}

interface DataUploadSubject {
  readonly mover: MoverChoice | undefined;
  readonly backup: Backup;
  readonly claim: PersistentVolumeClaim;
  readonly volume: PersistentVolume;
  readonly snapshot: VolumeSnapshot;
}

function createDataUpload(options: ClaimSnapshotActionOptions, subject: DataUploadSubject, signal: AbortSignal): Promise<DataUpload> {
  const { backup, mover, claim, volume, snapshot } = subject;
  const snapshotClass = snapshot.spec.volumeSnapshotClassName ?? "";
  const { name: backupName = "", uid: backupUid = "" } = backup.metadata;
  const claimUid = claim.metadata.uid ?? "";
  const parallel = backup.spec.uploaderConfig?.parallelFilesUpload ?? 0;
  const datamover = mover?.mover;
  const config = {
    ...(parallel > 0 && mover?.builtin !== false ? { ParallelFilesUpload: String(parallel) } : {}),
    ...textParameters(mover?.parameters ?? {}),
  };
  const note = noteOf(mover);
  return options.client.create<DataUpload>(
    dataUploads,
    {
      apiVersion: "velero.io/v2alpha1",
      kind: "DataUpload",
      metadata: {
        generateName: `${backupName}-`,
        namespace: options.namespace,
        labels: {
          [LABELS.backupName]: validLabelValue(backupName),
          [LABELS.backupUid]: backupUid,
          [LABELS.pvcUid]: claimUid,
          [LABELS.asyncOperationId]: validLabelValue(`${OPERATION_ID_PREFIXES.dataUpload}${backupUid}.${claimUid}`),
        },
        ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Backup", name: backupName, uid: backupUid, controller: true }],
        ...(Object.keys(note).length > 0 ? { annotations: note } : {}),
      },
      spec: {
        backupStorageLocation: backup.spec.storageLocation ?? "",
        csiSnapshot: {
          driver: volume.spec.csi?.driver ?? "",
          ...(snapshotClass === "" ? {} : { snapshotClass }),
          storageClass: claim.spec.storageClassName ?? "",
          volumeSnapshot: snapshot.metadata.name ?? "",
        },
        ...(Object.keys(config).length > 0 ? { dataMoverConfig: config } : {}),
        ...(datamover === undefined || datamover === "" ? {} : { datamover }),
        operationTimeout: backup.spec.csiSnapshotTimeout ?? "",
        snapshotType: "CSI",
        sourceNamespace: claim.metadata.namespace ?? "",
        sourcePVC: claim.metadata.name ?? "",
      },
    },
    { signal },
  );
}
