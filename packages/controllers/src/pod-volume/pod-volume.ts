/**
 * PodVolumeBackup and PodVolumeRestore: volumes that are read, or filled, through the file system of the node on which their pod runs. The engine is that of data-movement;
 * what is special is that only the agent of that node can do it, and that a restore waits until the pod holds its volumes in its first init container.
 */
import {
  type BackupRepository,
  FINALIZERS,
  LABELS,
  type PodVolumeBackup,
  type PodVolumeRestore,
  parseBackupDataPathResult,
  parseRestoreDataPathResult,
  podVolumeBackups,
  podVolumeRestores,
} from "@drayage/api";
import { type Controller, type Pod, pods, source } from "@drayage/kube";
import { type RepositoryAtHand, type RepositoryFinder, repositoryAtHand, repositoryFor } from "../backup-repository/ensure-backup-repository.ts";
import type { MovementKind } from "../data-movement/movement.ts";
import { type MovementControllerDeps, startMovementController } from "../data-movement/movement-controller.ts";
import { lossOf } from "../data-movement/observe.ts";
import { done, failed, type Work } from "../data-movement/work.ts";
import type { ExposerDeps } from "../exposers/exposer-deps.ts";
import { readResultKey } from "../exposers/mover-secret.ts";
import { Sightings } from "../exposers/sightings.ts";
import { cleanUpPodVolume, exposePodVolume } from "./pod-volume-exposer.ts";
import { KUBELET_ROOT } from "./pod-volume-path.ts";

export interface PodVolumeControllerDeps extends MovementControllerDeps {
  readonly pod: ExposerDeps["pod"];
  readonly config: ExposerDeps["config"];
  readonly kubeletRoot?: string;
}

/** The init container in which a restored pod waits for its volumes; always its first. */
export const RESTORE_WAIT = "restore-wait";
/** What is passed on to movers that ask for one; their own waits have limits of their own. */
const RESOURCE_TIMEOUT = "10m0s";

export function startPodVolumeBackupController(deps: PodVolumeControllerDeps): Controller {
  return startMovementController(deps.caches.volumeBackups, podVolumeBackupKind(deps), deps);
}

export function startPodVolumeRestoreController(deps: PodVolumeControllerDeps): Controller {
  const { caches, namespace } = deps;
  // A pod that reaches its init container is what a restore waits for.
  const arrivals = source(caches.localPods, {
    toKeys: ({ metadata }) =>
      caches.volumeRestores.list().flatMap((restore) => (restore.spec.pod.uid === metadata.uid ? [{ namespace, name: restore.metadata.name ?? "" }] : [])),
  });
  return startMovementController(caches.volumeRestores, podVolumeRestoreKind(deps), { ...deps, moreSources: [arrivals] });
}

export function podVolumeBackupKind(deps: PodVolumeControllerDeps): MovementKind<PodVolumeBackup> {
  const sightings = new Sightings({ ...deps, moverPods: deps.caches.pods });
  const repositoryOf = ({ spec, metadata }: PodVolumeBackup): RepositoryAtHand =>
    repositoryAtHand(finderOf(deps), { location: spec.backupStorageLocation, volumeNamespace: spec.pod.namespace ?? "" }, metadata.creationTimestamp);
  return {
    ...sharedKind(deps, sightings),
    type: podVolumeBackups,
    noun: "pod volume backup",
    podLabel: LABELS.podVolumeBackup,
    nodeFields: [],
    pinnedTo: ({ spec }) => spec.node,
    blockedBy: async () => undefined,
    heldBy: (backup) => repositoryOf(backup).heldBy(),
    expose: async (backup) => {
      const { pod: reference, volume, uploaderType = "", backupStorageLocation: location } = backup.spec;
      const key = { namespace: reference.namespace, name: reference.name ?? "" };
      const cached = deps.caches.localPods.get(key);
      const pod = cached?.metadata.uid === reference.uid ? cached : await deps.client.find(pods, key);
      if (uploaderType === "restic") return failed('spec.uploaderType is "restic", and only kopia is written');
      if (pod === undefined || pod.metadata.uid !== reference.uid) return failed(`pod "${reference.namespace}/${reference.name}" is gone`);
      return expose(deps, sightings, {
        type: podVolumeBackups,
        movement: backup,
        label: LABELS.podVolumeBackup,
        direction: "backup",
        locationName: location,
        pod,
        volumeName: volume,
        repository: repositoryOf(backup),
      });
    },
    parseResult: (message, backup) => {
      const result = parseBackupDataPathResult(message);
      if (result === undefined) return undefined;
      const { snapshotID, incrementalBytes, totalBytes, emptySnapshot, error } = result;
      const remark = error ?? (emptySnapshot ? "volume was empty so no snapshot was taken" : undefined);
      return {
        status: { snapshotID, path: `/${backup.metadata.uid ?? ""}`, ...(incrementalBytes === 0 ? {} : { incrementalBytes }) },
        totalBytes,
        ...(remark === undefined ? {} : { message: remark }),
      };
    },
  };
}

export function podVolumeRestoreKind(deps: PodVolumeControllerDeps): MovementKind<PodVolumeRestore> {
  const { caches, nodeName } = deps;
  const sightings = new Sightings({ ...deps, moverPods: caches.pods });
  const here = ({ spec }: PodVolumeRestore): Pod | undefined => {
    const pod = caches.localPods.get({ namespace: spec.pod.namespace, name: spec.pod.name ?? "" });
    return pod?.metadata.uid === spec.pod.uid ? pod : undefined;
  };
  return {
    ...sharedKind(deps, sightings),
    type: podVolumeRestores,
    noun: "pod volume restore",
    podLabel: LABELS.podVolumeRestore,
    nodeFields: ["node"],
    pinnedTo: (restore) => restore.status?.node ?? (here(restore) === undefined ? "" : nodeName),
    astray: async ({ spec }) => {
      const name = `pod "${spec.pod.namespace}/${spec.pod.name}"`;
      const pod = await deps.client.find(pods, { namespace: spec.pod.namespace, name: spec.pod.name ?? "" });
      if (pod === undefined || pod.metadata.uid !== spec.pod.uid) return `${name} is gone`;
      const loss = pod.spec.nodeName === undefined ? undefined : lossOf(caches, pod.spec.nodeName);
      return loss?.inMs === 0 ? `${name} is on a node that was given up: ${loss.why}` : undefined;
    },
    blockedBy: async (restore) => {
      const first = here(restore)?.status?.initContainerStatuses?.find(({ name }) => name === RESTORE_WAIT);
      return first?.state?.running === undefined ? `pod "${restore.spec.pod.namespace}/${restore.spec.pod.name}" to hold its volumes` : undefined;
    },
    expose: async (restore) => {
      const { volume, uploaderType = "", snapshotID, backupStorageLocation: location, sourceNamespace: volumeNamespace } = restore.spec;
      if (snapshotID === "") return failed("spec.snapshotID is empty: the backup of this volume did not complete");
      const pod = here(restore);
      if (pod === undefined) return failed(`pod "${restore.spec.pod.namespace}/${restore.spec.pod.name}" is gone`);
      return expose(deps, sightings, {
        type: podVolumeRestores,
        movement: restore,
        label: LABELS.podVolumeRestore,
        direction: "restore",
        locationName: location,
        pod,
        volumeName: volume,
        snapshotSize: restore.spec.snapshotSize,
        // A restic repository is only read: nobody connects to it, and nobody maintains it.
        repository: {
          ready: async () =>
            uploaderType === "restic"
              ? resticRepository(location, volumeNamespace)
              : repositoryFor(finderOf(deps), { location, volumeNamespace }, restore.metadata.creationTimestamp),
          // What is restored is there, and so is its repository.
          underWay: () => undefined,
        },
      });
    },
    parseResult: (message) => {
      const result = parseRestoreDataPathResult(message);
      return result === undefined ? undefined : { status: {}, totalBytes: result.totalBytes };
    },
  };
}

/** What a mover is told of a repository that Velero's restic wrote, which its own password opens. */
function resticRepository(location: string, volumeNamespace: string): BackupRepository {
  return {
    metadata: { name: `restic/${volumeNamespace}` },
    spec: { backupStorageLocation: location, volumeNamespace, repositoryType: "restic", resticIdentifier: "", maintenanceFrequency: "0s" },
  };
}

function finderOf({ client, namespace, caches }: PodVolumeControllerDeps): RepositoryFinder {
  return { client, namespace, known: caches.repositories };
}

function sharedKind(deps: PodVolumeControllerDeps, sightings: Sightings) {
  return {
    begun: (movement: PodVolumeBackup | PodVolumeRestore): void => sightings.begun(movement),
    ended: (movement: PodVolumeBackup | PodVolumeRestore): void => sightings.ended(movement),
    finalizer: FINALIZERS.podVolume,
    stampsStartOnEnd: false,
    startStatus: {},
    deliver: async (): Promise<Work> => done,
    isDelivering: () => false,
    resultKey: (movement: PodVolumeBackup | PodVolumeRestore) => readResultKey(sightings.client(movement), deps.namespace, movement),
    cleanUp: (movement: PodVolumeBackup | PodVolumeRestore): Promise<Work> =>
      sightings.look(movement, (client) => cleanUpPodVolume({ ...deps, client }, movement)),
  };
}

async function expose<T extends PodVolumeBackup | PodVolumeRestore>(
  deps: PodVolumeControllerDeps,
  sightings: Sightings,
  exposure: Omit<Parameters<typeof exposePodVolume<T>>[1], "kubeletRoot" | "resourceTimeout">,
): Promise<Work> {
  // Asked for first, so that it gets ready while the pod starts.
  const early: BackupRepository | Work = await exposure.repository.ready();
  if ("state" in early && early.state !== "wait") return early;
  const whole = { ...exposure, kubeletRoot: deps.kubeletRoot ?? KUBELET_ROOT, resourceTimeout: RESOURCE_TIMEOUT };
  return sightings.look(exposure.movement, (client) => exposePodVolume({ ...deps, client }, whole));
}
