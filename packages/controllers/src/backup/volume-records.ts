/** What became of each volume of a backup: the entries of `volumeinfo.json.gz`. */
import { ANNOTATIONS, type DataUpload, type PodVolumeBackup } from "@drayage/api";
import type { GenericObject, PersistentVolume } from "@drayage/kube";
import { isOfSnapshot, type ObservedSnapshot } from "../backup-operations/snapshot-operations.ts";
import type { BackupVolumeInfo, ItemOperation } from "../ports.ts";

/** Stands where a local snapshot's facts would stand, for volumes whose data was moved. */
const UNKNOWN = "unknown";
const BUILT_IN_MOVER = "velero";

/** Volumes that a backup met, by what it did with them. */
export class VolumeRecords {
  readonly #volumes = new Map<string, PersistentVolume>();
  readonly #skipped = new Map<string, string>();

  /** Remembers a volume that is in the backup. */
  add(volume: GenericObject): void {
    const found = volume as unknown as PersistentVolume;
    if (found.spec.claimRef?.name !== undefined) this.#volumes.set(claimKey(found.spec.claimRef.namespace ?? "", found.spec.claimRef.name), found);
  }

  /** Remembers why no data of a claim's volume is in the backup. */
  skip(namespace: string, claim: string, reason: string): void {
    this.#skipped.set(claimKey(namespace, claim), reason);
  }

  /** Entries of what was skipped, then of what is being moved and of the snapshots that stay (by operation id), in the order of the operations. */
  infos(
    operations: readonly ItemOperation[],
    uploads: ReadonlyMap<string, DataUpload>,
    snapshots: ReadonlyMap<string, ObservedSnapshot>,
    read: readonly PodVolumeBackup[],
  ): BackupVolumeInfo[] {
    const skipped = [...this.#skipped].flatMap(([key, skippedReason]): BackupVolumeInfo[] => {
      const volume = this.#volumes.get(key);
      if (volume === undefined) return [];
      return [{ ...claimFacts(volume), snapshotDataMoved: false, preserveLocalSnapshot: false, skipped: true, skippedReason, pvInfo: pvInfo(volume) }];
    });
    const moved = operations.flatMap((operation): BackupVolumeInfo[] => {
      const { resourceIdentifier, operationID, postOperationItems } = operation.spec;
      const upload = uploads.get(postOperationItems?.[0]?.Name ?? "");
      const volume = this.#volumes.get(claimKey(resourceIdentifier.Namespace, resourceIdentifier.Name));
      if (upload === undefined || volume === undefined) return [];
      return [completeFromUpload(movedInfo(volume, upload, operationID), upload)];
    });
    const kept = operations.filter(isOfSnapshot).flatMap((operation): BackupVolumeInfo[] => {
      const seen = snapshots.get(operation.spec.operationID);
      const volume = this.#volumes.get(claimKey(operation.spec.resourceIdentifier.Namespace, seen?.snapshot.spec.source.persistentVolumeClaimName ?? ""));
      return seen === undefined || volume === undefined ? [] : [completeFromSnapshot(keptInfo(volume, operation), operation, seen)];
    });
    return [...skipped, ...moved, ...read.map((backup) => this.#readInfo(backup)), ...kept];
  }

  /** A volume that has no claim is told by its pod alone. */
  #readInfo({ metadata, spec, status }: PodVolumeBackup): BackupVolumeInfo {
    const { namespace = "", name = "" } = spec.pod;
    const claim = metadata.annotations?.[ANNOTATIONS.pvcName];
    const volume = claim === undefined ? undefined : this.#volumes.get(claimKey(namespace, claim));
    const incremental = status?.incrementalBytes ?? 0;
    return {
      ...(volume === undefined ? {} : claimFacts(volume)),
      backupMethod: "PodVolumeBackup",
      snapshotDataMoved: false,
      preserveLocalSnapshot: false,
      skipped: false,
      ...(status?.startTimestamp == null ? {} : { startTimestamp: status.startTimestamp }),
      ...(status?.completionTimestamp == null ? {} : { completionTimestamp: status.completionTimestamp }),
      result: status?.phase === "Completed" ? "succeeded" : "failed",
      pvbInfo: {
        snapshotHandle: status?.snapshotID ?? "",
        size: status?.progress?.totalBytes ?? 0,
        ...(incremental > 0 ? { incrementalSize: incremental } : {}),
        uploaderType: spec.uploaderType ?? "kopia",
        volumeName: spec.volume,
        podName: name,
        podNamespace: namespace,
        nodeName: spec.node,
        Phase: status?.phase ?? "New",
      },
      ...(volume === undefined ? {} : { pvInfo: pvInfo(volume) }),
    };
  }
}

function movedInfo(volume: PersistentVolume, upload: DataUpload, operationID: string): BackupVolumeInfo {
  return {
    ...claimFacts(volume),
    backupMethod: "CSISnapshot",
    snapshotDataMoved: true,
    preserveLocalSnapshot: false,
    skipped: false,
    csiSnapshotInfo: {
      snapshotHandle: UNKNOWN,
      size: 0,
      driver: upload.spec.csiSnapshot?.driver ?? "",
      vscName: UNKNOWN,
      operationID: UNKNOWN,
      ReadyToUse: null,
    },
    snapshotDataMovementInfo: {
      dataMover: upload.spec.datamover === undefined || upload.spec.datamover === "" ? BUILT_IN_MOVER : upload.spec.datamover,
      // Whoever moves it: the repository's format is Kopia's.
      uploaderType: "kopia",
      retainedSnapshot: upload.spec.csiSnapshot?.volumeSnapshot ?? "",
      snapshotHandle: "",
      operationID,
      size: 0,
    },
    pvInfo: pvInfo(volume),
  };
}

/** The entry with what its DataUpload says now; called at the end of the backup proper and again when the uploads have ended. */
export function completeFromUpload(info: BackupVolumeInfo, upload: DataUpload): BackupVolumeInfo {
  const { status } = upload;
  const moved = info.snapshotDataMovementInfo;
  if (moved === undefined) return info;
  const ended = status?.phase === "Completed" || status?.phase === "Failed" || status?.phase === "Canceled";
  const { Phase: _phase, incrementalSize: _incremental, ...movement } = moved;
  const { result: _result, ...rest } = info;
  return {
    ...rest,
    ...(status?.startTimestamp == null ? {} : { startTimestamp: status.startTimestamp }),
    ...(status?.completionTimestamp == null ? {} : { completionTimestamp: status.completionTimestamp }),
    ...(ended ? { result: status.phase === "Completed" ? ("succeeded" as const) : ("failed" as const) } : {}),
    snapshotDataMovementInfo: {
      ...movement,
      snapshotHandle: status?.snapshotID ?? "",
      size: status?.progress?.totalBytes ?? 0,
      ...((status?.incrementalBytes ?? 0) > 0 ? { incrementalSize: status?.incrementalBytes ?? 0 } : {}),
      ...(status?.phase === undefined ? {} : { Phase: status.phase }),
    },
  };
}

function keptInfo(volume: PersistentVolume, { spec }: ItemOperation): BackupVolumeInfo {
  return {
    ...claimFacts(volume),
    backupMethod: "CSISnapshot",
    snapshotDataMoved: false,
    preserveLocalSnapshot: true,
    skipped: false,
    csiSnapshotInfo: { snapshotHandle: "", size: 0, driver: volume.spec.csi?.driver ?? "", vscName: "", operationID: spec.operationID, ReadyToUse: null },
    pvInfo: pvInfo(volume),
  };
}

/** The entry with what its snapshot and its operation say now. A snapshot that has left the cluster has nothing to add. */
export function completeFromSnapshot(info: BackupVolumeInfo, { status }: ItemOperation, seen: ObservedSnapshot | undefined): BackupVolumeInfo {
  const ended = status.phase === "Completed" || status.phase === "Failed";
  const facts = seen?.content?.status;
  const created = seen?.snapshot.status?.creationTime ?? seen?.snapshot.metadata.creationTimestamp;
  const kept = info.csiSnapshotInfo;
  return {
    ...info,
    ...(created === undefined ? {} : { startTimestamp: created }),
    ...(ended && status.updated !== undefined ? { completionTimestamp: status.updated } : {}),
    ...(ended ? { result: status.phase === "Completed" ? ("succeeded" as const) : ("failed" as const) } : {}),
    ...(kept === undefined || seen === undefined
      ? {}
      : {
          csiSnapshotInfo: {
            ...kept,
            snapshotHandle: facts?.snapshotHandle ?? kept.snapshotHandle,
            size: facts?.restoreSize ?? kept.size,
            vscName: seen.content?.metadata.name ?? kept.vscName,
            ReadyToUse: facts?.readyToUse ?? null,
            ...(facts?.volumeGroupSnapshotHandle === undefined ? {} : { volumeGroupSnapshotHandle: facts.volumeGroupSnapshotHandle }),
          },
        }),
  };
}

function claimFacts(volume: PersistentVolume): Pick<BackupVolumeInfo, "pvcName" | "pvcNamespace" | "pvName"> {
  return { pvcName: volume.spec.claimRef?.name ?? "", pvcNamespace: volume.spec.claimRef?.namespace ?? "", pvName: volume.metadata.name ?? "" };
}

function pvInfo(volume: PersistentVolume): NonNullable<BackupVolumeInfo["pvInfo"]> {
  return { reclaimPolicy: volume.spec.persistentVolumeReclaimPolicy ?? "", labels: volume.metadata.labels ?? null };
}

function claimKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}
