import { type DataDownload, dataDownloads, type Restore, restores } from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { configMaps, type GenericObject, type KubeObject, namespaces, type StorageClass, serviceAccounts, storageClasses } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import type { BackupStore } from "../ports.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { emptyCluster, NAMESPACE, newRestore, type RecordedCluster, recordedBackup, restoreIn } from "../testing/recorded-cluster.ts";
import { planRestore } from "./plan-restore.ts";
import { startRestoreController } from "./restore-controller.ts";

async function world() {
  const cluster = emptyCluster();
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  cluster.client.seed<StorageClass>(storageClasses, { metadata: { name: "csi" }, provisioner: "hostpath.csi.k8s.io" });
  return { cluster, store, client: cluster.client };
}

function plan({ client, clock, discovery }: RecordedCluster, store: BackupStore, spec: Restore["spec"] = {}) {
  return planRestore({
    client,
    clock,
    discovery,
    random: seededRandom(3),
    namespace: NAMESPACE,
    restore: newRestore("planned", spec),
    load: async () => ({
      archive: await store.openArchive("second"),
      volumeInfos: await store.getVolumeInfos("second"),
      podVolumeBackups: (await store.getPodVolumeBackups("second")) as never,
    }),
    signal: new AbortController().signal,
  });
}

const everything = ({ client, resources }: RecordedCluster): string[] =>
  resources
    .flatMap((type) => client.all<KubeObject>(type))
    .map(({ kind, metadata }) => `${kind} ${metadata.namespace} ${metadata.name} ${metadata.resourceVersion}`);

describe("planRestore()", () => {
  it("says what the restore then does, and changes nothing", async () => {
    const { cluster, store, client } = await world();
    const before = everything(cluster);
    const planned = await plan(cluster, store);
    expect(everything(cluster)).toEqual(before);
    expect(client.all(dataDownloads)).toEqual([]);
    expect(store.openArchives).toBe(0);

    // The API server of the test puts nothing into new namespaces by itself.
    client.react(namespaces, (earlier, after) => {
      const namespace = after?.metadata.name ?? "";
      if (earlier === undefined && after !== undefined)
        client.seed(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name: "default" } });
    });
    const deps = { ...cluster, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, helperImage: "drayage/dray:test" };
    const running = startRestoreController(deps);
    await client.create<Restore>(restores, newRestore("planned"));
    await restoreIn(cluster, "planned", "WaitingForPluginOperations");
    await running.stop();
    const done = store.restores.get("planned")?.resourceList ?? {};
    const items = planned.items.map(({ kind, name, outcome }) => `${kind} ${name}(${outcome})`).sort();
    expect(items).toEqual(
      Object.entries(done)
        .flatMap(([kind, names]) => names.map((name) => `${kind} ${name}`))
        .sort(),
    );
    expect(planned.namespaces).toEqual(["notes"]);
  });

  it("names volumes with their data, the bytes to fetch, and the time that earlier ones took", async () => {
    const { cluster, store, client } = await world();
    client.seed<DataDownload>(dataDownloads, {
      metadata: { namespace: NAMESPACE, name: "earlier" },
      spec: {
        backupStorageLocation: "default",
        operationTimeout: "10m",
        snapshotID: "x",
        sourceNamespace: "n",
        targetVolume: { namespace: "n", pv: "", pvc: "c" },
      },
      status: {
        phase: "Completed",
        progress: { bytesDone: 1_000_000, totalBytes: 1_000_000 },
        startTimestamp: "2026-11-21T04:00:00Z",
        completionTimestamp: "2026-11-21T04:00:10Z",
      },
    });
    const { volumes, fetch } = await plan(cluster, store);
    expect(volumes.map(({ claim, data, bytes }) => ({ claim, data, bytes })).sort((a, b) => (a.claim < b.claim ? -1 : 1))).toEqual([
      { claim: "disk", data: "moved", bytes: 4194304 },
      { claim: "files", data: "moved", bytes: 1500101 },
      { claim: "fsb", data: "through its pod", bytes: 4 },
    ]);
    expect(fetch).toEqual({ bytes: 5694409, seconds: 57, basis: { movements: "DataDownloads", count: 1, bytesPerSecond: 100_000, atOnce: 1 } });
  });

  it("gives the reason for everything that is not simply created", async () => {
    const { cluster, store, client } = await world();
    client.seed(namespaces, { metadata: { name: "copy" } });
    client.seed(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "copy", name: "kube-root-ca.crt" }, data: { other: "one" } });
    const planned = await plan(cluster, store, { namespaceMapping: { notes: "copy" } });
    const reasonOf = (kind: string) => planned.items.find((item) => item.kind === kind)?.reason;
    expect(reasonOf("v1/PersistentVolume")).toBe("its claim gets a new volume");
    expect(reasonOf("apps/v1/Deployment")).toBe('namespace "notes" becomes "copy"');
    expect(reasonOf("v1/ConfigMap")).toBe("it exists already and is different from the one in the backup: it is left as it is");
    expect(planned.warnings.namespaces?.["copy"]?.join()).toMatch(/already exists and is different/);
    expect(planned.namespaces).toEqual([]);
  });

  it("names the fields that an update would change, and what the API server refuses", async () => {
    const { cluster, store, client } = await world();
    client.seed(namespaces, { metadata: { name: "notes" } });
    client.seed(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "notes", name: "kube-root-ca.crt" }, data: { other: "one" } });
    client.intercept = ({ verb, resource }) => {
      if (verb === "create" && resource === "pods") throw new DrayError("KUBE_INVALID", "Cannot create pod: spec.containers is empty");
      if (verb === "create" && resource === "deployments.apps") throw new DrayError("KUBE_FORBIDDEN", "Cannot create deployment: not allowed");
    };
    const planned = await plan(cluster, store, { existingResourcePolicy: "update" });
    const itemOf = (kind: string) => planned.items.find((item) => item.kind === kind);
    expect(itemOf("v1/ConfigMap")).toMatchObject({ outcome: "updated", reason: expect.stringMatching(/changed are .*data\.other/) });
    expect(itemOf("v1/Pod")).toMatchObject({ outcome: "failed", reason: "Cannot create pod: spec.containers is empty" });
    expect(itemOf("apps/v1/Deployment")).toMatchObject({ outcome: "created" });
    expect(planned.doubts).toMatchObject([{ kind: "Deployment", message: "Cannot create deployment: not allowed" }]);
    expect(client.peek(configMaps, { namespace: "notes", name: "kube-root-ca.crt" })?.data).toEqual({ other: "one" });
  });

  it("names classes and kinds that the cluster lacks", async () => {
    const { cluster, store, client } = await world();
    client.discard(storageClasses, { name: "csi" });
    const without = {
      ...cluster,
      discovery: {
        ...cluster.discovery,
        forKind: async (version: string, kind: string) => (kind === "Deployment" ? undefined : cluster.discovery.forKind(version, kind)),
      },
    };
    const planned = await plan(without, store);
    expect(planned.missing).toEqual({ kinds: ["apps/v1 Deployment"], storageClasses: ["csi"] });
  });

  it("finds the kinds that the restore itself brings", async () => {
    const { cluster, store } = await world();
    const writer = await store.newArchiveWriter();
    const definition: GenericObject = {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "databases.example.com" },
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names: { plural: "databases", kind: "Database" },
        versions: [{ name: "v1", served: true, storage: true }],
      },
    };
    const database: GenericObject = { apiVersion: "example.com/v1", kind: "Database", metadata: { namespace: "shop", name: "orders" } };
    await writer.add(
      { groupResource: "customresourcedefinitions.apiextensions.k8s.io", namespace: undefined, name: "databases.example.com", version: "v1", preferred: true },
      definition,
    );
    await writer.add({ groupResource: "databases.example.com", namespace: "shop", name: "orders", version: "v1", preferred: true }, database);
    const { backup } = store.backups.get("second") ?? {};
    await store.putBackup({ backup: backup as never, archive: await writer.finish(), volumeInfos: [], podVolumeBackups: null });
    await writer.dispose();
    const planned = await plan(cluster, store);
    expect(planned.missing.kinds).toEqual([]);
    expect(planned.items).toContainEqual({ kind: "example.com/v1/Database", name: "shop/orders", outcome: "created" });
  });

  it("says why the restore would fail its validation", async () => {
    const { cluster, store } = await world();
    expect((await plan(cluster, store, { backupName: "none" })).faults).toEqual(['backup "none" does not exist']);
  });
});
