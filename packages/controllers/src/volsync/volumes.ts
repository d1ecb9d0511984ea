/**
 * What is made of volumes for one synchronization. Each function looks and says what is next.
 *
 *   source:       Direct: the claim itself · Clone: claim ─► copy · Snapshot: claim ─► snapshot ─► copy
 *   destination:  a claim that is named, or one that is made ─► (Snapshot) an image of it
 *
 * Everything is owned by the object. Volumes and snapshots that are made for the time of a synchronization are set to go with their claim, whatever their class says.
 */
import { type ReplicationDestination, type ReplicationSource, VOLSYNC_OWNER_LABEL, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { hasCode, parseTime } from "@drayage/base";
import {
  controllerReference,
  isOwnedBy,
  type KubeClient,
  type KubeObject,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  type ResourceType,
} from "@drayage/kube";
import { act, done, failed, type Work, wait } from "../data-movement/work.ts";
import { awaitCopyTrigger, tellCopied } from "./copy-trigger.ts";
import {
  cacheName,
  copyMethodOf,
  DESTINATION,
  destinationName,
  isSource,
  type Replication,
  type ReplicationKind,
  SOURCE,
  sourceCopyName,
} from "./replication-kinds.ts";

/** A size where nothing else says one: VolSync's default of a cache. */
const CACHE_CAPACITY = "1Gi";

/** Towards the claim that the mover mounts. */
export async function volumeWork(client: KubeClient, object: Replication, nowMs: number): Promise<Work> {
  const work = await (isSource(object) ? sourceVolume(client, object, nowMs) : destinationVolume(client, object));
  return work.state === "done" ? await cacheVolume(client, isSource(object) ? SOURCE : DESTINATION, object) : work;
}

async function sourceVolume(client: KubeClient, source: ReplicationSource, nowMs: number): Promise<Work> {
  const method = copyMethodOf(source);
  if (method === "Direct") return done;
  const { namespace = "" } = source.metadata;
  const claim = await client.find(persistentVolumeClaims, { namespace, name: source.spec.sourcePVC ?? "" });
  // Without it there would be a fault.
  if (claim === undefined) return wait("the source claim");
  const name = sourceCopyName(source);
  const copy = await (method === "Clone" ? client.find(persistentVolumeClaims, { namespace, name }) : client.find(volumeSnapshots, { namespace, name }));
  const before = copy !== undefined ? undefined : awaitCopyTrigger(client, claim, nowMs);
  if (before !== undefined) return before;
  let size = claim.status?.capacity?.["storage"] ?? claim.spec.resources?.requests?.["storage"] ?? "";
  if (method === "Snapshot") {
    const snapshot = await snapshotWork(client, source, SOURCE, { name, claim: claim.metadata.name ?? "", isTemporary: true });
    if (snapshot.state !== "done") return snapshot;
    const told = tellCopied(client, claim);
    if (told !== undefined) return told;
    const { status } = await client.get(volumeSnapshots, { namespace, name });
    size = status?.restoreSize === undefined ? size : String(status.restoreSize);
  }
  const { capacity, accessModes, storageClassName } = source.spec.restic ?? {};
  const storageClass = storageClassName ?? claim.spec.storageClassName;
  const work = await claimWork(client, source, SOURCE, name, {
    accessModes: accessModes ?? claim.spec.accessModes ?? ["ReadWriteOnce"],
    resources: { requests: { storage: capacity === undefined ? size : String(capacity) } },
    ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
    volumeMode: "Filesystem",
    dataSource:
      method === "Clone"
        ? { kind: "PersistentVolumeClaim", name: claim.metadata.name ?? "" }
        : { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name },
  });
  if (method !== "Clone" || work.state !== "done") return work;
  // Many classes clone only with the first pod: the mover's.
  const isCloned = (await client.find(persistentVolumeClaims, { namespace, name }))?.status?.phase === "Bound";
  return (isCloned ? tellCopied(client, claim) : undefined) ?? work;
}

/** Once the mover is done its copy was made, also where nobody saw it: towards the owner of the claim being told. */
export async function copyTold(client: KubeClient, source: ReplicationSource): Promise<Work> {
  const claim = await sourceClaim(client, source);
  return (claim !== undefined ? tellCopied(client, claim) : undefined) ?? done;
}

/** The claim that a copy is made of; undefined where none is made. */
export async function sourceClaim(client: KubeClient, source: ReplicationSource): Promise<PersistentVolumeClaim | undefined> {
  if (copyMethodOf(source) === "Direct") return undefined;
  return await client.find(persistentVolumeClaims, { namespace: source.metadata.namespace ?? "", name: source.spec.sourcePVC ?? "" });
}

async function destinationVolume(client: KubeClient, destination: ReplicationDestination): Promise<Work> {
  const { destinationPVC = "", accessModes = [], capacity, storageClassName } = destination.spec.restic ?? {};
  if (destinationPVC !== "") return done;
  return await claimWork(client, destination, DESTINATION, destinationName(destination), {
    accessModes,
    resources: { requests: { storage: String(capacity) } },
    ...(storageClassName === undefined ? {} : { storageClassName }),
    volumeMode: "Filesystem",
  });
}

/** A claim for restic's copies of indexes, kept from one synchronization to the next, where the object says anything of one; our own reader and engine need none. */
async function cacheVolume(client: KubeClient, kind: ReplicationKind, object: Replication): Promise<Work> {
  if (!wantsCacheClaim(object)) return done;
  const { cacheCapacity, cacheAccessModes, cacheStorageClassName, storageClassName, accessModes } = object.spec.restic ?? {};
  const storageClass = cacheStorageClassName ?? storageClassName;
  return await claimWork(client, object, kind, cacheName(kind, object), {
    accessModes: [cacheAccessModes, accessModes].find((modes) => (modes ?? []).length > 0) ?? ["ReadWriteOnce"],
    resources: { requests: { storage: String(cacheCapacity ?? CACHE_CAPACITY) } },
    ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
    volumeMode: "Filesystem",
  });
}

export function wantsCacheClaim(object: Replication): boolean {
  const { cacheCapacity, cacheStorageClassName, cacheAccessModes } = object.spec.restic ?? {};
  return isSource(object) && (cacheCapacity !== undefined || cacheStorageClassName !== undefined || cacheAccessModes !== undefined);
}

/** Made, and once bound its volume set to go with it unless it stays. Not waited for: many classes bind with the first pod. */
async function claimWork(client: KubeClient, object: Replication, kind: ReplicationKind, name: string, spec: PersistentVolumeClaim["spec"]): Promise<Work> {
  const { namespace = "" } = object.metadata;
  const claim = await client.find(persistentVolumeClaims, { namespace, name });
  if (claim === undefined) {
    const wanted: PersistentVolumeClaim = { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: childMetadata(object, kind, name), spec };
    return act(`create persistent volume claim "${namespace}/${name}"`, () => client.create(persistentVolumeClaims, wanted));
  }
  if (!isOwnedBy(claim, object)) return failed(`Persistent volume claim "${namespace}/${name}" is there already and belongs to something else`);
  const volumeName = claim.spec.volumeName ?? "";
  if (volumeName === "" || name !== sourceCopyName(object)) return done;
  const volume = await client.find(persistentVolumes, { name: volumeName });
  if (volume === undefined || volume.spec.persistentVolumeReclaimPolicy === "Delete" || volume.spec.claimRef?.uid !== claim.metadata.uid) return done;
  return act(`make the volume "${volumeName}" go with its claim`, () =>
    client.patch(persistentVolumes, { name: volumeName }, "merge", { spec: { persistentVolumeReclaimPolicy: "Delete" } }),
  );
}

interface WantedSnapshot {
  readonly name: string;
  readonly claim: string;
  /** Goes with the synchronization, and so does what the storage keeps of it. */
  readonly isTemporary: boolean;
}

async function snapshotWork(client: KubeClient, object: Replication, kind: ReplicationKind, { name, claim, isTemporary }: WantedSnapshot): Promise<Work> {
  const { namespace = "" } = object.metadata;
  const snapshot = await client.find(volumeSnapshots, { namespace, name });
  if (snapshot === undefined) {
    const className = object.spec.restic?.volumeSnapshotClassName;
    const wanted = {
      apiVersion: "snapshot.storage.k8s.io/v1",
      kind: "VolumeSnapshot",
      metadata: childMetadata(object, kind, name),
      spec: { source: { persistentVolumeClaimName: claim }, ...(className === undefined ? {} : { volumeSnapshotClassName: className }) },
    };
    return act(`create volume snapshot "${namespace}/${name}"`, () => client.create(volumeSnapshots, wanted));
  }
  if (!isOwnedBy(snapshot, object)) return failed(`Volume snapshot "${namespace}/${name}" is there already and belongs to something else`);
  const contentName = snapshot.status?.boundVolumeSnapshotContentName ?? "";
  const content = contentName === "" ? undefined : await client.find(volumeSnapshotContents, { name: contentName });
  if (isTemporary && content !== undefined && content.spec.deletionPolicy !== "Delete") {
    return act(`make the snapshot "${contentName}" go with its object`, () =>
      client.patch(volumeSnapshotContents, { name: contentName }, "merge", { spec: { deletionPolicy: "Delete" } }),
    );
  }
  if (snapshot.status?.readyToUse === true) return done;
  const message = snapshot.status?.error?.message;
  return wait(`snapshot "${namespace}/${name}" to be ready${message === undefined ? "" : `: ${message}`}`);
}

function childMetadata(object: Replication, kind: ReplicationKind, name: string): KubeObject["metadata"] {
  return {
    namespace: object.metadata.namespace ?? "",
    name,
    labels: { [VOLSYNC_OWNER_LABEL]: object.metadata.uid ?? "" },
    ownerReferences: [controllerReference(kind.type, object)],
  };
}

/** `<claim>-<yyyymmddhhmmss>` of the synchronization's start, as VolSync names it: the same after a crash. */
export function imageName(claim: string, startedMs: number): string {
  const digits = new Date(startedMs).toISOString().replace(/\D/g, "").slice(0, 14);
  return `${claim.slice(0, 238)}-${digits}`;
}

/** Towards the state that arrived as an image: a snapshot, or the claim itself. */
export async function imageWork(client: KubeClient, object: Replication, claim: string, startedMs: number): Promise<Work> {
  if (isSource(object) || copyMethodOf(object) !== "Snapshot") return done;
  return await snapshotWork(client, object, DESTINATION, { name: imageName(claim, startedMs), claim, isTemporary: false });
}

/** What is left of synchronizations that are over: copies of a source, images that another has taken the place of. */
export async function volumeTraces(client: KubeClient, object: Replication): Promise<readonly { readonly type: ResourceType; readonly object: KubeObject }[]> {
  const { namespace = "" } = object.metadata;
  const labelSelector = `${VOLSYNC_OWNER_LABEL}=${object.metadata.uid ?? ""}`;
  const kept = new Set<string>();
  if (!isSource(object)) {
    const { cleanupTempPVC } = object.spec.restic ?? {};
    const image = object.status?.latestImage;
    // The claim that was filled is filled again, unless it is to go; one that is itself the image stays in any case.
    if (cleanupTempPVC !== true || image?.kind === "PersistentVolumeClaim") kept.add(`PersistentVolumeClaim/${destinationName(object)}`);
    if (image !== undefined) kept.add(`${image.kind}/${image.name}`);
  } else {
    kept.add(`PersistentVolumeClaim/${cacheName(SOURCE, object)}`);
  }
  const found: { type: ResourceType; object: KubeObject }[] = [];
  for (const type of [persistentVolumeClaims, volumeSnapshots] as readonly unknown[] as readonly ResourceType[]) {
    try {
      const { items } = await client.list(type, { namespace, labelSelector });
      found.push(...items.filter(({ metadata }) => !kept.has(`${type.kind}/${metadata.name}`)).map((one) => ({ type, object: one })));
    } catch (error) {
      // A cluster without snapshots.
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
  return found;
}

/** When a synchronization began that is under way. */
export function startedMsOf({ status }: Replication): number | undefined {
  return parseTime(status?.lastSyncStartTime);
}
