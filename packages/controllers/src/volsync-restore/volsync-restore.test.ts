import {
  type Backup,
  backupStorageLocations,
  type Restore,
  replicationDestinations,
  restores,
  type VolumeSnapshot,
  type VolumeSnapshotRestore,
  validLabelValue,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshotRestores,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { configMaps, type GenericObject, type PersistentVolumeClaim, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createVolSyncSnapshotAction, fillFromVolSync } from "../actions/volsync-snapshot-restore.ts";
import { MovedVolumes } from "../actions/volume-snapshot-backup-restore-action.ts";
import type { RunningController } from "../backup/backup-controller.ts";
import { ScriptedVolSync } from "../testing/scripted-volsync.ts";
import { SimulatedStorage } from "../testing/simulated-storage.ts";
import { defaultVolSyncEraSettings, type VolSyncEraSettings } from "../volsync-era/settings.ts";
import { startVolSyncRestoreController } from "./volsync-restore-controller.ts";

const NS = "openshift-adp";

let client: FakeKubeClient;
let clock: VirtualClock;
let volsync: ScriptedVolSync;
let controller: RunningController | undefined;
beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({
    clock,
    random: seededRandom(7),
    statusSubresources: ["volumesnapshotrestores.datamover.oadp.openshift.io", "replicationdestinations.volsync.backube"],
  });
  new SimulatedStorage(client, { namespace: NS });
  volsync = new ScriptedVolSync(client);
  volsync.successLogs = "Restored snapshot 1a2b3c4d of 2023-04-05T06:07:08Z: 3 files, 2048 bytes";
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "copied" } } });
  client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com" });
  client.seed(volumeSnapshotClasses, { metadata: { name: "snap" }, driver: "csi.example.com", deletionPolicy: "Delete" });
  client.seed(secrets, { metadata: { namespace: NS, name: "dm-credential" }, data: { RESTIC_PASSWORD: Buffer.from("open sesame").toString("base64") } });
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
});

function start(settings: Partial<VolSyncEraSettings> = {}): void {
  controller = startVolSyncRestoreController({
    client,
    clock,
    random: seededRandom(3),
    logger: nullLogger,
    namespace: NS,
    settings: { ...defaultVolSyncEraSettings, ...settings },
    environment: async () => ({ AWS_ACCESS_KEY_ID: "id" }),
  });
}

function seedRestore(name: string, over: Partial<VolumeSnapshotRestore["spec"]> = {}, labels: Record<string, string> = {}): void {
  client.seed(volumeSnapshotRestores, {
    metadata: { namespace: "shop", name, labels, annotations: { "drayage.io/backup-storage-location": "default", "drayage.io/restore-into": "snapshot" } },
    spec: {
      protectedNamespace: NS,
      resticSecretRef: { name: "default-volsync-restic" },
      volumeSnapshotMoverBackupRef: {
        resticrepository: "s3:https://s3.example.com/of-then/openshift-adp/daily/c-pvc",
        sourcePVCData: { name: "files", size: "2Gi", storageClassName: "csi" },
        volumeSnapshotClassName: "snap",
      },
      ...over,
    },
  });
}

const statusOf = (name: string) => client.peek(volumeSnapshotRestores, { namespace: "shop", name })?.status;
const messageOf = (name: string): string | undefined => statusOf(name)?.conditions?.find(({ type }) => type === "Reconciled")?.message;

function left(): string[] {
  client.collectGarbage();
  return [
    ...client.all(replicationDestinations),
    ...client.all(volumeSnapshots),
    ...client.all(volumeSnapshotContents),
    ...client.all(secrets).filter(({ metadata }) => metadata.name?.startsWith("vsr") === true),
  ].map(({ metadata }) => metadata.name ?? "");
}

async function until(look: () => boolean, steps = 400): Promise<void> {
  for (let step = 0; step < steps; step++) {
    if (look()) return;
    await clock.advance(2_000);
    await settle();
  }
  throw new Error(`it came to rest: ${JSON.stringify(client.all(volumeSnapshotRestores).map(({ status }) => status))} ${left().join(", ")}`);
}

describe("a VolumeSnapshotRestore that VolSync carries out", () => {
  it("makes what OADP 1.2 made: a Secret of its own, and a ReplicationDestination that ends in a snapshot", async () => {
    volsync.answer = "runs";
    seedRestore("vsr-1");
    start();
    await until(() => statusOf("vsr-1")?.replicationDestinationData?.startTimestamp !== undefined);
    expect(client.peek(replicationDestinations, { namespace: NS, name: "vsr-1-rep-dest" })).toMatchObject({
      metadata: { labels: { "datamover.oadp.openshift.io/vsr": "vsr-1" } },
      spec: {
        trigger: { manual: "vsr-1-trigger" },
        restic: {
          repository: "vsr-1-secret",
          copyMethod: "Snapshot",
          capacity: "2Gi",
          accessModes: ["ReadWriteOnce"],
          storageClassName: "csi",
          volumeSnapshotClassName: "snap",
        },
      },
    });
    const repository = Buffer.from(client.peek(secrets, { namespace: NS, name: "vsr-1-secret" })?.data?.["RESTIC_REPOSITORY"] ?? "", "base64").toString();
    // The bucket is the location's of today, the path that of then.
    expect(repository).toBe("s3:s3.amazonaws.com/copied/openshift-adp/daily/c-pvc");
  });

  it("ends with a snapshot in the storage that its status names, and nothing else", async () => {
    seedRestore("vsr-1");
    start();
    await until(() => statusOf("vsr-1")?.phase === "Completed" && left().length === 0);
    expect(statusOf("vsr-1")).toMatchObject({ batchingStatus: "Completed", conditions: [{ type: "Reconciled", status: "True" }] });
    expect(statusOf("vsr-1")?.snapshotHandle).toMatch(/^handle-volsync-vsr-1-rep-dest/);
    const { metadata } = await client.get(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" });
    expect(metadata.finalizers ?? []).toEqual([]);
    expect(metadata.annotations?.["drayage.io/progress"]).toBe('{"bytesDone":2048,"totalBytes":2048}');
  });

  it("keeps the snapshot in the storage wherever a process stops", async () => {
    for (let calls = 1; ; calls++) {
      const name = `vsr-${calls}`;
      seedRestore(name);
      let remaining = calls;
      let died = false;
      const policies: string[] = [];
      client.react(volumeSnapshotContents, (before, after) => {
        if (after === undefined && before !== undefined) policies.push(before.spec.deletionPolicy);
      });
      client.intercept = ({ verb }) => {
        if (died || ["get", "list", "watch", "find"].includes(verb)) return;
        if (remaining-- === 0) died = true;
      };
      start();
      await until(() => died || statusOf(name)?.phase === "Completed");
      await controller?.stop();
      client.intercept = undefined;
      start();
      await until(() => statusOf(name)?.phase === "Completed" && left().length === 0);
      await controller?.stop();
      expect(policies.every((policy) => policy === "Retain")).toBe(true);
      if (!died) {
        expect(calls).toBeGreaterThan(6);
        return;
      }
    }
  });

  it("restores into the class that the options of the claim's class name", async () => {
    volsync.answer = "runs";
    client.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "csi.example.com" });
    client.seed(configMaps, {
      metadata: { namespace: NS, name: "csi-config" },
      data: { DestinationStorageClassName: "fast", DestinationAccessMode: "ReadWriteMany", DestinationCacheCapacity: "3Gi", SourceStorageClassName: "other" },
    });
    client.discard(storageClasses, { name: "csi" });
    seedRestore("vsr-1");
    start();
    await until(() => client.all(replicationDestinations).length === 1);
    expect(client.all(replicationDestinations)[0]?.spec?.restic).toMatchObject({
      storageClassName: "fast",
      accessModes: ["ReadWriteMany"],
      cacheCapacity: "3Gi",
    });
  });

  it("waits for its turn", async () => {
    volsync.answer = "runs";
    seedRestore("vsr-1");
    seedRestore("vsr-2");
    start({ concurrentRestores: 1 });
    await until(() => client.all(replicationDestinations).length === 1);
    await clock.advance(60_000);
    await settle();
    expect(client.all(volumeSnapshotRestores).map(({ status }) => status?.batchingStatus)).toEqual(["Processing", "Queued"]);
  });

  it("has its turn without regard to the volumes of other restores, and hands its place on when it fails", async () => {
    volsync.answer = "runs";
    for (const name of ["vsr-1", "vsr-2"]) seedRestore(name, {}, { "velero.io/restore-name": "monday" });
    for (const name of ["vsr-3", "vsr-4"]) seedRestore(name, {}, { "velero.io/restore-name": "tuesday" });
    start({ concurrentRestores: 1 });
    await until(() => client.all(replicationDestinations).length === 2);
    await clock.advance(60_000);
    await settle();
    expect(["vsr-1", "vsr-2", "vsr-3", "vsr-4"].map((name) => statusOf(name)?.batchingStatus)).toEqual(["Processing", "Queued", "Processing", "Queued"]);
    // The time to prepare begins with the turn.
    expect(["vsr-1", "vsr-2"].map((name) => statusOf(name)?.startTimestamp !== undefined)).toEqual([true, false]);
    await client.patch(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" }, "merge", { metadata: { annotations: { "drayage.io/cancel": "true" } } });
    await until(() => statusOf("vsr-1")?.phase === "Failed" && statusOf("vsr-2")?.batchingStatus === "Processing");
    expect(["vsr-3", "vsr-4"].map((name) => statusOf(name)?.batchingStatus)).toEqual(["Processing", "Queued"]);
    expect(statusOf("vsr-2")?.startTimestamp).toBeDefined();
  });
});

describe("the snapshot of a VolumeSnapshotRestore that a Restore made", () => {
  const LONG = `nightly-${"of-all-that-there-is-".repeat(3)}`;
  /** What its contents were told to do with it when they went. */
  let policies: string[];
  beforeEach(() => {
    policies = [];
    client.react(volumeSnapshotContents, (before, after) => {
      if (after === undefined && before !== undefined) policies.push(before.spec.deletionPolicy);
    });
  });
  function seedBoth(name = "monday", phase: NonNullable<Restore["status"]>["phase"] = "InProgress", uid = "u"): void {
    client.seed(restores, { metadata: { namespace: NS, name, uid }, spec: {}, status: { phase } });
    seedRestore("vsr-1", {}, { "velero.io/restore-name": validLabelValue(name) });
    client.mutate(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" }, ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, "drayage.io/restore-uid": "u" };
    });
    start();
  }
  const finalizers = () => client.peek(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" })?.metadata.finalizers ?? [];
  const isWaiting = () => statusOf("vsr-1")?.phase === "Completed" && client.all(replicationDestinations).length === 0;

  it("has a content that stands for it until the Restore has one of its own", async () => {
    seedBoth();
    await until(isWaiting);
    await clock.advance(600_000);
    await settle();
    const handle = statusOf("vsr-1")?.snapshotHandle;
    expect(client.all(volumeSnapshotContents)).toMatchObject([{ spec: { deletionPolicy: "Retain" }, status: { snapshotHandle: handle } }]);
    expect(client.all(volumeSnapshots)).toEqual([]);
    client.seed(volumeSnapshotContents, {
      metadata: { name: "of-the-restore", labels: { "velero.io/restore-name": "monday" } },
      spec: { deletionPolicy: "Delete", driver: "d", source: { snapshotHandle: handle ?? "" }, volumeSnapshotRef: { namespace: "shop", name: "vs" } },
    });
    client.mutate(restores, { namespace: NS, name: "monday" }, (restore) => {
      restore.status = { phase: "Completed" };
    });
    await until(() => finalizers().length === 0);
    expect(policies).toEqual(["Retain"]);
    expect(left()).toEqual(["of-the-restore"]);
  });

  it.each<[what: string, seed: () => void, end: () => void]>([
    [
      "that ended without it",
      () => seedBoth(),
      () =>
        client.mutate(restores, { namespace: NS, name: "monday" }, (restore) => {
          restore.status = { phase: "Failed" };
        }),
    ],
    ["that is gone", () => seedBoth(), () => client.discard(restores, { namespace: NS, name: "monday" })],
    ["in whose place there is another one of its name", () => seedBoth("monday", "InProgress", "another"), () => undefined],
    [
      "whose name is too long for a label",
      () => seedBoth(LONG),
      () =>
        client.mutate(restores, { namespace: NS, name: LONG }, (restore) => {
          restore.status = { phase: "PartiallyFailed" };
        }),
    ],
  ])("goes with a Restore %s", async (_what, seed, end) => {
    seed();
    await until(isWaiting);
    end();
    await until(() => finalizers().length === 0);
    expect(policies).toEqual(["Delete"]);
    expect(left()).toEqual([]);
  });

  it("stays while a Restore whose name is too long for a label is under way", async () => {
    seedBoth(LONG);
    await until(isWaiting);
    await clock.advance(600_000);
    await settle();
    expect(policies).toEqual([]);
    expect(client.all(volumeSnapshotContents)).toMatchObject([{ spec: { deletionPolicy: "Retain" } }]);
  });

  it("goes with it when it is deleted before anybody was told of its end", async () => {
    seedBoth();
    client.intercept = ({ verb, resource }) => {
      if (verb === "delete" && resource.startsWith("volumesnapshots.")) throw new DrayError("KUBE_UNAVAILABLE", "the server is gone");
    };
    await until(() => statusOf("vsr-1")?.phase === "Cleanup");
    await client.delete(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" });
    client.intercept = undefined;
    await until(() => client.peek(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" }) === undefined);
    expect(policies).toEqual(["Delete"]);
    expect(left()).toEqual([]);
  });
});

describe("trouble of a VolumeSnapshotRestore is told, ends within its time, and leaves nothing behind:", () => {
  it.each<[what: string, arrange: () => void, message: RegExp]>([
    [
      "a Secret without its key",
      () => client.seed(secrets, { metadata: { namespace: NS, name: "dm-credential" }, data: { PASSWORD: "eA==" } }),
      /secret "openshift-adp\/dm-credential" has no key "RESTIC_PASSWORD"/,
    ],
    [
      "a storage class that does not exist here",
      () => client.discard(storageClasses, { name: "csi" }),
      /storage class "csi" does not exist in this cluster: create it, or name/,
    ],
    [
      "a snapshot class that does not exist here",
      () => client.discard(volumeSnapshotClasses, { name: "snap" }),
      /volume snapshot class "snap" does not exist in this cluster/,
    ],
    ["no repository", () => seedRestore("vsr-1", { volumeSnapshotMoverBackupRef: {} }), /resticrepository is missing/],
    [
      "a volume that is smaller than the data",
      () => Object.assign(volsync, { answer: "fails", logs: "restoring to /data\nwrite /data/big: no space left on device\nFatal: There were 1 errors\n" }),
      /VolSync could not restore the data: restoring to \/data; write \/data\/big: no space left on device; Fatal/,
    ],
    ["a VolSync that cannot begin", () => Object.assign(volsync, { answer: "errors" }), /VolSync could not restore the data: the secret is missing/],
    ["a VolSync that never answers", () => Object.assign(volsync, { answer: "is silent" }), /VolSync did not answer within 600 s/],
    [
      "a VolSync that never ends",
      () => Object.assign(volsync, { answer: "runs" }),
      /the data was not restored within 14400 s: it waited for VolSync to restore the data/,
    ],
  ])("%s", async (_what, arrange, message) => {
    seedRestore("vsr-1");
    arrange();
    start();
    await until(() => statusOf("vsr-1")?.phase === "Failed" && left().length === 0, 8_000);
    expect(messageOf("vsr-1")).toMatch(message);
  });

  it.each(["canceled", "deleted"])("it is %s", async (what) => {
    volsync.answer = "runs";
    seedRestore("vsr-1");
    start();
    await until(() => client.all(replicationDestinations).length === 1);
    const key = { namespace: "shop", name: "vsr-1" };
    if (what === "deleted") await client.delete(volumeSnapshotRestores, key);
    else await client.patch(volumeSnapshotRestores, key, "merge", { metadata: { annotations: { "drayage.io/cancel": "true" } } });
    await until(
      () => (what === "deleted" ? client.peek(volumeSnapshotRestores, key) === undefined : statusOf("vsr-1")?.phase === "Failed") && left().length === 0,
    );
  });
});

describe("a claim whose data VolSync brings back", () => {
  const claim = (): PersistentVolumeClaim => ({
    metadata: { namespace: "shop", name: "files" },
    spec: { volumeName: "pv-of-then", storageClassName: "csi", resources: { requests: { storage: "1Gi" } } },
  });
  const stored: VolumeSnapshot = {
    metadata: { namespace: "shop", name: "velero-files-x", annotations: { "velero.io/csi-driver-name": "of.then" } },
    spec: { source: { persistentVolumeClaimName: "files" } },
  };
  const restore: Restore = { metadata: { name: "r", uid: "u" }, spec: { itemOperationTimeout: "1h" } };
  const context = (item: unknown) => ({
    restore,
    backup: { metadata: { name: "b" }, spec: {} } as Backup,
    itemFromBackup: item as GenericObject,
    targetNamespace: "shop-2",
    log: nullLogger,
    signal: new AbortController().signal,
  });
  /** Runs work that waits, while time goes on. */
  async function during<T>(work: Promise<T>): Promise<T> {
    let ended = false;
    const done = work.finally(() => {
      ended = true;
    });
    done.catch(() => undefined);
    for (let step = 0; step < 3_000 && !ended; step++) {
      await clock.advance(2_000);
      await settle();
    }
    return done;
  }
  const options = (moved: MovedVolumes) => ({ client, clock, namespace: NS, moved, timeoutMs: 3_600_000 });

  it("is made from its snapshot, which comes back under the name that it had and goes with it", async () => {
    const moved = new MovedVolumes();
    moved.add("shop", "files", { restore: { namespace: "shop", name: "vsr-1" } });
    seedRestore("vsr-1");
    start();
    const result = await during(createVolSyncSnapshotAction(options(moved)).execute(stored as unknown as GenericObject, context(stored)));
    expect(result.skip).toBe(true);
    const item = claim();
    await during(fillFromVolSync(options(moved), item, { restore: { namespace: "shop", name: "vsr-1" }, ...moved.of("shop", "files") }, context(item)));
    expect(item.spec).toMatchObject({
      dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "velero-files-x" },
      // As large as the volume was that the snapshot is of.
      resources: { requests: { storage: "2Gi" } },
    });
    expect(item.spec.volumeName).toBeUndefined();
    expect(client.all(volumeSnapshots).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual(["shop-2/velero-files-x"]);
    expect(client.all(volumeSnapshotContents)).toMatchObject([
      {
        metadata: { finalizers: ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"] },
        spec: { driver: "csi.example.com", deletionPolicy: "Delete", source: { snapshotHandle: statusOf("vsr-1")?.snapshotHandle } },
      },
    ]);
  });

  it("is made from one of the restore's own where the backup holds none", async () => {
    seedRestore("vsr-1");
    start();
    const item = claim();
    await during(fillFromVolSync(options(new MovedVolumes()), item, { restore: { namespace: "shop", name: "vsr-1" } }, context(item)));
    expect(client.peek(volumeSnapshots, { namespace: "shop-2", name: item.spec.dataSource?.name ?? "" })).toBeDefined();
  });

  it("is told why it has no data: its VolumeSnapshotRestore failed, or took too long", async () => {
    volsync.answer = "fails";
    const moved = new MovedVolumes();
    moved.add("shop", "files", { restore: { namespace: "shop", name: "vsr-1" } });
    seedRestore("vsr-1");
    start();
    await during(createVolSyncSnapshotAction(options(moved)).execute(stored as unknown as GenericObject, context(stored)));
    expect(moved.of("shop", "files")?.problem).toMatch(/"shop\/vsr-1": it ended Failed: VolSync could not restore the data: Fatal: wrong password/);
    volsync.answer = "runs";
    seedRestore("vsr-2");
    const late = during(fillFromVolSync(options(moved), claim(), { restore: { namespace: "shop", name: "vsr-2" } }, context(claim())));
    await expect(late).rejects.toThrow(/"shop\/vsr-2": it has not ended within 3600 s/);
  });
});
