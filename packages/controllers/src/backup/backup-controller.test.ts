import {
  type Backup,
  backupStorageLocations,
  backups,
  dataMovers,
  dataUploads,
  LABELS,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshotLocations,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle } from "@drayage/base/testing";
import { configMaps, persistentVolumeClaims, persistentVolumes, pods } from "@drayage/kube";
import { afterEach, describe, expect, it } from "vitest";
import { startBackupOperationsController } from "../backup-operations/backup-operations-controller.ts";
import { noMetrics } from "../metrics/metrics.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import { backupIn, endUploads, eventually, NAMESPACE, newBackup, type RecordedCluster, recordedCluster } from "../testing/recorded-cluster.ts";
import { type BackupControllerDeps, type RunningController, startBackupController } from "./backup-controller.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

function start(cluster: RecordedCluster, store: MemoryBackupStore, overrides: Partial<BackupControllerDeps> = {}) {
  const { client, clock, discovery } = cluster;
  const deps: BackupControllerDeps = {
    client,
    clock,
    discovery,
    random: seededRandom(3),
    logger: nullLogger,
    namespace: NAMESPACE,
    stores: store,
    newSpool: createMemorySpool,
    ...overrides,
  };
  const backup = startBackupController(deps);
  const operations = startBackupOperationsController(deps);
  running.push(backup, operations);
  return { backup, operations };
}

async function world(overrides: Partial<BackupControllerDeps> = {}) {
  const cluster = recordedCluster();
  const store = new MemoryBackupStore();
  const controllers = start(cluster, store, overrides);
  return { cluster, store, ...cluster, ...controllers };
}

describe("a backup", () => {
  it("completes once its DataUploads have", async () => {
    const { cluster, client, store } = await world();
    await client.create<Backup>(backups, newBackup("second"));
    const waiting = await backupIn(cluster, "second", "WaitingForPluginOperations");
    expect(waiting.status).toMatchObject({ backupItemOperationsAttempted: 3, hookStatus: { hooksAttempted: 2 }, version: 1, formatVersion: "1.1.0" });
    expect(client.all(dataUploads)).toHaveLength(3);
    endUploads(client);
    const completed = await backupIn(cluster, "second", "Completed", "PartiallyFailed");
    expect(completed.status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 3 });
    expect(completed.status?.errors).toBeUndefined();
    expect(store.backups.get("second")?.backup.status?.phase).toBe("Completed");
    expect(store.openArchives).toBe(0);
  });

  it("tells the size of its tarball", async () => {
    const sizes: unknown[] = [];
    const { cluster, client } = await world({ metrics: { ...noMetrics, set: (...figure) => sizes.push(figure) } });
    await client.create<Backup>(backups, { ...newBackup("sized"), metadata: { ...newBackup("sized").metadata, labels: { [LABELS.scheduleName]: "nightly" } } });
    await backupIn(cluster, "sized", "WaitingForPluginOperations");
    expect(sizes).toEqual([["velero_backup_tarball_size_bytes", { schedule: "nightly" }, expect.any(Number)]]);
  });

  it("runs its hooks around the snapshots, and before any data is moved", async () => {
    const { cluster, client } = await world();
    const events: string[] = [];
    client.handlers.podExec = (_key, { command }) => {
      events.push(command.join(" "));
      return { exitCode: 0, stdout: "", stderr: "" };
    };
    client.react(volumeSnapshots, (before) => {
      if (before === undefined) events.push("snapshot");
    });
    await client.create<Backup>(backups, newBackup("second"));
    await backupIn(cluster, "second", "WaitingForPluginOperations");
    expect(events).toEqual(["/bin/sh -c echo pre", "snapshot", "snapshot", "snapshot", "/bin/sh -c echo post"]);
  });

  it("leaves out a pod whose pre hook fails, and is PartiallyFailed then", async () => {
    const { cluster, client, store } = await world();
    client.handlers.podExec = (_key, { command }) => ({ exitCode: command.includes("echo pre") ? 3 : 0, stdout: "", stderr: "no disk" });
    await client.create<Backup>(backups, newBackup("second"));
    const waiting = await backupIn(cluster, "second", "WaitingForPluginOperationsPartiallyFailed");
    expect(waiting.status).toMatchObject({ errors: 1, hookStatus: { hooksAttempted: 1, hooksFailed: 1 } });
    expect(store.items("second").map(({ ref }) => ref.groupResource)).not.toContain("pods");
    expect(store.items("second").map(({ ref }) => ref.groupResource)).toContain("persistentvolumeclaims");
    expect(store.backups.get("second")?.results?.errors.namespaces?.["notes"]?.[0]).toMatch(/exit code 3/);
  });

  it("is PartiallyFailed when a namespace it names does not exist", async () => {
    const { cluster, client, store } = await world();
    await client.create<Backup>(backups, newBackup("fourth", { includedNamespaces: ["nowhere"] }));
    const ended = await backupIn(cluster, "fourth", "PartiallyFailed");
    expect(ended.status).toMatchObject({ errors: 1, progress: { totalItems: 0, itemsBackedUp: 0 } });
    expect(store.backups.get("fourth")?.results?.errors.velero?.[0]).toMatch(/namespace "nowhere".*does not exist/);
  });

  it.each([
    ["an unknown location", { storageLocation: "elsewhere" }, /location "elsewhere" does not exist; there is default/],
    [
      "an unknown mover",
      { datamover: "nobody" },
      /datamover is "nobody", and there is no such mover; there is drayage, other, velero, velero-block, velero-fs/,
    ],
    ["a selector that is none", { labelSelector: { matchExpressions: [{ key: "a", operator: "Near" }] } }, /operator "Near"/],
    ["both kinds of selectors", { labelSelector: {}, orLabelSelectors: [{}] }, /only one can be/],
    ["an item in both lists", { includedResources: ["pods"], excludedResources: ["pods"] }, /"pods" is in the list of includes and of excludes/],
    ["a duration that is none", { ttl: "soon" }, /spec.ttl is "soon"/],
    ["a resource policy that is not there", { resourcePolicy: { kind: "configmap", name: "p" } }, /names ConfigMap "p", which does not exist/],
    ["a resource policy of another kind", { resourcePolicy: { kind: "Secret", name: "p" } }, /kind is "Secret", only "configmap" is known/],
    ["a resource policy with a mistake", { resourcePolicy: { kind: "ConfigMap", name: "bad" } }, /volumePolicies\[0\].action.type is "forget"/],
    [
      "a policy of resources beside older lists",
      { resourcePolicy: { kind: "configmap", name: "lists" }, includedResources: ["pods"] },
      /cannot be used together/,
    ],
    ["two snapshot locations of a provider", { volumeSnapshotLocations: ["a", "b"] }, /names "a" and "b", both of provider "aws"/],
    ["a snapshot location that is not there", { volumeSnapshotLocations: ["c"] }, /volume snapshot location "c" does not exist/],
    ["a negative number", { uploaderConfig: { parallelFilesUpload: -1 } }, /parallelFilesUpload is -1/],
    ["a group label that is none", { volumeGroupSnapshotLabelKey: "not a label" }, /spec.volumeGroupSnapshotLabelKey: /],
    ["an order that is none", { orderedResources: { pods: "a/b/c" } }, /spec.orderedResources.pods has "a\/b\/c"/],
    ["a namespace that cannot be", { includedNamespaces: ["Not_One"] }, /"Not_One" cannot be the name of a namespace/],
    [
      "lists of both generations",
      { includedResources: ["pods"], includedNamespaceScopedResources: ["pods"] },
      /cannot be used together with the lists per scope/,
    ],
  ] as const)("with %s fails validation", async (_what, spec, message) => {
    const { cluster, client, store } = await world();
    const parameters = { type: "object", properties: {} };
    client.seed(dataMovers, {
      metadata: { name: "other" },
      spec: { version: "1.0.0", description: "Another", controller: true, capabilities: { kinds: ["persistentvolumeclaims"] }, parameters },
    });
    const policy = (name: string, text: string) => client.seed(configMaps, { metadata: { namespace: NAMESPACE, name }, data: { policies: text } });
    policy("bad", "version: v1\nvolumePolicies: [{conditions: {}, action: {type: forget}}]");
    policy("lists", "version: v1\nincludeExcludePolicy: {excludedNamespaceScopedResources: [secrets]}");
    for (const name of ["a", "b"]) client.seed(volumeSnapshotLocations, { metadata: { namespace: NAMESPACE, name }, spec: { provider: "aws" } });
    await client.create<Backup>(backups, newBackup("bad", structuredClone(spec) as Backup["spec"]));
    const ended = await backupIn(cluster, "bad", "FailedValidation");
    expect(ended.status?.validationErrors?.join("\n")).toMatch(message);
    expect(store.backups.size).toBe(0);
  });

  it("says which snapshot class is missing, keeps the rest and cuts nothing", async () => {
    const { cluster, client, store } = await world();
    client.discard(volumeSnapshotClasses, { name: "csi" });
    await client.create<Backup>(backups, newBackup("second"));
    const ended = await backupIn(cluster, "second", "PartiallyFailed");
    expect(ended.status?.errors).toBe(3);
    expect(store.backups.get("second")?.results?.errors.namespaces?.["notes"]?.[0]).toMatch(
      /no VolumeSnapshotClass for driver "hostpath.csi.k8s.io". Create a VolumeSnapshotClass/,
    );
    expect(client.all(volumeSnapshots)).toEqual([]);
    const kept = store.items("second").map(({ ref }) => ref.groupResource);
    expect(kept).toEqual(expect.arrayContaining(["deployments.apps", "pods"]));
    expect(kept).not.toContain("persistentvolumeclaims");
  });

  it("that does not move data keeps its snapshots with their storage, and says in the bucket alone where they are", async () => {
    const { cluster, client, store } = await world();
    await client.create<Backup>(backups, newBackup("local", { snapshotMoveData: false }));
    const { status } = await backupIn(cluster, "local", "Completed", "PartiallyFailed");
    expect(status).toMatchObject({
      phase: "Completed",
      csiVolumeSnapshotsAttempted: 3,
      csiVolumeSnapshotsCompleted: 3,
      backupItemOperationsAttempted: 3,
      backupItemOperationsCompleted: 3,
    });
    const items = (resource: string) => store.items("local").filter(({ ref }) => ref.groupResource === resource);
    const snapshot = items("volumesnapshots.snapshot.storage.k8s.io")[0]?.object;
    expect(items("volumesnapshotcontents.snapshot.storage.k8s.io")).toHaveLength(3);
    expect(items("volumesnapshotclasses.snapshot.storage.k8s.io").map(({ ref }) => ref.name)).toEqual(["csi"]);
    expect(snapshot?.metadata.annotations).toMatchObject({
      "velero.io/csi-volumesnapshot-handle": `handle-${snapshot?.metadata.name}`,
      "velero.io/csi-driver-name": "hostpath.csi.k8s.io",
      "velero.io/csi-vsc-deletion-policy": "Delete",
    });
    const claim = items("persistentvolumeclaims").find(({ ref }) => ref.name === "files")?.object;
    expect(claim?.metadata.annotations?.["velero.io/volume-snapshot-name"]).toMatch(/^velero-files-/);
    const operation = store.backups.get("local")?.itemOperations?.[0];
    expect(operation).toMatchObject({
      spec: {
        backupItemAction: "velero.io/csi-volumesnapshot-backupper",
        postOperationItems: [{ Resource: "volumesnapshots" }, { Resource: "volumesnapshotcontents" }],
      },
      status: { phase: "Completed" },
    });
    expect(store.backups.get("local")?.volumeInfos?.[0]).toMatchObject({
      pvcName: "files",
      backupMethod: "CSISnapshot",
      snapshotDataMoved: false,
      preserveLocalSnapshot: true,
      skipped: false,
      result: "succeeded",
      csiSnapshotInfo: {
        driver: "hostpath.csi.k8s.io",
        snapshotHandle: expect.stringMatching(/^handle-velero-files-/),
        operationID: operation?.spec.operationID,
        ReadyToUse: true,
      },
    });
    expect(client.all(dataUploads)).toEqual([]);
    expect(client.all(volumeSnapshots)).toEqual([]);
    expect(client.all(volumeSnapshotContents)).toEqual([]);
    expect(
      client.calls.filter(({ verb, resource }) => verb === "patch" && resource.startsWith("volumesnapshotcontents")).map(({ body }) => body),
    ).toContainEqual({
      spec: { deletionPolicy: "Retain" },
    });
  });

  it("waits for snapshots that are not ready to be read, and is PartiallyFailed when one never will be", async () => {
    const { cluster, client, store } = await world();
    client.react(volumeSnapshotContents, (before, after) => {
      if (before !== undefined || after === undefined) return;
      client.mutate(volumeSnapshotContents, { name: after.metadata.name ?? "" }, (content) => {
        content.status = { ...content.status, readyToUse: false };
      });
    });
    await client.create<Backup>(backups, newBackup("local", { snapshotMoveData: false }));
    const waiting = await backupIn(cluster, "local", "WaitingForPluginOperations");
    expect(waiting.status).toMatchObject({ csiVolumeSnapshotsAttempted: 3, csiVolumeSnapshotsCompleted: 0 });
    const [first, ...others] = client.all(volumeSnapshotContents);
    for (const { metadata } of others)
      client.mutate(volumeSnapshotContents, { name: metadata.name ?? "" }, (content) => {
        content.status = { ...content.status, readyToUse: true };
      });
    client.mutate(volumeSnapshotContents, { name: first?.metadata.name ?? "" }, (content) => {
      content.status = { ...content.status, error: { message: "the array is full" } };
    });
    const ended = await backupIn(cluster, "local", "PartiallyFailed");
    expect(ended.status).toMatchObject({ csiVolumeSnapshotsCompleted: 2, backupItemOperationsFailed: 1, errors: 1 });
    expect(store.backups.get("local")?.itemOperations?.map(({ status }) => status.error)).toContain("the array is full");
    expect(store.backups.get("local")?.volumeInfos?.filter(({ result }) => result === "failed")).toHaveLength(1);
    // What cannot be used stays to be looked at.
    expect(client.all(volumeSnapshots)).toHaveLength(1);
  });

  it("does with each volume what its resource policy says", async () => {
    const { cluster, client, store } = await world();
    client.seed(configMaps, {
      metadata: { namespace: NAMESPACE, name: "policies" },
      data: {
        any: [
          "version: v1",
          "volumePolicies:",
          "  - {conditions: {volumeTypes: [nfs]}, action: {type: snapshot}}",
          "  - {conditions: {pvcLabels: {tier: scratch}}, action: {type: skip}}",
          "includeExcludePolicy: {excludedNamespaceScopedResources: [events, pods]}",
        ].join("\n"),
      },
    });
    client.mutate(persistentVolumeClaims, { namespace: "notes", name: "files" }, (claim) => {
      claim.metadata.labels = { tier: "scratch" };
    });
    await client.create<Backup>(backups, newBackup("chosen", { snapshotMoveData: false, resourcePolicy: { kind: "ConfigMap", name: "policies" } }));
    expect((await backupIn(cluster, "chosen", "Completed")).status).toMatchObject({ csiVolumeSnapshotsAttempted: 2 });
    const infos = store.backups.get("chosen")?.volumeInfos ?? [];
    expect(infos.find(({ pvcName }) => pvcName === "files")).toMatchObject({ skipped: true, skippedReason: "a volume policy says skip" });
    const resources = new Set(store.items("chosen").map(({ ref }) => ref.groupResource));
    expect(resources.has("events")).toBe(false);
    expect(resources.has("pods")).toBe(false);
    expect(resources.has("deployments.apps")).toBe(true);
  });

  it("goes without the data of volumes when it is told to", async () => {
    const { cluster, client } = await world();
    await client.create<Backup>(backups, newBackup("bare", { snapshotMoveData: false, snapshotVolumes: false }));
    expect((await backupIn(cluster, "bare", "Completed")).status?.errors).toBeUndefined();
  });

  it("skips a volume that no CSI driver provides, and marks its claim", async () => {
    const { cluster, client, store } = await world();
    for (const volume of client.all(persistentVolumes)) {
      client.mutate(persistentVolumes, { name: volume.metadata.name ?? "" }, (current) => {
        delete current.spec.csi;
        current.spec.hostPath = { path: "/data" };
      });
    }
    await client.create<Backup>(backups, newBackup("host"));
    const ended = await backupIn(cluster, "host", "Completed");
    expect(ended.status?.warnings).toBe(3);
    expect(store.backups.get("host")?.volumeInfos?.[0]).toMatchObject({ skipped: true, skippedReason: "the volume is not provided by a CSI driver" });
    const claim = store.items("host").find(({ ref }) => ref.groupResource === "persistentvolumeclaims");
    expect(claim?.object.metadata.annotations).toMatchObject({ "backup.velero.io/skipped-no-csi-pv": "true" });
  });

  it("removes the snapshot whose handle does not come in time", async () => {
    const { cluster, client } = await world();
    client.react(volumeSnapshotContents, (_before, after) => {
      if (after?.status?.snapshotHandle === undefined) return;
      client.mutate(volumeSnapshotContents, { name: after.metadata.name ?? "" }, (content) => {
        content.status = { error: { message: "driver is tired" } };
      });
    });
    await client.create<Backup>(backups, newBackup("second", { csiSnapshotTimeout: "1s" }));
    const ended = await backupIn(cluster, "second", "PartiallyFailed");
    expect(ended.status?.errors).toBe(3);
    expect(client.all(volumeSnapshots)).toEqual([]);
    expect(client.all(dataUploads)).toEqual([]);
  });

  it("fails when the location has a backup of that name", async () => {
    const { cluster, client, store } = await world();
    await store.putBackup({ backup: newBackup("second") });
    await client.create<Backup>(backups, newBackup("second"));
    const ended = await backupIn(cluster, "second", "Failed");
    expect(ended.status?.failureReason).toMatch(/already has a backup of this name/);
  });

  it("fails when the store refuses, and leaves no snapshot and no running upload behind", async () => {
    const { cluster, client, store } = await world();
    store.putBackup = () => Promise.reject(new DrayError("BLOB_ACCESS_DENIED", "Cannot write: denied"));
    await client.create<Backup>(backups, newBackup("second"));
    const ended = await backupIn(cluster, "second", "Failed");
    expect(ended.status?.failureReason).toMatch(/denied/);
    expect(client.all(dataUploads).map(({ spec }) => spec.cancel)).toEqual([true, true, true]);
  });

  it("works on several applications at once: one that waits for its hook does not keep another", async () => {
    const { cluster, client, store } = await world();
    const [first] = client.all(pods).filter(({ metadata }) => metadata.namespace === "notes");
    const command = JSON.stringify(["wait"]);
    client.seed(pods, {
      metadata: { namespace: "notes", name: "other", annotations: { "pre.hook.backup.velero.io/command": command } },
      spec: { containers: [{ name: "main" }] },
      status: { phase: "Running" },
    });
    const frozen = new Set<string>();
    const both = Promise.withResolvers<void>();
    // Each of the two is let go only when the other has come as far.
    client.handlers.podExec = async ({ name }) => {
      frozen.add(name);
      if (frozen.size === 2) both.resolve();
      await both.promise;
      return { exitCode: 0, stdout: "", stderr: "" };
    };
    await client.create<Backup>(backups, newBackup("wide"));
    await backupIn(cluster, "wide", "WaitingForPluginOperations");
    expect([...frozen].sort()).toEqual(["other", first?.metadata.name].sort());
    expect(store.items("wide").filter(({ ref }) => ref.groupResource === "pods")).toHaveLength(2);
  });

  it("that is to be deleted stops in the middle of its work, thaws its pod and leaves nothing behind", async () => {
    const { cluster, client, store } = await world();
    const commands: string[] = [];
    const cut = Promise.withResolvers<void>();
    client.handlers.podExec = (_key, { command }) => {
      commands.push(command.join(" "));
      return { exitCode: 0, stdout: "", stderr: "" };
    };
    // The snapshots never get their handles, so that the backup waits for them.
    client.react(volumeSnapshotContents, (before, after) => {
      if (before !== undefined || after === undefined) return;
      client.mutate(volumeSnapshotContents, { name: after.metadata.name ?? "" }, (content) => delete content.status);
      cut.resolve();
    });
    await client.create<Backup>(backups, newBackup("doomed"));
    await cut.promise;
    await client.patch<Backup>(backups, { namespace: NAMESPACE, name: "doomed" }, "merge", {
      metadata: { annotations: { "drayage.io/cancel-requested": "it goes" } },
    });
    const ended = await backupIn(cluster, "doomed", "Failed");
    expect(ended.status?.failureReason).toBe("it was canceled: it goes");
    expect(commands).toEqual(["/bin/sh -c echo pre", "/bin/sh -c echo post"]);
    expect(client.all(volumeSnapshots)).toEqual([]);
    expect(store.backups.size).toBe(0);
    expect(store.openArchives).toBe(0);
  });

  it("that was InProgress when the server ended is Failed by the next one, and its uploads are canceled", async () => {
    const { cluster, client, store, backup, operations } = await world();
    // Its post hook hangs, so that the snapshots are cut and the files are not written.
    const hanging = Promise.withResolvers<void>();
    client.handlers.podExec = (_key, { command, signal }) =>
      new Promise((resolve, reject) => {
        if (command.includes("echo pre")) return resolve({ exitCode: 0, stdout: "", stderr: "" });
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        hanging.resolve();
      });
    await client.create<Backup>(backups, newBackup("second"));
    await hanging.promise;
    const stopping = Promise.all([backup.stop(), operations.stop()]);
    await cluster.clock.advance(10_000);
    await stopping;
    expect(client.peek(backups, { namespace: NAMESPACE, name: "second" })?.status?.phase).toBe("InProgress");
    client.handlers.podExec = () => ({ exitCode: 0, stdout: "", stderr: "" });
    start(cluster, store);
    const ended = await backupIn(cluster, "second", "Failed");
    expect(ended.status?.failureReason).toMatch(/restarted/);
    expect(client.all(dataUploads).map(({ spec }) => spec.cancel)).toEqual([true, true, true]);
    expect(store.backups.size).toBe(0);
  });

  it("that waits for its uploads survives a restart of the server", async () => {
    const { cluster, client, store, backup, operations } = await world();
    await client.create<Backup>(backups, newBackup("second"));
    await backupIn(cluster, "second", "WaitingForPluginOperations");
    await Promise.all([backup.stop(), operations.stop()]);
    endUploads(client);
    start(cluster, store);
    expect((await backupIn(cluster, "second", "Completed")).status?.backupItemOperationsCompleted).toBe(3);
  });

  it("is PartiallyFailed when a DataUpload is canceled, and tells why in its operations", async () => {
    const { cluster, client, store } = await world();
    await client.create<Backup>(backups, newBackup("third"));
    await backupIn(cluster, "third", "WaitingForPluginOperations");
    let first = true;
    endUploads(client, (upload) => {
      if (!first) return { phase: "Completed", snapshotID: "x", progress: {} };
      first = false;
      expect(upload.spec.sourceNamespace).toBe("notes");
      return { phase: "Canceled", completionTimestamp: "2026-11-21T04:11:30Z" };
    });
    const ended = await backupIn(cluster, "third", "PartiallyFailed");
    expect(ended.status).toMatchObject({ backupItemOperationsCompleted: 2, backupItemOperationsFailed: 1, errors: 1 });
    expect(store.backups.get("third")?.itemOperations?.map(({ status }) => status.error)).toContain("DataUpload is canceled");
  });

  it("has what a mover said of its failure among its results, once", async () => {
    const { cluster, client, store } = await world();
    await client.create<Backup>(backups, newBackup("second"));
    await backupIn(cluster, "second", "WaitingForPluginOperations");
    endUploads(client, ({ spec }) => ({ phase: spec.sourcePVC === "files" ? "Failed" : "Completed", message: "the disk is full", snapshotID: "x" }));
    const ended = await backupIn(cluster, "second", "PartiallyFailed");
    expect(ended.status?.errors).toBe(1);
    expect(store.backups.get("second")?.results?.errors.namespaces?.["notes"]).toEqual([
      'the data of claim "notes/files" is not in the backup: the disk is full',
    ]);
  });

  it("cancels DataUploads that take longer than its itemOperationTimeout", async () => {
    const { cluster, clock, client } = await world();
    await client.create<Backup>(backups, newBackup("slow", { itemOperationTimeout: "1m" }));
    await backupIn(cluster, "slow", "WaitingForPluginOperations");
    await clock.advance(61_000);
    const ended = await backupIn(cluster, "slow", "PartiallyFailed");
    expect(ended.status?.backupItemOperationsFailed).toBe(3);
    expect(client.all(dataUploads).map(({ spec }) => spec.cancel)).toEqual([true, true, true]);
  });

  it("is never Completed when the record of its operations is gone", async () => {
    const { cluster, client, store, backup, operations } = await world();
    await client.create<Backup>(backups, newBackup("second"));
    await backupIn(cluster, "second", "WaitingForPluginOperations");
    await Promise.all([backup.stop(), operations.stop()]);
    const { itemOperations: _, ...files } = store.backups.get("second") ?? { backup: newBackup("second") };
    store.backups.set("second", files);
    start(cluster, store);
    const ended = await backupIn(cluster, "second", "Completed", "PartiallyFailed");
    expect(ended.status).toMatchObject({ phase: "PartiallyFailed", failureReason: expect.stringContaining("0 of its 3 operations") });
  });

  it("is never Completed when a DataUpload goes before it could be written down", async () => {
    const { cluster, client, store } = await world();
    await client.create<Backup>(backups, newBackup("second"));
    await backupIn(cluster, "second", "WaitingForPluginOperations");
    client.react(backups, (_before, after) => {
      const [upload] = client.all(dataUploads);
      if (after?.status?.phase === "Finalizing" && upload !== undefined)
        client.discard(dataUploads, { namespace: NAMESPACE, name: upload.metadata.name ?? "" });
    });
    endUploads(client);
    const ended = await backupIn(cluster, "second", "Completed", "PartiallyFailed");
    expect(ended.status).toMatchObject({ phase: "PartiallyFailed", failureReason: expect.stringContaining("will not find the data") });
    expect(store.backups.get("second")?.backup.status?.phase).toBe("PartiallyFailed");
  });

  it("ends PartiallyFailed when its location goes away while it waits", async () => {
    const { cluster, client } = await world();
    await client.create<Backup>(backups, newBackup("second"));
    await backupIn(cluster, "second", "WaitingForPluginOperations");
    client.discard(backupStorageLocations, { namespace: NAMESPACE, name: "default" });
    endUploads(client);
    expect((await backupIn(cluster, "second", "PartiallyFailed")).status?.failureReason).toMatch(/does not exist any more/);
  });
});

describe("a backup that is deleted while it runs", () => {
  it("ends, and leaves no snapshot that nobody owns", async () => {
    const { cluster, client, store } = await world();
    const hanging = Promise.withResolvers<void>();
    client.handlers.podExec = (_key, { command, signal }) =>
      new Promise((resolve, reject) => {
        if (command.includes("echo pre")) return resolve({ exitCode: 0, stdout: "", stderr: "" });
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        hanging.resolve();
      });
    await client.create<Backup>(backups, newBackup("second"));
    await hanging.promise;
    await client.delete(backups, { namespace: NAMESPACE, name: "second" });
    await cluster.clock.advance(10_000);
    await eventually(cluster.clock, () => (store.openArchives === 0 ? true : undefined));
    expect(store.backups.size).toBe(0);
    const owned = client.all(dataUploads).map(({ spec }) => spec.csiSnapshot?.volumeSnapshot);
    expect(client.all(volumeSnapshots).map(({ metadata }) => metadata.name)).toEqual(expect.arrayContaining(owned));
    expect(client.all(volumeSnapshots)).toHaveLength(owned.length);
    // The uploads are owned by the Backup and go with it, with their snapshots.
    expect(client.collectGarbage()).toBe(3);
  });

  it.each(["pre", "post"] as const)("thaws what it froze, also when it is ended in its %s hook", async (phase) => {
    const { cluster, client, store } = await world();
    const commands: string[] = [];
    const hanging = Promise.withResolvers<void>();
    client.handlers.podExec = (_key, { command, signal }) =>
      new Promise((resolve, reject) => {
        const name = command.join(" ").split(" ").at(-1) ?? "";
        commands.push(name);
        if (name !== phase) return resolve({ exitCode: 0, stdout: "", stderr: "" });
        const answer = cluster.clock.after(5_000, () => resolve({ exitCode: 0, stdout: "", stderr: "" }));
        signal?.addEventListener("abort", () => {
          answer();
          reject(signal.reason);
        });
        hanging.resolve();
      });
    await client.create<Backup>(backups, newBackup("second"));
    await hanging.promise;
    await client.delete(backups, { namespace: NAMESPACE, name: "second" });
    await eventually(cluster.clock, () => (store.openArchives === 0 ? true : undefined));
    expect(commands).toEqual(["pre", "post"]);
  });

  it("makes room for a new one of the same name", async () => {
    const { cluster, client } = await world();
    const hanging = Promise.withResolvers<void>();
    client.handlers.podExec = (_key, { signal }) =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        hanging.resolve();
      });
    await client.create<Backup>(backups, newBackup("second"));
    await hanging.promise;
    await client.delete(backups, { namespace: NAMESPACE, name: "second" });
    client.handlers.podExec = () => ({ exitCode: 0, stdout: "", stderr: "" });
    await client.create<Backup>(backups, newBackup("second"));
    await backupIn(cluster, "second", "WaitingForPluginOperations");
  });
});

describe("several backups", () => {
  it("run one after the other, in the order in which they came", async () => {
    const { cluster, client } = await world();
    const order: string[] = [];
    client.react(backups, (before, after) => {
      if (after?.status?.phase === "InProgress" && before?.status?.phase !== "InProgress") order.push(after.metadata.name ?? "");
    });
    for (const name of ["a", "b", "c"]) await client.create<Backup>(backups, newBackup(name));
    for (const name of ["a", "b", "c"]) await backupIn(cluster, name, "WaitingForPluginOperations");
    expect(order).toEqual(["a", "b", "c"]);
  });

  it("are not read for each change of the one that runs", async () => {
    const { cluster, client } = await world();
    for (const name of ["runs", "waits"]) await client.create<Backup>(backups, newBackup(name));
    const reads = (): number => client.calls.filter(({ verb, resource }) => verb === "get" && resource === "backups.velero.io").length;
    let readsForChanges: number | undefined;
    client.intercept = async ({ verb, resource }) => {
      // The first one has begun to list what it is about.
      if (verb !== "list" || resource !== "pods" || readsForChanges !== undefined) return;
      await settle();
      const before = reads();
      for (let change = 0; change < 20; change++) {
        client.mutate(backups, { namespace: NAMESPACE, name: "runs" }, (backup) => {
          backup.metadata.annotations = { ...backup.metadata.annotations, change: `${change}` };
        });
        await settle();
      }
      readsForChanges = reads() - before;
    };
    await backupIn(cluster, "runs", "WaitingForPluginOperations");
    expect(readsForChanges).toBe(0);
  });
});
