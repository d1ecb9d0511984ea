/** A real API server with etcd that Velero and Drayage are installed in, without nodes and without controllers: what is measured is the backup server alone. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Backup, type BackupStorageLocation, backupStorageLocations, backups, loadCrds, type Restore, restores } from "@drayage/api";
import { forEachLimit, nullLogger, systemClock, systemRandom } from "@drayage/base";
import {
  type ConnectedClient,
  createDiscovery,
  createKubeClient,
  customResourceDefinitions,
  type GenericObject,
  type KubeObject,
  namespaces,
  type ResourceType,
  startInformer,
} from "@drayage/kube";
import type { PeerProcess } from "../../test/compat/peers.ts";
import { type RealApiServer, startRealApiServer } from "../../test/compat/real-api-server.ts";
import { type InstalledVelero, installVelero } from "../../test/compat/real-velero.ts";
import { VELERO } from "../../test/e2e/harness.ts";
import { startDrayage } from "./drayage-server.ts";
import { definitions, objectsOf } from "./objects.ts";
import { type ProcessUse, startMeasuring } from "./process-use.ts";

export type Who = "velero" | "drayage";

export interface Figures extends ProcessUse {
  readonly who: Who;
  readonly what: "backup" | "restore";
  readonly phase: string | undefined;
  readonly items: number | undefined;
  readonly errors: number;
  readonly warnings: number;
  /** From `create` until the phase was seen to be a last one. */
  readonly wallSeconds: number;
  /** What the API server spent meanwhile, for whomever. */
  readonly apiServerCpuSeconds: number;
  readonly requests: number;
  /** The most frequent ones: `GET pods` → count. */
  readonly topRequests: Readonly<Record<string, number>>;
}

const CREATE_PARALLEL = 24;
const LIMIT_MS = 900_000;
const SETTLE_MS = 3_000;
const START_ATTEMPTS = 40;
const ENDED = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

export class World {
  readonly client: ConnectedClient;
  readonly #api: RealApiServer;
  readonly #velero: InstalledVelero;
  readonly #kubeconfigPath: string;

  private constructor(api: RealApiServer, client: ConnectedClient, velero: InstalledVelero, kubeconfigPath: string) {
    this.#api = api;
    this.client = client;
    this.#velero = velero;
    this.#kubeconfigPath = kubeconfigPath;
  }

  /** An empty cluster with both installed, beside a bucket. */
  static async start(folder: string, locationConfig: Readonly<Record<string, string>>): Promise<World> {
    mkdirSync(folder);
    const api = await startRealApiServer();
    const kubeconfig = kubeconfigFor(api);
    const kubeconfigPath = join(folder, "kubeconfig");
    writeFileSync(kubeconfigPath, kubeconfig, { mode: 0o600 });
    const client = createKubeClient({ kubeconfig, clock: systemClock, random: systemRandom, logger: nullLogger, userAgent: "bench", qps: 0 });
    try {
      await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
      const velero = await installVelero({ kubeconfigPath, client, locationConfig, folder: join(folder, "velero") });
      await createAll(client, loadCrds("drayage.io", "datamover.oadp.openshift.io", "snapshot.storage.k8s.io") as unknown as GenericObject[]);
      return new World(api, client, velero, kubeconfigPath);
    } catch (error) {
      await client.close();
      await api.stop();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.client.close();
    await this.#api.stop();
  }

  /** Fills so many namespaces. */
  async fill(count: number): Promise<void> {
    await createAll(this.client, definitions());
    const names = Array.from({ length: count }, (_, n) => `app-${String(n).padStart(3, "0")}`);
    await createAll(
      this.client,
      names.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { team: "bench" } } })),
    );
    const discovery = createDiscovery(this.client);
    await forEachLimit(names, 4, async (name) => {
      // Accounts first: without its account a pod is refused.
      const [account, ...objects] = objectsOf(name);
      if (account !== undefined) await this.#create(discovery, account);
      await forEachLimit(objects, CREATE_PARALLEL / 4, (object) => this.#create(discovery, object));
    });
  }

  async #create(discovery: ReturnType<typeof createDiscovery>, object: GenericObject): Promise<void> {
    const resource = await discovery.forKind(object.apiVersion ?? "", object.kind ?? "");
    if (resource === undefined) throw new Error(`the cluster does not serve ${object.apiVersion} ${object.kind}`);
    await this.client.create<GenericObject>(resource, object);
  }

  /** Makes a backup of another cluster known here, as a sync would, which Velero does only once a minute. */
  async adopt(from: World, name: string): Promise<void> {
    const { metadata, spec, status = {} } = await from.client.get<Backup>(backups, { namespace: VELERO, name });
    const { labels, annotations } = metadata;
    await this.client.create<Backup>(backups, {
      apiVersion: "velero.io/v1",
      kind: "Backup",
      spec,
      status,
      metadata: { namespace: VELERO, name, ...(labels && { labels }), ...(annotations && { annotations }) },
    });
  }

  backUp(who: Who, name: string, spec: Backup["spec"]): Promise<Figures> {
    return this.#measure(who, "backup", backups, { apiVersion: "velero.io/v1", kind: "Backup", metadata: { namespace: VELERO, name }, spec });
  }

  restore(who: Who, name: string, spec: Restore["spec"]): Promise<Figures> {
    return this.#measure(who, "restore", restores, { apiVersion: "velero.io/v1", kind: "Restore", metadata: { namespace: VELERO, name }, spec });
  }

  /** Starts a server for this one thing, waits until it has nothing else to do, and measures. */
  async #measure<T extends Backup | Restore>(who: Who, what: Figures["what"], type: ResourceType<T>, object: T): Promise<Figures> {
    const started = systemClock.nowMs();
    const server = await (who === "velero" ? this.#startVelero() : startDrayage(this.#kubeconfigPath));
    try {
      await this.#until<BackupStorageLocation>(
        backupStorageLocations,
        ({ status }) => status?.phase === "Available" && Date.parse(status.lastValidationTime ?? "") >= Math.floor(started / 1_000) * 1_000,
        server,
      );
      const before = await this.#requests();
      const stop = startMeasuring(server.process.pid ?? 0);
      const stopApi = startMeasuring(this.#api.pid);
      const beganMs = systemClock.monotonicMs();
      await this.client.create(type, object);
      const ended = await this.#until<T>(type, ({ metadata, status }) => metadata.name === object.metadata.name && ENDED.includes(status?.phase ?? ""), server);
      const wallSeconds = (systemClock.monotonicMs() - beganMs) / 1_000;
      const use = stop();
      const apiServerCpuSeconds = stopApi().cpuSeconds;
      const requests = difference(await this.#requests(), before);
      const { phase, progress, errors = 0, warnings = 0 } = ended.status ?? {};
      const items = (progress as { itemsBackedUp?: number; itemsRestored?: number } | undefined)?.[what === "backup" ? "itemsBackedUp" : "itemsRestored"];
      return { who, what, phase, items, errors, warnings, wallSeconds, ...use, apiServerCpuSeconds, ...requests };
    } finally {
      await server.stop();
    }
  }

  /** Velero's controllers show metrics at port 8080 whatever they are told, so that another Velero of this machine is waited for. */
  async #startVelero(): Promise<PeerProcess> {
    for (let attempt = 1; ; attempt++) {
      const server = await this.#velero.startServer();
      await systemClock.sleep(SETTLE_MS);
      if (server.process.exitCode === null) return server;
      if (attempt === START_ATTEMPTS) throw new Error(`Velero has ended: ${server.output().slice(-4_000)}`);
      await systemClock.sleep(SETTLE_MS);
    }
  }

  async #until<T extends KubeObject>(type: ResourceType<T>, wanted: (object: T) => boolean, server: PeerProcess): Promise<T> {
    const informer = startInformer(type, { client: this.client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: VELERO });
    try {
      const found = Promise.withResolvers<T>();
      const look = (): void => {
        const object = informer.list().find(wanted);
        if (object !== undefined) found.resolve(object);
      };
      informer.onChange(look);
      look();
      const cancel = systemClock.after(LIMIT_MS, () => found.reject(new Error(`${type.plural} are not as wanted: ${server.output().slice(-4_000)}`)));
      server.process.once("close", () => found.reject(new Error(`the server has ended: ${server.output().slice(-4_000)}`)));
      try {
        return await found.promise;
      } finally {
        cancel();
      }
    } finally {
      informer.stop();
    }
  }

  /** What the API server says it was asked, by verb and resource. */
  async #requests(): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    const text = await this.#api.metrics();
    for (const [, labels = "", value = "0"] of text.matchAll(/^apiserver_request_total\{([^}]*)\} ([0-9.e+]+)$/gm)) {
      const label = (name: string): string => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? "";
      const key = `${label("verb")} ${label("resource")}${label("subresource") === "" ? "" : `/${label("subresource")}`}`;
      counts.set(key, (counts.get(key) ?? 0) + Number(value));
    }
    return counts;
  }
}

function difference(after: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>): Pick<Figures, "requests" | "topRequests"> {
  const counts = [...after]
    .map(([key, count]) => [key, count - (before.get(key) ?? 0)] as const)
    .filter(([key, count]) => count > 0 && !key.includes("leases"))
    .toSorted(([, a], [, b]) => b - a);
  return { requests: counts.reduce((sum, [, count]) => sum + count, 0), topRequests: Object.fromEntries(counts.slice(0, 12)) };
}

async function createAll(client: ConnectedClient, objects: readonly GenericObject[]): Promise<void> {
  const discovery = createDiscovery(client);
  await forEachLimit(objects, CREATE_PARALLEL, async (object) => {
    const resource = await discovery.forKind(object.apiVersion ?? "", object.kind ?? "");
    if (resource === undefined) throw new Error(`the cluster does not serve ${object.apiVersion} ${object.kind}`);
    await client.create<GenericObject>(resource, object);
  });
  for (const { kind, metadata } of objects) {
    if (kind !== "CustomResourceDefinition") continue;
    const endMs = systemClock.monotonicMs() + 30_000;
    for (;;) {
      const { status } = await client.get(customResourceDefinitions, { name: metadata.name ?? "" });
      if (status?.conditions?.some(({ type, status: is }) => type === "Established" && is === "True") === true) break;
      if (systemClock.monotonicMs() > endMs) throw new Error(`definition ${metadata.name} is not served`);
      await systemClock.sleep(50);
    }
  }
}

function kubeconfigFor({ url, token }: RealApiServer): string {
  const name = "bench";
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server: url, "insecure-skip-tls-verify": true } }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  });
}
