/** Fields of a Restore that nothing else tries by themselves, and what they become in the objects that a restore makes. */
import { dataDownloads, podVolumeRestores, type Restore, restores } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { configMaps, deployments, type GenericObject, persistentVolumeClaims, pods } from "@drayage/kube";
import { afterEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { startRestoreOperationsController } from "../restore-operations/restore-operations-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { emptyCluster, endDownloads, NAMESPACE, newRestore, recordedBackup, restoreIn } from "../testing/recorded-cluster.ts";
import { startRestoreController } from "./restore-controller.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

/** A restore of the recorded backup, with more in it where that is said, once it has done its own work. */
async function restored(spec: Restore["spec"], more: readonly GenericObject[] = []) {
  const cluster = emptyCluster();
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  const files = store.backups.get("second");
  const writer = await store.newArchiveWriter();
  for (const { ref, object } of store.items("second")) await writer.add(ref, object);
  for (const object of more) {
    const { namespace, name = "" } = object.metadata;
    const groupResource = object.kind === "ClusterRole" ? "clusterroles.rbac.authorization.k8s.io" : "configmaps";
    await writer.add({ groupResource, namespace, name, version: "v1", preferred: true }, object);
  }
  await store.putBackup({ ...(files ?? { backup: { metadata: { name: "second" }, spec: {} } }), archive: await writer.finish() });
  await writer.dispose();
  const deps = { ...cluster, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, helperImage: "drayage/dray:test" };
  running.push(startRestoreController(deps), startRestoreOperationsController(deps));
  await cluster.client.create<Restore>(restores, newRestore("back", spec));
  const after = await restoreIn(
    cluster,
    "back",
    "WaitingForPluginOperations",
    "WaitingForPluginOperationsPartiallyFailed",
    "Finalizing",
    "Completed",
    "PartiallyFailed",
    "FailedValidation",
  );
  const list = store.restores.get("back")?.resourceList ?? {};
  return { cluster, client: cluster.client, store, restore: after, names: (kind: string) => list[kind] ?? [] };
}

const role: GenericObject = { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name: "reader" } };

describe("cluster-scoped resources", () => {
  it("come back with everything, with some namespaces only when includeClusterResources asks for them, and never when it says no", async () => {
    const CLUSTER_ROLE = "rbac.authorization.k8s.io/v1/ClusterRole";
    const rolesWith = async (spec: Restore["spec"]) => (await restored(spec, [role])).names(CLUSTER_ROLE);
    expect(await rolesWith({})).toEqual(["reader(created)"]);
    expect(await rolesWith({ includedNamespaces: ["notes"] })).toEqual([]);
    expect(await rolesWith({ includedNamespaces: ["notes"], includeClusterResources: true })).toEqual(["reader(created)"]);
    expect(await rolesWith({ includeClusterResources: false })).toEqual([]);
  });
});

describe("what is chosen", () => {
  const configMap = (namespace: string, name: string, labels: Record<string, string>): GenericObject => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace, name, labels },
  });
  const more = [configMap("a", "one", { color: "red" }), configMap("b", "two", { color: "blue" }), configMap("b", "three", { color: "green" })];

  it.each<[what: string, spec: Restore["spec"], wanted: readonly string[]]>([
    ["included namespaces", { includedNamespaces: ["a"] }, ["a/one"]],
    ["excluded namespaces", { excludedNamespaces: ["a", "notes"] }, ["b/three", "b/two"]],
    ["excluded resources", { excludedResources: ["configmaps"] }, []],
    ["labels", { labelSelector: { matchLabels: { color: "red" } } }, ["a/one"]],
    [
      "expressions of labels",
      {
        labelSelector: {
          matchExpressions: [
            { key: "color", operator: "NotIn", values: ["red"] },
            { key: "color", operator: "Exists" },
          ],
        },
      },
      ["b/three", "b/two"],
    ],
    ["any of several selectors", { orLabelSelectors: [{ matchLabels: { color: "red" } }, { matchLabels: { color: "blue" } }] }, ["a/one", "b/two"]],
  ])("by %s", async (_what, spec, wanted) => {
    const { names } = await restored({ includedResources: ["configmaps"], ...spec, ...("excludedResources" in spec ? { includedResources: [] } : {}) }, more);
    expect(
      names("v1/ConfigMap")
        .filter((name) => /\/(one|two|three)\(/.test(name))
        .map((name) => name.replace("(created)", "")),
    ).toEqual(wanted);
  });
});

describe("volumes", () => {
  it("come back empty, without a DataDownload, when restorePVs says so", async () => {
    const { client } = await restored({ restorePVs: false });
    expect(client.all(dataDownloads)).toEqual([]);
    expect(client.all(podVolumeRestores)).toEqual([]);
    const claims = client.all(persistentVolumeClaims);
    expect(claims.length).toBeGreaterThan(1);
    for (const { spec } of claims) expect([spec.volumeName, spec.selector]).toEqual([undefined, undefined]);
  });

  it("are filled by a DataDownload that carries what its mover has to know", async () => {
    const { client } = await restored({ uploaderConfig: { writeSparseFiles: true, parallelFilesDownload: 3 }, namespaceMapping: { notes: "copy" } });
    const download = client.all(dataDownloads).find(({ spec }) => spec.targetVolume.pvc === "files");
    expect(download?.spec).toEqual({
      backupStorageLocation: "default",
      dataMoverConfig: { WriteSparseFiles: "true", ParallelFilesDownload: "3" },
      nodeOS: "linux",
      operationTimeout: "10m0s",
      snapshotID: expect.stringMatching(/^[0-9a-f]{32}$/),
      snapshotSize: 1500101,
      sourceNamespace: "notes",
      targetVolume: { namespace: "copy", pv: "", pvc: "files" },
    });
  });

  it("are filled through their pods by a PodVolumeRestore that carries what its mover has to know", async () => {
    const { client } = await restored({ uploaderConfig: { writeSparseFiles: true, parallelFilesDownload: 3 }, namespaceMapping: { notes: "copy" } });
    const [made] = client.all(podVolumeRestores);
    const [pod] = client.all(pods).filter(({ metadata }) => metadata.namespace === "copy");
    expect(made?.spec).toEqual({
      backupStorageLocation: "default",
      pod: { kind: "Pod", namespace: "copy", name: pod?.metadata.name, uid: pod?.metadata.uid },
      repoIdentifier: "",
      snapshotID: expect.any(String),
      snapshotSize: 4,
      sourceNamespace: "notes",
      uploaderSettings: { WriteSparseFiles: "true", ParallelFilesDownload: "3" },
      uploaderType: "kopia",
      volume: "fsb",
    });
  });
});

describe("status", () => {
  it("comes back where restoreStatus includes the resource and does not exclude it", async () => {
    const statusWith = async (restoreStatus: Restore["spec"]["restoreStatus"]) => {
      const { client } = await restored(restoreStatus === undefined ? {} : { restoreStatus });
      return client.all(deployments).find(({ metadata }) => metadata.namespace === "notes")?.status;
    };
    expect(await statusWith({ includedResources: ["deployments"] })).toMatchObject({ replicas: 1 });
    expect(await statusWith({ includedResources: ["*"], excludedResources: ["deployments"] })).toBeUndefined();
    expect(await statusWith(undefined)).toBeUndefined();
  });
});

describe("a restore", () => {
  it("with a resourcePolicy, which Velero 1.18 does not have, is refused and says so", async () => {
    const { restore } = await restored({ resourcePolicy: { apiGroup: "", kind: "ConfigMap", name: "p" } } as Restore["spec"]);
    expect(restore.status?.validationErrors).toEqual([expect.stringContaining('spec.resourcePolicy names ConfigMap "p"')]);
  });

  it("takes modifiers from a ConfigMap whatever the apiGroup of the reference says, as Velero does", async () => {
    const { restore } = await restored({ resourceModifier: { apiGroup: "v1", kind: "ConfigMap", name: "absent" } });
    expect(restore.status?.validationErrors).toEqual(['spec.resourceModifier names ConfigMap "absent", which is not in the namespace of the Restore']);
  });

  it("says when it began and ended, and how many items it has", async () => {
    const { cluster, client } = await restored({ includedResources: ["deployments.apps"] });
    endDownloads(client, { phase: "Completed" });
    const { status } = await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(Date.parse(status?.completionTimestamp ?? "")).toBeGreaterThanOrEqual(Date.parse(status?.startTimestamp ?? ""));
    expect(status?.progress?.itemsRestored).toBeGreaterThan(0);
    expect(status?.progress?.totalItems).toBe(status?.progress?.itemsRestored);
  });

  it("hands what a mover of others said of its upload (dataMoverResult) to whoever restores it", async () => {
    const cluster = emptyCluster();
    const store = new MemoryBackupStore();
    await recordedBackup(cluster, store);
    const files = store.backups.get("second");
    const writer = await store.newArchiveWriter();
    for (const { ref, object } of store.items("second")) {
      const status = { ...(object["status"] as object), dataMoverResult: { key: "value" } };
      await writer.add(ref, object.kind === "DataUpload" ? { ...object, status } : object);
    }
    await store.putBackup({ ...(files ?? { backup: { metadata: { name: "second" }, spec: {} } }), archive: await writer.finish() });
    await writer.dispose();
    const handed: string[] = [];
    cluster.client.react(configMaps, (before, after) => {
      if (before === undefined && after?.metadata.namespace === NAMESPACE) handed.push(...Object.values(after.data ?? {}));
    });
    const deps = { ...cluster, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, helperImage: "drayage/dray:test" };
    running.push(startRestoreController(deps));
    await cluster.client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations");
    expect(handed.map((text) => (JSON.parse(text) as { dataMoverResult?: unknown }).dataMoverResult)).toContainEqual({ key: "value" });
  });
});
