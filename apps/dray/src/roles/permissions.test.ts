/** Each role works under exactly the permissions that the manifests give its service account: a call that they do not cover fails, and one that nobody makes is told. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BackupStorageLocation,
  BLOCK_DATA_MOVER,
  backupRepositories,
  backupStorageLocations,
  backups,
  cloudStorages,
  type DataDownload,
  type DataProtectionApplication,
  type DataUpload,
  DRAYAGE_DATA_MOVER,
  dataDownloads,
  dataProtectionApplications,
  dataUploads,
  deleteBackupRequests,
  MOVER_SECRET_KEYS,
  podVolumeBackups,
  podVolumeRestores,
  type Restore,
  restores,
  volumeSnapshotContents,
  volumeSnapshotLocations,
  volumeSnapshots,
} from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { openFilesystemStorage } from "@drayage/blob";
import {
  dataMoverClaims,
  letGoOfBuckets,
  startBackupDeletionController,
  startCloudStorageController,
  startDpaController,
  startMovedSnapshotRecordsController,
  startNodeAgent,
  startRestoreController,
} from "@drayage/controllers";
import { emptyCluster, eventually, MemoryBackupStore, newRestore, recordedBackup, SimulatedStorage } from "@drayage/controllers/testing";
import { GUEST_OWN_RULES, installManifests, MOVER_SERVICE_ACCOUNT, NODE_AGENT_NAME, OPERATOR_OWN_RULES, SERVER_NAME } from "@drayage/install";
import {
  configMaps,
  daemonSets,
  deployments,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  priorityClasses,
  runAsLeader,
  secrets,
  services,
} from "@drayage/kube";
import { FakeKubeClient, type PermissionRule, type Permissions, permittedClient } from "@drayage/kube/testing";
import { runDataMoverBackup } from "@drayage/movers/builtin";
import { createRepository } from "@drayage/repo";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const NS = "velero";
const manifests = installManifests({ namespace: NS, image: "drayage/dray:test", repositoryPassword: "p", nodeAgent: true });

function permissionsOf(account: string): Permissions {
  const rulesOf = (kind: string, name: string): readonly PermissionRule[] =>
    (manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name)?.["rules"] ?? []) as readonly PermissionRule[];
  return { cluster: rulesOf("ClusterRole", `${account}-${NS}`), namespaced: { namespace: NS, rules: rulesOf("Role", account) } };
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "permissions-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the node-agent", () => {
  it("moves data both ways, cleans up and sweeps with what it is permitted, and needs all of it", async () => {
    const clock = new VirtualClock();
    const fake = new FakeKubeClient({ clock, random: seededRandom(7) });
    const storage = new SimulatedStorage(fake, { nodeName: "node-1", mover: "waits", snapshotter: "is-busy" });
    seed(fake);
    fake.handlers.podLog = () => "the last words of a mover";
    // What an administrator lets it read of applications (docs/ceph.md).
    const tenants: readonly PermissionRule[] = [{ apiGroups: [""], resources: ["secrets", "configmaps"], verbs: ["get"] }];
    const { cluster, ...own } = permissionsOf(NODE_AGENT_NAME);
    const permitted = permittedClient(fake, { ...own, cluster: [...cluster, ...tenants] });
    for (const type of [secrets, configMaps]) fake.seed(type, { metadata: { namespace: "notes", name: "tenant" } });
    fake.seed(priorityClasses, { metadata: { name: "high" } });
    const kept = { secretNames: ["tenant"], configMapNames: ["tenant"] };
    const agent = await startNodeAgent({
      client: permitted.client,
      clock,
      random: seededRandom(3),
      logger: nullLogger,
      namespace: NS,
      nodeName: "node-1",
      claims: dataMoverClaims({ mode: "standalone" }),
      pod: { image: "drayage/dray:test", serviceAccount: MOVER_SERVICE_ACCOUNT },
      config: { loadConcurrency: { globalConfig: 2 }, priorityClassName: "high", backupPVC: { csi: kept }, restorePVC: kept },
    });
    const end = (name: string, phase: string): Promise<void> => reach(name, phase, true);
    const reach = async (name: string, phase: string, ended = false): Promise<void> => {
      for (let step = 0; step < 600; step++) {
        const key = { namespace: NS, name };
        const movement = fake.peek(dataUploads, key) ?? fake.peek(dataDownloads, key) ?? fake.peek(podVolumeBackups, key) ?? fake.peek(podVolumeRestores, key);
        if (movement?.status?.phase === phase && (!ended || movement.metadata.finalizers === undefined)) return;
        await clock.advance(500);
        await settle();
      }
      throw new Error(`${name} came to rest; denied were: ${permitted.denied.join(", ")}`);
    };
    // One of a device, of which the storage may tell what has changed.
    fake.seed(persistentVolumeClaims, { metadata: { namespace: "notes", name: "disk" }, spec: { volumeMode: "Block", storageClassName: "csi" } });
    for (const [name, sourcePVC] of [
      ["up", "files"],
      ["beside", "disk"],
    ] as const) {
      storage.seedSnapshot("notes", `source-${name}`);
      fake.seed(dataUploads, { ...upload(name), spec: { ...upload(name).spec, sourcePVC } });
    }
    // Both have copies of the tenant's objects then, and give them up one after the other.
    const bothRun = (): boolean => ["up", "beside"].every((name) => fake.peek(dataUploads, { namespace: NS, name })?.status?.phase === "InProgress");
    for (let step = 0; step < 600 && !bothRun(); step++) {
      await clock.advance(500);
      await settle();
    }
    storage.options = { nodeName: "node-1" };
    storage.nudge();
    for (const name of ["up", "beside"]) await end(name, "Completed");
    fake.seed(dataDownloads, download("down"));
    await end("down", "Completed");
    // One that is moved as a device, and gets a volume of its own mode in the end.
    fake.seed(persistentVolumeClaims, {
      metadata: { namespace: "notes-2", name: "blocks" },
      spec: { accessModes: ["ReadWriteOnce"], storageClassName: "csi", selector: { matchLabels: { waits: "for-it" } } },
      status: { phase: "Pending" },
    });
    const ofBlocks = download("blocks");
    const targetVolume = { ...ofBlocks.spec.targetVolume, pvc: "blocks" };
    fake.seed(dataDownloads, { ...ofBlocks, spec: { ...ofBlocks.spec, datamover: BLOCK_DATA_MOVER, targetVolume } });
    await end("blocks", "Completed");
    seedPodVolumes(fake);
    await end("read", "Completed");
    await end("fill", "Completed");
    storage.options = { nodeName: "node-1", mover: "fails" };
    storage.seedSnapshot("notes", "source-bad");
    fake.seed(dataUploads, upload("bad"));
    await end("bad", "Failed");
    // What is exposed anew is told by an Event that there is already.
    storage.options = { nodeName: "node-1", mover: "waits" };
    storage.seedSnapshot("notes", "source-lost");
    fake.seed(dataUploads, upload("lost"));
    await reach("lost", "InProgress");
    fake.discard(pods, { namespace: NS, name: "lost" });
    storage.options = { nodeName: "node-1" };
    await end("lost", "Completed");
    seedOrphan(fake);
    await clock.advance(11 * 60_000);
    await agent.stop();
    expect(permitted.denied).toEqual([]);
    expect(fake.all(volumeSnapshots)).toEqual([]);
    // A repository that is to be tried again; and, at its start, the image of its DaemonSet.
    expect(permitted.unused()).toEqual(["patch backuprepositories.velero.io", "get daemonsets.apps"]);
    expect([...fake.all(secrets), ...fake.all(configMaps)].filter(({ metadata }) => metadata.namespace === NS && metadata.name === "tenant")).toEqual([]);
  });
});

describe("the node-agent of a guest", () => {
  it("records what was moved with what it is permitted beyond the others, and needs all of it", async () => {
    const fake = new FakeKubeClient();
    // Locations and data uploads are what every node-agent may read.
    const shared: readonly PermissionRule[] = [
      { apiGroups: ["velero.io"], resources: ["datauploads"], verbs: ["list"] },
      { apiGroups: ["velero.io"], resources: ["backupstoragelocations"], verbs: ["get"] },
    ];
    const permitted = permittedClient(fake, {
      cluster: [],
      namespaced: { namespace: NS, rules: [...(GUEST_OWN_RULES as readonly PermissionRule[]), ...shared] },
    });
    fake.seed(dataUploads, {
      ...upload("moved"),
      metadata: { namespace: NS, name: "moved", labels: { "velero.io/backup-name": "b" } },
      status: { phase: "Completed", snapshotID: "s" },
    });
    fake.seed(backups, {
      metadata: { namespace: NS, name: "b" },
      spec: { snapshotMoveData: true, storageLocation: "default" },
      status: { phase: "Completed" },
    });
    const location: BackupStorageLocation = { metadata: { namespace: NS, name: "default" }, spec: { provider: "fs", objectStorage: { bucket: "b" } } };
    fake.seed(backupStorageLocations, location);
    const ending = new AbortController();
    const common = { client: permitted.client, clock: fake.clock, random: seededRandom(1), logger: nullLogger };
    const leading = runAsLeader({ ...common, lease: { namespace: NS, name: "guest" }, identity: "a", signal: ending.signal }, async (signal) => {
      const keeper = startMovedSnapshotRecordsController({ ...common, namespace: NS, stores: new MemoryBackupStore() });
      await new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));
      await keeper.stop();
    });
    await expect.poll(() => fake.all(configMaps).map(({ metadata }) => metadata.name)).toEqual(["moved-info"]);
    ending.abort();
    await leading;
    expect(permitted.denied).toEqual([]);
    expect(permitted.unused()).toEqual([]);
  });
});

describe("a mover", () => {
  it("moves a volume with what it is permitted, and needs all of it", async () => {
    const location: BackupStorageLocation = {
      metadata: { namespace: NS, name: "default" },
      spec: { provider: "fs", objectStorage: { bucket: "b" }, config: { fspath: folder } },
    };
    const storage = await openFilesystemStorage({ path: join(folder, "b", "kopia", "notes"), create: true });
    await (await createRepository(storage, { password: "p" })).close();
    const [volume, secret] = [join(folder, "volume"), join(folder, "secret")];
    for (const path of [volume, secret]) mkdirSync(path);
    writeFileSync(join(volume, "a"), "data");
    writeFileSync(join(secret, MOVER_SECRET_KEYS.locationJson), JSON.stringify(location));
    writeFileSync(join(secret, MOVER_SECRET_KEYS.repositoryJson), JSON.stringify({ spec: { volumeNamespace: "notes" } }));
    writeFileSync(join(secret, MOVER_SECRET_KEYS.repositoryPassword), "p");
    const fake = new FakeKubeClient();
    fake.seed(dataUploads, { ...upload("up"), status: { phase: "InProgress", node: "node-1" } });
    const permitted = permittedClient(fake, permissionsOf(MOVER_SERVICE_ACCOUNT));
    const code = await runDataMoverBackup({
      client: permitted.client,
      clock: systemClock,
      random: systemRandom,
      logger: nullLogger,
      namespace: NS,
      nodeName: "node-1",
      volumePath: volume,
      volumeMode: "Filesystem",
      secretPath: secret,
      terminationLogPath: join(folder, "termination-log"),
      dataUploadName: "up",
    });
    expect(permitted.denied).toEqual([]);
    expect(code).toBe(0);
    // The other direction reads its own kind in the same way; a second telling of progress, should there be one, changes the first.
    // Whether it may read snapshots is asked by who tells it what has changed on a device.
    const elsewhere = ["patch events", "get volumesnapshots.snapshot.storage.k8s.io"];
    expect(permitted.unused().filter((entry) => !/datadownloads|podvolume/.test(entry) && !elsewhere.includes(entry))).toEqual([]);
  });
});

describe("the server", () => {
  it("clears collections in its own namespace, after a restore and with a backup", async () => {
    const cluster = emptyCluster();
    const { client: fake, clock } = cluster;
    const store = new MemoryBackupStore();
    await recordedBackup(cluster, store);
    const permitted = permittedClient(fake, permissionsOf(SERVER_NAME));
    const base = { client: permitted.client, clock, random: seededRandom(3), logger: nullLogger, namespace: NS, stores: store };
    const repositories = { ensure: async () => undefined, forget: async () => undefined, defaultMaintenanceFrequencySeconds: 3600 };
    fake.react(backupRepositories, (_before, after) => {
      if (after?.status?.phase !== undefined || after === undefined) return;
      fake.mutate(backupRepositories, { namespace: NS, name: after.metadata.name ?? "" }, (current) => {
        current.status = { phase: "Ready" };
      });
    });
    const restoring = startRestoreController({ ...base, discovery: cluster.discovery, helperImage: "drayage/dray:test" });
    const deleting = startBackupDeletionController({ ...base, repositories, resourceTimeoutMs: 10_000 });
    await permitted.client.create<Restore>(restores, newRestore("back", { includedResources: ["configmaps"] }));
    const phaseOfRestore = () => fake.peek(restores, { namespace: NS, name: "back" })?.status?.phase;
    await eventually(clock, () => (phaseOfRestore()?.startsWith("Finalizing") === true ? true : undefined), phaseOfRestore);
    const [backup] = fake.all(backups);
    fake.seed(deleteBackupRequests, { metadata: { namespace: NS, name: "gone" }, spec: { backupName: backup?.metadata.name ?? "" } });
    await eventually(clock, () => (fake.all(backups).length === 0 && fake.all(deleteBackupRequests).length === 0 ? true : undefined));
    await restoring.stop();
    await deleting.stop();
    expect(permitted.denied).toEqual([]);
    expect(permitted.unused().filter((entry) => entry.startsWith("deletecollection"))).toEqual([]);
  });
});

describe("the operator", () => {
  it("makes, changes and takes away an installation with what it is permitted in its own namespace", async () => {
    const clock = new VirtualClock();
    const fake = new FakeKubeClient({ clock, random: seededRandom(7) });
    fake.seed(secrets, { metadata: { namespace: NS, name: "cloud-credentials" }, data: { cloud: Buffer.from("x").toString("base64") } });
    const permitted = permittedClient(fake, { cluster: [], namespaced: { namespace: NS, rules: OPERATOR_OWN_RULES as readonly PermissionRule[] } });
    const operator = startDpaController({
      client: permitted.client,
      clock,
      random: seededRandom(3),
      logger: nullLogger,
      namespace: NS,
      image: "drayage/dray:test",
    });
    const buckets = startCloudStorageController({
      client: permitted.client,
      clock,
      random: seededRandom(4),
      logger: nullLogger,
      namespace: NS,
      buckets: { exists: async () => true, create: async () => undefined, tag: async () => undefined, remove: async () => undefined },
    });
    const creationSecret = { name: "cloud-credentials", key: "cloud" };
    const annotations = { "oadp.openshift.io/cloudstorage-delete": "true" };
    fake.seed(cloudStorages, { metadata: { namespace: NS, name: "storage", annotations }, spec: { name: "bucket", provider: "aws", creationSecret } });
    const velero = { provider: "aws", default: true, objectStorage: { bucket: "b" } };
    const dpa: DataProtectionApplication = {
      metadata: { namespace: NS, name: "dpa" },
      spec: {
        backupImages: false,
        backupLocations: [{ velero }, { name: "second", velero: { ...velero, default: false } }],
        snapshotLocations: [{ velero: { provider: "aws", config: { region: "r" } } }],
        configuration: { velero: { defaultPlugins: ["aws"] }, nodeAgent: { enable: true, uploaderType: "kopia", cacheLimitMB: 1 } },
      },
    };
    fake.seed(dataProtectionApplications, dpa);
    const settled = (locations: number) =>
      eventually(clock, () => (fake.all(backupStorageLocations).length === locations && fake.all(daemonSets).length === locations - 1 ? true : undefined));
    await settled(2);
    await clock.advance(1_000);
    await settle();
    await fake.patch(dataProtectionApplications, { namespace: NS, name: "dpa" }, "merge", {
      spec: { backupLocations: [{ velero }], snapshotLocations: [], configuration: { nodeAgent: null } },
    });
    await settled(1);
    await clock.advance(1_000);
    await settle();
    await fake.patch(dataProtectionApplications, { namespace: NS, name: "dpa" }, "merge", { metadata: { annotations: { "drayage.io/mode": "guest" } } });
    await eventually(clock, () => (fake.all(services).length === 0 ? true : undefined));
    await fake.delete(cloudStorages, { namespace: NS, name: "storage" });
    await eventually(clock, () => (fake.all(cloudStorages).length === 0 ? true : undefined));
    fake.seed(cloudStorages, { metadata: { namespace: NS, name: "left", annotations }, spec: { name: "bucket", provider: "aws", creationSecret } });
    await eventually(clock, () => fake.peek(cloudStorages, { namespace: NS, name: "left" })?.metadata.finalizers);
    await buckets.stop();
    await operator.stop();
    expect(await letGoOfBuckets({ client: permitted.client, clock, random: seededRandom(5), namespace: NS })).toEqual(["left"]);
    expect(fake.all(deployments)).toEqual([]);
    expect(permitted.denied).toEqual([]);
    expect(fake.all(volumeSnapshotLocations)).toEqual([]);
    // What is applied is created where it is not there, which the server checks and the fake does not; the lease is the role's, a ConfigMap may hold arguments, a Secret goes only with the VolSync era.
    expect(permitted.unused().filter((entry) => !/^create|leases/.test(entry))).toEqual(["get configmaps", "delete secrets", "patch events"]);
  });
});

function seed(fake: FakeKubeClient): void {
  fake.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  const password = Buffer.from("secret").toString("base64");
  fake.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": password } });
  fake.seed(nodes, { metadata: { name: "node-1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
  fake.seed(persistentVolumeClaims, {
    metadata: { namespace: "notes", name: "files" },
    spec: { storageClassName: "csi", volumeMode: "Filesystem", volumeName: "pv-source" },
    status: { phase: "Bound" },
  });
  fake.seed(persistentVolumes, { metadata: { name: "pv-source" }, spec: {}, status: { phase: "Bound" } });
  fake.seed(persistentVolumeClaims, {
    metadata: { namespace: "notes-2", name: "files" },
    spec: { accessModes: ["ReadWriteOnce"], storageClassName: "csi", volumeMode: "Filesystem", selector: { matchLabels: { for: "files" } } },
    status: { phase: "Pending" },
  });
}

/** A pod of this node, one of whose volumes is read and filled. */
function seedPodVolumes(fake: FakeKubeClient): void {
  const pod = fake.seed(pods, {
    metadata: { namespace: "notes", name: "web" },
    spec: { nodeName: "node-1", containers: [], volumes: [{ name: "files", persistentVolumeClaim: { claimName: "files" } }] },
    status: { phase: "Running", initContainerStatuses: [{ name: "restore-wait", ready: false, restartCount: 0, state: { running: {} } }] },
  });
  fake.mutate(persistentVolumes, { name: "pv-source" }, (volume) => {
    volume.spec.csi = { driver: "csi.example.com", volumeHandle: "h" };
  });
  const reference = { namespace: "notes", name: "web", uid: pod.metadata.uid ?? "" };
  const shared = { backupStorageLocation: "default", pod: reference, repoIdentifier: "", uploaderType: "kopia" as const, volume: "files" };
  fake.seed(podVolumeBackups, { metadata: { namespace: NS, name: "read" }, spec: { ...shared, node: "node-1" } });
  fake.seed(podVolumeRestores, { metadata: { namespace: NS, name: "fill" }, spec: { ...shared, snapshotID: "a".repeat(32), sourceNamespace: "notes" } });
}

/** What an agent that was killed at the wrong moment leaves. */
function seedOrphan(fake: FakeKubeClient): void {
  const annotations = { "drayage.io/owner-uid": "of-one-that-is-gone" };
  fake.seed(volumeSnapshots, { metadata: { namespace: NS, name: "orphan", annotations }, spec: { source: { volumeSnapshotContentName: "orphan" } } });
  fake.seed(volumeSnapshotContents, {
    metadata: { name: "orphan", annotations },
    spec: { deletionPolicy: "Delete", driver: "csi.example.com", source: { snapshotHandle: "h" }, volumeSnapshotRef: { namespace: NS, name: "orphan" } },
  });
}

function upload(name: string): DataUpload {
  return {
    metadata: { namespace: NS, name },
    spec: {
      backupStorageLocation: "default",
      csiSnapshot: { driver: "csi.example.com", snapshotClass: "csi", storageClass: "csi", volumeSnapshot: `source-${name}` },
      datamover: DRAYAGE_DATA_MOVER,
      operationTimeout: "10m0s",
      snapshotType: "CSI",
      sourceNamespace: "notes",
      sourcePVC: "files",
    },
  };
}

function download(name: string): DataDownload {
  return {
    metadata: { namespace: NS, name },
    spec: {
      backupStorageLocation: "default",
      operationTimeout: "10m0s",
      snapshotID: "c8a6dc6ded536bb55335914b8fa2422c",
      sourceNamespace: "notes",
      targetVolume: { namespace: "notes-2", pv: "", pvc: "files" },
    },
  };
}
