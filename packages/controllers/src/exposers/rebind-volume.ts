/**
 * Hands the restored volume over to the application's claim (velero.md 4.2, RebindVolume).
 *
 *   1  its name and reclaim policy are written on the DataDownload: from here on the handover is brought to its end whatever happens
 *   2  the volume is kept (Retain) while it has no claim      3  mover pod and restore claim go
 *   4  the volume names the target claim, and carries the labels of its selector
 *   5  once the binder has seen that (Available), the target claim names the volume
 *   6  once bound, the volume gets its own reclaim policy back
 *
 * In this order since Kubernetes' binder looks at a claim when the claim changes, and at a volume that waits for one it does nothing: a claim that names a volume which,
 * as far as the binder knows, is still another's waits for its next round, 15 s later (kube-controller-manager, pkg/controller/volume/persistentvolume: syncVolume, syncUnboundClaim).
 *
 * At no step can the volume be lost: it is either claimed, or kept, or about to be deleted because the download failed.
 */
import { type DataDownload, dataDownloads } from "@drayage/api";
import { type KubeObject, type PersistentVolume, type PersistentVolumeClaim, persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import { MOVEMENT_ANNOTATIONS } from "../data-movement/movement.ts";
import { act, done, failed, type Work, wait } from "../data-movement/work.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { claimRemoval, podRemoval, removal, secretRemoval } from "./intermediate-objects.ts";
import { tenantCopiesRemoval } from "./tenant-copies.ts";

interface Handover {
  readonly volume: string;
  readonly reclaimPolicy: NonNullable<PersistentVolume["spec"]["persistentVolumeReclaimPolicy"]>;
}

/** Annotations by which the binder knows that it made a binding; they would keep it from looking at the claim again. */
const BINDER_ANNOTATIONS = { "pv.kubernetes.io/bind-completed": null, "pv.kubernetes.io/bound-by-controller": null };

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
  const volume = await client.find(persistentVolumes, { name: handover.volume });
  if (volume === undefined) return failed(`restored volume "${handover.volume}" is gone`);
  const { namespace: targetNamespace, pvc } = download.spec.targetVolume;
  const target = await client.find(persistentVolumeClaims, { namespace: targetNamespace, name: pvc });
  if (target === undefined) return failed(`target claim "${targetNamespace}/${pvc}" is gone`);
  if (target.spec.volumeName !== undefined && target.spec.volumeName !== "" && target.spec.volumeName !== handover.volume) {
    return failed(`target claim "${targetNamespace}/${pvc}" was given the volume "${target.spec.volumeName}" in the meantime`);
  }
  return claimsTarget(volume, target) ? settle(deps, volume, target, handover) : release(deps, download, volume, target);
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
  if (volume.spec.persistentVolumeReclaimPolicy !== "Retain") {
    return act(`keep volume "${volumeName}"`, () =>
      client.patch(persistentVolumes, { name: volumeName }, "merge", { spec: { persistentVolumeReclaimPolicy: "Retain" } }),
    );
  }
  for (const next of [podRemoval, claimRemovalKeepingVolume]) {
    const work = await next(deps, download);
    if (work !== undefined) return work;
  }
  const labels = target.spec.selector?.matchLabels ?? {};
  return act(`give volume "${volumeName}" to claim "${targetKey.namespace}/${targetKey.name}"`, () =>
    client.patch(persistentVolumes, { name: volumeName }, "merge", {
      metadata: { labels, ...(volume.metadata.annotations === undefined ? {} : { annotations: { "pv.kubernetes.io/bound-by-controller": null } }) },
      // Without UID and version, so that the binder takes the claim of that name; with them it would look for the one that is gone.
      spec: { claimRef: { apiVersion: null, kind: null, namespace: targetKey.namespace, name: targetKey.name, uid: null, resourceVersion: null } },
    }),
  );
}

async function settle(deps: ExposerDeps, volume: PersistentVolume, target: PersistentVolumeClaim, handover: Handover): Promise<Work> {
  const targetKey = { namespace: target.metadata.namespace, name: target.metadata.name ?? "" };
  if (target.spec.volumeName === undefined || target.spec.volumeName === "") {
    if (volume.status?.phase !== "Available") return wait(`volume "${handover.volume}" to be available`);
    return act(`name volume "${handover.volume}" in claim "${targetKey.namespace}/${targetKey.name}"`, () =>
      deps.client.patch(persistentVolumeClaims, targetKey, "merge", {
        ...(target.metadata.annotations === undefined ? {} : { metadata: { annotations: BINDER_ANNOTATIONS } }),
        spec: { volumeName: handover.volume },
      }),
    );
  }
  const isBound = volume.status?.phase === "Bound" && volume.spec.claimRef?.uid === target.metadata.uid && target.status?.phase === "Bound";
  if (!isBound) return wait(`volume "${handover.volume}" to be bound to claim "${targetKey.namespace}/${targetKey.name}"`);
  if (volume.spec.persistentVolumeReclaimPolicy === handover.reclaimPolicy) return done;
  return act(`give volume "${handover.volume}" its reclaim policy back`, () =>
    deps.client.patch(persistentVolumes, { name: handover.volume }, "merge", { spec: { persistentVolumeReclaimPolicy: handover.reclaimPolicy } }),
  );
}

function claimsTarget(volume: PersistentVolume, target: PersistentVolumeClaim): boolean {
  const reference = volume.spec.claimRef;
  return reference?.namespace === target.metadata.namespace && reference?.name === target.metadata.name;
}

/** The volume is on Retain by now, so deleting its claim leaves it. */
async function claimRemovalKeepingVolume(deps: ExposerDeps, download: DataDownload): Promise<Work | undefined> {
  return removal(deps, persistentVolumeClaims, { namespace: deps.namespace, name: download.metadata.name ?? "" }, { ownedBy: download });
}

/** Takes away what a restore made, and a volume whose handover was not finished with it. */
export async function cleanUpRestore(deps: ExposerDeps, download: DataDownload, endedForMs: number): Promise<Work> {
  const patient = endedForMs < REMOVAL_PATIENCE_MS;
  for (const next of [podRemoval, claimRemoval, secretRemoval, tenantCopiesRemoval, abandonedVolume]) {
    const work = await next(deps, download);
    if (work !== undefined && (work.state !== "wait" || patient)) return work;
  }
  return done;
}

/** A volume that was kept for a handover that did not come about would stay for ever. */
async function abandonedVolume(deps: ExposerDeps, download: DataDownload): Promise<Work | undefined> {
  const handover = handoverOf(download);
  if (handover === undefined) return undefined;
  const volume = await deps.client.find(persistentVolumes, { name: handover.volume });
  if (volume === undefined || volume.spec.persistentVolumeReclaimPolicy === handover.reclaimPolicy) return undefined;
  const { namespace, pvc } = download.spec.targetVolume;
  const target = await deps.client.find(persistentVolumeClaims, { namespace, name: pvc });
  if (target !== undefined && (claimsTarget(volume, target) || target.spec.volumeName === handover.volume)) return undefined;
  return act(`let volume "${handover.volume}" go`, () =>
    deps.client.patch(persistentVolumes, { name: handover.volume }, "merge", { spec: { persistentVolumeReclaimPolicy: "Delete" } }),
  );
}
