/** DataDownload: a snapshot of the repository, restored into a new volume that the application's claim then gets. The engine is that of data-movement. */
import { type DataDownload, dataDownloads, LABELS, parseRestoreDataPathResult, VOLSYNC_DATA_MOVER } from "@drayage/api";
import { type Controller, persistentVolumeClaims } from "@drayage/kube";
import { repositoryFor } from "../backup-repository/ensure-backup-repository.ts";
import type { MovementKind } from "../data-movement/movement.ts";
import { type MovementControllerDeps, startMovementController } from "../data-movement/movement-controller.ts";
import { registeredMovers } from "../data-movement/registered-movers.ts";
import { failed, type Work } from "../data-movement/work.ts";
import type { ExposerDeps } from "../exposers/exposer-deps.ts";
import { exposeRestore, type RepositoryAccess } from "../exposers/generic-restore-exposer.ts";
import { readResultKey } from "../exposers/mover-secret.ts";
import { systemsOf } from "../exposers/node-os.ts";
import { cleanUpRestore, handoverOf, rebindVolume } from "../exposers/rebind-volume.ts";
import { resticAccess } from "../exposers/restic-access.ts";
import { Sightings } from "../exposers/sightings.ts";
import { makesCopies } from "../exposers/tenant-copies.ts";

export interface DataDownloadControllerDeps extends MovementControllerDeps {
  readonly pod: ExposerDeps["pod"];
  readonly config: ExposerDeps["config"];
}

const CLAIM_MAX_MS = 30 * 60_000;

export function startDataDownloadController(deps: DataDownloadControllerDeps): Controller {
  return startMovementController(deps.caches.downloads, dataDownloadKind(deps), deps);
}

export function dataDownloadKind(deps: DataDownloadControllerDeps): MovementKind<DataDownload> {
  const { client, namespace, caches } = deps;
  const moverOf = registeredMovers(caches);
  const sightings = new Sightings({ ...deps, moverPods: caches.pods });
  const systemOf = systemsOf(caches.nodes);
  /** Each look goes by what those before it have seen. */
  const seeing = <R extends Work | string | undefined>(download: DataDownload, look: (seen: ExposerDeps) => Promise<R>): Promise<R> =>
    sightings.look(download, (seeingClient) => look({ ...deps, systemOf, client: seeingClient }));
  const finder = { client, namespace, known: caches.repositories };
  const mayHaveCopies = (download: DataDownload): boolean => makesCopies(deps.config) || !sightings.knowsAll(download);
  return {
    type: dataDownloads,
    noun: "data download",
    // What VolSync left is read, never added to.
    alsoServedBy: [VOLSYNC_DATA_MOVER],
    podLabel: LABELS.dataDownload,
    stampsStartOnEnd: false,
    startStatus: {},
    begun: (download) => sightings.begun(download),
    ended: (download) => sightings.ended(download),
    // A restore makes the claim right after this; one that could not, and does not know of this one since the answer to it was lost, never will.
    blockedMaxMs: CLAIM_MAX_MS,
    blockedBy: (download) =>
      seeing(download, async (seen) => {
        const { namespace: targetNamespace, pvc } = download.spec.targetVolume;
        const target = await seen.client.find(persistentVolumeClaims, { namespace: targetNamespace, name: pvc });
        return target === undefined ? `claim "${targetNamespace}/${pvc}" to be created` : undefined;
      }),
    expose: async (download) => {
      // A backup whose upload did not complete has no snapshot; Velero makes the download all the same.
      if (download.spec.nodeOS === "windows")
        return failed("spec.nodeOS is windows: the volume was backed up on Windows, and Drayage's movers run on Linux only");
      if (download.spec.snapshotID === "") return failed("spec.snapshotID is empty: the backup of this volume did not complete");
      const { backupStorageLocation: location, sourceNamespace: volumeNamespace, datamover } = download.spec;
      if (datamover === VOLSYNC_DATA_MOVER) return seeing(download, (seen) => exposeRestore(seen, download, () => resticAccess(seen, download)));
      if (moverOf(datamover ?? "") !== undefined)
        return seeing(download, (seen) => exposeRestore({ ...seen, moverOf }, download, async () => failed("it has no repository")));
      const access = async (): Promise<RepositoryAccess | Work> => {
        const repository = await repositoryFor(finder, { location, volumeNamespace }, download.metadata.creationTimestamp);
        return "state" in repository ? repository : { repository };
      };
      const early = await access();
      if ("state" in early && early.state !== "wait") return early;
      return seeing(download, (seen) => exposeRestore(seen, download, access));
    },
    deliver: (download, totalBytes) => seeing(download, (seen) => rebindVolume(seen, download, totalBytes)),
    isDelivering: (download) => handoverOf(download) !== undefined,
    cleanUp: (download, _ending, endedForMs) => seeing(download, (seen) => cleanUpRestore(seen, download, endedForMs, mayHaveCopies(download))),
    resultKey: (download) => readResultKey(sightings.client(download), namespace, download),
    parseResult: (message) => {
      const result = parseRestoreDataPathResult(message);
      if (result === undefined) return undefined;
      const { totalBytes, error } = result;
      return { status: {}, totalBytes, ...(error === undefined ? {} : { message: error }) };
    },
  };
}
