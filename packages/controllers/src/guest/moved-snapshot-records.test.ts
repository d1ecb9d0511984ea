import { type Backup, type BackupStorageLocation, backupStorageLocations, backups, type DataUpload, dataUploads } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { configMaps, type GenericObject } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { decideRecords, type ObservedRecords } from "./moved-snapshot-records.ts";
import { startMovedSnapshotRecordsController } from "./moved-snapshot-records-controller.ts";

const namespace = "velero";
const volume = { uploadName: "b-1", volumeNamespace: "shop", claim: "files", snapshotId: "s1", location: "default" };
const ended: ObservedRecords = { phase: "Completed", deleting: false, movesData: true, moved: [volume], recorded: [] };

describe("records of moved snapshots", () => {
  it.each<[string, Partial<ObservedRecords>, string]>([
    ["are made once a backup has ended", {}, "create"],
    ["are made of a backup that failed too: it may have moved something", { phase: "Failed" }, "create"],
    ["wait until it has ended: it may move more", { phase: "WaitingForPluginOperations" }, "nothing"],
    ["are made again while it is deleted: a deletion that fails has used them up", { phase: "Deleting" }, "create"],
    ["are not made of what is going", { deleting: true }, "nothing"],
    ["are not made of a backup that moves nothing", { movesData: false }, "nothing"],
    ["are made of what is found in its tarball", { moved: undefined }, "lookUp"],
    ["are not made twice", { recorded: ["b-1-info"] }, "nothing"],
  ])("%s", (_what, changes, wanted) => {
    expect(decideRecords({ ...ended, ...changes }).do).toBe(wanted);
  });
});

describe("the keeper of records", () => {
  let client: FakeKubeClient;
  let clock: VirtualClock;
  let store: MemoryBackupStore;
  let stop: () => Promise<void>;
  const upload = (name: string, datamover: string, backup = "b"): DataUpload => ({
    apiVersion: "velero.io/v2alpha1",
    kind: "DataUpload",
    metadata: { namespace, name, labels: { "velero.io/backup-name": backup } },
    spec: { snapshotType: "CSI", sourceNamespace: "shop", sourcePVC: "files", backupStorageLocation: "default", operationTimeout: "10m", datamover },
    status: { phase: "Completed", snapshotID: `snapshot of ${name}` },
  });
  const backup: Backup = { metadata: { namespace, name: "b" }, spec: { snapshotMoveData: true, storageLocation: "default" }, status: { phase: "Completed" } };
  const location: BackupStorageLocation = { metadata: { namespace, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } };

  beforeEach(() => {
    clock = new VirtualClock();
    client = new FakeKubeClient({ clock });
    store = new MemoryBackupStore();
    client.seed(backupStorageLocations, location);
    const keeper = startMovedSnapshotRecordsController({ client, clock, random: seededRandom(1), logger: nullLogger, namespace, stores: store });
    stop = () => keeper.stop();
  });
  afterEach(() => stop());

  it("writes what Velero deletes by, for each volume that our mover moved, and no other", async () => {
    const archive = await store.newArchiveWriter();
    for (const [name, datamover, of] of [
      ["b-1", "drayage", "b"],
      ["b-2", "velero", "b"],
      ["c-1", "drayage", "c"],
    ] as const)
      await archive.add(
        { groupResource: "datauploads.velero.io", version: "v2alpha1", preferred: true, namespace, name },
        upload(name, datamover, of) as unknown as GenericObject,
      );
    await store.putBackup({ backup, archive: await archive.finish() });
    client.seed(dataUploads, upload("b-3", "drayage"));
    const created = await client.create(backups, backup);
    await expect.poll(() => client.all(configMaps).length).toBe(2);
    expect(client.all(configMaps).map(({ metadata, data }) => [metadata.name, data?.["snapshotID"]])).toEqual([
      ["b-1-info", "snapshot of b-1"],
      ["b-3-info", "snapshot of b-3"],
    ]);
    expect(client.all(configMaps)[0]).toMatchObject({
      metadata: {
        labels: { "velero.io/backup-name": "b", "velero.io/data-upload-snapshot-info": "true" },
        ownerReferences: [{ kind: "Backup", name: "b", uid: created.metadata.uid }],
      },
      data: {
        volumeNamespace: "shop",
        backupStorageLocation: "default",
        repositoryType: "kopia",
        uploaderType: "kopia",
        source: "shop/files",
        repoIdentifier: "",
      },
    });

    // A deletion takes them away first, and may fail then.
    await client.delete(configMaps, { namespace, name: "b-1-info" });
    await expect.poll(() => client.all(configMaps).map(({ metadata }) => metadata.name)).toContain("b-1-info");
  });

  it("comes back to what is still being moved when its backup has given up", async () => {
    client.seed(dataUploads, { ...upload("late", "drayage"), status: { phase: "InProgress" } });
    await client.create(backups, { ...backup, status: { phase: "PartiallyFailed" } });
    await expect.poll(() => clock.pending).toBeGreaterThan(0);
    client.mutate(dataUploads, { namespace, name: "late" }, (late) => {
      late.status = { phase: "Completed", snapshotID: "s" };
    });
    await clock.advance(61_000);
    await expect.poll(() => client.all(configMaps).map(({ metadata }) => metadata.name)).toEqual(["late-info"]);
  });
});
