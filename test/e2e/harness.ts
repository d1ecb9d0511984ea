/**
 * Drayage installed in an embedded cluster of a test file's own, beside a bucket that this process serves, so that a test can make the store fail at a chosen request.
 * Everything lies below one temporary folder and ends with `destroy`, which fails when a process, a mount or a loop device is left.
 */
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  type Backup,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DataDownload,
  type DataUpload,
  dataDownloads,
  dataUploads,
  LABELS,
  type OperationResults,
  type Restore,
  restores,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { ArchiveBackupStore } from "@drayage/archive";
import { fromUtf8, nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ObjectStore as BlobObjectStore, RetryingStorage } from "@drayage/blob";
import { openS3ObjectStore, openS3Storage } from "@drayage/blob/s3";
import type { NodeAgentConfig } from "@drayage/controllers";
import { verifySnapshots } from "@drayage/datapath";
import type { CsiProfile } from "@drayage/embedded/cluster";
import type { ImageMapping } from "@drayage/embedded/kubelet";
import { type ObjectStore, type RequestFacts, startObjectStore } from "@drayage/embedded/object-store";
import { installManifests, NODE_AGENT_NAME, SERVER_NAME } from "@drayage/install";
import {
  type ConnectedClient,
  configMaps,
  type KubeObject,
  namespaces,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  secrets,
  startInformer,
} from "@drayage/kube";
import { openRepository, type Repository } from "@drayage/repo";
import { applyManifests, waitForInstallation } from "../../apps/dray/src/cluster/installation.ts";
import { FOLDER_VARIABLE } from "../real-cluster/machine.ts";
import { readJson, TestCluster } from "./embedded-cluster.ts";
import { quietTerminal } from "./quiet-terminal.ts";

/** The namespace of the installation. */
export const VELERO = "velero";
export const BUCKET = "backups";
export const REGION = "us-east-1";
export const KEYS = { accessKeyId: "e2e", secretAccessKey: "not a secret of anybody" };
export const REPOSITORY_PASSWORD = "correct horse battery staple";
const AGENT_CONFIG = "node-agent-config";
/** Real pods take longer to start and to end. */
const LIMIT_MS = process.env[FOLDER_VARIABLE] === undefined ? 90_000 : 180_000;
const PROCESS_TRIES = 100;
const PROCESS_RETRY_MS = 100;
const INSTALL_LIMIT_MS = LIMIT_MS;
export const ENDED: readonly string[] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

export interface HarnessOptions {
  readonly nodes?: number;
  readonly serverArgs?: readonly string[];
  readonly nodeAgentArgs?: readonly string[];
  readonly nodeAgentConfig?: NodeAgentConfig;
  /** Host programs that stand behind images. */
  readonly imageMap?: readonly ImageMapping[];
  /** CSI drivers beside the cluster's own. */
  readonly csiProfiles?: readonly CsiProfile[];
  /** Have the API server write down who asks what; a real cluster does anyway. */
  readonly audit?: boolean;
  /** Of the store, beside the installation's own. */
  readonly buckets?: readonly string[];
  /** Another way to install than from the manifests. */
  readonly installBy?: (harness: Harness) => Promise<void>;
}

/** The cluster that a harness works in: the embedded one, or a real one. */
export interface ClusterUnderTest {
  /** Everything of it, with its volumes in `storage`; goes with it. */
  readonly directory: string;
  readonly kubeconfigPath: string;
  readonly client: ConnectedClient;
  /** Ends it, also half of it, or one that has ended. */
  destroy(): Promise<void>;
  /** Processes that were started for it and still run. */
  processes(): number[];
  /** Lines of the table of mounts that are its own. */
  mounts(): string[];
  /** Main processes of a pod's containers. */
  mainProcesses(pod: Pod): number[];
}

/** Where a harness gets its clusters from. */
export interface Surroundings {
  startCluster(options: HarnessOptions): Promise<ClusterUnderTest>;
  /** Where a bucket listens so that the pods of these clusters reach it. */
  readonly storeHost: string;
  readonly storePort?: number;
  /** What node-agents there have to be told. */
  nodeAgentArgs(cluster: ClusterUnderTest): readonly string[];
}

const EMBEDDED: Surroundings = {
  startCluster: ({ nodes = 1, imageMap, csiProfiles, audit }) =>
    TestCluster.start({
      nodes,
      ...(imageMap === undefined ? {} : { imageMap }),
      ...(csiProfiles === undefined ? {} : { csiProfiles }),
      ...(audit === undefined ? {} : { audit }),
    }),
  storeHost: "127.0.0.1",
  nodeAgentArgs: () => [],
};

/** tools/real-cluster.ts, which makes the surroundings of real clusters, says by a variable that they are there. */
async function surroundings(): Promise<Surroundings> {
  return process.env[FOLDER_VARIABLE] === undefined ? EMBEDDED : (await import("../real-cluster/real-cluster.ts")).REAL;
}

/** Which objects of a kind are watched. */
interface Where {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** Requests that the store keeps under way. */
export interface Hold {
  /** Resolves when the first of them has come. */
  readonly reached: Promise<void>;
  release(): void;
}

export class Harness {
  readonly cluster: ClusterUnderTest;
  readonly store: ObjectStore;
  /** The bucket as it lies on disk, for what a test changes behind everybody's back. */
  readonly bucketFolder: string;
  readonly #holds = new Set<Hold>();
  readonly #options: HarnessOptions;
  readonly #ownsStore: boolean;

  private constructor(cluster: ClusterUnderTest, store: ObjectStore, bucketFolder: string, options: HarnessOptions, ownsStore = true) {
    this.cluster = cluster;
    this.store = store;
    this.bucketFolder = bucketFolder;
    this.#options = options;
    this.#ownsStore = ownsStore;
  }

  /** Another cluster beside the bucket of this one, which outlives it. */
  async another(options: HarnessOptions = {}): Promise<Harness> {
    const cluster = await (await surroundings()).startCluster({ nodes: 1, ...options });
    const harness = new Harness(cluster, this.store, this.bucketFolder, options, false);
    try {
      await harness.install();
      return harness;
    } catch (error) {
      await harness.destroy();
      throw error;
    }
  }

  /** Brings up a cluster and a bucket and installs Drayage; what was started is ended when that fails. */
  static async start(options: HarnessOptions = {}): Promise<Harness> {
    const { startCluster, storeHost: host, storePort } = await surroundings();
    const cluster = await startCluster({ nodes: 2, ...options });
    // Of its own: clusters of several test files may lie in one folder.
    const folder = mkdtempSync(join(cluster.directory, "..", "store-"));
    let harness: Harness | undefined;
    try {
      const store = await startObjectStore({
        directory: folder,
        buckets: [BUCKET, ...(options.buckets ?? [])],
        credentials: KEYS,
        region: REGION,
        host,
        ...(storePort === undefined ? {} : { port: storePort }),
        clock: systemClock,
        logger: nullLogger,
      });
      harness = new Harness(cluster, store, join(folder, BUCKET), options);
      await harness.install();
      return harness;
    } catch (error) {
      await (harness?.destroy() ?? cluster.destroy());
      throw error;
    }
  }

  /** Runs the command line as a user would, against the cluster. Throws with its messages when it does not end with 0. */
  async dray(...args: readonly string[]): Promise<string> {
    return await this.drayWith({}, ...args);
  }

  /** As `dray`, with more variables in its environment. */
  async drayWith(variables: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<string> {
    const main = join(import.meta.dirname, "..", "..", "apps", "dray", "src", "main.ts");
    const env = { ...process.env, KUBECONFIG: this.cluster.kubeconfigPath, ...variables };
    return (await promisify(execFile)(process.execPath, [main, ...args], { env, maxBuffer: 64 << 20 })).stdout;
  }

  get client(): ConnectedClient {
    return this.cluster.client;
  }

  /** Installs, or brings the arguments of what is installed up to date, and waits until it works. */
  async install(over: Partial<HarnessOptions> = {}): Promise<void> {
    const { serverArgs, nodeAgentArgs = [], nodeAgentConfig, installBy } = { ...this.#options, ...over };
    if (installBy !== undefined) return installBy(this);
    const manifests = installManifests({
      namespace: VELERO,
      image: "drayage/dray:e2e",
      repositoryPassword: REPOSITORY_PASSWORD,
      credentials: `[default]\naws_access_key_id = ${KEYS.accessKeyId}\naws_secret_access_key = ${KEYS.secretAccessKey}\n`,
      nodeAgent: true,
      logLevel: "debug",
      location: { name: "default", provider: "aws", bucket: BUCKET, default: true, config: this.locationConfig },
      ...(serverArgs === undefined ? {} : { serverArgs }),
      nodeAgentArgs: [
        ...(await surroundings()).nodeAgentArgs(this.cluster),
        ...nodeAgentArgs,
        ...(nodeAgentConfig === undefined ? [] : [`--node-agent-configmap=${AGENT_CONFIG}`]),
      ],
    });
    const terminal = quietTerminal();
    if (nodeAgentConfig !== undefined) {
      const metadata = { namespace: VELERO, name: AGENT_CONFIG };
      await applyManifests(
        this.client,
        manifests.filter(({ kind }) => kind === "Namespace"),
        terminal,
      );
      const configMap = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { config: JSON.stringify(nodeAgentConfig) } };
      await this.client.apply(configMaps, configMap, { fieldManager: "e2e", force: true });
    }
    await applyManifests(this.client, manifests, terminal);
    await waitForInstallation(this.client, VELERO, terminal, INSTALL_LIMIT_MS);
  }

  get locationConfig(): Record<string, string> {
    return { region: REGION, s3ForcePathStyle: "true", s3Url: this.store.url };
  }

  /** Ends everything, also half of it; throws when something of it is left. */
  async destroy(): Promise<void> {
    if (this.#ownsStore) this.heal();
    try {
      await this.cluster.destroy();
    } finally {
      if (this.#ownsStore) await this.store.close();
    }
    const left = [...this.cluster.processes().map((pid) => `process ${pid}`), ...this.cluster.mounts(), ...this.#loopDevices()];
    if (left.length > 0) throw new Error(`the cluster has left something behind: ${left.join("; ")}`);
  }

  #loopDevices(): string[] {
    if (process.getuid?.() !== 0) return [];
    return execFileSync("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-FILE"], {
      encoding: "utf8",
      env: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" },
    })
      .split("\n")
      .filter((line) => line.includes(this.cluster.directory));
  }

  /** The store is well again, and requests that were held go on. */
  heal(): void {
    this.store.faults.clear();
    for (const hold of this.#holds) hold.release();
    this.#holds.clear();
  }

  /** Keeps the requests that match under way, from now on until released. */
  hold(matches: (request: RequestFacts) => boolean): Hold {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const remove = this.store.faults.add({
      matches: (request) => {
        if (!matches(request)) return false;
        reached.resolve();
        return true;
      },
      fault: { kind: "hold", until: released.promise },
    });
    const hold: Hold = {
      reached: withLimit(reached.promise, () => "no request that is to be held has come"),
      release: () => {
        remove();
        released.resolve();
      },
    };
    hold.reached.catch(() => undefined);
    this.#holds.add(hold);
    return hold;
  }

  /** Watches until `look` finds what it looks for among the objects, and returns it. Fails with what is there instead. */
  async seen<T extends KubeObject, R>(type: ResourceType<T>, where: Where, look: (objects: readonly T[]) => R | undefined, limitMs = LIMIT_MS): Promise<R> {
    const informer = startInformer(type, { client: this.client, clock: systemClock, random: systemRandom, logger: nullLogger, ...where });
    const found = Promise.withResolvers<R>();
    const check = (): void => {
      const result = look(informer.list());
      if (result !== undefined) found.resolve(result);
    };
    try {
      // Only once everything has been listed: "every" holds of a list of which half has come in.
      void informer
        .synced()
        .then(() => {
          informer.onChange(check);
          check();
        })
        .catch(found.reject);
      return await withLimit(found.promise, () => `${type.plural} are not as wanted: ${JSON.stringify(informer.list().map(brief), null, 1)}`, limitMs);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${await this.#whatRolesSay()}`, { cause: error });
    } finally {
      informer.stop();
    }
  }

  /** Watches one object until it is as wanted. */
  until<T extends KubeObject>(
    type: ResourceType<T>,
    { name, ...namespace }: { readonly namespace?: string; readonly name: string },
    wanted: (object: T) => boolean,
    limitMs?: number,
  ): Promise<T> {
    return this.seen(type, { ...namespace, fieldSelector: `metadata.name=${name}` }, (objects) => objects.find(wanted), limitMs);
  }

  /** Watches until an object is gone. */
  async untilGone<T extends KubeObject>(type: ResourceType<T>, { name, ...namespace }: { readonly namespace?: string; readonly name: string }): Promise<void> {
    await this.seen(type, { ...namespace, fieldSelector: `metadata.name=${name}` }, (found) => (found.length === 0 ? true : undefined));
  }

  async #whatRolesSay(): Promise<string> {
    const lines: string[] = [];
    for (const pod of (await this.client.list(pods, { namespace: VELERO })).items) {
      const log = await this.logOf(pod).catch((error: unknown) => String(error));
      lines.push(
        ...log
          .split("\n")
          .slice(-25)
          .map((line) => `${pod.metadata.name}: ${line.slice(0, 400)}`),
      );
    }
    return lines.join("\n");
  }

  async logOf(pod: Pod): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const part of this.client.podLog({ namespace: pod.metadata.namespace, name: pod.metadata.name ?? "" })) parts.push(part);
    return Buffer.concat(parts).toString();
  }

  async startBackup(name: string, spec: Backup["spec"]): Promise<void> {
    await this.client.create(backups, { apiVersion: "velero.io/v1", kind: "Backup", metadata: { namespace: VELERO, name }, spec });
  }

  endOfBackup(name: string, limitMs?: number): Promise<Backup> {
    return this.until(backups, { namespace: VELERO, name }, ({ status }) => ENDED.includes(status?.phase ?? ""), limitMs);
  }

  async backUp(name: string, spec: Backup["spec"]): Promise<Backup> {
    await this.startBackup(name, spec);
    return this.endOfBackup(name);
  }

  async startRestore(name: string, spec: Restore["spec"]): Promise<void> {
    await this.client.create(restores, { apiVersion: "velero.io/v1", kind: "Restore", metadata: { namespace: VELERO, name }, spec });
  }

  endOfRestore(name: string, limitMs?: number): Promise<Restore> {
    return this.until(restores, { namespace: VELERO, name }, ({ status }) => ENDED.includes(status?.phase ?? ""), limitMs);
  }

  async restore(name: string, spec: Restore["spec"]): Promise<Restore> {
    await this.startRestore(name, spec);
    return this.endOfRestore(name);
  }

  /** The DataUploads of a backup, once there are `count` of them that are as wanted, in order of their claims. */
  uploads(backup: string, count: number, wanted: (upload: DataUpload) => boolean = () => true): Promise<DataUpload[]> {
    return this.seen(dataUploads, { namespace: VELERO, labelSelector: `${LABELS.backupName}=${backup}` }, (found) => {
      const fitting = found.filter(wanted).sort((a, b) => (a.spec.sourcePVC < b.spec.sourcePVC ? -1 : 1));
      return fitting.length >= count ? fitting : undefined;
    });
  }

  /** The one DataUpload of a backup. */
  async upload(backup: string, wanted?: (upload: DataUpload) => boolean): Promise<DataUpload> {
    const [upload] = await this.uploads(backup, 1, wanted);
    if (upload === undefined) throw new Error("unreachable");
    return upload;
  }

  /** The DataDownloads of a restore, once there are `count` of them that are as wanted, in order of their claims. */
  downloads(restore: string, count: number, wanted: (download: DataDownload) => boolean = () => true): Promise<DataDownload[]> {
    return this.seen(dataDownloads, { namespace: VELERO, labelSelector: `${LABELS.restoreName}=${restore}` }, (found) => {
      const fitting = found.filter(wanted).sort((a, b) => (a.spec.targetVolume.pvc < b.spec.targetVolume.pvc ? -1 : 1));
      return fitting.length >= count ? fitting : undefined;
    });
  }

  /** The one DataDownload of a restore. */
  async download(restore: string, wanted?: (download: DataDownload) => boolean): Promise<DataDownload> {
    const [download] = await this.downloads(restore, 1, wanted);
    if (download === undefined) throw new Error("unreachable");
    return download;
  }

  /** Pods of a role. */
  async podsOf(role: "server" | "node-agent"): Promise<Pod[]> {
    const labelSelector = role === "server" ? `deploy=${SERVER_NAME}` : `name=${NODE_AGENT_NAME}`;
    return (await this.client.list(pods, { namespace: VELERO, labelSelector })).items;
  }

  /** Kills the main process of every pod of a role, as if it had crashed; each is started again by its kubelet. */
  async crash(role: "server" | "node-agent"): Promise<void> {
    for (const pod of await this.podsOf(role)) this.#kill(pod);
  }

  /** Deletes the pods of a role at once; others take their place. */
  async replace(role: "server" | "node-agent"): Promise<void> {
    for (const { metadata } of await this.podsOf(role))
      await this.client.delete(pods, { namespace: VELERO, name: metadata.name ?? "" }, { gracePeriodSeconds: 0 });
  }

  /** Kills with -9 the main processes of a pod of the installation's namespace. */
  async killProcessOf(name: string): Promise<void> {
    for (const pid of await this.processesOf(name)) process.kill(pid, "SIGKILL");
  }

  /** Main processes of a pod of the installation's namespace. Which they are a kubelet says a while after a mover has said that it runs. */
  async processesOf(name: string): Promise<readonly number[]> {
    for (let triesLeft = PROCESS_TRIES; triesLeft > 0; triesLeft--) {
      const pids = this.cluster.mainProcesses(await this.client.get(pods, { namespace: VELERO, name }));
      if (pids.length > 0) return pids;
      await systemClock.sleep(PROCESS_RETRY_MS);
    }
    throw new Error(`pod "${name}" has no process`);
  }

  /** Waits until processes have ended. */
  async untilEnded(pids: readonly number[]): Promise<void> {
    const isThere = (pid: number): boolean => !["Z", undefined].includes(stateOf(pid));
    const gone = (async () => {
      while (pids.some(isThere)) await systemClock.sleep(50);
    })();
    await withLimit(gone, () => `processes have not ended: ${pids.filter(isThere).join(", ")}`);
  }

  #kill(pod: Pod): void {
    const killed = this.cluster.mainProcesses(pod);
    if (killed.length === 0) throw new Error(`pod "${pod.metadata.name}" has no process to kill`);
    for (const pid of killed) process.kill(pid, "SIGKILL");
  }

  /** What the bucket keeps of backups and restores. */
  async archive<T>(work: (store: ArchiveBackupStore) => Promise<T>): Promise<T> {
    return this.bucket((store) => work(new ArchiveBackupStore({ store, temporaryFolder: join(this.bucketFolder, "..", ".."), clock: systemClock })));
  }

  async bucket<T>(work: (store: BlobObjectStore) => Promise<T>): Promise<T> {
    const store = await openS3ObjectStore({ bucket: BUCKET, endpoint: this.store.url, region: REGION, credentials: KEYS });
    try {
      return await work(store);
    } finally {
      await store.close();
    }
  }

  /** Names of the blobs of a namespace's repository that begin so. */
  async blobs(namespace: string, prefix: string): Promise<string[]> {
    const folder = `kopia/${namespace}/`;
    return this.bucket(async (store) => {
      const keys: string[] = [];
      for await (const { key } of store.listAll(folder + prefix)) keys.push(key);
      return keys;
    });
  }

  async changeBlob(key: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
    await this.bucket(async (store) => store.put(key, change(await store.get(key))));
  }

  resultsOf(kind: "backup" | "restore", name: string): Promise<OperationResults> {
    return this.archive((store) => (kind === "backup" ? store.getResults(name) : store.getRestoreResults(name)));
  }

  textLogOf(kind: "backup" | "restore", name: string): Promise<string> {
    return this.archive(async (store) => fromUtf8(await store.getLog(kind, name)));
  }

  /** Opens a namespace's repository as a mover does. */
  async repository<T>(namespace: string, work: (repository: Repository) => Promise<T>, password: string = REPOSITORY_PASSWORD): Promise<T> {
    const s3 = await openS3Storage({ bucket: BUCKET, prefix: `kopia/${namespace}/`, endpoint: this.store.url, region: REGION, credentials: KEYS });
    const storage = new RetryingStorage(s3, { clock: systemClock, random: systemRandom });
    try {
      const repository = await openRepository(storage, { password, readOnly: true });
      try {
        return await work(repository);
      } finally {
        await repository.close();
      }
    } finally {
      await storage.close();
    }
  }

  /** Reads every byte of every snapshot of a namespace's repository; returns how many snapshots there are. Throws naming what is wrong. */
  async verifyRepository(namespace: string): Promise<number> {
    return this.repository(namespace, async (repository) => {
      const { snapshots, unreadable } = await repository.snapshots.list();
      if (unreadable.length > 0) throw new Error(`the repository of "${namespace}" has unreadable snapshots: ${unreadable.map(({ id }) => id).join(", ")}`);
      const { problems } = await verifySnapshots({ repository, snapshots, mode: "full" });
      if (problems.length > 0) throw new Error(`the repository of "${namespace}" is damaged: ${JSON.stringify(problems)}`);
      return snapshots.length;
    });
  }

  /** Fails unless every intermediate object is gone; waits for volumes and storage snapshots, which go by themselves once nothing refers to them. */
  async expectNothingLeft(): Promise<void> {
    const left: string[] = [];
    const add = (kind: string, objects: readonly KubeObject[]): void => {
      for (const { metadata } of objects) left.push(`${kind} ${metadata.namespace ?? ""}/${metadata.name}`);
    };
    add("VolumeSnapshot", (await this.client.list(volumeSnapshots)).items);
    add("VolumeSnapshotContent", (await this.client.list(volumeSnapshotContents)).items);
    add("PersistentVolumeClaim", (await this.client.list(persistentVolumeClaims, { namespace: VELERO })).items);
    const hasMoverLabel = ({ metadata }: KubeObject): boolean =>
      [LABELS.dataUpload, LABELS.dataDownload].some((label) => metadata.labels?.[label] !== undefined);
    add("Pod", (await this.client.list(pods, { namespace: VELERO })).items.filter(hasMoverLabel));
    add("Secret", (await this.client.list(secrets, { namespace: VELERO })).items.filter(hasMoverLabel));
    for (const type of [secrets, configMaps] as unknown as ResourceType<KubeObject>[])
      add(type.kind, (await this.client.list(type, { namespace: VELERO, labelSelector: LABELS.backupPvcSecret })).items);
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
    await this.seen(persistentVolumes, {}, (found) => (found.every(({ spec }) => spec.claimRef?.namespace !== VELERO) ? true : undefined));
    const claimed = new Set((await this.client.list(persistentVolumes)).items.map(({ spec }) => spec.csi?.volumeHandle));
    const orphans = [".", ...(this.#options.csiProfiles ?? [])].flatMap((folder) => {
      const record = readJson<{ readonly volumes: object; readonly snapshots: object }>(join(this.cluster.directory, "storage", folder, "state.json"));
      return [...Object.keys(record?.volumes ?? {}).filter((id) => !claimed.has(id)), ...Object.keys(record?.snapshots ?? {})];
    });
    if (orphans.length > 0) throw new Error(`the storage holds what nobody refers to: ${orphans.join(", ")}`);
  }

  async createLocation(name: string, spec: Partial<BackupStorageLocation["spec"]> & { readonly bucket?: string }): Promise<void> {
    const { bucket = BUCKET, ...rest } = spec;
    await this.client.create(backupStorageLocations, {
      apiVersion: "velero.io/v1",
      kind: "BackupStorageLocation",
      metadata: { namespace: VELERO, name },
      spec: { provider: "aws", objectStorage: { bucket }, config: this.locationConfig, ...rest },
    });
  }

  async deleteNamespace(name: string): Promise<void> {
    await this.client.delete(namespaces, { name });
    await this.untilGone(namespaces, { name });
  }
}

export function withLimit<T>(promise: Promise<T>, describe: () => string, limitMs = LIMIT_MS): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = systemClock.after(limitMs, () => reject(new Error(`after ${limitMs / 1000} s: ${describe()}`)));
    promise.then(resolve, reject).finally(stop);
  });
}

/** What a failed wait shows of an object. */
function brief(object: KubeObject): unknown {
  const { metadata, spec, status } = object as KubeObject & { readonly spec?: unknown; readonly status?: unknown };
  return { namespace: metadata.namespace, name: metadata.name, annotations: metadata.annotations, deleting: metadata.deletionTimestamp, spec, status };
}

/** The letter that proc(5) gives for what a process does; `Z` has ended. */
function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[0];
  } catch {
    return undefined;
  }
}
