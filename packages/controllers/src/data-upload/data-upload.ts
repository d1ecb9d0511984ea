/** DataUpload: a volume snapshot, moved into the repository of its namespace. The engine is that of data-movement; what is special about uploads is here. */
import { type DataUpload, dataUploads, LABELS, parseBackupDataPathResult, type VolumeSnapshot } from "@drayage/api";
import { type Controller, keyOf, source } from "@drayage/kube";
import { parseMoverResult } from "@drayage/mover-sdk";
import { type RepositoryAtHand, repositoryAtHand } from "../backup-repository/ensure-backup-repository.ts";
import type { MovementKind } from "../data-movement/movement.ts";
import { type MovementControllerDeps, startMovementController } from "../data-movement/movement-controller.ts";
import { leavesPlaceTo, letsOthersGo, startsAfter, thatGaveWay } from "../data-movement/precedence.ts";
import { registeredMovers } from "../data-movement/registered-movers.ts";
import { done, type Work } from "../data-movement/work.ts";
import { cleanUpSnapshot, exposeSnapshot } from "../exposers/csi-snapshot-exposer.ts";
import type { ExposerDeps } from "../exposers/exposer-deps.ts";
import { readResultKey } from "../exposers/mover-secret.ts";
import { systemsOf } from "../exposers/node-os.ts";
import { Sightings } from "../exposers/sightings.ts";
import { makesCopies } from "../exposers/tenant-copies.ts";

export interface DataUploadControllerDeps extends MovementControllerDeps {
  readonly pod: ExposerDeps["pod"];
  readonly config: ExposerDeps["config"];
}

export function startDataUploadController(deps: DataUploadControllerDeps): Controller {
  const { snapshots } = deps.caches;
  const copies = snapshots === undefined ? [] : [source(snapshots, { when: changesWhatIsAwaited })];
  const ahead = source(deps.caches.volumeBackups, { when: letsOthersGo, toKeys: () => thatGaveWay(deps.caches).map(keyOf) });
  return startMovementController(deps.caches.uploads, dataUploadKind(deps), { ...deps, moreSources: [...copies, ahead] });
}

/** Of a VolumeSnapshot, which is called like the upload that it was made for: that a volume can be made from it, what is the matter with it, that it is gone. */
export function changesWhatIsAwaited(before: VolumeSnapshot | undefined, after: VolumeSnapshot | undefined): boolean {
  const [was, is] = [before?.status, after?.status];
  return after === undefined || was?.readyToUse !== is?.readyToUse || was?.error?.message !== is?.error?.message;
}

export function dataUploadKind(deps: DataUploadControllerDeps): MovementKind<DataUpload> {
  const moverOf = registeredMovers(deps.caches);
  const { snapshots } = deps.caches;
  const sightings = new Sightings({ ...deps, moverPods: deps.caches.pods, snapshots });
  const exposer = {
    ...deps,
    moverOf,
    snapshots,
    refused: new Set<string>(),
    systemOf: systemsOf(deps.caches.nodes),
    startsAfter: (upload: DataUpload) => startsAfter(deps, upload),
  };
  const finder = { client: deps.client, namespace: deps.namespace, known: deps.caches.repositories };
  const repositoryOf = ({ spec, metadata }: DataUpload): RepositoryAtHand =>
    repositoryAtHand(finder, { location: spec.backupStorageLocation, volumeNamespace: spec.sourceNamespace }, metadata.creationTimestamp);
  const hasOwnMover = ({ spec }: DataUpload): boolean => moverOf(spec.datamover ?? "") !== undefined;
  const mayHaveCopies = (upload: DataUpload): boolean => makesCopies(deps.config) || !sightings.knowsAll(upload);
  return {
    type: dataUploads,
    noun: "data upload",
    podLabel: LABELS.dataUpload,
    stampsStartOnEnd: true,
    startStatus: { nodeOS: "linux" },
    blockedBy: async () => undefined,
    begun: (upload) => sightings.begun(upload),
    ended: (upload) => sightings.ended(upload),
    heldBy: (upload) => (hasOwnMover(upload) ? undefined : repositoryOf(upload).heldBy()),
    leavesPlaceTo: (upload) => leavesPlaceTo(deps, upload),
    expose: async (upload) => {
      const repository = repositoryOf(upload);
      // A mover of another kind has no repository.
      const expose = (): Promise<Work> => sightings.look(upload, (client) => exposeSnapshot({ ...exposer, client }, upload, repository));
      if (hasOwnMover(upload)) return expose();
      // Asked for first, so that it gets ready while the volume is exposed and the mover's pod starts.
      const early = await repository.ready();
      if ("state" in early && early.state !== "wait") return early;
      return expose();
    },
    deliver: async () => done,
    isDelivering: () => false,
    cleanUp: (upload, _ending, endedForMs) =>
      sightings.look(upload, (client) => cleanUpSnapshot({ ...exposer, client }, upload, endedForMs, mayHaveCopies(upload))),
    resultKey: (upload) => readResultKey(sightings.client(upload), deps.namespace, upload),
    parseResult: (message, upload) => {
      if (hasOwnMover(upload)) return uploadResultOf(message, upload);
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

/** What a registered mover said at its end. */
function uploadResultOf(message: string, { metadata }: DataUpload): ReturnType<MovementKind<DataUpload>["parseResult"]> {
  const parsed = parseMoverResult(message);
  if (parsed === undefined) return undefined;
  const { snapshotId, totalBytes, incrementalBytes = 0, result = {} } = parsed;
  const facts = Object.keys(result).length === 0 ? {} : { dataMoverResult: { ...result } };
  return {
    status: { snapshotID: snapshotId, path: `/${metadata.uid ?? ""}`, ...facts, ...(incrementalBytes === 0 ? {} : { incrementalBytes }) },
    totalBytes,
  };
}
