import { backupRepositories, backupStorageLocations, type PodVolumeBackup, podVolumeBackups, podVolumeRestores } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { nodes, type Pod, persistentVolumeClaims, persistentVolumes, pods, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dataMoverClaims } from "../data-movement/data-movers.ts";
import { startNodeAgent } from "../data-movement/node-agent.ts";
import type { NodeAgentConfig } from "../data-movement/node-agent-config.ts";
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

async function agentOn(nodeName: string, config: NodeAgentConfig = {}): Promise<void> {
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
      config,
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

  it("is completed when its mover has told and proven its end, which its kubelet says later", async () => {
    storage.options = { nodeName: "node-1", mover: "tells" };
    const pod = seedPod();
    await agentOn("node-1");
    client.seed(podVolumeBackups, backupOf(pod));
    await pass(10_000);
    expect(statusOf()).toMatchObject({ phase: "Completed", snapshotID: "af9e484ddc77f57e45f5667014ff3f86" });
    expect(client.peek(pods, { namespace: NS, name: "read" })).toBeUndefined();
  });

  it("has its mover's pod made while its repository gets ready, and begins when both are", async () => {
    storage.options = { nodeName: "node-1", repositories: "waits" };
    const pod = seedPod();
    await agentOn("node-1");
    client.seed(podVolumeBackups, backupOf(pod));
    await pass(5_000);
    expect(client.peek(pods, { namespace: NS, name: "read" })?.status?.phase).toBe("Running");
    expect(statusOf()?.phase).toBe("Accepted");
    client.mutate(backupRepositories, { namespace: NS, name: "notes-default-kopia" }, (repository) => {
      repository.status = { phase: "Ready" };
    });
    await pass(5_000);
    expect(statusOf()?.phase).toBe("Completed");
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

  it("fails when no agent runs on its node any more, though the node is well", async () => {
    const agentPod = (node: string) => ({
      metadata: { namespace: NS, name: `agent-${node}`, labels: { role: "node-agent" } },
      spec: { nodeName: node, containers: [] },
      status: { phase: "Running" as const },
    });
    storage.options = { nodeName: "node-1", kubelet: "waits" };
    const pod = seedPod();
    for (const node of ["node-1", "node-2"]) client.seed(pods, agentPod(node));
    await agentOn("node-2");
    client.seed(podVolumeBackups, backupOf(pod));
    await pass(60_000);
    client.discard(pods, { namespace: NS, name: "agent-node-1" });
    await pass(9 * 60_000);
    expect(statusOf()?.phase).toBeUndefined();
    await pass(3 * 60_000);
    expect(statusOf()).toMatchObject({ phase: "Failed", message: 'no node-agent has run on node "node-1" for 10 minutes' });
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

it.each([
  ["gets a volume for its cache, which goes with it, where the snapshot is large", 600 << 20, true],
  ["gets none where the snapshot is smaller than the threshold", 1 << 20, false],
])("a PodVolumeRestore %s", async (_title, snapshotSize, hasCache) => {
  const pod = seedPod({ phase: "Pending", initContainerStatuses: [{ name: "restore-wait", ready: true, restartCount: 0, state: { running: {} } }] });
  client.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "csi.example.com" });
  storage.options = { nodeName: "node-1", mover: "waits" };
  await agentOn("node-1", { cachePVC: { storageClass: "fast", residentThresholdInMB: 512 } });
  const restore = client.seed(podVolumeRestores, {
    metadata: { namespace: NS, name: "fill" },
    spec: {
      backupStorageLocation: "default",
      pod: { namespace: "notes", name: "web", uid: pod.metadata.uid ?? "" },
      repoIdentifier: "",
      snapshotID: "a".repeat(32),
      snapshotSize,
      sourceNamespace: "notes",
      uploaderType: "kopia",
      volume: "cache",
    },
  });
  await pass(5_000);
  const mover = client.peek(pods, { namespace: NS, name: "fill" });
  expect(mover?.spec.containers[0]?.args).toContain(`--cache-volume-path=${hasCache ? "/cachedir" : ""}`);
  const mounted = mover?.spec.volumes?.filter(({ name }) => name === "cachedir");
  expect(mounted).toEqual(hasCache ? [{ name: "cachedir", persistentVolumeClaim: { claimName: "fill-cache" } }] : []);
  const claims = (): unknown[] => client.all(persistentVolumeClaims).map(({ metadata, spec }) => [metadata.name, metadata.ownerReferences?.[0]?.uid, spec]);
  const spec = { accessModes: ["ReadWriteOnce"], volumeMode: "Filesystem", storageClassName: "fast", resources: { requests: { storage: "6Gi" } } };
  expect(claims()).toEqual(hasCache ? [["fill-cache", restore.metadata.uid, expect.objectContaining(spec)]] : []);
  storage.options = { nodeName: "node-1", mover: "succeeds" };
  storage.nudge();
  await pass(5_000);
  expect(client.peek(podVolumeRestores, { namespace: NS, name: "fill" })?.status?.phase).toBe("Completed");
  expect(claims()).toEqual([]);
  expect([...storage.volumes]).toEqual([]);
});

it("a PodVolumeRestore that was accepted names its node, and the agents of other nodes wait for that one", async () => {
  const pod = seedPod({ phase: "Pending", initContainerStatuses: [{ name: "restore-wait", ready: false, restartCount: 0, state: { running: {} } }] });
  storage.options = { nodeName: "node-1", kubelet: "waits" };
  await agentOn("node-1");
  await agentOn("node-2");
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
  await pass(5_000);
  expect(client.peek(podVolumeRestores, { namespace: NS, name: "fill" })?.status).toMatchObject({ phase: "Accepted", node: "node-1" });
  // Without that the other agent saw a node without a name, which is none and so is dead: it looked again at once, for ever, and did nothing else any more.
  client.mutate(podVolumeRestores, { namespace: NS, name: "fill" }, (restore) => {
    restore.status = { ...restore.status, node: "" };
  });
  await pass(5_000);
  expect(client.peek(podVolumeRestores, { namespace: NS, name: "fill" })?.status?.phase).toBe("Accepted");
});

it("a PodVolumeRestore whose pod is gone fails, whoever sees it first", async () => {
  const pod = seedPod();
  await agentOn("node-2");
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
  storage.options = { nodeName: "node-1", kubelet: "waits" };
  client.discard(pods, { namespace: "notes", name: "web" });
  await pass(4 * 60_000);
  expect(client.peek(podVolumeRestores, { namespace: NS, name: "fill" })?.status).toMatchObject({ phase: "Failed", message: 'pod "notes/web" is gone' });
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
