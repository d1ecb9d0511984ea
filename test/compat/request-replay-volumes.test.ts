/**
 * What a real Velero, its node-agent and its movers ask a real kube-apiserver when volumes are backed up, restored and forgotten, asked again of ours; see request-replay.test.ts.
 */
import { join } from "node:path";
import { type Backup, backups, podVolumeBackups, podVolumeRestores, type Restore, restores } from "@drayage/api";
import { createKubeClient, daemonSets, pods, serviceAccounts } from "@drayage/kube";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VELERO } from "../e2e/harness.ts";
import { freePort, peer } from "./peers.ts";
import { HOST_PODS, PlayedCluster } from "./played-cluster.ts";
import { CLASS, PlayedStorage } from "./played-storage.ts";
import { kubectl, type Servers, startServers, type VeleroUnderRecord, withVelero } from "./recorded-servers.ts";
import { askedOf, expectSame, OF_VELERO, OF_VOLUMES, watchedKinds } from "./replay-differences.ts";

let servers: Servers;

beforeEach(async () => {
  servers = await startServers();
});
afterEach(async () => {
  await servers?.stop();
});

/** Two claims, of which the second may be read through its pod. */
const diary = (annotations = ""): string => `
apiVersion: v1
kind: Namespace
metadata: {name: diary}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: writer, namespace: diary}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: pages, namespace: diary}
spec: {accessModes: [ReadWriteOnce], storageClassName: ${CLASS}, resources: {requests: {storage: 8Mi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cover, namespace: diary}
spec: {accessModes: [ReadWriteOnce], storageClassName: ${CLASS}, resources: {requests: {storage: 8Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: diary, annotations: {${annotations}}}
spec:
  serviceAccountName: writer
  containers: [{name: writer, image: nginx, volumeMounts: [{name: pages, mountPath: /pages}, {name: cover, mountPath: /cover}]}]
  volumes:
  - {name: pages, persistentVolumeClaim: {claimName: pages}}
  - {name: cover, persistentVolumeClaim: {claimName: cover}}
`;

interface OnNode extends VeleroUnderRecord {
  readonly cluster: PlayedCluster;
  backupOf(name: string): Promise<Backup>;
  restoreOf(name: string): Promise<Restore>;
}

/** Velero's server beside a played cluster in which the diary is written. */
async function withNode(annotations: string, work: (it: OnNode) => Promise<void>): Promise<void> {
  const { folder, kubeconfigPath, realKubeconfig } = servers;
  await withVelero(servers, async (under) => {
    const { client, startServer } = under;
    const observer = createKubeClient({ kubeconfig: realKubeconfig, qps: 0 });
    const storage = new PlayedStorage(client, observer);
    const cluster = new PlayedCluster({
      client,
      observer,
      storage,
      folder: join(folder, "node"),
      velero: peer("velero-without-metrics"),
      mounts: [
        { source: kubeconfigPath, target: "/kubeconfig" },
        { source: join(folder, "velero", "keys"), target: "/credentials/cloud" },
      ],
      environment: { KUBECONFIG: "/kubeconfig", VELERO_NAMESPACE: VELERO, VELERO_SCRATCH_DIR: "/tmp", AWS_SHARED_CREDENTIALS_FILE: "/credentials/cloud" },
    });
    try {
      await storage.install();
      await client.create(serviceAccounts, { metadata: { namespace: VELERO, name: "velero" } });
      await cluster.start();
      await kubectl(servers, ["create", "--validate=false", "-f", "-"], diary(annotations));
      await expect.poll(async () => (await observer.get(pods, { namespace: "diary", name: "writer" })).status?.phase, { timeout: 30_000 }).toBe("Running");
      await startServer("velero-without-metrics");
      const key = (name: string) => ({ namespace: VELERO, name });
      const it = {
        ...under,
        cluster,
        backupOf: (name: string) => observer.get(backups, key(name)),
        restoreOf: (name: string) => observer.get(restores, key(name)),
      };
      await Promise.race([work(it), cluster.failed()]);
    } catch (error) {
      throw new Error(`${String(error)}\n${cluster.output().slice(-30_000)}`, { cause: error });
    } finally {
      await cluster.stop();
      await observer.close();
    }
  });
}

/** The DaemonSet that Velero's server and its node-agents read, its pod, and the program of that pod. */
async function startNodeAgent({ client, cluster }: OnNode): Promise<void> {
  const labels = { name: "node-agent", role: "node-agent" };
  const fromField = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  const container = {
    name: "node-agent",
    image: "velero/velero:test",
    env: [fromField("NODE_NAME", "spec.nodeName"), fromField("VELERO_NAMESPACE", "metadata.namespace")],
    volumeMounts: [{ name: "host-pods", mountPath: "/host_pods" }],
  };
  const template = {
    metadata: { labels },
    spec: { serviceAccountName: "velero", containers: [container], volumes: [{ name: "host-pods", hostPath: { path: HOST_PODS } }] },
  };
  await client.create(daemonSets, { metadata: { namespace: VELERO, name: "node-agent" }, spec: { selector: { matchLabels: labels }, template } });
  const counts = { desiredNumberScheduled: 1, currentNumberScheduled: 1, numberMisscheduled: 0, numberReady: 1 };
  await client.patchStatus(daemonSets, { namespace: VELERO, name: "node-agent" }, "merge", { status: counts });
  const key = { namespace: VELERO, name: "node-agent-1" };
  await client.create(pods, { metadata: { ...key, labels }, spec: template.spec });
  await expect.poll(async () => (await client.get(pods, key)).status?.phase, { timeout: 30_000 }).toBe("Running");
  servers.proxy.during("node-agent");
  const agent = cluster.startOnNode(["node-agent", "server", "--namespace", VELERO, `--metrics-address=127.0.0.1:${await freePort()}`]);
  await expect.poll(() => agent.output(), { timeout: 60_000 }).toMatch(/Starting workers.*dataupload/i);
}

describe("requests of a real Velero for volumes are answered as the real API server answers them", () => {
  it("its node-agent and its movers move volumes out and in, and read and fill one through its pod", async () => {
    await withNode("backup.velero.io/backup-volumes: cover", async (it) => {
      const { velero, client, backupOf, restoreOf, deleteBackup } = it;
      await startNodeAgent(it);
      await velero.cli("backup", "create", "moved", "--include-namespaces", "diary", "--snapshot-move-data", "--wait");
      expect((await backupOf("moved")).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 1 });
      expect((await client.list(podVolumeBackups, { namespace: VELERO })).items.map(({ spec, status }) => [spec.volume, status?.phase])).toEqual([
        ["cover", "Completed"],
      ]);
      await velero.cli("backup", "describe", "moved", "--details");
      await velero.cli("restore", "create", "back", "--from-backup", "moved", "--namespace-mappings", "diary:diary-2", "--wait");
      expect((await restoreOf("back")).status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 1 });
      expect((await client.list(podVolumeRestores, { namespace: VELERO })).items.map(({ spec, status }) => [spec.volume, status?.phase])).toEqual([
        ["cover", "Completed"],
      ]);
      await velero.cli("restore", "describe", "back", "--details");
      await deleteBackup("moved");
    });
    const replayed = await servers.replay();
    expect(watchedKinds(replayed)).toEqual(
      expect.arrayContaining(["datauploads", "datadownloads", "podvolumebackups", "podvolumerestores", "pods", "events", "persistentvolumeclaims"]),
    );
    expect(askedOf(replayed)).toEqual(
      expect.arrayContaining([
        ...["POST volumesnapshots", "GET volumesnapshots", "DELETE volumesnapshots"],
        ...["POST volumesnapshotcontents", "PATCH volumesnapshotcontents", "DELETE volumesnapshotcontents"],
        ...["POST datauploads", "PUT datauploads", "DELETE datauploads", "POST datadownloads", "PUT datadownloads"],
        ...["POST podvolumebackups", "PUT podvolumebackups", "POST podvolumerestores", "PUT podvolumerestores"],
        ...["POST pods", "DELETE pods", "POST events", "POST persistentvolumeclaims", "PATCH persistentvolumeclaims", "PATCH persistentvolumes"],
      ]),
    );
    expectSame(replayed, OF_VOLUMES);
  });

  it("snapshots stay with their storage, are restored from, and go with their backup", async () => {
    await withNode("", async ({ velero, backupOf, restoreOf, deleteBackup }) => {
      await velero.cli("backup", "create", "kept", "--include-namespaces", "diary", "--wait");
      expect((await backupOf("kept")).status).toMatchObject({ phase: "Completed", csiVolumeSnapshotsCompleted: 2 });
      await velero.cli("backup", "describe", "kept", "--details");
      await velero.cli("restore", "create", "back", "--from-backup", "kept", "--namespace-mappings", "diary:diary-2", "--wait");
      expect((await restoreOf("back")).status).toMatchObject({ phase: "Completed" });
      await deleteBackup("kept");
    });
    const replayed = await servers.replay();
    expect(askedOf(replayed)).toEqual(
      expect.arrayContaining([
        ...["POST volumesnapshots", "GET volumesnapshots", "PATCH volumesnapshots", "DELETE volumesnapshots"],
        ...["POST volumesnapshotcontents", "GET volumesnapshotcontents", "PATCH volumesnapshotcontents", "DELETE volumesnapshotcontents"],
      ]),
    );
    expectSame(replayed, OF_VELERO);
  });
});
