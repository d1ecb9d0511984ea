import { volumeGroupSnapshotClasses, volumeGroupSnapshotContents, volumeGroupSnapshots, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { persistentVolumeClaims } from "@drayage/kube";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MemoryDriver } from "../testing/memory-driver.ts";
import { VolumeWorld } from "../testing/volume-world.ts";

const LABELS = { group: "db" };
const OF_CLAIMS = { source: { selector: { matchLabels: LABELS } } };

let world: VolumeWorld;
beforeEach(() => {
  world = new VolumeWorld(new MemoryDriver());
  world.start();
});
afterEach(() => world.stop());

async function bindClaims(on: VolumeWorld, ...names: string[]): Promise<void> {
  for (const name of names) {
    await on.createClaim({ name, labels: LABELS });
    await on.bound(name);
  }
}

const group = (on: VolumeWorld, name = "g") => on.api.peek(volumeGroupSnapshots, { namespace: "app", name });
const members = (on: VolumeWorld) => on.api.all(volumeSnapshots);
const isWhole = (on: VolumeWorld, count: number): boolean =>
  group(on)?.status?.readyToUse === true && members(on).filter(({ status }) => status?.readyToUse === true).length === count;

describe("a group snapshot", () => {
  it("of claims is cut by one call, and each claim has a snapshot that is bound, ready and the group's", async () => {
    await bindClaims(world, "log", "data");
    await world.createClaim({ name: "other" });
    await world.bound("other");
    const calls: string[] = [];
    world.driver.intercept = (method, moment) => {
      if (moment === "before") calls.push(method);
    };
    const { metadata } = await world.createGroup("g", OF_CLAIMS);
    await world.until("the group is ready", () => isWhole(world, 2));
    await world.pass();
    expect(calls).toEqual(["CreateVolumeGroupSnapshot"]);
    const contentName = `groupsnapcontent-${metadata.uid}`;
    expect(group(world)).toMatchObject({
      metadata: { finalizers: ["groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-bound-protection"] },
      spec: { volumeGroupSnapshotClassName: "drayage-group-snapshots" },
      status: { boundVolumeGroupSnapshotContentName: contentName, readyToUse: true, creationTime: expect.any(String) },
    });
    const content = world.api.peek(volumeGroupSnapshotContents, { name: contentName });
    expect(content?.status?.volumeSnapshotInfoList).toHaveLength(2);
    expect(content?.metadata.annotations ?? {}).toEqual({});
    for (const snapshot of members(world)) {
      expect(snapshot).toMatchObject({
        metadata: {
          ownerReferences: [{ kind: "VolumeGroupSnapshot", name: "g", uid: metadata.uid }],
          finalizers: expect.arrayContaining(["snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection"]),
        },
        status: { volumeGroupSnapshotName: "g", readyToUse: true },
      });
      const claim = world.claim(snapshot.spec.source.persistentVolumeClaimName ?? "");
      const of = world.api.peek(volumeSnapshotContents, { name: snapshot.status?.boundVolumeSnapshotContentName ?? "" });
      const handle = world.volumeOf(claim?.metadata.name ?? "")?.spec.csi?.volumeHandle;
      expect(of?.spec.source).toEqual({ volumeHandle: handle });
      expect(of?.status).toMatchObject({
        snapshotHandle: expect.stringContaining(handle ?? "?"),
        volumeGroupSnapshotHandle: content?.status?.volumeGroupSnapshotHandle,
      });
    }
    expect(world.eventsOf("VolumeGroupSnapshot", "g")).toEqual([
      "Normal CreatingGroupSnapshot: Waiting for a group snapshot app/g to be created by the CSI driver.",
      "Normal GroupSnapshotCreated: GroupSnapshot app/g was successfully created by the CSI driver.",
      "Normal GroupSnapshotReady: GroupSnapshot app/g is ready to use.",
    ]);
  });

  it("takes its members along when it goes, and its snapshots leave the storage", async () => {
    await bindClaims(world, "log", "data");
    await world.createGroup("g", OF_CLAIMS);
    await world.until("the group is ready", () => isWhole(world, 2));
    await world.api.delete(volumeGroupSnapshots, { namespace: "app", name: "g" });
    await world.until("everything of it is gone", () => group(world) === undefined && members(world).length === 0 && world.driver.snapshots.size === 0);
    expect(world.api.all(volumeGroupSnapshotContents)).toEqual([]);
    expect(world.api.all(volumeSnapshotContents)).toEqual([]);
  });

  it("does not let a member go alone", async () => {
    await bindClaims(world, "log", "data");
    await world.createGroup("g", OF_CLAIMS);
    await world.until("the group is ready", () => isWhole(world, 2));
    const name = members(world)[0]?.metadata.name ?? "";
    await world.api.delete(volumeSnapshots, { namespace: "app", name });
    await world.pass();
    expect(world.snapshot(name)).toBeDefined();
    expect(world.eventsOf("VolumeSnapshot", name)).toContainEqual(
      `Warning SnapshotDeletePending: deletion of the individual volume snapshot app/${name} is not allowed as it belongs to group snapshot app/g.`,
    );
    await world.api.delete(volumeGroupSnapshots, { namespace: "app", name: "g" });
    await world.until("the member is gone", () => members(world).length === 0 && world.driver.snapshots.size === 0);
  });

  it("leaves members that were taken over, when it is let go with its content kept", async () => {
    await bindClaims(world, "log", "data");
    const { metadata } = await world.createGroup("g", OF_CLAIMS);
    await world.until("the group is ready", () => isWhole(world, 2));
    await adoptAndRelease(world, metadata.uid ?? "");
    expect(members(world)).toHaveLength(2);
    expect(world.driver.snapshots.size).toBe(2);
    // A claim can be filled from one still.
    const [member] = members(world);
    await world.createClaim({ name: "back", dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: member?.metadata.name ?? "" } });
    expect((await world.bound("back")).spec.csi?.driver).toBe(world.driver.name);
  });

  it("waits while the storage still processes it, and its members with it", async () => {
    world.driver.snapshotsReady = false;
    await bindClaims(world, "data");
    await world.createGroup("g", OF_CLAIMS);
    await world.until("the member is there", () => members(world)[0]?.status?.boundVolumeSnapshotContentName !== undefined);
    await world.pass();
    expect([group(world)?.status?.readyToUse, members(world)[0]?.status?.readyToUse]).toEqual([false, false]);
    world.driver.snapshotsReady = true;
    await world.until("the group is ready", () => isWhole(world, 1));
  });

  it("says what the driver says, and is cut when the driver can", async () => {
    await bindClaims(world, "data");
    world.driver.refuse("CreateVolumeGroupSnapshot", "RESOURCE_EXHAUSTED", 3);
    await world.createGroup("g", OF_CLAIMS);
    await world.until("the refusal is told", () => group(world)?.status?.error?.message?.includes('Cannot call "CreateVolumeGroupSnapshot": refused') === true);
    await world.until("the group is ready", () => isWhole(world, 1));
    expect(group(world)?.status?.error).toBeUndefined();
  });

  it("of no claims, of claims without volumes, and of an unknown class say why not", async () => {
    await world.createGroup("g", OF_CLAIMS);
    await world.until("it is told", () => group(world)?.status?.error?.message?.includes("label selector for group snapshot not applied to any PVC") === true);
    await world.createClaim({ name: "data", labels: LABELS, storageClassName: "later" });
    await world.until("it is told", () => group(world)?.status?.error?.message?.includes("PVC data is not yet bound") === true);
    await world.api.delete(persistentVolumeClaims, { namespace: "app", name: "data" });
    await bindClaims(world, "log");
    await world.until("the group is ready", () => isWhole(world, 1));
    await world.createGroup("h", { ...OF_CLAIMS, volumeGroupSnapshotClassName: "none" });
    await world.until("it is told", () => group(world, "h")?.status?.error?.message?.includes('"none" not found') === true);
    world.api.seed(volumeGroupSnapshotClasses, { metadata: { name: "none" }, driver: "other.example.com", deletionPolicy: "Delete" });
    await world.until(
      "it is told",
      () => group(world, "h")?.status?.error?.message?.includes("mismatch with VolumeGroupSnapshotClass (other.example.com)") === true,
    );
  });

  it("of a content is bound to it and looked up in the storage", async () => {
    await bindClaims(world, "data");
    const volumeId = world.volumeOf("data")?.spec.csi?.volumeHandle ?? "";
    await world.driver.groups.CreateVolumeGroupSnapshot({ name: "made elsewhere", sourceVolumeIds: [volumeId] });
    const volumeSnapshotHandles = [...world.driver.snapshots.keys()];
    await world.createGroup("g", { source: { volumeGroupSnapshotContentName: "hand" } });
    await world.until("it is missed", () => group(world)?.status?.error?.message === "VolumeGroupSnapshotContent is missing");
    world.api.seed(volumeGroupSnapshotContents, {
      metadata: { name: "hand" },
      spec: {
        driver: world.driver.name,
        deletionPolicy: "Delete",
        source: { groupSnapshotHandles: { volumeGroupSnapshotHandle: "group-of-made elsewhere", volumeSnapshotHandles } },
        volumeGroupSnapshotRef: { name: "g", namespace: "app" },
      },
    });
    await world.until("the group is ready", () => group(world)?.status?.readyToUse === true);
    expect(members(world)).toEqual([]);
    await world.api.delete(volumeGroupSnapshots, { namespace: "app", name: "g" });
    await world.until("it is gone from the storage", () => world.driver.snapshots.size === 0 && world.api.all(volumeGroupSnapshotContents).length === 0);
  });
});

/** What Velero does with a group once it is cut. */
async function adoptAndRelease(on: VolumeWorld, uid: string): Promise<void> {
  const contentName = `groupsnapcontent-${uid}`;
  for (const { metadata } of members(on)) {
    const { namespace, name = "" } = metadata;
    const finalizers = metadata.finalizers?.filter((finalizer) => !finalizer.includes("in-group"));
    await on.asUser((api) => api.patch(volumeSnapshots, { namespace, name }, "merge", { metadata: { ownerReferences: null, finalizers } }));
  }
  await on.asUser((api) => api.patch(volumeGroupSnapshotContents, { name: contentName }, "merge", { spec: { deletionPolicy: "Retain" } }));
  await on.asUser((api) => api.delete(volumeGroupSnapshotContents, { name: contentName }));
  await on.asUser((api) => api.delete(volumeGroupSnapshots, { namespace: "app", name: "g" }));
  await on.until("group and content are gone", () => group(on) === undefined && on.api.all(volumeGroupSnapshotContents).length === 0);
}

/** Names of members follow from UIDs, which differ from run to run: each is called after its claim instead. */
function namedByClaims(on: VolumeWorld): unknown {
  let text = JSON.stringify(on.summary());
  for (const { metadata, spec } of members(on))
    text = text.replaceAll(metadata.name?.replace("snapshot-", "") ?? "", spec.source.persistentVolumeClaimName ?? "");
  const { objects, storage } = JSON.parse(text) as { objects: unknown[]; storage: { snapshots: string[] } };
  return { objects: objects.map((object) => JSON.stringify(object)).toSorted(), snapshots: storage.snapshots.toSorted() };
}

async function run(killAt?: number): Promise<{ readonly summary: unknown; readonly bound: number; readonly effects: number }> {
  const on = new VolumeWorld(new MemoryDriver());
  on.killAt(killAt ?? Number.POSITIVE_INFINITY);
  on.start();
  try {
    await bindClaims(on, "log", "data");
    const bound = on.effects;
    const { metadata } = await on.createGroup("g", OF_CLAIMS);
    await on.until("the group is ready", () => isWhole(on, 2));
    await adoptAndRelease(on, metadata.uid ?? "");
    await on.createGroup("h", OF_CLAIMS);
    await on.until(
      "the second group is ready",
      () => group(on, "h")?.status?.readyToUse === true && members(on).every(({ status }) => status?.readyToUse === true),
    );
    await on.asUser((api) => api.delete(volumeGroupSnapshots, { namespace: "app", name: "h" }));
    await on.until("the second group is gone", () => group(on, "h") === undefined && members(on).length === 2 && on.driver.snapshots.size === 2);
    // A kill at the last effect is noticed by the next wait.
    await on.until("they live", () => true);
    await on.pass();
    return { summary: namedByClaims(on), bound, effects: on.effects };
  } finally {
    await on.stop();
  }
}

describe("a kill", () => {
  it("at any write or call ends where an undisturbed run does, and no member is cut twice", async () => {
    const undisturbed = await run();
    expect(undisturbed.effects - undisturbed.bound).toBeGreaterThan(40);
    for (let effect = undisturbed.bound + 1; effect <= undisturbed.effects; effect++)
      expect((await run(effect)).summary, `killed at effect ${effect}`).toEqual(undisturbed.summary);
  });
});
