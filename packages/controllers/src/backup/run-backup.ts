/**
 * One backup from its first list request to its files in the bucket. What moves data afterwards (DataUploads) is left running; `backup-operations` waits for it.
 * The files are complete before the phase says so, and velero-backup.json makes the backup exist, so a crash anywhere here leaves a backup that is not listed.
 */
import type { ItemPlugins } from "@drayage/api";
import {
  type Backup,
  type BackupStatus,
  type BackupStorageLocation,
  backups,
  type DataMoverBackup,
  type DataUpload,
  dataUploads,
  LABELS,
  type PodVolumeBackup,
} from "@drayage/api";
import { type Clock, DrayError, forEachLimit, isAbort, isDrayError, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { type Discovery, type GenericObject, groupResourceOf, type KubeClient, keyOf, type Namespace, type Pod, requireDuration } from "@drayage/kube";
import type { BackupAction } from "../actions/backup-action.ts";
import { claimBackupAction } from "../actions/claim-backup-action.ts";
import { CLAIM_SNAPSHOT_ACTION, type ClaimSnapshotActionOptions, createClaimSnapshotAction } from "../actions/claim-snapshot-action.ts";
import { CUSTOM_RESOURCE_DEFINITIONS, itemKey, PERSISTENT_VOLUME_CLAIMS, PODS } from "../actions/item-id.ts";
import { createKubeVirtBackupActions } from "../actions/kubevirt-actions.ts";
import { createMoverBackupActions } from "../actions/mover-backup-action.ts";
import { createOpenShiftBackupActions } from "../actions/openshift-actions.ts";
import { removeOrphanSnapshots } from "../actions/orphan-snapshots.ts";
import { createPluginBackupActions } from "../actions/plugin-actions.ts";
import { podBackupAction } from "../actions/pod-backup-action.ts";
import { createServiceAccountBackupAction } from "../actions/service-account-backup-action.ts";
import { VolumeGroupSnapshots } from "../actions/volume-group-snapshots.ts";
import { createVolumeSnapshotActions } from "../actions/volume-snapshot-actions.ts";
import { createVolumeSnapshotMoverActions } from "../actions/volume-snapshot-mover-actions.ts";
import { allOf } from "../all-of.ts";
import { advanceOperations } from "../backup-operations/operations.ts";
import { askPlugins, backupOperationPlugins } from "../backup-operations/plugin-operations.ts";
import { isOfSnapshot, loadSnapshots, snapshotCounts } from "../backup-operations/snapshot-operations.ts";
import { loadVolumeSnapshotBackups, movementsIn } from "../backup-operations/volume-snapshot-backups.ts";
import { BackupHooks, type HooksOutcome } from "../hooks/backup-hooks.ts";
import { scheduleOf } from "../metrics/backup-metrics.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { EMPTY_REGISTRY, type MoverRegistry } from "../mover-choice/mover-registry.ts";
import { movesOfBackup, withOperation } from "../mover-moves/moves-of.ts";
import { OperationLog } from "../operation-log/operation-log.ts";
import type { BackupArchiveWriter, BackupStore, BackupStores, ItemOperation } from "../ports.ts";
import type { ResourcePolicies } from "../resource-policy/resource-policies.ts";
import { VolumeChoice } from "../resource-policy/volume-choice.ts";
import { LabelFilter } from "../resource-selection/label-filter.ts";
import { backupResourceFilter } from "../resource-selection/resource-filter.ts";
import type { ResticEnvironment } from "../volsync-era/settings.ts";
import { type BackupSelection, collectItems, loadNamespaces, namespaceFilterOf } from "./collect-items.ts";
import { ItemBackup } from "./item-backup.ts";
import { type BlockItem, itemBlocks } from "./item-blocks.ts";
import { createDiskSpool, type ItemSpool } from "./item-spool.ts";
import { NamespacePods } from "./namespace-pods.ts";
import { PodVolumeBackups } from "./pod-volume-backups.ts";
import { VolumeRecords } from "./volume-records.ts";
import { readingVolumesOnce } from "./volumes-read-once.ts";

export interface RunBackupOptions {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
  /** Where its size is counted. */
  readonly metrics?: Metrics | undefined;
  readonly backup: Backup;
  readonly location: BackupStorageLocation;
  /** What the ConfigMap of spec.resourcePolicy says. */
  readonly policies: ResourcePolicies | undefined;
  /** Those that there were a moment ago; asked for when left out. */
  readonly clusterNamespaces?: readonly Namespace[];
  /** The movers there are; the built-in one alone when left out. */
  readonly movers?: MoverRegistry;
  /** How long reading one volume through its file system may take. */
  readonly fsBackupTimeoutMs: number;
  /** Blocks of items that are worked on at once. */
  readonly blockWorkers: number;
  /** Where collected items wait; on local disk when left out. */
  readonly newSpool?: (() => Promise<ItemSpool>) | undefined;
  readonly plugins: ItemPlugins;
  /** Snapshots that are kept have their data moved as OADP 1.2 did it; they stay with their storage when left out. */
  readonly resticEnvironment?: ResticEnvironment | undefined;
  readonly signal: AbortSignal;
}

/** Snapshots of one block that are cut at a time. */
const SNAPSHOTS_AT_ONCE = 8;
/** Progress is written at most this often. */
const PROGRESS_EVERY_MS = 1_000;
/** Hooks that undo what others did may go on for so long after the backup was ended. */
const THAW_MS = 10_000;

/** Runs the backup and returns the status that is to be stored. Throws what makes the backup Failed: then nothing of it is listed in the bucket. */
export async function runBackup(options: RunBackupOptions): Promise<BackupStatus> {
  const { backup, location, stores, clock, logger, namespace, signal } = options;
  const name = backup.metadata.name ?? "";
  const log = new OperationLog({ clock, server: logger, fields: { backup: `${namespace}/${name}` } });
  const store = await stores.open(location, signal);
  if (await store.backupExists(name, signal)) {
    throw new DrayError("VALIDATION_FAILED", `Cannot write backup "${name}": location "${location.metadata.name}" already has a backup of this name`, {
      hint: "Choose another name, or delete that backup.",
    });
  }
  const archive = await store.newArchiveWriter(name);
  try {
    return await new BackupRun({ ...options, client: readingVolumesOnce(options.client) }, log, store, archive).run();
  } finally {
    await archive.dispose();
  }
}

class BackupRun {
  readonly #options: RunBackupOptions;
  readonly #log: Logger;
  readonly #operationLog: OperationLog;
  readonly #store: BackupStore;
  readonly #archive: BackupArchiveWriter;
  readonly #hooks: BackupHooks;
  readonly #volumes = new VolumeRecords();
  readonly #pods: NamespacePods;
  /** The end of the block that a pod or claim is in, while it is worked on. */
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #groups: VolumeGroupSnapshots;
  /** Claims that are to be read through the file system, and why. */
  readonly #toRead = new Map<string, { readonly namespace: string; readonly name: string; readonly why: string }>();
  #progressWrittenMs = 0;

  constructor(options: RunBackupOptions, operationLog: OperationLog, store: BackupStore, archive: BackupArchiveWriter) {
    this.#options = options;
    this.#operationLog = operationLog;
    this.#log = operationLog.logger;
    this.#store = store;
    this.#archive = archive;
    this.#hooks = new BackupHooks(options.backup.spec);
    this.#pods = new NamespacePods(options.client, options.signal);
    this.#groups = new VolumeGroupSnapshots(options);
  }

  async run(): Promise<BackupStatus> {
    const { client, discovery, clock, backup, signal } = this.#options;
    const clusterNamespaces = this.#options.clusterNamespaces ?? (await loadNamespaces(client, signal));
    const selection = await this.#select(clusterNamespaces);
    const claims = await discovery.find(PERSISTENT_VOLUME_CLAIMS, signal);
    const { policies, random, namespace, fsBackupTimeoutMs: timeoutMs } = this.#options;
    const choice = new VolumeChoice({ spec: backup.spec, policies, claimsExcluded: claims !== undefined && !selection.resources.has(claims) });
    const volumes = new PodVolumeBackups({ client, clock, random, namespace, backup, choice, log: this.#log, timeoutMs, signal });
    const spool = await (this.#options.newSpool ?? createDiskSpool)();
    try {
      const items = await collectItems({ client, discovery, spec: backup.spec, selection, clusterNamespaces, spool, log: this.#log, signal });
      this.#log.info(`Collected ${items.length} items; what they bring along is not counted yet`);
      await this.#writeProgress({ totalItems: items.length });
      const itemBackup = new ItemBackup({
        client,
        discovery,
        clock,
        backup,
        selection,
        actions: [...this.#actions(choice), ...(await createPluginBackupActions(this.#options.plugins.backup, discovery, signal))],
        archive: this.#archive,
        volumes: this.#volumes,
        underWay: (id) => this.#underWay.get(itemKey(id)),
        log: this.#log,
        signal,
      });
      const blocks = itemBlocks({
        client,
        discovery,
        items,
        spool,
        itemBackup,
        pods: this.#pods,
        groupLabel: backup.spec.volumeGroupSnapshotLabelKey ?? "",
        log: this.#log,
        signal,
      });
      // What one application waits for, a snapshot or a hook, does not keep the others.
      const afterBlock = async (block: readonly BlockItem[]): Promise<void> => {
        await this.#keepingTogether(block, () => this.#backUpBlock(block, itemBackup, volumes));
        if (clock.nowMs() - this.#progressWrittenMs >= PROGRESS_EVERY_MS) {
          await this.#writeProgress({ totalItems: Math.max(items.length, itemBackup.count), itemsBackedUp: itemBackup.count });
        }
      };
      await forEachLimit(blocks, this.#options.blockWorkers, afterBlock, signal);
      this.#noteUnread(volumes);
      await this.#backUpDefinitions(itemBackup, selection);
      if (this.#operationLog.errorCount > 0 || this.#groups.wereCut) await this.#removeOrphans(itemBackup.operations);
      this.#log.info(`Backed up a total of ${itemBackup.count} items`);
      await this.#writeProgress({ totalItems: itemBackup.count, itemsBackedUp: itemBackup.count }, true);
      return await this.#persist(itemBackup, volumes.ended);
    } finally {
      volumes.stop();
      await spool.dispose();
    }
  }

  async #select(clusterNamespaces: readonly Namespace[]): Promise<BackupSelection> {
    const { backup, discovery, signal } = this.#options;
    const { spec } = backup;
    const namespaces = namespaceFilterOf(
      spec,
      clusterNamespaces.map(({ metadata }) => metadata.name ?? ""),
    );
    this.#log.info(`Including namespaces: ${spec.includedNamespaces?.join(", ") ?? "*"}`);
    this.#log.info(`Excluding namespaces: ${spec.excludedNamespaces?.join(", ") ?? "<none>"}`);
    // What a custom resource definition has just added must be seen.
    discovery.invalidate();
    return {
      namespaces,
      resources: await backupResourceFilter(spec, namespaces, discovery, this.#options.policies?.includeExclude, signal),
      labels: new LabelFilter(spec.labelSelector, spec.orLabelSelectors),
    };
  }

  /** A claim that is to be read and that no running pod mounts is in the backup without its data; that must be seen. */
  #noteUnread(volumes: PodVolumeBackups): void {
    for (const { namespace, name, why } of this.#toRead.values()) {
      if (volumes.reads(namespace, name)) continue;
      const reason = `${why}, and no running pod has it mounted`;
      this.#volumes.skip(namespace, name, reason);
      this.#log.warn(`The data of claim "${namespace}/${name}" is not in the backup: ${reason}`, { resource: PERSISTENT_VOLUME_CLAIMS, namespace, name });
    }
  }

  #actions(choice: VolumeChoice): BackupAction[] {
    const { client, clock, discovery, namespace, resticEnvironment: environment } = this.#options;
    const choose: ClaimSnapshotActionOptions["choose"] = async (claim, volume) => {
      const chosen = choice.ofClaim(claim, volume, await this.#pods.using(claim));
      const { namespace: ofNamespace = "", name = "" } = claim.metadata;
      if (chosen.by === "fs-backup") this.#toRead.set(`${ofNamespace}/${name}`, { namespace: ofNamespace, name, why: chosen.why });
      return chosen;
    };
    return [
      podBackupAction,
      createServiceAccountBackupAction(client),
      claimBackupAction,
      createClaimSnapshotAction({ client, clock, namespace, choose, groups: this.#groups, movers: this.#options.movers ?? EMPTY_REGISTRY }),
      ...createVolumeSnapshotActions({ client, clock }),
      ...(environment === undefined ? [] : createVolumeSnapshotMoverActions({ client, namespace, environment })),
      ...createOpenShiftBackupActions(client, discovery),
      ...createKubeVirtBackupActions(client),
      ...createMoverBackupActions({ client, namespace, movers: this.#options.movers ?? EMPTY_REGISTRY }),
    ];
  }

  /** Lets what others name of a block that is worked on wait for the block. */
  async #keepingTogether(block: readonly BlockItem[], work: () => Promise<void>): Promise<void> {
    const end = Promise.withResolvers<void>();
    const keys = block.filter(({ id }) => id.groupResource === PODS || id.groupResource === PERSISTENT_VOLUME_CLAIMS).map(({ id }) => itemKey(id));
    for (const key of keys) this.#underWay.set(key, end.promise);
    try {
      await work();
    } finally {
      for (const key of keys) this.#underWay.delete(key);
      end.resolve();
    }
  }

  async #backUpBlock(block: readonly BlockItem[], itemBackup: ItemBackup, volumes: PodVolumeBackups): Promise<void> {
    const { client, clock, signal } = this.#options;
    const hook = (pod: BlockItem, phase: "pre" | "post", until: AbortSignal): Promise<HooksOutcome> =>
      this.#hooks.run(client, pod.object as unknown as Pod, phase, this.#log, until);
    const touched: BlockItem[] = [];
    const begun: string[] = [];
    const thawing = outlasting(signal, clock, THAW_MS);
    try {
      for (const pod of block.filter(({ id }) => id.groupResource === PODS && !itemBackup.hasSeen(id))) {
        touched.push(pod);
        const outcome = await hook(pod, "pre", signal);
        if (outcome === "refused") touched.pop();
        // A pod that could not be quiesced is not backed up.
        if (outcome !== "complete") itemBackup.giveUp(pod.id);
      }
      // Reading begins before snapshots are cut and goes on beside it: a frozen application waits for the slower of the two.
      for (const pod of touched) if (!itemBackup.hasSeen(pod.id)) begun.push(...(await this.#beginReading(pod, volumes)));
      await this.#backUpItems(block, itemBackup);
      await volumes.wait(begun);
    } finally {
      try {
        // An application that was frozen must be thawed, whatever happened: also when the backup was ended while it was being frozen or thawed.
        for (const pod of touched) await hook(pod, "post", thawing.signal);
      } finally {
        thawing.stop();
      }
    }
  }

  async #beginReading(pod: BlockItem, volumes: PodVolumeBackups): Promise<readonly string[]> {
    try {
      return await volumes.begin(pod.object as unknown as Pod);
    } catch (error) {
      if (isAbort(error, this.#options.signal)) throw error;
      const { id } = pod;
      this.#log.error("Error reading the volumes of a pod", {
        error: messageOf(error),
        resource: id.groupResource,
        name: id.name,
        namespace: id.namespace ?? "",
      });
      return [];
    }
  }

  /**
   * Claims first and together, so that a frozen application waits for its slowest snapshot and not for their sum; pods last: what fails is then reported of the claim,
   * and costs the claim alone.
   */
  async #backUpItems(block: readonly BlockItem[], itemBackup: ItemBackup): Promise<void> {
    const of = (groupResource: string): BlockItem[] => block.filter(({ id }) => id.groupResource === groupResource);
    const others = block.filter(({ id }) => id.groupResource !== PERSISTENT_VOLUME_CLAIMS && id.groupResource !== PODS);
    const own = new Set(block.map(({ id }) => itemKey(id)));
    await forEachLimit(of(PERSISTENT_VOLUME_CLAIMS), SNAPSHOTS_AT_ONCE, (claim) => this.#backUpItem(claim, itemBackup, own), this.#options.signal);
    for (const item of [...others, ...of(PODS)]) await this.#backUpItem(item, itemBackup, own);
  }

  async #backUpItem({ id, object, resource }: BlockItem, itemBackup: ItemBackup, own: ReadonlySet<string>): Promise<void> {
    try {
      await itemBackup.backUp(object, resource, { own });
    } catch (error) {
      if (isAbort(error, this.#options.signal)) throw error;
      const hint = isDrayError(error) ? error.hint : undefined;
      this.#log.error("Error backing up item", {
        error: hint === undefined ? messageOf(error) : `${messageOf(error)}. ${hint}`,
        resource: id.groupResource,
        name: id.name,
        namespace: id.namespace ?? "",
      });
    }
  }

  /** The definitions of custom resources that are in the backup, unless the spec has an opinion on definitions. */
  async #backUpDefinitions(itemBackup: ItemBackup, selection: BackupSelection): Promise<void> {
    const { client, discovery, signal } = this.#options;
    const resource = await discovery.find(CUSTOM_RESOURCE_DEFINITIONS, signal);
    if (resource === undefined || selection.resources.has(resource) || selection.resources.refuses(resource)) return;
    for (const custom of itemBackup.resources) {
      // Groups of the API server itself have no dot, or end in k8s.io; of the latter some are custom.
      if (!custom.group.includes(".")) continue;
      const definition = await client.find<GenericObject>(resource, { name: groupResourceOf(custom) }, signal);
      if (definition !== undefined)
        await this.#backUpItem(
          { id: { groupResource: CUSTOM_RESOURCE_DEFINITIONS, namespace: undefined, name: groupResourceOf(custom) }, resource, object: definition },
          itemBackup,
          new Set(),
        );
    }
  }

  /** Uploads everything and says how the backup goes on: waiting for its operations, or to its end. */
  async #persist(itemBackup: ItemBackup, read: readonly PodVolumeBackup[]): Promise<BackupStatus> {
    const { backup, clock, plugins, signal } = this.#options;
    const uploads = await this.#uploads(itemBackup.operations);
    const moves = await movesOfBackup(this.#options, backup.metadata.uid ?? "", itemBackup.operations);
    const moved = await loadVolumeSnapshotBackups(this.#options.client, backup, itemBackup.operations, signal);
    const pluginAnswers = await askPlugins(itemBackup.operations, backupOperationPlugins(plugins, backup, signal), this.#log);
    const snapshots = await loadSnapshots(this.#options.client, itemBackup.operations, signal);
    const outcome = advanceOperations(itemBackup.operations, {
      kind: "DataUpload",
      pluginAnswers,
      snapshotOf: (id) => snapshots.get(id),
      nowMs: clock.nowMs(),
      timeoutMs: requireDuration(backup.spec.itemOperationTimeout ?? "0s", "spec.itemOperationTimeout"),
      movementsOf: (id) => movementsIn(moved, id) ?? withOperation<DataUpload | DataMoverBackup>([...uploads, ...moves], id),
    });
    for (const { spec, status } of outcome.operations) {
      if (status.phase === "Failed")
        this.#log.error("Operation failed", {
          error: status.error,
          resource: spec.resourceIdentifier.Resource,
          name: spec.resourceIdentifier.Name,
          namespace: spec.resourceIdentifier.Namespace,
        });
    }
    const { errorCount, warningCount, results } = this.#operationLog;
    const phase = outcome.inProgress ? ("WaitingForPluginOperations" as const) : ("Finalizing" as const);
    const counted = (count: number, field: keyof BackupStatus): BackupStatus => (count > 0 ? { [field]: count } : {});
    const status: BackupStatus = {
      ...backup.status,
      phase: errorCount > 0 ? `${phase}PartiallyFailed` : phase,
      progress: { totalItems: itemBackup.count, itemsBackedUp: itemBackup.count },
      hookStatus: this.#hookStatus(),
      ...counted(outcome.operations.length, "backupItemOperationsAttempted"),
      ...counted(outcome.completed, "backupItemOperationsCompleted"),
      ...counted(outcome.failed, "backupItemOperationsFailed"),
      ...snapshotCounts(outcome.operations),
      ...counted(errorCount, "errors"),
      ...counted(warningCount, "warnings"),
    };
    const archive = await this.#archive.finish();
    const byName = new Map(uploads.map((upload) => [upload.metadata.name ?? "", upload]));
    await this.#store.putBackup(
      {
        backup: { ...backup, apiVersion: "velero.io/v1", kind: "Backup", status },
        archive,
        log: this.#operationLog.bytes(),
        results,
        itemOperations: outcome.operations,
        resourceList: itemBackup.resourceList,
        volumeInfos: this.#volumes.infos(outcome.operations, byName, snapshots, read),
        podVolumeBackups: read.length === 0 ? null : (read as unknown as readonly GenericObject[]),
        volumeSnapshots: null,
      },
      signal,
    );
    this.#options.metrics?.set("velero_backup_tarball_size_bytes", { schedule: scheduleOf(backup) }, archive.lengthBytes);
    return status;
  }

  async #uploads(operations: readonly ItemOperation[]): Promise<readonly DataUpload[]> {
    const { client, namespace, backup, signal } = this.#options;
    if (!operations.some(({ spec }) => spec.backupItemAction === CLAIM_SNAPSHOT_ACTION)) return [];
    const labelSelector = `${LABELS.backupUid}=${backup.metadata.uid ?? ""}`;
    return allOf(client.listAll<DataUpload>(dataUploads, { namespace, labelSelector, signal }));
  }

  /** A request whose answer was lost may have cut a snapshot that its item, given up, does not know of; and a group may have had claims that the backup does not take. */
  async #removeOrphans(operations: readonly ItemOperation[]): Promise<void> {
    const { client, clock, random, backup, signal } = this.#options;
    try {
      const kept = operations.filter(isOfSnapshot).map(({ spec }) => `${spec.resourceIdentifier.Namespace}/${spec.resourceIdentifier.Name}`);
      const count = await removeOrphanSnapshots({ client, clock, random, backup, signal, kept: new Set(kept) });
      if (count > 0) this.#log.info(`Removed ${count} snapshots that no DataUpload had taken over`);
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      this.#log.warn("Snapshots may be left behind", { error: messageOf(error) });
    }
  }

  async #writeProgress(progress: NonNullable<BackupStatus["progress"]>, withHooks = false): Promise<void> {
    const { client, clock, backup, signal } = this.#options;
    this.#progressWrittenMs = clock.nowMs();
    const status: BackupStatus = { progress, ...(withHooks ? { hookStatus: this.#hookStatus() } : {}) };
    await client.patch<Backup>(backups, keyOf(backup), "merge", { status }, { signal });
  }

  #hookStatus(): NonNullable<BackupStatus["hookStatus"]> {
    const { attempted, failed } = this.#hooks.counts;
    return { ...(attempted > 0 ? { hooksAttempted: attempted } : {}), ...(failed > 0 ? { hooksFailed: failed } : {}) };
  }
}

/** A signal that is aborted with the same reason as another, but later. `stop` gives up waiting. */
function outlasting(signal: AbortSignal, clock: Clock, graceMs: number): { readonly signal: AbortSignal; stop(): void } {
  const later = new AbortController();
  let cancelTimer = (): void => undefined;
  const onAbort = (): void => {
    cancelTimer = clock.after(graceMs, () => later.abort(signal.reason));
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return {
    signal: later.signal,
    stop: () => {
      signal.removeEventListener("abort", onAbort);
      cancelTimer();
    },
  };
}
