/**
 * What a restore leaves in metadata.managedFields of the objects it creates, beside a real Velero that restores the same backup on the same real kube-apiserver.
 * docs/design/0013-field-managers-of-restored-objects.md says why the two may differ where they do.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backupStorageLocations, type Restore, restores } from "@drayage/api";
import { ArchiveBackupStore } from "@drayage/archive";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { openS3ObjectStore } from "@drayage/blob/s3";
import { type RunningController, startRestoreController, startRestoreOperationsController } from "@drayage/controllers";
import { type ObjectStore, startObjectStore } from "@drayage/embedded/object-store";
import { type ConnectedClient, createDiscovery, createKubeClient, type Discovery, type GenericObject, keyOf, namespaces } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BUCKET, KEYS, REGION, VELERO } from "../e2e/harness.ts";
import type { PeerProcess } from "./peers.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";
import { type InstalledVelero, installVelero } from "./real-velero.ts";

const WAIT_MS = 120_000;
const GIT = "kustomize-controller";
const KUBECTL = "kubectl-client-side-apply";

let api: RealApiServer;
let store: ObjectStore;
let client: ConnectedClient;
let discovery: Discovery;
let velero: InstalledVelero;
let folder: string;
const velerosServer: PeerProcess[] = [];
const running: RunningController[] = [];
/** Writes of our restore to objects of its target: `POST configmaps/helm`. */
const written: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "dray-managers-"));
  api = await startRealApiServer();
  store = await startObjectStore({
    directory: join(folder, "store"),
    buckets: [BUCKET],
    credentials: KEYS,
    region: REGION,
    clock: systemClock,
    logger: nullLogger,
  });
  const kubeconfig = JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: api.url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: api.token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
  const kubeconfigPath = join(folder, "kubeconfig");
  writeFileSync(kubeconfigPath, kubeconfig, { mode: 0o600 });
  client = createKubeClient({ kubeconfig, qps: 0 });
  discovery = createDiscovery(client);
  for (const name of [VELERO, "shop"]) await client.create(namespaces, { metadata: { name } });
  const locationConfig = { region: REGION, s3ForcePathStyle: "true", s3Url: store.url };
  velero = await installVelero({ kubeconfigPath, client, locationConfig, folder: join(folder, "velero") });
  // Nobody else on this machine wants its port then.
  velerosServer.push(await velero.startServer("velero-without-metrics"));
  await until("the location is available", async () => {
    const { status } = await client.get(backupStorageLocations, { namespace: VELERO, name: "default" });
    return status?.phase === "Available";
  });
  await fill();
  await velero.cli("backup", "create", "one", "--include-namespaces", "shop", "--wait");
  await velero.cli("restore", "create", "theirs", "--from-backup", "one", "--namespace-mappings", "shop:theirs", "--wait");
  for (const server of velerosServer.splice(0)) await server.stop();
  await restoreByUs();
});

afterAll(async () => {
  for (const controller of running) await controller.stop();
  for (const server of velerosServer) await server.stop();
  await client?.close();
  await store?.close();
  await api?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** One object for each way in which objects come to have managers. */
async function fill(): Promise<void> {
  const map = (name: string): GenericObject => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "shop", name, labels: { app: "shop" } },
    data: { a: "1", b: "2" },
  });
  const create = async (object: GenericObject, fieldManager: string): Promise<GenericObject> =>
    client.create<GenericObject>(await typeOf(object), object, { fieldManager });
  await create(map("one-manager"), "helm");
  await create(map("edited"), "helm");
  await client.patch(await typeOf(map("")), { namespace: "shop", name: "edited" }, "merge", { data: { c: "3" } }, { fieldManager: "kubectl-edit" });
  await client.apply(await typeOf(map("")), map("applied"), { fieldManager: GIT });
  const labels = { app: "web" };
  const template = {
    metadata: { labels },
    spec: { containers: [{ name: "main", image: "nginx:1.27", ports: [{ containerPort: 80 }], env: [{ name: "A", value: "1" }] }] },
  };
  const web = (name: string): GenericObject => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace: "shop", name, labels },
    spec: { replicas: 2, selector: { matchLabels: labels }, template },
  });
  const observe = async (object: GenericObject, annotations: Record<string, string> | undefined): Promise<void> => {
    const metadata = { ...object.metadata, ...(annotations && { annotations }) };
    const status = { replicas: 2, observedGeneration: 1 };
    await client.replaceStatus(await typeOf(object), { ...object, metadata, status }, { fieldManager: "kube-controller-manager" });
  };
  await observe(await create(web("observed"), KUBECTL), undefined);
  // As the controller of Deployments does it: with the status.
  await observe(await create(web("annotated"), KUBECTL), { "deployment.kubernetes.io/revision": "1" });
  const service = { apiVersion: "v1", kind: "Service", metadata: { namespace: "shop", name: "web" }, spec: { selector: labels, ports: [{ port: 80 }] } };
  await create(service, "helm");
}

async function restoreByUs(): Promise<void> {
  const objects = await openS3ObjectStore({
    bucket: BUCKET,
    region: REGION,
    endpoint: store.url,
    pathStyle: true,
    credentials: KEYS,
  });
  const archive = new ArchiveBackupStore({ store: objects, temporaryFolder: folder, clock: systemClock });
  const deps = { discovery, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: VELERO, stores: { open: async () => archive } };
  running.push(
    startRestoreController({ ...deps, client: watched(client), helperImage: "drayage/dray:test" }),
    startRestoreOperationsController({ ...deps, client }),
  );
  await client.create<Restore>(restores, {
    metadata: { namespace: VELERO, name: "ours" },
    spec: { backupName: "one", namespaceMapping: { shop: "ours" } },
  });
  await until("our restore ends", async () => {
    const { status } = await client.get(restores, { namespace: VELERO, name: "ours" });
    if (status?.phase?.includes("Failed") === true) throw new Error(JSON.stringify(status));
    return status?.phase === "Completed";
  });
}

/** A client that notes what is written. */
function watched(inner: ConnectedClient): ConnectedClient {
  return new Proxy(inner, {
    get(target, name) {
      const own = Reflect.get(target, name, target) as unknown;
      if (typeof own !== "function") return own;
      return (type: { plural?: string }, what: { name?: string; namespace?: string; metadata?: GenericObject["metadata"] }, ...rest: unknown[]): unknown => {
        const key = name === "patch" ? what : name === "create" ? what.metadata : undefined;
        if (key?.namespace === "ours") written.push(`${String(name)} ${type.plural}/${key.name}`);
        return (own as (...all: unknown[]) => unknown).call(target, type, what, ...rest);
      };
    },
  });
}

async function typeOf(object: GenericObject) {
  const type = await discovery.forKind(object.apiVersion ?? "", object.kind ?? "");
  if (type === undefined) throw new Error(`${object.apiVersion} ${object.kind} is not served`);
  return type;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + WAIT_MS;
  while (!(await holds())) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`${what}: it did not come to that`);
    await systemClock.sleep(100);
  }
}

async function managersIn(namespace: string, apiVersion: string, kind: string, name: string): Promise<GenericObject[]> {
  const type = await typeOf({ apiVersion, kind, metadata: {} });
  return ((await client.get<GenericObject>(type, { namespace, name })).metadata.managedFields ?? []) as GenericObject[];
}

const RESTORE_LABELS = { "f:velero.io/backup-name": {}, "f:velero.io/restore-name": {} };

/** The entries of a backup's object, with the labels of the restore among the fields of one manager. */
function withLabels(entries: readonly GenericObject[], manager: string): unknown[] {
  return entries.map((entry) => {
    if (entry["manager"] !== manager) return entry;
    const fields = entry["fieldsV1"] as { "f:metadata"?: { "f:labels"?: object } };
    const labels = { ".": {}, ...fields["f:metadata"]?.["f:labels"], ...RESTORE_LABELS };
    return { ...entry, time: expect.any(String), fieldsV1: { ...fields, "f:metadata": { ...fields["f:metadata"], "f:labels": labels } } };
  });
}

const ALL = [
  ["v1", "ConfigMap", "one-manager"],
  ["v1", "ConfigMap", "edited"],
  ["v1", "ConfigMap", "applied"],
  ["apps/v1", "Deployment", "observed"],
  ["apps/v1", "Deployment", "annotated"],
  ["v1", "Service", "web"],
] as const;

it("Velero leaves the managers of the backup as they were, those of a status that is not restored among them", async () => {
  for (const [apiVersion, kind, name] of ALL)
    expect(await managersIn("theirs", apiVersion, kind, name)).toEqual(await managersIn("shop", apiVersion, kind, name));
});

it.each(ALL.slice(1).filter(([, , name]) => name !== "observed"))("so do we, in a second request: %s %s %s", async (apiVersion, kind, name) => {
  expect(await managersIn("ours", apiVersion, kind, name)).toEqual(await managersIn("shop", apiVersion, kind, name));
  expect(written.filter((line) => line.endsWith(`/${name}`)).map((line) => line.split(" ")[0])).toEqual(["create", "patch"]);
});

it.each([
  ["v1", "ConfigMap", "one-manager", "helm"],
  ["apps/v1", "Deployment", "observed", KUBECTL],
] as const)(
  "where one manager had set everything, one request does it, and it owns the labels of the restore besides: %s %s %s",
  async (apiVersion, kind, name, manager) => {
    const [before, after] = [await managersIn("shop", apiVersion, kind, name), await managersIn("ours", apiVersion, kind, name)];
    const byName = (entries: readonly unknown[]) => entries.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    expect(byName(after)).toEqual(byName(withLabels(before, manager)));
    expect(written.filter((line) => line.endsWith(`/${name}`)).map((line) => line.split(" ")[0])).toEqual(["create"]);
  },
);

it.each(["theirs", "ours"])("whoever applies goes on applying: what it no longer names goes, what others own is refused (%s)", async (namespace) => {
  const map = (name: string, data: Record<string, string>): GenericObject => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace, name, labels: { app: "shop" } },
    data,
  });
  const type = await typeOf(map("", {}));
  const applied = await client.apply(type, map("applied", { a: "1" }), { fieldManager: GIT });
  expect(applied["data"]).toEqual({ a: "1" });
  expect(applied.metadata.labels).toMatchObject({ "velero.io/backup-name": "one" });
  const bare = await client.apply(type, { ...map("applied", {}), metadata: { namespace, name: "applied" } }, { fieldManager: GIT });
  // Whoever gives up the labels gives up all of them, whoever owns them.
  expect(bare.metadata.labels).toBeUndefined();
  await expect(client.apply(type, map("one-manager", { a: "2" }), { fieldManager: GIT })).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
  expect((await client.get<GenericObject>(type, keyOf(map("one-manager", {}))))["data"]).toEqual({ a: "1", b: "2" });
});
