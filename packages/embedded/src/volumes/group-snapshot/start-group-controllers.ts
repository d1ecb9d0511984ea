/** The controllers of group snapshots, beside those of single ones and with the same caches. */
import {
  type VolumeSnapshot,
  volumeGroupSnapshotClasses,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import type { Clock } from "@drayage/base";
import {
  type Controller,
  type ControllerSource,
  keyOf,
  type ObjectKey,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  type Reconcile,
  source,
} from "@drayage/kube";
import type { Caches } from "../caches.ts";
import { type ReconcilePorts, reconcileWith } from "../reconcile-with.ts";
import type { ObjectReader } from "../steps.ts";
import type { StorageDriver } from "../storage-driver.ts";
import { actOnGroupContent } from "./act.ts";
import { decideGroup } from "./group.ts";
import { decideGroupContent } from "./group-content.ts";
import { isSelected, observeGroup, observeGroupContent } from "./observe.ts";

export interface GroupControllerOptions {
  readonly caches: Caches;
  readonly clock: Clock;
  readonly ports: ReconcilePorts;
  readonly start: (name: string, sources: readonly ControllerSource[], workers: number, reconcile: Reconcile) => Controller;
}

/** The snapshot controller's part. */
export function startGroupSnapshots({ caches, clock, ports, start }: GroupControllerOptions): Controller {
  const parts = { observe: (reader: ObjectReader, key: ObjectKey) => observeGroup(reader, key, clock), decide: decideGroup };
  return start("group-snapshots", concernsGroups(caches), 1, reconcileWith(parts, ports));
}

/** The part of the snapshotter beside one driver. At most `transfersMax` groups are cut or deleted at once. */
export function startGroupContents(options: GroupControllerOptions & { readonly driver: StorageDriver; readonly transfersMax: number }): Controller {
  const { caches, clock, ports, start, driver, transfersMax } = options;
  return start(
    `group-contents ${driver.name}`,
    [source(caches.of(volumeGroupSnapshotContents))],
    transfersMax,
    reconcileWith(
      {
        observe: (reader, key) => observeGroupContent(reader, key, driver.name),
        decide: decideGroupContent,
        act: (step, runner, signal) => actOnGroupContent(step, driver, clock, runner, signal),
      },
      ports,
    ),
  );
}

/** A group is concerned by its content, by its members and their contents, by claims that its selector finds while it has no content, and by the classes. */
function concernsGroups(caches: Caches): ControllerSource[] {
  const groups = caches.of(volumeGroupSnapshots);
  const unbound = (namespace?: string) => groups.list(namespace).filter(({ status }) => status?.boundVolumeGroupSnapshotContentName === undefined);
  const ofClaim = (claim: PersistentVolumeClaim): ObjectKey[] =>
    unbound(claim.metadata.namespace)
      .filter((group) => isSelected(group, claim))
      .map(keyOf);
  const ofSnapshot = ({ metadata }: VolumeSnapshot): ObjectKey[] =>
    (metadata.ownerReferences ?? []).flatMap(({ kind, name }) => (kind === "VolumeGroupSnapshot" ? [{ namespace: metadata.namespace, name }] : []));
  return [
    source(groups),
    source(caches.of(volumeGroupSnapshotContents), {
      toKeys: ({ spec: { volumeGroupSnapshotRef: ref } }) => (ref.name === undefined ? [] : [{ namespace: ref.namespace, name: ref.name }]),
    }),
    source(caches.of(volumeSnapshots), { toKeys: ofSnapshot }),
    source(caches.of(volumeSnapshotContents), {
      toKeys: ({ spec: { volumeSnapshotRef: ref } }) => {
        const snapshot = caches.of(volumeSnapshots).get({ namespace: ref.namespace, name: ref.name ?? "" });
        return snapshot === undefined ? [] : ofSnapshot(snapshot);
      },
    }),
    source(caches.of(persistentVolumeClaims), { toKeys: ofClaim }),
    source(caches.of(volumeGroupSnapshotClasses), { toKeys: () => unbound().map(keyOf) }),
  ];
}
