/** What a restore would do, found out by doing it with a client that writes nothing: the same code chooses, changes and judges the items, so that a plan cannot differ from its restore. */
import {
  type Backup,
  type BackupStorageLocation,
  type DataDownload,
  dataDownloads,
  type PodVolumeBackup,
  type PodVolumeRestore,
  podVolumeRestores,
  type Restore,
  restores,
  volumeSnapshotRestores,
} from "@drayage/api";
import { type Clock, nullLogger, type RandomSource } from "@drayage/base";
import {
  type Discovery,
  type KubeClient,
  namespaces,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  pods,
  quantityValue,
  type StorageClass,
  storageClasses,
} from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { OperationLog } from "../operation-log/operation-log.ts";
import { claimNameOf } from "../pod-volume/pod-volume-path.ts";
import type { BackupArchiveReader, BackupVolumeInfo, ResultMessages } from "../ports.ts";
import { defaultServerSettings } from "../server-settings.ts";
import { estimateFetch, type FetchEstimate } from "./fetch-estimate.ts";
import type { RestoredItem } from "./item-restore.ts";
import { type Doubt, PlanningClient, planningDiscovery } from "./planning-client.ts";
import { prepareRestore } from "./prepare-restore.ts";
import { loadRestoreFacts } from "./restore-facts.ts";
import { restoreItems } from "./restore-items.ts";

export interface PlanRestoreOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Of the installation. */
  readonly namespace: string;
  /** The Restore that would be created. */
  readonly restore: Restore;
  /** The files of the backup that is to be restored. The archive is disposed of here. */
  readonly load: (
    backup: Backup,
    location: BackupStorageLocation,
  ) => Promise<{
    readonly archive: BackupArchiveReader;
    readonly volumeInfos: readonly BackupVolumeInfo[];
    readonly podVolumeBackups: readonly PodVolumeBackup[];
  }>;
  readonly signal: AbortSignal;
}

/** A claim that would be created, and where its data would come from. */
export interface PlannedVolume {
  readonly namespace: string;
  readonly claim: string;
  readonly storageClass: string | undefined;
  /** As the claim asks for it: `10Gi`. */
  readonly size: string | undefined;
  readonly data: "moved" | "through its pod" | "snapshot in the storage" | "the volume that it had" | "none";
  /** What has to be fetched, where the backup says so. */
  readonly bytes: number | undefined;
}

export interface RestorePlan {
  readonly schema: 1;
  readonly backup: string;
  /** Why the restore would end in FailedValidation; everything else is empty then. */
  readonly faults: readonly string[];
  readonly items: readonly RestoredItem[];
  /** Those that would be created. */
  readonly namespaces: readonly string[];
  readonly volumes: readonly PlannedVolume[];
  readonly missing: {
    /** `example.com/v1 Database` */
    readonly kinds: readonly string[];
    readonly storageClasses: readonly string[];
  };
  readonly errors: ResultMessages;
  readonly warnings: ResultMessages;
  readonly doubts: readonly Doubt[];
  readonly fetch: FetchEstimate;
}

export async function planRestore(options: PlanRestoreOptions): Promise<RestorePlan> {
  const { client, clock, random, namespace, restore, signal } = options;
  const nowMs = clock.nowMs();
  const prepared = prepareRestore(restore, await loadRestoreFacts(restore, { client, namespace, settings: defaultServerSettings, nowMs, signal }));
  const { source } = prepared;
  const backupName = prepared.restore.spec.backupName ?? "";
  if (source === undefined) return unplannable(backupName, prepared.faults);
  const planning = new PlanningClient({ client, namespace, nowMs });
  planning.assume(restores, prepared.restore);
  const operationLog = new OperationLog({ clock, server: nullLogger, fields: {} });
  const { archive, volumeInfos, podVolumeBackups } = await options.load(source.backup, source.location);
  try {
    const items = await restoreItems({
      client: planning,
      discovery: planningDiscovery(options.discovery, planning),
      clock,
      random,
      namespace,
      // What is on its way out now is not waited for.
      settings: { ...defaultServerSettings, resourceTimeoutMs: 0 },
      helperImage: "",
      restore: prepared.restore,
      backup: source.backup,
      modifiers: prepared.modifiers,
      archive,
      volumeInfos,
      podVolumeBackups,
      operationLog,
      waitForData: async () => new Map(),
      onProgress: async () => undefined,
      signal,
    });
    const volumes = await plannedVolumes(planning, signal);
    return {
      schema: 1,
      backup: backupName,
      faults: [],
      items: [...items.items, ...items.leftOut],
      namespaces: planning.planned(namespaces).map(({ metadata }) => metadata.name ?? ""),
      volumes,
      missing: { kinds: [...items.missingKinds].sort(), storageClasses: await missingClasses(volumes, planning, signal) },
      ...operationLog.results,
      doubts: planning.doubts,
      fetch: await estimateFetch({ client, namespace, volumes, signal }),
    };
  } finally {
    await archive.dispose();
  }
}

function unplannable(backup: string, faults: readonly string[]): RestorePlan {
  const missing = { kinds: [], storageClasses: [] };
  return { schema: 1, backup, faults, items: [], namespaces: [], volumes: [], missing, errors: {}, warnings: {}, doubts: [], fetch: { bytes: 0 } };
}

async function plannedVolumes(planning: PlanningClient, signal: AbortSignal): Promise<PlannedVolume[]> {
  const downloads = planning.planned<DataDownload>(dataDownloads);
  const filled = await filledByPods(planning, signal);
  const movedThen = planning.planned(volumeSnapshotRestores);
  return planning.planned<PersistentVolumeClaim>(persistentVolumeClaims).map((claim): PlannedVolume => {
    const { namespace = "", name = "" } = claim.metadata;
    const download = downloads.find(({ spec }) => spec.targetVolume.namespace === namespace && spec.targetVolume.pvc === name);
    const through = filled.get(`${namespace}/${name}`);
    const then = movedThen.find(({ metadata, spec }) => metadata.namespace === namespace && spec?.volumeSnapshotMoverBackupRef?.sourcePVCData?.name === name);
    const size = claim.spec.resources?.requests?.["storage"];
    const common = { namespace, claim: name, storageClass: claim.spec.storageClassName, size };
    if (download !== undefined) return { ...common, data: "moved", bytes: download.spec.snapshotSize };
    if (through !== undefined) return { ...common, data: "through its pod", bytes: through.spec.snapshotSize };
    // Restic's records do not say how much there is: at most what the volume holds.
    if (then !== undefined) return { ...common, data: "moved", bytes: size === undefined ? undefined : Number(quantityValue(size)) };
    if (claim.spec.dataSource?.kind === "VolumeSnapshot") return { ...common, data: "snapshot in the storage", bytes: 0 };
    return { ...common, data: (claim.spec.volumeName ?? "") === "" ? "none" : "the volume that it had", bytes: 0 };
  });
}

/** By the claim (`namespace/name`) behind the volume. */
async function filledByPods(planning: PlanningClient, signal: AbortSignal): Promise<ReadonlyMap<string, PodVolumeRestore>> {
  const filled = new Map<string, PodVolumeRestore>();
  for (const restore of planning.planned<PodVolumeRestore>(podVolumeRestores)) {
    const { namespace, name = "" } = restore.spec.pod;
    const pod = await planning.find<Pod>(pods, { namespace, name }, signal);
    const volume = pod?.spec.volumes?.find((candidate) => candidate.name === restore.spec.volume);
    const claim = pod === undefined || volume === undefined ? undefined : claimNameOf(pod, volume);
    if (claim !== undefined) filled.set(`${namespace}/${claim}`, restore);
  }
  return filled;
}

const DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class";

async function missingClasses(volumes: readonly PlannedVolume[], planning: PlanningClient, signal: AbortSignal): Promise<string[]> {
  const classes = [...(await allOf(planning.listAll<StorageClass>(storageClasses, { signal }))), ...planning.planned<StorageClass>(storageClasses)];
  const hasDefault = classes.some(({ metadata }) => metadata.annotations?.[DEFAULT_CLASS] === "true");
  const names = new Set(classes.map(({ metadata }) => metadata.name));
  const missing = new Set<string>();
  for (const { storageClass, data } of volumes) {
    // A volume that exists needs no class.
    if (data === "the volume that it had" || storageClass === "") continue;
    if (storageClass === undefined ? !hasDefault : !names.has(storageClass)) missing.add(storageClass ?? "(the default class)");
  }
  return [...missing].sort();
}
