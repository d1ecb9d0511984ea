/**
 * Plug-ins made for Velero, unchanged, under our controllers: the real AWS plug-in as the store of the backup location, and one on Velero's framework with every kind of item action,
 * which is killed in the middle. The bucket and the API server are those of the embedded cluster.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backup, backupStorageLocations, backups, deleteBackupRequests, loadCrds, type Restore, restores } from "@drayage/api";
import { loggerTo, nullLogger, systemClock, systemRandom } from "@drayage/base";
import {
  type RunningController,
  startBackupController,
  startBackupDeletionController,
  startBackupOperationsController,
  startRestoreController,
  startRestoreOperationsController,
} from "@drayage/controllers";
import { type ApiServer, startApiServer } from "@drayage/embedded/api-server";
import { type ObjectStore, startObjectStore } from "@drayage/embedded/object-store";
import {
  type ConnectedClient,
  type CustomResourceDefinition,
  configMaps,
  createDiscovery,
  createKubeClient,
  customResourceDefinitions,
  namespaces,
  secrets,
} from "@drayage/kube";
import { PluginHost } from "@drayage/plugin-host";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LocationStores } from "../../apps/dray/src/roles/backup-stores.ts";
import { peer } from "./peers.ts";

const NS = "velero";
const WAIT_MS = 60_000;
let folder: string;
let bucket: ObjectStore;
let server: ApiServer;
let client: ConnectedClient;
let host: PluginHost;
const running: (RunningController | { stop(): Promise<void> })[] = [];
const logged: string[] = [];
const state = (name: string): string => join(folder, "state", name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-plugins-"));
  for (const name of ["plugins", "state", "temporary"]) mkdirSync(join(folder, name));
  copyFileSync(peer("velero-plugin-for-aws"), join(folder, "plugins", "velero-plugin-for-aws"));
  copyFileSync(peer("velero-plugin-asynchronous"), join(folder, "plugins", "asynchronous"));
  const credentials = { accessKeyId: "key", secretAccessKey: "secret" };
  bucket = await startObjectStore({
    directory: join(folder, "store"),
    buckets: ["backups"],
    credentials,
    region: "us-east-1",
    clock: systemClock,
    logger: nullLogger,
  });
  server = await startApiServer({ directory: join(folder, "cluster"), clock: systemClock, random: systemRandom, logger: nullLogger });
  client = createKubeClient({ kubeconfig: server.adminKubeconfig(), qps: 0 });
  for (const crd of loadCrds("velero.io")) await client.create(customResourceDefinitions, crd as unknown as CustomResourceDefinition);
  await client.create(namespaces, { metadata: { name: NS } });
  const text = `[default]\naws_access_key_id = ${credentials.accessKeyId}\naws_secret_access_key = ${credentials.secretAccessKey}\n`;
  await client.create(secrets, { metadata: { namespace: NS, name: "cloud-credentials" }, data: { cloud: Buffer.from(text).toString("base64") } });
  await client.create(backupStorageLocations, {
    metadata: { namespace: NS, name: "default" },
    spec: {
      provider: "velero.io/aws",
      default: true,
      objectStorage: { bucket: "backups", prefix: "through/a/plug-in" },
      config: { region: "us-east-1", s3ForcePathStyle: "true", s3Url: bucket.url, checksumAlgorithm: "" },
    },
    status: { phase: "Available" },
  });
  const logger = loggerTo(({ level, message, fields }) => {
    if (level === "warn" || level === "error") logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
  });
  const temporaryFolder = join(folder, "temporary");
  const env = { ...process.env, PLUGIN_STATE: join(folder, "state") };
  host = await PluginHost.open({ folder: join(folder, "plugins"), temporaryFolder, env, clock: systemClock, logger, callTimeoutMs: 5_000 });
  const stores = new LocationStores({ client, namespace: NS, temporaryFolder, clock: systemClock, random: systemRandom, plugins: host });
  const discovery = createDiscovery(client);
  const plugins = host.items;
  const deps = { client, discovery, clock: systemClock, random: systemRandom, logger, namespace: NS, stores, plugins, pluginLookMs: 100 };
  const repositories = { ensure: async () => undefined, forget: async () => undefined, defaultMaintenanceFrequencySeconds: 3600 };
  running.push(
    startBackupController(deps),
    startBackupOperationsController(deps),
    startRestoreController({ ...deps, helperImage: "drayage/dray:test" }),
    startRestoreOperationsController(deps),
    startBackupDeletionController({ ...deps, repositories, resourceTimeoutMs: 10_000, plugins: { items: plugins, discovery } }),
  );
}, 60_000);

afterAll(async () => {
  for (const controller of running) await controller.stop();
  await host?.stop();
  await client?.close();
  await server?.close();
  await bucket?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function until<T>(look: () => Promise<T | undefined>, what: () => string): Promise<T> {
  const endMs = systemClock.nowMs() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (systemClock.nowMs() > endMs) throw new Error(`it did not come to that: ${what()}\n${logged.join("\n")}`);
    await systemClock.sleep(50);
  }
}

/** Waits until a Backup or Restore is in a phase. */
async function inPhase<T extends Backup | Restore>(type: typeof backups | typeof restores, name: string, phase: string): Promise<T> {
  let last = "";
  return until(
    async () => {
      const object = await client.get<Backup | Restore>(type as typeof backups, { namespace: NS, name });
      last = JSON.stringify(object.status);
      if (object.status?.phase === phase) return object as T;
      if (["Completed", "PartiallyFailed", "Failed", "FailedValidation"].includes(object.status?.phase ?? ""))
        throw new Error(`it ended: ${last}\n${logged.join("\n")}`);
      return undefined;
    },
    () => last,
  );
}

async function application(
  namespace: string,
  annotations: Record<string, string> = {},
  labels: Record<string, string> = { plugin: "yes", slow: "yes" },
): Promise<void> {
  await client.create(namespaces, { metadata: { name: namespace } });
  await client.create(configMaps, { metadata: { namespace, name: "orders", labels, annotations }, data: { orders: "12" } });
  await client.create(configMaps, { metadata: { namespace, name: "plain" }, data: {} });
  await client.create(secrets, { metadata: { namespace, name: "orders" }, data: {} });
}

const startBackup = (name: string, spec: Backup["spec"]) => client.create<Backup>(backups, { metadata: { namespace: NS, name }, spec });
const startRestore = (name: string, spec: Restore["spec"]) => client.create<Restore>(restores, { metadata: { namespace: NS, name }, spec });
const stored = (path: string): boolean => existsSync(join(folder, "store", "backups", "through/a/plug-in", path));

/** Ends the processes of the asynchronous plug-in with -9, as if they had crashed; returns how many. */
function killPlugin(): number {
  const path = join(folder, "plugins", "asynchronous");
  const pids = readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0")[0] === path;
    } catch {
      return false;
    }
  });
  for (const pid of pids) process.kill(Number(pid), "SIGKILL");
  return pids.length;
}

describe("plug-ins made for Velero", () => {
  it("are found with all that they offer", () => {
    expect(host.plugins.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      "BackupItemAction drayage.test/labels",
      "BackupItemActionV2 drayage.test/slow",
      "RestoreItemAction drayage.test/notes",
      "RestoreItemActionV2 drayage.test/slow",
      "DeleteItemAction drayage.test/gone",
      "ObjectStore velero.io/aws",
    ]);
    expect(host.problems).toEqual([expect.stringContaining('VolumeSnapshotter "velero.io/aws"')]);
  });

  it("take part in a backup, a restore and a deletion, and go on where they were killed", async () => {
    await application("shop");
    await startBackup("shop", { includedNamespaces: ["shop"] });
    const waiting = await inPhase<Backup>(backups, "shop", "WaitingForPluginOperations");
    expect(waiting.status).toMatchObject({ backupItemOperationsAttempted: 1 });
    expect(killPlugin()).toBe(1);
    writeFileSync(state("backup-shop-orders.done"), "");
    expect((await inPhase<Backup>(backups, "shop", "Completed")).status).toMatchObject({ backupItemOperationsCompleted: 1 });
    expect(stored("backups/shop/velero-backup.json")).toBe(true);

    await startRestore("back", { backupName: "shop", namespaceMapping: { shop: "copy" } });
    await inPhase<Restore>(restores, "back", "WaitingForPluginOperations");
    expect(killPlugin()).toBe(1);
    writeFileSync(state("restore-back-orders.done"), "");
    expect((await inPhase<Restore>(restores, "back", "Completed")).status).toMatchObject({ restoreItemOperationsCompleted: 1 });
    const { metadata } = await client.get(configMaps, { namespace: "copy", name: "orders" });
    // Its item was read again when the work had ended, as it asked, and so is without what it was given on the way; the Secret came along.
    expect(metadata.annotations).toMatchObject({ "drayage.test/notes": "back", "drayage.test/slow-back": "back" });
    expect((await client.get(configMaps, { namespace: "copy", name: "plain" })).metadata.annotations ?? {}).not.toHaveProperty("drayage.test/notes");
    expect(await client.find(secrets, { namespace: "copy", name: "orders" })).toBeDefined();

    await client.create(deleteBackupRequests, { metadata: { namespace: NS, name: "gone" }, spec: { backupName: "shop" } });
    await until(
      async () => ((await client.find(backups, { namespace: NS, name: "shop" })) === undefined ? true : undefined),
      () => "the backup is there",
    );
    expect(existsSync(state("deleted.orders"))).toBe(true);
    expect(stored("backups/shop/velero-backup.json")).toBe(false);
  });

  it("that fail their operation make the backup PartiallyFailed, with their own words", async () => {
    await application("lost", {}, { slow: "yes" });
    await startBackup("lost", { includedNamespaces: ["lost"] });
    await inPhase<Backup>(backups, "lost", "WaitingForPluginOperations");
    rmSync(state("backup-lost-orders.began"));
    expect((await inPhase<Backup>(backups, "lost", "PartiallyFailed")).status).toMatchObject({ backupItemOperationsFailed: 1 });
  });

  it("that do not end in time are told to stop", async () => {
    await application("late", {}, { slow: "yes" });
    await startBackup("late", { includedNamespaces: ["late"], itemOperationTimeout: "1s" });
    expect((await inPhase<Backup>(backups, "late", "PartiallyFailed")).status).toMatchObject({ backupItemOperationsFailed: 1 });
    expect(existsSync(state("backup-late-orders.canceled"))).toBe(true);
  });

  it.each([
    ["crash", /Cannot finish Execute of plug-in \\".*asynchronous\\": it ended with code 3/],
    ["hang", /Cannot finish Execute of plug-in \\".*asynchronous\\": it did not answer within 5 s, and was ended/],
    ["panic", /Plug-in \\".*asynchronous\\" failed in Execute: .*as the annotation says/],
  ])("that %s cost the item that they were asked about, and nothing else", async (how, message) => {
    await application(how, { "drayage.test/misbehave": how }, { plugin: "yes" });
    await startBackup(how, { includedNamespaces: [how] });
    const { status } = await inPhase<Backup>(backups, how, "PartiallyFailed");
    expect(status?.errors).toBe(1);
    const stores = new LocationStores({
      client,
      namespace: NS,
      temporaryFolder: join(folder, "temporary"),
      clock: systemClock,
      random: systemRandom,
      plugins: host,
    });
    const store = await stores.open(await client.get(backupStorageLocations, { namespace: NS, name: "default" }));
    expect(JSON.stringify(await store.getResults(how))).toMatch(message);
    const archive = await store.openArchive(how);
    expect(archive.items("configmaps").map(({ name }) => name)).toContain("plain");
    await archive.dispose();
  });
});
