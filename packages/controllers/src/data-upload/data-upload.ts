/** DataUpload: a volume snapshot, moved into the repository of its namespace. The engine is that of data-movement; what is special about uploads is here. */
import { type BackupRepository, type DataUpload, dataUploads, LABELS, parseBackupDataPathResult } from "@drayage/api";
import type { Controller } from "@drayage/kube";
import { repositoryFor } from "../backup-repository/ensure-backup-repository.ts";
import type { MovementKind } from "../data-movement/movement.ts";
import { type MovementControllerDeps, startMovementController } from "../data-movement/movement-controller.ts";
import { done, type Work } from "../data-movement/work.ts";
import { csiSnapshotExposer } from "../exposers/csi-snapshot-exposer.ts";
import type { ExposerDeps } from "../exposers/exposer-deps.ts";

export interface DataUploadControllerDeps extends MovementControllerDeps {
  readonly pod: ExposerDeps["pod"];
  readonly config: ExposerDeps["config"];
}

export function startDataUploadController(deps: DataUploadControllerDeps): Controller {
  return startMovementController(deps.caches.uploads, dataUploadKind(deps), deps);
}

export function dataUploadKind(deps: DataUploadControllerDeps): MovementKind<DataUpload> {
  const exposer = csiSnapshotExposer(deps);
  return {
    type: dataUploads,
    noun: "data upload",
    podLabel: LABELS.dataUpload,
    stampsStartOnEnd: true,
    startStatus: { nodeOS: "linux" },
    blockedBy: async () => undefined,
    expose: async (upload) => {
      const { backupStorageLocation: location, sourceNamespace: volumeNamespace } = upload.spec;
      const repository = (): Promise<BackupRepository | Work> => repositoryFor(deps, { location, volumeNamespace }, upload.metadata.creationTimestamp);
      // Asked for first, so that it gets ready while the volume is exposed.
      const early = await repository();
      if ("state" in early && early.state !== "wait") return early;
      return exposer.expose(upload, repository);
    },
    deliver: async () => done,
    isDelivering: () => false,
    cleanUp: (upload, _ending, endedForMs) => exposer.cleanUp(upload, endedForMs),
    parseResult: (message, upload) => {
      const result = parseBackupDataPathResult(message);
      if (result === undefined) return undefined;
      const { snapshotID, incrementalBytes, totalBytes, emptySnapshot, error } = result;
      const remark = error ?? (emptySnapshot ? "volume was empty so no data was upload" : undefined);
      return {
        // As Velero's own objects have it, a zero is left out.
        status: { snapshotID, path: `/${upload.metadata.uid ?? ""}`, ...(incrementalBytes === 0 ? {} : { incrementalBytes }) },
        totalBytes,
        ...(remark === undefined ? {} : { message: remark }),
      };
    },
  };
}
