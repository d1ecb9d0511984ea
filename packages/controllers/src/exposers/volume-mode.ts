/**
 * Velero's block mover moves every volume as a device, those of files too (velero.md 12): their claims are of mode Block while they are moved, and their own mode comes back with a
 * PersistentVolume made anew.
 */
import { BLOCK_DATA_MOVER, type DataDownload } from "@drayage/api";
import { type PersistentVolume, type PersistentVolumeClaim, persistentVolumeClaims, persistentVolumes, storageClasses, volumeAttachments } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { act, failed, type Work, wait } from "../data-movement/work.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { podRemoval, type RemovalOptions, removal } from "./intermediate-objects.ts";

type VolumeMode = "Filesystem" | "Block";

/** On a VolumeSnapshotContent: whoever may write contents lets a claim of it be of another mode than its source. */
export const ALLOW_MODE_CHANGE = "snapshot.storage.kubernetes.io/allow-volume-mode-change";

/** Of the provisioner that made the volume; the one that will delete it has another. */
const PROVISIONER_IDENTITY = "storage.kubernetes.io/csiProvisionerIdentity";
const FS_TYPE_PARAMETER = "csi.storage.k8s.io/fstype";
/** What an attribute of later releases of Velero says, which the definition of today may not have. */
type LaterTargetVolume = DataDownload["spec"]["targetVolume"] & { readonly fsType?: string };

/** Whether a mover reads and writes volumes as devices, whatever their mode. */
export function movesDevices(datamover: string | undefined): boolean {
  return datamover === BLOCK_DATA_MOVER;
}

/** The mode of the claim that the mover's pod uses. */
export function modeForMover(datamover: string | undefined, own: VolumeMode | undefined): VolumeMode {
  return movesDevices(datamover) ? "Block" : (own ?? "Filesystem");
}

/** Whether the restored volume has to change its mode before it can be handed over. */
export function changesMode(download: DataDownload, target: PersistentVolumeClaim | undefined): boolean {
  return movesDevices(download.spec.datamover) && target !== undefined && target.spec.volumeMode !== "Block";
}

/** The PersistentVolume of mode Filesystem that takes the place of one of mode Block; the same in every pass. */
export function replacementOf(volumeName: string): string {
  return `${volumeName}-filesystem`;
}

/**
 * Puts a PersistentVolume of mode Filesystem in the place of the restored one, which is kept (Retain): the storage's volume is never without an object that names it. Gives the new one
 * once the old one is gone.
 */
export async function replaceVolume(
  deps: ExposerDeps,
  download: DataDownload,
  volumeName: string,
  target: PersistentVolumeClaim,
): Promise<PersistentVolume | Work> {
  const { client } = deps;
  const name = replacementOf(volumeName);
  const made = await client.find(persistentVolumes, { name });
  const old = await client.find(persistentVolumes, { name: volumeName });
  if (made === undefined) {
    if (old === undefined) return failed(`restored volume "${volumeName}" is gone`);
    for (const asked of [true, false]) {
      const work = (await podRemoval(deps, download, { asked })) ?? (await restoreClaimRemoval(deps, download, { asked }));
      if (work !== undefined) return work;
    }
    // Two volumes of one device may not be attached at once.
    const attached = (await allOf(client.listAll(volumeAttachments))).find(({ spec }) => spec.source.persistentVolumeName === volumeName);
    if (attached !== undefined) return wait(`volume "${volumeName}" to be detached from node "${attached.spec.nodeName}"`);
    const wanted = await buildReplacement(deps, download, old, target);
    return act(`create volume "${name}"`, () => client.create(persistentVolumes, wanted));
  }
  if (!isReplacementOf(made, old)) return failed(`volume "${name}" is there already and is of something else`);
  return (await removal(deps, persistentVolumes, { name: volumeName })) ?? made;
}

/** The volume is on Retain by now, so deleting its claim leaves it. */
export function restoreClaimRemoval(deps: ExposerDeps, download: DataDownload, options: Pick<RemovalOptions, "asked"> = {}): Promise<Work | undefined> {
  return removal(deps, persistentVolumeClaims, { namespace: deps.namespace, name: download.metadata.name ?? "" }, { ownedBy: download, ...options });
}

function isReplacementOf(made: PersistentVolume, old: PersistentVolume | undefined): boolean {
  return old === undefined || made.spec.csi?.volumeHandle === old.spec.csi?.volumeHandle;
}

async function buildReplacement(deps: ExposerDeps, download: DataDownload, old: PersistentVolume, target: PersistentVolumeClaim): Promise<PersistentVolume> {
  const { csi, ...spec } = old.spec;
  const { "pv.kubernetes.io/bound-by-controller": _bound, ...annotations } = old.metadata.annotations ?? {};
  const storageClass = await deps.client.find(storageClasses, { name: spec.storageClassName ?? "" });
  const fsType = (download.spec.targetVolume as LaterTargetVolume).fsType ?? storageClass?.parameters?.[FS_TYPE_PARAMETER];
  const { [PROVISIONER_IDENTITY]: _identity, ...volumeAttributes } = csi?.volumeAttributes ?? {};
  const { namespace, name = "", uid } = target.metadata;
  return {
    metadata: { name: replacementOf(old.metadata.name ?? ""), labels: { ...old.metadata.labels, ...target.spec.selector?.matchLabels }, annotations },
    spec: {
      ...spec,
      persistentVolumeReclaimPolicy: "Retain",
      volumeMode: "Filesystem",
      ...(csi === undefined ? {} : { csi: { ...csi, volumeAttributes, ...(fsType === undefined ? {} : { fsType }) } }),
      ...(storageClass?.mountOptions === undefined ? {} : { mountOptions: storageClass.mountOptions }),
      claimRef: {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(uid === undefined ? {} : { uid }),
      },
    },
  };
}
