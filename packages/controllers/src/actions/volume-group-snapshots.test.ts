import {
  type Backup,
  backups,
  dataUploads,
  type VolumeGroupSnapshotClass,
  type VolumeGroupSnapshotContent,
  type VolumeSnapshotContent,
  volumeGroupSnapshotClasses,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { keyOf, type PersistentVolume, persistentVolumeClaims, persistentVolumes, type ResourceType } from "@drayage/kube";
import { afterEach, describe, expect, it } from "vitest";
import { type RunningController, startBackupController } from "../backup/backup-controller.ts";
import { startBackupOperationsController } from "../backup-operations/backup-operations-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import { backupIn, endUploads, NAMESPACE, newBackup, type RecordedCluster, recordedCluster } from "../testing/recorded-cluster.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

const GROUP_LABEL = "velero.io/volume-group";
const DRIVER = "hostpath.csi.k8s.io";

interface GroupManners {
  /** What the driver complains of; nothing is cut. */
  readonly broken?: string;
  /** Whether groups and contents that are deleted take their time to go. */
  readonly lingering?: boolean;
}

/** The snapshotter's part: it finds the snapshot of a handle, and deletes it with its content, unless that is of a group. Returns the handles that are gone. */
function playSnapshotter({ client }: RecordedCluster): readonly string[] {
  const deleted: string[] = [];
  client.react(volumeSnapshotContents, (before, after) => {
    if (after === undefined) return;
    const handle = after.spec.source.snapshotHandle ?? "";
    if (before === undefined && after.status === undefined)
      client.mutate(volumeSnapshotContents, keyOf(after), (content) => {
        content.status = { snapshotHandle: handle, readyToUse: true };
      });
    if (after.metadata.deletionTimestamp === undefined || (after.metadata.finalizers ?? []).length === 0) return;
    if (after.spec.deletionPolicy === "Delete" && after.status?.volumeGroupSnapshotHandle === undefined) deleted.push(handle);
    client.mutate(volumeSnapshotContents, keyOf(after), (content) => {
      content.metadata.finalizers = [];
    });
  });
  return deleted;
}

/** The snapshot controller's part: a content for the group, and a snapshot with its content for each claim that the group selects. */
function playSnapshotController({ client }: RecordedCluster, { broken, lingering = false }: GroupManners): void {
  client.react(volumeGroupSnapshots, (before, after) => {
    if (before !== undefined || after === undefined) return;
    const { uid = "", namespace = "", name = "" } = after.metadata;
    if (broken !== undefined) {
      client.mutate(volumeGroupSnapshots, keyOf(after), (group) => {
        group.status = { error: { message: broken } };
      });
      return;
    }
    const content = `groupsnapcontent-${uid}`;
    client.seed<VolumeGroupSnapshotContent>(volumeGroupSnapshotContents, {
      metadata: { name: content, finalizers: lingering ? ["groupsnapshot.storage.kubernetes.io/volumegroupsnapshotcontent-bound-protection"] : [] },
      spec: { driver: DRIVER, deletionPolicy: "Delete", source: { volumeHandles: [] }, volumeGroupSnapshotRef: { namespace, name, uid } },
    });
    const wanted = after.spec.source.selector?.matchLabels?.[GROUP_LABEL];
    for (const claim of client.all(persistentVolumeClaims)) {
      if (claim.metadata.namespace !== namespace || claim.metadata.labels?.[GROUP_LABEL] !== wanted) continue;
      const snapshot = `member-${claim.metadata.name}`;
      client.seed<VolumeSnapshotContent>(volumeSnapshotContents, {
        metadata: { name: `content-${snapshot}` },
        spec: { driver: DRIVER, deletionPolicy: "Delete", source: { snapshotHandle: `h-${snapshot}` }, volumeSnapshotRef: { namespace, name: snapshot } },
        status: { snapshotHandle: `h-${snapshot}`, volumeGroupSnapshotHandle: "group-handle", readyToUse: true },
      });
      client.seed(volumeSnapshots, {
        apiVersion: "snapshot.storage.k8s.io/v1",
        kind: "VolumeSnapshot",
        metadata: {
          namespace,
          name: snapshot,
          finalizers: ["snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection"],
          ownerReferences: [{ apiVersion: "groupsnapshot.storage.k8s.io/v1beta2", kind: "VolumeGroupSnapshot", name, uid }],
        },
        spec: { source: { persistentVolumeClaimName: claim.metadata.name ?? "" } },
        status: { boundVolumeSnapshotContentName: `content-${snapshot}`, readyToUse: true },
      });
    }
    client.mutate(volumeGroupSnapshots, keyOf(after), (group) => {
      group.status = { boundVolumeGroupSnapshotContentName: content };
      if (lingering) group.metadata.finalizers = ["groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-bound-protection"];
    });
  });
}

/** The client of a cluster that serves the group API in one version alone; in which versions it is spoken to is noted. */
function servingGroupsIn(version: string, client: RecordedCluster["client"], spoken: Set<string>): RecordedCluster["client"] {
  return new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      return (...args: readonly unknown[]) => {
        const type = args[0] as Partial<ResourceType<never>> | undefined;
        if (type?.group === "groupsnapshot.storage.k8s.io") {
          if (type.version !== version) throw new DrayError("KUBE_NOT_FOUND", `Cannot find ${type.plural}: the server does not have version ${type.version}`);
          spoken.add(`${type.plural} ${type.version}`);
        }
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });
}

function world({
  grouped = ["files", "disk"],
  groupVersion,
  ...manners
}: { readonly grouped?: readonly string[]; readonly groupVersion?: string } & GroupManners = {}) {
  const cluster = recordedCluster();
  const { client } = cluster;
  for (const name of grouped) {
    client.mutate(persistentVolumeClaims, { namespace: "notes", name }, (claim) => {
      claim.metadata.labels = { ...claim.metadata.labels, [GROUP_LABEL]: "db" };
    });
  }
  client.seed<VolumeGroupSnapshotClass>(volumeGroupSnapshotClasses, {
    metadata: { name: "groups", labels: { "velero.io/csi-volumegroupsnapshot-class": "true" } },
    driver: DRIVER,
    deletionPolicy: "Delete",
  });
  playSnapshotController(cluster, manners);
  const store = new MemoryBackupStore();
  const spoken = new Set<string>();
  const served = groupVersion === undefined ? client : servingGroupsIn(groupVersion, client, spoken);
  const deps = { ...cluster, client: served, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, newSpool: createMemorySpool };
  running.push(startBackupController(deps), startBackupOperationsController(deps));
  return { cluster, client, store, spoken };
}

describe("claims of a group", () => {
  it("are cut by one VolumeGroupSnapshot, which then goes and leaves their snapshots to the movers", async () => {
    const { cluster, client } = world();
    const made: unknown[] = [];
    client.react(volumeGroupSnapshots, (before, after) => {
      if (before === undefined && after !== undefined) made.push([after.metadata.labels, after.spec]);
    });
    await client.create<Backup>(backups, newBackup("one"));
    const waiting = await backupIn(cluster, "one", "WaitingForPluginOperations");
    expect(made).toEqual([
      [
        { "velero.io/backup-name": "one", "velero.io/backup-uid": waiting.metadata.uid, [GROUP_LABEL]: "db" },
        { volumeGroupSnapshotClassName: "groups", source: { selector: { matchLabels: { [GROUP_LABEL]: "db" } } } },
      ],
    ]);
    expect(client.all(volumeGroupSnapshots)).toEqual([]);
    expect(client.all(volumeGroupSnapshotContents)).toEqual([]);
    const taken = client.all(dataUploads).map(({ spec }) => [spec.sourcePVC, spec.csiSnapshot?.volumeSnapshot, spec.csiSnapshot?.snapshotClass]);
    expect(taken.sort()).toEqual([
      ["disk", "member-disk", undefined],
      ["files", "member-files", undefined],
      ["fsb", expect.stringMatching(/^velero-fsb-/), "csi"],
    ]);
    for (const name of ["member-files", "member-disk"]) {
      const metadata = client.peek(volumeSnapshots, { namespace: "notes", name })?.metadata;
      expect([metadata?.ownerReferences, metadata?.finalizers, metadata?.labels]).toEqual([
        undefined,
        undefined,
        { "velero.io/backup-name": "one", "velero.io/backup-uid": waiting.metadata.uid },
      ]);
    }
    endUploads(client);
    await backupIn(cluster, "one", "Completed");
  });

  it("keep their snapshots while the group that was let go takes its time to go", async () => {
    const { cluster, client } = world({ lingering: true });
    await client.create<Backup>(backups, newBackup("one"));
    await backupIn(cluster, "one", "WaitingForPluginOperations");
    expect(client.all(volumeGroupSnapshots).map(({ metadata }) => metadata.deletionTimestamp)).toEqual([expect.any(String)]);
    expect(client.all(volumeGroupSnapshotContents).map(({ spec }) => spec.deletionPolicy)).toEqual(["Retain"]);
  });

  it("that the backup does not take lose their snapshots again", async () => {
    const { cluster, client } = world({ grouped: ["files", "disk"] });
    const deleted = playSnapshotter(cluster);
    client.mutate(persistentVolumeClaims, { namespace: "notes", name: "disk" }, (claim) => {
      claim.metadata.labels = { ...claim.metadata.labels, "velero.io/exclude-from-backup": "true" };
    });
    await client.create<Backup>(backups, newBackup("one"));
    await backupIn(cluster, "one", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed");
    expect(client.peek(volumeSnapshots, { namespace: "notes", name: "member-disk" })).toBeUndefined();
    // In the storage as well, though its snapshotter leaves members of a group alone.
    expect(deleted).toEqual(["h-member-disk"]);
    expect(client.all(volumeSnapshotContents).filter(({ metadata }) => metadata.name?.startsWith("vsc-"))).toEqual([]);
    expect(client.peek(volumeSnapshots, { namespace: "notes", name: "member-files" })).toBeDefined();
  });

  it("are cut as well where the cluster serves only v1beta1 of the group API", async () => {
    const { cluster, client, spoken } = world({ groupVersion: "v1beta1" });
    const versions: (string | undefined)[] = [];
    client.react(volumeGroupSnapshots, (before, after) => {
      if (before === undefined) versions.push(after?.apiVersion);
    });
    await client.create<Backup>(backups, newBackup("one"));
    await backupIn(cluster, "one", "WaitingForPluginOperations");
    expect(versions).toEqual(["groupsnapshot.storage.k8s.io/v1beta1"]);
    expect([...spoken].sort()).toEqual(["volumegroupsnapshotclasses v1beta1", "volumegroupsnapshotcontents v1beta1", "volumegroupsnapshots v1beta1"]);
    expect(client.all(volumeGroupSnapshots)).toEqual([]);
    expect(client.all(dataUploads).map(({ spec }) => spec.csiSnapshot?.volumeSnapshot)).toEqual(expect.arrayContaining(["member-disk", "member-files"]));
  });

  it("of a cluster that serves no group API are refused with what to do", async () => {
    const { cluster, client, store } = world({ groupVersion: "none" });
    await client.create<Backup>(backups, newBackup("one"));
    await backupIn(cluster, "one", "WaitingForPluginOperationsPartiallyFailed");
    expect(JSON.stringify(store.backups.get("one")?.results?.errors)).toMatch(
      /the cluster does not know VolumeGroupSnapshots\. Install the group snapshot definitions/,
    );
  });

  it("say in a backup that keeps its snapshots which group they were of", async () => {
    const { cluster, client, store } = world();
    await client.create<Backup>(backups, newBackup("one", { snapshotMoveData: false }));
    await backupIn(cluster, "one", "Completed", "PartiallyFailed");
    const kept = store.items("one").find(({ ref }) => ref.groupResource === "volumesnapshots.snapshot.storage.k8s.io" && ref.name === "member-files");
    expect(kept?.object.metadata.annotations).toMatchObject({
      "velero.io/csi-volumegroupsnapshot-handle": "group-handle",
      "velero.io/csi-volumesnapshot-handle": "h-member-files",
    });
  });

  it("that cannot be cut are errors with the driver's complaint, and leave nothing behind", async () => {
    const { cluster, client, store } = world({ broken: "the array is busy" });
    await client.create<Backup>(backups, newBackup("one", { csiSnapshotTimeout: "1s" }));
    await backupIn(cluster, "one", "WaitingForPluginOperationsPartiallyFailed");
    expect(JSON.stringify(store.backups.get("one")?.results?.errors)).toMatch(/has no snapshot that is ready of .* after 1 s: the array is busy/);
    expect(client.all(volumeGroupSnapshots)).toEqual([]);
    expect(client.all(dataUploads).map(({ spec }) => spec.sourcePVC)).toEqual(["fsb"]);
  });

  it("of several drivers are refused by name, and so is a driver without a class", async () => {
    const { cluster, client, store } = world();
    const volumeName = client.peek(persistentVolumeClaims, { namespace: "notes", name: "disk" })?.spec.volumeName ?? "";
    client.mutate<PersistentVolume>(persistentVolumes, { name: volumeName }, (volume) => {
      if (volume.spec.csi !== undefined) volume.spec.csi.driver = "other.example.com";
    });
    await client.create<Backup>(backups, newBackup("one"));
    await backupIn(cluster, "one", "WaitingForPluginOperationsPartiallyFailed", "PartiallyFailed");
    expect(JSON.stringify(store.backups.get("one")?.results?.errors)).toMatch(
      /Cannot cut group \\"db\\" of namespace \\"notes\\": claim \\"\w+\\" is of driver/,
    );
    client.mutate<PersistentVolume>(persistentVolumes, { name: volumeName }, (volume) => {
      if (volume.spec.csi !== undefined) volume.spec.csi.driver = DRIVER;
    });
    client.discard(volumeGroupSnapshotClasses, { name: "groups" });
    endUploads(client);
    await client.create<Backup>(backups, newBackup("two"));
    await backupIn(cluster, "two", "WaitingForPluginOperationsPartiallyFailed", "PartiallyFailed");
    expect(JSON.stringify(store.backups.get("two")?.results?.errors)).toMatch(/has 0 VolumeGroupSnapshotClasses, 0 of them labelled/);
  });
});
