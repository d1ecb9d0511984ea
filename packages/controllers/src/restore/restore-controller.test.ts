import {
  type Backup,
  backupStorageLocations,
  backups,
  type DataDownload,
  dataDownloads,
  FINALIZERS,
  type PodVolumeRestore,
  podVolumeRestores,
  type Restore,
  restores,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import {
  type ConfigMap,
  configMaps,
  deployments,
  type GenericObject,
  keyOf,
  namespaces,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  services,
} from "@drayage/kube";
import { afterEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { startRestoreOperationsController } from "../restore-operations/restore-operations-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { emptyCluster, endDownloads, eventually, NAMESPACE, newRestore, type RecordedCluster, recordedBackup, restoreIn } from "../testing/recorded-cluster.ts";
import { type RestoreControllerDeps, startRestoreController } from "./restore-controller.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

function start(cluster: RecordedCluster, store: MemoryBackupStore, overrides: Partial<RestoreControllerDeps> = {}) {
  const { client, clock, discovery } = cluster;
  const deps: RestoreControllerDeps = {
    client,
    clock,
    discovery,
    random: seededRandom(3),
    logger: nullLogger,
    namespace: NAMESPACE,
    stores: store,
    helperImage: "drayage/dray:test",
    ...overrides,
  };
  const restore = startRestoreController(deps);
  const operations = startRestoreOperationsController(deps);
  running.push(restore, operations);
  return { restore, operations };
}

/** A new cluster into which the recorded backup was synchronised. */
async function world(overrides: Partial<RestoreControllerDeps> = {}) {
  const cluster = emptyCluster();
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  return { cluster, store, ...cluster, ...start(cluster, store, overrides) };
}

const COMPLETED = { phase: "Completed", progress: { bytesDone: 9, totalBytes: 9 } } as const;

/** What the mover does at the end: the claim is bound to a volume of its own. */
function bindClaims({ client }: RecordedCluster): void {
  for (const claim of client.all(persistentVolumeClaims)) {
    const name = `pv-of-${claim.metadata.name}`;
    client.seed<PersistentVolume>(persistentVolumes, { metadata: { name }, spec: { persistentVolumeReclaimPolicy: "Retain" }, status: { phase: "Bound" } });
    client.mutate<PersistentVolumeClaim>(persistentVolumeClaims, { namespace: claim.metadata.namespace, name: claim.metadata.name ?? "" }, (current) => {
      current.spec.volumeName = name;
      current.status = { phase: "Bound" };
    });
  }
}

function runPods({ client }: RecordedCluster): void {
  for (const pod of client.all(pods)) {
    client.mutate<Pod>(pods, { namespace: pod.metadata.namespace, name: pod.metadata.name ?? "" }, (current) => {
      current.status = {
        phase: "Running",
        containerStatuses: current.spec.containers.map(({ name }) => ({ name, ready: true, restartCount: 0, state: { running: {} } })),
      };
    });
  }
}

/** Turns the recorded backup into one whose snapshot of `files` stayed with its storage. */
async function keepSnapshot(store: MemoryBackupStore, notes: Record<string, string>): Promise<void> {
  const files = store.backups.get("second");
  const items = store.items("second").map(({ ref, object }) => ({ ref, object: structuredClone(object) }));
  const claim = items.find(({ ref }) => ref.groupResource === "persistentvolumeclaims" && ref.name === "files")?.object;
  delete claim?.metadata.annotations?.["velero.io/data-upload-name"];
  const name = claim?.metadata.annotations?.["velero.io/volume-snapshot-name"] ?? "";
  const writer = await store.newArchiveWriter();
  for (const { ref, object } of items) if (ref.groupResource !== "datauploads.velero.io") await writer.add(ref, object);
  const snapshot = { groupResource: "volumesnapshots.snapshot.storage.k8s.io", namespace: "notes", name, version: "v1", preferred: true };
  await writer.add(snapshot, {
    apiVersion: "snapshot.storage.k8s.io/v1",
    kind: "VolumeSnapshot",
    metadata: { namespace: "notes", name, annotations: notes },
    spec: { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "csi" },
  });
  await store.putBackup({ ...(files ?? { backup: { metadata: { name: "second" }, spec: {} } }), archive: await writer.finish() });
  await writer.dispose();
}

describe("a restore of a volume that was read through its pod", () => {
  it("holds the pod until the volume is filled, and has that done from the pod's own snapshot", async () => {
    const { cluster, client } = await world();
    await client.create<Restore>(restores, newRestore("back", { namespaceMapping: { notes: "notes-2" } }));
    await restoreIn(cluster, "back", "WaitingForPluginOperations");
    const [pod] = client.all(pods).filter(({ metadata }) => metadata.namespace === "notes-2");
    expect(pod?.spec.initContainers?.[0]).toMatchObject({
      name: "restore-wait",
      image: "drayage/dray:test",
      command: ["/velero-restore-helper"],
      volumeMounts: [{ name: "fsb", mountPath: "/restores/fsb" }],
    });
    expect(client.all(podVolumeRestores)).toMatchObject([
      {
        spec: {
          pod: { namespace: "notes-2", name: pod?.metadata.name, uid: pod?.metadata.uid },
          snapshotID: "0ad9ce55d6b51843a114df508cb6a774",
          sourceNamespace: "notes",
          volume: "fsb",
        },
      },
    ]);
  });

  it("says that its claim comes back empty when no pod comes back that could fill it", async () => {
    const { cluster, client, store } = await world();
    await client.create<Restore>(
      restores,
      newRestore("back", { includedResources: ["persistentvolumeclaims"], labelSelector: { matchLabels: { nothing: "fits" } } }),
    );
    await restoreIn(cluster, "back", "Completed");
    await client.create<Restore>(
      restores,
      newRestore("claims", { includedResources: ["persistentvolumeclaims", "persistentvolumes", "datauploads.velero.io"] }),
    );
    await restoreIn(cluster, "claims", "WaitingForPluginOperationsPartiallyFailed");
    expect(client.all(podVolumeRestores)).toEqual([]);
    expect(JSON.stringify(store.restores.get("claims")?.results?.errors)).toContain('claim \\"fsb\\" comes back empty: its data was read through a pod');
  });
});

describe("a restore from a snapshot that stayed with its storage", () => {
  const only = { namespaceMapping: { notes: "notes-2" }, includedResources: ["persistentvolumeclaims"] };

  it("makes the claim from it, through objects that leave the snapshot alone when they go", async () => {
    const { cluster, client, store } = await world();
    client.mutate(backups, { namespace: NAMESPACE, name: "second" }, (backup) => {
      backup.spec.snapshotMoveData = false;
    });
    await keepSnapshot(store, {
      "velero.io/csi-volumesnapshot-handle": "h1",
      "velero.io/csi-driver-name": "hostpath.csi.k8s.io",
      "velero.io/csi-volumesnapshot-restore-size": "9Gi",
    });
    await client.create<Restore>(restores, newRestore("back", only));
    await restoreIn(cluster, "back", "Finalizing", "FinalizingPartiallyFailed", "Completed", "PartiallyFailed");
    const [content] = client.all(volumeSnapshotContents);
    const name = content?.metadata.name ?? "";
    expect(name).toMatch(/^[0-9a-f]{64}$/);
    expect(content).toMatchObject({
      metadata: { labels: { "velero.io/restore-name": "back" } },
      spec: {
        deletionPolicy: "Retain",
        driver: "hostpath.csi.k8s.io",
        source: { snapshotHandle: "h1" },
        volumeSnapshotRef: { namespace: "notes-2", name },
      },
    });
    expect(client.peek(volumeSnapshots, { namespace: "notes-2", name })?.spec).toEqual({
      source: { volumeSnapshotContentName: name },
      volumeSnapshotClassName: "csi",
    });
    const claim = client.peek(persistentVolumeClaims, { namespace: "notes-2", name: "files" });
    expect(claim?.spec).toMatchObject({
      dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name },
      resources: { requests: { storage: "9Gi" } },
    });
    expect(claim?.spec.volumeName).toBeUndefined();
    expect(claim?.spec.selector).toBeUndefined();
  });

  it("keeps the claim out and says why when the backup does not say where the snapshot is", async () => {
    const { cluster, client, store } = await world();
    client.mutate(backups, { namespace: NAMESPACE, name: "second" }, (backup) => {
      backup.spec.snapshotMoveData = false;
    });
    await keepSnapshot(store, {});
    await client.create<Restore>(restores, newRestore("back", only));
    await restoreIn(cluster, "back", "FinalizingPartiallyFailed", "PartiallyFailed");
    expect(client.peek(persistentVolumeClaims, { namespace: "notes-2", name: "files" })).toBeUndefined();
    expect(JSON.stringify(store.restores.get("back")?.results)).toContain("the backup does not say where it is");
    expect(client.all(volumeSnapshotContents)).toEqual([]);
  });
});

describe("a restore", () => {
  it("into another namespace completes once the data is there and the hooks have run", async () => {
    const { cluster, client, store } = await world();
    const commands: string[] = [];
    client.handlers.podExec = (_key, { command }) => {
      commands.push(command.join(" "));
      return { exitCode: 0, stdout: "", stderr: "" };
    };
    await client.create<Restore>(restores, newRestore("back", { namespaceMapping: { notes: "notes-2" } }));
    const waiting = await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    expect(waiting.status).toMatchObject({ phase: "WaitingForPluginOperations", restoreItemOperationsAttempted: 2 });
    expect(waiting.metadata.finalizers).toEqual([FINALIZERS.restoreFiles]);
    expect(commands).toEqual([]);
    bindClaims(cluster);
    runPods(cluster);
    endDownloads(client, COMPLETED);
    const ended = await restoreIn(cluster, "back", "Completed");
    expect(ended.status).toMatchObject({ restoreItemOperationsCompleted: 2, hookStatus: { hooksAttempted: 1 } });
    expect(commands).toEqual(["/bin/sh -c cat /files/a"]);
    expect(store.restores.get("back")?.volumeInfos).toMatchObject([
      { pvcName: "files", pvcNamespace: "notes-2", pvName: "pv-of-files", restoreMethod: "CSISnapshot" },
      { pvcName: "disk", pvcNamespace: "notes-2", pvName: "pv-of-disk" },
      { pvcName: "fsb", pvcNamespace: "notes-2", pvName: "pv-of-fsb", restoreMethod: "PodVolumeRestore", pvrInfo: { volumeName: "fsb", Phase: "Completed" } },
    ]);
    expect(client.all(persistentVolumes).find(({ metadata }) => metadata.name === "pv-of-files")?.spec.persistentVolumeReclaimPolicy).toBe("Delete");
    expect(store.openArchives).toBe(0);
  });

  it("keeps the provisioner away from claims whose data is on its way", async () => {
    const { cluster, client } = await world();
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    const claims = new Map(client.all(persistentVolumeClaims).map((claim) => [claim.metadata.name, claim]));
    expect(claims.get("files")?.spec.selector?.matchLabels?.["velero.io/dynamic-pv-restore"]).toMatch(/^notes\.files\.[a-z0-9]{5}$/);
    expect(claims.get("files")?.spec.volumeName).toBeUndefined();
    expect(claims.get("fsb")?.spec.selector).toBeUndefined();
    expect(client.all(persistentVolumes)).toEqual([]);
  });

  it("says which claims come back empty, and why", async () => {
    const { cluster, client, store } = await world();
    const files = store.backups.get("second");
    const volumeInfos = (files?.volumeInfos ?? []).map((info) => {
      const { backupMethod: _, ...rest } = info;
      return info.pvcName === "fsb" ? { ...rest, skipped: true, skippedReason: "nobody wanted it" } : info;
    });
    if (files !== undefined) store.backups.set("second", { ...files, volumeInfos });
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations");
    expect(store.restores.get("back")?.results?.warnings.namespaces?.["notes"]?.join("\n")).toMatch(
      /claim "fsb" comes back empty: its data is not in the backup, because nobody wanted it/,
    );
  });

  it("leaves no ConfigMaps of its own behind", async () => {
    const { cluster, client } = await world();
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    expect(client.all(configMaps).filter(({ metadata }) => metadata.namespace === NAMESPACE)).toEqual([]);
  });

  it("leaves what exists alone, and says so when it is different", async () => {
    const { cluster, client, store } = await world();
    client.seed<ConfigMap>(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "notes", name: "settings" }, data: { mode: "slow" } });
    await client.create<Restore>(restores, newRestore("back", { includedResources: ["configmaps"] }));
    const ended = await restoreIn(cluster, "back", "Completed");
    expect(ended.status).toMatchObject({ warnings: 1 });
    expect(client.peek(configMaps, { namespace: "notes", name: "settings" })?.data).toEqual({ mode: "slow" });
    expect(store.restores.get("back")?.resourceList?.["v1/ConfigMap"]).toEqual(["notes/kube-root-ca.crt(created)", "notes/settings(failed)"]);
    expect(store.restores.get("back")?.results?.warnings.namespaces?.["notes"]?.[0]).toMatch(/ConfigMap "settings" already exists/);
  });

  it("updates what exists when it is asked to", async () => {
    const { cluster, client } = await world();
    client.seed<ConfigMap>(configMaps, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace: "notes", name: "settings" },
      data: { mode: "slow", old: "x" },
    });
    await client.create<Restore>(restores, newRestore("back", { includedResources: ["configmaps"], existingResourcePolicy: "update" }));
    await restoreIn(cluster, "back", "Completed");
    expect(client.peek(configMaps, { namespace: "notes", name: "settings" })).toMatchObject({
      data: { mode: "fast" },
      metadata: { labels: { "velero.io/restore-name": "back" } },
    });
    expect(client.peek(configMaps, { namespace: "notes", name: "settings" })?.data).not.toHaveProperty("old");
  });

  it("takes only the namespaces, resources and labels it is told to", async () => {
    const { cluster, client } = await world();
    await client.create<Restore>(
      restores,
      newRestore("back", { includedNamespaces: ["notes"], labelSelector: { matchLabels: { "pod-template-hash": "5689f8c9c9" } } }),
    );
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "Completed", "PartiallyFailed");
    expect(client.all(deployments)).toEqual([]);
    expect(client.all(services)).toEqual([]);
    expect(client.all(pods).filter(({ metadata }) => metadata.namespace === "notes")).toHaveLength(1);
    // The pod brings its claims along, whatever their labels.
    expect(client.all(persistentVolumeClaims)).toHaveLength(3);
  });

  it("leaves out what the cluster does not serve, and fails partially", async () => {
    const { cluster, client, store, resources } = await world();
    resources.splice(
      resources.findIndex(({ kind }) => kind === "EndpointSlice"),
      1,
    );
    cluster.discovery.invalidate();
    await client.create<Restore>(restores, newRestore("back", { includedResources: ["endpointslices.discovery.k8s.io", "configmaps"] }));
    await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(store.restores.get("back")?.results?.errors.namespaces?.["notes"]?.[0]).toMatch(/does not serve discovery.k8s.io\/v1 EndpointSlice/);
  });

  it("waits for a namespace that is being deleted, and makes it anew", async () => {
    const { cluster, client } = await world();
    client.seed(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "notes", finalizers: ["test/hold"] } });
    await client.delete(namespaces, { name: "notes" });
    await client.create<Restore>(restores, newRestore("back", { includedResources: ["configmaps"] }));
    await restoreIn(cluster, "back", "InProgress");
    await cluster.clock.advance(2_000);
    expect(client.all(configMaps).filter(({ metadata }) => metadata.namespace === "notes")).toEqual([]);
    client.mutate(namespaces, { name: "notes" }, (namespace) => {
      namespace.metadata.finalizers = [];
    });
    await restoreIn(cluster, "back", "Completed");
    expect(client.all(configMaps)).toHaveLength(2);
  });

  it.each([
    ["an unknown backup", { backupName: "nothing" }, /backup "nothing" does not exist/],
    ["a backup and a schedule", { scheduleName: "nightly" }, /exactly one of spec.backupName and spec.scheduleName is wanted, and both are given/],
    ["a schedule without backups", { backupName: "", scheduleName: "nightly" }, /schedule "nightly" has no completed backup/],
    ["a resource that is never restored", { includedResources: ["nodes"] }, /"nodes", which is never restored/],
    ["an unknown policy", { existingResourcePolicy: "merge" }, /"none" or "update" is wanted/],
    ["a target that is no namespace", { namespaceMapping: { notes: "No Way" } }, /cannot be the name of a namespace/],
    [
      "an init hook without an image",
      { hooks: { resources: [{ name: "h", postHooks: [{ init: { initContainers: [{ name: "i", command: ["x"] }] } }] }] } },
      /no image/,
    ],
  ] as const)("of %s fails validation", async (_what, spec, message) => {
    const { cluster, client, store } = await world();
    await client.create<Restore>(restores, newRestore("bad", structuredClone(spec) as unknown as Restore["spec"]));
    const ended = await restoreIn(cluster, "bad", "FailedValidation");
    expect(ended.status?.validationErrors?.join("\n")).toMatch(message);
    expect(store.restores.size).toBe(0);
  });

  it.each([
    ["2.0.0", { formatVersion: "2.0.0", version: 2 }],
    ["v3", { formatVersion: "v3" }],
    ["2", { version: 2 }],
  ])("of a backup of format version %s fails validation, and says what made it", async (version, status) => {
    const { cluster, client } = await world();
    client.mutate<Backup>(backups, { namespace: NAMESPACE, name: "second" }, (backup) => {
      const { formatVersion: _format, version: _version, ...rest } = backup.status ?? {};
      backup.status = { ...rest, ...status };
    });
    await client.create<Restore>(restores, newRestore("bad", {}));
    const ended = await restoreIn(cluster, "bad", "FailedValidation");
    expect(ended.status?.validationErrors).toEqual([
      `backup "second" has format version ${version}, where at most 1.x is read here: it was made by a newer program; restore it with that one, or update this one`,
    ]);
  });

  it("takes the newest completed backup of a schedule", async () => {
    const { cluster, client } = await world();
    const second = client.peek(backups, { namespace: NAMESPACE, name: "second" });
    client.mutate<Backup>(backups, { namespace: NAMESPACE, name: "second" }, (backup) => {
      backup.metadata.labels = { ...backup.metadata.labels, "velero.io/schedule-name": "nightly" };
    });
    client.seed<Backup>(backups, {
      metadata: { namespace: NAMESPACE, name: "older", labels: { "velero.io/schedule-name": "nightly" } },
      spec: second?.spec ?? {},
      status: { phase: "Completed", startTimestamp: "2020-01-01T00:00:00Z" },
    });
    await client.create<Restore>(restores, newRestore("back", { backupName: "", scheduleName: "nightly", includedResources: ["configmaps"] }));
    expect((await restoreIn(cluster, "back", "Completed")).spec.backupName).toBe("second");
  });

  it("does not make a DataDownload of a DataUpload that was canceled", async () => {
    const { cluster, client, store } = await world();
    const items = store.items("second");
    for (const { object } of items) if (object.kind === "DataUpload") object["status"] = { phase: "Canceled" };
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "Finalizing", "FinalizingPartiallyFailed");
    bindClaims(cluster);
    runPods(cluster);
    await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(client.all(dataDownloads)).toEqual([]);
    expect(store.restores.get("back")?.results?.errors.namespaces?.["notes"]?.join("\n")).toMatch(/ended Canceled, so the backup has none/);
  });

  it("is PartiallyFailed with the mover's message when the data does not come back", async () => {
    const { cluster, client, store } = await world();
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    bindClaims(cluster);
    runPods(cluster);
    endDownloads(client, { phase: "Failed", message: "disk is full" });
    const ended = await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(ended.status).toMatchObject({ restoreItemOperationsFailed: 2 });
    expect(store.restores.get("back")?.results?.errors.namespaces?.["notes"]?.join("\n")).toMatch(/"notes\/files" was not restored: disk is full/);
  });

  it("fails when its backup cannot be read, and tells why", async () => {
    const { cluster, client, store } = await world();
    store.openArchive = () => Promise.reject(new DrayError("ARCHIVE_CORRUPT", 'Cannot read "second.tar.gz": it ends in the middle'));
    await client.create<Restore>(restores, newRestore("back"));
    expect((await restoreIn(cluster, "back", "Failed")).status?.failureReason).toMatch(/ends in the middle/);
  });

  it("that was InProgress when the server ended is gone on with by the next one, and nothing is made twice", async () => {
    const { cluster, client, store, restore, operations } = await world();
    const hanging = Promise.withResolvers<void>();
    client.intercept = ({ verb, resource }) => {
      if (verb !== "create" || resource !== "deployments.apps") return;
      hanging.resolve();
      throw new DOMException("the process ends here", "AbortError");
    };
    await client.create<Restore>(restores, newRestore("back"));
    await hanging.promise;
    await Promise.all([restore.stop(), operations.stop()]);
    client.intercept = undefined;
    start(cluster, store);
    await restoreIn(cluster, "back", "WaitingForPluginOperations");
    expect(client.all(configMaps).filter(({ metadata }) => metadata.namespace === NAMESPACE)).toEqual([]);
    expect(client.all(dataDownloads)).toHaveLength(2);
    bindClaims(cluster);
    runPods(cluster);
    endDownloads(client, COMPLETED);
    const ended = await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(ended.status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 2 });
    expect(ended.status?.warnings).toBeUndefined();
    expect(ended.metadata.annotations).toEqual({ "drayage.io/resumed": "1" });
    expect(store.restores.get("back")?.resourceList?.["v1/PersistentVolumeClaim"]).toEqual([
      "notes/disk(created)",
      "notes/files(created)",
      "notes/fsb(created)",
    ]);
  });

  it("that ends its server again and again is Failed in the end, and what fills its volumes is told to stop", async () => {
    const { cluster, client } = await world();
    const restore = newRestore("back");
    const metadata = { namespace: NAMESPACE, name: "back-1", labels: { "velero.io/restore-uid": "uid-of-back" } };
    const volume = { backupStorageLocation: "default", snapshotID: "s", sourceNamespace: "notes" };
    client.seed<DataDownload>(dataDownloads, {
      metadata,
      spec: { ...volume, operationTimeout: "4h0m0s", targetVolume: { namespace: "notes", pvc: "files", pv: "" } },
    });
    // Its pod waits for a claim that nobody will fill: it never starts, and its volume would be waited for without end.
    client.seed<PodVolumeRestore>(podVolumeRestores, {
      metadata,
      spec: { ...volume, pod: { namespace: "notes", name: "web", uid: "web" }, repoIdentifier: "", volume: "cache", uploaderType: "kopia" },
    });
    // Once the cluster's agent, which fills volumes at once, has been there.
    await cluster.clock.advance(1);
    client.mutate(podVolumeRestores, keyOf({ metadata }), (current) => {
      current.status = {};
    });
    client.seed<Restore>(restores, {
      ...restore,
      metadata: {
        ...restore.metadata,
        uid: "uid-of-back",
        finalizers: ["restores.velero.io/external-resources-finalizer"],
        annotations: { "drayage.io/resumed": "5" },
      },
      status: { phase: "InProgress" },
    });
    expect((await restoreIn(cluster, "back", "Failed")).status?.failureReason).toMatch(/the server ended 6 times while it worked on this restore/);
    expect(client.peek(dataDownloads, keyOf({ metadata }))?.spec.cancel).toBe(true);
    expect(client.peek(podVolumeRestores, keyOf({ metadata }))?.spec.cancel).toBe(true);
  });

  it("that waits for its downloads survives a restart of the server", async () => {
    const { cluster, client, store, restore, operations } = await world();
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    await Promise.all([restore.stop(), operations.stop()]);
    bindClaims(cluster);
    runPods(cluster);
    endDownloads(client, COMPLETED);
    start(cluster, store);
    expect((await restoreIn(cluster, "back", "Completed", "PartiallyFailed")).status?.restoreItemOperationsCompleted).toBe(2);
  });

  it("is never Completed when the record of its operations is gone", async () => {
    const { cluster, client, store, restore, operations } = await world();
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    await Promise.all([restore.stop(), operations.stop()]);
    const { itemOperations: _, ...files } = store.restores.get("back") ?? { restoreName: "back" };
    store.restores.set("back", files);
    start(cluster, store);
    const ended = await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(ended.status?.failureReason).toContain("0 of its 2 operations");
  });

  it("is not finalized without end when its files are gone from the bucket", async () => {
    const { cluster, client, store } = await world();
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    store.getRestoreResourceList = async () => {
      throw new DrayError("BLOB_NOT_FOUND", "Cannot read the list: it is not there");
    };
    endDownloads(client, COMPLETED);
    const ended = await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(ended.status?.failureReason).toBe("it could not be finalized: Cannot read the list: it is not there");
  });

  it("can be deleted when its bucket is gone", async () => {
    const { cluster, client, store } = await world();
    await client.create<Restore>(restores, newRestore("back"));
    await restoreIn(cluster, "back", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    store.failure = new DrayError("BLOB_BUCKET_NOT_FOUND", "Cannot use the bucket: it is not there");
    await client.delete(restores, { namespace: NAMESPACE, name: "back" });
    await eventually(cluster.clock, () => (client.peek(restores, { namespace: NAMESPACE, name: "back" }) === undefined ? true : undefined));
  });

  it("takes its files out of the bucket when it is deleted", async () => {
    const { cluster, client, store } = await world();
    await client.create<Restore>(restores, newRestore("back", { includedResources: ["configmaps"] }));
    await restoreIn(cluster, "back", "Completed");
    expect(store.restores.has("back")).toBe(true);
    await client.delete(restores, { namespace: NAMESPACE, name: "back" });
    await eventually(cluster.clock, () => (client.peek(restores, { namespace: NAMESPACE, name: "back" }) === undefined ? true : undefined));
    expect(store.restores.has("back")).toBe(false);
  });

  it("can be deleted when its location is gone", async () => {
    const { cluster, client } = await world();
    await client.create<Restore>(restores, newRestore("back", { includedResources: ["configmaps"] }));
    await restoreIn(cluster, "back", "Completed");
    client.discard(backupStorageLocations, { namespace: NAMESPACE, name: "default" });
    await client.delete(restores, { namespace: NAMESPACE, name: "back" });
    await eventually(cluster.clock, () => (client.peek(restores, { namespace: NAMESPACE, name: "back" }) === undefined ? true : undefined));
  });
});

describe("restored objects", () => {
  it("follow their namespace in role bindings", async () => {
    const { cluster, client, store } = await world();
    const bindingType: ResourceType = { group: "rbac.authorization.k8s.io", version: "v1", plural: "rolebindings", kind: "RoleBinding", namespaced: true };
    const binding: GenericObject = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: "b", namespace: "notes" },
      subjects: [
        { kind: "ServiceAccount", name: "default", namespace: "notes" },
        { kind: "User", name: "eve" },
      ],
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "r" },
    };
    const { archive } = store.backups.get("second") ?? {};
    store.archives.get(archive?.path ?? "")?.push({
      ref: { groupResource: "rolebindings.rbac.authorization.k8s.io", namespace: "notes", name: "b", version: "v1", preferred: true },
      object: binding,
    });
    await client.create<Restore>(restores, newRestore("back", { includedResources: ["rolebindings"], namespaceMapping: { notes: "notes-2" } }));
    await restoreIn(cluster, "back", "Completed");
    expect(client.peek(bindingType, { namespace: "notes-2", name: "b" })?.["subjects"]).toEqual([
      { kind: "ServiceAccount", name: "default", namespace: "notes-2" },
      { kind: "User", name: "eve" },
    ]);
  });
});
