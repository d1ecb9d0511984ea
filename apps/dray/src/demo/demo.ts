/**
 * The demo: an application with data, backed up while it writes; then the disaster, in which namespace, volumes and the whole cluster are lost; then a new cluster, into which the bucket
 * and the recovery file bring everything back, compared fact by fact.
 */
import { backups, type DataUpload, dataUploads, restores } from "@drayage/api";
import { DrayError, formatTime, parseTime } from "@drayage/base";
import { shellQuote } from "@drayage/embedded/cluster";
import { generateRepositoryPassword, installManifests, readRecoveryFile, writeRecoveryFile } from "@drayage/install";
import {
  configMaps,
  createKubeClient,
  deployments,
  type GenericObject,
  type KubeClient,
  namespaces,
  persistentVolumeClaims,
  pods,
  type ResourceType,
  secrets,
  services,
} from "@drayage/kube";
import { applyManifests, waitForInstallation } from "../cluster/installation.ts";
import { LiveLine } from "../cluster/wait.ts";
import { waitForBackup } from "../commands/backup-create.ts";
import { waitForRestore } from "../commands/restore-create.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { OPENING_INVENTORY, QUIESCED_INVENTORY } from "./application.ts";
import { compareInventories, type InventoryEntry, parseInventory } from "./inventory.ts";
import { allHeld, checksOf, type DemoCheck, type DemoReport, type DemoVolume, Narrator } from "./report.ts";
import { APPLICATION, demoClaims, demoConfiguration, demoDeployment, demoNamespace, meaningOf, type WorkloadOptions } from "./workload.ts";
import type { DemoWorld } from "./world.ts";

export interface DemoOptions {
  readonly json: boolean;
  readonly keep: boolean;
  readonly data?: string;
  readonly asRoot: boolean;
  readonly recoveryFile: string;
  readonly volumeBytes: number;
}

const INSTALLED_IN = "velero";
const NAMESPACE = "shop";
const STORAGE_CLASS = "drayage-fs";
const READY_LIMIT_MS = 120_000;
const BACKUP_LIMIT_MS = 300_000;
const SYNC_LIMIT_MS = 90_000;
const POLL_MS = 100;
const INVENTORY_BYTES_MAX = 256 << 20;
const DIFFERENCES_SHOWN = 20;

/** What the first cluster leaves behind in the mind of whoever watched. */
interface Memory {
  readonly inventory: readonly InventoryEntry[];
  readonly meanings: ReadonlyMap<string, string>;
}

/** Runs everything and returns the report; throws where something did not work at all. */
export async function runDemo(options: DemoOptions, world: DemoWorld, terminal: Terminal): Promise<DemoReport> {
  const narrator = new Narrator(terminal, options.json);
  const startedMs = terminal.clock.monotonicMs();
  const workload: WorkloadOptions = {
    namespace: NAMESPACE,
    image: `drayage/dray:${programVersion()}`,
    withDevice: options.asRoot,
    storageClass: STORAGE_CLASS,
    volumeBytes: options.volumeBytes,
    deviceBytes: 64 << 20,
    ...(options.data === undefined ? {} : { data: options.data }),
  };
  const volumes: DemoVolume[] = [];
  const first = await narrator.step("Start a cluster", () => world.up("first"));
  const memory = await withClient(first.kubeconfigPath, terminal, async (client) => {
    await narrator.step("Install Drayage", () => install(client, options, world, terminal));
    await narrator.step("Run an application that writes", () => deploy(client, workload, terminal));
    await narrator.step("Back up, quiesced by its hooks", async () => void volumes.push(...(await backUp(client, "first", terminal))));
    await narrator.step("Change a little, back up again", async () => {
      await execInApplication(client, ["dray", "demo-app", "change"], terminal);
      volumes.push(...(await backUp(client, "second", terminal)));
    });
    const remembered = await remember(client, terminal);
    narrator.note(`${remembered.inventory.length} files, folders and devices are remembered, with every byte's digest`);
    await narrator.step("The disaster: the namespace is deleted", () => deleteNamespace(client, terminal));
    return remembered;
  });
  await narrator.step("The disaster: volumes and cluster are lost", () => world.destroy("first"));
  const second = await narrator.step("Start another cluster", () => world.up("second"));
  const checks = await withClient(second.kubeconfigPath, terminal, async (client) => {
    await narrator.step("Install from the recovery file", () => install(client, options, world, terminal));
    await narrator.step("Find the backups in the bucket", () => waitForSync(client, "second", terminal));
    await narrator.step("Restore", () => restore(client, "second", terminal));
    return narrator.step("Compare every fact", () => compare(client, memory, options, narrator, terminal));
  });
  const report: DemoReport = {
    steps: narrator.steps,
    volumes,
    checks,
    storedBytes: await world.storedBytes(),
    seconds: (terminal.clock.monotonicMs() - startedMs) / 1000,
  };
  narrator.end(report);
  if (options.keep && !options.json)
    terminal.out(`The second cluster is still up:  export KUBECONFIG=${shellQuote(second.kubeconfigPath)}\n${world.farewell}\n`);
  if (!allHeld(report)) terminal.exitCode = 1;
  return report;
}

async function withClient<T>(kubeconfigPath: string, terminal: Terminal, work: (client: KubeClient) => Promise<T>): Promise<T> {
  const client = createKubeClient({ kubeconfigPath, clock: terminal.clock, random: terminal.random, userAgent: "dray-demo", qps: 0 });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

/** As `dray install --recovery-file` does: the first time it writes the file, the second time the file is all there is. */
async function install(client: KubeClient, options: DemoOptions, { store }: DemoWorld, terminal: Terminal): Promise<void> {
  const location = { name: "default", provider: "aws", bucket: store.bucket, config: { region: store.region, s3ForcePathStyle: "true", s3Url: store.url } };
  let recovery: ReturnType<typeof readRecoveryFile>;
  try {
    recovery = readRecoveryFile(options.recoveryFile);
  } catch (error) {
    if (!(error instanceof DrayError) || error.code !== "PATH_NOT_FOUND") throw error;
    recovery = {
      schema: 1,
      createdAt: formatTime(terminal.clock.nowMs()),
      repositoryPassword: generateRepositoryPassword(terminal.random),
      locations: [location],
    };
    writeRecoveryFile(options.recoveryFile, recovery);
  }
  const [kept] = recovery.locations;
  const manifests = installManifests({
    namespace: INSTALLED_IN,
    image: `drayage/dray:${programVersion()}`,
    repositoryPassword: recovery.repositoryPassword,
    credentials: store.credentialsFile,
    nodeAgent: true,
    ...(kept === undefined ? {} : { location: { ...kept, default: true } }),
  });
  await applyManifests(client, manifests, terminal);
  await waitForInstallation(client, INSTALLED_IN, terminal, READY_LIMIT_MS);
}

async function deploy(client: KubeClient, workload: WorkloadOptions, terminal: Terminal): Promise<void> {
  const { signal } = terminal;
  await client.create(namespaces, demoNamespace(workload), { signal });
  const { configMap, secret, service } = demoConfiguration(workload);
  await client.create(configMaps, configMap, { signal });
  await client.create(secrets, secret, { signal });
  await client.create(services, service, { signal });
  for (const claim of demoClaims(workload)) await client.create(persistentVolumeClaims, claim, { signal });
  await client.create(deployments, demoDeployment(workload), { signal });
  await applicationPod(client, terminal);
}

/** Waits for the application's pod to be ready and returns its name. */
async function applicationPod(client: KubeClient, terminal: Terminal): Promise<string> {
  const untilMs = terminal.clock.monotonicMs() + READY_LIMIT_MS;
  for (;;) {
    const { items } = await client.list(pods, { namespace: NAMESPACE, labelSelector: `app=${APPLICATION}`, signal: terminal.signal });
    const ready = items.find(
      ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined && status?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True") === true,
    );
    if (ready?.metadata.name !== undefined) return ready.metadata.name;
    if (terminal.clock.monotonicMs() > untilMs) {
      const seen = items
        .map(
          ({ metadata, status }) =>
            `${metadata.name} is ${status?.phase}: ${JSON.stringify(status?.containerStatuses?.map(({ state }) => state) ?? status?.conditions)}`,
        )
        .join("; ");
      throw new DrayError(
        "TIMED_OUT",
        `Cannot start the demo's application: not ready within ${READY_LIMIT_MS / 1000} s (${seen === "" ? "there is no pod" : seen})`,
      );
    }
    await terminal.clock.sleep(POLL_MS, terminal.signal);
  }
}

async function execInApplication(client: KubeClient, command: readonly string[], terminal: Terminal): Promise<string> {
  const name = await applicationPod(client, terminal);
  const { exitCode, stdout, stderr } = await client.podExec(
    { namespace: NAMESPACE, name },
    { container: APPLICATION, command, outputLimitBytes: INVENTORY_BYTES_MAX, timeoutMs: READY_LIMIT_MS, signal: terminal.signal },
  );
  if (exitCode !== 0)
    throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot run "${command.join(" ")}" in the demo's application: exit code ${exitCode}: ${stderr.trim()}`);
  return stdout;
}

async function backUp(client: KubeClient, name: string, terminal: Terminal): Promise<DemoVolume[]> {
  await client.create(
    backups,
    {
      apiVersion: "velero.io/v1",
      kind: "Backup",
      metadata: { namespace: INSTALLED_IN, name },
      spec: { includedNamespaces: [NAMESPACE], snapshotMoveData: true },
    },
    { signal: terminal.signal },
  );
  const ended = await waitForBackup(client, INSTALLED_IN, name, terminal, BACKUP_LIMIT_MS);
  const uploads: DataUpload[] = [];
  for await (const upload of client.listAll(dataUploads, { namespace: INSTALLED_IN, labelSelector: `velero.io/backup-name=${name}`, signal: terminal.signal }))
    uploads.push(upload);
  if (ended.status?.phase !== "Completed") {
    const reasons = [
      ended.status?.failureReason,
      ...(ended.status?.validationErrors ?? []),
      ...uploads.map(({ metadata, status }) => (status?.message === undefined ? undefined : `${metadata.name}: ${status.message}`)),
    ];
    throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot back up the demo's application: "${name}" ended ${ended.status?.phase}`, {
      hint: reasons.filter((reason) => reason !== undefined).join("; ") || `Its log is in the bucket under backups/${name}/.`,
    });
  }
  return uploads.map(({ spec, status }) => ({
    backup: name,
    volume: `${spec.sourceNamespace}/${spec.sourcePVC}`,
    totalBytes: status?.progress?.totalBytes ?? 0,
    incrementalBytes: status?.incrementalBytes ?? 0,
    seconds: ((parseTime(status?.completionTimestamp) ?? 0) - (parseTime(status?.startTimestamp) ?? 0)) / 1000,
  }));
}

/** The objects of the namespace that a user wrote. */
const REMEMBERED: readonly { readonly type: ResourceType; readonly names: readonly string[] }[] = [
  { type: configMaps as unknown as ResourceType, names: ["settings"] },
  { type: secrets as unknown as ResourceType, names: ["token"] },
  { type: services as unknown as ResourceType, names: [APPLICATION] },
  { type: deployments as unknown as ResourceType, names: [APPLICATION] },
];

async function meanings(client: KubeClient, terminal: Terminal): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { type, names } of REMEMBERED) {
    for (const name of names) {
      const object = await client.find<GenericObject>(type, { namespace: NAMESPACE, name }, terminal.signal);
      found.set(`${type.kind} ${name}`, object === undefined ? "missing" : JSON.stringify(meaningOf({ ...object, kind: type.kind })));
    }
  }
  return found;
}

async function remember(client: KubeClient, terminal: Terminal): Promise<Memory> {
  return { inventory: parseInventory(await execInApplication(client, ["cat", QUIESCED_INVENTORY], terminal)), meanings: await meanings(client, terminal) };
}

async function deleteNamespace(client: KubeClient, terminal: Terminal): Promise<void> {
  await client.delete(namespaces, { name: NAMESPACE }, { signal: terminal.signal });
  const untilMs = terminal.clock.monotonicMs() + READY_LIMIT_MS;
  while ((await client.find(namespaces, { name: NAMESPACE }, terminal.signal)) !== undefined) {
    if (terminal.clock.monotonicMs() > untilMs) throw new DrayError("TIMED_OUT", `Cannot delete namespace "${NAMESPACE}" within ${READY_LIMIT_MS / 1000} s`);
    await terminal.clock.sleep(POLL_MS, terminal.signal);
  }
}

async function waitForSync(client: KubeClient, name: string, terminal: Terminal): Promise<void> {
  const untilMs = terminal.clock.monotonicMs() + SYNC_LIMIT_MS;
  const live = new LiveLine(terminal);
  while ((await client.find(backups, { namespace: INSTALLED_IN, name }, terminal.signal)) === undefined) {
    live.show("Waiting for the backups of the bucket to appear");
    if (terminal.clock.monotonicMs() > untilMs)
      throw new DrayError("TIMED_OUT", `Cannot find backup "${name}" in the new cluster within ${SYNC_LIMIT_MS / 1000} s`);
    await terminal.clock.sleep(POLL_MS, terminal.signal);
  }
  live.end();
}

async function restore(client: KubeClient, backupName: string, terminal: Terminal): Promise<void> {
  const name = "back";
  await client.create(
    restores,
    { apiVersion: "velero.io/v1", kind: "Restore", metadata: { namespace: INSTALLED_IN, name }, spec: { backupName } },
    { signal: terminal.signal },
  );
  const ended = await waitForRestore(client, INSTALLED_IN, name, terminal, BACKUP_LIMIT_MS);
  if (ended.status?.phase !== "Completed") {
    throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot restore the demo's application: the restore ended ${ended.status?.phase}`, {
      hint:
        [ended.status?.failureReason, ...(ended.status?.validationErrors ?? [])].filter((reason) => reason !== undefined).join("; ") ||
        `Its log is in the bucket under restores/${name}/.`,
    });
  }
}

async function compare(client: KubeClient, memory: Memory, options: DemoOptions, narrator: Narrator, terminal: Terminal): Promise<DemoCheck[]> {
  const found = parseInventory(await execInApplication(client, ["cat", OPENING_INVENTORY], terminal));
  const comparison = compareInventories(memory.inventory, found);
  const { differences } = comparison;
  for (const { aspect, path, wanted, found: seen } of differences.slice(0, DIFFERENCES_SHOWN))
    narrator.note(`${aspect} of ${JSON.stringify(path)}: ${wanted} was wanted, ${seen} came back`);
  if (differences.length > DIFFERENCES_SHOWN) narrator.note(`… and ${differences.length - DIFFERENCES_SHOWN} more`);
  const checks = checksOf(comparison, options.asRoot);
  const now = await meanings(client, terminal);
  const objectDifferences = [...memory.meanings].filter(([name, meaning]) => now.get(name) !== meaning);
  for (const [name, meaning] of objectDifferences) narrator.note(`${name}: ${meaning} was wanted, ${now.get(name)} came back`);
  checks.push({ what: "resources", count: memory.meanings.size, differences: objectDifferences.length });
  return checks;
}
