/** Fields of a Backup that nothing else tries by themselves, and what they become in the objects that a backup makes. */
import { type Backup, backupStorageLocations, backups, type DataUpload, dataUploads, podVolumeBackups } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { configMaps } from "@drayage/kube";
import { afterEach, describe, expect, it } from "vitest";
import { startBackupOperationsController } from "../backup-operations/backup-operations-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import { backupIn, endUploads, NAMESPACE, newBackup, recordedCluster } from "../testing/recorded-cluster.ts";
import { type RunningController, startBackupController } from "./backup-controller.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

function world({ readsVolume = false } = {}) {
  const cluster = recordedCluster({ readsVolume });
  const store = new MemoryBackupStore();
  const deps = { ...cluster, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, newSpool: createMemorySpool };
  running.push(startBackupController(deps), startBackupOperationsController(deps));
  return { cluster, store, client: cluster.client };
}

async function uploadOf(claim: string, spec: Backup["spec"]): Promise<DataUpload | undefined> {
  const { cluster, client } = world();
  await client.create<Backup>(backups, newBackup("one", spec));
  await backupIn(cluster, "one", "WaitingForPluginOperations");
  return client.all(dataUploads).find(({ spec: { sourcePVC } }) => sourcePVC === claim);
}

describe("a DataUpload", () => {
  it("carries what its mover has to know", async () => {
    const upload = await uploadOf("files", { datamover: "drayage", csiSnapshotTimeout: "7m0s", uploaderConfig: { parallelFilesUpload: 5 } });
    expect(upload?.spec).toEqual({
      backupStorageLocation: "default",
      csiSnapshot: {
        driver: "hostpath.csi.k8s.io",
        snapshotClass: "csi",
        storageClass: "csi",
        volumeSnapshot: expect.stringMatching(/^velero-files-/),
      },
      dataMoverConfig: { ParallelFilesUpload: "5" },
      datamover: "drayage",
      operationTimeout: "7m0s",
      snapshotType: "CSI",
      sourceNamespace: "notes",
      sourcePVC: "files",
    });
  });
});

describe("a PodVolumeBackup", () => {
  it("carries what its mover has to know", async () => {
    const { cluster, client } = world({ readsVolume: true });
    await client.create<Backup>(backups, newBackup("one", { uploaderConfig: { parallelFilesUpload: 5 } }));
    await backupIn(cluster, "one", "WaitingForPluginOperations");
    const [made] = client.all(podVolumeBackups);
    expect(made?.spec).toEqual({
      backupStorageLocation: "default",
      node: expect.any(String),
      pod: { kind: "Pod", namespace: "notes", name: expect.stringMatching(/^web-/), uid: expect.any(String) },
      repoIdentifier: expect.any(String),
      tags: expect.objectContaining({ backup: "one", "backup-uid": expect.any(String), ns: "notes", volume: "fsb" }),
      uploaderSettings: { ParallelFilesUpload: "5" },
      uploaderType: "kopia",
      volume: "fsb",
    });
  });
});

describe("a backup", () => {
  it("takes defaultVolumesToRestic for its later name defaultVolumesToFsBackup", async () => {
    const { cluster, client } = world();
    await client.create<Backup>(backups, newBackup("one", { defaultVolumesToRestic: true }));
    const waiting = await backupIn(cluster, "one", "WaitingForPluginOperations", "Completed", "PartiallyFailed");
    expect(waiting.spec.defaultVolumesToFsBackup).toBe(true);
    expect(client.all(podVolumeBackups).length).toBeGreaterThan(0);
  });

  it("takes a policy from a ConfigMap whatever the apiGroup of the reference says, as Velero does", async () => {
    const { cluster, client } = world();
    client.seed(configMaps, {
      metadata: { namespace: NAMESPACE, name: "p" },
      data: { rules: "version: v1\nvolumePolicies: [{conditions: {volumeTypes: [csi]}, action: {type: skip}}]" },
    });
    await client.create<Backup>(backups, newBackup("one", { resourcePolicy: { apiGroup: "v1", kind: "ConfigMap", name: "p" } }));
    await backupIn(cluster, "one", "Completed", "PartiallyFailed");
    expect(client.all(dataUploads)).toEqual([]);
  });

  it("says when it began and ended, when it expires, and how many items it has; there are no snapshots of cloud providers", async () => {
    const { cluster, client } = world();
    await client.create<Backup>(backups, newBackup("one", { ttl: "1h0m0s" }));
    await backupIn(cluster, "one", "WaitingForPluginOperations");
    endUploads(client);
    const { status } = await backupIn(cluster, "one", "Completed", "PartiallyFailed");
    const startMs = Date.parse(status?.startTimestamp ?? "");
    expect(Date.parse(status?.expiration ?? "")).toBe(startMs + 3_600_000);
    expect(Date.parse(status?.completionTimestamp ?? "")).toBeGreaterThanOrEqual(startMs);
    expect(status?.progress?.itemsBackedUp).toBe(status?.progress?.totalItems);
    expect(status?.progress?.totalItems).toBeGreaterThan(5);
    expect([status?.volumeSnapshotsAttempted, status?.volumeSnapshotsCompleted]).toEqual([undefined, undefined]);
  });

  it("into a location whose accessMode is ReadOnly fails validation", async () => {
    const { cluster, client } = world();
    client.mutate(backupStorageLocations, { namespace: NAMESPACE, name: "default" }, (location) => {
      location.spec.accessMode = "ReadOnly";
    });
    await client.create<Backup>(backups, newBackup("one"));
    expect((await backupIn(cluster, "one", "FailedValidation")).status?.validationErrors).toEqual(['backup storage location "default" is read-only']);
  });
});
