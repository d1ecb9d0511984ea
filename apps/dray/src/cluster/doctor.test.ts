import { backupStorageLocations, type DataUpload, dataUploads, volumeSnapshotClasses } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import { customResourceDefinitions, daemonSets, deployments, pods, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { examine, type Finding } from "./doctor.ts";

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
      { severity: "warning", what: 'Pod "left" belongs to nobody', fix: "kubectl -n velero delete pod left" },
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
