/**
 * Our server's Backup and Restore controllers against a real kube-apiserver and a real archive: whatever they write must pass the API server's own validation.
 * There is no kubelet, no binder, no snapshot controller and no mover; the test plays them.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Backup,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DataDownload,
  type DataUpload,
  dataDownloads,
  dataUploads,
  loadCrds,
  type Restore,
  restores,
  type Schedule,
  schedules,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { ArchiveBackupStore } from "@drayage/archive";
import { loggerTo, systemClock, systemRandom } from "@drayage/base";
import { openDirectoryStore } from "@drayage/blob";
import {
  type BackupStores,
  type RunningController,
  startBackupController,
  startBackupOperationsController,
  startRestoreController,
  startRestoreOperationsController,
  startScheduleController,
} from "@drayage/controllers";
import { recordedItems } from "@drayage/controllers/testing";
import {
  type ConnectedClient,
  type CustomResourceDefinition,
  createDiscovery,
  createKubeClient,
  customResourceDefinitions,
  deployments,
  type GenericObject,
  type KubeObject,
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
  storageClasses,
} from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

const WAIT_MS = 60_000;
const ENDED = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
let server: RealApiServer;
let client: ConnectedClient;
let folder: string;
const running: RunningController[] = [];
const logged: string[] = [];

beforeAll(async () => {
  server = await startRealApiServer();
  folder = mkdtempSync(join(tmpdir(), "dray-backup-api-"));
  mkdirSync(join(folder, "bucket"));
  const kubeconfig = JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: server.url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: server.token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
  client = createKubeClient({ kubeconfig, qps: 0 });
  await prepare();
  const discovery = createDiscovery(client);
  const bucket = new ArchiveBackupStore({
    store: await openDirectoryStore({ path: join(folder, "bucket"), random: systemRandom }),
    temporaryFolder: folder,
    clock: systemClock,
  });
  const stores: BackupStores = { open: async () => bucket };
  const logger = loggerTo(({ level, message, fields }) => {
    if (level === "warn" || level === "error") logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
  });
  const deps = { client, discovery, clock: systemClock, random: systemRandom, logger, namespace: "velero", stores };
  running.push(
    startBackupController(deps),
    startBackupOperationsController(deps),
    startRestoreController({ ...deps, helperImage: "drayage/dray:test" }),
    startRestoreOperationsController(deps),
    startScheduleController({ ...deps, zone: "UTC" }),
  );
}, 120_000);

afterAll(async () => {
  for (const controller of running) await controller.stop();
  await client?.close();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

/** Definitions, the server's namespace, and the application of the recording. */
async function prepare(): Promise<void> {
  for (const crd of loadCrds("velero.io", "snapshot.storage.k8s.io"))
    await client.create(customResourceDefinitions, crd as unknown as CustomResourceDefinition);
  await until(async () => {
    for await (const { status } of client.listAll(customResourceDefinitions)) {
      if (status?.conditions?.some(({ type, status: value }) => type === "Established" && value === "True") !== true) return undefined;
    }
    return true;
  }, "definitions are established");
  const discovery = createDiscovery(client);
  for (const name of ["velero", "notes"]) await client.create(namespaces, { metadata: { name } });
  await client.create(storageClasses, { metadata: { name: "csi" }, provisioner: "hostpath.csi.k8s.io" });
  await client.create(volumeSnapshotClasses, { metadata: { name: "csi" }, driver: "hostpath.csi.k8s.io", deletionPolicy: "Delete" });
  await client.create<BackupStorageLocation>(backupStorageLocations, {
    metadata: { namespace: "velero", name: "default" },
    spec: { provider: "fs", default: true, objectStorage: { bucket: "b" } },
    status: { phase: "Available" },
  });
  // A pod is admitted only when its account is there.
  const items = recordedItems().sort((a, b) => Number(b.object.kind === "ServiceAccount") - Number(a.object.kind === "ServiceAccount"));
  for (const { object } of items) {
    const { kind = "", apiVersion = "", metadata } = object;
    if (["DataUpload", "Event", "Namespace", "EndpointSlice", "Endpoints"].includes(kind) || metadata.name === "kube-root-ca.crt") continue;
    const type = await discovery.forKind(apiVersion, kind);
    if (type === undefined) throw new Error(`${apiVersion} ${kind} is not served`);
    const fresh: GenericObject = {
      ...object,
      metadata: {
        name: metadata.name ?? "",
        ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
        labels: metadata.labels ?? {},
        annotations: { ...metadata.annotations },
      },
    };
    for (const key of Object.keys(fresh.metadata.annotations ?? {})) if (key.includes("velero.io/")) delete fresh.metadata.annotations?.[key];
    if (kind === "Service") fresh["spec"] = { ports: [{ port: 80, targetPort: 8080 }], selector: { app: "web" } };
    if (kind === "Pod") delete (fresh as unknown as Pod).spec.nodeName;
    if (kind === "PersistentVolume") delete (fresh as unknown as PersistentVolume).spec.claimRef?.uid;
    const created = await client.create<GenericObject>(type, fresh).catch(async (error: unknown) => {
      const existing = await client.find<GenericObject>(type, keyOf(fresh));
      if (existing === undefined) throw error;
      return existing;
    });
    if (["PersistentVolume", "PersistentVolumeClaim", "Pod"].includes(kind))
      await client.replaceStatus<GenericObject>(type, { ...created, status: object["status"] });
  }
}

async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  const endMs = systemClock.nowMs() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (systemClock.nowMs() > endMs) throw new Error(`${what}: it did not come to that\n${logged.join("\n")}`);
    await systemClock.sleep(100);
  }
}

/** Gives every snapshot a handle. */
async function cutSnapshots(): Promise<void> {
  for await (const snapshot of client.listAll<VolumeSnapshot>(volumeSnapshots)) {
    if (snapshot.status?.boundVolumeSnapshotContentName !== undefined) continue;
    const { name = "", namespace = "" } = snapshot.metadata;
    const content = await client.create<VolumeSnapshotContent>(volumeSnapshotContents, {
      metadata: { name: `content-${name}` },
      spec: { driver: "hostpath.csi.k8s.io", deletionPolicy: "Delete", source: { volumeHandle: "v" }, volumeSnapshotRef: { name, namespace } },
    });
    await client.replaceStatus<VolumeSnapshotContent>(volumeSnapshotContents, { ...content, status: { snapshotHandle: `handle-${name}`, readyToUse: true } });
    await client.replaceStatus<VolumeSnapshot>(volumeSnapshots, {
      ...snapshot,
      status: { boundVolumeSnapshotContentName: `content-${name}`, readyToUse: true },
    });
  }
}

async function inPhase<T extends KubeObject>(
  type: ResourceType<T>,
  name: string,
  phases: readonly string[],
  meanwhile: () => Promise<void> = async () => undefined,
): Promise<T> {
  let last = "";
  return until(
    async () => {
      await meanwhile();
      const object = await client.get(type, { namespace: "velero", name });
      last = JSON.stringify((object as { status?: unknown }).status);
      const phase = (object as { status?: { phase?: string } }).status?.phase ?? "";
      if (!phases.includes(phase) && ENDED.includes(phase)) throw new Error(`it ended ${phase}\n${logged.join("\n")}`);
      return phases.includes(phase) ? object : undefined;
    },
    `${type.kind} "${name}" in ${phases.join(" or ")}`,
  ).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\nat the end: ${last}`);
  });
}

/** Who owns what of a Deployment's spec. */
async function managersOfWeb(namespace: string): Promise<unknown> {
  const deployment = await client.get<GenericObject>(deployments as unknown as ResourceType<GenericObject>, { namespace, name: "web" });
  const managers = (deployment.metadata.managedFields ?? []) as { manager: string; operation: string; fieldsV1: Record<string, unknown> }[];
  return managers.map(({ manager, operation, fieldsV1 }) => ({ manager, operation, spec: fieldsV1["f:spec"] }));
}

describe("against a real API server", () => {
  it("a backup of the recorded application completes", async () => {
    await client.create<Backup>(backups, {
      metadata: { namespace: "velero", name: "one" },
      spec: { includedNamespaces: ["notes"], snapshotMoveData: true, csiSnapshotTimeout: "1m", ttl: "0s", itemOperationTimeout: "0s", hooks: {}, metadata: {} },
    });
    await inPhase(backups, "one", ["WaitingForPluginOperations"], cutSnapshots);
    for await (const upload of client.listAll<DataUpload>(dataUploads)) {
      await client.replace<DataUpload>(dataUploads, {
        ...upload,
        status: { phase: "Completed", snapshotID: "abc", nodeOS: "linux", progress: { totalBytes: 7, bytesDone: 7 } },
      });
    }
    const ended = await inPhase(backups, "one", ["Completed", "PartiallyFailed", "Failed"]);
    expect(ended.status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 3 });
    expect(logged).toEqual([]);
  });

  it("its restore into another namespace passes the API server's validation, object by object", async () => {
    await client.create<Restore>(restores, {
      metadata: { namespace: "velero", name: "back" },
      spec: { backupName: "one", namespaceMapping: { notes: "notes-2" } },
    });
    await inPhase(restores, "back", ["WaitingForPluginOperations"]);
    const claims: PersistentVolumeClaim[] = [];
    for await (const claim of client.listAll(persistentVolumeClaims, { namespace: "notes-2" })) claims.push(claim);
    expect(claims.map(({ metadata }) => metadata.name)).toEqual(["disk", "files", "fsb"]);
    for (const claim of claims) {
      const name = `pv-${claim.metadata.name}`;
      const { uid = "", name: claimName = "" } = claim.metadata;
      await client.create<PersistentVolume>(persistentVolumes, {
        metadata: { name, labels: claim.spec.selector?.matchLabels ?? {} },
        spec: {
          capacity: { storage: "64Mi" },
          accessModes: ["ReadWriteOnce"],
          persistentVolumeReclaimPolicy: "Retain",
          volumeMode: claim.spec.volumeMode ?? "Filesystem",
          csi: { driver: "hostpath.csi.k8s.io", volumeHandle: name },
          claimRef: { kind: "PersistentVolumeClaim", namespace: "notes-2", name: claimName, uid },
        },
      });
      const bound = await client.patch<PersistentVolumeClaim>(persistentVolumeClaims, keyOf(claim), "merge", { spec: { volumeName: name } });
      await client.replaceStatus<PersistentVolumeClaim>(persistentVolumeClaims, {
        ...bound,
        status: { phase: "Bound", accessModes: ["ReadWriteOnce"], capacity: { storage: "64Mi" } },
      });
    }
    for await (const download of client.listAll<DataDownload>(dataDownloads)) {
      await client.replace<DataDownload>(dataDownloads, { ...download, status: { phase: "Completed", progress: { totalBytes: 7, bytesDone: 7 } } });
    }
    const ended = await inPhase(restores, "back", ["Completed", "PartiallyFailed", "Failed"]);
    expect(ended.status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 3 });
    expect(ended.status?.warnings).toBeUndefined();
    for (const [type, name] of [
      [deployments, "web"],
      [services, "web"],
      [pods, "web-5689f8c9c9-9vcsp"],
    ] as const) {
      expect((await client.find<KubeObject>(type as ResourceType<KubeObject>, { namespace: "notes-2", name }))?.metadata.labels).toMatchObject({
        "velero.io/restore-name": "back",
      });
    }
    expect((await client.get(persistentVolumes, { name: "pv-files" })).spec.persistentVolumeReclaimPolicy).toBe("Delete");
    // test/compat/restored-managers.test.ts compares them with those that Velero leaves.
    expect(await managersOfWeb("notes-2")).toEqual(await managersOfWeb("notes"));
    expect(logged).toEqual([]);
  });

  it("a malformed Backup is refused by the schema or shown in its validation errors", async () => {
    await expect(
      client.create(backups, { metadata: { namespace: "velero", name: "bad" }, spec: { includedNamespaces: "notes" } } as unknown as Backup),
    ).rejects.toMatchObject({ code: "KUBE_INVALID" });
    await client.create<Backup>(backups, {
      metadata: { namespace: "velero", name: "bad" },
      spec: { storageLocation: "nowhere", includedNamespaces: ["UPPER"] },
    });
    const ended = await inPhase(backups, "bad", ["FailedValidation"]);
    expect(ended.status?.validationErrors).toHaveLength(2);
  });

  it.each<[Backup["spec"], string]>([
    [{ storageLocation: "nowhere" }, 'backup storage location "nowhere" does not exist'],
    [{ volumeSnapshotLocations: ["nowhere"] }, 'volume snapshot location "nowhere" does not exist'],
    [{ includedNamespaces: ["UPPER"] }, "spec.includedNamespaces, spec.excludedNamespaces: "],
    [{ includedNamespaces: ["notes"], excludedNamespaces: ["notes"] }, "spec.includedNamespaces, spec.excludedNamespaces: "],
    [{ includedResources: ["pods"], excludedResources: ["pods"] }, "spec.includedResources, spec.excludedResources: "],
    [{ includedResources: ["pods"], includedNamespaceScopedResources: ["pods"] }, "cannot be used together with the lists per scope"],
    [{ includedClusterScopedResources: ["a", "*"] }, "spec.includedClusterScopedResources, spec.excludedClusterScopedResources: "],
    [{ includedNamespaceScopedResources: ["a", "*"] }, "spec.includedNamespaceScopedResources, spec.excludedNamespaceScopedResources: "],
    [{ labelSelector: {}, orLabelSelectors: [{}] }, "spec.labelSelector and spec.orLabelSelectors are both given"],
    [{ labelSelector: { matchExpressions: [{ key: "a", operator: "Is" as "In" }] } }, "spec.labelSelector: "],
    [{ orLabelSelectors: [{ matchExpressions: [{ key: "a", operator: "In", values: [] }] }] }, "spec.orLabelSelectors: "],
    [{ ttl: "soon" }, 'spec.ttl is "soon"'],
    [{ csiSnapshotTimeout: "-1s" }, 'spec.csiSnapshotTimeout is "-1s"'],
    [{ itemOperationTimeout: "1" }, 'spec.itemOperationTimeout is "1"'],
    [{ resourcePolicy: { kind: "secret", name: "p" } }, 'spec.resourcePolicy.kind is "secret"'],
    [{ resourcePolicy: { kind: "configmap", name: "absent" } }, 'spec.resourcePolicy names ConfigMap "absent"'],
    [{ orderedResources: { pods: "a/b/c" } }, 'spec.orderedResources.pods has "a/b/c"'],
    [{ uploaderConfig: { parallelFilesUpload: -1 } }, "spec.uploaderConfig.parallelFilesUpload is -1"],
    [{ volumeGroupSnapshotLabelKey: "not a key" }, "spec.volumeGroupSnapshotLabelKey: "],
    [{ datamover: "acme", snapshotMoveData: true }, 'spec.datamover is "acme"'],
  ])("a Backup that fits the schema and cannot be done ends in FailedValidation with its fault: %j", async (spec, fault) => {
    const { name = "" } = (await client.create<Backup>(backups, { metadata: { namespace: "velero", generateName: "senseless-" }, spec })).metadata;
    const { status } = await inPhase(backups, name, ["FailedValidation"]);
    expect(status?.validationErrors).toEqual([expect.stringContaining(fault)]);
  });

  it.each<[Restore["spec"], string]>([
    [{}, "exactly one of spec.backupName and spec.scheduleName is wanted"],
    [{ backupName: "absent" }, 'backup "absent" does not exist'],
    [{ scheduleName: "absent" }, 'schedule "absent" has no completed backup'],
    [{ backupName: "one", scheduleName: "absent" }, "exactly one of spec.backupName and spec.scheduleName is wanted"],
    [{ backupName: "one", includedResources: ["nodes"] }, 'spec.includedResources names "nodes", which is never restored'],
    [{ backupName: "one", includedResources: ["pods"], excludedResources: ["pods"] }, "spec.includedResources, spec.excludedResources: "],
    [{ backupName: "one", includedNamespaces: ["a", "*"] }, "spec.includedNamespaces, spec.excludedNamespaces: "],
    [{ backupName: "one", labelSelector: {}, orLabelSelectors: [{}] }, "spec.labelSelector and spec.orLabelSelectors are both given"],
    [{ backupName: "one", labelSelector: { matchExpressions: [{ key: "a", operator: "Is" as "In" }] } }, "spec.labelSelector, spec.orLabelSelectors: "],
    [{ backupName: "one", namespaceMapping: { notes: "UPPER" } }, 'spec.namespaceMapping maps "notes" to "UPPER"'],
    [{ backupName: "one", itemOperationTimeout: "soon" }, 'spec.itemOperationTimeout is "soon"'],
    [{ backupName: "one", existingResourcePolicy: "replace" }, 'spec.existingResourcePolicy is "replace"'],
    [{ backupName: "one", resourceModifier: { kind: "secret", name: "m" } }, 'spec.resourceModifier.kind is "secret"'],
    [{ backupName: "one", resourceModifier: { kind: "configmap", name: "absent" } }, 'spec.resourceModifier names ConfigMap "absent"'],
  ])("a Restore that fits the schema and cannot be done ends in FailedValidation with its fault: %j", async (spec, fault) => {
    const { name = "" } = (await client.create<Restore>(restores, { metadata: { namespace: "velero", generateName: "senseless-" }, spec })).metadata;
    const { status } = await inPhase(restores, name, ["FailedValidation"]);
    expect(status?.validationErrors).toEqual([expect.stringContaining(fault)]);
  });

  it.each([
    ["", "Schedule must be a non-empty valid Cron expression"],
    ["every day", "invalid schedule: "],
    ["61 * * * *", "invalid schedule: "],
    ["0 3 * * * *", "invalid schedule: "],
    ["@every soon", "invalid schedule: "],
  ])("a Schedule whose expression is %j ends in FailedValidation", async (schedule, fault) => {
    const { name = "" } = (
      await client.create<Schedule>(schedules, { metadata: { namespace: "velero", generateName: "senseless-" }, spec: { schedule, template: {} } })
    ).metadata;
    const { status } = await inPhase(schedules, name, ["FailedValidation"]);
    expect(status?.validationErrors).toEqual([expect.stringContaining(fault)]);
  });
});
