/** The annotations and finalizers by which the field's controllers speak to each other about volumes. Sources: Kubernetes 1.34, external-provisioner 5.3, external-snapshotter 8.7. */

// Claims and volumes
export const BIND_COMPLETED = "pv.kubernetes.io/bind-completed";
export const BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller";
export const PROVISIONED_BY = "pv.kubernetes.io/provisioned-by";
export const STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner";
export const STORAGE_PROVISIONER_BETA = "volume.beta.kubernetes.io/storage-provisioner";
/** Set by the scheduler on a claim that waits for its first consumer. */
export const SELECTED_NODE = "volume.kubernetes.io/selected-node";
export const DELETION_SECRET_NAME = "volume.kubernetes.io/provisioner-deletion-secret-name";
export const DELETION_SECRET_NAMESPACE = "volume.kubernetes.io/provisioner-deletion-secret-namespace";
export const DEFAULT_STORAGE_CLASS = "storageclass.kubernetes.io/is-default-class";
export const CLAIM_PROTECTION = "kubernetes.io/pvc-protection";
export const VOLUME_PROTECTION = "kubernetes.io/pv-protection";
export const PROVISIONER_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer";
/** Prefix of class parameters that are for the provisioner and not for the driver. */
export const CLASS_PARAMETER_PREFIX = "csi.storage.k8s.io/";
export const PROVISIONER_IDENTITY = "storage.kubernetes.io/csiProvisionerIdentity";
/** A class with this provisioner has volumes made by hand only. */
export const NO_PROVISIONER = "kubernetes.io/no-provisioner";

// Snapshots
export const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";
export const SNAPSHOT_BOUND = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
export const SNAPSHOT_AS_SOURCE = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
export const CONTENT_BOUND = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
export const CLAIM_AS_SOURCE = "snapshot.storage.kubernetes.io/pvc-as-source-protection";
export const BEING_CREATED = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
export const BEING_DELETED = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
export const DEFAULT_SNAPSHOT_CLASS = "snapshot.storage.kubernetes.io/is-default-class";
export const ALLOW_MODE_CHANGE = "snapshot.storage.kubernetes.io/allow-volume-mode-change";
