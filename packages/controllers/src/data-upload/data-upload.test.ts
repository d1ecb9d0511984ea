import {
  backupRepositories,
  backupStorageLocations,
  type DataUpload,
  dataUploads,
  LABELS,
  MOVER_SECRET_KEYS,
  podVolumeBackups,
  proveResult,
  type ToldResult,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type ConfigMap, events, keyOf, type Node, nodes, persistentVolumeClaims, persistentVolumes, pods, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { dataMoverClaims } from "../data-movement/data-movers.ts";
import { startNodeAgent } from "../data-movement/node-agent.ts";
import { parseNodeAgentConfig } from "../data-movement/node-agent-config.ts";
import { SimulatedStorage, type SimulatedStorageOptions } from "../testing/simulated-storage.ts";

const NS = "velero";
const KEY = { namespace: NS, name: "first-6vp9m" };

interface World {
  readonly clock: VirtualClock;
  readonly client: FakeKubeClient;
  readonly storage: SimulatedStorage;
}

function world(options: SimulatedStorageOptions = {}): World {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, random: seededRandom(7) });
  const storage = new SimulatedStorage(client, options);
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  client.seed(backupStorageLocations, {
    metadata: { namespace: NS, name: "default" },
    spec: { provider: "aws", objectStorage: { bucket: "b" }, config: { region: "r" } },
  });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": base64("secret\n") } });
  client.seed(secrets, { metadata: { namespace: NS, name: "cloud-credentials" }, data: { cloud: base64("[default]") } });
  for (const name of ["node-1", "node-2"]) client.seed(nodes, node(name, "True"));
  client.seed(persistentVolumeClaims, {
    metadata: { namespace: "notes", name: "files" },
    spec: { storageClassName: "csi", volumeMode: "Filesystem", volumeName: "pv-source" },
    status: { phase: "Bound" },
  });
  client.seed(persistentVolumes, { metadata: { name: "pv-source" }, spec: {}, status: { phase: "Bound" } });
  return { clock, client, storage };
}

function node(name: string, ready: "True" | "False", since = "2025-12-31T00:00:00Z"): Node {
  return { metadata: { name }, status: { conditions: [{ type: "Ready", status: ready, lastTransitionTime: since }] } };
}

function upload(spec: Partial<DataUpload["spec"]> = {}, metadata: Partial<DataUpload["metadata"]> = {}): DataUpload {
  return {
    metadata: { ...KEY, ...metadata },
    spec: {
      backupStorageLocation: "default",
      csiSnapshot: { driver: "csi.example.com", snapshotClass: "csi", storageClass: "csi", volumeSnapshot: `source-${metadata.name ?? KEY.name}` },
      operationTimeout: "10m0s",
      snapshotType: "CSI",
      sourceNamespace: "notes",
      sourcePVC: "files",
      ...spec,
    },
  };
}

function create({ client, storage }: World, object = upload()): void {
  storage.seedSnapshot("notes", object.spec.csiSnapshot?.volumeSnapshot ?? "");
  client.seed(dataUploads, object);
}

function agent({ client, clock }: World, nodeName = "node-1", options: { concurrency?: number; mode?: "guest" } = {}): Promise<{ stop(): Promise<void> }> {
  const config: ConfigMap = { metadata: { name: "c" }, data: { k: JSON.stringify({ loadConcurrency: { globalConfig: options.concurrency ?? 2 } }) } };
  return startNodeAgent({
    client,
    clock,
    random: seededRandom(3),
    logger: memoryLogger(),
    namespace: NS,
    nodeName,
    claims: dataMoverClaims({ mode: options.mode ?? "standalone" }),
    pod: { image: "drayage/dray:test", serviceAccount: "drayage-mover" },
    config: parseNodeAgentConfig(config),
  });
}

/** Moves the world on until the object is in a phase and its finalizer is gone. */
async function until({ client, clock }: World, done: (object: DataUpload | undefined) => boolean, steps = 400, stepMs = 500): Promise<DataUpload> {
  for (let step = 0; step < steps; step++) {
    const object = client.peek(dataUploads, KEY);
    if (done(object)) return object ?? upload();
    await clock.advance(stepMs);
    await settle();
  }
  throw new Error(`the world came to rest in ${JSON.stringify(client.peek(dataUploads, KEY), null, 1)}`);
}

const ended = (object: DataUpload | undefined): boolean =>
  ["Completed", "Failed", "Canceled"].includes(object?.status?.phase ?? "") && object?.metadata.finalizers === undefined;
const inPhase = (phase: string) => (object: DataUpload | undefined) => object?.status?.phase === phase;

/** Events of the agent, in order. */
const told = ({ client }: World): string[] =>
  client
    .all(events)
    .filter(({ source }) => source?.component === "drayage-node-agent")
    .sort((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion))
    .map(({ type, reason, message }) => `${type} ${reason}: ${message}`);

/** What of the movement is left in the world: there must be nothing. */
function leftovers({ client, storage }: World): string[] {
  return [
    ...client.all(pods).map(({ metadata }) => `pod ${metadata.name}`),
    ...client.all(persistentVolumeClaims).flatMap(({ metadata }) => (metadata.namespace === NS ? [`claim ${metadata.name}`] : [])),
    ...client.all(persistentVolumes).flatMap(({ metadata }) => (metadata.name === "pv-source" ? [] : [`volume ${metadata.name}`])),
    ...client.all(secrets).flatMap(({ metadata }) => (metadata.name === KEY.name ? [`secret ${metadata.name}`] : [])),
    ...client.all(volumeSnapshots).map(({ metadata }) => `volume snapshot ${metadata.namespace}/${metadata.name}`),
    ...client.all(volumeSnapshotContents).map(({ metadata }) => `content ${metadata.name}`),
    ...[...storage.snapshots].map((handle) => `storage snapshot ${handle}`),
    ...[...storage.volumes].map((handle) => `storage volume ${handle}`),
  ];
}

describe("a DataUpload", () => {
  it("goes through every phase and leaves nothing but its result", async () => {
    const w = world();
    create(w);
    const phases: string[] = [];
    w.client.react(dataUploads, (_before, after) => {
      const phase = after?.status?.phase ?? "New";
      if (phases.at(-1) !== phase) phases.push(phase);
    });
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(phases).toEqual(["Accepted", "Prepared", "InProgress", "Completed"]);
    expect(result.status).toMatchObject({
      phase: "Completed",
      acceptedByNode: "node-1",
      node: "node-1",
      nodeOS: "linux",
      snapshotID: "af9e484ddc77f57e45f5667014ff3f86",
      path: `/${result.metadata.uid}`,
      incrementalBytes: 13,
      progress: { bytesDone: 1500096, totalBytes: 1500096 },
    });
    expect(result.status?.completionTimestamp).toMatch(/Z$/);
    expect(result.metadata.labels?.[LABELS.exposeOnGoing]).toBeUndefined();
    expect(result.metadata.annotations).toBeUndefined();
    expect(told(w)).toEqual([
      'Normal Accepted: accepted by node "node-1"',
      'Normal Prepared: the volume is exposed on node "node-1"',
      "Normal Completed: data upload completed",
    ]);
    expect(leftovers(w)).toEqual([]);
  });

  it("makes its intermediate objects as Velero names them", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    const object = await until(w, inPhase("InProgress"));
    await stop();
    const owner = [{ apiVersion: "velero.io/v2alpha1", kind: "DataUpload", name: KEY.name, uid: object.metadata.uid, controller: true }];
    expect(w.client.peek(volumeSnapshots, KEY)?.spec).toEqual({ source: { volumeSnapshotContentName: KEY.name }, volumeSnapshotClassName: "csi" });
    expect(w.client.peek(volumeSnapshotContents, { name: KEY.name })?.spec).toMatchObject({
      deletionPolicy: "Delete",
      driver: "csi.example.com",
      source: { snapshotHandle: `handle-source-${KEY.name}` },
      volumeSnapshotRef: { namespace: NS, name: KEY.name, uid: w.client.peek(volumeSnapshots, KEY)?.metadata.uid },
    });
    const claim = w.client.peek(persistentVolumeClaims, KEY);
    expect(claim?.metadata.ownerReferences).toEqual(owner);
    expect(claim?.spec).toMatchObject({
      accessModes: ["ReadWriteOnce"],
      storageClassName: "csi",
      volumeMode: "Filesystem",
      dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: KEY.name },
    });
    const pod = w.client.peek(pods, KEY);
    expect(pod?.metadata).toMatchObject({ ownerReferences: owner, labels: { [LABELS.dataUpload]: KEY.name, [LABELS.exposerPodGroup]: "snapshot-exposer" } });
    expect(pod?.spec.containers[0]).toMatchObject({
      name: object.metadata.uid,
      command: ["/velero", "data-mover", "backup"],
      args: [`--volume-path=/${object.metadata.uid}`, "--volume-mode=Filesystem", `--data-upload=${KEY.name}`, "--resource-timeout=10m0s"],
    });
    const secret = w.client.peek(secrets, KEY);
    expect(secret?.metadata.ownerReferences).toEqual(owner);
    expect(Buffer.from(secret?.data?.["repository-password"] ?? "", "base64").toString()).toBe("secret");
    expect(w.client.all(backupRepositories).map(({ metadata, spec }) => [metadata.name, metadata.labels, spec])).toEqual([
      [
        "notes-default-kopia",
        { [LABELS.volumeNamespace]: "notes", [LABELS.storageLocation]: "default", [LABELS.repositoryType]: "kopia" },
        { backupStorageLocation: "default", maintenanceFrequency: "0s", repositoryType: "kopia", volumeNamespace: "notes" },
      ],
    ]);
    // The source's snapshot changed hands: only the backup's content refers to it now.
    expect(w.client.all(volumeSnapshotContents).map(({ metadata }) => metadata.name)).toEqual([KEY.name]);
  });

  it("fails with the mover's own words, and leaves nothing", async () => {
    const w = world({ mover: "fails" });
    create(w);
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed", message: "disk read error" });
    expect(leftovers(w)).toEqual([]);
  });

  it("fails but names its snapshot when some files could not be read", async () => {
    const w = world({ mover: "misses-files" });
    create(w);
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed", snapshotID: "b".repeat(32), message: '1 entry could not be read: "locked": permission denied' });
    expect(leftovers(w)).toEqual([]);
  });

  it("fails at once when its mover does not exist, naming those that do", async () => {
    const w = world();
    create(w, upload({ datamover: "acme" }));
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status?.message).toBe('data mover "acme" does not exist: the movers here are "velero", "velero-fs", "velero-block", "drayage"');
    expect(leftovers(w)).toEqual([]);
  });

  it("is left alone by a guest when it is not for Drayage", async () => {
    const w = world();
    create(w, upload({ datamover: "velero" }));
    const { stop } = await agent(w, "node-1", { mode: "guest" });
    await w.clock.advance(120_000);
    await stop();
    expect(w.client.peek(dataUploads, KEY)?.status).toBeUndefined();
    expect(w.client.peek(dataUploads, KEY)?.metadata.finalizers).toBeUndefined();
  });

  it("has a finalizer of our own when a real Velero drives us", async () => {
    const w = world({ mover: "waits" });
    create(w, upload({ datamover: "drayage" }));
    const { stop } = await agent(w, "node-1", { mode: "guest" });
    const object = await until(w, inPhase("InProgress"));
    await stop();
    expect(object.metadata.finalizers).toEqual(["drayage.io/data-movement"]);
  });

  it.each([
    ["New", "was canceled before it started"],
    ["Accepted", "was canceled while it was being prepared"],
    ["InProgress", "data path is canceled"],
  ])("can be canceled in %s and leaves nothing", async (phase, message) => {
    const w = world({ mover: "waits", kubelet: phase === "Accepted" ? "waits" : "runs" });
    create(w, upload({ cancel: phase === "New" }));
    const { stop } = await agent(w);
    if (phase !== "New") {
      await until(w, inPhase(phase));
      await w.clock.advance(5_000);
      w.client.mutate(dataUploads, KEY, (object) => {
        object.spec.cancel = true;
      });
    }
    const result = await until(w, ended);
    await stop();
    expect(result.status?.phase).toBe("Canceled");
    expect(result.status?.message).toContain(message);
    expect(leftovers(w)).toEqual([]);
  });

  it("is canceled, not dropped, when it is deleted", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const phases: (string | undefined)[] = [];
    w.client.react(dataUploads, (before, after) => phases.push(after === undefined ? `gone after ${before?.status?.phase}` : after.status?.phase));
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"));
    await w.client.delete(dataUploads, KEY);
    await until(w, (object) => object === undefined);
    await stop();
    expect(phases.at(-1)).toBe("gone after Canceled");
    expect(leftovers(w)).toEqual([]);
  });

  it("fails after the time for preparing, saying what it was waiting for", async () => {
    const w = world({ kubelet: "waits" });
    create(w);
    const { stop } = await agent(w);
    await until(w, inPhase("Accepted"));
    await w.clock.advance(5_000);
    w.client.mutate(pods, KEY, (pod) => {
      pod.status = { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", message: "0/2 nodes are available" }] };
    });
    const waiting = await until(w, (object) => object?.status?.message?.startsWith("waiting for") === true);
    expect(waiting.status).toMatchObject({ phase: "Accepted", message: "waiting for the mover pod to be scheduled: 0/2 nodes are available" });
    const result = await until(w, ended, 200, 30_000);
    await stop();
    expect(result.status?.phase).toBe("Failed");
    expect(told(w)).toEqual([
      'Normal Accepted: accepted by node "node-1"',
      "Normal Waiting: waiting for the mover pod to be scheduled: 0/2 nodes are available",
      "Warning Failed: timeout on preparing data upload: it was waiting for the mover pod to be scheduled: 0/2 nodes are available",
    ]);
    expect(result.status?.message).toBe("timeout on preparing data upload: it was waiting for the mover pod to be scheduled: 0/2 nodes are available");
    expect(leftovers(w)).toEqual([]);
  });

  it.each(["exceeded quota: movers, requested: pods=1, used: pods=2, limited: pods=2", "status unknown for quota: movers, resources: pods"])(
    "waits for room in a quota, saying so, and completes when there is some: %s",
    async (refusal) => {
      const w = world();
      create(w);
      let full = true;
      w.client.intercept = ({ verb, resource }) => {
        if (full && verb === "create" && resource === "pods")
          throw new DrayError("KUBE_FORBIDDEN", `Cannot create pods "first-6vp9m": pods "first-6vp9m" is forbidden: ${refusal}`);
      };
      const { stop } = await agent(w);
      const waiting = await until(w, (object) => object?.status?.message !== undefined);
      expect(waiting.status).toMatchObject({ phase: "Accepted", message: expect.stringMatching(/^waiting for room in a quota: .* quota: movers/) });
      await w.clock.advance(300_000);
      const writes = w.client.calls.filter((call) => isWrite(call) && call.resource === "datauploads.velero.io").length;
      await w.clock.advance(300_000);
      expect(w.client.calls.filter((call) => isWrite(call) && call.resource === "datauploads.velero.io").length).toBe(writes);
      full = false;
      const result = await until(w, ended);
      await stop();
      expect(result.status).toMatchObject({ phase: "Completed" });
      expect(result.status?.message).toBeUndefined();
      expect(leftovers(w)).toEqual([]);
    },
  );

  it("fails when the quota stays full for the whole time for preparing, with the reason", async () => {
    const w = world();
    create(w);
    w.client.intercept = ({ verb, resource }) => {
      if (verb === "create" && resource === "pods") throw new DrayError("KUBE_FORBIDDEN", "Cannot create pods: exceeded quota: movers");
    };
    const { stop } = await agent(w);
    const result = await until(w, ended, 200, 30_000);
    await stop();
    expect(result.status).toMatchObject({
      phase: "Failed",
      message: "timeout on preparing data upload: it was waiting for room in a quota: Cannot create pods: exceeded quota: movers",
    });
    expect(leftovers(w)).toEqual([]);
  });

  it("says why its volume cannot be mounted", async () => {
    const w = world({ kubelet: "waits" });
    create(w);
    const { stop } = await agent(w);
    await until(w, () => w.client.peek(pods, KEY) !== undefined);
    w.client.mutate(pods, KEY, (pod) => {
      pod.spec.nodeName = "node-1";
      pod.status = { phase: "Pending", conditions: [{ type: "PodScheduled", status: "True" }] };
    });
    const pod = w.client.peek(pods, KEY);
    w.client.seed(events, {
      metadata: { namespace: NS, name: "mount" },
      involvedObject: { kind: "Pod", namespace: NS, name: KEY.name, uid: pod?.metadata.uid ?? "" },
      type: "Warning",
      reason: "FailedMount",
      message: "MountVolume.SetUp failed for volume: wrong fs type",
    });
    const wanted = 'the mover pod to start on node "node-1": FailedMount: MountVolume.SetUp failed for volume: wrong fs type';
    await until(w, (object) => object?.status?.message === `waiting for ${wanted}`);
    const result = await until(w, ended, 200, 30_000);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed", message: `timeout on preparing data upload: it was waiting for ${wanted}` });
    expect(leftovers(w)).toEqual([]);
  });

  it("is prepared as soon as its mover says that it runs, which its kubelet says later", async () => {
    const w = world({ kubelet: "waits" });
    create(w);
    const { stop } = await agent(w);
    for (let step = 0; step < 50 && w.client.peek(pods, KEY) === undefined; step++) await w.clock.advance(500);
    w.client.mutate(pods, KEY, (pod) => {
      pod.spec.nodeName = "node-1";
      pod.status = { phase: "Pending" };
    });
    const say = async (uid: string | undefined): Promise<string | undefined> => {
      w.client.seed(events, {
        metadata: { namespace: NS, name: `${KEY.name}.${uid}` },
        involvedObject: { kind: "DataUpload", namespace: NS, name: KEY.name },
        related: { kind: "Pod", namespace: NS, name: KEY.name, ...(uid === undefined ? {} : { uid }) },
        reason: "Data-Path-Progress",
        message: "{}",
      });
      await w.clock.advance(5_000);
      return w.client.peek(dataUploads, KEY)?.status?.phase;
    };
    expect(await say("a pod of an earlier epoch")).toBe("Accepted");
    expect(await say(undefined)).toBe("Accepted");
    expect(await say(w.client.peek(pods, KEY)?.metadata.uid)).toBe("InProgress");
    w.storage.options = {};
    w.storage.nudge();
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("is completed when its mover has told and proven its end, which its kubelet says later", async () => {
    const w = world({ mover: "tells" });
    create(w);
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({
      phase: "Completed",
      snapshotID: "af9e484ddc77f57e45f5667014ff3f86",
      incrementalBytes: 13,
      progress: { bytesDone: 1500096, totalBytes: 1500096 },
    });
    expect(leftovers(w)).toEqual([]);
  });

  describe("beside a PodVolumeBackup of its node, which an application waits for", () => {
    async function started(): Promise<World & { stop(): Promise<void>; pass(ms: number): Promise<void>; has(name: string): boolean }> {
      const w = world({ mover: "waits" });
      const pod = w.client.seed(pods, {
        metadata: { namespace: "notes", name: "web" },
        spec: { nodeName: "node-1", containers: [], volumes: [{ name: "cache", emptyDir: {} }] },
        status: { phase: "Running" },
      });
      w.client.seed(podVolumeBackups, {
        metadata: { namespace: NS, name: "read" },
        spec: {
          backupStorageLocation: "default",
          node: "node-1",
          pod: { namespace: "notes", name: "web", uid: pod.metadata.uid ?? "" },
          repoIdentifier: "",
          uploaderType: "kopia",
          volume: "cache",
        },
      });
      const { stop } = await agent(w);
      const pass = async (ms: number): Promise<void> => {
        for (let left = ms; left > 0; left -= 50) {
          await w.clock.advance(50);
          await settle();
        }
      };
      await pass(500);
      create(w);
      await pass(700);
      return { ...w, stop, pass, has: (name) => w.client.peek(pods, { namespace: NS, name }) !== undefined };
    }

    it("has its mover made when that one has ended", async () => {
      const w = await started();
      expect([w.has("read"), w.has(KEY.name)]).toEqual([true, false]);
      expect(w.client.peek(secrets, KEY)).toBeDefined();
      w.storage.options = { mover: "succeeds" };
      w.storage.nudge();
      await w.pass(200);
      expect(w.client.peek(podVolumeBackups, { namespace: NS, name: "read" })?.status?.phase).toBe("Completed");
      expect(w.has(KEY.name) || ended(w.client.peek(dataUploads, KEY))).toBe(true);
      await until(w, ended);
      await w.stop();
    });

    it("has its mover made after a moment, whatever becomes of that one", async () => {
      const w = await started();
      await w.pass(1_500);
      expect([w.has("read"), w.has(KEY.name)]).toEqual([true, true]);
      await w.stop();
    });
  });

  it("is not completed by what somebody says who does not know its mover's key", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"));
    const uid = w.client.peek(pods, KEY)?.metadata.uid ?? "";
    const result = JSON.stringify({ snapshotID: "forged", totalBytes: 1, incrementalBytes: 1 });
    const key = Buffer.from(w.client.peek(secrets, KEY)?.data?.[MOVER_SECRET_KEYS.resultKey] ?? "", "base64");
    const say = async (podUid: string, told: ToldResult): Promise<string | undefined> => {
      w.client.seed(events, {
        metadata: { namespace: NS, name: `${KEY.name}.${told.proof}.${podUid}` },
        involvedObject: { kind: "DataUpload", namespace: NS, name: KEY.name },
        related: { kind: "Pod", namespace: NS, name: KEY.name, uid: podUid },
        reason: "Data-Path-Progress",
        message: JSON.stringify(told),
      });
      await w.clock.advance(5_000);
      return w.client.peek(dataUploads, KEY)?.status?.phase;
    };
    expect(await say(uid, proveResult(new Uint8Array(32), uid, result))).toBe("InProgress");
    expect(await say("another pod", proveResult(key, "another pod", result))).toBe("InProgress");
    expect(await say(uid, proveResult(key, "another pod", result))).toBe("InProgress");
    w.client.intercept = ({ verb, resource }) => {
      if (verb === "get" && resource === "secrets") throw new DrayError("KUBE_UNAVAILABLE", "Cannot read: injected", { context: { sent: false } });
    };
    await say(uid, proveResult(key, uid, JSON.stringify({ snapshotID: "its own", totalBytes: 1, incrementalBytes: 1 })));
    w.client.intercept = undefined;
    const done = await until(w, ended);
    await stop();
    expect(done.status).toMatchObject({ phase: "Completed", snapshotID: "its own" });
  });

  it("fails when its volume snapshot never gets ready, with what the snapshot says", async () => {
    const w = world();
    create(w);
    // As the driver says it, from where the snapshot controller takes it.
    w.client.mutate(volumeSnapshotContents, { name: `snapcontent-source-${KEY.name}` }, (content) => {
      content.status = { ...content.status, readyToUse: false, error: { message: "the array is degraded" } };
    });
    w.client.mutate(volumeSnapshots, { namespace: "notes", name: `source-${KEY.name}` }, (snapshot) => {
      snapshot.status = { readyToUse: false, boundVolumeSnapshotContentName: `snapcontent-source-${KEY.name}`, error: { message: "the array is degraded" } };
    });
    const { stop } = await agent(w);
    const result = await until(w, ended, 200, 30_000);
    await stop();
    expect(result.status).toMatchObject({
      phase: "Failed",
      message: `timeout on preparing data upload: it was waiting for volume snapshot "notes/source-${KEY.name}" to be ready: the array is degraded`,
    });
    expect(w.client.all(volumeSnapshots)).toEqual([]);
    expect(w.client.all(pods)).toEqual([]);
  });

  it("completes although the API server is away for ten minutes while it runs", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"));
    w.client.intercept = () => {
      throw unavailable();
    };
    w.client.compact();
    await w.clock.advance(300_000);
    w.storage.options = { mover: "succeeds" };
    w.storage.nudge();
    await w.clock.advance(300_000);
    expect(w.client.peek(dataUploads, KEY)?.status?.phase).toBe("InProgress");
    w.client.intercept = undefined;
    const result = await until(w, ended, 200, 5_000);
    await stop();
    expect(result.status).toMatchObject({ phase: "Completed" });
    expect(leftovers(w)).toEqual([]);
  });

  it.each([
    ["forward while it is prepared", "Accepted", 3_600_000, "Failed"],
    ["forward while it runs", "InProgress", 3_600_000, "Completed"],
    ["back while it runs", "InProgress", -3_600_000, "Completed"],
  ])("comes to an end when the clock jumps %s", async (_title, phase, byMs, end) => {
    const w = world({ mover: "waits", kubelet: phase === "Accepted" ? "waits" : "runs" });
    create(w);
    const { stop } = await agent(w);
    await until(w, inPhase(phase));
    await w.clock.advance(5_000);
    w.clock.jump(byMs);
    await w.clock.advance(60_000);
    if (phase === "InProgress") expect(w.client.peek(dataUploads, KEY)?.status?.phase).toBe("InProgress");
    w.storage.options = { mover: "succeeds", kubelet: phase === "Accepted" ? "waits" : "runs" };
    w.storage.nudge();
    const result = await until(w, ended, 200, 5_000);
    await stop();
    expect(result.status?.phase).toBe(end);
    if (end === "Failed") expect(result.status?.message).toMatch(/^timeout on preparing data upload: it was waiting for the mover pod/);
    expect(leftovers(w)).toEqual([]);
  });

  it("is canceled when its mover's image cannot be had", async () => {
    const w = world({ kubelet: "cannot-pull" });
    create(w);
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Canceled", message: "mover pod cannot get its image: ImagePullBackOff: no such image" });
    expect(leftovers(w)).toEqual([]);
  });

  it.each([
    ["by its node", "win-1", {}, 'node "win-1", which it was made for, runs it'],
    ["by the file system of its class", undefined, { "csi.storage.k8s.io/fstype": "NTFS" }, 'storage class "csi" makes file systems of type ntfs'],
  ])("is refused at once where its volume is one of Windows %s", async (_title, nodeName, parameters, why) => {
    const w = world();
    w.client.seed(nodes, { ...node("win-1", "True"), metadata: { name: "win-1", labels: { "kubernetes.io/os": "windows" } } });
    w.client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "p", parameters: parameters as Record<string, string> });
    w.client.mutate(persistentVolumeClaims, { namespace: "notes", name: "files" }, ({ metadata }) => {
      metadata.annotations = nodeName === undefined ? {} : { "volume.kubernetes.io/selected-node": nodeName };
    });
    create(w);
    const { stop } = await agent(w);
    const result = await until(w, ended, 40);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed" });
    // It says `linux` of what a mover has begun with, and never anything else.
    expect(result.status?.nodeOS).toBeUndefined();
    expect(result.status?.message).toBe(
      `the backup of "notes/files" is that of a volume of Windows: ${why}, and Drayage's movers run on Linux only. Leave the volume out by a resource policy (action "skip"), or have it moved by another data mover`,
    );
    expect(leftovers(w)).toEqual([]);
  });

  it.each([
    ["on a node of Linux, whatever its class makes", { "volume.kubernetes.io/selected-node": "node-1" }, "Filesystem"],
    ["as a device", {}, "Block"],
  ] as const)("completes where its volume is used %s", async (_title, annotations, volumeMode) => {
    const w = world();
    w.client.mutate(nodes, { name: "node-1" }, ({ metadata }) => {
      metadata.labels = { "kubernetes.io/os": "linux" };
    });
    w.client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "p", parameters: { "csi.storage.k8s.io/fstype": "ntfs" } });
    w.client.mutate(persistentVolumeClaims, { namespace: "notes", name: "files" }, (claim) => {
      claim.metadata.annotations = { ...annotations };
      claim.spec.volumeMode = volumeMode;
    });
    create(w);
    const { stop } = await agent(w);
    expect((await until(w, ended)).status).toMatchObject({ phase: "Completed", nodeOS: "linux" });
    await stop();
  });

  it("fails when its volume snapshot is not there", async () => {
    const w = world();
    w.client.seed(dataUploads, upload());
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed", message: `volume snapshot "notes/source-${KEY.name}" is not there` });
  });

  it("fails, saying what to do, when the repository's password is not there", async () => {
    const w = world();
    w.client.discard(secrets, { namespace: NS, name: "velero-repo-credentials" });
    create(w);
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status?.message).toBe(
      'Cannot read secret "velero/velero-repo-credentials": it is not there. Bring the repository password back with `dray install --recovery-file FILE`.',
    );
    expect(leftovers(w)).toEqual([]);
  });

  it("fails when the node-agent may not do what exposing needs", async () => {
    const w = world();
    create(w);
    w.client.intercept = ({ verb, resource }) => {
      if (verb === "create" && resource === "persistentvolumeclaims")
        throw new DrayError("KUBE_FORBIDDEN", "Cannot create persistentvolumeclaims: not permitted");
    };
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({
      phase: "Failed",
      message: `cannot create persistent volume claim "velero/${KEY.name}": Cannot create persistentvolumeclaims: not permitted`,
    });
    expect(leftovers(w)).toEqual([]);
  });

  it("keeps to its time for preparing while the API server fails", async () => {
    const w = world();
    const { stop } = await agent(w);
    w.client.intercept = ({ resource }) => {
      if (resource === "volumesnapshots.snapshot.storage.k8s.io") throw unavailable();
    };
    create(w);
    const result = await until(w, (object) => object?.metadata.annotations?.["drayage.io/ending"] !== undefined, 200, 30_000);
    expect(result.metadata.annotations?.["drayage.io/ending"]).toContain("timeout on preparing data upload: it was waiting for the API server");
    w.client.intercept = undefined;
    await until(w, ended);
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("is exposed anew when its mover pod is deleted while it runs, as draining a node does", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    const before = await until(w, inPhase("InProgress"));
    const [pod, claim] = [w.client.peek(pods, KEY), w.client.peek(persistentVolumeClaims, KEY)];
    await w.client.delete(pods, KEY);
    const again = await until(w, (object) => object?.status?.phase === "InProgress" && object.metadata.annotations?.["drayage.io/epoch"] === "1");
    expect(again.status?.message).toBe('taken over by node "node-1" (1 of at most 3 times): the mover pod is gone: it was deleted, or its node was lost');
    expect(again.metadata.annotations).toMatchObject({ "drayage.io/epoch": "1", "drayage.io/mover-pod": w.client.peek(pods, KEY)?.metadata.uid });
    expect(again.status?.startTimestamp).toBe(before.status?.startTimestamp);
    expect(w.client.peek(pods, KEY)?.metadata.uid).not.toBe(pod?.metadata.uid);
    expect(w.client.peek(persistentVolumeClaims, KEY)?.metadata.uid).not.toBe(claim?.metadata.uid);
    w.storage.options = { mover: "succeeds" };
    w.storage.nudge();
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Completed" });
    expect(result.status?.message).toBeUndefined();
    expect(told(w)).toContain(
      'Warning TakenOver: taken over by node "node-1" (1 of at most 3 times): the mover pod is gone: it was deleted, or its node was lost',
    );
    expect(leftovers(w)).toEqual([]);
  });

  it("fails when its pod is taken from it again and again", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    for (let time = 0; time < 4; time++) {
      const epoch = time === 0 ? undefined : String(time);
      await until(w, (object) => object?.status?.phase === "InProgress" && object.metadata.annotations?.["drayage.io/epoch"] === epoch);
      await w.client.delete(pods, KEY);
    }
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed", message: expect.stringContaining("it was taken over 3 times before") });
    expect(leftovers(w)).toEqual([]);
  });

  it("shows the mover's progress as it is told", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    const object = await until(w, inPhase("InProgress"));
    const { name, namespace, uid } = object.metadata;
    w.client.seed(events, {
      metadata: { namespace: NS, name: "e" },
      involvedObject: { kind: "DataUpload", namespace: namespace ?? "", name: name ?? "", uid: uid ?? "" },
      reason: "Data-Path-Progress",
      message: '{"totalBytes":10,"doneBytes":4}',
    });
    await until(w, (current) => current?.status?.progress?.bytesDone === 4, 4, 250);
    await stop();
  });

  it("runs no more data paths on a node than it may", async () => {
    const w = world({ mover: "waits" });
    for (const name of ["a", "b", "c"]) create(w, upload({}, { name }));
    const { stop } = await agent(w, "node-1", { concurrency: 2 });
    await w.clock.advance(60_000);
    const count = (phase: string): number => w.client.all(dataUploads).filter(({ status }) => status?.phase === phase).length;
    expect([count("InProgress"), count("Prepared")]).toEqual([2, 1]);
    w.storage.options = { mover: "succeeds" };
    w.storage.nudge();
    await w.clock.advance(60_000);
    await stop();
    expect(count("Completed")).toBe(3);
    expect(leftovers(w)).toEqual([]);
  });

  it("starts as soon as another one ends that held its slot", async () => {
    const w = world({ mover: "waits" });
    for (const name of ["u1", "u2"]) create(w, upload({}, { name, namespace: NS }));
    const { stop } = await agent(w, "node-1", { concurrency: 1 });
    await w.clock.advance(62_000);
    const inPhaseNow = (phase: string): DataUpload[] => w.client.all(dataUploads).filter(({ status }) => status?.phase === phase);
    expect([inPhaseNow("InProgress").length, inPhaseNow("Prepared").length]).toEqual([1, 1]);
    w.storage.options = { mover: "succeeds" };
    w.storage.nudge();
    await w.clock.advance(60_000);
    await stop();
    const [first, second] = inPhaseNow("Completed").sort((a, b) => ((a.status?.startTimestamp ?? "") < (b.status?.startTimestamp ?? "") ? -1 : 1));
    expect(second?.status?.startTimestamp).toBe(first?.status?.completionTimestamp);
  });

  /** Two uploads and one slot: the phases of both once the mover of the first has ended and its claim cannot be taken away; `letGo` has that go, and gives the status of the first. */
  async function oneSlotWhoseClaimStays(mover: "succeeds" | "fails") {
    const w = world({ mover: "waits" });
    for (const name of ["u1", "u2"]) create(w, upload({}, { name, namespace: NS }));
    const { stop } = await agent(w, "node-1", { concurrency: 1 });
    await w.clock.advance(10_000);
    const inPhaseNow = (phase: string) => ({
      namespace: NS,
      name: w.client.all(dataUploads).find(({ status }) => status?.phase === phase)?.metadata.name ?? "",
    });
    const both = [inPhaseNow("InProgress"), inPhaseNow("Prepared")] as const;
    w.client.mutate(persistentVolumeClaims, both[0], ({ metadata }) => {
      metadata.finalizers = ["test/hold"];
    });
    w.storage.options = { mover };
    w.storage.nudge();
    await w.clock.advance(10_000);
    const phasesWhileHeld = both.map((key) => w.client.peek(dataUploads, key)?.status?.phase);
    const letGo = async () => {
      w.client.mutate(persistentVolumeClaims, both[0], ({ metadata }) => delete metadata.finalizers);
      await w.clock.advance(10_000);
      await stop();
      expect(leftovers(w)).toEqual([]);
      return w.client.peek(dataUploads, both[0])?.status;
    };
    return { phasesWhileHeld, letGo };
  }

  it("starts though what was made for another one, which has stored its data, cannot be taken away yet", async () => {
    const { phasesWhileHeld, letGo } = await oneSlotWhoseClaimStays("succeeds");
    expect(phasesWhileHeld).toEqual(["InProgress", "Completed"]);
    expect(await letGo()).toMatchObject({ phase: "Completed" });
  });

  it("keeps its slot while it is taken away after a failure: its mover may still run", async () => {
    const { phasesWhileHeld, letGo } = await oneSlotWhoseClaimStays("fails");
    expect(phasesWhileHeld).toEqual(["InProgress", "Prepared"]);
    expect(await letGo()).toMatchObject({ phase: "Failed" });
  });

  it("has its claim made once its own snapshot is ready, and says until then what that waits for", async () => {
    const w = world({ snapshotter: "waits", mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    await w.clock.advance(20_000);
    const status = () => w.client.peek(dataUploads, KEY)?.status;
    expect(status()).toMatchObject({ phase: "Accepted", message: `waiting for volume snapshot "${NS}/${KEY.name}" to be ready: the storage is busy` });
    expect(w.client.peek(persistentVolumeClaims, KEY)).toBeUndefined();
    // Its storage snapshot is safe, and the application's own objects stay until they are not needed any more.
    expect(w.client.peek(volumeSnapshotContents, { name: `snapcontent-source-${KEY.name}` })?.spec.deletionPolicy).toBe("Retain");
    expect(w.client.peek(volumeSnapshots, { namespace: "notes", name: `source-${KEY.name}` })?.metadata.deletionTimestamp).toBeUndefined();
    w.storage.options = { mover: "waits" };
    w.storage.nudge();
    // Soon: the snapshot is watched.
    await w.clock.advance(100);
    expect(w.client.peek(persistentVolumeClaims, KEY)).toBeDefined();
    w.storage.options = {};
    w.storage.nudge();
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("waits for no snapshot controller once its driver calls the snapshot ready", async () => {
    const w = world({ snapshotter: "is-busy", mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"), 10);
    const content = w.client.peek(volumeSnapshotContents, { name: KEY.name });
    const snapshot = w.client.peek(volumeSnapshots, KEY);
    expect(content?.spec.volumeSnapshotRef).toEqual({ namespace: NS, name: KEY.name, uid: snapshot?.metadata.uid });
    expect(snapshot?.status).toEqual({ boundVolumeSnapshotContentName: KEY.name, readyToUse: true });
    w.storage.options = {};
    w.storage.nudge();
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("waits for the snapshot controller where it may not say itself that the snapshot is ready", async () => {
    const w = world({ snapshotter: "is-busy" });
    create(w);
    w.client.failNext({ verb: "patchStatus" }, "KUBE_FORBIDDEN");
    const { stop } = await agent(w);
    await w.clock.advance(20_000);
    expect(w.client.peek(dataUploads, KEY)?.status).toMatchObject({
      phase: "Accepted",
      message: `waiting for volume snapshot "${NS}/${KEY.name}" to be ready`,
    });
    w.storage.options = {};
    w.storage.nudge();
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("fails with what its snapshot complains of when that never gets ready", async () => {
    const w = world({ snapshotter: "waits" });
    create(w);
    const { stop } = await agent(w);
    const result = await until(w, ended, 200, 30_000);
    await stop();
    expect(result.status).toMatchObject({
      phase: "Failed",
      message: `timeout on preparing data upload: it was waiting for volume snapshot "${NS}/${KEY.name}" to be ready: the storage is busy`,
    });
  });

  it("waits for the snapshot that it takes over as well: a driver may call every copy of it ready", async () => {
    const w = world();
    create(w);
    const source = { namespace: "notes", name: `source-${KEY.name}` };
    const tell = (readyToUse: boolean): void => {
      w.client.mutate(volumeSnapshotContents, { name: `snapcontent-${source.name}` }, (content) => {
        content.status = { ...content.status, readyToUse };
      });
    };
    tell(false);
    // Told later of it by the snapshot controller, which is not waited for.
    w.client.mutate(volumeSnapshots, source, (snapshot) => {
      snapshot.status = { ...snapshot.status, readyToUse: false };
    });
    // The simulated snapshotter would put that right.
    w.storage.options = { snapshotter: "waits" };
    const { stop } = await agent(w);
    await w.clock.advance(5_000);
    w.client.mutate(volumeSnapshots, KEY, (snapshot) => {
      snapshot.status = { ...snapshot.status, readyToUse: true };
    });
    await w.clock.advance(20_000);
    expect(w.client.peek(dataUploads, KEY)?.status?.message).toBe(`waiting for volume snapshot "notes/${source.name}" to be ready`);
    tell(true);
    w.storage.options = {};
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("has its mover's pod made while its repository gets ready, and is prepared when both are", async () => {
    const w = world({ repositories: "waits" });
    create(w);
    const { stop } = await agent(w);
    await w.clock.advance(10_000);
    expect(w.client.peek(pods, KEY)?.status?.phase).toBe("Running");
    expect(w.client.peek(dataUploads, KEY)?.status?.phase).toBe("Accepted");
    const [repository] = w.client.all(backupRepositories);
    w.client.mutate(backupRepositories, keyOf(repository ?? { metadata: {} }), (found) => {
      found.status = { phase: "Ready" };
    });
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("fails when its repository cannot be made, though its mover is up", async () => {
    const w = world({ repositories: "waits" });
    create(w);
    const { stop } = await agent(w);
    await w.clock.advance(10_000);
    const [repository] = w.client.all(backupRepositories);
    w.client.mutate(backupRepositories, keyOf(repository ?? { metadata: {} }), (found) => {
      found.status = { phase: "NotReady", message: "access denied" };
    });
    expect((await until(w, ended)).status).toMatchObject({ phase: "Failed", message: "backup repository is not ready: access denied" });
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("is over as soon as its mover's container has ended well", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"));
    const uid = w.client.peek(dataUploads, KEY)?.metadata.uid ?? "";
    const message = JSON.stringify({
      snapshotID: "a".repeat(32),
      emptySnapshot: false,
      source: { byPath: `/${uid}`, volumeMode: "Filesystem" },
      totalBytes: 7,
    });
    w.client.mutate(pods, KEY, (pod) => {
      pod.status = { phase: "Running", containerStatuses: [{ name: "mover", ready: false, restartCount: 0, state: { terminated: { exitCode: 0, message } } }] };
    });
    expect((await until(w, ended)).status).toMatchObject({ phase: "Completed", snapshotID: "a".repeat(32) });
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("asks for a volume of the size that its snapshot needs, whichever unit that is told in", async () => {
    const w = world({ mover: "waits" });
    create(w);
    w.client.mutate(volumeSnapshots, { namespace: "notes", name: `source-${KEY.name}` }, (snapshot) => {
      snapshot.status = { ...snapshot.status, restoreSize: "3Gi" };
    });
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"));
    await stop();
    expect(w.client.peek(persistentVolumeClaims, KEY)?.spec.resources?.requests?.["storage"]).toBe("3Gi");
  });

  it("is claimed by exactly one of two nodes", async () => {
    const w = world();
    create(w);
    const claims: (string | undefined)[] = [];
    w.client.react(dataUploads, (before, after) => {
      if (before?.status?.acceptedByNode !== after?.status?.acceptedByNode) claims.push(after?.status?.acceptedByNode);
    });
    const agents = [await agent(w, "node-1"), await agent(w, "node-2")];
    const result = await until(w, ended);
    for (const { stop } of agents) await stop();
    expect(claims).toHaveLength(1);
    expect(result.status?.phase).toBe("Completed");
    // The pod came up on node-1, whoever claimed.
    expect(result.status?.node).toBe("node-1");
    expect(leftovers(w)).toEqual([]);
  });

  it("is adopted by another node when its own is dead, and completes there", async () => {
    const w = world({ mover: "waits" });
    create(w);
    const first = await agent(w, "node-1");
    await until(w, inPhase("InProgress"));
    await first.stop();
    w.client.seed(nodes, node("node-1", "False", "2026-01-01T00:00:00Z"));
    w.storage.options = { nodeName: "node-2" };
    const second = await agent(w, "node-2");
    const result = await until(w, ended, 400, 5_000);
    // The first node comes back, and finds that it has nothing to do with it any more.
    const revived = await agent(w, "node-1");
    await w.clock.advance(120_000);
    for (const { stop } of [second, revived]) await stop();
    expect(result.status).toMatchObject({ phase: "Completed", acceptedByNode: "node-2", node: "node-2" });
    expect(w.client.peek(dataUploads, KEY)?.status).toEqual(result.status);
    expect(leftovers(w)).toEqual([]);
  });

  it("is taken over while it is prepared when the node that claimed it is dead", async () => {
    const w = world();
    w.client.seed(nodes, node("node-1", "False", "2025-12-31T00:00:00Z"));
    w.storage.options = { nodeName: "node-2" };
    w.storage.seedSnapshot("notes", `source-${KEY.name}`);
    w.client.seed(dataUploads, { ...upload(), status: { phase: "Accepted", acceptedByNode: "node-1", acceptedTimestamp: "2026-01-01T00:00:00Z" } });
    const { stop } = await agent(w, "node-2");
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Completed", acceptedByNode: "node-2", node: "node-2" });
  });

  it("that is canceled at once takes a snapshot that was cut with a group out of the storage: its driver would leave it to the group, which is gone", async () => {
    const w = world();
    create(w, upload({ cancel: true }));
    for (const content of w.client.all(volumeSnapshotContents))
      w.client.mutate(volumeSnapshotContents, keyOf(content), (current) => {
        current.status = { ...current.status, volumeGroupSnapshotHandle: "group" };
      });
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status?.phase).toBe("Canceled");
    expect(leftovers(w)).toEqual([]);
  });

  /** A snapshot controller that comes to a snapshot before the agent does, and one that comes to it much later. */
  const SNAPSHOTTERS = ["runs", "is-busy"] as const;
  function catchesUp(w: World): void {
    w.storage.options = {};
    w.storage.nudge();
  }

  it.each(SNAPSHOTTERS)("gets past failures of the API server at any single write; the snapshot controller %s", async (snapshotter) => {
    const undisturbed = world({ snapshotter });
    create(undisturbed);
    const { stop } = await agent(undisturbed);
    await undisturbed.clock.advance(30_000);
    catchesUp(undisturbed);
    await until(undisturbed, ended);
    await stop();
    const writes = undisturbed.client.calls.filter(isWrite).length;
    for (let failing = 1; failing <= writes; failing++) {
      const w = world({ snapshotter });
      create(w);
      let count = 0;
      w.client.intercept = (call) => {
        if (isWrite(call) && ++count === failing) throw unavailable();
      };
      const running = await agent(w);
      await w.clock.advance(30_000);
      catchesUp(w);
      const result = await until(w, ended, 1000);
      await running.stop();
      expect([failing, result.status?.phase, leftovers(w)]).toEqual([failing, "Completed", []]);
    }
  });

  it.each(SNAPSHOTTERS)(
    "ends the same when the node-agent dies after any of its writes and a new one starts; the snapshot controller %s",
    async (snapshotter) => {
      const undisturbed = world({ snapshotter });
      create(undisturbed);
      const { stop } = await agent(undisturbed);
      await undisturbed.clock.advance(30_000);
      catchesUp(undisturbed);
      const wanted = await until(undisturbed, ended);
      await stop();
      const writes = undisturbed.client.calls.filter(isWrite).length;
      expect(writes).toBeGreaterThan(15);
      for (let last = 0; last <= writes; last++) {
        const w = world({ snapshotter });
        create(w);
        let count = 0;
        w.client.intercept = (call) => {
          if (isWrite(call) && ++count > last) throw unavailable();
        };
        const first = await agent(w);
        await w.clock.advance(60_000);
        await first.stop();
        w.client.intercept = undefined;
        catchesUp(w);
        const second = await agent(w);
        const result = await until(w, ended);
        await second.stop();
        const { acceptedTimestamp: _a, startTimestamp: _s, completionTimestamp: _c, path: _p, ...status } = result.status ?? {};
        const { acceptedTimestamp: _wa, startTimestamp: _ws, completionTimestamp: _wc, path: _wp, ...wantedStatus } = wanted.status ?? {};
        expect([last, status, leftovers(w)]).toEqual([last, wantedStatus, []]);
      }
    },
  );
});

function isWrite({ verb, resource }: { verb: string; resource: string }): boolean {
  return ["create", "replace", "patch", "patchStatus", "delete"].includes(verb) && resource !== "events";
}

function unavailable(): DrayError {
  return new DrayError("KUBE_UNAVAILABLE", "Cannot write: injected", { context: { sent: false } });
}
