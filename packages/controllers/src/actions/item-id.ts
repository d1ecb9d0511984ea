/** Names one object by its resource, as Velero's files do. */
import { type GenericObject, groupResourceOf, type ResourceType } from "@drayage/kube";
import type { ItemOperation } from "../ports.ts";

export interface ItemId {
  /** `pods`, `deployments.apps`. */
  readonly groupResource: string;
  /** Undefined for cluster scope. */
  readonly namespace: string | undefined;
  readonly name: string;
}

export const PODS = "pods";
export const PERSISTENT_VOLUME_CLAIMS = "persistentvolumeclaims";
export const PERSISTENT_VOLUMES = "persistentvolumes";
export const NAMESPACES = "namespaces";
export const SERVICE_ACCOUNTS = "serviceaccounts";
export const CUSTOM_RESOURCE_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io";
export const SECRETS = "secrets";
export const VOLUME_SNAPSHOTS = "volumesnapshots.snapshot.storage.k8s.io";
export const VOLUME_SNAPSHOT_CONTENTS = "volumesnapshotcontents.snapshot.storage.k8s.io";
export const VOLUME_SNAPSHOT_CLASSES = "volumesnapshotclasses.snapshot.storage.k8s.io";
export const PRIORITY_CLASSES = "priorityclasses.scheduling.k8s.io";
export const POD_VOLUME_BACKUPS = "podvolumebackups.velero.io";
export const DATA_UPLOADS = "datauploads.velero.io";

export type StoredIdentifier = ItemOperation["spec"]["resourceIdentifier"];

/** With the capitalised keys under which operations are stored. */
export function storedIdentifier(id: ItemId): StoredIdentifier {
  const dot = id.groupResource.indexOf(".");
  return {
    Group: dot < 0 ? "" : id.groupResource.slice(dot + 1),
    Resource: dot < 0 ? id.groupResource : id.groupResource.slice(0, dot),
    Namespace: id.namespace ?? "",
    Name: id.name,
  };
}

export function itemIdOf(resource: Pick<ResourceType, "group" | "plural">, object: GenericObject): ItemId {
  return { groupResource: groupResourceOf(resource), namespace: object.metadata.namespace, name: object.metadata.name ?? "" };
}

/** `namespace/name`, or `name` at cluster scope. */
export function formatItemName(id: Pick<ItemId, "namespace" | "name">): string {
  return id.namespace === undefined || id.namespace === "" ? id.name : `${id.namespace}/${id.name}`;
}

/** A text that is the same for the same item and for no other. */
export function itemKey(id: ItemId): string {
  return `${id.groupResource} ${formatItemName(id)}`;
}
