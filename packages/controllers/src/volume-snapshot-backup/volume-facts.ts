/** What a VolumeSnapshotBackup is of: found out once and kept in its status, so that the application's claim and snapshot may go. */
import {
  LABELS,
  locationResticSecret,
  RESTIC_SECRET_KEYS,
  type VolumeSnapshotBackup,
  type VolumeSnapshotBackupStatus,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { type PersistentVolumeClaim, persistentVolumeClaims } from "@drayage/kube";
import { ensureLocationSecret, type LocationSecretDeps, volumeRepository } from "../volsync-era/location-secret.ts";

export interface VolumeFacts {
  readonly claimName: string;
  readonly claimSize: string;
  readonly storageClass: string;
  readonly snapshotClass: string;
  readonly repository: string;
}

/** As the status has them; undefined while it has not all of them. */
export function factsOf({ status }: VolumeSnapshotBackup): VolumeFacts | undefined {
  const { sourcePVCData, resticrepository = "", volumeSnapshotClassName = "" } = status ?? {};
  if (resticrepository === "" || (sourcePVCData?.name ?? "") === "") return undefined;
  return {
    claimName: sourcePVCData?.name ?? "",
    claimSize: sourcePVCData?.size ?? "0",
    storageClass: sourcePVCData?.storageClassName ?? "",
    snapshotClass: volumeSnapshotClassName,
    repository: resticrepository,
  };
}

/** The location is the one whose Secret is named. */
export function locationOf({ spec }: VolumeSnapshotBackup): string {
  const name = spec.resticSecretRef?.name ?? "";
  const ending = locationResticSecret("");
  return name.endsWith(ending) ? name.slice(0, -ending.length) : "";
}

export type FoundFacts = { readonly fault: string } | { readonly status: VolumeSnapshotBackupStatus };

/** Finds out what it is of. Throws where the location's Secret cannot be made whole. */
export async function findFacts(deps: LocationSecretDeps, backup: VolumeSnapshotBackup): Promise<FoundFacts> {
  const { client, namespace } = deps;
  const { volumeSnapshotContent, resticSecretRef } = backup.spec;
  const contentName = volumeSnapshotContent?.name ?? "";
  if (contentName === "") return { fault: "spec.volumeSnapshotContent.name is missing" };
  if (locationOf(backup) === "")
    return { fault: `spec.resticSecretRef.name is "${resticSecretRef?.name ?? ""}", the Secret of a location is wanted: NAME-volsync-restic` };
  const content = await client.find(volumeSnapshotContents, { name: contentName });
  if (content === undefined) return { fault: `volume snapshot content "${contentName}" does not exist` };
  const { name: snapshotName = "", namespace: snapshotNamespace = "" } = content.spec.volumeSnapshotRef;
  // The snapshot of another namespace would bring its data into this one's backup.
  if (snapshotNamespace !== backup.metadata.namespace)
    return { fault: `volume snapshot content "${contentName}" is of namespace "${snapshotNamespace}", and this object is of "${backup.metadata.namespace}"` };
  const snapshot = await client.find(volumeSnapshots, { namespace: snapshotNamespace, name: snapshotName });
  if (snapshot === undefined) return { fault: `volume snapshot "${snapshotNamespace}/${snapshotName}" does not exist` };
  const claimName = snapshot.spec.source.persistentVolumeClaimName ?? "";
  const claim = await client.find<PersistentVolumeClaim>(persistentVolumeClaims, { namespace: snapshotNamespace, name: claimName });
  if (claim === undefined) return { fault: `claim "${snapshotNamespace}/${claimName}" of volume snapshot "${snapshotName}" does not exist` };
  if (claim.spec.volumeMode === "Block" || content.spec.sourceVolumeMode === "Block") {
    return {
      fault: `claim "${snapshotNamespace}/${claimName}" is of mode Block, and VolSync's restic moves files: have it moved by a DataUpload (spec.snapshotMoveData)`,
    };
  }
  const base = (await ensureLocationSecret(deps, locationOf(backup)))[RESTIC_SECRET_KEYS.repository] ?? "";
  return {
    status: {
      sourcePVCData: {
        name: claimName,
        size: claim.spec.resources?.requests?.["storage"] ?? claim.status?.capacity?.["storage"] ?? "0",
        storageClassName: claim.spec.storageClassName ?? "",
      },
      volumeSnapshotClassName: content.spec.volumeSnapshotClassName ?? "",
      resticrepository: volumeRepository(base, { namespace, backup: backup.metadata.labels?.[LABELS.backupName] ?? "", content: contentName }),
    },
  };
}
