/**
 * Brings back the volumes of a pod that were read through its file system (Velero's action `velero.io/pod-volume-restore`): the pod comes back with a first init container that
 * holds it, with its volumes mounted, until each volume is filled; one PodVolumeRestore a volume has that done by the agent of the node that the pod lands on.
 */
import { ANNOTATIONS, type Backup, LABELS, type PodVolumeBackup, type PodVolumeRestore, podVolumeRestores, type Restore, validLabelValue } from "@drayage/api";
import {
  type ConfigMap,
  type Container,
  configMaps,
  type GenericObject,
  type KubeClient,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
} from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { RESTORE_WAIT } from "../pod-volume/pod-volume.ts";
import { claimNameOf } from "../pod-volume/pod-volume-path.ts";
import { PODS } from "./item-id.ts";
import { type RestoreAction, type RestoreActionContext, resumesOf } from "./restore-action.ts";

export interface PodVolumeRestoreActionOptions {
  readonly client: KubeClient;
  /** Where the PodVolumeRestores go. */
  readonly namespace: string;
  /** Of the init container, unless the action's ConfigMap names another. */
  readonly helperImage: string;
  /** Those of the backup. */
  readonly backups: readonly PodVolumeBackup[];
  /** Gets the claims (`namespace/name`) that are being filled. */
  readonly filled: Set<string>;
}

/** By these a ConfigMap of Velero's users configures the action. */
const CONFIG_SELECTOR = "velero.io/plugin-config,velero.io/pod-volume-restore=RestoreItemAction";

export function createPodVolumeRestoreAction(options: PodVolumeRestoreActionOptions): RestoreAction {
  let loading: Promise<ConfigMap | undefined> | undefined;
  const config = (signal: AbortSignal): Promise<ConfigMap | undefined> => {
    loading ??= allOf(options.client.listAll(configMaps, { namespace: options.namespace, labelSelector: CONFIG_SELECTOR, signal })).then(([first]) => first);
    return loading;
  };
  return {
    name: "velero.io/pod-volume-restore",
    groupResource: PODS,
    async execute(item, { restore, itemFromBackup, log, signal }) {
      const volumes = volumesToFill(options.backups, restore, itemFromBackup);
      if (volumes.length === 0) return { item };
      const pod = structuredClone(item) as unknown as Pod;
      const wait = waitContainer(pod, volumes, restore, options.helperImage, (await config(signal))?.data ?? {});
      // One that an earlier restore put there waits for a file that nobody writes any more.
      pod.spec.initContainers = [wait, ...(pod.spec.initContainers ?? []).filter(({ name }) => name !== RESTORE_WAIT && name !== "restic-wait")];
      log.info(`The pod waits until volumes ${volumes.map(({ spec }) => spec.volume).join(", ")} are filled`);
      return { item: pod as unknown as GenericObject };
    },
    async created(item, context) {
      const earlier = await earlierRestores(options, item, context);
      for (const source of volumesToFill(options.backups, context.restore, context.itemFromBackup)) {
        if (earlier.some(({ spec }) => spec.volume === source.spec.volume)) {
          await noteFilled(options, item as unknown as Pod, source, context.signal);
          continue;
        }
        const created = await createRestore(options, item as unknown as Pod, source, context);
        context.log.info(`PodVolumeRestore "${created.metadata.name}" was created for volume "${source.spec.volume}"`);
      }
    },
  };
}

/** What was read of a pod and can be put back: its volumes by name, as they are in the backup. */
function volumesToFill(backups: readonly PodVolumeBackup[], restore: Restore, { metadata, ...rest }: GenericObject): readonly PodVolumeBackup[] {
  if (restore.spec.restorePVs === false) return [];
  const names = new Set((rest as unknown as Pod).spec.volumes?.map(({ name }) => name));
  return backups.filter(
    ({ spec, status }) =>
      spec.pod.namespace === metadata.namespace && spec.pod.name === metadata.name && (status?.snapshotID ?? "") !== "" && names.has(spec.volume),
  );
}

/** Those that a process of before made for the same pod. */
async function earlierRestores(
  { client, namespace }: PodVolumeRestoreActionOptions,
  { metadata }: GenericObject,
  { restore, signal }: RestoreActionContext,
): Promise<readonly PodVolumeRestore[]> {
  if (resumesOf(restore) === 0) return [];
  const labelSelector = `${LABELS.restoreUid}=${restore.metadata.uid},${LABELS.podUid}=${metadata.uid}`;
  return allOf(client.listAll<PodVolumeRestore>(podVolumeRestores, { namespace, labelSelector, signal }));
}

function waitContainer(
  { spec }: Pod,
  volumes: readonly PodVolumeBackup[],
  restore: Restore,
  helperImage: string,
  config: Readonly<Record<string, string>>,
): Container {
  const value = (key: string, standard: string): string => (config[key] === undefined || config[key] === "" ? standard : config[key]);
  const limits = {
    ...(config["cpuLimit"] === undefined ? {} : { cpu: config["cpuLimit"] }),
    ...(config["memLimit"] === undefined ? {} : { memory: config["memLimit"] }),
  };
  const securityContext = (spec.containers[0] as { readonly securityContext?: Record<string, unknown> } | undefined)?.securityContext;
  return {
    name: RESTORE_WAIT,
    image: value("image", helperImage),
    command: ["/velero-restore-helper"],
    args: [restore.metadata.uid ?? ""],
    env: [
      { name: "POD_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
      { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
    ],
    resources: { requests: { cpu: value("cpuRequest", "10m"), memory: value("memRequest", "64Mi") }, ...(Object.keys(limits).length === 0 ? {} : { limits }) },
    volumeMounts: volumes.map(({ spec: { volume } }) => ({ name: volume, mountPath: `/restores/${volume}` })),
    // Who the application is may look into its volumes.
    ...(securityContext === undefined ? {} : { securityContext }),
  } as Container;
}

async function createRestore(
  options: PodVolumeRestoreActionOptions,
  pod: Pod,
  source: PodVolumeBackup,
  { restore, backup, signal }: RestoreActionContext,
): Promise<PodVolumeRestore> {
  const { client, namespace } = options;
  const { name: restoreName = "", uid: restoreUid = "" } = restore.metadata;
  const { name: podName = "", namespace: podNamespace = "", uid: podUid = "" } = pod.metadata;
  const claimUid = (await noteFilled(options, pod, source, signal))?.metadata.uid;
  const parallel = restore.spec.uploaderConfig?.parallelFilesDownload ?? 0;
  const size = source.status?.progress?.totalBytes ?? 0;
  return client.create<PodVolumeRestore>(
    podVolumeRestores,
    {
      apiVersion: "velero.io/v1",
      kind: "PodVolumeRestore",
      metadata: {
        generateName: `${restoreName}-`,
        namespace,
        labels: {
          [LABELS.restoreName]: validLabelValue(restoreName),
          [LABELS.restoreUid]: restoreUid,
          [LABELS.podUid]: podUid,
          ...(claimUid === undefined ? {} : { [LABELS.pvcUid]: claimUid }),
        },
        ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Restore", name: restoreName, uid: restoreUid, controller: true }],
      },
      spec: {
        backupStorageLocation: locationOf(backup),
        pod: { kind: "Pod", namespace: podNamespace, name: podName, uid: podUid },
        repoIdentifier: "",
        snapshotID: source.status?.snapshotID ?? "",
        ...(size > 0 ? { snapshotSize: size } : {}),
        sourceNamespace: source.spec.pod.namespace ?? "",
        uploaderSettings: {
          WriteSparseFiles: String(restore.spec.uploaderConfig?.writeSparseFiles === true),
          ...(parallel > 0 ? { ParallelFilesDownload: String(parallel) } : {}),
        },
        // Backups of before there was a choice were restic's.
        uploaderType: source.spec.uploaderType === undefined || source.spec.uploaderType === "" ? "restic" : source.spec.uploaderType,
        volume: source.spec.volume,
      },
    },
    { signal },
  );
}

function locationOf({ spec }: Backup): string {
  return spec.storageLocation ?? "";
}

/** The claim behind a volume that is being filled. */
async function noteFilled({ client, filled }: PodVolumeRestoreActionOptions, pod: Pod, source: PodVolumeBackup, signal: AbortSignal) {
  const claim = await claimOf(client, pod, source, signal);
  if (claim !== undefined) filled.add(`${pod.metadata.namespace}/${claim.metadata.name}`);
  return claim;
}

async function claimOf(client: KubeClient, pod: Pod, source: PodVolumeBackup, signal: AbortSignal): Promise<PersistentVolumeClaim | undefined> {
  if (source.metadata.annotations?.[ANNOTATIONS.pvcName] === undefined) return undefined;
  const volume = pod.spec.volumes?.find(({ name }) => name === source.spec.volume);
  const name = volume === undefined ? undefined : claimNameOf(pod, volume);
  return name === undefined ? undefined : client.find(persistentVolumeClaims, { namespace: pod.metadata.namespace, name }, signal);
}
