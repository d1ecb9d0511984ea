import {
  type Backup,
  backupRepositories,
  backupStorageLocations,
  backups,
  type DataUpload,
  dataUploads,
  deleteBackupRequests,
  restores,
  schedules,
} from "@drayage/api";
import { formatTime, nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDataMovementCaches } from "../data-movement/caches.ts";
import { startServerCaches } from "../server-caches.ts";
import { METRICS, type Metrics } from "./metrics.ts";
import { startMovementMetrics } from "./movement-metrics.ts";
import { startServerMetrics } from "./server-metrics.ts";

const namespace = "velero";
let client: FakeKubeClient;
let figures: Map<string, number>;
let metrics: Metrics;
const ends: (() => void)[] = [];
beforeEach(() => {
  client = new FakeKubeClient();
  figures = new Map();
  const key = (name: string, labels: Readonly<Record<string, string>>): string =>
    [name, ...Object.entries(labels).map(([label, value]) => `${label}=${value}`)].join(" ");
  const known = (name: keyof typeof METRICS, labels: Readonly<Record<string, string>>): void => expect(Object.keys(labels)).toEqual([...METRICS[name].labels]);
  metrics = {
    add: (name, labels, by = 1) => {
      known(name, labels);
      figures.set(key(name, labels), (figures.get(key(name, labels)) ?? 0) + by);
    },
    set: (name, labels, value) => {
      known(name, labels);
      figures.set(key(name, labels), value);
    },
    observe: (name, labels, value) => {
      known(name, labels);
      figures.set(`${key(name, labels)} observed`, value);
    },
  };
});
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

const base = () => ({ client, clock: client.clock, random: seededRandom(1), logger: nullLogger, namespace });

async function countServer(): Promise<void> {
  const caches = startServerCaches(base());
  await Promise.all(
    [caches.backups, caches.restores, caches.schedules, caches.deletions, caches.locations, caches.repositories].map((cache) => cache.synced()),
  );
  ends.push(startServerMetrics(caches, metrics), () => caches.stop());
}

/** Resolves when a figure is what it should be; the test's own limit ends the wait. */
async function shows(name: string, value: number): Promise<void> {
  await expect.poll(() => figures.get(name)).toBe(value);
}

const at = (seconds: number): string => formatTime(1_700_000_000_000 + seconds * 1000);
const backup = (name: string, status: Backup["status"] = {}): Backup => ({
  metadata: { namespace, name, labels: { "velero.io/schedule-name": "nightly" } },
  spec: {},
  status,
});

describe("metrics of the server", () => {
  it("count a backup once it begins and once it ends, with its figures", async () => {
    await countServer();
    await client.create(backups, backup("b"));
    client.mutate(backups, { namespace, name: "b" }, (b) => {
      b.status = { phase: "InProgress", startTimestamp: at(0) };
    });
    await shows("velero_backup_attempt_total schedule=nightly", 1);
    client.mutate(backups, { namespace, name: "b" }, (b) => {
      b.status = {
        phase: "Completed",
        startTimestamp: at(0),
        completionTimestamp: at(90),
        warnings: 2,
        progress: { totalItems: 7 },
        csiVolumeSnapshotsAttempted: 3,
        csiVolumeSnapshotsCompleted: 2,
      };
    });
    await shows("velero_backup_success_total schedule=nightly", 1);
    expect(figures.get("velero_backup_last_status schedule=nightly")).toBe(1);
    expect(figures.get("velero_backup_last_successful_timestamp schedule=nightly")).toBe(1_700_000_090);
    expect(figures.get("velero_backup_duration_seconds schedule=nightly observed")).toBe(90);
    expect(figures.get("velero_backup_items_total schedule=nightly")).toBe(7);
    expect(figures.get("velero_backup_warning_total schedule=nightly")).toBe(1);
    expect(figures.get("velero_csi_snapshot_failure_total schedule=nightly backupName=b")).toBe(1);
    expect(figures.get("velero_backup_total")).toBe(1);
  });

  it("count nothing that was over before, but know when it was: a restart raises no alarm and counts nothing twice", async () => {
    client.seed(backups, backup("old", { phase: "Completed", startTimestamp: at(0), completionTimestamp: at(60) }));
    await countServer();
    await shows("velero_backup_last_successful_timestamp schedule=nightly", 1_700_000_060);
    expect(figures.get("velero_backup_success_total schedule=nightly")).toBeUndefined();
    expect(figures.get("velero_backup_success_total schedule=")).toBe(0);
  });

  it.each([
    ["PartiallyFailed", "velero_backup_partial_failure_total"],
    ["Failed", "velero_backup_failure_total"],
    ["FailedValidation", "velero_backup_validation_failure_total"],
  ] as const)("count a backup that is %s", async (phase, name) => {
    await countServer();
    await client.create(backups, backup("b"));
    client.mutate(backups, { namespace, name: "b" }, (b) => {
      b.status = { phase };
    });
    await shows(`${name} schedule=nightly`, 1);
    expect(figures.get("velero_backup_last_status schedule=nightly")).toBe(0);
    expect(figures.has("velero_backup_last_successful_timestamp schedule=nightly")).toBe(false);
  });

  it("count restores, deletions, locations, schedules and maintenance", async () => {
    client.seed(backups, backup("b", { phase: "Completed" }));
    await countServer();
    await client.create(restores, { metadata: { namespace, name: "r" }, spec: { scheduleName: "nightly" } });
    for (const phase of ["InProgress", "Failed"] as const) {
      client.mutate(restores, { namespace, name: "r" }, (r) => {
        r.status = { phase };
      });
    }
    await shows("velero_restore_failed_total schedule=nightly", 1);
    await shows("velero_restore_attempt_total schedule=nightly", 1);

    await client.create(deleteBackupRequests, { metadata: { namespace, name: "d" }, spec: { backupName: "b" } });
    client.mutate(deleteBackupRequests, { namespace, name: "d" }, (d) => {
      d.status = { phase: "InProgress" };
    });
    await shows("velero_backup_deletion_attempt_total schedule=nightly", 1);
    client.discard(backups, { namespace, name: "b" });
    client.discard(deleteBackupRequests, { namespace, name: "d" });
    await shows("velero_backup_deletion_success_total schedule=nightly", 1);

    client.seed(backupStorageLocations, {
      metadata: { namespace, name: "l" },
      spec: { provider: "aws", objectStorage: { bucket: "b" } },
      status: { phase: "Available" },
    });
    await shows("velero_backup_location_status_gauge backup_location_name=l", 1);
    client.seed(schedules, { metadata: { namespace, name: "s" }, spec: { schedule: "@daily", template: {}, paused: true }, status: { lastBackup: at(5) } });
    await shows("drayage_schedule_paused schedule=s", 1);
    expect(figures.get("drayage_schedule_last_backup_timestamp schedule=s")).toBe(1_700_000_005);

    const repository = {
      metadata: { namespace, name: "shop-l-kopia" },
      spec: { volumeNamespace: "shop", backupStorageLocation: "l", resticIdentifier: "", maintenanceFrequency: "1h" },
    };
    await client.create(backupRepositories, repository);
    client.mutate(backupRepositories, { namespace, name: "shop-l-kopia" }, (r) => {
      r.status = { recentMaintenance: [{ startTimestamp: at(0), completeTimestamp: at(30), result: "Succeeded" }] };
    });
    client.mutate(backupRepositories, { namespace, name: "shop-l-kopia" }, (r) => {
      r.status = { recentMaintenance: [...(r.status?.recentMaintenance ?? []), { startTimestamp: at(60), completeTimestamp: at(61), result: "Failed" }] };
    });
    await shows("velero_repo_maintenance_failure_total repository_name=shop-l-kopia", 1);
    expect(figures.get("velero_repo_maintenance_success_total repository_name=shop-l-kopia")).toBe(1);
  });
});

describe("metrics of a node-agent", () => {
  it("count what moves on its node, and nothing of other nodes", async () => {
    const caches = startDataMovementCaches({ ...base(), nodeName: "n1" });
    await caches.synced();
    ends.push(startMovementMetrics(caches, "n1", metrics), () => caches.stop());
    for (const node of ["n1", "n2"]) {
      const upload: DataUpload = {
        metadata: { namespace, name: `u-${node}` },
        spec: { snapshotType: "CSI", sourceNamespace: "shop", sourcePVC: "files", backupStorageLocation: "default", operationTimeout: "10m" },
      };
      await client.create(dataUploads, upload);
      for (const [phase, bytesDone] of [
        ["InProgress", 0],
        ["InProgress", 1000],
        ["Completed", 4000],
      ] as const)
        client.mutate(dataUploads, { namespace, name: `u-${node}` }, (u) => {
          u.status = {
            phase,
            node,
            startTimestamp: at(0),
            progress: { bytesDone, totalBytes: 4000 },
            ...(phase === "Completed" ? { completionTimestamp: at(20) } : {}),
          };
        });
    }
    await shows("podVolume_data_upload_success_total node=n1", 1);
    await shows("drayage_moved_bytes_total node=n1 operation=data-upload", 4000);
    expect(figures.get("podVolume_pod_volume_operation_latency_seconds node=n1 operation=data-upload observed")).toBe(20);
    expect(figures.get("podVolume_data_upload_failure_total node=n1")).toBe(0);
    expect([...figures.keys()].filter((name) => name.includes("n2"))).toEqual([]);
  });
});
