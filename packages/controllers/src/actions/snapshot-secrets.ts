/** Secrets that a snapshot's driver needs, by the annotations in which external-snapshotter and Velero note them. */
import type { GenericObject } from "@drayage/kube";
import { type ItemId, SECRETS } from "./item-id.ts";

interface SecretKeys {
  readonly name: string;
  readonly namespace: string;
}

/** On a VolumeSnapshotContent: what deletes the snapshot. */
export const DELETION_SECRET: SecretKeys = {
  name: "snapshot.storage.kubernetes.io/deletion-secret-name",
  namespace: "snapshot.storage.kubernetes.io/deletion-secret-namespace",
};
/** On a VolumeSnapshotClass: what lists snapshots. */
export const LIST_SECRET: SecretKeys = {
  name: "csi.storage.k8s.io/snapshotter-list-secret-name",
  namespace: "csi.storage.k8s.io/snapshotter-list-secret-namespace",
};

/** The Secret that an object names, as an item. */
export function secretNamedBy({ metadata }: GenericObject, keys: SecretKeys): readonly ItemId[] {
  const [name, namespace] = [metadata.annotations?.[keys.name], metadata.annotations?.[keys.namespace]];
  return name === undefined || namespace === undefined ? [] : [{ groupResource: SECRETS, namespace, name }];
}
