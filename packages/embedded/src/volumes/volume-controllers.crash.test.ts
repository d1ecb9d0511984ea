import { volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { MemoryDriver } from "./testing/memory-driver.ts";
import { VolumeWorld } from "./testing/volume-world.ts";

/** A backup and a restore as a data mover does them: the longest story these controllers take part in. */
async function backupAndRestore(world: VolumeWorld): Promise<void> {
  await world.createClaim({ name: "files" });
  await world.bound("files");

  const { metadata } = await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "drayage-snapshots" });
  await world.until("the snapshot is ready", () => world.isReady("s"));
  const contentName = `snapcontent-${metadata.uid}`;
  const handle = world.content(contentName)?.status?.snapshotHandle ?? "";

  const backup = await world.createSnapshot(
    "first",
    { source: { volumeSnapshotContentName: "first" }, volumeSnapshotClassName: "drayage-snapshots" },
    "velero",
  );
  await world.asUser((api) =>
    api.create(volumeSnapshotContents, {
      metadata: { name: "first" },
      spec: {
        deletionPolicy: "Delete",
        driver: world.driver.name,
        source: { snapshotHandle: handle },
        volumeSnapshotClassName: "drayage-snapshots",
        volumeSnapshotRef: { name: "first", namespace: "velero", uid: backup.metadata.uid ?? "" },
      },
    }),
  );
  await world.asUser((api) => api.patch(volumeSnapshotContents, { name: contentName }, "merge", { spec: { deletionPolicy: "Retain" } }));
  await world.asUser((api) => api.delete(volumeSnapshots, { namespace: "app", name: "s" }));
  await world.until("the original snapshot is gone", () => world.snapshot("s") === undefined);
  await world.asUser((api) => api.delete(volumeSnapshotContents, { name: contentName }));
  await world.until("its content is gone", () => world.content(contentName) === undefined);
  await world.until("the copy is ready", () => world.isReady("first", "velero"));

  await world.createClaim({ name: "first", namespace: "velero", dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "first" } });
  await world.bound("first", "velero");
  await world.asUser((api) => api.delete(persistentVolumeClaims, { namespace: "velero", name: "first" }));
  await world.until("the copied volume is gone", () => world.claim("first", "velero") === undefined && world.api.all(persistentVolumes).length === 1);
  await world.asUser((api) => api.delete(volumeSnapshots, { namespace: "velero", name: "first" }));
  await world.until("the snapshot is gone from the storage", () => world.content("first") === undefined && world.driver.snapshots.size === 0);

  await world.createClaim({ name: "restored", selector: { matchLabels: { "velero.io/dynamic-pv-restore": "app.restored.abcde" } } });
  await world.createClaim({ name: "back", namespace: "velero" });
  const name = (await world.bound("back", "velero")).metadata.name ?? "";
  const patchVolume = (patch: unknown) => world.asUser((api) => api.patch(persistentVolumes, { name }, "merge", patch));
  await patchVolume({ spec: { persistentVolumeReclaimPolicy: "Retain" } });
  await world.asUser((api) => api.delete(persistentVolumeClaims, { namespace: "velero", name: "back" }));
  await world.until("the volume is released", () => world.claim("back", "velero") === undefined && world.volume(name)?.status?.phase === "Released");
  await world.asUser((api) => api.patch(persistentVolumeClaims, { namespace: "app", name: "restored" }, "merge", { spec: { volumeName: name } }));
  await patchVolume({ spec: { claimRef: { namespace: "app", name: "restored", uid: null, resourceVersion: null } } });
  await world.bound("restored");
  await patchVolume({ spec: { persistentVolumeReclaimPolicy: "Delete" } });
  await world.pass();
  await world.until("they live", () => true);
  await world.pass();
}

async function run(killAt?: number): Promise<{ readonly summary: unknown; readonly effects: number }> {
  const world = new VolumeWorld(new MemoryDriver());
  world.killAt(killAt ?? Number.POSITIVE_INFINITY);
  world.start();
  try {
    await backupAndRestore(world);
    return { summary: world.summary(), effects: world.effects };
  } finally {
    await world.stop();
  }
}

describe("a kill", () => {
  it("at any write or call ends where an undisturbed run does, and leaves nothing in the storage", async () => {
    const undisturbed = await run();
    expect(undisturbed.effects).toBeGreaterThan(60);
    for (let effect = 1; effect <= undisturbed.effects; effect++) {
      const { summary } = await run(effect);
      expect(summary, `killed at effect ${effect}`).toEqual(undisturbed.summary);
    }
  });
});
