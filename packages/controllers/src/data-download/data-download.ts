/** DataDownload: a snapshot of the repository, restored into a new volume that the application's claim then gets. The engine is that of data-movement. */
import { type DataDownload, dataDownloads, LABELS, parseRestoreDataPathResult, VOLSYNC_DATA_MOVER } from "@drayage/api";
import { type Controller, persistentVolumeClaims, pods } from "@drayage/kube";
import { repositoryFor } from "../backup-repository/ensure-backup-repository.ts";
import type { MovementKind } from "../data-movement/movement.ts";
import { type MovementControllerDeps, startMovementController } from "../data-movement/movement-controller.ts";
import { registeredMovers } from "../data-movement/registered-movers.ts";
import { failed, type Work } from "../data-movement/work.ts";
import type { ExposerDeps } from "../exposers/exposer-deps.ts";
import { exposeRestore, type RepositoryAccess } from "../exposers/generic-restore-exposer.ts";
import { successMessage } from "../exposers/hosting-pod.ts";
import { cleanUpRestore, handoverOf, rebindVolume } from "../exposers/rebind-volume.ts";
import { resticAccess } from "../exposers/restic-access.ts";

export interface DataDownloadControllerDeps extends MovementControllerDeps {
  readonly pod: ExposerDeps["pod"];
  readonly config: ExposerDeps["config"];
}

export function startDataDownloadController(deps: DataDownloadControllerDeps): Controller {
  return startMovementController(deps.caches.downloads, dataDownloadKind(deps), deps);
}

export function dataDownloadKind(deps: DataDownloadControllerDeps): MovementKind<DataDownload> {
  const { client, namespace } = deps;
  const moverOf = registeredMovers(deps.caches);
  const exposer = { ...deps, moverOf };
  return {
    type: dataDownloads,
    noun: "data download",
    // What VolSync left is read, never added to.
    alsoServedBy: [VOLSYNC_DATA_MOVER],
    podLabel: LABELS.dataDownload,
    stampsStartOnEnd: false,
    startStatus: {},
    blockedBy: async ({ spec }) => {
      const { namespace: targetNamespace, pvc } = spec.targetVolume;
      const target = await client.find(persistentVolumeClaims, { namespace: targetNamespace, name: pvc });
      return target === undefined ? `claim "${targetNamespace}/${pvc}" to be created` : undefined;
    },
    expose: async (download) => {
      // A backup whose upload did not complete has no snapshot; Velero makes the download all the same.
      if (download.spec.snapshotID === "") return failed("spec.snapshotID is empty: the backup of this volume did not complete");
      const { backupStorageLocation: location, sourceNamespace: volumeNamespace, datamover } = download.spec;
      if (datamover === VOLSYNC_DATA_MOVER) return exposeRestore(deps, download, () => resticAccess(deps, download));
      if (moverOf(datamover ?? "") !== undefined) return exposeRestore(exposer, download, async () => failed("it has no repository"));
      const access = async (): Promise<RepositoryAccess | Work> => {
        const repository = await repositoryFor(deps, { location, volumeNamespace }, download.metadata.creationTimestamp);
        return "state" in repository ? repository : { repository };
      };
      const early = await access();
      if ("state" in early && early.state !== "wait") return early;
      return exposeRestore(deps, download, access);
    },
    deliver: async (download) => {
      const pod = await client.find(pods, { namespace, name: download.metadata.name ?? "" });
      const result = pod === undefined ? undefined : parseRestoreDataPathResult(successMessage(pod));
      return rebindVolume(deps, download, result?.totalBytes);
    },
    isDelivering: (download) => handoverOf(download) !== undefined,
    cleanUp: (download, _ending, endedForMs) => cleanUpRestore(deps, download, endedForMs),
    parseResult: (message) => {
      const result = parseRestoreDataPathResult(message);
      if (result === undefined) return undefined;
      const { totalBytes, error } = result;
      return { status: {}, totalBytes, ...(error === undefined ? {} : { message: error }) };
    },
  };
}
