import { volumeSnapshotClasses, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { nodes, persistentVolumeClaims, persistentVolumes, pods, storageClasses } from "@drayage/kube";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ALLOW_MODE_CHANGE, BEING_CREATED, BIND_COMPLETED, BOUND_BY_CONTROLLER, CLAIM_AS_SOURCE, PROVISIONER_FINALIZER, SELECTED_NODE } from "./names.ts";
import { MemoryDriver } from "./testing/memory-driver.ts";
import { VolumeWorld } from "./testing/volume-world.ts";

let world: VolumeWorld;
beforeEach(() => {
  world = new VolumeWorld(new MemoryDriver());
  world.start();
});
afterEach(() => world.stop());

const ofSnapshot = (name: string) => ({ dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name } });

describe("a claim of a class", () => {
  it("is provisioned and bound; both sides carry what the field's controllers write", async () => {
    const claim = await world.createClaim({ name: "files" });
    const volume = await world.bound("files");
    const { uid } = claim.metadata;
    expect(volume).toMatchObject({
      metadata: {
        name: `pvc-${uid}`,
        annotations: {
          "pv.kubernetes.io/provisioned-by": "csi.drayage.io",
          "volume.kubernetes.io/provisioner-deletion-secret-name": "",
          "volume.kubernetes.io/provisioner-deletion-secret-namespace": "",
        },
        finalizers: ["external-provisioner.volume.kubernetes.io/finalizer", "kubernetes.io/pv-protection"],
      },
      spec: {
        accessModes: ["ReadWriteOnce"],
        capacity: { storage: "64Mi" },
        claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", name: "files", namespace: "app", uid },
        csi: { driver: "csi.drayage.io", volumeHandle: `vol-of-pvc-${uid}` },
        persistentVolumeReclaimPolicy: "Delete",
        storageClassName: "drayage-fs",
        volumeMode: "Filesystem",
      },
      status: { phase: "Bound" },
    });
    expect(volume.metadata.annotations).not.toHaveProperty([BOUND_BY_CONTROLLER]);
    expect(volume.spec.nodeAffinity).toBeUndefined();
    expect(world.claim("files")).toMatchObject({
      metadata: {
        annotations: {
          "pv.kubernetes.io/bind-completed": "yes",
          "pv.kubernetes.io/bound-by-controller": "yes",
          "volume.beta.kubernetes.io/storage-provisioner": "csi.drayage.io",
          "volume.kubernetes.io/storage-provisioner": "csi.drayage.io",
        },
        finalizers: ["kubernetes.io/pvc-protection"],
      },
      spec: { volumeName: `pvc-${uid}` },
      status: { phase: "Bound", accessModes: ["ReadWriteOnce"], capacity: { storage: "64Mi" } },
    });
    await world.pass();
    expect(world.eventsOf("PersistentVolumeClaim", "files")).toEqual([
      expect.stringMatching(/^Normal ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'csi.drayage.io'/),
      'Normal Provisioning: External provisioner is provisioning volume for claim "app/files"',
      `Normal ProvisioningSucceeded: Successfully provisioned volume pvc-${uid}`,
    ]);
  });

  it("of mode Block asks for a block volume", async () => {
    await world.createClaim({ name: "disk", volumeMode: "Block" });
    const volume = await world.bound("disk");
    expect(volume.spec.volumeMode).toBe("Block");
    expect([...world.driver.volumes.values()][0]?.request.volumeCapabilities).toEqual([{ block: {}, accessMode: { mode: "SINGLE_NODE_WRITER" } }]);
  });

  it("gets the default class when it names none, and waits when it wants none", async () => {
    await world.api.create(persistentVolumeClaims, {
      metadata: { name: "any", namespace: "app" },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
    });
    await world.createClaim({ name: "none", storageClassName: "" });
    expect((await world.bound("any")).spec.storageClassName).toBe("drayage-fs");
    await world.pass();
    expect(world.claim("none")?.status?.phase).toBe("Pending");
    expect(world.eventsOf("PersistentVolumeClaim", "none")).toEqual([
      "Normal FailedBinding: no persistent volumes available for this claim and no storage class is set",
    ]);
  });

  it("says that its class is not there, and is bound when it comes", async () => {
    await world.createClaim({ name: "files", storageClassName: "later" });
    await world.pass();
    expect(world.eventsOf("PersistentVolumeClaim", "files")).toEqual(['Warning ProvisioningFailed: storageclass.storage.k8s.io "later" not found']);
    world.api.seed(storageClasses, { metadata: { name: "later" }, provisioner: world.driver.name, reclaimPolicy: "Retain" });
    expect((await world.bound("files")).spec.persistentVolumeReclaimPolicy).toBe("Retain");
  });

  it("of another provisioner is asked for and left to it", async () => {
    world.api.seed(storageClasses, { metadata: { name: "other" }, provisioner: "other.example.com" });
    await world.createClaim({ name: "files", storageClassName: "other" });
    await world.pass();
    expect(world.claim("files")?.metadata.annotations).toMatchObject({ "volume.kubernetes.io/storage-provisioner": "other.example.com" });
    expect(world.driver.volumes.size).toBe(0);
  });

  it("with a selector is never provisioned", async () => {
    await world.createClaim({ name: "restored", selector: { matchLabels: { "velero.io/dynamic-pv-restore": "app.restored.abcde" } } });
    await world.pass();
    expect(world.driver.volumes.size).toBe(0);
    expect(world.eventsOf("PersistentVolumeClaim", "restored")).toContainEqual(
      'Warning ProvisioningFailed: failed to provision volume with StorageClass "drayage-fs": claim Selector is not supported',
    );
  });

  it("is tried again while the driver refuses, and says what it said", async () => {
    world.driver.refuse("CreateVolume", "RESOURCE_EXHAUSTED", 3);
    await world.createClaim({ name: "files" });
    await world.bound("files");
    expect(world.eventsOf("PersistentVolumeClaim", "files")).toContainEqual(
      'Warning ProvisioningFailed: failed to provision volume with StorageClass "drayage-fs": rpc error: code = ResourceExhausted desc = Cannot call "CreateVolume": refused',
    );
  });

  it("that is deleted while its volume is made leaves no volume behind", async () => {
    let reached = false;
    world.driver.intercept = (method, moment) => {
      if (method !== "CreateVolume" || moment !== "after" || reached) return;
      reached = true;
      void world.api.delete(persistentVolumeClaims, { namespace: "app", name: "files" });
    };
    await world.createClaim({ name: "files" });
    await world.until("everything is gone", () => reached && world.driver.volumes.size === 0 && world.api.all(persistentVolumes).length === 0);
    expect(world.claim("files")).toBeUndefined();
  });
});

describe("a class that waits for the first consumer", () => {
  it("makes the volume where the pod was scheduled, and says so in its affinity", async () => {
    world.api.seed(nodes, { metadata: { name: "node-2", labels: { "topology.csi.drayage.io/node": "node-2" } } });
    await world.createClaim({ name: "files", storageClassName: "drayage-fs-wait" });
    await world.pass();
    await world.createPod("web", "files");
    await world.pass();
    expect(world.claim("files")).toMatchObject({ status: { phase: "Pending" } });
    expect(world.eventsOf("PersistentVolumeClaim", "files")).toEqual(
      expect.arrayContaining([
        "Normal WaitForFirstConsumer: waiting for first consumer to be created before binding",
        "Normal WaitForPodScheduled: waiting for pod web to be scheduled",
      ]),
    );
    world.api.mutate(persistentVolumeClaims, { namespace: "app", name: "files" }, (claim) => {
      claim.metadata.annotations = { [SELECTED_NODE]: "node-2" };
    });
    const volume = await world.bound("files");
    expect(volume.spec.nodeAffinity).toEqual({
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key: "topology.csi.drayage.io/node", operator: "In", values: ["node-2"] }] }] },
    });
  });
});

describe("volumes made by hand", () => {
  const byHand = (name: string, spec: object = {}, labels: Record<string, string> = {}) =>
    world.api.create(persistentVolumes, {
      metadata: { name, labels },
      spec: {
        capacity: { storage: "64Mi" },
        accessModes: ["ReadWriteOnce"],
        persistentVolumeReclaimPolicy: "Retain",
        storageClassName: "manual",
        csi: { driver: world.driver.name, volumeHandle: `vol-${name}` },
        ...spec,
      },
    });

  it("are Available, and the smallest that fits is bound", async () => {
    await byHand("large", { capacity: { storage: "1Gi" } });
    await byHand("fits", { capacity: { storage: "65Mi" } });
    await byHand("small", { capacity: { storage: "1Mi" } });
    await world.until("they are available", () => world.volume("large")?.status?.phase === "Available");
    await world.createClaim({ name: "files", storageClassName: "manual" });
    expect((await world.bound("files")).metadata).toMatchObject({ name: "fits", annotations: { [BOUND_BY_CONTROLLER]: "yes" } });
    expect(world.claim("files")?.status?.capacity).toEqual({ storage: "65Mi" });
  });

  it("are found by the labels that a claim selects", async () => {
    await byHand("one", {}, { tier: "fast" });
    await byHand("two", {}, { tier: "slow" });
    await world.createClaim({ name: "files", storageClassName: "manual", selector: { matchLabels: { tier: "slow" } } });
    expect((await world.bound("files")).metadata.name).toBe("two");
  });

  it("that are reserved by name wait for that claim and no other", async () => {
    await byHand("reserved", { claimRef: { namespace: "app", name: "later" } });
    await world.createClaim({ name: "files", storageClassName: "manual" });
    await world.pass();
    expect(world.isBound("files")).toBe(false);
    await world.createClaim({ name: "later", storageClassName: "manual" });
    const volume = await world.bound("later");
    expect(volume.spec.claimRef).toMatchObject({ uid: world.claim("later")?.metadata.uid });
    expect(volume.metadata.annotations ?? {}).not.toHaveProperty([BOUND_BY_CONTROLLER]);
  });

  it("that a claim names are bound to it, or it is told why not", async () => {
    await byHand("small", { capacity: { storage: "1Mi" } });
    await byHand("taken", { claimRef: { namespace: "other", name: "files" } });
    await world.createClaim({ name: "one", storageClassName: "manual", volumeName: "small" });
    await world.createClaim({ name: "two", storageClassName: "manual", volumeName: "taken" });
    await world.createClaim({ name: "three", storageClassName: "manual", volumeName: "missing" });
    await world.pass();
    expect(world.eventsOf("PersistentVolumeClaim", "one")).toEqual([
      'Warning VolumeMismatch: Cannot bind to requested volume "small": requested PV is too small',
    ]);
    expect(world.eventsOf("PersistentVolumeClaim", "two")).toEqual(['Warning FailedBinding: volume "taken" already bound to a different claim.']);
    await byHand("missing");
    const volume = await world.bound("three");
    expect(volume.metadata.name).toBe("missing");
    expect(world.claim("three")?.metadata.annotations).toEqual({ [BIND_COMPLETED]: "yes" });
  });

  it("are lost to a claim when they go, and said to be", async () => {
    await byHand("one");
    await world.createClaim({ name: "files", storageClassName: "manual" });
    await world.bound("files");
    world.api.mutate(persistentVolumes, { name: "one" }, (volume) => {
      volume.metadata.finalizers = [];
    });
    await world.api.delete(persistentVolumes, { name: "one" });
    await world.until("the claim is lost", () => world.claim("files")?.status?.phase === "Lost");
    await world.pass();
    expect(world.eventsOf("PersistentVolumeClaim", "files")).toContainEqual(
      "Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!",
    );
  });

  it("stay when their claim goes, and can be claimed again once the old claim is taken out", async () => {
    await byHand("one");
    await world.createClaim({ name: "files", storageClassName: "manual" });
    await world.bound("files");
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "files" });
    await world.until("it is released", () => world.volume("one")?.status?.phase === "Released");
    await world.createClaim({ name: "files", storageClassName: "manual" });
    await world.pass();
    expect(world.isBound("files")).toBe(false);
    world.api.mutate(persistentVolumes, { name: "one" }, (volume) => {
      delete volume.spec.claimRef;
    });
    await world.bound("files");
  });
});

describe("deletion", () => {
  it("of a claim waits for the pods that have a node, then takes volume and storage along", async () => {
    await world.createClaim({ name: "files" });
    const volume = await world.bound("files");
    await world.createPod("web", "files", "node-1");
    await world.createPod("waits", "files");
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "files" });
    await world.pass();
    expect(world.isBound("files")).toBe(true);
    await world.api.delete(pods, { namespace: "app", name: "web" });
    await world.until("all is gone", () => world.claim("files") === undefined && world.volume(volume.metadata.name ?? "") === undefined);
    expect(world.driver.volumes.size).toBe(0);
  });

  it("of a claim is not decided by a cache that has not seen a new pod", async () => {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "files" });
    await world.createPod("late", "files", "node-1");
    await world.pass();
    expect(world.claim("files")).toBeDefined();
  });

  it("of a volume is tried again while a node has it", async () => {
    await world.createClaim({ name: "files" });
    const volume = await world.bound("files");
    const handle = volume.spec.csi?.volumeHandle ?? "";
    world.driver.inUse.add(handle);
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "files" });
    await world.until("it is released", () => world.volume(volume.metadata.name ?? "")?.status?.phase === "Released");
    await world.pass();
    expect(world.driver.volumes.has(handle)).toBe(true);
    world.driver.inUse.delete(handle);
    await world.until("it is gone", () => world.volume(volume.metadata.name ?? "") === undefined && !world.driver.volumes.has(handle));
  });

  it("of a bound volume waits for its claim", async () => {
    await world.createClaim({ name: "files" });
    const { metadata } = await world.bound("files");
    await world.api.delete(persistentVolumes, { name: metadata.name ?? "" });
    await world.pass();
    expect(world.volume(metadata.name ?? "")?.status?.phase).toBe("Bound");
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "files" });
    await world.until("both are gone", () => world.volume(metadata.name ?? "") === undefined);
    expect(world.driver.volumes.size).toBe(0);
  });

  it("keeps the storage of a volume whose policy was changed to Retain, at any time before", async () => {
    await world.createClaim({ name: "files" });
    const { metadata } = await world.bound("files");
    const name = metadata.name ?? "";
    world.api.mutate(persistentVolumes, { name }, (volume) => {
      volume.spec.persistentVolumeReclaimPolicy = "Retain";
    });
    await world.until("the provisioner lets go", () => world.volume(name)?.metadata.finalizers?.includes(PROVISIONER_FINALIZER) === false);
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "files" });
    await world.until("it is released", () => world.volume(name)?.status?.phase === "Released");
    await world.api.delete(persistentVolumes, { name });
    await world.until("the object is gone", () => world.volume(name) === undefined);
    expect(world.driver.volumes.size).toBe(1);
  });
});

describe("a volume that is handed to another claim", () => {
  it("is rebound the way a data mover restores: retained, claim deleted, reserved by name, policy put back", async () => {
    await world.createClaim({ name: "files", selector: { matchLabels: { "velero.io/dynamic-pv-restore": "app.files.abcde" } } });
    await world.createClaim({ name: "back-1", namespace: "velero" });
    const { metadata } = await world.bound("back-1", "velero");
    const name = metadata.name ?? "";
    const change = (to: (volume: NonNullable<ReturnType<typeof world.volume>>) => void): void => void world.api.mutate(persistentVolumes, { name }, to);
    change((volume) => {
      volume.spec.persistentVolumeReclaimPolicy = "Retain";
    });
    await world.api.delete(persistentVolumeClaims, { namespace: "velero", name: "back-1" });
    await world.until("the restore claim is gone", () => world.claim("back-1", "velero") === undefined);
    await world.until("the volume is released", () => world.volume(name)?.status?.phase === "Released");
    world.api.mutate(persistentVolumeClaims, { namespace: "app", name: "files" }, (claim) => {
      claim.spec.volumeName = name;
    });
    change((volume) => {
      volume.spec.claimRef = { kind: "PersistentVolumeClaim", namespace: "app", name: "files" };
      volume.metadata.labels = { "velero.io/dynamic-pv-restore": "app.files.abcde" };
    });
    const rebound = await world.bound("files");
    expect(rebound.spec.claimRef).toMatchObject({ uid: world.claim("files")?.metadata.uid, name: "files", namespace: "app" });
    expect(world.claim("files")?.metadata.annotations).toMatchObject({ [BIND_COMPLETED]: "yes" });
    expect(world.claim("files")?.metadata.annotations).not.toHaveProperty([BOUND_BY_CONTROLLER]);
    change((volume) => {
      volume.spec.persistentVolumeReclaimPolicy = "Delete";
    });
    await world.until("the provisioner holds it again", () => world.volume(name)?.metadata.finalizers?.includes(PROVISIONER_FINALIZER) === true);
    expect(world.driver.volumes.size).toBe(1);
  });
});

describe("a snapshot of a claim", () => {
  it("goes through every state the field's controllers show, and lets its claim go", async () => {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    const seen: unknown[] = [];
    world.api.react(volumeSnapshots, (_before, after) => {
      if (after !== undefined) seen.push([after.metadata.finalizers?.map((name) => name.split("/")[1]) ?? [], after.status]);
    });
    const { metadata } = await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it is ready", () => world.isReady("s"));
    await world.pass();
    const boundVolumeSnapshotContentName = `snapcontent-${metadata.uid}`;
    const [source, bound] = ["volumesnapshot-as-source-protection", "volumesnapshot-bound-protection"];
    expect(seen).toEqual([
      [[], undefined],
      [[source], undefined],
      [[source], { boundVolumeSnapshotContentName, readyToUse: false }],
      [[source, bound], { boundVolumeSnapshotContentName, readyToUse: false }],
      [[source, bound], { boundVolumeSnapshotContentName, readyToUse: true, creationTime: "2026-11-21T04:10:07Z", restoreSize: "64Mi" }],
    ]);
    expect(world.content(boundVolumeSnapshotContentName)).toMatchObject({
      metadata: { finalizers: ["snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"] },
      spec: {
        deletionPolicy: "Delete",
        driver: "csi.drayage.io",
        source: { volumeHandle: world.volumeOf("files")?.spec.csi?.volumeHandle },
        sourceVolumeMode: "Filesystem",
        volumeSnapshotClassName: "drayage-snapshots",
        volumeSnapshotRef: {
          apiVersion: "snapshot.storage.k8s.io/v1",
          kind: "VolumeSnapshot",
          name: "s",
          namespace: "app",
          uid: metadata.uid,
          resourceVersion: expect.any(String),
        },
      },
      status: { snapshotHandle: `snap-of-snapshot-${metadata.uid}`, readyToUse: true, restoreSize: 67108864, creationTime: 1795234207286468400 },
    });
    expect(world.content(boundVolumeSnapshotContentName)?.metadata.annotations ?? {}).toEqual({});
    expect(world.claim("files")?.metadata.finalizers).toEqual(["kubernetes.io/pvc-protection"]);
    expect(world.eventsOf("VolumeSnapshot", "s")).toEqual([
      "Normal CreatingSnapshot: Waiting for a snapshot app/s to be created by the CSI driver.",
      "Normal SnapshotCreated: Snapshot app/s was successfully created by the CSI driver.",
      "Normal SnapshotReady: Snapshot app/s is ready to use.",
    ]);
  });

  it("holds its claim while it is processed", async () => {
    world.driver.snapshotsReady = false;
    await world.createClaim({ name: "files" });
    await world.bound("files");
    await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it is cut", () => world.snapshot("s")?.status?.creationTime !== undefined);
    await world.pass();
    expect(world.isReady("s")).toBe(false);
    expect(world.claim("files")?.metadata.finalizers).toContain(CLAIM_AS_SOURCE);
    world.driver.snapshotsReady = true;
    await world.until(
      "it is ready and the claim is free",
      () => world.isReady("s") && world.claim("files")?.metadata.finalizers?.includes(CLAIM_AS_SOURCE) === false,
    );
  });

  it("takes the default class of its driver, or says that there is none", async () => {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" } });
    await world.until("it is ready", () => world.isReady("s"));
    expect(world.snapshot("s")?.spec.volumeSnapshotClassName).toBe("drayage-snapshots");
    await world.api.delete(volumeSnapshotClasses, { name: "drayage-snapshots" });
    await world.createSnapshot("t", { source: { persistentVolumeClaimName: "files" } });
    await world.until("it says so", () => world.snapshot("t")?.status?.error?.message?.includes("cannot find default snapshot class") === true);
    await world.createSnapshot("u", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "missing" });
    await world.until("it names the class", () => world.snapshot("u")?.status?.error?.message?.includes('"missing" not found') === true);
  });

  it("waits for its claim to be bound", async () => {
    await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it says so", () => world.snapshot("s")?.status?.error?.message?.includes('persistentvolumeclaim "files" not found') === true);
    await world.createClaim({ name: "files" });
    await world.until("it is ready", () => world.isReady("s"));
    expect(world.snapshot("s")?.status?.error).toBeUndefined();
  });

  it("shows the driver's error and recovers from it", async () => {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    world.driver.refuse("CreateSnapshot", "INTERNAL", 1000);
    const { metadata } = await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it shows the error", () => world.snapshot("s")?.status?.error !== undefined);
    expect(world.snapshot("s")?.status).toMatchObject({
      readyToUse: false,
      error: { message: expect.stringContaining('Cannot call "CreateSnapshot": refused') },
    });
    world.driver.intercept = undefined;
    await world.until("it is ready", () => world.isReady("s"));
    expect(world.snapshot("s")?.status?.error).toBeUndefined();
    expect(world.content(`snapcontent-${metadata.uid}`)?.metadata.annotations ?? {}).not.toHaveProperty([BEING_CREATED]);
  });

  it("that cannot be cut is deleted all the same", async () => {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    world.driver.refuse("CreateSnapshot", "INTERNAL", 1000);
    await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it shows the error", () => world.snapshot("s")?.status?.error !== undefined);
    await world.api.delete(volumeSnapshots, { namespace: "app", name: "s" });
    await world.until("all is gone", () => world.snapshot("s") === undefined && world.api.all(volumeSnapshotContents).length === 0);
    await world.until("the claim is free", () => world.claim("files")?.metadata.finalizers?.includes(CLAIM_AS_SOURCE) === false);
  });

  it("is asked for at the pace of the failures, not of its own changes", async () => {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    let asked = 0;
    world.driver.intercept = (method, moment) => {
      if (method === "CreateSnapshot" && moment === "before") asked++;
    };
    world.driver.snapshotsReady = false;
    await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it is cut", () => world.snapshot("s")?.status?.creationTime !== undefined);
    await world.pass();
    expect(asked).toBeLessThan(70);
  });

  it("is deleted with content and storage, once no claim is filled from it", async () => {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    const { metadata } = await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it is ready", () => world.isReady("s"));
    world.driver.refuse("CreateVolume", "UNAVAILABLE", 1000);
    await world.createClaim({ name: "filling", ...ofSnapshot("s") });
    await world.until("it is tried", () => world.eventsOf("PersistentVolumeClaim", "filling").some((text) => text.includes("refused")));
    await world.api.delete(volumeSnapshots, { namespace: "app", name: "s" });
    await world.pass();
    expect(world.snapshot("s")).toBeDefined();
    expect(world.eventsOf("VolumeSnapshot", "s")).toContainEqual("Warning SnapshotDeletePending: Snapshot is being used to restore a PVC");
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "filling" });
    await world.until("all is gone", () => world.snapshot("s") === undefined && world.content(`snapcontent-${metadata.uid}`) === undefined);
    expect(world.driver.snapshots.size).toBe(0);
  });
});

describe("a snapshot's content", () => {
  async function cut(): Promise<string> {
    await world.createClaim({ name: "files" });
    await world.bound("files");
    const { metadata } = await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it is ready", () => world.isReady("s"));
    return `snapcontent-${metadata.uid}`;
  }

  it("that is retained outlives its snapshot, and goes without its storage", async () => {
    const name = await cut();
    world.api.mutate(volumeSnapshotContents, { name }, (content) => {
      content.spec.deletionPolicy = "Retain";
    });
    await world.api.delete(volumeSnapshots, { namespace: "app", name: "s" });
    await world.until("the snapshot is gone", () => world.snapshot("s") === undefined);
    expect(world.content(name)?.metadata.annotations).toEqual({ "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted": "yes" });
    await world.api.delete(volumeSnapshotContents, { name });
    await world.until("the content is gone", () => world.content(name) === undefined);
    expect(world.driver.snapshots.size).toBe(1);
  });

  it("stays while its snapshot does, when only the content is deleted", async () => {
    const name = await cut();
    await world.api.delete(volumeSnapshotContents, { name });
    await world.pass();
    expect(world.content(name)).toBeDefined();
    expect(world.driver.snapshots.size).toBe(1);
  });

  it("is moved to another namespace the way a data mover does, and the storage goes with the last content", async () => {
    const name = await cut();
    const handle = world.content(name)?.status?.snapshotHandle ?? "";
    const backup = await world.createSnapshot(
      "first-1",
      { source: { volumeSnapshotContentName: "first-1" }, volumeSnapshotClassName: "drayage-snapshots" },
      "velero",
    );
    await world.until(
      "it says that the content is missing",
      () => world.snapshot("first-1", "velero")?.status?.error?.message === "VolumeSnapshotContent is missing",
    );
    await world.api.create(volumeSnapshotContents, {
      metadata: { name: "first-1" },
      spec: {
        deletionPolicy: "Delete",
        driver: world.driver.name,
        source: { snapshotHandle: handle },
        volumeSnapshotClassName: "drayage-snapshots",
        volumeSnapshotRef: { name: "first-1", namespace: "velero", uid: backup.metadata.uid ?? "" },
      },
    });
    world.api.mutate(volumeSnapshotContents, { name }, (content) => {
      content.spec.deletionPolicy = "Retain";
    });
    await world.api.delete(volumeSnapshots, { namespace: "app", name: "s" });
    await world.until("the original is gone", () => world.snapshot("s") === undefined);
    await world.api.delete(volumeSnapshotContents, { name });
    await world.until("its content is gone", () => world.content(name) === undefined);
    await world.until("the copy is ready", () => world.isReady("first-1", "velero"));
    expect(world.snapshot("first-1", "velero")?.status).toEqual({
      boundVolumeSnapshotContentName: "first-1",
      readyToUse: true,
      creationTime: "2026-11-21T04:10:07Z",
      restoreSize: "64Mi",
    });
    await world.createClaim({ name: "first-1", namespace: "velero", ...ofSnapshot("first-1") });
    await world.bound("first-1", "velero");
    expect([...world.driver.volumes.values()].at(-1)?.from).toBe(handle);
    await world.api.delete(persistentVolumeClaims, { namespace: "velero", name: "first-1" });
    await world.api.delete(volumeSnapshots, { namespace: "velero", name: "first-1" });
    await world.until(
      "nothing is left",
      () => world.snapshot("first-1", "velero") === undefined && world.content("first-1") === undefined && world.driver.snapshots.size === 0,
    );
    expect(world.driver.volumes.size).toBe(1);
  });

  it("made by hand is bound to the snapshot that names it, and completed", async () => {
    const name = await cut();
    const handle = world.content(name)?.status?.snapshotHandle ?? "";
    await world.api.create(volumeSnapshotContents, {
      metadata: { name: "hand" },
      spec: { deletionPolicy: "Retain", driver: world.driver.name, source: { snapshotHandle: handle }, volumeSnapshotRef: { name: "mine", namespace: "app" } },
    });
    const { metadata } = await world.createSnapshot("mine", { source: { volumeSnapshotContentName: "hand" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it is ready", () => world.isReady("mine"));
    expect(world.content("hand")?.spec).toMatchObject({ volumeSnapshotRef: { uid: metadata.uid }, volumeSnapshotClassName: "drayage-snapshots" });
    expect(world.snapshot("mine")?.metadata.finalizers).toEqual(["snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"]);
  });

  it("of a handle that the storage has not says so", async () => {
    await world.api.create(volumeSnapshotContents, {
      metadata: { name: "hand" },
      spec: {
        deletionPolicy: "Retain",
        driver: world.driver.name,
        source: { snapshotHandle: "snap-x" },
        volumeSnapshotRef: { name: "mine", namespace: "app" },
      },
    });
    await world.createSnapshot("mine", { source: { volumeSnapshotContentName: "hand" } });
    await world.until("it says so", () => world.snapshot("mine")?.status?.error?.message?.includes('Cannot find snapshot "snap-x"') === true);
  });

  it("of another snapshot is not taken", async () => {
    const name = await cut();
    await world.createSnapshot("thief", { source: { volumeSnapshotContentName: name } });
    await world.until("it is refused", () => world.snapshot("thief")?.status?.error !== undefined);
    expect(world.snapshot("thief")?.status?.error?.message).toBe("VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one");
  });
});

describe("a claim that is filled", () => {
  async function snapshotOf(volumeMode: "Filesystem" | "Block"): Promise<string> {
    await world.createClaim({ name: "source", volumeMode });
    await world.bound("source");
    const { metadata } = await world.createSnapshot("s", { source: { persistentVolumeClaimName: "source" }, volumeSnapshotClassName: "drayage-snapshots" });
    await world.until("it is ready", () => world.isReady("s"));
    return `snapcontent-${metadata.uid}`;
  }

  it("from a snapshot that is not there yet waits for it", async () => {
    await world.createClaim({ name: "files", ...ofSnapshot("s") });
    await world.pass();
    expect(world.eventsOf("PersistentVolumeClaim", "files")).toContainEqual(expect.stringContaining('volumesnapshots.snapshot.storage.k8s.io "s" not found'));
    await snapshotOf("Filesystem");
    await world.bound("files");
  });

  it("from a snapshot of another mode needs leave", async () => {
    const content = await snapshotOf("Block");
    await world.createClaim({ name: "files", ...ofSnapshot("s"), volumeMode: "Filesystem" });
    await world.pass();
    expect(world.isBound("files")).toBe(false);
    expect(world.eventsOf("PersistentVolumeClaim", "files")).toContainEqual(expect.stringContaining("modifies the mode of the source volume"));
    world.api.mutate(volumeSnapshotContents, { name: content }, (object) => {
      object.metadata.annotations = { [ALLOW_MODE_CHANGE]: "true" };
    });
    await world.bound("files");
  });

  it("from another claim is a clone of its volume", async () => {
    await world.createClaim({ name: "source" });
    const { spec } = await world.bound("source");
    await world.createClaim({ name: "clone", dataSourceRef: { kind: "PersistentVolumeClaim", name: "source" } });
    const clone = await world.bound("clone");
    expect(world.driver.volumes.get(clone.spec.csi?.volumeHandle ?? "")?.from).toBe(spec.csi?.volumeHandle);
  });

  it("from a kind of another program is left to that program", async () => {
    await world.createClaim({ name: "files", dataSourceRef: { apiGroup: "volsync.backube", kind: "ReplicationDestination", name: "r" } });
    await world.pass();
    expect(world.driver.volumes.size).toBe(0);
  });
});
