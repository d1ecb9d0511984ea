import { type DataUpload, dataUploads, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { formatTime } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { type KubeObject, type ObjectMeta, persistentVolumeClaims, pods, type ResourceType, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { findOrphans, type Orphan, removeOrphan } from "./orphans.ts";

const namespace = "velero";
const HOUR_MS = 3_600_000;
const BOUND = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
let clock: VirtualClock;
let client: FakeKubeClient;
beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock });
});

const context = () => ({ client, namespace, nowMs: clock.nowMs(), signal: new AbortController().signal });
const names = (found: readonly Orphan[]): string[] => found.map(({ type, key }) => `${type.kind} ${key.name}`);
const upload: DataUpload = {
  metadata: { namespace, name: "living", uid: "u1" },
  spec: { snapshotType: "CSI", sourceNamespace: "shop", sourcePVC: "files", backupStorageLocation: "default", operationTimeout: "10m" },
};

/** Everything that is made for a data upload. */
function seedCopies(owner: string, ageMs: number): void {
  const metadata = (more: Partial<ObjectMeta>): ObjectMeta => ({
    namespace,
    name: owner,
    creationTimestamp: formatTime(clock.nowMs() - ageMs),
    ...more,
  });
  const owned = { ownerReferences: [{ apiVersion: "velero.io/v2alpha1", kind: "DataUpload", name: owner, uid: "u", controller: true }] };
  const copied = { annotations: { "drayage.io/owner-uid": "u" } };
  client.seed(pods, { metadata: metadata({ labels: { "velero.io/data-upload": owner } }), spec: { containers: [] } });
  client.seed(persistentVolumeClaims, { metadata: metadata(owned), spec: { accessModes: ["ReadWriteOnce"] } });
  client.seed(secrets, { metadata: metadata(owned) });
  client.seed(volumeSnapshots, { metadata: metadata(copied), spec: { source: {} } });
  client.seed(volumeSnapshotContents, {
    metadata: { name: owner, creationTimestamp: formatTime(clock.nowMs() - ageMs) },
    spec: { deletionPolicy: "Delete", driver: "d", source: { snapshotHandle: "h" }, volumeSnapshotRef: { namespace, name: owner } },
  });
}

describe("orphans", () => {
  it("are everything that was made for a data upload which is gone, and nothing that was made for one which is there", async () => {
    client.seed(dataUploads, upload);
    seedCopies("living", HOUR_MS);
    seedCopies("gone", HOUR_MS);
    expect(names(await findOrphans(context()))).toEqual([
      "Pod gone",
      "PersistentVolumeClaim gone",
      "Secret gone",
      "VolumeSnapshot gone",
      "VolumeSnapshotContent gone",
    ]);
  });

  it("are not what was made just now: its owner may not have been seen yet", async () => {
    seedCopies("new", 60_000);
    expect(await findOrphans(context())).toEqual([]);
  });

  it("are not what others made: claims, Secrets and snapshots of people, contents of another installation", async () => {
    const metadata = { namespace, name: "mine", creationTimestamp: formatTime(clock.nowMs() - HOUR_MS) };
    client.seed(persistentVolumeClaims, { metadata, spec: { accessModes: ["ReadWriteOnce"] } });
    client.seed(secrets, { metadata });
    client.seed(volumeSnapshots, { metadata, spec: { source: { persistentVolumeClaimName: "mine" } } });
    client.seed(volumeSnapshotContents, {
      metadata: { name: "theirs", creationTimestamp: metadata.creationTimestamp },
      spec: { deletionPolicy: "Delete", driver: "d", source: { snapshotHandle: "h" }, volumeSnapshotRef: { namespace: "other", name: "theirs" } },
    });
    expect(await findOrphans(context())).toEqual([]);
  });

  it("are contents that were deleted and stay, and go with their snapshot once they stand for themselves", async () => {
    const content = (name: string, more: Partial<ObjectMeta>, status?: object) =>
      client.seed(volumeSnapshotContents, {
        metadata: { name, uid: name, creationTimestamp: formatTime(clock.nowMs() - HOUR_MS), finalizers: [BOUND], ...more },
        spec: {
          deletionPolicy: "Delete",
          driver: "d",
          source: { snapshotHandle: "h" },
          volumeSnapshotRef: { namespace, name, uid: "u", resourceVersion: "7" },
        },
        ...(status === undefined ? {} : { status }),
      });
    const deletionTimestamp = formatTime(clock.nowMs() - HOUR_MS);
    content("stuck", { deletionTimestamp });
    content("going", { deletionTimestamp });
    client.seed(volumeSnapshots, { metadata: { namespace, name: "going", uid: "u" }, spec: { source: {} } });
    content("known", {}, { snapshotHandle: "h" });
    const found = await findOrphans(context());
    expect(names(found)).toEqual(["VolumeSnapshotContent known", "VolumeSnapshotContent stuck"]);
    for (const orphan of found) expect(await removeOrphan(client, orphan, clock)).toBe(true);
    for (const name of ["known", "stuck"]) {
      const left = client.peek(volumeSnapshotContents, { name });
      expect(left?.spec.volumeSnapshotRef).toEqual({ namespace, name });
      expect(left?.metadata.deletionTimestamp).toBeDefined();
    }
  });

  it("are kept while their driver does not know them: they would go without their snapshot", async () => {
    seedCopies("gone", HOUR_MS);
    client.discard(volumeSnapshots, { namespace, name: "gone" });
    const content = (await findOrphans(context())).find(({ type }) => type.kind === "VolumeSnapshotContent");
    if (content === undefined) throw new Error("no content");
    await client.patch(volumeSnapshotContents, content.key, "merge", { metadata: { finalizers: [BOUND] } });
    const removed = expect(removeOrphan(client, content, clock)).rejects.toMatchObject({ code: "TIMED_OUT" });
    await clock.advance(60_000);
    await removed;
    expect(client.peek(volumeSnapshotContents, content.key)?.metadata.deletionTimestamp).toBeUndefined();
  });

  it("are deleted one by one, but not where another object has taken the name", async () => {
    seedCopies("gone", HOUR_MS);
    const [pod, claim] = await findOrphans(context());
    if (pod === undefined || claim === undefined) throw new Error("no orphans");
    expect(await removeOrphan(client, pod, clock)).toBe(true);
    expect(await client.find(pods as ResourceType<KubeObject>, pod.key)).toBeUndefined();
    client.discard(persistentVolumeClaims, claim.key);
    client.seed(persistentVolumeClaims, { metadata: { namespace, name: "gone" }, spec: { accessModes: ["ReadWriteOnce"] } });
    await expect(removeOrphan(client, claim, clock)).rejects.toThrow(/gone/);
    expect(await client.find(persistentVolumeClaims, claim.key)).toBeDefined();
  });
});
