/**
 * What movers left behind: objects made for a DataUpload, DataDownload, PodVolumeBackup or PodVolumeRestore that is gone. Their controllers remove such things themselves; what is found here outlived them,
 * as when an installation was deleted in the middle. Snapshots that backups keep are not looked at: the bucket may know a backup that this cluster does not.
 */
import { LABELS, podVolumeBackups, podVolumeRestores, validLabelValue, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { type Clock, DrayError, hasCode, parseTime } from "@drayage/base";
import { isForsaken, MOVEMENT_ANNOTATIONS, retireContent } from "@drayage/controllers";
import { isDeleting, type KubeClient, type KubeObject, keyOf, type ObjectKey, persistentVolumeClaims, pods, type ResourceType, secrets } from "@drayage/kube";
import { type DoctorContext, FRESH_MS, type Question } from "./finding.ts";
import { MOVEMENTS } from "./movements.ts";

export interface Orphan {
  readonly type: ResourceType<KubeObject>;
  readonly key: ObjectKey;
  readonly uid: string | undefined;
  /** The name of what it was made for. */
  readonly madeFor: string;
  /** It was deleted, and never goes by itself. */
  readonly isStuck?: boolean;
}

const DRIVER_RETRY_MS = 1_000;
const DRIVER_TRIES = 30;
const OWNERS: readonly ResourceType<KubeObject>[] = [...(MOVEMENTS as readonly unknown[] as ResourceType<KubeObject>[]), podVolumeBackups, podVolumeRestores];
const POD_LABELS = [LABELS.dataUpload, LABELS.dataDownload, LABELS.podVolumeBackup, LABELS.podVolumeRestore];

/** Looks through the namespace of the installation, and through the snapshot contents of the cluster. Throws KubeError. */
export async function findOrphans(context: DoctorContext): Promise<readonly Orphan[]> {
  const { client, namespace, nowMs, signal } = context;
  const living = await livingOwners(context);
  const orphans: Orphan[] = [];
  const look = (type: ResourceType<KubeObject>, object: KubeObject, madeFor: string | undefined, isStuck = false): void => {
    const ageMs = nowMs - (parseTime(object.metadata.creationTimestamp) ?? nowMs);
    if (madeFor === undefined || living.has(madeFor) || ageMs < FRESH_MS || (object.metadata.deletionTimestamp !== undefined && !isStuck)) return;
    orphans.push({ type, key: keyOf(object), uid: object.metadata.uid, madeFor, ...(isStuck ? { isStuck } : {}) });
  };
  for await (const pod of client.listAll(pods, { namespace, signal }))
    look(
      pods,
      pod,
      POD_LABELS.map((label) => pod.metadata.labels?.[label]).find((name) => name !== undefined),
    );
  for (const type of [persistentVolumeClaims, secrets] as ResourceType<KubeObject>[])
    for await (const object of listed(client, type, namespace, signal)) look(type, object, ownerOf(object));
  for await (const snapshot of listed(client, volumeSnapshots, namespace, signal)) look(volumeSnapshots, snapshot, movedCopy(snapshot));
  for await (const content of listed(client, volumeSnapshotContents, undefined, signal)) {
    const reference = content.spec.volumeSnapshotRef;
    // The copy a mover makes is named like its snapshot; contents of other installations in this cluster are theirs.
    if (reference?.namespace !== namespace) continue;
    const madeFor = movedCopy(content) ?? (reference.name === content.metadata.name ? reference.name : undefined);
    look(volumeSnapshotContents, content, madeFor, isDeleting(content) && reference.uid !== undefined && (await isForsaken(client, content)));
  }
  return orphans;
}

/**
 * Deletes one, unless it is another object by now. Resolves to whether it was there. Throws KubeError; TIMED_OUT for a snapshot content that its driver does not say it knows: without that it
 * would go, and leave its snapshot in the storage.
 */
export async function removeOrphan(client: KubeClient, { type, key, uid }: Orphan, clock: Clock): Promise<boolean> {
  if (type.plural !== volumeSnapshotContents.plural) return await client.delete(type, key, uid === undefined ? {} : { preconditions: { uid } });
  for (let tries = 0; tries < DRIVER_TRIES; tries++) {
    const content = await client.find(volumeSnapshotContents, key);
    if (content === undefined || content.metadata.uid !== uid) return tries > 0;
    if (await retireContent(client, content)) return true;
    await clock.sleep(DRIVER_RETRY_MS);
  }
  throw new DrayError("TIMED_OUT", `Cannot delete volume snapshot content "${key.name}" yet: its driver has not said that it knows its snapshot`, {
    hint: "See that the driver's snapshotter runs, and try again.",
  });
}

export const orphans: Question["ask"] = async (context) => {
  const found = await findOrphans(context);
  if (found.length === 0) return [{ severity: "ok", what: "Nothing was left behind by movers" }];
  return found.map(({ type, key, madeFor, isStuck }) => ({
    severity: "warning",
    what: `${type.kind} "${key.name}" belongs to nobody`,
    why: `It was made for "${madeFor}", which is gone${isStuck === true ? "; it was deleted, and stays since its VolumeSnapshot went before it" : ""}.`,
    fix: "dray doctor --remove-orphans",
  }));
};

async function livingOwners({ client, namespace, signal }: DoctorContext): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  for (const type of OWNERS)
    for await (const { metadata } of listed(client, type, namespace, signal))
      for (const name of [metadata.name ?? "", validLabelValue(metadata.name ?? "")]) names.add(name);
  return names;
}

/** Objects of a kind; none where the kind is not installed. */
async function* listed<T extends KubeObject>(client: KubeClient, type: ResourceType<T>, namespace: string | undefined, signal: AbortSignal): AsyncIterable<T> {
  try {
    yield* client.listAll(type, { ...(namespace === undefined ? {} : { namespace }), signal });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

const ownerOf = ({ metadata }: KubeObject): string | undefined =>
  metadata.ownerReferences?.find(({ kind, controller }) => controller === true && OWNERS.some((type) => type.kind === kind))?.name;

/** The DataUpload whose copy of a snapshot this is: it carries that one's UID and has its name. */
const movedCopy = ({ metadata }: KubeObject): string | undefined =>
  metadata.annotations?.[MOVEMENT_ANNOTATIONS.ownerUid] === undefined ? undefined : metadata.name;
