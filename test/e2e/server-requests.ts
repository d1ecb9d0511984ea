/** A server process over an API server that counts what it is asked: how many lists and watches of each kind a number of objects takes. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backup, backups, loadCrds, type Schedule, schedules, serverStatusRequests } from "@drayage/api";
import { forEachLimit, nullLogger, systemClock, systemRandom } from "@drayage/base";
import { startApiServer } from "@drayage/embedded/api-server";
import { createKubeClient, customResourceDefinitions, type KubeClient, type KubeObject, namespaces, type ResourceType } from "@drayage/kube";

const NAMESPACE = "velero";
const LIMIT_MS = 120_000;
const CREATE_PARALLEL = 16;

export interface ServerRequests {
  /** By kind as in URLs: pages of lists, and watches. */
  readonly kinds: ReadonlyMap<string, { readonly listPages: number; readonly watches: number }>;
  /** Requests of every sort until it answered for the second time, and in the time after that. */
  readonly starting: number;
  readonly idle: number;
  /** Requests for one of the finished backups alone, in all that time. */
  readonly singleBackups: number;
  /** What was read most often, and how often. */
  readonly mostRepeated: { readonly url: string; readonly count: number };
  /** From the start of the process until it answered, and the most memory it held until then. */
  readonly readyMs: number;
  readonly peakMiB: number;
}

/** An API server that knows what our server asks it. */
export interface CountingApi {
  readonly client: KubeClient;
  /** Of our server. */
  readonly kubeconfig: string;
  /** What our server has asked up to now. Of the embedded API server, a watch is among them only when it has ended. */
  requests(): readonly CountedRequest[];
  close(): Promise<void>;
}

export interface CountedRequest {
  readonly method: string;
  readonly url: string;
}

/** The embedded API server, in this process. */
export async function startCountingApi(folder: string): Promise<CountingApi> {
  const requests: (CountedRequest & { readonly user: string })[] = [];
  const deps = { clock: systemClock, random: systemRandom, logger: nullLogger };
  const api = await startApiServer({ directory: join(folder, "api"), onRequest: (record) => requests.push(record), ...deps });
  const client = createKubeClient({ kubeconfig: api.adminKubeconfig(), userAgent: "test", qps: 0, ...deps });
  return {
    client,
    kubeconfig: api.kubeconfigFor("the-server", ["system:masters"]),
    requests: () => requests.filter(({ user }) => user === "the-server"),
    close: async () => {
      await client.close();
      await api.close();
    },
  };
}

/** Runs a server beside so many finished backups and schedules that are not due, leaves it alone for `idleMs` once it has seen them, and ends it. */
export async function countServerRequests(
  options: { readonly backups: number; readonly schedules: number; readonly idleMs: number },
  startApi: (folder: string) => Promise<CountingApi> = startCountingApi,
): Promise<ServerRequests> {
  const folder = mkdtempSync(join(tmpdir(), "server-requests-"));
  const api = await startApi(folder);
  const { client } = api;
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(kubeconfig, api.kubeconfig, { mode: 0o600 });
  try {
    await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
    await install(client);
    await fill(client, options);
    const startedMs = systemClock.monotonicMs();
    const main = join(import.meta.dirname, "..", "..", "apps", "dray", "src", "main.ts");
    const args = [main, "server", "--kubeconfig", kubeconfig, "--namespace", NAMESPACE, "--metrics-address", "", "--log-level", "error"];
    const server = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, SCRATCH_DIR: folder } });
    const ended = new Promise<void>((resolve) => server.once("close", () => resolve()));
    try {
      await answered(client, "first");
      const readyMs = systemClock.monotonicMs() - startedMs;
      await answered(client, "second");
      const starting = api.requests().length;
      await until("every schedule has skipped its start", async () => {
        for await (const { status } of client.listAll<Schedule>(schedules, { namespace: NAMESPACE })) if (status?.lastSkipped === undefined) return false;
        return true;
      });
      await systemClock.sleep(options.idleMs);
      const idle = api.requests().length - starting;
      const peakMiB = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
      server.kill("SIGTERM");
      await ended;
      // A watch is counted when it has ended.
      await client.list(namespaces, { limit: 1 });
      const requests = api.requests();
      const singleBackups = requests.filter(({ url }) => url.includes("/backups/backup-")).length;
      return { kinds: byKind(requests), starting, idle, singleBackups, mostRepeated: mostRepeated(requests), readyMs, peakMiB };
    } finally {
      server.kill("SIGKILL");
      await ended;
    }
  } finally {
    await api.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The read of one thing that was asked for most often, but for the lease of the leader, which is renewed for as long as it leads. */
function mostRepeated(requests: readonly CountedRequest[]): { readonly url: string; readonly count: number } {
  const counts = new Map<string, number>();
  for (const { method, url } of requests) if (method === "GET" && !url.includes("/leases/")) counts.set(url, (counts.get(url) ?? 0) + 1);
  const [[url, count] = ["", 0]] = [...counts].toSorted(([, a], [, b]) => b - a);
  return { url, count };
}

async function install(client: KubeClient): Promise<void> {
  const crds = loadCrds("velero.io", "drayage.io", "datamover.oadp.openshift.io");
  await forEachLimit(crds, CREATE_PARALLEL, async (crd) => {
    await client.create(customResourceDefinitions as unknown as ResourceType<KubeObject>, crd as unknown as KubeObject);
  });
  const isEstablished = async (name: string): Promise<boolean> =>
    (await client.get(customResourceDefinitions, { name })).status?.conditions?.some(({ type, status }) => type === "Established" && status === "True") ===
    true;
  for (const { metadata } of crds) await until(`definition ${metadata.name}`, () => isEstablished(metadata.name ?? ""));
}

async function fill(client: KubeClient, counts: { readonly backups: number; readonly schedules: number }): Promise<void> {
  const expiration = new Date(systemClock.nowMs() + 30 * 86_400_000).toISOString();
  await forEachLimit(
    Array.from({ length: counts.backups }, (_, n) => n),
    CREATE_PARALLEL,
    async (n) => {
      const metadata = { namespace: NAMESPACE, name: `backup-${n}`, labels: { "velero.io/schedule-name": `schedule-${n % Math.max(counts.schedules, 1)}` } };
      // Backups have no status subresource.
      const status = { phase: "Completed", expiration, version: 1, formatVersion: "1.1.0" } as const;
      await client.create<Backup>(backups, { apiVersion: "velero.io/v1", kind: "Backup", metadata, spec: { storageLocation: "default" }, status });
    },
  );
  await forEachLimit(
    Array.from({ length: counts.schedules }, (_, n) => n),
    CREATE_PARALLEL,
    async (n) => {
      const metadata = { namespace: NAMESPACE, name: `schedule-${n}` };
      const spec = { schedule: "0 3 1 1 *", skipImmediately: true, template: {} };
      await client.create<Schedule>(schedules, { apiVersion: "velero.io/v1", kind: "Schedule", metadata, spec });
    },
  );
}

/** Asks the server who it is, and waits until it has said so. */
async function answered(client: KubeClient, name: string): Promise<void> {
  const key = { namespace: NAMESPACE, name };
  await client.create(serverStatusRequests, { apiVersion: "velero.io/v1", kind: "ServerStatusRequest", metadata: key, spec: {} });
  await until(`ServerStatusRequest ${name}`, async () => (await client.get(serverStatusRequests, key)).status?.phase === "Processed");
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + LIMIT_MS;
  while (!(await holds())) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`${what} is not as wanted after ${LIMIT_MS / 1000} s`);
    await systemClock.sleep(50);
  }
}

function byKind(requests: readonly CountedRequest[]): Map<string, { listPages: number; watches: number }> {
  const kinds = new Map<string, { listPages: number; watches: number }>();
  for (const { method, url } of requests) {
    const { pathname, searchParams } = new URL(url, "https://api");
    const collection = /^\/(?:api|apis\/[^/]+)\/[^/]+\/(?:namespaces\/[^/]+\/)?([a-z]+)$/.exec(pathname)?.[1];
    // A single object that is watched has the field selector of its name.
    if (method !== "GET" || collection === undefined || searchParams.has("fieldSelector")) continue;
    const counts = kinds.get(collection) ?? { listPages: 0, watches: 0 };
    if (["1", "true"].includes(searchParams.get("watch") ?? "")) counts.watches++;
    else counts.listPages++;
    kinds.set(collection, counts);
  }
  return kinds;
}
