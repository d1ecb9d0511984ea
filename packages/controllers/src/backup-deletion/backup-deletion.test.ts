import {
  type Backup,
  type BackupRepository,
  backupRepositories,
  backupStorageLocations,
  backups,
  type DataUpload,
  dataMoverBackups,
  dataMovers,
  dataUploads,
  deleteBackupRequests,
  podVolumeBackups,
  restores,
  type VolumeSnapshotContent,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type Controller, configMaps, type GenericObject } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ForgottenSnapshots, RepositoryService } from "../ports.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { decide, type Observed } from "./backup-deletion.ts";
import { startBackupDeletionController } from "./backup-deletion-controller.ts";

describe("decide()", () => {
  const DAY_MS = 24 * 3_600_000;
  const o = (overrides: Partial<Observed>): Observed => ({
    phase: "New",
    ageMs: 1000,
    knownForMs: 1000,
    failed: false,
    backupName: "first",
    backup: "ended",
    locationName: "here",
    location: "usable",
    ...overrides,
  });
  it.each<[string, Partial<Observed>, ReturnType<typeof decide>]>([
    ["a request is carried out", {}, { do: "carryOut" }],
    ["one without a name is refused", { backupName: "" }, { do: "refuse", why: "spec.backupName is required" }],
    ["one for nothing is refused", { backup: "absent" }, { do: "refuse", why: "backup not found" }],
    ["one for a running backup tells it to stop", { backup: "running", knownForMs: 60_000 }, { do: "cancel", recheckAfterMs: 840_000 }],
    [
      "one for a backup that does not stop is refused",
      { backup: "running", knownForMs: 900_000 },
      { do: "refuse", why: "backup is still in progress: it was told to stop and has not ended within 15 minutes" },
    ],
    ["one for a backup whose data is still moved waits for its movers", { backup: "moving", knownForMs: 60_000 }, { do: "cancel", recheckAfterMs: 840_000 }],
    ["one for a backup whose movers never end does not wait for ever", { backup: "moving", knownForMs: 900_000 }, { do: "carryOut" }],
    [
      "one for a running backup in a read-only location stops nothing",
      { backup: "running", location: "readOnly" },
      { do: "refuse", why: expect.stringContaining("read-only") },
    ],
    ["one without a location is refused", { location: "absent" }, { do: "refuse", why: "backup storage location here not found" }],
    ["one in a read-only location is refused", { location: "readOnly" }, { do: "refuse", why: expect.stringContaining("read-only mode") }],
    ["one in an unavailable location is refused", { location: "unavailable" }, { do: "refuse", why: expect.stringContaining("Unavailable state") }],
    ["one that a server left behind is carried out again", { phase: "InProgress" }, { do: "carryOut" }],
    ["one whose backup has gone has succeeded", { phase: "InProgress", backup: "absent", location: "absent" }, { do: "finish" }],
    ["one that hangs for a day goes", { phase: "InProgress", ageMs: DAY_MS }, { do: "delete" }],
    ["one that failed can be read for a day", { phase: "Processed", failed: true }, { do: "nothing", recheckAfterMs: DAY_MS - 1000 }],
    ["one that failed goes after a day", { phase: "Processed", failed: true, ageMs: DAY_MS }, { do: "delete" }],
    ["one that succeeded has nothing more to say", { phase: "Processed" }, { do: "delete" }],
  ])("%s", (_what, overrides, decision) => {
    expect(decide(o(overrides))).toEqual(decision);
  });
});

class MemoryRepositories implements RepositoryService {
  readonly defaultMaintenanceFrequencySeconds = 3600;
  /** `namespace/manifest` of what is in the repositories. */
  readonly manifests = new Set<string>();
  /** Tags of some of them, by `namespace/manifest`. */
  readonly tags = new Map<string, Readonly<Record<string, string>>>();
  failure: Error | undefined;

  async ensure(): Promise<void> {}

  async forget(repository: BackupRepository, _location: unknown, { manifestIds, tags }: ForgottenSnapshots): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    for (const id of manifestIds) this.manifests.delete(`${repository.spec.volumeNamespace}/${id}`);
    for (const [id, tagged] of this.tags) {
      const isMeant = tags.some((wanted) => Object.entries(wanted).every(([name, value]) => tagged[name] === value));
      if (isMeant && id.startsWith(`${repository.spec.volumeNamespace}/`)) this.manifests.delete(id);
    }
  }
}

const key = (name: string) => ({ namespace: "velero", name });
const backup: Backup = {
  metadata: { ...key("first"), labels: { "velero.io/storage-location": "here" } },
  spec: { storageLocation: "here", snapshotMoveData: true },
  status: { phase: "Completed" },
};
const upload = (name: string, snapshotID: string, overrides: { datamover?: string; backup?: string } = {}): DataUpload => ({
  metadata: { ...key(name), labels: { "velero.io/backup-name": overrides.backup ?? "first" } },
  spec: {
    backupStorageLocation: "here",
    operationTimeout: "10m",
    snapshotType: "CSI",
    sourceNamespace: "notes",
    sourcePVC: "files",
    ...(overrides.datamover === undefined ? {} : { datamover: overrides.datamover }),
  },
  status: { phase: "Completed", snapshotID },
});

describe("the backup deletion controller", () => {
  let clock: VirtualClock;
  let client: FakeKubeClient;
  let store: MemoryBackupStore;
  let repositories: MemoryRepositories;
  let controller: Controller;

  const start = (): void => {
    controller = startBackupDeletionController({
      client,
      clock,
      random: seededRandom(1),
      logger: memoryLogger(),
      namespace: "velero",
      stores: store,
      repositories,
      resourceTimeoutMs: 10_000,
    });
  };

  beforeEach(async () => {
    clock = new VirtualClock();
    client = new FakeKubeClient({ clock });
    store = new MemoryBackupStore();
    repositories = new MemoryRepositories();
    client.react(backupRepositories, (_before, after) => {
      if (after !== undefined && after.status?.phase === undefined) {
        client.mutate(backupRepositories, { namespace: "velero", name: after.metadata.name ?? "" }, (current) => {
          current.status = { phase: "Ready" };
        });
      }
    });
    client.seed(backupStorageLocations, { metadata: key("here"), spec: { provider: "aws", objectStorage: { bucket: "b" } }, status: { phase: "Available" } });
    client.seed(backups, backup);
    await putTarball([
      upload("first-a", "s1"),
      upload("first-b", "s2", { datamover: "drayage" }),
      upload("foreign", "s3", { datamover: "acme" }),
      upload("other", "s4", { backup: "other" }),
    ]);
    for (const id of ["s1", "s2", "s3", "s4", "s5"]) repositories.manifests.add(`notes/${id}`);
    start();
  });
  afterEach(() => controller.stop());

  async function putTarball(uploads: readonly DataUpload[]): Promise<void> {
    const writer = await store.newArchiveWriter();
    for (const object of uploads) {
      const ref = { groupResource: "datauploads.velero.io", namespace: "velero", name: object.metadata.name ?? "", version: "v2alpha1", preferred: true };
      await writer.add(ref, object as unknown as GenericObject);
    }
    await store.putBackup({ backup, archive: await writer.finish() });
    await writer.dispose();
  }

  const tick = async (ms = 0): Promise<void> => {
    await clock.advance(ms);
    await settle(30);
    await clock.advance(0);
  };
  const ask = (name = "first-x", phase?: "InProgress") =>
    client.seed(deleteBackupRequests, { metadata: key(name), spec: { backupName: "first" }, status: phase === undefined ? {} : { phase } });
  const request = () => client.peek(deleteBackupRequests, key("first-x"));

  it("takes away snapshots, DataUploads, files, restores and the backup, and then itself", async () => {
    client.seed(dataUploads, upload("first-a", "s1"));
    client.seed(dataUploads, upload("other", "s4", { backup: "other" }));
    client.seed(restores, { metadata: key("back"), spec: { backupName: "first" } });
    client.seed(restores, { metadata: key("back-other"), spec: { backupName: "other" } });
    ask();
    await tick();
    await controller.idle();
    expect([...repositories.manifests]).toEqual(["notes/s3", "notes/s4", "notes/s5"]);
    expect(client.all(dataUploads).map(({ metadata }) => metadata.name)).toEqual(["other"]);
    expect(client.all(restores).map(({ metadata }) => metadata.name)).toEqual(["back-other"]);
    expect(await store.listBackups()).toEqual([]);
    expect(client.all(backups)).toEqual([]);
    expect(client.all(deleteBackupRequests)).toEqual([]);
    expect(store.openArchives).toBe(0);
  });

  it("takes away a thousand backups that are deleted at once, each with its data, and asks the same of the API server for each", async () => {
    const names = Array.from({ length: 1_000 }, (_, n) => `many-${n}`);
    for (const name of names) {
      const object = { ...backup, metadata: { ...backup.metadata, name } };
      const writer = await store.newArchiveWriter();
      const moved = upload(`${name}-a`, name, { backup: name });
      const ref = { groupResource: "datauploads.velero.io", namespace: "velero", name: moved.metadata.name ?? "", version: "v2alpha1", preferred: true };
      await writer.add(ref, moved as unknown as GenericObject);
      await store.putBackup({ backup: object, archive: await writer.finish() });
      await writer.dispose();
      repositories.manifests.add(`notes/${name}`);
      client.seed(backups, object);
    }
    const before = client.calls.length;
    for (const name of names)
      for (const twice of ["x", "y"]) client.seed(deleteBackupRequests, { metadata: key(`${name}-${twice}`), spec: { backupName: name }, status: {} });
    for (let round = 0; client.all(deleteBackupRequests).length > 0 && round < 2_000; round++) await tick(10);
    await controller.idle();
    expect(client.all(deleteBackupRequests).map(({ metadata, status }) => [metadata.name, status])).toEqual([]);
    expect(client.all(backups).map(({ metadata }) => metadata.name)).toEqual(["first"]);
    expect(await store.listBackups()).toEqual(["first"]);
    expect([...repositories.manifests]).toEqual(["notes/s1", "notes/s2", "notes/s3", "notes/s4", "notes/s5"]);
    expect((client.calls.length - before) / names.length).toBeLessThan(40);
    expect(client.calls.slice(before).filter(({ verb, resource }) => verb === "list" && resource.startsWith("deletebackuprequests"))).toEqual([]);
  });

  it("stops a backup that has not ended, waits for that, and deletes it then", async () => {
    client.mutate(backups, key("first"), (current) => {
      current.status = { ...current.status, phase: "WaitingForPluginOperations" };
    });
    const running = upload("first-a", "");
    client.seed(dataUploads, {
      ...running,
      metadata: { ...running.metadata, labels: { ...running.metadata.labels, "velero.io/backup-uid": client.peek(backups, key("first"))?.metadata.uid ?? "" } },
      status: { phase: "InProgress" },
    });
    ask();
    await tick();
    expect(client.peek(dataUploads, key("first-a"))).toMatchObject({ spec: { cancel: true }, status: { message: "its backup is being deleted" } });
    expect(client.peek(backups, key("first"))?.metadata.annotations).toMatchObject({ "drayage.io/cancel-requested": "its backup is being deleted" });
    expect(await store.listBackups()).toEqual(["first"]);
    client.mutate(backups, key("first"), (current) => {
      current.status = { ...current.status, phase: "PartiallyFailed" };
    });
    await tick();
    expect(await store.listBackups()).toEqual(["first"]);
    // Its mover had saved its snapshot when it was told to stop.
    repositories.manifests.add("notes/s9");
    client.mutate(dataUploads, key("first-a"), (current) => {
      current.status = { phase: "Completed", snapshotID: "s9" };
    });
    await tick();
    await controller.idle();
    expect(client.all(backups)).toEqual([]);
    expect(await store.listBackups()).toEqual([]);
    expect([...repositories.manifests]).not.toContain("notes/s9");
  });

  it("takes snapshots away whose movers saved them and never said so", async () => {
    const untold = { ...upload("first-c", ""), status: { phase: "Failed" as const, startTimestamp: "2026-01-01T00:00:00Z" } };
    client.seed(dataUploads, { ...untold, metadata: { ...untold.metadata, labels: { ...untold.metadata.labels, "velero.io/async-operation-id": "du-1" } } });
    const tags = { "backup-uid": "b", "pod-uid": "p", volume: "v" };
    client.seed(podVolumeBackups, {
      metadata: { ...key("volume"), labels: { "velero.io/backup-name": "first" } },
      spec: {
        backupStorageLocation: "here",
        node: "n",
        pod: { namespace: "notes", name: "web" },
        repoIdentifier: "",
        volume: "v",
        tags: { ...tags, ns: "notes" },
      },
      status: { phase: "Failed", startTimestamp: "2026-01-01T00:00:00Z" },
    });
    for (const [id, tagged] of [
      ["notes/s6", { "velero.io/async-operation-id": "du-1", "snapshot-requester": "snapshot-data-upload-download" }],
      ["notes/s7", { ...tags, "snapshot-requester": "pod-volume-backup-restore" }],
      ["notes/s8", { "velero.io/async-operation-id": "du-2" }],
    ] as const) {
      repositories.manifests.add(id);
      repositories.tags.set(id, tagged);
    }
    ask();
    await tick();
    await controller.idle();
    expect(client.all(backups)).toEqual([]);
    expect([...repositories.manifests]).toEqual(["notes/s3", "notes/s4", "notes/s5", "notes/s8"]);
  });

  it.each([
    ...(["New", "Queued", "ReadyToStart", "FailedValidation", "Failed", "PartiallyFailed", "Completed", "Deleting"] as const).map(
      (phase) => [phase, false] as const,
    ),
    ...(["InProgress", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed", "Finalizing", "FinalizingPartiallyFailed"] as const).map(
      (phase) => [phase, true] as const,
    ),
  ])("deletes a backup that is %s, which is told to stop first: %s", async (phase, isRunning) => {
    client.mutate(backups, key("first"), (current) => {
      current.status = { ...current.status, phase };
    });
    ask();
    await tick();
    if (isRunning) {
      expect(client.peek(backups, key("first"))?.metadata.annotations).toMatchObject({ "drayage.io/cancel-requested": "its backup is being deleted" });
      client.mutate(backups, key("first"), (current) => {
        current.status = { ...current.status, phase: "Failed" };
      });
      await tick();
    }
    expect(client.all(backups)).toEqual([]);
    expect(client.all(deleteBackupRequests)).toEqual([]);
    expect(await store.listBackups()).toEqual([]);
  });

  it("deletes a backup whose operations never end after a quarter of an hour", async () => {
    client.mutate(backups, key("first"), (current) => {
      current.status = { ...current.status, phase: "Failed" };
    });
    const stuck = upload("first-a", "");
    const uid = client.peek(backups, key("first"))?.metadata.uid ?? "";
    client.seed(dataUploads, {
      ...stuck,
      metadata: { ...stuck.metadata, finalizers: ["acme/mover"], labels: { ...stuck.metadata.labels, "velero.io/backup-uid": uid } },
      status: { phase: "InProgress" },
    });
    ask();
    await tick();
    expect(client.peek(dataUploads, key("first-a"))?.spec.cancel).toBe(true);
    await clock.advance(14 * 60_000);
    expect(await store.listBackups()).toEqual(["first"]);
    await clock.advance(61_000);
    await tick();
    expect(client.all(backups)).toEqual([]);
    expect(client.all(deleteBackupRequests)).toEqual([]);
    expect(client.peek(dataUploads, key("first-a"))?.metadata.deletionTimestamp).toBeDefined();
  });

  it("deletes what file-system backups and ConfigMaps of an earlier try name", async () => {
    client.seed(podVolumeBackups, {
      metadata: { ...key("first-v"), labels: { "velero.io/backup-name": "first" } },
      spec: { backupStorageLocation: "here", node: "n", pod: { namespace: "notes" }, repoIdentifier: "", volume: "v", uploaderType: "kopia" },
      status: { phase: "Completed", snapshotID: "s5" },
    });
    client.seed(configMaps, {
      metadata: { ...key("foreign-info"), labels: { "velero.io/backup-name": "first", "velero.io/data-upload-snapshot-info": "true" } },
      data: { volumeNamespace: "notes", snapshotID: "s3", repositoryType: "kopia", backupStorageLocation: "here" },
    });
    ask();
    await tick();
    expect([...repositories.manifests]).toEqual(["notes/s4"]);
    expect(client.all(configMaps)).toEqual([]);
  });

  it("keeps files, ConfigMaps and the backup when a snapshot cannot be deleted, says why, and succeeds the next time", async () => {
    // The tarball has it as it was when it was made: only the cluster knows what it stored.
    client.seed(dataUploads, upload("first-c", "s6"));
    repositories.manifests.add("notes/s6");
    repositories.failure = new DrayError("BLOB_UNAVAILABLE", "the bucket is gone");
    ask();
    await tick();
    expect(request()?.status).toEqual({ phase: "Processed", errors: ["error deleting moved snapshot data: the bucket is gone"] });
    expect(await store.listBackups()).toEqual(["first"]);
    expect(client.all(backups)[0]?.status?.phase).toBe("Deleting");
    expect(client.all(dataUploads)).toHaveLength(1);
    repositories.failure = undefined;
    ask("first-again");
    await tick();
    expect(client.all(backups)).toEqual([]);
    expect(client.all(deleteBackupRequests)).toEqual([]);
    expect(client.all(dataUploads)).toEqual([]);
    expect([...repositories.manifests]).not.toContain("notes/s6");
  });

  describe("with snapshots that stayed with their storage", () => {
    const handles = new Set<string>();
    const addContent = async (): Promise<void> => {
      const writer = await store.newArchiveWriter();
      const ref = {
        groupResource: "volumesnapshotcontents.snapshot.storage.k8s.io",
        namespace: undefined,
        name: "snapcontent-1",
        version: "v1",
        preferred: true,
      };
      await writer.add(ref, {
        metadata: { name: "snapcontent-1", annotations: { "snapshot.storage.kubernetes.io/deletion-secret-name": "s" } },
        spec: { driver: "csi.example.com", deletionPolicy: "Delete", source: { volumeHandle: "v" }, volumeSnapshotClassName: "csi" },
        status: { snapshotHandle: "h1", readyToUse: true },
      });
      await store.putBackup({ backup, archive: await writer.finish() });
      await writer.dispose();
    };
    /** The part of the snapshotter beside a driver: it looks up the handle, and deletes the snapshot of a content that it knows. */
    const snapshotter = (knows: (handle: string) => boolean): void =>
      client.react(volumeSnapshotContents, (_before, after) => {
        if (after === undefined) return;
        const handle = after.spec.source.snapshotHandle ?? "";
        const change = (alter: (content: VolumeSnapshotContent) => void) => client.mutate(volumeSnapshotContents, { name: after.metadata.name ?? "" }, alter);
        if (after.metadata.deletionTimestamp !== undefined) {
          if (after.status?.snapshotHandle !== undefined) handles.delete(handle);
          if (after.status?.snapshotHandle !== undefined && (after.metadata.finalizers ?? []).length > 0)
            change((content) => delete content.metadata.finalizers);
        } else if (after.status === undefined) {
          change((content) => {
            content.status = knows(handle) ? { snapshotHandle: handle, readyToUse: true } : { error: { message: `snapshot ${handle} not found` } };
          });
        }
      });

    beforeEach(() => {
      handles.clear();
      handles.add("h1");
    });

    it("has their driver delete them", async () => {
      await addContent();
      snapshotter((handle) => handles.has(handle));
      ask();
      await tick(2_000);
      expect([...handles]).toEqual([]);
      expect(client.all(volumeSnapshotContents)).toEqual([]);
      expect(client.all(backups)).toEqual([]);
      const made = client.calls.find(({ verb, resource }) => verb === "create" && resource.startsWith("volumesnapshotcontents"))?.body;
      expect(made).toMatchObject({
        metadata: { labels: { "velero.io/backup-name": "first" }, annotations: { "snapshot.storage.kubernetes.io/deletion-secret-name": "s" } },
        spec: { deletionPolicy: "Delete", driver: "csi.example.com", source: { snapshotHandle: "h1" }, volumeSnapshotClassName: "csi" },
      });
    });

    it("goes on when the storage does not know one any more", async () => {
      await addContent();
      snapshotter(() => false);
      ask();
      await tick(2_000);
      expect(client.all(volumeSnapshotContents)).toEqual([]);
      expect(client.all(backups)).toEqual([]);
    });

    it("says which are left when no driver answers, and deletes them the next time", async () => {
      await addContent();
      ask();
      await tick(30_000);
      expect(request()?.status?.errors?.[0]).toMatch(
        /^error deleting a snapshot: Cannot delete snapshot "h1" of driver "csi.example.com": the driver has not found it within 10 s/,
      );
      expect(await store.listBackups()).toEqual(["first"]);
      snapshotter((handle) => handles.has(handle));
      client.mutate(volumeSnapshotContents, { name: client.all(volumeSnapshotContents)[0]?.metadata.name ?? "" }, (content) => {
        content.metadata.labels = { ...content.metadata.labels, touched: "yes" };
      });
      ask("first-again");
      await tick(5_000);
      expect([...handles]).toEqual([]);
      expect(client.all(backups)).toEqual([]);
    });
  });

  describe("with a volume that a registered mover had moved", () => {
    const moved = (annotations: Record<string, string>): DataUpload => {
      const made = upload("first-t", "t1", { datamover: "tar" });
      return { ...made, metadata: { ...made.metadata, annotations } };
    };
    const chosen = { "drayage.io/chosen-data-mover": "tar" };
    const register = () =>
      client.seed(dataMovers, {
        metadata: { name: "tar" },
        spec: { version: "1.0.0", description: "tar", module: "/tar.ts", capabilities: { kinds: ["persistentvolumeclaims"] }, parameters: { type: "object" } },
      });

    it("keeps everything and names the mover and what is left when it is registered no more, and goes on when it is again", async () => {
      client.seed(dataUploads, moved(chosen));
      await putTarball([moved(chosen)]);
      ask();
      await tick();
      const [error, ...others] = request()?.status?.errors ?? [];
      expect(error).toContain('Cannot delete the data of PersistentVolumeClaim "notes/files" that mover "tar" moved: the mover is not registered any more');
      expect(error).toContain('snapshot "t1" stays in location "here" under plugins/drayage-movers/tar/');
      expect(others).toEqual([]);
      expect(await store.listBackups()).toEqual(["first"]);
      expect(client.all(backups)[0]?.status?.phase).toBe("Deleting");

      register();
      // The mover has deleted it as soon as it was asked to.
      client.react(dataMoverBackups, (_before, after) => {
        if (after?.metadata.deletionTimestamp !== undefined && (after.metadata.finalizers ?? []).length > 0)
          client.mutate(dataMoverBackups, key(after.metadata.name ?? ""), (move) => delete move.metadata.finalizers);
      });
      ask("first-again");
      await tick(2_000);
      expect(client.all(backups)).toEqual([]);
      expect(await store.listBackups()).toEqual([]);
    });

    it("leaves it where the backup's annotation says so", async () => {
      client.seed(dataUploads, moved(chosen));
      client.mutate(backups, key("first"), ({ metadata }) => {
        metadata.annotations = { "drayage.io/abandon-moved-data": "true" };
      });
      ask();
      await tick();
      expect(client.all(backups)).toEqual([]);
    });

    it.each([
      ["a vendor's controller deletes it", { ...chosen, "drayage.io/vendor-controller": "true" }],
      ["another server chose the mover", {}],
    ])("does not look after it where %s", async (_who, annotations) => {
      client.seed(dataUploads, moved(annotations as Record<string, string>));
      ask();
      await tick();
      expect(client.all(backups)).toEqual([]);
    });
  });

  it("deletes a backup that never had a tarball", async () => {
    await store.deleteBackup("first");
    client.seed(dataUploads, upload("first-a", "s1"));
    ask();
    await tick();
    expect(client.all(backups)).toEqual([]);
    expect(repositories.manifests.has("notes/s1")).toBe(false);
  });

  it("does not take a damaged tarball for one that is not there", async () => {
    store.openArchive = async () => {
      throw new DrayError("ARCHIVE_CORRUPT", "Cannot read backup: unexpected end");
    };
    ask();
    await tick();
    expect(request()?.status?.errors).toEqual(["error deleting moved snapshot data: Cannot read backup: unexpected end"]);
    expect(await store.listBackups()).toEqual(["first"]);
  });

  it("takes volume snapshots that a failed backup left, and their storage snapshots", async () => {
    client.seed(volumeSnapshotContents, {
      metadata: { name: "content" },
      spec: { deletionPolicy: "Retain", driver: "d", source: {}, volumeSnapshotRef: { name: "vs", namespace: "notes" } },
    });
    client.seed(volumeSnapshots, {
      metadata: { namespace: "notes", name: "vs", labels: { "velero.io/backup-name": "first" } },
      spec: { source: {} },
      status: { boundVolumeSnapshotContentName: "content" },
    });
    ask();
    await tick();
    expect(client.all(volumeSnapshots)).toEqual([]);
    expect(client.all(volumeSnapshotContents)[0]?.spec.deletionPolicy).toBe("Delete");
  });

  it("takes contents away whose process ended before it made their VolumeSnapshot, and leaves those that are in use, of another backup and of another installation", async () => {
    client.seed(restores, { metadata: key("back"), spec: { backupName: "first" } });
    client.mutate(backups, key("first"), (current) => {
      current.status = { ...current.status, startTimestamp: "2026-01-01T00:00:00Z", completionTimestamp: "2026-01-01T00:10:00Z" };
    });
    const restored = { "velero.io/restore-name": "back" };
    const namespaceOf = (namespace: string) => ({ "drayage.io/backup-namespace": namespace });
    const CONTENTS: readonly (readonly [string, string, Record<string, string>, Record<string, string>, string])[] = [
      ["left", "first", restored, namespaceOf("velero"), "2026-01-02T00:00:00Z"],
      ["left-by-velero", "first", restored, {}, "2026-01-02T00:00:00Z"],
      ["left-by-a-backup", "first", {}, {}, "2026-01-01T00:05:00Z"],
      ["in-use", "first", restored, namespaceOf("velero"), "2026-01-02T00:00:00Z"],
      ["of-another", "second", restored, namespaceOf("velero"), "2026-01-02T00:00:00Z"],
      ["of-an-installation-that-says-so", "first", restored, namespaceOf("elsewhere"), "2026-01-02T00:00:00Z"],
      ["of-an-installation-whose-restore-is-not-here", "first", { "velero.io/restore-name": "theirs" }, {}, "2026-01-02T00:00:00Z"],
      ["of-an-installation-at-another-time", "first", {}, {}, "2026-01-02T00:00:00Z"],
    ];
    for (const [name, of, labels, annotations, creationTimestamp] of CONTENTS)
      client.seed(volumeSnapshotContents, {
        metadata: { name, labels: { "velero.io/backup-name": of, ...labels }, annotations, creationTimestamp },
        spec: { deletionPolicy: "Delete", driver: "d", source: { snapshotHandle: `h-${name}` }, volumeSnapshotRef: { name: `vs-${name}`, namespace: "notes" } },
      });
    client.seed(volumeSnapshots, {
      metadata: { namespace: "notes", name: "vs-in-use", labels: { "velero.io/backup-name": "first", "velero.io/restore-name": "back" } },
      spec: { source: { volumeSnapshotContentName: "in-use" } },
    });
    ask();
    await tick();
    expect(client.all(backups)).toEqual([]);
    expect(client.all(volumeSnapshotContents).map(({ metadata }) => metadata.name)).toEqual([
      "in-use",
      "of-an-installation-at-another-time",
      "of-an-installation-that-says-so",
      "of-an-installation-whose-restore-is-not-here",
      "of-another",
    ]);
  });

  it("leaves snapshots that only carry the backup's name: of another installation, and restored ones", async () => {
    const [startTimestamp, completionTimestamp] = ["2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z"];
    client.mutate(backups, key("first"), (current) => {
      current.status = { ...current.status, startTimestamp, completionTimestamp };
    });
    const cut = (name: string, creationTimestamp: string, labels: Record<string, string> = {}) =>
      client.seed(volumeSnapshots, {
        metadata: { namespace: "notes", name, creationTimestamp, labels: { "velero.io/backup-name": "first", ...labels } },
        spec: { source: {} },
      });
    cut("before", "2025-12-31T00:00:00Z");
    cut("during", "2026-01-01T00:05:00Z");
    cut("restored", "2026-01-01T00:06:00Z", { "velero.io/restore-name": "back" });
    cut("after", "2026-01-02T00:00:00Z");
    ask();
    await tick();
    expect(client.all(volumeSnapshots).map(({ metadata }) => metadata.name)).toEqual(["after", "before", "restored"]);
  });

  it("waits for restores to go, and says so when they do not", async () => {
    client.seed(restores, { metadata: { ...key("back"), finalizers: ["restores.velero.io/external-resources-finalizer"] }, spec: { backupName: "first" } });
    ask();
    await tick(30_000);
    expect(request()?.status?.phase).toBe("InProgress");
    await tick(31_000);
    expect(request()?.status?.errors?.[0]).toContain('Cannot delete restores "back"');
    expect(client.all(backups)).toHaveLength(1);
  });

  it("goes on where a server that was ended left off, at whatever step that was", async () => {
    await controller.stop();
    // Calls are counted to know how many points of interruption there are.
    client.calls.length = 0;
    ask();
    start();
    await tick();
    const calls = client.calls.length;
    expect(client.all(backups)).toEqual([]);
    for (let stopAt = 1; stopAt <= calls; stopAt++) {
      await controller.stop();
      client.seed(backups, backup);
      await putTarball([upload("first-a", "s1")]);
      client.seed(dataUploads, upload("first-a", "s1"));
      repositories.manifests.add("notes/s1");
      ask();
      const first = client.calls.length + stopAt;
      client.intercept = ({ number }) => {
        if (number >= first) throw new DrayError("KUBE_UNAVAILABLE", "the server is gone");
      };
      start();
      await tick();
      await controller.stop();
      client.intercept = undefined;
      start();
      await tick(5_000);
      // A problem that was written into the request is for its reader; they ask again.
      if (client.all(backups).length > 0) ask("first-again");
      await tick(5_000);
      expect(client.all(backups), `stopped at call ${stopAt}`).toEqual([]);
      expect(client.all(deleteBackupRequests), `stopped at call ${stopAt}`).toEqual([]);
      expect(client.all(dataUploads)).toEqual([]);
      expect(repositories.manifests.has("notes/s1")).toBe(false);
      expect(await store.listBackups()).toEqual([]);
    }
  });
});
