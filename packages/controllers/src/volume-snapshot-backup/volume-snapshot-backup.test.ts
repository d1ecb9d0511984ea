import {
  backupStorageLocations,
  backups,
  replicationSources,
  type VolumeSnapshotBackup,
  volumeSnapshotBackups,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { configMaps, type KubeObject, persistentVolumeClaims, persistentVolumes, pods, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { ScriptedVolSync } from "../testing/scripted-volsync.ts";
import { SimulatedStorage } from "../testing/simulated-storage.ts";
import { defaultVolSyncEraSettings, type VolSyncEraSettings } from "../volsync-era/settings.ts";
import { type BackupPhase, decide, type Observed } from "./volume-snapshot-backup.ts";
import { startVolumeSnapshotBackupController } from "./volume-snapshot-backup-controller.ts";

const NS = "openshift-adp";

describe("decide()", () => {
  const observed = (over: Partial<Observed>): Observed => ({
    phase: "InProgress",
    batching: "Processing",
    deleting: false,
    finalizer: true,
    cancelRequested: false,
    backupEnded: undefined,
    slotFree: true,
    preparation: { state: "wait", reason: "the weather" },
    preparingForMs: 0,
    synchronization: { state: "absent" },
    sourceRecorded: true,
    progressNoted: false,
    movingForMs: 0,
    cleanUp: { state: "done" },
    limits: { prepareMs: 600_000, moveMs: 3_600_000 },
    ...over,
  });
  const dust = { state: "act", what: "sweep", run: async () => undefined } as const;
  const did = (over: Partial<Observed>): string => {
    const { steps, waitingFor } = decide(observed(over));
    const told = steps.map((step) =>
      step.do === "setPhase" ? `${step.to}/${step.batching}${step.message === "" ? "" : `: ${step.message}`}` : step.do === "work" ? step.work.what : step.do,
    );
    return [...told, ...(waitingFor === undefined ? [] : [`waits for ${waitingFor}`])].join(", ");
  };
  const running = { state: "running" } as const;

  it.each<[what: string, over: Partial<Observed>, steps: string]>([
    ["a new one gets its finalizer first", { phase: "", finalizer: false }, "addFinalizer"],
    ["a new one is worked on where there is a place", { phase: "" }, "InProgress/Processing"],
    ["a new one waits where there is none", { phase: "", slotFree: false }, "InProgress/Queued"],
    ["one that is canceled early never begins", { phase: "", cancelRequested: true }, "Failed/Completed: it was canceled"],
    ["one that waited is worked on when a place gets free", { batching: "Queued" }, "InProgress/Processing"],
    ["one that waits goes on waiting", { batching: "Queued", slotFree: false }, "waits for another volume to be done"],
    ["what is next is done", { preparation: dust }, "sweep"],
    ["what is not ready is waited for", {}, "waits for the weather"],
    ["but not for ever", { preparingForMs: 600_000 }, "Failed/Completed: it was not prepared within 600 s: it waited for the weather"],
    [
      "nor is anything begun after that",
      { preparingForMs: 600_000, preparation: dust },
      "Failed/Completed: it was not prepared within 600 s: still to do was to sweep",
    ],
    ["what cannot be prepared fails it", { preparation: { state: "failed", message: "no class" } }, "Failed/Completed: no class"],
    ["its ReplicationSource is written down", { synchronization: running, sourceRecorded: false }, "recordSource"],
    ["data on their way are waited for", { synchronization: running }, "waits for VolSync to move the data"],
    ["but not for ever", { synchronization: running, movingForMs: 3_600_000 }, "Failed/Completed: the data was not moved within 3600 s"],
    [
      "nobody who answers is waited for as long as for a volume",
      { synchronization: { state: "silent" }, movingForMs: 600_000 },
      "Failed/Completed: VolSync did not answer within 600 s: nobody has taken up its ReplicationSource; see that VolSync runs and serves the protected namespace",
    ],
    ["a mover that fails fails it", { synchronization: { state: "failed", message: "disk" } }, "Failed/Completed: VolSync could not move the data: disk"],
    ["a cancel ends it", { synchronization: running, cancelRequested: true }, "Failed/Completed: it was canceled"],
    ["a Backup that failed ends it", { synchronization: running, backupEnded: "Failed" }, "PartiallyFailed/Completed: its Backup ended Failed"],
    ["what was moved counts, whatever was asked for since", { synchronization: { state: "done" }, cancelRequested: true }, "SnapshotBackupDone/Completed"],
    ["how much was moved is noted, once", { synchronization: { state: "done", bytes: 9 } }, "noteProgress"],
    ["and is not asked for again", { synchronization: { state: "done", bytes: 9 }, progressNoted: true }, "SnapshotBackupDone/Completed"],
    ["it passes through the phases of then", { phase: "SnapshotBackupDone" }, "Cleanup/Completed"],
    ["it cleans up", { phase: "Cleanup", cleanUp: dust }, "sweep"],
    ["it waits until all is gone", { phase: "Cleanup", cleanUp: { state: "wait", reason: "a pod to be gone" } }, "waits for a pod to be gone"],
    ["it ends", { phase: "Cleanup" }, "Completed/Completed: Completed"],
    ["deleting it takes everything along", { deleting: true, cleanUp: dust }, "sweep"],
    ["and then lets it go", { deleting: true }, "removeFinalizer"],
    ["a phase that nobody knows is over", { phase: "Whatever" as BackupPhase }, ""],
  ])("%s", (_what, over, steps) => expect(did(over)).toBe(steps));

  it.each<BackupPhase>(["Completed", "PartiallyFailed", "Failed"])("%s is the end, and leaves nothing behind", (phase) => {
    expect(did({ phase, cancelRequested: true, finalizer: false })).toBe("");
    expect(did({ phase })).toBe("removeFinalizer");
    expect(did({ phase, cleanUp: dust })).toBe("sweep");
  });
});

let client: FakeKubeClient;
let clock: VirtualClock;
let storage: SimulatedStorage;
let volsync: ScriptedVolSync;
let controller: RunningController | undefined;
beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({
    clock,
    random: seededRandom(7),
    statusSubresources: ["volumesnapshotbackups.datamover.oadp.openshift.io", "replicationsources.volsync.backube"],
  });
  storage = new SimulatedStorage(client, { namespace: NS });
  volsync = new ScriptedVolSync(client);
  client.seed(backupStorageLocations, {
    metadata: { namespace: NS, name: "dpa-1" },
    spec: { provider: "aws", objectStorage: { bucket: "b", prefix: "velero" }, config: { s3Url: "https://s3.example.com/" } },
  });
  client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com" });
  client.seed(secrets, { metadata: { namespace: NS, name: "dm-credential" }, data: { RESTIC_PASSWORD: Buffer.from("open sesame").toString("base64") } });
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
});

function start(settings: Partial<VolSyncEraSettings> = {}): void {
  controller = startVolumeSnapshotBackupController({
    client,
    clock,
    random: seededRandom(3),
    logger: nullLogger,
    namespace: NS,
    settings: { ...defaultVolSyncEraSettings, ...settings },
    environment: async () => ({ AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "key", AWS_DEFAULT_REGION: "eu" }),
    holder: { image: "drayage/dray:test", command: ["/dray", "hold"] },
  });
}

/** A claim, its snapshot as a backup cuts it, and the VolumeSnapshotBackup of that. */
function seedVolume(name: string, { claim = {}, meta = {} }: { claim?: Record<string, unknown>; meta?: Partial<VolumeSnapshotBackup["metadata"]> } = {}): void {
  client.seed(persistentVolumeClaims, {
    metadata: { namespace: "shop", name: "files" },
    spec: { accessModes: ["ReadWriteOnce"], storageClassName: "csi", volumeName: "pv", resources: { requests: { storage: "1Gi" } }, ...claim },
    status: { phase: "Bound" },
  });
  storage.seedSnapshot("shop", name);
  client.seed(volumeSnapshotBackups, {
    metadata: { namespace: "shop", name: `vsb-${name}`, labels: { "velero.io/backup-name": "daily" }, ...meta },
    spec: { volumeSnapshotContent: { name: `snapcontent-${name}` }, protectedNamespace: NS, resticSecretRef: { name: "dpa-1-volsync-restic" } },
  });
}

const statusOf = (name: string) => client.peek(volumeSnapshotBackups, { namespace: "shop", name: `vsb-${name}` })?.status;
const messageOf = (name: string): string | undefined => statusOf(name)?.conditions?.find(({ type }) => type === "Reconciled")?.message;
const own = <T extends KubeObject>(objects: readonly T[]): T[] =>
  objects.filter(({ metadata }) => metadata.annotations?.["drayage.io/owner-uid"] !== undefined);

function children(): string[] {
  const all = [persistentVolumeClaims, pods, secrets, volumeSnapshots, volumeSnapshotContents, replicationSources].flatMap((type) =>
    own(client.all<KubeObject>(type)),
  );
  return all.map(({ metadata }) => metadata.name ?? "").sort();
}

async function until(look: () => boolean, steps = 400): Promise<void> {
  for (let step = 0; step < steps; step++) {
    if (look()) return;
    await clock.advance(2_000);
    await settle();
  }
  throw new Error(`it came to rest: ${JSON.stringify(client.all(volumeSnapshotBackups).map(({ status }) => status))} ${children().join(", ")}`);
}
const ends = (name: string, phase: string): Promise<void> => until(() => statusOf(name)?.phase === phase && children().length === 0);

/** What is there of the storage once nothing is on its way: the application's volume and snapshot. */
function expectNothingLeft(...names: string[]): void {
  expect(children()).toEqual([]);
  expect(client.all(persistentVolumes)).toEqual([]);
  expect([...storage.snapshots].sort()).toEqual(names.map((name) => `handle-${name}`).sort());
  expect(client.all(volumeSnapshots).map(({ metadata }) => metadata.namespace)).toEqual(names.map(() => "shop"));
}

describe("a VolumeSnapshotBackup", () => {
  it("makes what OADP 1.2 made: a copy of the snapshot, a volume and a pod, a Secret of its own, and a ReplicationSource", async () => {
    volsync.answer = "runs";
    seedVolume("a");
    start();
    await until(() => statusOf("a")?.replicationSourceData?.startTimestamp !== undefined);
    expect(children()).toEqual([
      "snapcontent-a-clone",
      "snapcontent-a-clone-volumesnapshot",
      "snapcontent-a-pvc",
      "vsb-a-pod",
      "vsb-a-rep-src",
      "vsb-a-secret",
    ]);
    expect(client.peek(volumeSnapshotContents, { name: "snapcontent-a-clone" })?.spec).toMatchObject({
      source: { snapshotHandle: "handle-a" },
      volumeSnapshotRef: { namespace: NS, name: "snapcontent-a-clone-volumesnapshot" },
      deletionPolicy: "Retain",
    });
    expect(client.peek(persistentVolumeClaims, { namespace: NS, name: "snapcontent-a-pvc" })?.spec).toMatchObject({
      storageClassName: "csi",
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "1Gi" } },
      dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "snapcontent-a-clone-volumesnapshot" },
    });
    expect(client.peek(replicationSources, { namespace: NS, name: "vsb-a-rep-src" })).toMatchObject({
      metadata: { labels: { "datamover.oadp.openshift.io/vsb": "vsb-a" } },
      spec: {
        sourcePVC: "snapcontent-a-pvc",
        trigger: { manual: "vsb-a-trigger" },
        restic: { repository: "vsb-a-secret", copyMethod: "Direct", storageClassName: "csi", volumeSnapshotClassName: "csi", accessModes: ["ReadWriteOnce"] },
      },
    });
    expect(statusOf("a")).toMatchObject({
      phase: "InProgress",
      batchingStatus: "Processing",
      sourcePVCData: { name: "files", size: "1Gi", storageClassName: "csi" },
      volumeSnapshotClassName: "csi",
      resticrepository: `s3:https://s3.example.com/b/${NS}/daily/snapcontent-a-pvc`,
      replicationSourceData: { name: "vsb-a-rep-src" },
    });
  });

  it("opens its repository with the location's Secret, which is made from the user's", async () => {
    volsync.answer = "runs";
    seedVolume("a");
    start();
    await until(() => client.peek(secrets, { namespace: NS, name: "vsb-a-secret" }) !== undefined);
    const texts = (name: string) => {
      const data = client.peek(secrets, { namespace: NS, name })?.data ?? {};
      return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
    };
    const store = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "key", AWS_DEFAULT_REGION: "eu", RESTIC_PASSWORD: "open sesame" };
    expect(texts("dpa-1-volsync-restic")).toEqual({ ...store, RESTIC_REPOSITORY: "s3:https://s3.example.com/b" });
    expect(texts("vsb-a-secret")).toEqual({ ...store, RESTIC_REPOSITORY: `s3:https://s3.example.com/b/${NS}/daily/snapcontent-a-pvc` });
    expect(client.peek(secrets, { namespace: NS, name: "dpa-1-volsync-restic" })?.metadata.labels).toEqual({
      "openshift.io/oadp": "True",
      "openshift.io/oadp-bsl-name": "dpa-1",
      "openshift.io/oadp-bsl-provider": "aws",
    });
  });

  it("completes when VolSync has moved the data, and leaves the application's snapshot and nothing else", async () => {
    seedVolume("a");
    start();
    await ends("a", "Completed");
    expectNothingLeft("a");
    expect(statusOf("a")).toMatchObject({ batchingStatus: "Completed", conditions: [{ type: "Reconciled", status: "True", reason: "Complete" }] });
    expect(statusOf("a")?.replicationSourceData?.completionTimestamp).toBeDefined();
    expect(statusOf("a")?.completionTimestamp).toBeDefined();
  });

  it("says in an annotation how much VolSync moved, for which its status has no field", async () => {
    seedVolume("a");
    start();
    await ends("a", "Completed");
    const { annotations } = client.peek(volumeSnapshotBackups, { namespace: "shop", name: "vsb-a" })?.metadata ?? {};
    expect(JSON.parse(annotations?.["drayage.io/progress"] ?? "")).toEqual({ bytesDone: 36.5 * 2 ** 20, totalBytes: 36.5 * 2 ** 20 });
  });

  it("does as the options of its storage class say", async () => {
    volsync.answer = "runs";
    client.seed(storageClasses, { metadata: { name: "shallow" }, provisioner: "csi.example.com" });
    client.seed(configMaps, {
      metadata: { namespace: NS, name: "csi-config" },
      data: {
        SourceStorageClassName: "shallow",
        SourceAccessMode: "ReadOnlyMany",
        SourceCacheStorageClassName: "csi",
        SourceCacheAccessMode: "ReadWriteMany",
        SourceCacheCapacity: "2Gi",
        SourceMoverServiceAccount: "mover",
        SnapshotRetainPolicyDaily: "3",
        SnapshotRetainPolicyHourly: "0",
        SnapshotRetainPolicyWithin: "3h",
        DestinationStorageClassName: "other",
      },
    });
    client.seed(secrets, {
      metadata: { namespace: NS, name: "dpa-1-volsync-restic" },
      data: { "restic-prune-interval": Buffer.from("14").toString("base64") },
    });
    seedVolume("a");
    start();
    await until(() => client.all(replicationSources).length === 1);
    expect(client.peek(persistentVolumeClaims, { namespace: NS, name: "snapcontent-a-pvc" })?.spec).toMatchObject({
      storageClassName: "shallow",
      accessModes: ["ReadOnlyMany"],
    });
    expect(client.all(replicationSources)[0]?.spec?.restic).toMatchObject({
      storageClassName: "shallow",
      accessModes: ["ReadOnlyMany"],
      cacheStorageClassName: "csi",
      cacheAccessModes: ["ReadWriteMany"],
      cacheCapacity: "2Gi",
      moverServiceAccount: "mover",
      retain: { daily: 3, within: "3h" },
      pruneIntervalDays: 14,
    });
  });

  it("is left alone when another installation protects it", async () => {
    seedVolume("a");
    client.mutate(volumeSnapshotBackups, { namespace: "shop", name: "vsb-a" }, (backup) => {
      backup.spec.protectedNamespace = "elsewhere";
    });
    start();
    await clock.advance(120_000);
    await settle();
    expect(statusOf("a")).toBeUndefined();
    expect(children()).toEqual([]);
  });

  it("waits for its turn, which what fails gives up as well", async () => {
    volsync.answer = "runs";
    for (const name of ["a", "b", "c"]) seedVolume(name);
    start({ concurrentBackups: 1 });
    await until(() => client.all(replicationSources).length === 1);
    await clock.advance(60_000);
    await settle();
    expect(["a", "b", "c"].map((name) => statusOf(name)?.batchingStatus)).toEqual(["Processing", "Queued", "Queued"]);
    volsync.answer = "fails";
    volsync.nudge();
    await until(() => statusOf("a")?.phase === "Failed" && statusOf("b")?.phase === "Failed" && statusOf("c")?.phase === "Failed" && children().length === 0);
    expectNothingLeft("a", "b", "c");
  });

  it("has its turn without regard to the volumes of other backups", async () => {
    volsync.answer = "runs";
    for (const name of ["a", "b"]) seedVolume(name);
    for (const name of ["c", "d"]) seedVolume(name, { meta: { labels: { "velero.io/backup-name": "weekly" } } });
    start({ concurrentBackups: 1 });
    await until(() => client.all(replicationSources).length === 2);
    await clock.advance(60_000);
    await settle();
    expect(["a", "b", "c", "d"].map((name) => statusOf(name)?.batchingStatus)).toEqual(["Processing", "Queued", "Processing", "Queued"]);
  });

  it("goes on where a process before it stopped, after every step", async () => {
    for (let calls = 1; ; calls++) {
      const name = `n${calls}`;
      seedVolume(name);
      let left = calls;
      let died = false;
      client.intercept = ({ verb }) => {
        if (died || ["get", "list", "watch", "find"].includes(verb)) return;
        if (left-- === 0) died = true;
      };
      start();
      await until(() => died || statusOf(name)?.phase === "Completed");
      await controller?.stop();
      client.intercept = undefined;
      start();
      await ends(name, "Completed");
      await controller?.stop();
      if (!died) {
        expect(calls).toBeGreaterThan(10);
        return;
      }
    }
  });
});

describe("trouble of a VolumeSnapshotBackup is told, ends within its time, and leaves nothing behind:", () => {
  it.each<[what: string, arrange: () => void, message: RegExp]>([
    [
      "a Secret without its key",
      () => client.seed(secrets, { metadata: { namespace: NS, name: "dm-credential" }, data: { PASSWORD: "eA==" } }),
      /secret "openshift-adp\/dm-credential" has no key "RESTIC_PASSWORD"/,
    ],
    ["no Secret at all", () => client.discard(secrets, { namespace: NS, name: "dm-credential" }), /secret "openshift-adp\/dm-credential" is not there/],
    [
      "a storage class that does not exist any more",
      () => client.discard(storageClasses, { name: "csi" }),
      /storage class "csi" does not exist: create it, or name another one/,
    ],
    [
      "a location that does not exist",
      () => client.discard(backupStorageLocations, { namespace: NS, name: "dpa-1" }),
      /backup storage location "dpa-1": it does not exist/,
    ],
    [
      "a snapshot that does not exist any more",
      () => client.discard(volumeSnapshotContents, { name: "snapcontent-a" }),
      /volume snapshot content "snapcontent-a" does not exist/,
    ],
    ["a volume of mode Block", () => seedVolume("a", { claim: { volumeMode: "Block" } }), /is of mode Block, and VolSync's restic moves files/],
    [
      "the snapshot of another namespace",
      () => {
        storage.seedSnapshot("bank", "a");
        client.mutate(volumeSnapshotContents, { name: "snapcontent-a" }, (content) => {
          content.spec.volumeSnapshotRef = { namespace: "bank", name: "a" };
        });
      },
      /is of namespace "bank", and this object is of "shop"/,
    ],
    [
      "settings that are no numbers",
      () => client.seed(configMaps, { metadata: { namespace: NS, name: "csi-config" }, data: { SnapshotRetainPolicyDaily: "many" } }),
      /"SnapshotRetainPolicyDaily" of the data mover's settings: it is "many", a whole number is wanted/,
    ],
    [
      "an object of that name that belongs to somebody else",
      () => client.seed(secrets, { metadata: { namespace: NS, name: "vsb-a-secret" } }),
      /secrets "openshift-adp\/vsb-a-secret" is there already and belongs to something else/,
    ],
    ["a mover that fails", () => Object.assign(volsync, { answer: "fails" }), /VolSync could not move the data: Fatal: wrong password or no key found/],
    ["a VolSync that cannot begin", () => Object.assign(volsync, { answer: "errors" }), /VolSync could not move the data: the secret is missing/],
    [
      "a VolSync that never answers",
      () => Object.assign(volsync, { answer: "is silent" }),
      /VolSync did not answer within 600 s: nobody has taken up its ReplicationSource/,
    ],
    ["a VolSync that never ends", () => Object.assign(volsync, { answer: "runs" }), /the data was not moved within 14400 s/],
    ["an image that cannot be pulled", () => Object.assign(storage.options, { kubelet: "cannot-pull" }), /no such image|ImagePullBackOff/],
  ])("%s", async (_what, arrange, message) => {
    seedVolume("a");
    arrange();
    start();
    await until(() => statusOf("a")?.phase === "Failed" && children().length === 0, 8_000);
    expect(messageOf("a")).toMatch(message);
    expect(statusOf("a")?.batchingStatus).toBe("Completed");
    expect(client.all(persistentVolumes)).toEqual([]);
  });

  it("its Backup failed", async () => {
    volsync.answer = "runs";
    seedVolume("a");
    start();
    await until(() => client.all(replicationSources).length === 1);
    client.seed(backups, { metadata: { namespace: NS, name: "daily" }, spec: {}, status: { phase: "Failed" } });
    await ends("a", "PartiallyFailed");
    expectNothingLeft("a");
  });

  it.each(["canceled", "deleted"])("it is %s", async (what) => {
    volsync.answer = "runs";
    seedVolume("a");
    start();
    await until(() => client.all(replicationSources).length === 1);
    const key = { namespace: "shop", name: "vsb-a" };
    if (what === "deleted") await client.delete(volumeSnapshotBackups, key);
    else await client.patch(volumeSnapshotBackups, key, "merge", { metadata: { annotations: { "drayage.io/cancel": "true" } } });
    await until(
      () => (what === "deleted" ? client.peek(volumeSnapshotBackups, key) === undefined : statusOf("a")?.phase === "Failed") && children().length === 0,
    );
    expectNothingLeft("a");
  });
});
