/** Where the bytes of a new volume come from. */
import { type VolumeSnapshot, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { type PersistentVolumeClaim, persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import { ALLOW_MODE_CHANGE, SNAPSHOT_GROUP } from "../names.ts";
import { annotationOf } from "../object-changes.ts";
import type { ObjectReader } from "../steps.ts";

export type ResolvedSource =
  | { readonly state: "none" }
  | { readonly state: "ready"; readonly kind: "snapshot" | "volume"; readonly handle: string }
  | { readonly state: "unready"; readonly why: string }
  /** Named by a kind that another program fills volumes from. */
  | { readonly state: "foreign" };

export async function resolveSource(reader: ObjectReader, claim: PersistentVolumeClaim, driverName: string): Promise<ResolvedSource> {
  const source = claim.spec.dataSourceRef ?? claim.spec.dataSource;
  if (source === undefined) return { state: "none" };
  if ((source.namespace ?? claim.metadata.namespace) !== claim.metadata.namespace)
    return { state: "unready", why: "a source in another namespace is not supported" };
  if (source.apiGroup === SNAPSHOT_GROUP && source.kind === "VolumeSnapshot") return resolveSnapshot(reader, claim, source.name, driverName);
  if ((source.apiGroup ?? "") === "" && source.kind === "PersistentVolumeClaim") return resolveClaim(reader, claim, source.name, driverName);
  return { state: "foreign" };
}

async function resolveSnapshot(reader: ObjectReader, claim: PersistentVolumeClaim, name: string, driverName: string): Promise<ResolvedSource> {
  const unready = (why: string): ResolvedSource => ({
    state: "unready",
    why: `error getting handle for DataSource Type VolumeSnapshot by Name ${name}: ${why}`,
  });
  const snapshot = await reader.find(volumeSnapshots, { namespace: claim.metadata.namespace, name });
  if (snapshot === undefined) return unready(`error getting snapshot ${name} from api server: volumesnapshots.snapshot.storage.k8s.io "${name}" not found`);
  if (snapshot.metadata.deletionTimestamp !== undefined) return unready(`snapshot ${name} is being deleted`);
  const contentName = snapshot.status?.boundVolumeSnapshotContentName;
  const content = contentName === undefined ? undefined : await reader.find(volumeSnapshotContents, { name: contentName });
  if (content === undefined) return unready(`snapshot ${name} not bound`);
  if (content.spec.volumeSnapshotRef.uid !== snapshot.metadata.uid) return unready(`snapshot ${name} is bound to a content of another snapshot`);
  if (content.spec.driver !== driverName) return unready(`VolumeSnapshotContent ${contentName} is not supported by the provisioner`);
  const handle = content.status?.snapshotHandle;
  if (!isReady(snapshot) || handle === undefined) return unready(`snapshot ${name} is not Ready`);
  const sourceMode = content.spec.sourceVolumeMode;
  const mode = claim.spec.volumeMode ?? "Filesystem";
  if (sourceMode !== undefined && sourceMode !== mode && annotationOf(content, ALLOW_MODE_CHANGE) !== "true") {
    return unready(
      `requested volume ${claim.metadata.namespace}/${claim.metadata.name} modifies the mode of the source volume but does not have permission to do so. ${ALLOW_MODE_CHANGE} annotation is not present on snapshotcontent ${contentName}`,
    );
  }
  return { state: "ready", kind: "snapshot", handle };
}

async function resolveClaim(reader: ObjectReader, claim: PersistentVolumeClaim, name: string, driverName: string): Promise<ResolvedSource> {
  const unready = (why: string): ResolvedSource => ({
    state: "unready",
    why: `error getting handle for DataSource Type PersistentVolumeClaim by Name ${name}: ${why}`,
  });
  const source = await reader.find(persistentVolumeClaims, { namespace: claim.metadata.namespace, name });
  if (source === undefined) return unready(`error getting PVC ${name} from api server: persistentvolumeclaims "${name}" not found`);
  if (source.metadata.deletionTimestamp !== undefined) return unready(`the PVC DataSource ${name} is currently being deleted`);
  if (source.status?.phase !== "Bound") return unready(`the PVC DataSource ${name} must be in Bound phase`);
  if ((source.spec.volumeMode ?? "Filesystem") !== (claim.spec.volumeMode ?? "Filesystem"))
    return unready("the source PVC and destination PVCs must have the same volume mode for cloning");
  const volume = await reader.find(persistentVolumes, { name: source.spec.volumeName ?? "" });
  if (volume?.spec.claimRef?.uid !== source.metadata.uid) return unready(`claim in dataSource not bound or invalid`);
  if (volume?.spec.csi?.driver !== driverName) return unready(`the source PVC ${name} is not of this driver`);
  return { state: "ready", kind: "volume", handle: volume.spec.csi.volumeHandle };
}

function isReady(snapshot: VolumeSnapshot): boolean {
  return snapshot.status?.readyToUse === true;
}
