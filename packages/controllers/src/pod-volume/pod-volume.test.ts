import { backupRepositories, backupStorageLocations, type PodVolumeBackup, podVolumeBackups, podVolumeRestores } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { nodes, type Pod, persistentVolumeClaims, persistentVolumes, pods, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dataMoverClaims } from "../data-movement/data-movers.ts";
import { startNodeAgent } from "../data-movement/node-agent.ts";
import { SimulatedStorage } from "../testing/simulated-storage.ts";
import { podVolumePath } from "./pod-volume-path.ts";

const NS = "velero";
let clock: VirtualClock;
let client: FakeKubeClient;
let storage: SimulatedStorage;
let agents: { stop(): Promise<void> }[];

beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock });
  storage = new SimulatedStorage(client, { nodeName: "node-1" });
  agents = [];
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": "cA==" } });
  for (const name of ["node-1", "node-2"]) client.seed(nodes, { metadata: { name }, status: { conditions: [{ type: "Ready", status: "True" }] } });
});
afterEach(async () => {
  for (const agent of agents) await agent.stop();
});

async function agentOn(nodeName: string): Promise<void> {
  const pod = { image: "drayage/dray:test", serviceAccount: "mover" };
  agents.push(
    await startNodeAgent({
      client,
      clock,
      random: seededRandom(3),
      logger: nullLogger,
      namespace: NS,
      nodeName,
      claims: dataMoverClaims({ mode: "standalone" }),
      pod,
      config: {},
    }),
  );
}

function seedPod(overrides: Partial<Pod["status"]> = {}): Pod {
  return client.seed(pods, {
    metadata: { namespace: "notes", name: "web" },
    spec: { nodeName: "node-1", containers: [], volumes: [{ name: "cache", emptyDir: {} }] },
    status: { phase: "Running", ...overrides },
  });
}

const backupOf = (pod: Pod, spec: Partial<PodVolumeBackup["spec"]> = {}): PodVolumeBackup => ({
  metadata: { namespace: NS, name: "read" },
  spec: {
    backupStorageLocation: "default",
    node: "node-1",
    pod: { namespace: "notes", name: "web", uid: pod.metadata.uid ?? "" },
    repoIdentifier: "",
    uploaderType: "kopia",
    volume: "cache",
    ...spec,
  },
});
const statusOf = () => client.peek(podVolumeBackups, { namespace: NS, name: "read" })?.status;

async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    await clock.advance(500);
    await settle();
  }
}

describe("a PodVolumeBackup", () => {
  it("is carried out by the agent of its node alone, in a pod that has the kubelet's folder of the volume", async () => {
    const pod = seedPod();
    await agentOn("node-2");
    client.seed(podVolumeBackups, backupOf(pod));
    await pass(20_000);
    expect(statusOf()?.phase).toBeUndefined();
    storage.options = { nodeName: "node-1", mover: "waits" };
    await agentOn("node-1");
    await pass(5_000);
    const mover = client.peek(pods, { namespace: NS, name: "read" });
    expect(mover?.spec).toMatchObject({
      nodeName: "node-1",
      volumes: [{ hostPath: { path: `/var/lib/kubelet/pods/${pod.metadata.uid}/volumes/kubernetes.io~empty-dir/cache`, type: "Directory" } }, {}, {}],
      containers: [
        { command: ["/velero", "pod-volume", "backup"], volumeMounts: [{ name: expect.any(String), mountPath: expect.stringMatching(/^\/[^/]+$/) }, {}, {}] },
      ],
    });
    expect(statusOf()).toMatchObject({ phase: "InProgress" });
    expect(statusOf()).not.toHaveProperty("node");
    storage.options = { nodeName: "node-1", mover: "succeeds" };
    storage.nudge();
    await pass(5_000);
    expect(statusOf()).toMatchObject({
      phase: "Completed",
      snapshotID: "af9e484ddc77f57e45f5667014ff3f86",
      progress: { bytesDone: 1500096, totalBytes: 1500096 },
      acceptedTimestamp: expect.stringMatching(/Z$/),
      startTimestamp: expect.stringMatching(/Z$/),
      completionTimestamp: expect.stringMatching(/Z$/),
    });
    expect(client.peek(pods, { namespace: NS, name: "read" })).toBeUndefined();
    expect(client.peek(secrets, { namespace: NS, name: "read" })).toBeUndefined();
    expect(client.peek(podVolumeBackups, { namespace: NS, name: "read" })?.metadata.finalizers).toBeUndefined();
  });

  it("fails when its node is dead: nobody else can reach the volume", async () => {
    const pod = seedPod();
    await agentOn("node-2");
    client.mutate(nodes, { name: "node-1" }, (node) => {
      node.status = { conditions: [{ type: "Ready", status: "Unknown", lastTransitionTime: new Date(clock.nowMs() - 120_000).toISOString() }] };
    });
    client.seed(podVolumeBackups, backupOf(pod));
    await pass(130_000);
    expect(statusOf()).toMatchObject({ phase: "Failed", message: 'node "node-1" is not ready' });
  });

  it.each([
    ["a pod that is gone", { pod: { namespace: "notes", name: "web", uid: "another" } }, 'pod "notes/web" is gone'],
    ["restic, which is not written", { uploaderType: "restic" as const }, "only kopia is written"],
    ["a volume that the pod has not", { volume: "nothing" }, 'Cannot find volume "nothing"'],
  ])("with %s fails and says so", async (_what, spec, message) => {
    const pod = seedPod();
    await agentOn("node-1");
    client.seed(podVolumeBackups, backupOf(pod, spec));
    await pass(5_000);
    expect(statusOf()).toMatchObject({ phase: "Failed", message: expect.stringContaining(message) });
  });

  it("that is canceled stops its mover", async () => {
    storage.options = { nodeName: "node-1", mover: "waits" };
    const pod = seedPod();
    await agentOn("node-1");
    client.seed(podVolumeBackups, backupOf(pod));
    await pass(5_000);
    client.mutate(podVolumeBackups, { namespace: NS, name: "read" }, (backup) => {
      backup.spec.cancel = true;
    });
    storage.nudge();
    await pass(10_000);
    expect(statusOf()?.phase).toBe("Canceled");
    expect(client.peek(pods, { namespace: NS, name: "read" })).toBeUndefined();
  });
});

it("a PodVolumeRestore waits until its pod holds the volume in its init container", async () => {
  const waiting = { name: "restore-wait", ready: false, restartCount: 0 };
  const pod = seedPod({ phase: "Pending", initContainerStatuses: [{ ...waiting, state: { waiting: { reason: "PodInitializing" } } }] });
  await agentOn("node-1");
  client.seed(podVolumeRestores, {
    metadata: { namespace: NS, name: "fill" },
    spec: {
      backupStorageLocation: "default",
      pod: { namespace: "notes", name: "web", uid: pod.metadata.uid ?? "" },
      repoIdentifier: "",
      snapshotID: "a".repeat(32),
      sourceNamespace: "notes",
      uploaderType: "kopia",
      volume: "cache",
    },
  });
  const phase = () => client.peek(podVolumeRestores, { namespace: NS, name: "fill" })?.status;
  // Only the pod's own containers are played here, not what the kubelet says of them.
  storage.options = { nodeName: "node-1", kubelet: "waits" };
  await pass(20_000);
  expect(phase()?.phase).toBeUndefined();
  client.mutate(pods, { namespace: "notes", name: "web" }, (current) => {
    current.status = { phase: "Pending", initContainerStatuses: [{ ...waiting, state: { running: {} } }] };
  });
  await pass(5_000);
  expect(phase()?.phase).toBe("Accepted");
  storage.options = { nodeName: "node-1", mover: "succeeds" };
  storage.nudge();
  await pass(5_000);
  expect(phase()).toMatchObject({
    phase: "Completed",
    node: "node-1",
    progress: { bytesDone: 1500096, totalBytes: 1500096 },
    acceptedTimestamp: expect.stringMatching(/Z$/),
    startTimestamp: expect.stringMatching(/Z$/),
    completionTimestamp: expect.stringMatching(/Z$/),
  });
});

it("a PodVolumeRestore of what restic wrote is given to a mover without a BackupRepository of its own", async () => {
  const pod = seedPod({ phase: "Pending", initContainerStatuses: [{ name: "restore-wait", ready: false, restartCount: 0, state: { running: {} } }] });
  await agentOn("node-1");
  storage.options = { nodeName: "node-1", mover: "waits" };
  client.seed(podVolumeRestores, {
    metadata: { namespace: NS, name: "old" },
    spec: {
      backupStorageLocation: "default",
      pod: { namespace: "notes", name: "web", uid: pod.metadata.uid ?? "" },
      repoIdentifier: "s3:s3-eu.amazonaws.com/b/restic/notes",
      snapshotID: "0123abcd",
      sourceNamespace: "notes",
      uploaderType: "restic",
      volume: "cache",
    },
  });
  await pass(10_000);
  expect(client.peek(podVolumeRestores, { namespace: NS, name: "old" })?.status?.phase).toBe("InProgress");
  expect(client.all(backupRepositories)).toEqual([]);
  const handed = client.peek(secrets, { namespace: NS, name: "old" })?.data?.["repository.json"] ?? "";
  expect(JSON.parse(Buffer.from(handed, "base64").toString())).toMatchObject({ spec: { repositoryType: "restic", volumeNamespace: "notes" } });
});

it("a PodVolumeRestore that is canceled stops its mover, and says what went wrong with one that failed", async () => {
  const pod = seedPod({ phase: "Pending", initContainerStatuses: [{ name: "restore-wait", ready: false, restartCount: 0, state: { running: {} } }] });
  await agentOn("node-1");
  const place = { backupStorageLocation: "default", pod: { namespace: "notes", name: "web", uid: pod.metadata.uid ?? "" }, repoIdentifier: "" };
  const spec = { ...place, snapshotID: "a".repeat(32), sourceNamespace: "notes", uploaderType: "kopia" as const, volume: "cache" };
  const statusOfRestore = (name: string) => client.peek(podVolumeRestores, { namespace: NS, name })?.status;
  client.seed(podVolumeRestores, { metadata: { namespace: NS, name: "bad" }, spec: { ...spec, volume: "nothing" } });
  await pass(5_000);
  expect(statusOfRestore("bad")).toMatchObject({ phase: "Failed", message: expect.stringContaining('volume "nothing"') });
  storage.options = { nodeName: "node-1", mover: "waits" };
  client.seed(podVolumeRestores, { metadata: { namespace: NS, name: "fill" }, spec });
  await pass(5_000);
  client.mutate(podVolumeRestores, { namespace: NS, name: "fill" }, (restore) => {
    restore.spec.cancel = true;
  });
  storage.nudge();
  await pass(10_000);
  expect(statusOfRestore("fill")?.phase).toBe("Canceled");
});

describe("where the kubelet keeps a volume", () => {
  const path = (volume: Record<string, unknown>) =>
    podVolumePath(
      client,
      "/k",
      {
        metadata: { namespace: "n", name: "p", uid: "u" },
        spec: { containers: [], volumes: [{ name: "v", ...volume } as NonNullable<Pod["spec"]["volumes"]>[number]] },
      },
      "v",
    );
  const bound = (spec: Record<string, unknown>, volumeMode: "Filesystem" | "Block" = "Filesystem"): void => {
    client.seed(persistentVolumeClaims, { metadata: { namespace: "n", name: "c" }, spec: { volumeName: "pv", volumeMode } });
    client.seed(persistentVolumes, { metadata: { name: "pv" }, spec });
  };

  it.each([
    [{ emptyDir: {} }, "kubernetes.io~empty-dir/v"],
    [{ nfs: { server: "s", path: "/" } }, "kubernetes.io~nfs/v"],
    [{ csi: { driver: "d" } }, "kubernetes.io~csi/v/mount"],
  ])("of the pod's own: %j", async (volume, wanted) => expect(await path(volume)).toBe(`/k/pods/u/volumes/${wanted}`));

  it.each([
    [{ csi: { driver: "d", volumeHandle: "h" } }, "kubernetes.io~csi/pv/mount"],
    [{ awsElasticBlockStore: { volumeID: "x" } }, "kubernetes.io~csi/pv/mount"],
    [{ local: { path: "/x" } }, "kubernetes.io~local-volume/pv"],
  ])("of a claim: %j", async (spec, wanted) => {
    bound(spec);
    expect(await path({ persistentVolumeClaim: { claimName: "c" } })).toBe(`/k/pods/u/volumes/${wanted}`);
  });

  it("is nowhere for a path of the node, a block volume and an unbound claim", async () => {
    bound({ hostPath: { path: "/x" } });
    await expect(path({ persistentVolumeClaim: { claimName: "c" } })).rejects.toThrow("volumes of its type have no folder there");
    bound({ csi: { driver: "d", volumeHandle: "h" } }, "Block");
    await expect(path({ persistentVolumeClaim: { claimName: "c" } })).rejects.toThrow("it is a block volume");
    client.seed(persistentVolumeClaims, { metadata: { namespace: "n", name: "c" }, spec: { selector: {} } });
    await expect(path({ persistentVolumeClaim: { claimName: "c" } })).rejects.toThrow("it is not bound");
  });
});
