/** `dray server`: the controllers of Backup, Restore, locations, repositories and requests, one leader at a time. Also answers to `velero server` with its arguments. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builtInMover, dataMovers } from "@drayage/api";
import { DrayError, errorFields, isAbort, type Logger, makeFolders, randomHex } from "@drayage/base";
import {
  defaultServerSettings,
  defaultVolSyncEraSettings,
  type InheritedPod,
  inheritedPod,
  isIntoSnapshot,
  type ResticEnvironment,
  type RestorePriorities,
  type RunningController,
  type ServerSettings,
  startAdmissionWebhookController,
  startBackupController,
  startBackupDeletionController,
  startBackupLocationController,
  startBackupOperationsController,
  startBackupRepositoryController,
  startBackupSyncController,
  startDataProtectionTestController,
  startDownloadRequestController,
  startGarbageCollectionController,
  startMoverAcceptanceController,
  startMoverMovesController,
  startRepositoryMaintenanceController,
  startRestoreController,
  startRestoreOperationsController,
  startScheduleController,
  startServerCaches,
  startServerMetrics,
  startServerStatusController,
  startVolSyncController,
  startVolSyncRestoreController,
  startVolumeSnapshotBackupController,
  startVolumeSnapshotRestoreController,
  type VolSyncEraSettings,
} from "@drayage/controllers";
import { MOVER_SERVICE_ACCOUNT, SERVER_NAME, WEBHOOK_PORT, webhookConfigurationName } from "@drayage/install";
import {
  type Controller,
  createDiscovery,
  type Discovery,
  deployments,
  type KubeClient,
  runAsLeader,
  shareInformers,
  validatingWebhookConfigurations,
} from "@drayage/kube";
import { createRepositoryService } from "@drayage/movers/repository-service";
import { PluginHost } from "@drayage/plugin-host";
import { type Command, Option } from "commander";
import { parseOptionalBoolean } from "../cluster/access.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { issueCertificate, startAdmissionServer } from "./admission-server.ts";
import { LocationStores } from "./backup-stores.ts";
import { BUILT_IN_PLUGINS } from "./built-in-plugins.ts";
import { LocationTester } from "./location-tester.ts";
import { createResticEnvironment } from "./restic-environment.ts";
import { type MeteredRole, type RoleOptions, runMeteredRole, untilAborted, withRoleOptions } from "./role.ts";

interface Options extends RoleOptions {
  readonly defaultBackupStorageLocation: string;
  readonly defaultBackupTtl?: string;
  readonly itemOperationTimeout?: string;
  readonly defaultItemOperationTimeout?: string;
  readonly csiSnapshotTimeout?: string;
  readonly resourceTimeout?: string;
  readonly defaultSnapshotMoveData?: boolean;
  readonly defaultVolumesToFsBackup?: boolean;
  readonly concurrentBackups?: string;
  readonly itemBlockWorkerCount?: string;
  readonly fsBackupTimeout?: string;
  readonly garbageCollectionFrequency?: string;
  readonly defaultRepoMaintainFrequency?: string;
  readonly backupRepositoryConfigmap?: string;
  readonly repoMaintenanceJobConfigmap?: string;
  readonly scheduleSkipImmediately?: boolean;
  readonly pluginDir: string;
  readonly restoreResourcePriorities?: string;
  readonly backupSyncPeriod?: string;
  readonly storeValidationFrequency?: string;
  readonly disableControllers?: readonly ControllerName[];
  readonly resticProgram?: string;
  readonly volsyncEra?: boolean;
  readonly volsyncEraTimeout?: string;
  readonly volsyncEraConcurrentBackups?: string;
  readonly volsyncEraConcurrentRestores?: string;
  readonly webhookAddress: string;
}

const HOUR_MS = 3_600_000;
/** What a pod that is being ended may still ask. */
const REMOVAL_MS = 5_000;
/** The lease of the one server that acts. */
const LEASE = "drayage-server";

export function define(command: Command, terminal: Terminal): void {
  // There is one server, and how much it asks at once is limited where it asks; a restore of ten thousand objects would wait minutes for its turns.
  withRoleOptions(command, { clientQps: "0" })
    .option("--default-backup-storage-location <name>", "used by backups that name none", "default")
    .option("--default-backup-ttl <duration>", "how long backups are kept that do not say")
    .option("--default-item-operation-timeout <duration>", "how long moving data may take")
    .option("--csi-snapshot-timeout <duration>", "how long a snapshot may take")
    .option("--resource-timeout <duration>", "how long resources are waited for")
    .addOption(yesOrNo("--default-snapshot-move-data", "move the data of snapshots unless a backup says otherwise"))
    .addOption(yesOrNo("--default-volumes-to-fs-backup", "read volumes through the file system unless a backup says otherwise"))
    .option("--concurrent-backups <n>", "backups at once")
    .option("--fs-backup-timeout <duration>", "how long reading or filling one volume through its file system may take")
    .option("--item-block-worker-count <n>", "applications of one backup that are worked on at once")
    .option("--default-repo-maintain-frequency <duration>", "how often new repositories are maintained")
    .option("--backup-repository-configmap <name>", "ConfigMap with the settings of new repositories")
    .option("--repo-maintenance-job-configmap <name>", "ConfigMap with affinity, resources and history of maintenance Jobs")
    .option("--garbage-collection-frequency <duration>", "how often a backup whose time is over is tried again when it cannot be deleted")
    .option("--plugin-dir <folder>", "where plug-ins made for Velero are looked for", "/plugins")
    .addOption(yesOrNo("--schedule-skip-immediately", "schedules leave out the time that has come since their creation, unless they say otherwise"))
    .option("--restore-resource-priorities <names>", 'the order in which resources come back: those before "-" first, those after it last')
    .option("--backup-sync-period <duration>", "how often locations are looked through for backups that do not say")
    .option("--store-validation-frequency <duration>", "how often locations are checked that do not say")
    .option("--restic-program <path>", "where the image has restic, with which ReplicationSources are served; looked for in PATH when left out")
    .addOption(yesOrNo("--volsync-era", "move the data of snapshots with VolSync and restic, as OADP 1.2 did, unless a backup asks for DataUploads"))
    .option("--volsync-era-timeout <duration>", "how long a volume may take until VolSync moves it", "10m")
    .option("--volsync-era-concurrent-backups <n>", "volumes that VolSync backs up at once", "10")
    .option("--volsync-era-concurrent-restores <n>", "volumes that VolSync restores at once", "10")
    .option("--webhook-address <address>", "where the admission webhook is served, as host:port or :port; empty for none", `:${WEBHOOK_PORT}`)
    .option("--disable-controllers <names>", "controllers that do not run, as Velero calls them", parseControllers)
    .action((options: Options) => runMeteredRole("server", options, terminal, (role) => serve(role, settingsFrom(options), terminal)));
}

/** What is said of this process and of what it has made, beside what its controllers decide by. */
interface ServeSettings extends ServerSettings {
  readonly logLevel: string;
  readonly maintenanceFrequencyMs?: number;
  readonly repositoryConfigMap?: string;
  readonly maintenanceConfigMap?: string;
  readonly syncPeriodMs?: number;
  readonly validationFrequencyMs?: number;
  readonly disabled: ReadonlySet<ControllerName>;
  readonly pluginFolder: string;
  readonly volSyncEra?: VolSyncEraSettings;
  readonly resticProgram?: string;
  /** Empty for no admission webhook. */
  readonly webhookAddress: string;
}

/** Velero's names of the controllers that can be switched off. */
const CONTROLLERS = [
  ...(["backup", "backup-operations", "backup-deletion", "backup-finalizer", "backup-sync", "download-request", "gc", "backup-repo"] as const),
  ...(["restore", "restore-operations", "restore-finalizer", "schedule", "server-status-request"] as const),
];
type ControllerName = (typeof CONTROLLERS)[number];

function parseControllers(text: string): ControllerName[] {
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !(CONTROLLERS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new DrayError("USAGE", `Cannot switch off controller "${unknown}": ${CONTROLLERS.join(", ")} are known`);
  return names as ControllerName[];
}

/** Velero's programs are given `--flag`, `--flag=true` and `--flag=false`. */
function yesOrNo(flag: string, description: string): Option {
  return new Option(`${flag} [true|false]`, description).preset(true).argParser(parseOptionalBoolean(flag));
}

/** Names before "-" come first, those after it last. */
function parsePriorities(text: string): RestorePriorities {
  const names = text.split(",").map((name) => name.trim());
  const middle = names.indexOf("-");
  const given = (part: readonly string[]): string[] => part.filter((name) => name !== "");
  return middle < 0 ? { high: given(names), low: [] } : { high: given(names.slice(0, middle)), low: given(names.slice(middle + 1)) };
}

function settingsFrom(options: Options): ServeSettings {
  const duration = (text: string | undefined, standard: number): number => parseTimeout(text) ?? standard;
  return {
    ...defaultServerSettings,
    defaultStorageLocation: options.defaultBackupStorageLocation,
    defaultTtlMs: duration(options.defaultBackupTtl, defaultServerSettings.defaultTtlMs),
    defaultCsiSnapshotTimeoutMs: duration(options.csiSnapshotTimeout, defaultServerSettings.defaultCsiSnapshotTimeoutMs),
    defaultItemOperationTimeoutMs: duration(options.defaultItemOperationTimeout, defaultServerSettings.defaultItemOperationTimeoutMs),
    resourceTimeoutMs: duration(options.resourceTimeout, defaultServerSettings.resourceTimeoutMs),
    // Where snapshots are moved by VolSync, only a backup that asks for it has them moved by DataUploads.
    defaultSnapshotMoveData: options.volsyncEra !== true && (options.defaultSnapshotMoveData ?? defaultServerSettings.defaultSnapshotMoveData),
    defaultVolumesToFsBackup: options.defaultVolumesToFsBackup ?? defaultServerSettings.defaultVolumesToFsBackup,
    concurrentBackups: options.concurrentBackups === undefined ? defaultServerSettings.concurrentBackups : Number(options.concurrentBackups),
    fsBackupTimeoutMs: duration(options.fsBackupTimeout, defaultServerSettings.fsBackupTimeoutMs),
    itemBlockWorkers: options.itemBlockWorkerCount === undefined ? defaultServerSettings.itemBlockWorkers : Number(options.itemBlockWorkerCount),
    logLevel: options.logLevel,
    ...(options.defaultRepoMaintainFrequency === undefined ? {} : { maintenanceFrequencyMs: duration(options.defaultRepoMaintainFrequency, HOUR_MS) }),
    ...(options.backupRepositoryConfigmap === undefined ? {} : { repositoryConfigMap: options.backupRepositoryConfigmap }),
    ...(options.repoMaintenanceJobConfigmap === undefined ? {} : { maintenanceConfigMap: options.repoMaintenanceJobConfigmap }),
    garbageCollectionPeriodMs: duration(options.garbageCollectionFrequency, defaultServerSettings.garbageCollectionPeriodMs),
    scheduleSkipImmediately: options.scheduleSkipImmediately ?? defaultServerSettings.scheduleSkipImmediately,
    disabled: new Set(options.disableControllers),
    pluginFolder: options.pluginDir,
    webhookAddress: options.webhookAddress,
    ...(options.restoreResourcePriorities === undefined ? {} : { restorePriorities: parsePriorities(options.restoreResourcePriorities) }),
    ...(options.backupSyncPeriod === undefined ? {} : { syncPeriodMs: duration(options.backupSyncPeriod, HOUR_MS) }),
    ...(options.resticProgram === undefined ? {} : { resticProgram: options.resticProgram }),
    ...(options.volsyncEra === true ? { volSyncEra: volSyncEraFrom(options) } : {}),
    ...(options.storeValidationFrequency === undefined ? {} : { validationFrequencyMs: duration(options.storeValidationFrequency, HOUR_MS) }),
  };
}

/** Movers that are registered: whether they can be used, and what they move that is no volume. */
function moversOfOthers(
  { client, clock, random, logger, namespace }: MeteredRole,
  discovery: Discovery,
  own: InheritedPod & { readonly image: string },
  { logLevel, webhookAddress }: ServeSettings,
): RunningController[] {
  const base = { client, clock, random, logger };
  const pod = { ...own, serviceAccount: MOVER_SERVICE_ACCOUNT, extraArgs: [`--log-level=${logLevel}`] };
  return [
    startMoverAcceptanceController(base),
    startMoverMovesController({ ...base, namespace, discovery, pod }),
    startAdmissionWebhookController({ ...base, namespace, issue: issueCertificate({ random }), isServed: webhookAddress !== "" }),
  ];
}

/** An installation that was removed takes its registration along, which lies in no namespace; where that fails the API server goes on without an answer, as it does while no server runs. */
async function unregisterWhenRemoved({ client, logger, namespace }: MeteredRole): Promise<void> {
  const signal = AbortSignal.timeout(REMOVAL_MS);
  try {
    for (const name of [SERVER_NAME, "velero"]) {
      const found = await client.find(deployments, { namespace, name }, signal);
      if (found !== undefined && found.metadata.deletionTimestamp === undefined) return;
    }
    await client.delete(validatingWebhookConfigurations, { name: webhookConfigurationName(namespace) }, { signal });
  } catch (error) {
    logger.warn("The admission webhook may be registered still", errorFields(error));
  }
}

/** The data mover of OADP 1.1 and 1.2: what it stored comes back always, and it moves volumes only where it is asked for. */
function moversOfThen(
  { client, clock, random, logger, namespace }: MeteredRole,
  { volSyncEra }: ServeSettings,
  image: string,
  environment: ResticEnvironment,
): RunningController[] {
  const base = { client, clock, random, logger, namespace };
  if (volSyncEra === undefined) return [startVolumeSnapshotRestoreController(base)];
  const era = { ...base, settings: volSyncEra, environment };
  return [
    startVolumeSnapshotRestoreController({ ...base, except: isIntoSnapshot }),
    startVolSyncRestoreController(era),
    startVolumeSnapshotBackupController({ ...era, holder: { image, command: ["/velero", "hold-volume"] } }),
  ];
}

function volSyncEraFrom(options: Options): VolSyncEraSettings {
  const count = (flag: string, text: string | undefined, standard: number): number => {
    if (text === undefined || text === "") return standard;
    if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
    throw new DrayError("USAGE", `Cannot take "${text}" for ${flag}: a whole number from 1 to 9999 is wanted`);
  };
  const standard = defaultVolSyncEraSettings;
  return {
    prepareTimeoutMs: parseTimeout(options.volsyncEraTimeout) ?? standard.prepareTimeoutMs,
    moveTimeoutMs: parseTimeout(options.defaultItemOperationTimeout) ?? standard.moveTimeoutMs,
    concurrentBackups: count("--volsync-era-concurrent-backups", options.volsyncEraConcurrentBackups, standard.concurrentBackups),
    concurrentRestores: count("--volsync-era-concurrent-restores", options.volsyncEraConcurrentRestores, standard.concurrentRestores),
  };
}

async function serve(role: MeteredRole, settings: ServeSettings, terminal: Terminal): Promise<void> {
  const { client, clock, random, logger, namespace, signal } = role;
  const pod = terminal.env["POD_NAME"];
  const identity = `${pod ?? "server"}_${randomHex(random, 4)}`;
  // A container is started again when its process has ended, so an earlier process of this pod is gone for sure.
  const hasEnded = (holder: string): boolean => pod !== undefined && holder.startsWith(`${pod}_`);
  // Whoever leads, everyone answers. In a cluster without the kinds there is nothing to ask about.
  const admission =
    settings.webhookAddress !== "" && (await areDefined(createDiscovery(client), ["datamovers.drayage.io"], signal))
      ? startAdmissionServer({ client, clock, random, logger, namespace, address: settings.webhookAddress, podAddress: terminal.env["POD_IP"] })
      : undefined;
  try {
    await runAsLeader({ client, lease: { namespace, name: LEASE }, identity, hasEnded, clock, random, logger, signal }, (leading) =>
      lead(role, settings, terminal, leading),
    );
  } finally {
    await admission?.close();
  }
}

/** Helpers of restored pods and maintenance Jobs run the image that the server runs; what runs beside it takes over more. */
async function ownPod(client: KubeClient, namespace: string, signal: AbortSignal): Promise<{ readonly image: string; readonly inherited: InheritedPod }> {
  for (const name of [SERVER_NAME, "velero"]) {
    const template = (await client.find(deployments, { namespace, name }, signal))?.spec.template;
    const image = template?.spec.containers[0]?.image;
    if (template !== undefined && image !== undefined) return { image, inherited: inheritedPod(template) };
  }
  return { image: `drayage/dray:${programVersion()}`, inherited: {} };
}

/** As any mover is registered. It works without, so trouble with that is no reason not to lead. */
async function registerBuiltInMover(client: KubeClient, logger: Logger, signal: AbortSignal): Promise<void> {
  try {
    await client.apply(dataMovers, builtInMover(programVersion()), { fieldManager: "drayage-server", force: true, signal });
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    logger.warn("The built-in mover is not registered", errorFields(error));
  }
}

async function areDefined(discovery: Discovery, resources: readonly string[], signal: AbortSignal): Promise<boolean> {
  for (const resource of resources) if ((await discovery.find(resource, signal)) === undefined) return false;
  return true;
}

/** DataProtectionTests, where they are defined: they come with the operator. */
async function locationTests(role: MeteredRole, discovery: Discovery, temporaryFolder: string, signal: AbortSignal): Promise<Controller[]> {
  const { client, clock, random, logger, namespace } = role;
  if (!(await areDefined(discovery, ["dataprotectiontests.oadp.openshift.io"], signal))) return [];
  const locations = new LocationTester({ client, namespace, temporaryFolder, clock, random });
  return [startDataProtectionTestController({ client, clock, random, logger, namespace, locations })];
}

async function lead(role: MeteredRole, settings: ServeSettings, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const { client, clock, random, logger, namespace, metrics } = role;
  const temporaryFolder = join(terminal.env["SCRATCH_DIR"] ?? tmpdir(), "dray-server");
  makeFolders(temporaryFolder, 0o700);
  const pluginHost = await PluginHost.open({ folder: settings.pluginFolder, temporaryFolder, env: terminal.env, clock, logger }, signal);
  const plugins = pluginHost.items;
  const stores = new LocationStores({ client, namespace, temporaryFolder, clock, random, plugins: pluginHost });
  const repositories = createRepositoryService({ client, namespace, clock, random, logger });
  const discovery = createDiscovery(client);
  const base = { client, clock, random, logger, namespace };
  // An installation of before lacks the definitions, and goes on without.
  const servesVolumeSnapshotRestores = (await discovery.find("volumesnapshotrestores.datamover.oadp.openshift.io", signal)) !== undefined;
  if (!servesVolumeSnapshotRestores)
    logger.info("Backups of OADP 1.1 and 1.2 cannot be restored: VolumeSnapshotRestore is not defined; dray install defines it");
  const servesMovers = (await discovery.find("datamoverbackups.drayage.io", signal)) !== undefined;
  if (!servesMovers) logger.info("Movers of others cannot be used: DataMover is not defined; dray install defines it");
  else await registerBuiltInMover(client, logger, signal);
  const { volSyncEra, logLevel, resticProgram } = settings;
  const resticEnvironment = createResticEnvironment({ client, namespace, environment: terminal.env });
  const servesVolSyncKinds = await areDefined(discovery, ["replicationsources.volsync.backube", "replicationdestinations.volsync.backube"], signal);
  if (volSyncEra !== undefined && !servesVolSyncKinds)
    logger.warn("Volumes cannot be moved with VolSync: ReplicationSource is not defined; install VolSync, or have dray install define it");
  const { image, inherited } = await ownPod(client, namespace, signal);
  const endSharing = shareInformers(client);
  const caches = startServerCaches(base);
  const endCounting = startServerMetrics(caches, metrics);
  const unless = <T>(name: ControllerName, start: () => T): T[] => (settings.disabled.has(name) ? [] : [start()]);
  const running = [
    startBackupLocationController({
      ...base,
      stores,
      ...(settings.validationFrequencyMs === undefined ? {} : { validationFrequencyMs: settings.validationFrequencyMs }),
    }),
    ...unless("backup-sync", () =>
      startBackupSyncController({ ...base, stores, ...(settings.syncPeriodMs === undefined ? {} : { syncPeriodMs: settings.syncPeriodMs }) }),
    ),
    ...unless("backup-repo", () =>
      startBackupRepositoryController({
        ...base,
        repositories,
        ...(settings.maintenanceFrequencyMs === undefined ? {} : { maintenanceFrequencyMs: settings.maintenanceFrequencyMs }),
        ...(settings.repositoryConfigMap === undefined ? {} : { configMapName: settings.repositoryConfigMap }),
      }),
    ),
    startRepositoryMaintenanceController({
      ...base,
      image,
      inherited,
      serviceAccount: MOVER_SERVICE_ACCOUNT,
      logLevel: settings.logLevel,
      ...(settings.maintenanceConfigMap === undefined ? {} : { configMapName: settings.maintenanceConfigMap }),
    }),
    ...unless("backup", () =>
      startBackupController({ ...base, discovery, stores, settings, metrics, plugins, ...(volSyncEra === undefined ? {} : { resticEnvironment }) }),
    ),
    ...unless("backup-operations", () => startBackupOperationsController({ ...base, stores, plugins, discovery })),
    ...unless("restore", () => startRestoreController({ ...base, discovery, stores, settings, helperImage: image, plugins, volSyncEra })),
    ...unless("restore-operations", () => startRestoreOperationsController({ ...base, stores, settings, plugins })),
    ...unless("backup-deletion", () =>
      startBackupDeletionController({ ...base, stores, repositories, resourceTimeoutMs: settings.resourceTimeoutMs, plugins: { items: plugins, discovery } }),
    ),
    ...unless("schedule", () =>
      startScheduleController({ ...base, zone: new Intl.DateTimeFormat().resolvedOptions().timeZone, skipImmediately: settings.scheduleSkipImmediately }),
    ),
    ...unless("gc", () => startGarbageCollectionController({ ...base, periodMs: settings.garbageCollectionPeriodMs })),
    ...unless("download-request", () => startDownloadRequestController({ ...base, stores })),
    ...(servesMovers ? moversOfOthers(role, discovery, { image, ...inherited }, settings) : []),
    ...(await locationTests(role, discovery, temporaryFolder, signal)),
    ...(servesVolumeSnapshotRestores ? moversOfThen(role, settings, image, resticEnvironment) : []),
    ...(servesVolSyncKinds ? [startVolSyncController({ client, clock, random, logger, image, logLevel, resticProgram })] : []),
    ...unless("server-status-request", () =>
      startServerStatusController({ ...base, serverVersion: `v${programVersion()}`, plugins: [...BUILT_IN_PLUGINS, ...pluginHost.plugins] }),
    ),
  ];
  logger.info("Leading");
  await untilAborted(signal);
  for (const controller of running.reverse()) await controller.stop();
  if (servesMovers) await unregisterWhenRemoved(role);
  await pluginHost.stop();
  endCounting();
  caches.stop();
  endSharing();
}
