/**
 * Hands the restored volume over to the application's claim (velero.md 4.2, RebindVolume).
 *
 *   1  its name and reclaim policy are written on the DataDownload: from here on the handover is brought to its end whatever happens
 *   2  the volume is kept (Retain) while it has no claim      3  mover pod and restore claim go
 *   4  the volume names the target claim, with its UID, and carries the labels of its selector; the binder does the rest as for a volume that a provisioner made
 *   5  once bound, the volume gets its own reclaim policy back
 *
 * A volume of files that was moved as a device is replaced in step 4 by one of its own mode (volume-mode.ts).
 *
 * The UID is what makes Kubernetes' binder act at once: it queues the claim of a volume that names an unbound one by its UID, and its worker of claims alone writes to both
 * (kube-controller-manager, pkg/controller/volume/persistentvolume: syncVolume). Named without UID (velero.md 4.2), the volume is only made Available; the claim then has to name
 * it, and while the worker of claims completes the reservation that of volumes sets the same phase. The one that comes second gives up with a conflict until the next round, up to
 * 15 s later.
 *
 * At no step can the volume be lost: it is either claimed, or kept, or about to be deleted because the download failed.
 */
import { type DataDownload, dataDownloads } from "@drayage/api";
import { type KubeObject, type PersistentVolume, type PersistentVolumeClaim, persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import { MOVEMENT_ANNOTATIONS } from "../data-movement/movement.ts";
import { act, done, failed, recheckAfterMs, type Work, wait } from "../data-movement/work.ts";
import { steadyAgeMs } from "../steady-age.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { cacheNameOf, moverRemoval, podRemoval, removal } from "./intermediate-objects.ts";
import { tenantCopiesRemoval } from "./tenant-copies.ts";
import { changesMode, movesDevices, replacementOf, replaceVolume, restoreClaimRemoval } from "./volume-mode.ts";

interface Handover {
  readonly volume: string;
  readonly reclaimPolicy: NonNullable<PersistentVolume["spec"]["persistentVolumeReclaimPolicy"]>;
}

/** How long a kubelet and a driver may take to let go of what was deleted before cleaning up goes on without it. */
const REMOVAL_PATIENCE_MS = 60_000;

export function handoverOf(download: KubeObject): Handover | undefined {
  const text = download.metadata.annotations?.[MOVEMENT_ANNOTATIONS.handover];
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as Partial<Handover>;
    return typeof value.volume === "string" ? { volume: value.volume, reclaimPolicy: value.reclaimPolicy ?? "Delete" } : undefined;
  } catch {
    return undefined;
  }
}

/** Done when the target claim is bound to the restored volume. `totalBytes` is what the mover restored; it is written down with the first step, since the mover's pod goes with the third. */
export async function rebindVolume(deps: ExposerDeps, download: DataDownload, totalBytes: number | undefined): Promise<Work> {
  const { client, namespace } = deps;
  const key = { namespace, name: download.metadata.name ?? "" };
  const handover = handoverOf(download);
  if (handover === undefined) {
    const claim = await client.find(persistentVolumeClaims, key);
    if (claim === undefined) return failed(`restore claim "${key.namespace}/${key.name}" is gone`);
    if (claim.status?.phase !== "Bound" || claim.spec.volumeName === undefined) return wait(`restore claim "${key.namespace}/${key.name}" to be bound`);
    const volume = await client.find(persistentVolumes, { name: claim.spec.volumeName });
    if (volume === undefined) return failed(`restored volume "${claim.spec.volumeName}" is gone`);
    return recordHandover(deps, download, volume, totalBytes);
  }
  const { namespace: targetNamespace, pvc } = download.spec.targetVolume;
  const target = await client.find(persistentVolumeClaims, { namespace: targetNamespace, name: pvc });
  if (target === undefined) return failed(`target claim "${targetNamespace}/${pvc}" is gone`);
  const given = changesMode(download, target) ? replacementOf(handover.volume) : handover.volume;
  if (target.spec.volumeName !== undefined && target.spec.volumeName !== "" && target.spec.volumeName !== given) {
    return failed(`target claim "${targetNamespace}/${pvc}" was given the volume "${target.spec.volumeName}" in the meantime`);
  }
  const volume = await client.find(persistentVolumes, { name: handover.volume });
  if (given !== handover.volume) {
    const kept = volume === undefined ? undefined : keep(deps, volume);
    const made = kept ?? (await replaceVolume(deps, download, handover.volume, target));
    return "state" in made ? made : settle(deps, made, target, { ...handover, volume: given });
  }
  if (volume === undefined) return failed(`restored volume "${handover.volume}" is gone`);
  // A claim that names it already was given it by hand, or by an earlier version: the binder is at it.
  const isGiven = hasClaim(volume, target) || (refersTo(volume, target) && target.spec.volumeName === handover.volume);
  return isGiven ? settle(deps, volume, target, handover) : release(deps, download, volume, target);
}

function recordHandover(deps: ExposerDeps, download: DataDownload, volume: PersistentVolume, totalBytes: number | undefined): Work {
  const handover: Handover = { volume: volume.metadata.name ?? "", reclaimPolicy: volume.spec.persistentVolumeReclaimPolicy ?? "Delete" };
  return act(`write down the handover of volume "${handover.volume}"`, () =>
    deps.client.replace(dataDownloads, {
      ...download,
      metadata: { ...download.metadata, annotations: { ...download.metadata.annotations, [MOVEMENT_ANNOTATIONS.handover]: JSON.stringify(handover) } },
      status: { ...download.status, ...(totalBytes === undefined ? {} : { progress: { bytesDone: totalBytes, totalBytes } }) },
    }),
  );
}

/** Frees the volume of its restore claim and gives it to the target. */
async function release(deps: ExposerDeps, download: DataDownload, volume: PersistentVolume, target: PersistentVolumeClaim): Promise<Work> {
  const { client } = deps;
  const volumeName = volume.metadata.name ?? "";
  const targetKey = { namespace: target.metadata.namespace, name: target.metadata.name ?? "" };
  const kept = keep(deps, volume);
  if (kept !== undefined) return kept;
  for (const asked of [true, false]) {
    const work = (await podRemoval(deps, download, { asked })) ?? (await restoreClaimRemoval(deps, download, { asked }));
    if (work !== undefined) return work;
  }
  const labels = target.spec.selector?.matchLabels ?? {};
  return act(`give volume "${volumeName}" to claim "${targetKey.namespace}/${targetKey.name}"`, () =>
    client.patch(persistentVolumes, { name: volumeName }, "merge", {
      metadata: { labels, ...(volume.metadata.annotations === undefined ? {} : { annotations: { "pv.kubernetes.io/bound-by-controller": null } }) },
      spec: { claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", ...targetKey, uid: target.metadata.uid, resourceVersion: null } },
    }),
  );
}

function keep({ client }: ExposerDeps, { metadata, spec }: PersistentVolume): Work | undefined {
  const { name = "" } = metadata;
  if (spec.persistentVolumeReclaimPolicy === "Retain") return undefined;
  return act(`keep volume "${name}"`, () => client.patch(persistentVolumes, { name }, "merge", { spec: { persistentVolumeReclaimPolicy: "Retain" } }));
}

async function settle(deps: ExposerDeps, volume: PersistentVolume, target: PersistentVolumeClaim, handover: Handover): Promise<Work> {
  const targetKey = { namespace: target.metadata.namespace, name: target.metadata.name ?? "" };
  const isBound = volume.status?.phase === "Bound" && hasClaim(volume, target) && target.status?.phase === "Bound";
  const awaitedForMs = steadyAgeMs(deps.clock, `binding of ${target.metadata.uid} to ${handover.volume}`);
  if (!isBound) return wait(`volume "${handover.volume}" to be bound to claim "${targetKey.namespace}/${targetKey.name}"`, recheckAfterMs(awaitedForMs));
  if (volume.spec.persistentVolumeReclaimPolicy === handover.reclaimPolicy) return done;
  return act(`give volume "${handover.volume}" its reclaim policy back`, () =>
    deps.client.patch(persistentVolumes, { name: handover.volume }, "merge", { spec: { persistentVolumeReclaimPolicy: handover.reclaimPolicy } }),
  );
}

function refersTo(volume: PersistentVolume, target: PersistentVolumeClaim): boolean {
  const reference = volume.spec.claimRef;
  return reference?.namespace === target.metadata.namespace && reference?.name === target.metadata.name;
}

/** Not a claim of that name that was deleted and made again. */
function hasClaim(volume: PersistentVolume, target: PersistentVolumeClaim): boolean {
  return refersTo(volume, target) && volume.spec.claimRef?.uid === target.metadata.uid;
}

/** Takes away what a restore made, and a volume whose handover was not finished with it. */
export async function cleanUpRestore(deps: ExposerDeps, download: DataDownload, endedForMs: number, mayHaveCopies: boolean): Promise<Work> {
  const patient = endedForMs < REMOVAL_PATIENCE_MS;
  // Where none are configured, a cache of a configuration of before goes with its DataDownload, which owns it.
  const claims = [download.metadata.name ?? "", ...(deps.config.cachePVC === undefined ? [] : [cacheNameOf(download)])];
  const moverWork = await moverRemoval(deps, download, { patient, claims });
  if (moverWork !== undefined) return moverWork;
  for (const next of [abandonedVolume, ...(mayHaveCopies ? [tenantCopiesRemoval] : [])]) {
    const work = await next(deps, download);
    if (work !== undefined && (work.state !== "wait" || patient)) return work;
  }
  return done;
}

/** A volume that was kept for a handover that did not come about would stay for ever. */
async function abandonedVolume(deps: ExposerDeps, download: DataDownload): Promise<Work | undefined> {
  const handover = handoverOf(download);
  if (handover === undefined) return undefined;
  const made = movesDevices(download.spec.datamover) ? await deps.client.find(persistentVolumes, { name: replacementOf(handover.volume) }) : undefined;
  // Either of them names the storage's volume; with both, it is the new one that goes with it.
  const replaced = made === undefined ? undefined : await removal(deps, persistentVolumes, { name: handover.volume });
  if (replaced !== undefined) return replaced;
  const volume = made ?? (await deps.client.find(persistentVolumes, { name: handover.volume }));
  if (volume === undefined || volume.spec.persistentVolumeReclaimPolicy === handover.reclaimPolicy) return undefined;
  const { name = "" } = volume.metadata;
  const { namespace, pvc } = download.spec.targetVolume;
  const target = await deps.client.find(persistentVolumeClaims, { namespace, name: pvc });
  if (target !== undefined && (hasClaim(volume, target) || target.spec.volumeName === name)) return undefined;
  return act(`let volume "${name}" go`, () => deps.client.patch(persistentVolumes, { name }, "merge", { spec: { persistentVolumeReclaimPolicy: "Delete" } }));
}
