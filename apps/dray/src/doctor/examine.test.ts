import { backupStorageLocations, backups, type DataUpload, dataUploads, deleteBackupRequests, schedules, volumeSnapshotClasses } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import { customResourceDefinitions, daemonSets, deployments, nodes, pods, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { examine } from "./examine.ts";
import type { Finding } from "./finding.ts";

const namespace = "velero";
let client: FakeKubeClient;
beforeEach(() => {
  client = new FakeKubeClient();
  for (const name of ["backups", "restores", "backupstoragelocations", "datauploads", "datadownloads", "backuprepositories"])
    client.seed(customResourceDefinitions, definition(`${name}.velero.io`));
  client.seed(customResourceDefinitions, definition("volumesnapshots.snapshot.storage.k8s.io"));
  const workload = { spec: { selector: {}, template: { metadata: {}, spec: { containers: [] } } } };
  client.seed(deployments, { ...workload, metadata: { namespace, name: "drayage" }, status: { availableReplicas: 1 } });
  client.seed(daemonSets, { ...workload, metadata: { namespace, name: "node-agent" }, status: { desiredNumberScheduled: 2, numberReady: 2 } });
  client.seed(backupStorageLocations, location("default", "Available"));
  client.seed(secrets, { metadata: { namespace, name: "velero-repo-credentials" }, data: { "repository-password": btoa("a good one") } });
  client.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "csi.example.com" });
  client.seed(volumeSnapshotClasses, { metadata: { name: "snap" }, driver: "csi.example.com", deletionPolicy: "Delete" });
});

const definition = (name: string) => ({
  metadata: { name },
  spec: { group: "", names: { kind: "", plural: "" }, scope: "Namespaced" as const, versions: [] },
});
const location = (name: string, phase: "Available" | "Unavailable", message?: string) => ({
  metadata: { namespace, name },
  spec: { provider: "aws", default: true, objectStorage: { bucket: "b" } },
  status: { phase, ...(message === undefined ? {} : { message }) },
});
const upload = (name: string, phase: "Accepted" | "InProgress", ageMs: number): DataUpload => ({
  metadata: { namespace, name, creationTimestamp: formatTime(client.clock.nowMs() - ageMs) },
  spec: { snapshotType: "CSI", sourceNamespace: "shop", sourcePVC: "files", backupStorageLocation: "default", operationTimeout: "10m" },
  status: { phase },
});
const node = (name: string, ready: "True" | "False", forMs: number) => ({
  metadata: { name },
  status: {
    conditions: [
      { type: "Ready", status: ready, message: "Kubelet stopped posting node status.", lastTransitionTime: formatTime(client.clock.nowMs() - forMs) },
    ],
  },
});
const schedule = (name: string, lastBackupAgoMs: number, spec: { paused?: boolean } = {}) => ({
  metadata: { namespace, name },
  spec: { schedule: "@every 1h", template: {}, ...spec },
  status: { phase: "Enabled" as const, lastBackup: formatTime(client.clock.nowMs() - lastBackupAgoMs) },
});
const backup = (name: string, phase: "Completed" | "Failed", ageMs: number) => ({
  metadata: { namespace, name, labels: { "velero.io/schedule-name": "hourly" } },
  spec: {},
  status: { phase, startTimestamp: formatTime(client.clock.nowMs() - ageMs), ...(phase === "Failed" ? { failureReason: "the bucket is full" } : {}) },
});
const troubles = async (): Promise<Finding[]> => {
  const findings = await examine({ client, namespace, nowMs: client.clock.nowMs(), signal: new AbortController().signal });
  return findings.filter(({ severity }) => severity !== "ok");
};

describe("examine", () => {
  it("finds nothing wrong with an installation that works", async () => {
    expect(await troubles()).toEqual([]);
  });

  it.each<[what: string, harm: () => void, finding: Partial<Finding>]>([
    ["no server", () => client.discard(deployments, { namespace, name: "drayage" }), { severity: "error", what: 'There is no server in namespace "velero"' }],
    [
      "node-agents that do not run",
      () =>
        client.mutate(daemonSets, { namespace, name: "node-agent" }, (set) => {
          set.status = { desiredNumberScheduled: 2, numberReady: 1 };
        }),
      { severity: "error", what: "1 of 2 node-agents run" },
    ],
    [
      "a location that cannot be reached",
      () => client.seed(backupStorageLocations, location("default", "Unavailable", "no such bucket")),
      { severity: "error", what: 'Backup location "default" is Unavailable', why: "no such bucket" },
    ],
    [
      "two default locations",
      () => client.seed(backupStorageLocations, location("second", "Available")),
      { severity: "warning", what: "2 backup locations are the default" },
    ],
    [
      "no password",
      () => client.discard(secrets, { namespace, name: "velero-repo-credentials" }),
      { severity: "error", what: 'Secret "velero-repo-credentials" has no repository password' },
    ],
    [
      "the password that everybody knows",
      () =>
        client.mutate(secrets, { namespace, name: "velero-repo-credentials" }, (secret) => {
          secret.data = { "repository-password": btoa("static-passw0rd") };
        }),
      { severity: "warning", what: "The repository password is the one everybody knows" },
    ],
    [
      "a driver whose volumes cannot be snapshotted",
      () => client.seed(storageClasses, { metadata: { name: "slow" }, provisioner: "nfs.example.com" }),
      { severity: "warning", what: 'No VolumeSnapshotClass is for driver "nfs.example.com"' },
    ],
    [
      "a movement that does not move",
      () => client.seed(dataUploads, upload("stuck", "Accepted", 3_600_000)),
      { severity: "warning", what: 'DataUpload "stuck" has been Accepted for 60m', fix: "dray data-upload describe stuck" },
    ],
    [
      "a pod that a mover left behind",
      () =>
        client.seed(pods, {
          metadata: { namespace, name: "left", labels: { "velero.io/data-upload": "gone" }, creationTimestamp: formatTime(client.clock.nowMs() - 3_600_000) },
          spec: { containers: [] },
        }),
      { severity: "warning", what: 'Pod "left" belongs to nobody', fix: "dray doctor --remove-orphans" },
    ],
    [
      "a node that has gone silent",
      () => client.seed(nodes, node("n2", "False", 120_000)),
      { severity: "error", what: 'Node "n2" has not been ready for 2m', why: "Kubelet stopped posting node status." },
    ],
    [
      "a schedule that cannot be",
      () => client.seed(schedules, { ...schedule("nightly", 3_600_000), status: { phase: "FailedValidation", validationErrors: ["invalid schedule"] } }),
      { severity: "error", what: 'Schedule "nightly" is not valid', why: "invalid schedule" },
    ],
    [
      "a schedule that is paused",
      () => client.seed(schedules, schedule("nightly", 3_600_000, { paused: true })),
      { severity: "warning", what: 'Schedule "nightly" is paused' },
    ],
    [
      "a schedule that nobody carries out",
      () => client.seed(schedules, schedule("hourly", 4 * 3_600_000)),
      { severity: "error", what: 'Schedule "hourly" is 3h late' },
    ],
    [
      "a schedule whose latest backup failed",
      () => {
        client.seed(schedules, schedule("hourly", 1_800_000));
        client.seed(backups, backup("hourly-1", "Completed", 7_200_000));
        client.seed(backups, backup("hourly-2", "Failed", 3_600_000));
      },
      {
        severity: "error",
        what: 'The latest backup of schedule "hourly" is Failed: "hourly-2"',
        why: "the bucket is full; the last one that completed is 120m old.",
      },
    ],
    [
      "a backup that should be gone",
      () =>
        client.seed(backups, {
          ...backup("old", "Completed", 86_400_000),
          status: { phase: "Completed", expiration: formatTime(client.clock.nowMs() - 3 * 3_600_000) },
        }),
      { severity: "warning", what: "1 expired backup is still there: old" },
    ],
    [
      "a deletion that did not work",
      () =>
        client.seed(deleteBackupRequests, {
          metadata: { namespace, name: "d" },
          spec: { backupName: "old" },
          status: { phase: "Processed", errors: ["no such location"] },
        }),
      { severity: "warning", what: 'Backup "old" could not be deleted', why: "no such location" },
    ],
  ])("finds %s", async (_what, harm, finding) => {
    harm();
    expect(await troubles()).toEqual([expect.objectContaining(finding)]);
  });

  it("leaves a movement alone that has been running for long", async () => {
    client.seed(dataUploads, upload("long", "InProgress", 86_400_000));
    expect(await troubles()).toEqual([]);
  });

  it("says once that kinds are missing, not once more of each object that there cannot be", async () => {
    client.discard(customResourceDefinitions, { name: "backupstoragelocations.velero.io" });
    client.intercept = ({ resource }) => {
      if (resource === "backupstoragelocations.velero.io")
        throw new DrayError("KUBE_NOT_FOUND", "Cannot list: 404 page not found", { context: { resourceMissing: true } });
    };
    expect(await troubles()).toEqual([expect.objectContaining({ severity: "error", what: "Kinds are missing: backupstoragelocations.velero.io" })]);
  });

  it("is an error, and ends the questions, when the cluster does not answer", async () => {
    client.failNext({}, "KUBE_UNAVAILABLE", 100);
    expect(await troubles()).toEqual([expect.objectContaining({ severity: "error", what: "The cluster cannot be asked" })]);
  });

  it("goes on where it may not look, and says whom to ask", async () => {
    client.failNext({ resource: "secrets" }, "KUBE_FORBIDDEN");
    expect(await troubles()).toEqual([
      expect.objectContaining({ severity: "warning", what: "Could not look at the repository password", fix: "Ask with an account that may read it." }),
    ]);
  });
});
