import { BLOCK_DATA_MOVER, backupStorageLocations, type DataDownload, dataDownloads, LABELS } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { nodes, type PersistentVolumeClaim, persistentVolumeClaims, persistentVolumes, pods, secrets, storageClasses, volumeAttachments } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { dataMoverClaims } from "../data-movement/data-movers.ts";
import { startNodeAgent } from "../data-movement/node-agent.ts";
import type { NodeAgentConfig } from "../data-movement/node-agent-config.ts";
import { SimulatedStorage, type SimulatedStorageOptions } from "../testing/simulated-storage.ts";

const NS = "velero";
const KEY = { namespace: NS, name: "back-6x78f" };
const TARGET = { namespace: "notes-2", name: "files" };
const SELECTOR = { [LABELS.dynamicPvRestore]: "notes-2.files.5vjtl" };

interface World {
  readonly clock: VirtualClock;
  readonly client: FakeKubeClient;
  readonly storage: SimulatedStorage;
}

function world(options: SimulatedStorageOptions = {}, target: Partial<PersistentVolumeClaim["metadata"]> = {}): World {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, random: seededRandom(7) });
  const storage = new SimulatedStorage(client, options);
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  client.seed(secrets, {
    metadata: { namespace: NS, name: "velero-repo-credentials" },
    data: { "repository-password": Buffer.from("secret").toString("base64") },
  });
  client.seed(nodes, { metadata: { name: "node-1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
  client.seed(persistentVolumeClaims, {
    metadata: { ...TARGET, labels: { app: "notes" }, annotations: { note: "kept" }, ...target },
    spec: {
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "64Mi" } },
      storageClassName: "csi",
      volumeMode: "Filesystem",
      selector: { matchLabels: SELECTOR },
    },
    status: { phase: "Pending" },
  });
  return { clock, client, storage };
}

function download(spec: Partial<DataDownload["spec"]> = {}): DataDownload {
  return {
    metadata: { ...KEY },
    spec: {
      backupStorageLocation: "default",
      operationTimeout: "10m0s",
      snapshotID: "c8a6dc6ded536bb55335914b8fa2422c",
      sourceNamespace: "notes",
      targetVolume: { namespace: TARGET.namespace, pv: "", pvc: TARGET.name },
      ...spec,
    },
  };
}

function agent({ client, clock }: World, config: NodeAgentConfig = {}): Promise<{ stop(): Promise<void> }> {
  return startNodeAgent({
    client,
    clock,
    random: seededRandom(3),
    logger: memoryLogger(),
    namespace: NS,
    nodeName: "node-1",
    claims: dataMoverClaims({ mode: "standalone" }),
    pod: { image: "drayage/dray:test", serviceAccount: "drayage-mover" },
    config,
  });
}

async function until({ client, clock }: World, done: (object: DataDownload | undefined) => boolean, steps = 400): Promise<DataDownload> {
  for (let step = 0; step < steps; step++) {
    const object = client.peek(dataDownloads, KEY);
    if (done(object)) return object ?? download();
    await clock.advance(500);
    await settle();
  }
  throw new Error(`the world came to rest in ${JSON.stringify(client.peek(dataDownloads, KEY), null, 1)}`);
}

const ended = (object: DataDownload | undefined): boolean =>
  ["Completed", "Failed", "Canceled"].includes(object?.status?.phase ?? "") && object?.metadata.finalizers === undefined;
const inPhase = (phase: string) => (object: DataDownload | undefined) => object?.status?.phase === phase;

/** Everything of the movement that is left, the application's own claim and volume aside. */
function leftovers({ client, storage }: World): string[] {
  const handedOver = client.peek(persistentVolumes, { name: client.peek(persistentVolumeClaims, TARGET)?.spec.volumeName ?? "" })?.spec.csi?.volumeHandle;
  return [
    ...client.all(pods).map(({ metadata }) => `pod ${metadata.name}`),
    ...client.all(persistentVolumeClaims).flatMap(({ metadata }) => (metadata.namespace === NS ? [`claim ${metadata.name}`] : [])),
    ...client.all(secrets).flatMap(({ metadata }) => (metadata.name === KEY.name ? [`secret ${metadata.name}`] : [])),
    ...[...storage.volumes].flatMap((name) => (name === handedOver ? [] : [`volume ${name}`])),
  ];
}

describe("a DataDownload", () => {
  it("ends with the application's claim bound to the restored volume", async () => {
    const w = world();
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Completed", node: "node-1", progress: { bytesDone: 1500096, totalBytes: 1500096 } });
    const times = [result.status?.acceptedTimestamp, result.status?.startTimestamp, result.status?.completionTimestamp].map((time) => Date.parse(time ?? ""));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times).not.toContain(Number.NaN);
    expect(result.status?.acceptedByNode).toBe("node-1");
    expect(result.metadata.annotations).toBeUndefined();
    const target = w.client.peek(persistentVolumeClaims, TARGET);
    expect(target?.status?.phase).toBe("Bound");
    const volume = w.client.peek(persistentVolumes, { name: target?.spec.volumeName ?? "" });
    expect(volume?.metadata.labels).toEqual(SELECTOR);
    expect(volume?.spec).toMatchObject({ persistentVolumeReclaimPolicy: "Delete", claimRef: { ...TARGET, uid: target?.metadata.uid } });
    expect(leftovers(w)).toEqual([]);
  });

  it("costs the API server less than a real Velero's node-agent does (48 to 50), and one request more would be seen here", async () => {
    const w = world();
    const { stop } = await agent(w);
    await settle();
    const before = w.client.calls.length;
    w.client.seed(dataDownloads, download());
    await until(w, ended);
    await stop();
    const asked = w.client.calls.slice(before).filter(({ verb }) => verb !== "watch");
    expect(asked.map(({ verb, resource }) => `${verb} ${resource}`).toSorted()).toHaveLength(32);
  });

  describe("of the block mover", () => {
    const ofBlocks = { datamover: BLOCK_DATA_MOVER } as const;

    it("fills a volume of files as a device, and hands it over with a volume of mode Filesystem that has the file system of its class", async () => {
      const w = world({ mover: "waits" });
      const parameters = { "csi.storage.k8s.io/fstype": "xfs" };
      w.client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com", parameters, mountOptions: ["noatime"] });
      w.client.seed(dataDownloads, download(ofBlocks));
      const { stop } = await agent(w);
      await until(w, inPhase("InProgress"));
      expect(w.client.peek(persistentVolumeClaims, KEY)?.spec.volumeMode).toBe("Block");
      expect(w.client.peek(pods, KEY)?.spec.containers[0]).toMatchObject({ args: expect.arrayContaining(["--volume-mode=Block"]), volumeDevices: [{}] });
      w.client.seed(volumeAttachments, {
        metadata: { name: "attached" },
        spec: { attacher: "csi.example.com", nodeName: "node-1", source: { persistentVolumeName: "pvc-1" } },
      });
      w.storage.options = {};
      w.storage.nudge();
      await expect(until(w, ended)).rejects.toThrow("came to rest");
      // Not before the device is detached is it known by another name.
      expect(w.client.all(persistentVolumes).map(({ metadata }) => metadata.name)).toEqual(["pvc-1"]);
      w.client.discard(volumeAttachments, { name: "attached" });
      expect((await until(w, ended)).status?.phase).toBe("Completed");
      await stop();
      const target = w.client.peek(persistentVolumeClaims, TARGET);
      expect(w.client.all(persistentVolumes)).toMatchObject([
        {
          metadata: { name: "pvc-1-filesystem", labels: SELECTOR },
          spec: {
            ...{ volumeMode: "Filesystem", persistentVolumeReclaimPolicy: "Delete", mountOptions: ["noatime"] },
            csi: { volumeHandle: "pvc-1", fsType: "xfs" },
            claimRef: { ...TARGET, uid: target?.metadata.uid },
          },
        },
      ]);
      expect(target).toMatchObject({ spec: { volumeName: "pvc-1-filesystem" }, status: { phase: "Bound" } });
      expect(leftovers(w)).toEqual([]);
    });

    it("hands a device over as it is", async () => {
      const w = world();
      w.client.mutate(persistentVolumeClaims, TARGET, ({ spec }) => {
        spec.volumeMode = "Block";
      });
      w.client.seed(dataDownloads, download(ofBlocks));
      const { stop } = await agent(w);
      expect((await until(w, ended)).status?.phase).toBe("Completed");
      await stop();
      expect(w.client.all(persistentVolumes)).toMatchObject([{ metadata: { name: "pvc-1" }, spec: { volumeMode: "Block" } }]);
    });

    it.each(["pvc-1", "pvc-1-filesystem"])("leaves nothing in the storage when the target goes while volume %s is kept", async (name) => {
      const w = world();
      w.client.react(persistentVolumes, (_before, after) => {
        const isKept = after?.metadata.name === name && after.spec.persistentVolumeReclaimPolicy === "Retain";
        if (isKept && w.client.peek(persistentVolumeClaims, TARGET) !== undefined) w.client.discard(persistentVolumeClaims, TARGET);
      });
      w.client.seed(dataDownloads, download(ofBlocks));
      const { stop } = await agent(w);
      expect((await until(w, ended)).status).toMatchObject({ phase: "Failed", message: expect.stringContaining('target claim "notes-2/files" is gone') });
      await stop();
      expect(leftovers(w)).toEqual([]);
    });
  });

  it("makes its restore claim a copy of the target without the selector", async () => {
    const w = world({ mover: "waits" });
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w);
    const object = await until(w, inPhase("InProgress"));
    await stop();
    const claim = w.client.peek(persistentVolumeClaims, KEY);
    expect(claim?.metadata).toMatchObject({
      labels: { app: "notes" },
      annotations: { note: "kept" },
      ownerReferences: [{ kind: "DataDownload", uid: object.metadata.uid, controller: true }],
    });
    expect(claim?.spec).toMatchObject({
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: "64Mi" } },
      storageClassName: "csi",
      volumeMode: "Filesystem",
    });
    expect(claim?.spec.selector).toBeUndefined();
    expect(w.client.peek(pods, KEY)?.spec.containers[0]).toMatchObject({
      command: ["/velero", "data-mover", "restore"],
      args: [
        `--volume-path=/${object.metadata.uid}`,
        "--volume-mode=Filesystem",
        `--data-download=${KEY.name}`,
        "--resource-timeout=10m0s",
        "--cache-volume-path=",
      ],
    });
  });

  it.each([
    ["is large", { snapshotSize: 600 << 20 }],
    ["has a size that nobody knows", {}],
  ])("gets a volume for its cache, which goes with it, where the snapshot %s", async (_title, spec) => {
    const w = world({ mover: "waits" });
    w.client.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "csi.example.com" });
    w.client.seed(dataDownloads, download(spec));
    const { stop } = await agent(w, { cachePVC: { storageClass: "fast", residentThresholdInMB: 512 } });
    const object = await until(w, inPhase("InProgress"));
    const claim = w.client.peek(persistentVolumeClaims, { namespace: NS, name: `${KEY.name}-cache` });
    expect(claim?.metadata.ownerReferences).toMatchObject([{ kind: "DataDownload", uid: object.metadata.uid, controller: true }]);
    // 5000 MiB where the repository grants nothing else, and a fifth more, in whole GiB.
    expect(claim?.spec).toMatchObject({ accessModes: ["ReadWriteOnce"], storageClassName: "fast", resources: { requests: { storage: "6Gi" } } });
    const pod = w.client.peek(pods, KEY);
    expect(pod?.spec.containers[0]?.args).toContain("--cache-volume-path=/cachedir");
    expect(pod?.spec.containers[0]?.volumeMounts).toContainEqual({ name: "cachedir", mountPath: "/cachedir" });
    expect(pod?.spec.volumes).toContainEqual({ name: "cachedir", persistentVolumeClaim: { claimName: `${KEY.name}-cache` } });
    w.storage.options = { mover: "succeeds" };
    w.storage.nudge();
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(leftovers(w)).toEqual([]);
  });

  it("gets none where the snapshot is smaller than the threshold", async () => {
    const w = world({ mover: "waits" });
    w.client.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "csi.example.com" });
    w.client.seed(dataDownloads, download({ snapshotSize: 511 << 20 }));
    const { stop } = await agent(w, { cachePVC: { storageClass: "fast", residentThresholdInMB: 512 } });
    await until(w, inPhase("InProgress"));
    await stop();
    expect(w.client.peek(persistentVolumeClaims, { namespace: NS, name: `${KEY.name}-cache` })).toBeUndefined();
    expect(w.client.peek(pods, KEY)?.spec.containers[0]?.args).toContain("--cache-volume-path=");
  });

  it("is bound to the claim of the target's name also when that is deleted and made again in the middle of the handover", async () => {
    const w = world();
    w.client.seed(dataDownloads, download());
    let swapped = false;
    w.client.intercept = ({ verb, resource, body }) => {
      if (swapped || verb !== "patch" || resource !== "persistentvolumes" || !JSON.stringify(body ?? "").includes("claimRef")) return;
      swapped = true;
      const target = w.client.peek(persistentVolumeClaims, TARGET);
      w.client.discard(persistentVolumeClaims, TARGET);
      if (target !== undefined) w.client.seed(persistentVolumeClaims, { ...target, metadata: { ...TARGET, labels: target.metadata.labels ?? {} } });
    };
    const { stop } = await agent(w);
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
    expect(swapped).toBe(true);
    const target = w.client.peek(persistentVolumeClaims, TARGET);
    expect(w.client.peek(persistentVolumes, { name: target?.spec.volumeName ?? "" })?.spec.claimRef?.uid).toBe(target?.metadata.uid);
    expect(leftovers(w)).toEqual([]);
  });

  it("waits for the target claim to be created before it is claimed", async () => {
    const w = world();
    const target = w.client.peek(persistentVolumeClaims, TARGET);
    w.client.discard(persistentVolumeClaims, TARGET);
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w);
    await w.clock.advance(30_000);
    expect(w.client.peek(dataDownloads, KEY)?.status?.phase).toBeUndefined();
    if (target !== undefined) w.client.seed(persistentVolumeClaims, target);
    await until(w, ended);
    await stop();
  });

  it("waits for the workload to be scheduled where the class binds to the first consumer, and goes to its node", async () => {
    const w = world();
    w.client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com", volumeBindingMode: "WaitForFirstConsumer" });
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w);
    await w.clock.advance(30_000);
    expect(w.client.peek(dataDownloads, KEY)?.status?.phase).toBe("Accepted");
    expect(w.client.peek(persistentVolumeClaims, KEY)).toBeUndefined();
    w.storage.options = { mover: "waits" };
    w.client.mutate(persistentVolumeClaims, TARGET, ({ metadata }) => {
      metadata.annotations = { "volume.kubernetes.io/selected-node": "node-1" };
    });
    await until(w, inPhase("InProgress"));
    await stop();
    expect(w.client.peek(pods, KEY)?.spec.nodeSelector).toEqual({ "kubernetes.io/hostname": "node-1" });
    expect(w.client.peek(persistentVolumeClaims, KEY)?.metadata.annotations).toEqual({ "volume.kubernetes.io/selected-node": "node-1" });
  });

  it("does not wait for the workload when delayed binding is to be ignored", async () => {
    const w = world();
    w.client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com", volumeBindingMode: "WaitForFirstConsumer" });
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w, { restorePVC: { ignoreDelayBinding: true } });
    expect((await until(w, ended)).status?.phase).toBe("Completed");
    await stop();
  });

  it.each([
    ["has no snapshot to restore", download({ snapshotID: "" }), "spec.snapshotID is empty: the backup of this volume did not complete"],
    [
      "has an operation timeout that is none",
      download({ operationTimeout: "soon" }),
      'Cannot use spec.operationTimeout "soon": a duration such as "10m0s" is wanted',
    ],
  ])("fails when it %s", async (_title, object, message) => {
    const w = world();
    w.client.seed(dataDownloads, object);
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed", message });
    expect(leftovers(w)).toEqual([]);
  });

  it.each([
    ["because it was backed up there", { nodeOS: "windows" } as const, {}, {}, /^spec\.nodeOS is windows: .* run on Linux only$/],
    [
      "by the node of its claim",
      {},
      { "volume.kubernetes.io/selected-node": "win-1" },
      {},
      /^the restore of "notes-2\/files" is that of a volume of Windows: node "win-1"/,
    ],
    ["by the file system of its class", {}, {}, { "csi.storage.k8s.io/fstype": "ntfs" }, /Windows: storage class "csi" makes file systems of type ntfs/],
  ])("refuses a volume of Windows %s", async (_title, spec, annotations, parameters, message) => {
    const w = world({}, { annotations: { ...annotations } });
    w.client.seed(nodes, { metadata: { name: "win-1", labels: { "kubernetes.io/os": "windows" } } });
    w.client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "p", parameters: parameters as Record<string, string> });
    w.client.seed(dataDownloads, download(spec));
    const { stop } = await agent(w);
    const result = await until(w, ended, 40);
    await stop();
    expect(result.status?.phase).toBe("Failed");
    expect(result.status?.message).toMatch(message);
    expect(leftovers(w)).toEqual([]);
  });

  it("refuses a target that has a volume already", async () => {
    const w = world();
    w.client.mutate(persistentVolumeClaims, TARGET, ({ spec }) => {
      spec.volumeName = "another";
    });
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w);
    const result = await until(w, ended);
    await stop();
    expect(result.status?.message).toBe('target claim "notes-2/files" has the volume "another" already');
    expect(leftovers(w)).toEqual([]);
  });

  it("fails, and lets the volume go, when the target was given another volume meanwhile", async () => {
    const w = world({ mover: "waits" });
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"));
    w.client.mutate(persistentVolumeClaims, TARGET, ({ spec }) => {
      spec.volumeName = "another";
    });
    w.storage.options = { mover: "succeeds" };
    w.storage.nudge();
    const result = await until(w, ended);
    await stop();
    expect(result.status).toMatchObject({ phase: "Failed", message: 'target claim "notes-2/files" was given the volume "another" in the meantime' });
    expect(leftovers(w)).toEqual([]);
  });

  it("leaves nothing when it is canceled while it runs", async () => {
    const w = world({ mover: "waits" });
    w.client.seed(dataDownloads, download());
    const { stop } = await agent(w);
    await until(w, inPhase("InProgress"));
    w.client.mutate(dataDownloads, KEY, ({ spec }) => {
      spec.cancel = true;
    });
    const result = await until(w, ended);
    await stop();
    expect(result.status?.phase).toBe("Canceled");
    expect(leftovers(w)).toEqual([]);
  });

  it.each(["succeeds", "tells"] as const)(
    "ends the same when the node-agent dies after any of its writes and a new one starts, where its mover %s",
    async (mover) => {
      const undisturbed = world({ mover });
      undisturbed.client.seed(dataDownloads, download());
      const { stop } = await agent(undisturbed);
      await until(undisturbed, ended);
      await stop();
      const writes = undisturbed.client.calls.filter(isWrite).length;
      expect(writes).toBeGreaterThan(12);
      for (let last = 0; last <= writes; last++) {
        const w = world({ mover });
        w.client.seed(dataDownloads, download());
        let count = 0;
        w.client.intercept = (call) => {
          if (isWrite(call) && ++count > last) throw new DrayError("KUBE_UNAVAILABLE", "Cannot write: injected", { context: { sent: false } });
        };
        const first = await agent(w);
        await w.clock.advance(60_000);
        await first.stop();
        w.client.intercept = undefined;
        const second = await agent(w);
        const result = await until(w, ended);
        await second.stop();
        const target = w.client.peek(persistentVolumeClaims, TARGET);
        const volume = w.client.peek(persistentVolumes, { name: target?.spec.volumeName ?? "" });
        expect([
          last,
          result.status?.phase,
          result.status?.progress?.totalBytes,
          target?.status?.phase,
          volume?.spec.persistentVolumeReclaimPolicy,
          leftovers(w),
        ]).toEqual([last, "Completed", 1500096, "Bound", "Delete", []]);
      }
    },
  );
});

function isWrite({ verb, resource }: { verb: string; resource: string }): boolean {
  return ["create", "replace", "patch", "delete"].includes(verb) && resource !== "events";
}
