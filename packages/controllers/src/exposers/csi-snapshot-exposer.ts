/**
 * Makes a volume snapshot readable in a mover pod of the installation's namespace (velero.md 4.1), and takes everything away again.
 *
 *   source VS ─ source VSC ─┐ handle          backup VS ◄─ backup VSC ─┐ handle
 *   (application's namespace)└───────────────► (our namespace)          └─► backup PVC ─► mover pod
 *
 * The storage snapshot changes hands: the backup content is made with deletionPolicy Delete, the source content is set to Retain and, once there is a claim, deleted with its
 * VolumeSnapshot. Everything is named like the DataUpload. The backup content carries which content it replaces, so that a restart between those steps finds the rest of the way.
 *
 * A snapshot controller sends five requests a second, and is what a movement waits for. So it is given what it would else make a request for: the content comes before the VolumeSnapshot that
 * it waits for by name, and is seen with it; both have its finalizers; and the source, whose removal is its work too, goes when the copy is ready.
 */
import {
  type DataUpload,
  dataUploads,
  LABELS,
  LOCATION_TARGET,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { formatTime, hasCode } from "@drayage/base";
import {
  bytesQuantity,
  controllerReference,
  hasFinalizer,
  isDeleting,
  type PersistentVolume,
  type PersistentVolumeClaim,
  parseQuantity,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  secrets,
  storageClasses,
} from "@drayage/kube";
import { CONTENT_FINALIZER } from "../backup-deletion/kept-snapshots.ts";
import type { RepositoryAtHand } from "../backup-repository/ensure-backup-repository.ts";
import { epochAnnotations, MOVEMENT_ANNOTATIONS } from "../data-movement/movement.ts";
import { act, done, failed, recheckAfterMs, type Work, wait, waitAlone } from "../data-movement/work.ts";
import { steadyAgeMs } from "../steady-age.ts";
import { changedBlocksParts } from "./changed-blocks.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { buildHostingPod, unrecoverableReason } from "./hosting-pod.ts";
import { earlierEpochRemoval, findAnew, moverRemoval, notOurs, type RemovalOptions, removal, WATCHED_RECHECK_MS } from "./intermediate-objects.ts";
import { buildRequestSecret, missingFiles, programOf, type RequestSecretOptions } from "./mover-program.ts";
import { buildMoverSecret } from "./mover-secret.ts";
import { windowsRefusal } from "./node-os.ts";
import { standingAlone } from "./retire-content.ts";
import { startingWork } from "./starting-pod.ts";
import { tenantCopies, tenantCopiesRemoval } from "./tenant-copies.ts";
import { unboundReason, waitingUpload } from "./unbound-claim.ts";
import { ALLOW_MODE_CHANGE, modeForMover, movesDevices } from "./volume-mode.ts";

const MANAGED_BY = "snapshot.storage.kubernetes.io/managed-by";
const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";
/** Those of a VolumeSnapshot whose content goes with it. */
const SNAPSHOT_FINALIZERS = ["volumesnapshot-as-source-protection", "volumesnapshot-bound-protection"].map((name) => `snapshot.storage.kubernetes.io/${name}`);
/** What an agent with the permissions of before may not say, and for how long it is looked whether it is to be said. */
const READINESS = "readiness";
const TELL_READINESS_MS = 2_000;
/** The end of what is waited for is seen; this is for the end of the patience with it. */
const GIVE_WAY_RECHECK_MS = 500;
/** How long the snapshot controller and the driver may take to remove what was deleted before cleaning up goes on without it. */
const REMOVAL_PATIENCE_MS = 60_000;

/**
 * Done when the mover pod runs and its repository is ready, which it gets meanwhile. Looked at from the end backwards: what is there proves that everything before it was done.
 */
export async function exposeSnapshot(deps: ExposerDeps, upload: DataUpload, repository: RepositoryAtHand): Promise<Work> {
  const { client, namespace } = deps;
  const name = upload.metadata.name ?? "";
  const key = { namespace, name };
  const earlier = await earlierEpochRemoval(deps, upload);
  if (earlier !== undefined) return earlier;
  const mover = deps.moverOf?.(upload.spec.datamover ?? "");
  const pod = await client.find(pods, key);
  if (pod !== undefined) {
    const foreign = notOurs(pod, upload);
    if (foreign !== undefined) return foreign;
    const reason = unrecoverableReason(pod);
    if (reason !== undefined) return { state: "unrecoverable", message: reason };
    if (pod.status?.phase === "Running" || pod.status?.phase === "Succeeded") {
      const ready = mover === undefined ? await repository.ready() : done;
      return "state" in ready ? ready : done;
    }
    return (await unboundReason(deps, pod, waitingUpload(upload, deps))) ?? startingWork(deps, pod);
  }
  const claim = await client.find(persistentVolumeClaims, key);
  if (claim === undefined) return snapshotHandover(deps, upload);
  const foreign = notOurs(claim, upload);
  if (foreign !== undefined) return foreign;
  const secret = await client.find(secrets, key);
  if (secret === undefined && mover !== undefined) {
    const missing = await missingFiles(client, namespace, mover);
    if (missing !== undefined) return failed(missing);
    const built = await buildRequestSecret(client, requestFor(upload, claim.spec.volumeMode ?? "Filesystem", namespace));
    return act(`create secret "${namespace}/${name}"`, () => client.create(secrets, built));
  }
  if (secret === undefined) {
    const found = repository.underWay() ?? (await repository.ready());
    if ("state" in found) return found;
    const built = await buildMoverSecret(client, {
      name,
      namespace,
      annotations: epochAnnotations(upload),
      owner: controllerReference(dataUploads, upload),
      label: LABELS.dataUpload,
      random: deps.random,
      locationName: upload.spec.backupStorageLocation,
      repository: found,
    });
    return act(`create secret "${namespace}/${name}"`, () => client.create(secrets, built));
  }
  const before = notOurs(secret, upload) ?? (await freeSource(deps, upload));
  if (before !== undefined) return before;
  const first = deps.startsAfter?.(upload);
  if (first !== undefined) return waitAlone(first, GIVE_WAY_RECHECK_MS);
  const wanted = await buildPod(deps, upload, claim);
  return act(`create pod "${namespace}/${name}"`, () => client.create(pods, wanted));
}

/** What a registered mover is told of an upload. */
function requestFor(upload: DataUpload, mode: "Filesystem" | "Block", namespace: string): RequestSecretOptions {
  const { name = "", uid = "" } = upload.metadata;
  const { datamover: mover = "", dataMoverConfig, sourceNamespace, sourcePVC, backupStorageLocation } = upload.spec;
  return {
    name,
    namespace,
    annotations: epochAnnotations(upload),
    owner: controllerReference(dataUploads, upload),
    label: LABELS.dataUpload,
    target: { kind: LOCATION_TARGET, name: backupStorageLocation },
    request: {
      operation: "backup",
      mover,
      id: uid,
      source: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: sourceNamespace, name: sourcePVC, volume: { path: `/${uid}`, mode } },
      parameters: dataMoverConfig ?? {},
      about: { apiVersion: "velero.io/v2alpha1", kind: "DataUpload", namespace, name, uid },
    },
  };
}

/** From the source snapshot to the backup PVC. */
async function snapshotHandover(deps: ExposerDeps, upload: DataUpload): Promise<Work> {
  const { client, namespace } = deps;
  const name = upload.metadata.name ?? "";
  const sourceKey = { namespace: upload.spec.sourceNamespace, name: upload.spec.csiSnapshot?.volumeSnapshot ?? "" };
  if (upload.spec.snapshotType !== "CSI" || sourceKey.name === "") {
    return failed(`snapshot type "${upload.spec.snapshotType}" cannot be exposed: spec.csiSnapshot of type "CSI" is wanted`);
  }
  const content = await client.find(volumeSnapshotContents, { name });
  const source = await client.find(volumeSnapshots, sourceKey);
  if (content === undefined) return takeOver(deps, upload, source, `${sourceKey.namespace}/${sourceKey.name}`);
  const owner = content.metadata.annotations?.[MOVEMENT_ANNOTATIONS.ownerUid];
  if (owner !== undefined && owner !== upload.metadata.uid) return failed(`volume snapshot content "${name}" is there already and belongs to something else`);
  const snapshot = await client.find(volumeSnapshots, { namespace, name });
  const foreignSnapshot = notItsSnapshot(snapshot, name);
  if (foreignSnapshot !== undefined) return foreignSnapshot;
  if (snapshot === undefined && content.spec.volumeSnapshotRef.uid === undefined) {
    const wanted = buildBackupSnapshot(deps, upload, content, source);
    return act(`create volume snapshot "${namespace}/${name}"`, () => client.create(volumeSnapshots, wanted));
  }
  const kept = await keepStorageSnapshot(deps, content, source);
  if (kept !== undefined) return kept;
  const told = snapshot === undefined ? undefined : await tellReadiness(deps, content, snapshot);
  if (told !== undefined) return told;
  const copy = await readyCopy(deps, upload);
  if ("state" in copy) return copy;
  const next = (await unreadySource(deps, content, source)) ?? (await backupCopies(deps, upload));
  if (next !== undefined) return next;
  const wanted = await buildClaim(deps, upload, content, copy);
  return act(`create persistent volume claim "${namespace}/${name}"`, () => client.create(persistentVolumeClaims, wanted));
}

async function takeOver(deps: ExposerDeps, upload: DataUpload, source: VolumeSnapshot | undefined, sourceName: string): Promise<Work> {
  const { client, namespace } = deps;
  const name = upload.metadata.name ?? "";
  if (source === undefined) return failed(`volume snapshot "${sourceName}" is not there`);
  const boundName = source.status?.boundVolumeSnapshotContentName;
  const recheckMs = recheckAfterMs(steadyAgeMs(deps.clock, `cut of ${source.metadata.uid}`));
  if (boundName === undefined) return wait(`volume snapshot "${sourceName}" to be cut${complaintOf(source)}`, recheckMs);
  const sourceContent = await client.find(volumeSnapshotContents, { name: boundName });
  if (sourceContent === undefined) return failed(`volume snapshot content "${boundName}" of "${sourceName}" is not there`);
  const handle = sourceContent.status?.snapshotHandle;
  if (handle === undefined) return wait(`volume snapshot content "${boundName}" to have a handle${complaintOf(sourceContent)}`, recheckMs);
  const { sourceNamespace, sourcePVC, csiSnapshot } = upload.spec;
  const claim = await client.find(persistentVolumeClaims, { namespace: sourceNamespace, name: sourcePVC });
  const refusal = await windowsRefusal(deps, `the backup of "${sourceNamespace}/${sourcePVC}"`, claim, csiSnapshot?.storageClass ?? "");
  if (refusal !== undefined) return refusal;
  // Velero's node-agent makes it first.
  const snapshot = await client.find(volumeSnapshots, { namespace, name });
  const foreign = notItsSnapshot(snapshot, name);
  if (foreign !== undefined) return foreign;
  const wanted = buildBackupContent(deps, upload, { source, sourceContent, snapshot, handle });
  return act(`create volume snapshot content "${name}"`, () => client.create(volumeSnapshotContents, wanted));
}

function notItsSnapshot(snapshot: VolumeSnapshot | undefined, contentName: string): Work | undefined {
  if (snapshot === undefined || snapshot.spec.source.volumeSnapshotContentName === contentName) return undefined;
  return failed(`volume snapshot "${snapshot.metadata.namespace}/${snapshot.metadata.name}" is there already and belongs to something else`);
}

function buildBackupSnapshot(deps: ExposerDeps, upload: DataUpload, content: VolumeSnapshotContent, source: VolumeSnapshot | undefined): VolumeSnapshot {
  const name = upload.metadata.name ?? "";
  const className = source?.spec.volumeSnapshotClassName ?? content.spec.volumeSnapshotClassName;
  return {
    metadata: {
      name,
      namespace: deps.namespace,
      finalizers: SNAPSHOT_FINALIZERS,
      annotations: { ...source?.metadata.annotations, [MOVEMENT_ANNOTATIONS.ownerUid]: upload.metadata.uid ?? "" },
    },
    spec: { source: { volumeSnapshotContentName: name }, ...(className === undefined ? {} : { volumeSnapshotClassName: className }) },
  };
}

interface ContentParts {
  readonly source: VolumeSnapshot;
  readonly sourceContent: VolumeSnapshotContent;
  /** That it is bound to; undefined for one that is yet to be made, or for none. */
  readonly snapshot: VolumeSnapshot | undefined;
  readonly handle: string;
}

function buildBackupContent(deps: ExposerDeps, upload: DataUpload, { source, sourceContent, snapshot, handle }: ContentParts): VolumeSnapshotContent {
  const name = upload.metadata.name ?? "";
  const managedBy = sourceContent.metadata.labels?.[MANAGED_BY];
  const { uid, resourceVersion } = snapshot?.metadata ?? {};
  const restoreSize = source.status?.restoreSize;
  const { sourceVolumeMode } = sourceContent.spec;
  return {
    metadata: {
      name,
      finalizers: [CONTENT_FINALIZER],
      annotations: {
        ...lasting(sourceContent.metadata.annotations),
        [MOVEMENT_ANNOTATIONS.ownerUid]: upload.metadata.uid ?? "",
        [MOVEMENT_ANNOTATIONS.sourceContent]: sourceContent.metadata.name ?? "",
        ...(restoreSize === undefined ? {} : { [MOVEMENT_ANNOTATIONS.restoreSize]: String(restoreSize) }),
        ...(sourceVolumeMode === undefined ? {} : { [MOVEMENT_ANNOTATIONS.sourceVolumeMode]: sourceVolumeMode }),
        ...(movesDevices(upload.spec.datamover) ? { [ALLOW_MODE_CHANGE]: "true" } : {}),
      },
      ...(managedBy === undefined ? {} : { labels: { [MANAGED_BY]: managedBy } }),
    },
    spec: {
      deletionPolicy: "Delete",
      driver: sourceContent.spec.driver,
      source: { snapshotHandle: handle },
      volumeSnapshotRef: {
        name,
        namespace: deps.namespace,
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      ...(sourceContent.spec.volumeSnapshotClassName === undefined ? {} : { volumeSnapshotClassName: sourceContent.spec.volumeSnapshotClassName }),
    },
  };
}

/** Annotations by which the snapshot sidecar knows what it is in the middle of; a copy would tell it that about the copy. */
function lasting(annotations: Readonly<Record<string, string>> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => !/\/volumesnapshot-being-(created|deleted)$/.test(key)));
}

/** The content that the backup's own has taken the snapshot over from. Without the annotation it was made by Velero's own node-agent, which this one replaced in the middle. */
function sourceContentOf(content: VolumeSnapshotContent, source: VolumeSnapshot | undefined): string | undefined {
  return content.metadata.annotations?.[MOVEMENT_ANNOTATIONS.sourceContent] ?? source?.status?.boundVolumeSnapshotContentName;
}

/** Sets the source content to Retain, so that nothing can take the storage snapshot with it; undefined once that is so. */
async function keepStorageSnapshot({ client }: ExposerDeps, content: VolumeSnapshotContent, source: VolumeSnapshot | undefined): Promise<Work | undefined> {
  const name = sourceContentOf(content, source);
  const found = name === undefined ? undefined : await client.find(volumeSnapshotContents, { name });
  if (name === undefined || found === undefined || found.spec.deletionPolicy === "Retain") return undefined;
  return act(`keep the storage snapshot of volume snapshot content "${name}"`, () =>
    client.patch(volumeSnapshotContents, { name }, "merge", { spec: { deletionPolicy: "Retain" } }),
  );
}

/** What the snapshot was taken over from has to go, which is all that is waited for; undefined once it has. */
async function freeSource(deps: ExposerDeps, upload: DataUpload): Promise<Work | undefined> {
  const { client } = deps;
  const { sourceNamespace: namespace, csiSnapshot } = upload.spec;
  const content = await client.find(volumeSnapshotContents, { name: upload.metadata.name ?? "" });
  const source = await client.find(volumeSnapshots, { namespace, name: csiSnapshot?.volumeSnapshot ?? "" });
  return content === undefined ? undefined : disposeOfSource(deps, content, source, { asked: true });
}

/** Deletes the source's VolumeSnapshot, then its content, whose storage snapshot is kept; undefined once both are gone. */
async function disposeOfSource(
  deps: ExposerDeps,
  content: VolumeSnapshotContent,
  source: VolumeSnapshot | undefined,
  options: Pick<RemovalOptions, "asked"> = {},
): Promise<Work | undefined> {
  const sourceContentName = sourceContentOf(content, source);
  if (sourceContentName === undefined) return undefined;
  const kept = await keepStorageSnapshot(deps, content, source);
  if (kept !== undefined) return kept;
  const sourceContent = await deps.client.find(volumeSnapshotContents, { name: sourceContentName });
  if (source !== undefined && source.status?.boundVolumeSnapshotContentName === sourceContentName) {
    const { namespace, name } = source.metadata;
    const work = await removal(deps, volumeSnapshots, { namespace, name: name ?? "" }, options);
    if (work !== undefined) return work;
  }
  return sourceContent === undefined ? undefined : removal(deps, volumeSnapshotContents, { name: sourceContentName }, options);
}

/**
 * Binds the backup's own pair and says on its VolumeSnapshot what the driver says on the content. A snapshot controller does just that, by three requests that each wait for those of all other
 * snapshots: whoever comes second finds nothing to do. Nobody depends on it: what this agent may not write, or the driver takes longer to say, is left to the snapshot controller.
 */
async function tellReadiness(deps: ExposerDeps, found: VolumeSnapshotContent, snapshot: VolumeSnapshot): Promise<Work | undefined> {
  const { client, clock, refused = new Set() } = deps;
  const { namespace, name = "", uid } = snapshot.metadata;
  // What a snapshot controller complains of is its own to see to.
  const isTold = [snapshot, deps.snapshots?.get({ namespace, name })].some((known) => known?.status?.readyToUse === true || known?.status?.error !== undefined);
  // One without them, of Velero's node-agent, would go without its content.
  const isHeld = SNAPSHOT_FINALIZERS.every((finalizer) => hasFinalizer(snapshot, finalizer));
  if (isTold || !isHeld || uid === undefined || refused.has(READINESS)) return undefined;
  const boundTo = found.spec.volumeSnapshotRef.uid;
  if (boundTo === undefined) {
    const bound = { spec: { volumeSnapshotRef: { uid } } };
    return act(`bind volume snapshot content "${name}"`, () => client.patch(volumeSnapshotContents, { name }, "merge", bound));
  }
  const ageMs = steadyAgeMs(clock, `readiness of ${uid}`);
  if (boundTo !== uid || ageMs > TELL_READINESS_MS) return undefined;
  const content = found.status?.readyToUse === true ? found : await findAnew(client, volumeSnapshotContents, { name });
  const { readyToUse, creationTime, restoreSize } = content?.status ?? {};
  if (readyToUse !== true) return waitAlone(`volume snapshot "${namespace}/${name}" to be ready`, recheckAfterMs(ageMs));
  const status = {
    boundVolumeSnapshotContentName: name,
    readyToUse,
    ...(creationTime === undefined ? {} : { creationTime: formatTime(creationTime / 1_000_000) }),
    ...(restoreSize === undefined ? {} : { restoreSize: bytesQuantity(BigInt(restoreSize)) }),
  };
  return act(`say that volume snapshot "${namespace}/${name}" is ready`, async () => {
    try {
      await client.patchStatus(volumeSnapshots, { namespace, name }, "merge", { metadata: { uid }, status });
    } catch (error) {
      if (!hasCode(error, "KUBE_FORBIDDEN")) throw error;
      refused.add(READINESS);
    }
  });
}

/**
 * The backup's own VolumeSnapshot once a volume can be made from it. A provisioner refuses a claim of one that is not ready, and comes back to it after a second, after two and after four.
 */
async function readyCopy(deps: ExposerDeps, upload: DataUpload): Promise<VolumeSnapshot | Work> {
  const { client, clock, namespace, snapshots } = deps;
  const key = { namespace, name: upload.metadata.name ?? "" };
  const known = await client.find(volumeSnapshots, key);
  if (known?.status?.readyToUse === true) return known;
  const watched = snapshots?.get(key);
  const copy = watched ?? (await findAnew(client, volumeSnapshots, key));
  if (copy === undefined) return failed(`volume snapshot "${namespace}/${key.name}" was made and is gone`);
  if (copy.status?.readyToUse === true) return copy;
  const recheckMs = watched === undefined ? recheckAfterMs(steadyAgeMs(clock, `readiness of ${copy.metadata.uid}`)) : WATCHED_RECHECK_MS;
  return waitAlone(`volume snapshot "${namespace}/${key.name}" to be ready${complaintOf(copy)}`, recheckMs);
}

/**
 * What is said while the snapshot that it is a copy of is not ready: a driver that cannot tell how far one is calls each copy of it ready. Its content is told that by the driver, and the
 * VolumeSnapshot later, by the snapshot controller.
 */
async function unreadySource({ client, clock }: ExposerDeps, copy: VolumeSnapshotContent, source: VolumeSnapshot | undefined): Promise<Work | undefined> {
  const sourceContentName = sourceContentOf(copy, source);
  if (source === undefined || source.status?.readyToUse === true || sourceContentName === undefined) return undefined;
  const { namespace, name = "", uid } = source.metadata;
  const known = await client.find(volumeSnapshotContents, { name: sourceContentName });
  if (known === undefined || known.status?.readyToUse === true) return undefined;
  const content = await findAnew(client, volumeSnapshotContents, { name: sourceContentName });
  if (content === undefined || content.status?.readyToUse === true) return undefined;
  return waitAlone(`volume snapshot "${namespace}/${name}" to be ready${complaintOf(content)}`, recheckAfterMs(steadyAgeMs(clock, `readiness of ${uid}`)));
}

function complaintOf({ status }: VolumeSnapshot | VolumeSnapshotContent): string {
  return status?.error?.message === undefined ? "" : `: ${status.error.message}`;
}

/** Before the claim, whose storage looks for them at once. */
function backupCopies(deps: ExposerDeps, upload: DataUpload): Promise<Work | undefined> {
  const sourceClass = upload.spec.csiSnapshot?.storageClass ?? "";
  const { secretNames = [], configMapNames = [] } = deps.config.backupPVC?.[sourceClass] ?? {};
  return tenantCopies(deps, {
    secretNames,
    configMapNames,
    from: upload.spec.sourceNamespace,
    owner: upload,
    ownerType: dataUploads,
    namedBy: `backupPVC["${sourceClass}"]`,
    missing: "failed",
  });
}

async function buildClaim(deps: ExposerDeps, upload: DataUpload, content: VolumeSnapshotContent, copy: VolumeSnapshot): Promise<PersistentVolumeClaim> {
  const { client, namespace, config } = deps;
  const name = upload.metadata.name ?? "";
  const source = await client.find(persistentVolumeClaims, { namespace: upload.spec.sourceNamespace, name: upload.spec.sourcePVC });
  const sourceClass = upload.spec.csiSnapshot?.storageClass ?? "";
  const override = config.backupPVC?.[sourceClass];
  const sizes = [content.metadata.annotations?.[MOVEMENT_ANNOTATIONS.restoreSize], copy.status?.restoreSize, content.status?.restoreSize];
  const restoreSize = sizes.map(bytesOf).find((bytes) => bytes > 0);
  // A driver that does not tell the size (0) leaves the claim's own.
  const storage = restoreSize === undefined ? source?.spec.resources?.requests?.["storage"] : bytesQuantity(restoreSize);
  // The application's claim may have been deleted since its snapshot was made.
  const sourceMode = content.metadata.annotations?.[MOVEMENT_ANNOTATIONS.sourceVolumeMode] === "Block" ? "Block" : undefined;
  const volumeMode = modeForMover(upload.spec.datamover, source?.spec.volumeMode ?? sourceMode);
  const annotations = { ...override?.annotations, ...epochAnnotations(upload) };
  return {
    metadata: {
      name,
      namespace,
      ownerReferences: [controllerReference(dataUploads, upload)],
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    spec: {
      accessModes: [override?.readOnly === true ? "ReadOnlyMany" : "ReadWriteOnce"],
      ...(storage === undefined ? {} : { resources: { requests: { storage } } }),
      // Nothing provisions for a class without a name, so an empty one says nothing, as in Velero.
      storageClassName: override?.storageClass || sourceClass,
      volumeMode,
      dataSource: { apiGroup: SNAPSHOT_GROUP, kind: "VolumeSnapshot", name },
    },
  };
}

/** Of a size in a status, which is a quantity on a VolumeSnapshot and a number on its content; 0 for none. */
function bytesOf(size: number | string | undefined): bigint {
  return (parseQuantity(String(size ?? ""))?.nanos ?? 0n) / 1_000_000_000n;
}

async function buildPod(deps: ExposerDeps, upload: DataUpload, claim: PersistentVolumeClaim): Promise<ReturnType<typeof buildHostingPod>> {
  const name = upload.metadata.name ?? "";
  const uid = upload.metadata.uid ?? "";
  const volumeMode = claim.spec.volumeMode ?? "Filesystem";
  const topology = await sourceTopology(deps, upload);
  const mover = deps.moverOf?.(upload.spec.datamover ?? "");
  const readOnly = claim.spec.accessModes?.includes("ReadOnlyMany") ?? false;
  const changedBlocks = volumeMode === "Block" && mover === undefined ? await changedBlocksParts(deps, upload) : undefined;
  return buildHostingPod(deps, {
    name,
    uid,
    owner: controllerReference(dataUploads, upload),
    label: LABELS.dataUpload,
    group: "snapshot-exposer",
    ...(mover === undefined ? {} : { program: programOf(mover, "backup") }),
    command: ["data-mover", "backup"],
    args: [`--volume-path=/${uid}`, `--volume-mode=${volumeMode}`, `--data-upload=${name}`, `--resource-timeout=${upload.spec.operationTimeout}`],
    volumeMode,
    epoch: epochAnnotations(upload),
    readOnly,
    // What is mounted read-only cannot be relabeled; a volume that can be is, as its pod's isolation wants.
    noRelabeling: readOnly && deps.config.backupPVC?.[upload.spec.csiSnapshot?.storageClass ?? ""]?.spcNoRelabeling === true,
    storageClass: claim.spec.storageClassName,
    ...(topology === undefined ? {} : { topology }),
    ...(changedBlocks === undefined ? {} : { changedBlocks }),
  });
}

/** Where the source volume may be used, when its class binds late: a copy of it can then be made only there. */
async function sourceTopology(deps: ExposerDeps, upload: DataUpload): Promise<NonNullable<PersistentVolume["spec"]["nodeAffinity"]>["required"]> {
  const { client } = deps;
  const storageClass = await client.find(storageClasses, { name: upload.spec.csiSnapshot?.storageClass ?? "" });
  if (storageClass?.volumeBindingMode !== "WaitForFirstConsumer") return undefined;
  const source = await client.find(persistentVolumeClaims, { namespace: upload.spec.sourceNamespace, name: upload.spec.sourcePVC });
  const volumeName = source?.spec.volumeName;
  if (volumeName === undefined || volumeName === "") return undefined;
  return (await client.find(persistentVolumes, { name: volumeName }))?.spec.nodeAffinity?.required;
}

/** Claim before snapshot: a VolumeSnapshot stays for as long as a claim is being made from it. */
export async function cleanUpSnapshot(deps: ExposerDeps, upload: DataUpload, endedForMs: number, mayHaveCopies: boolean): Promise<Work> {
  const { client, namespace } = deps;
  const name = upload.metadata.name ?? "";
  const patient = endedForMs < REMOVAL_PATIENCE_MS;
  const moverWork = await moverRemoval(deps, upload, { patient, claims: [name] });
  if (moverWork !== undefined) return moverWork;
  const sourceKey = { namespace: upload.spec.sourceNamespace, name: upload.spec.csiSnapshot?.volumeSnapshot ?? "" };
  try {
    // While it goes, its content does: that is looked at once it is gone, as it is then.
    const snapshot = await client.find(volumeSnapshots, { namespace, name });
    const isOurSnapshot = snapshot?.spec.source.volumeSnapshotContentName === name;
    const going = isOurSnapshot && isDeleting(snapshot) ? await removal(deps, volumeSnapshots, { namespace, name }) : undefined;
    if (going !== undefined && (going.state !== "wait" || patient)) return going;
    const isThere = isOurSnapshot && !isDeleting(snapshot);
    const content = await (isThere ? client.find(volumeSnapshotContents, { name }) : findAnew(client, volumeSnapshotContents, { name }));
    const source = sourceKey.name === "" ? undefined : await client.find(volumeSnapshots, sourceKey);
    const isOurs = content !== undefined && [undefined, upload.metadata.uid].includes(content.metadata.annotations?.[MOVEMENT_ANNOTATIONS.ownerUid]);
    const sourceWork = isOurs
      ? await disposeOfSource(deps, content, source)
      : source === undefined
        ? undefined
        : ((await memberTakeover(deps, upload, source)) ?? (await removal(deps, volumeSnapshots, sourceKey)));
    if (sourceWork !== undefined && (sourceWork.state !== "wait" || patient)) return sourceWork;
    const snapshotWork = isOurSnapshot && going === undefined ? await removal(deps, volumeSnapshots, { namespace, name }) : undefined;
    if (snapshotWork !== undefined && (snapshotWork.state !== "wait" || patient)) return snapshotWork;
    // The snapshot controller deletes it with its VolumeSnapshot; one that was never bound would stay, and one that the driver does not know yet would go without its snapshot.
    const isUnknown = isOurs && snapshot === undefined && hasFinalizer(content, CONTENT_FINALIZER) && content.status?.snapshotHandle === undefined;
    if (isUnknown && patient) return recognition(deps, content);
    const contentWork = isOurs ? await removal(deps, volumeSnapshotContents, { name }) : undefined;
    if (contentWork !== undefined && (contentWork.state !== "wait" || patient)) return contentWork;
  } catch (error) {
    // A cluster whose snapshot kinds are gone has no snapshots left to clean up.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
  // Asked for as a whole, so once: when everything else is gone.
  return (mayHaveCopies ? await tenantCopiesRemoval(deps, upload) : undefined) ?? done;
}

/** A content whose VolumeSnapshot went before the two were bound (retire-content.ts). */
function recognition({ client }: ExposerDeps, content: VolumeSnapshotContent): Work {
  const { name = "" } = content.metadata;
  const change = standingAlone(content);
  if (change === undefined) return wait(`volume snapshot content "${name}" to be known to its driver`);
  return act(`have volume snapshot content "${name}" stand for itself`, () => client.patch(volumeSnapshotContents, { name }, "merge", change));
}

/**
 * A snapshot that was cut with a group is its group's to the snapshotter (external-snapshotter 8.7), and its group is gone: deleting its VolumeSnapshot would leave it in the storage for
 * ever. A content that knows of no group takes it over, as it does when the data is moved, and is what the driver deletes it for. Undefined for any other.
 */
async function memberTakeover(deps: ExposerDeps, upload: DataUpload, source: VolumeSnapshot): Promise<Work | undefined> {
  const { client } = deps;
  const boundName = source.status?.boundVolumeSnapshotContentName;
  const sourceContent = boundName === undefined ? undefined : await client.find(volumeSnapshotContents, { name: boundName });
  const { snapshotHandle: handle, volumeGroupSnapshotHandle: group } = sourceContent?.status ?? {};
  if (sourceContent === undefined || handle === undefined || group === undefined) return undefined;
  const wanted = buildBackupContent(deps, upload, { source, sourceContent, snapshot: undefined, handle });
  return act(`take over snapshot "${handle}" of a group`, () => client.create(volumeSnapshotContents, wanted));
}
