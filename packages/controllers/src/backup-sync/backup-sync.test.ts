import { type Backup, type BackupStorageLocation, backupStorageLocations, backups, type PodVolumeBackup, podVolumeBackups, schedules } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import type { Controller, GenericObject } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { decide, importedBackup, type Observed, orphans, phaseToImport } from "./backup-sync.ts";
import { startBackupSyncController } from "./backup-sync-controller.ts";

const NOW_MS = Date.UTC(2026, 10, 21);
const location: BackupStorageLocation = {
  metadata: { namespace: "velero", name: "here" },
  spec: { provider: "aws", objectStorage: { bucket: "b" } },
  status: { phase: "Available" },
};

const storedBackup = (name: string, status: Backup["status"] = { phase: "Completed" }, metadata: Partial<Backup["metadata"]> = {}): Backup => ({
  kind: "Backup",
  apiVersion: "velero.io/v1",
  metadata: {
    name,
    namespace: "elsewhere",
    uid: "old-uid",
    resourceVersion: "42",
    creationTimestamp: "2026-01-01T00:00:00Z",
    labels: { tier: "gold", "velero.io/storage-location": "there" },
    annotations: { "velero.io/source-cluster-k8s-gitversion": "v1.34.4" },
    managedFields: [{}],
    ...metadata,
  },
  spec: { storageLocation: "there", includedNamespaces: ["notes"], hooks: { resources: [{ name: "h", pre: [{ exec: { command: ["rm", "-rf"] } }] }] } },
  status,
});

describe("decide()", () => {
  const o = (overrides: Partial<Observed>): Observed => ({ available: true, syncedForMs: 10_000, periodMs: 60_000, syncedHere: true, ...overrides });
  it.each<[string, Partial<Observed>, ReturnType<typeof decide>]>([
    ["a location is read once it is available", { syncedForMs: undefined, syncedHere: false }, { do: "sync" }],
    ["one that is unavailable is not read", { available: false, syncedForMs: undefined }, { do: "nothing" }],
    ["one with period 0 is never read", { periodMs: 0, syncedForMs: undefined }, { do: "nothing" }],
    ["one that this process has not read is read, whatever was stored", { syncedHere: false }, { do: "sync" }],
    ["one that is not due waits", {}, { do: "nothing", recheckAfterMs: 50_000 }],
    ["one that is due is read", { syncedForMs: 61_000 }, { do: "sync" }],
  ])("%s", (_what, overrides, decision) => {
    expect(decide(o(overrides))).toEqual(decision);
  });
});

describe("phaseToImport()", () => {
  const past = formatTime(NOW_MS - 1000);
  const future = formatTime(NOW_MS + 1000);
  it.each<[Backup["status"], ReturnType<typeof phaseToImport>]>([
    [{ phase: "Completed" }, "Completed"],
    [{ phase: "PartiallyFailed" }, "PartiallyFailed"],
    [{ phase: "Failed" }, "Failed"],
    [{ phase: "Finalizing", expiration: future }, undefined],
    [{ phase: "Finalizing", expiration: past }, "PartiallyFailed"],
    [{ phase: "WaitingForPluginOperations", expiration: past }, "PartiallyFailed"],
    [{ phase: "WaitingForPluginOperations" }, undefined],
    [{ phase: "New", expiration: past }, undefined],
    [{ phase: "Deleting", expiration: past }, undefined],
    [{}, undefined],
  ])("of %j is %s", (status, phase) => {
    expect(phaseToImport(storedBackup("b", status), NOW_MS)).toBe(phase);
  });
});

describe("importedBackup()", () => {
  it("is a record in this cluster's terms, without the hooks", () => {
    expect(importedBackup(storedBackup("first", { phase: "Completed", version: 1 }), "Completed", location, [])).toEqual({
      metadata: {
        name: "first",
        namespace: "velero",
        labels: { tier: "gold", "velero.io/storage-location": "here" },
        annotations: { "velero.io/source-cluster-k8s-gitversion": "v1.34.4" },
      },
      spec: { storageLocation: "here", includedNamespaces: ["notes"], hooks: {} },
      status: { phase: "Completed", version: 1 },
    });
  });

  it("keeps the schedule that is here, and no owner that is not", () => {
    const owner = (kind: string, name: string, uid: string) => ({ apiVersion: "velero.io/v1", kind, name, uid });
    const owners = [owner("Schedule", "nightly", "1"), owner("Schedule", "nightly", "2"), owner("Schedule", "gone", "3"), owner("ConfigMap", "x", "4")];
    const live = [{ metadata: { name: "nightly", uid: "2" }, spec: { schedule: "@daily", template: {} } }];
    expect(importedBackup(storedBackup("b", {}, { ownerReferences: owners }), "Completed", location, live).metadata.ownerReferences).toEqual([owners[1]]);
  });
});

describe("orphans()", () => {
  it("are the ended backups of this location that its bucket does not hold", () => {
    const cluster = (name: string, phase: NonNullable<Backup["status"]>["phase"], at = "here"): Backup => ({
      metadata: { name, labels: { "velero.io/storage-location": at } },
      spec: {},
      status: phase === undefined ? {} : { phase },
    });
    const all = [
      cluster("kept", "Completed"),
      cluster("gone", "Completed"),
      cluster("partly", "PartiallyFailed"),
      cluster("failed", "Failed"),
      cluster("running", "InProgress"),
      cluster("other", "Completed", "there"),
    ];
    expect(orphans(all, "here", new Set(["kept"])).map(({ metadata }) => metadata.name)).toEqual(["gone", "partly"]);
  });
});

describe("the backup sync controller", () => {
  let clock: VirtualClock;
  let client: FakeKubeClient;
  let store: MemoryBackupStore;
  let controller: Controller;
  const logger = memoryLogger();

  beforeEach(() => {
    clock = new VirtualClock(NOW_MS);
    client = new FakeKubeClient({ clock });
    store = new MemoryBackupStore();
    logger.records.length = 0;
    client.seed(backupStorageLocations, location);
    controller = startBackupSyncController({ client, clock, random: seededRandom(1), logger, namespace: "velero", stores: store });
  });
  afterEach(() => controller.stop());

  const tick = async (ms = 0): Promise<void> => {
    await clock.advance(ms);
    await settle(20);
    await controller.idle();
  };
  const names = (): unknown[] => client.all(backups).map(({ metadata, status }) => [metadata.name, status?.phase]);

  it("brings the backups of a bucket into a cluster that has none, with their PodVolumeBackups", async () => {
    const volume: PodVolumeBackup = {
      metadata: {
        name: "first-x",
        namespace: "elsewhere",
        labels: { "velero.io/backup-uid": "old-uid" },
        ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Backup", name: "first", uid: "old-uid" }],
      },
      spec: { backupStorageLocation: "there", node: "n", pod: {}, repoIdentifier: "", volume: "v" },
      status: { phase: "Completed", snapshotID: "s" },
    };
    await store.putBackup({ backup: storedBackup("first"), podVolumeBackups: [volume as unknown as GenericObject] });
    await store.putBackup({ backup: storedBackup("running", { phase: "Finalizing" }) });
    await tick();
    expect(names()).toEqual([["first", "Completed"]]);
    const [backup] = client.all(backups);
    expect(client.all(podVolumeBackups)[0]).toMatchObject({
      metadata: {
        namespace: "velero",
        labels: { "velero.io/backup-uid": backup?.metadata.uid },
        ownerReferences: [{ kind: "Backup", name: "first", uid: backup?.metadata.uid }],
      },
      spec: { backupStorageLocation: "here" },
      status: { phase: "Completed", snapshotID: "s" },
    });
    expect(client.peek(backupStorageLocations, { namespace: "velero", name: "here" })?.status?.lastSyncedTime).toBe(formatTime(NOW_MS));
  });

  it("looks each minute, and follows what appears and vanishes", async () => {
    await tick();
    await store.putBackup({ backup: storedBackup("second") });
    await tick(61_000);
    expect(names()).toEqual([["second", "Completed"]]);
    await store.deleteBackup("second");
    await tick(61_000);
    expect(names()).toEqual([]);
  });

  it("does not delete a backup that is stored between the two listings", async () => {
    client.seed(backups, {
      metadata: { namespace: "velero", name: "late", labels: { "velero.io/storage-location": "here" } },
      spec: {},
      status: { phase: "Completed" },
    });
    store.listBackups = async () => [];
    await store.putBackup({ backup: storedBackup("late") });
    await tick();
    expect(names()).toEqual([["late", "Completed"]]);
  });

  it("passes over a backup that cannot be read and takes the others", async () => {
    await store.putBackup({ backup: storedBackup("bad") });
    await store.putBackup({ backup: storedBackup("good") });
    const getBackup = store.getBackup.bind(store);
    store.getBackup = async (name) => {
      if (name === "bad") throw new DrayError("ARCHIVE_CORRUPT", "Cannot read backup");
      return await getBackup(name);
    };
    await tick();
    expect(names()).toEqual([["good", "Completed"]]);
    expect(logger.records.some(({ level, fields }) => level === "warn" && fields["backup"] === "bad")).toBe(true);
  });

  it("deletes nothing when the bucket cannot be listed", async () => {
    client.seed(backups, {
      metadata: { namespace: "velero", name: "kept", labels: { "velero.io/storage-location": "here" } },
      spec: {},
      status: { phase: "Completed" },
    });
    store.failure = new DrayError("BLOB_UNAVAILABLE", "gone");
    await tick();
    expect(names()).toEqual([["kept", "Completed"]]);
    expect(client.peek(backupStorageLocations, { namespace: "velero", name: "here" })?.status?.lastSyncedTime).toBeUndefined();
  });

  it("waits for the location to be available", async () => {
    client.mutate(backupStorageLocations, { namespace: "velero", name: "here" }, (current) => {
      current.status = { phase: "Unavailable" };
    });
    await store.putBackup({ backup: storedBackup("first") });
    await tick(300_000);
    expect(names()).toEqual([]);
    client.mutate(backupStorageLocations, { namespace: "velero", name: "here" }, (current) => {
      current.status = { phase: "Available" };
    });
    await tick();
    expect(names()).toEqual([["first", "Completed"]]);
  });

  it("keeps a backup's schedule where that is the same one", async () => {
    const schedule = client.seed(schedules, { metadata: { namespace: "velero", name: "nightly" }, spec: { schedule: "@daily", template: {} } });
    const owner = { apiVersion: "velero.io/v1", kind: "Schedule", name: "nightly", uid: schedule.metadata.uid ?? "" };
    await store.putBackup({ backup: storedBackup("nightly-1", { phase: "Completed" }, { ownerReferences: [owner] }) });
    await tick();
    expect(client.all(backups)[0]?.metadata.ownerReferences).toEqual([owner]);
  });
});
