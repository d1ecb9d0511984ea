/** Which change concerns which object: the sources of each controller. Too many keys cost a pass each; one too few is a wait for the next resync. */
import {
  type VolumeGroupSnapshot,
  type VolumeSnapshot,
  volumeGroupSnapshots,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import {
  type ControllerSource,
  keyOf,
  nodes,
  type ObjectKey,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  source,
  storageClasses,
} from "@drayage/kube";
import type { Caches } from "./caches.ts";
import { claimsOf } from "./claim/observe.ts";
import { BIND_COMPLETED } from "./names.ts";
import { annotationOf } from "./object-changes.ts";
import { isFilledFrom } from "./snapshot/observe.ts";
import { isSnapshotReady } from "./snapshot/snapshot.ts";

/** A claim is concerned by its volume, by a volume that may fit it, by its pods and by the classes. */
export function concernsClaims(caches: Caches): ControllerSource[] {
  const claims = caches.of(persistentVolumeClaims);
  const ofVolume = (volume: PersistentVolume): ObjectKey[] => {
    const bound = volume.status?.phase === "Bound";
    const asking = claims.list().filter((claim) => claim.spec.volumeName === volume.metadata.name || (!bound && isUnbound(claim)));
    return [...claimRefOf(volume), ...asking.map(keyOf)];
  };
  const ofPod = (pod: Pod): ObjectKey[] => claimsOf(pod).map((name) => ({ namespace: pod.metadata.namespace, name }));
  return [
    source(claims),
    source(caches.of(persistentVolumes), { toKeys: ofVolume }),
    source(caches.of(pods), {
      toKeys: ofPod,
      when: (before, after) => before?.spec.nodeName !== after?.spec.nodeName || before === undefined || after === undefined,
    }),
    source(caches.of(storageClasses), { toKeys: () => unboundClaims(caches) }),
  ];
}

/** A volume is concerned by the claim that it names. */
export function concernsVolumes(caches: Caches): ControllerSource[] {
  const volumes = caches.of(persistentVolumes);
  const ofClaim = ({ metadata }: PersistentVolumeClaim): ObjectKey[] =>
    volumes
      .list()
      .flatMap((volume) => (claimRefOf(volume).some((ref) => ref.name === metadata.name && ref.namespace === metadata.namespace) ? [keyOf(volume)] : []));
  return [source(volumes), source(caches.of(persistentVolumeClaims), { toKeys: ofClaim })];
}

/** A request for a volume is concerned by its class, by the snapshot it is filled from, and by nodes that come. */
export function concernsRequests(caches: Caches): ControllerSource[] {
  const claims = caches.of(persistentVolumeClaims);
  const ofSnapshot = ({ metadata }: VolumeSnapshot): ObjectKey[] =>
    claims
      .list(metadata.namespace)
      .filter((claim) => isFilledFrom(claim, metadata.name ?? ""))
      .map(keyOf);
  return [
    source(claims),
    source(caches.of(storageClasses), { toKeys: () => unboundClaims(caches) }),
    source(caches.of(volumeSnapshots), { toKeys: ofSnapshot }),
    source(caches.of(nodes), { toKeys: () => unboundClaims(caches), when: (before) => before === undefined }),
  ];
}

/** A snapshot is concerned by its content, by its claim while it is not ready, by claims that are filled from it, by the end of its group, and by the classes. */
export function concernsSnapshots(caches: Caches): ControllerSource[] {
  const snapshots = caches.of(volumeSnapshots);
  const unready = (namespace?: string): VolumeSnapshot[] => snapshots.list(namespace).filter((snapshot) => !isSnapshotReady(snapshot));
  const ofClaim = ({ metadata, spec }: PersistentVolumeClaim): ObjectKey[] => {
    const cut = unready(metadata.namespace).filter((snapshot) => snapshot.spec.source.persistentVolumeClaimName === metadata.name);
    const filling = [spec.dataSource, spec.dataSourceRef].flatMap((from) => (from?.kind === "VolumeSnapshot" ? [from.name] : []));
    return [...cut.map(keyOf), ...[...new Set(filling)].map((name) => ({ namespace: metadata.namespace, name }))];
  };
  const ofGroup = ({ metadata }: VolumeGroupSnapshot): ObjectKey[] =>
    snapshots
      .list(metadata.namespace)
      .filter(({ status }) => status?.volumeGroupSnapshotName === metadata.name)
      .map(keyOf);
  return [
    source(snapshots),
    source(caches.of(volumeGroupSnapshots), { toKeys: ofGroup, when: (_before, after) => after === undefined }),
    source(caches.of(volumeSnapshotContents), {
      toKeys: ({ spec: { volumeSnapshotRef: ref } }) => (ref.name === undefined ? [] : [{ namespace: ref.namespace, name: ref.name }]),
    }),
    source(caches.of(persistentVolumeClaims), { toKeys: ofClaim }),
    source(caches.of(volumeSnapshotClasses), { toKeys: () => unready().map(keyOf) }),
  ];
}

/** The source of a snapshot is concerned by every snapshot of it. */
export function concernsSourceClaims(caches: Caches): ControllerSource[] {
  const ofSnapshot = ({ metadata, spec }: VolumeSnapshot): ObjectKey[] =>
    spec.source.persistentVolumeClaimName === undefined ? [] : [{ namespace: metadata.namespace, name: spec.source.persistentVolumeClaimName }];
  return [source(caches.of(persistentVolumeClaims)), source(caches.of(volumeSnapshots), { toKeys: ofSnapshot })];
}

function claimRefOf({ spec: { claimRef } }: PersistentVolume): ObjectKey[] {
  return claimRef?.name === undefined ? [] : [{ namespace: claimRef.namespace, name: claimRef.name }];
}

function isUnbound(claim: PersistentVolumeClaim): boolean {
  return annotationOf(claim, BIND_COMPLETED) === undefined;
}

function unboundClaims(caches: Caches): ObjectKey[] {
  return caches.of(persistentVolumeClaims).list().filter(isUnbound).map(keyOf);
}
