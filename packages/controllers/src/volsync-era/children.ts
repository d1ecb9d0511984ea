/** Objects that exist only while the data of one volume moves: made once under a name of their own, recognised, and taken away with everything that hangs on them. */
import { VSM_OWNER_ANNOTATIONS, validLabelValue } from "@drayage/api";
import { type Clock, hasCode } from "@drayage/base";
import {
  groupResourceOf,
  type KubeClient,
  type KubeObject,
  type ObjectKey,
  type ObjectMeta,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  type ResourceType,
} from "@drayage/kube";
import { act, failed, type Work, wait } from "../data-movement/work.ts";
import { removal } from "../exposers/intermediate-objects.ts";

export interface ChildDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Where they are: the protected namespace. */
  readonly namespace: string;
}

/** Of a VolumeSnapshotBackup or VolumeSnapshotRestore. */
export interface Parent {
  readonly owner: KubeObject;
  readonly annotation: (typeof VSM_OWNER_ANNOTATIONS)["volumeSnapshotBackup" | "volumeSnapshotRestore"];
  readonly label: string;
}

/** Metadata of a child: it says whose it is by OADP's label, and by annotations that no other object of that name can have. */
export function childMetadata({ owner, annotation, label }: Parent, key: ObjectKey): ObjectMeta {
  const { name = "", namespace = "", uid = "" } = owner.metadata;
  return {
    name: key.name,
    ...(key.namespace === undefined ? {} : { namespace: key.namespace }),
    labels: { [label]: validLabelValue(name) },
    annotations: { [annotation]: `${namespace}/${name}`, [VSM_OWNER_ANNOTATIONS.uid]: uid },
  };
}

export function isChildOf({ metadata }: KubeObject, { owner }: Parent): boolean {
  return metadata.annotations?.[VSM_OWNER_ANNOTATIONS.uid] === (owner.metadata.uid ?? "");
}

/** Makes it where it is not there; `undefined` once it is and is ours. */
export async function ensured<T extends KubeObject>(
  { client }: ChildDeps,
  parent: Parent,
  { type, key, found, build }: { readonly type: ResourceType<T>; readonly key: ObjectKey; readonly found: T | undefined; readonly build: () => T | Promise<T> },
): Promise<Work | undefined> {
  const what = `${groupResourceOf(type)} "${key.namespace === undefined ? "" : `${key.namespace}/`}${key.name}"`;
  if (found === undefined) {
    const wanted = await build();
    return act(`create ${what}`, async () => {
      try {
        await client.create(type, wanted);
      } catch (error) {
        // Ours, or somebody else's: the next look says which.
        if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
      }
    });
  }
  if (!isChildOf(found, parent)) return failed(`${what} is there already and belongs to something else`);
  return found.metadata.deletionTimestamp === undefined ? undefined : wait(`${what}, which is being deleted, to be gone`);
}

/** Takes one away that is ours; `undefined` once it is gone. */
export async function removed<T extends KubeObject>(
  deps: ChildDeps,
  parent: Parent,
  type: ResourceType<T>,
  key: ObjectKey,
  force = false,
): Promise<Work | undefined> {
  const found = await deps.client.find(type, key);
  if (found === undefined || !isChildOf(found, parent)) return undefined;
  return removal(deps, type, key, { force });
}

/** Takes the temporary claim away together with its volume, whatever the storage class says of that. */
export async function claimRemoved(deps: ChildDeps, parent: Parent, key: ObjectKey): Promise<Work | undefined> {
  const claim = await deps.client.find<PersistentVolumeClaim>(persistentVolumeClaims, key);
  if (claim === undefined || !isChildOf(claim, parent)) return undefined;
  const name = claim.spec.volumeName ?? "";
  const volume = name === "" ? undefined : await deps.client.find(persistentVolumes, { name });
  if (volume !== undefined && volume.spec.claimRef?.uid === claim.metadata.uid && volume.spec.persistentVolumeReclaimPolicy !== "Delete") {
    return act(`make the volume "${name}" go with its claim`, () =>
      deps.client.patch(persistentVolumes, { name }, "merge", { spec: { persistentVolumeReclaimPolicy: "Delete" } }),
    );
  }
  return removed(deps, parent, persistentVolumeClaims, key);
}
