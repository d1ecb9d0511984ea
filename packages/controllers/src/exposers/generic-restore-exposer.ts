/**
 * Makes an empty volume writable in a mover pod (velero.md 4.2), hands it over to the claim of the application, and takes everything else away.
 *
 * The target claim waits with a selector that keeps the provisioner away from it; the restore claim is its copy without that selector, so the provisioner makes its volume.
 */
import { type BackupRepository, type DataDownload, DRAYAGE_ANNOTATIONS, dataDownloads, LABELS, LOCATION_TARGET, MOVER_ANNOTATIONS } from "@drayage/api";
import { controllerReference, type PersistentVolumeClaim, persistentVolumeClaims, pods, secrets, storageClasses } from "@drayage/kube";
import { epochAnnotations } from "../data-movement/movement.ts";
import { act, done, failed, type Work, wait } from "../data-movement/work.ts";
import { CACHE_PATH, cacheClaim, wantsCache } from "./cache-claim.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { buildHostingPod, unrecoverableReason } from "./hosting-pod.ts";
import { cacheNameOf, earlierEpochRemoval, notOurs } from "./intermediate-objects.ts";
import { buildRequestSecret, missingFiles, programOf, type RequestSecretOptions } from "./mover-program.ts";
import { buildMoverSecret } from "./mover-secret.ts";
import { SELECTED_NODE, windowsRefusal } from "./node-os.ts";
import { startingWork } from "./starting-pod.ts";
import { tenantCopies } from "./tenant-copies.ts";
import { unboundReason, waitingDownload } from "./unbound-claim.ts";
import { modeForMover } from "./volume-mode.ts";

/** What a mover needs to open the repository. */
export interface RepositoryAccess {
  readonly repository: Pick<BackupRepository, "metadata" | "spec">;
  /** Where it is not that of the installation's own repositories. */
  readonly password?: string;
}

/** Done when the mover pod runs. `access` gives the way into the repository once it is ready, or says what is next until then. */
export async function exposeRestore(deps: ExposerDeps, download: DataDownload, access: () => Promise<RepositoryAccess | Work>): Promise<Work> {
  const { client, namespace } = deps;
  const name = download.metadata.name ?? "";
  const key = { namespace, name };
  const earlier = await earlierEpochRemoval(deps, download);
  if (earlier !== undefined) return earlier;
  const pod = await client.find(pods, key);
  if (pod !== undefined) {
    const foreign = notOurs(pod, download);
    if (foreign !== undefined) return foreign;
    const reason = unrecoverableReason(pod);
    if (reason !== undefined) return { state: "unrecoverable", message: reason };
    if (pod.status?.phase === "Running" || pod.status?.phase === "Succeeded") return done;
    return (await unboundReason(deps, pod, waitingDownload(download, deps))) ?? startingWork(deps, pod);
  }
  const { namespace: targetNamespace, pvc } = download.spec.targetVolume;
  const target = await client.find(persistentVolumeClaims, { namespace: targetNamespace, name: pvc });
  if (target === undefined) return failed(`target claim "${targetNamespace}/${pvc}" is not there`);
  const refusal = await refusalOf(deps, target);
  if (refusal !== undefined) return refusal;
  const selectedNode = await selectedNodeOf(deps, download, target);
  if (selectedNode === "awaited")
    return wait(`a pod that uses claim "${targetNamespace}/${pvc}" to be scheduled: its storage class binds to the first consumer`);
  const claim = await client.find(persistentVolumeClaims, key);
  if (claim === undefined) {
    const copies = await restoreCopies(deps, download, target);
    if (copies !== undefined) return copies;
    const wanted = buildClaim(deps, download, target, selectedNode);
    return act(`create persistent volume claim "${namespace}/${name}"`, () => client.create(persistentVolumeClaims, wanted));
  }
  const foreign = notOurs(claim, download);
  if (foreign !== undefined) return foreign;
  const owner = controllerReference(dataDownloads, download);
  const mover = deps.moverOf?.(download.spec.datamover ?? "");
  const secret = await client.find(secrets, key);
  if (secret === undefined && mover !== undefined) {
    const missing = await missingFiles(client, namespace, mover);
    if (missing !== undefined) return failed(missing);
    const built = await buildRequestSecret(client, requestFor(download, claim.spec.volumeMode ?? "Filesystem", namespace));
    return act(`create secret "${namespace}/${name}"`, () => client.create(secrets, built));
  }
  const ready = mover === undefined ? await access() : undefined;
  if (ready !== undefined && "state" in ready) return ready;
  if (secret === undefined && ready !== undefined) {
    const built = await buildMoverSecret(client, {
      name,
      namespace,
      annotations: epochAnnotations(download),
      owner,
      label: LABELS.dataDownload,
      random: deps.random,
      locationName: download.spec.backupStorageLocation,
      ...ready,
    });
    return act(`create secret "${namespace}/${name}"`, () => client.create(secrets, built));
  }
  const hasCache = ready !== undefined && wantsCache(deps, download.spec.snapshotSize);
  if (hasCache) {
    const annotations = selectedNode === undefined ? {} : { [SELECTED_NODE]: selectedNode };
    const cached = { type: dataDownloads, movement: download, annotations };
    const work = await cacheClaim(deps, cached, ready.repository);
    if (work !== undefined) return work;
  }
  const uid = download.metadata.uid ?? "";
  const volumeMode = claim.spec.volumeMode ?? "Filesystem";
  const wanted = buildHostingPod(deps, {
    name,
    uid,
    owner,
    label: LABELS.dataDownload,
    group: "generic-restore-exposer",
    ...(mover === undefined ? {} : { program: programOf(mover, "restore") }),
    command: ["data-mover", "restore"],
    args: [
      `--volume-path=/${uid}`,
      `--volume-mode=${volumeMode}`,
      `--data-download=${name}`,
      `--resource-timeout=${download.spec.operationTimeout}`,
      `--cache-volume-path=${hasCache ? CACHE_PATH : ""}`,
    ],
    volumeMode,
    ...(hasCache ? { cache: { claimName: cacheNameOf(download), path: CACHE_PATH } } : {}),
    epoch: epochAnnotations(download),
    storageClass: target.spec.storageClassName,
    ...(selectedNode === undefined ? {} : { selectedNode }),
  });
  return notOurs(secret, download) ?? act(`create pod "${namespace}/${name}"`, () => client.create(pods, wanted));
}

/** Why a claim cannot be given a volume; undefined when it can. */
async function refusalOf(deps: ExposerDeps, target: PersistentVolumeClaim): Promise<Work | undefined> {
  const { metadata, spec } = target;
  const { namespace, name } = metadata;
  if (spec.volumeName !== undefined && spec.volumeName !== "") return failed(`target claim "${namespace}/${name}" has the volume "${spec.volumeName}" already`);
  return windowsRefusal(deps, `the restore of "${namespace}/${name}"`, target, spec.storageClassName ?? "");
}

/** What a registered mover is told of a download. */
function requestFor(download: DataDownload, mode: "Filesystem" | "Block", namespace: string): RequestSecretOptions {
  const { name = "", uid = "", annotations } = download.metadata;
  const { datamover: mover = "", backupStorageLocation, targetVolume, snapshotID: snapshotId } = download.spec;
  return {
    name,
    namespace,
    annotations: epochAnnotations(download),
    owner: controllerReference(dataDownloads, download),
    label: LABELS.dataDownload,
    target: { kind: LOCATION_TARGET, name: backupStorageLocation },
    request: {
      operation: "restore",
      mover,
      id: uid,
      source: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: targetVolume.namespace, name: targetVolume.pvc, volume: { path: `/${uid}`, mode } },
      parameters: {},
      moved: { snapshotId, result: JSON.parse(annotations?.[MOVER_ANNOTATIONS.result] ?? "{}") as Record<string, string> },
      about: { apiVersion: "velero.io/v2alpha1", kind: "DataDownload", namespace, name, uid },
    },
  };
}

/** The node that the workload was scheduled to; undefined when any will do. */
async function selectedNodeOf(deps: ExposerDeps, { metadata }: DataDownload, target: PersistentVolumeClaim): Promise<string | "awaited" | undefined> {
  if (deps.config.restorePVC?.ignoreDelayBinding === true || metadata.annotations?.[DRAYAGE_ANNOTATIONS.ignoreDelayBinding] === "true") return undefined;
  const selected = target.metadata.annotations?.[SELECTED_NODE];
  if (selected !== undefined && selected !== "") return selected;
  const className = target.spec.storageClassName;
  if (className === undefined || className === "") return undefined;
  const storageClass = await deps.client.find(storageClasses, { name: className });
  return storageClass?.volumeBindingMode === "WaitForFirstConsumer" ? "awaited" : undefined;
}

/** What is named here is named for all classes. Claims are restored before Secrets and ConfigMaps, so those of a volume that is encrypted may still come. */
async function restoreCopies(deps: ExposerDeps, download: DataDownload, target: PersistentVolumeClaim): Promise<Work | undefined> {
  const { secretNames = [], configMapNames = [] } = deps.config.restorePVC ?? {};
  if (secretNames.length + configMapNames.length === 0) return undefined;
  const storageClass = await deps.client.find(storageClasses, { name: target.spec.storageClassName ?? "" });
  return tenantCopies(deps, {
    secretNames,
    configMapNames,
    from: download.spec.targetVolume.namespace,
    owner: download,
    ownerType: dataDownloads,
    namedBy: "restorePVC",
    missing: storageClass?.parameters?.["encrypted"] === "true" ? "awaited" : "skipped",
  });
}

function buildClaim(deps: ExposerDeps, download: DataDownload, target: PersistentVolumeClaim, selectedNode: string | undefined): PersistentVolumeClaim {
  const annotations = { ...(selectedNode === undefined ? target.metadata.annotations : { [SELECTED_NODE]: selectedNode }), ...epochAnnotations(download) };
  const { accessModes, storageClassName, volumeMode, resources } = target.spec;
  return {
    metadata: {
      name: download.metadata.name ?? "",
      namespace: deps.namespace,
      ...(target.metadata.labels === undefined ? {} : { labels: { ...target.metadata.labels } }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      ownerReferences: [controllerReference(dataDownloads, download)],
    },
    spec: {
      ...(accessModes === undefined ? {} : { accessModes }),
      ...(resources === undefined ? {} : { resources }),
      ...(storageClassName === undefined ? {} : { storageClassName }),
      volumeMode: modeForMover(download.spec.datamover, volumeMode),
    },
  };
}
