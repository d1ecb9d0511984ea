/** A real kube-apiserver whose requests are recorded, with what stock clients need to speak to it, and ours, to which they are sent again. */
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backupStorageLocations, backups, deleteBackupRequests } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { startApiServer } from "@drayage/embedded/api-server";
import { startObjectStore } from "@drayage/embedded/object-store";
import { type ConnectedClient, createKubeClient, namespaces } from "@drayage/kube";
import { expect } from "vitest";
import { BUCKET, KEYS, REGION, VELERO } from "../e2e/harness.ts";
import { exchange, type JsonObject } from "./api-exchange.ts";
import { type PeerProcess, peer } from "./peers.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";
import { type InstalledVelero, installVelero } from "./real-velero.ts";
import { type RecordingProxy, startRecordingProxy } from "./recording-proxy.ts";
import { type Replayed, replay } from "./request-replay.ts";

/** A real server that is recorded, and ours for the replay. */
export interface Servers {
  readonly folder: string;
  readonly proxy: RecordingProxy;
  readonly real: RealApiServer;
  readonly kubeconfigPath: string;
  readonly kubeconfig: string;
  /** Past the proxy: what is asked by it is not recorded. */
  readonly realKubeconfig: string;
  replay(): Promise<Replayed[]>;
  stop(): Promise<void>;
}

export async function startServers(): Promise<Servers> {
  const folder = mkdtempSync(join(tmpdir(), "drayage-replay-"));
  const real = await startRealApiServer();
  const proxy = await startRecordingProxy(real);
  const kubeconfigPath = join(folder, "kubeconfig");
  mkdirSync(join(folder, "home"));
  const kubeconfig = kubeconfigOf({ server: proxy.url }, {});
  writeFileSync(kubeconfigPath, kubeconfig);
  const ours = await startApiServer({ directory: join(folder, "ours"), clock: systemClock, random: systemRandom, logger: nullLogger });
  return {
    folder,
    proxy,
    real,
    kubeconfigPath,
    kubeconfig,
    realKubeconfig: kubeconfigOf({ server: real.url, "insecure-skip-tls-verify": true }, { token: real.token }),
    replay: () => replay(proxy.exchanges, { url: ours.url, token: ours.adminToken }),
    stop: async () => {
      await proxy.close();
      await real.stop();
      await ours.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function kubeconfigOf(cluster: object, user: object): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
}

export interface KubectlResult {
  readonly code: number;
  readonly text: string;
}

export function kubectl(servers: Servers, args: readonly string[], input = "", more: Readonly<Record<string, string>> = {}): Promise<KubectlResult> {
  const { proxy, kubeconfigPath, folder } = servers;
  proxy.during(`kubectl ${args.join(" ")}`);
  const env = { ...process.env, KUBECONFIG: kubeconfigPath, HOME: join(folder, "home"), ...more };
  return new Promise((resolve) => {
    const child = execFile(peer("kubectl"), args, { env, timeout: 60_000, maxBuffer: 64 << 20 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, text: `${out}${err}` }),
    );
    child.stdin?.end(input);
  });
}

/** Until every definition is served: the real server asks those who come too early to come again. */
async function untilServed(real: RealApiServer): Promise<void> {
  const { body } = await exchange(real, { method: "GET", path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions" });
  for (const { spec } of (body as JsonObject)["items"] as { spec: { group: string; names: { plural: string }; versions: { name: string }[] } }[])
    for (const { name } of spec.versions)
      await exchange(real, { method: "GET", path: `/apis/${spec.group}/${name}/${spec.names.plural}`, until: ({ code }) => code === 200 });
}

/** Runs a watch of kubectl beside what changes what it watches; ends it when it has shown so many lines. */
export async function watching(servers: Servers, args: readonly string[], lines: number, change: () => Promise<void>): Promise<void> {
  const { proxy, kubeconfigPath, folder } = servers;
  proxy.during(`kubectl ${args.join(" ")}`);
  const env = { ...process.env, KUBECONFIG: kubeconfigPath, HOME: join(folder, "home") };
  const child = spawn(peer("kubectl"), args, { env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const begun = proxy.exchanges.length;
  await expect.poll(() => proxy.exchanges.slice(begun).some((it) => it.isWatch && it.status === 200), { timeout: 30_000, interval: 10 }).toBe(true);
  await change();
  await expect.poll(() => text.split("\n").length - 1, { timeout: 30_000, interval: 10 }).toBe(lines);
  child.kill("SIGTERM");
  await ended;
}

export interface VeleroUnderRecord {
  readonly velero: InstalledVelero;
  /** Through the proxy. */
  readonly client: ConnectedClient;
  /** Resolves when its location is available. */
  startServer(program: "velero" | "velero-without-metrics"): Promise<void>;
  deleteBackup(name: string): Promise<void>;
}

/** Velero, installed into the recorded server with a bucket of its own. What runs has ended when this resolves. */
export async function withVelero(servers: Servers, work: (it: VeleroUnderRecord) => Promise<void>): Promise<void> {
  const { proxy, real, folder, kubeconfig, kubeconfigPath } = servers;
  const store = await startObjectStore({
    directory: join(folder, "store"),
    buckets: [BUCKET],
    credentials: KEYS,
    region: REGION,
    host: "127.0.0.1",
    clock: systemClock,
    logger: nullLogger,
  });
  const client = createKubeClient({ kubeconfig, qps: 0 });
  let server: PeerProcess | undefined;
  try {
    proxy.during("installation");
    await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
    const locationConfig = { region: REGION, s3ForcePathStyle: "true", s3Url: store.url };
    const velero = await installVelero({ kubeconfigPath, client, locationConfig, folder: join(folder, "velero") });
    const phase = async (): Promise<string | undefined> => (await client.get(backupStorageLocations, { namespace: VELERO, name: "default" })).status?.phase;
    // Velero forgets the request after the backup: ended before, it leaves a request whose event was seen and whose answer was not.
    const left = async (): Promise<number> =>
      (await client.list(backups, { namespace: VELERO })).items.length + (await client.list(deleteBackupRequests, { namespace: VELERO })).items.length;
    await work({
      velero,
      client,
      startServer: async (program) => {
        await untilServed(real);
        proxy.during("velero");
        server = await velero.startServer(program);
        await expect.poll(phase, { timeout: 60_000, interval: 100 }).toBe("Available");
      },
      deleteBackup: async (name) => {
        await velero.cli("backup", "delete", name, "--confirm");
        await expect.poll(left, { timeout: 60_000, interval: 100 }).toBe(0);
      },
    });
  } catch (error) {
    throw new Error(`${String(error)}\n${server?.output().slice(-20_000) ?? ""}`, { cause: error });
  } finally {
    await server?.stop();
    await client.close();
    await store.close();
  }
}
