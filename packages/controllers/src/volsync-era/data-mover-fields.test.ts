/** Each field, label and annotation of OADP 1.2's VolumeSnapshotBackup and VolumeSnapshotRestore for itself. docs/data-mover-compatibility.md names these tests and others. */
import {
  type Backup,
  backupStorageLocations,
  dataDownloads,
  replicationDestinations,
  replicationSources,
  type VolumeSnapshotRestore,
  volumeSnapshotBackups,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshotRestores,
} from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type GenericObject, persistentVolumeClaims, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createVolumeSnapshotMoverActions, withStatusNoted } from "../actions/volume-snapshot-mover-actions.ts";
import type { RunningController } from "../backup/backup-controller.ts";
import { ScriptedVolSync } from "../testing/scripted-volsync.ts";
import { SimulatedStorage } from "../testing/simulated-storage.ts";
import { startVolSyncRestoreController } from "../volsync-restore/volsync-restore-controller.ts";
import { startVolumeSnapshotBackupController } from "../volume-snapshot-backup/volume-snapshot-backup-controller.ts";
import { startVolumeSnapshotRestoreController } from "../volume-snapshot-restore/volume-snapshot-restore-controller.ts";
import { defaultVolSyncEraSettings } from "./settings.ts";

const NS = "openshift-adp";
const REPOSITORY = "s3:https://s3.example.com/b/openshift-adp/daily/c-pvc";

let client: FakeKubeClient;
let clock: VirtualClock;
let storage: SimulatedStorage;
let controller: RunningController | undefined;
beforeEach(() => {
  clock = new VirtualClock();
  const kinds = ["volumesnapshotbackups", "volumesnapshotrestores"].map((plural) => `${plural}.datamover.oadp.openshift.io`);
  const synchronized = ["replicationsources", "replicationdestinations"].map((plural) => `${plural}.volsync.backube`);
  client = new FakeKubeClient({ clock, random: seededRandom(7), statusSubresources: [...kinds, ...synchronized] });
  storage = new SimulatedStorage(client, { namespace: NS });
  new ScriptedVolSync(client);
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  for (const name of ["csi", "fast"]) client.seed(storageClasses, { metadata: { name }, provisioner: "csi.example.com" });
  client.seed(volumeSnapshotClasses, { metadata: { name: "snap" }, driver: "csi.example.com", deletionPolicy: "Delete" });
  client.seed(secrets, { metadata: { namespace: NS, name: "dm-credential" }, data: { RESTIC_PASSWORD: Buffer.from("open sesame").toString("base64") } });
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
});

const common = () => ({ client, clock, random: seededRandom(3), logger: nullLogger, namespace: NS });
const era = () => ({ ...common(), settings: defaultVolSyncEraSettings, environment: async () => ({ AWS_ACCESS_KEY_ID: "id" }) });

async function until(look: () => boolean): Promise<void> {
  for (let step = 0; step < 400; step++) {
    if (look()) return;
    await clock.advance(2_000);
    await settle();
  }
  throw new Error("it came to rest");
}

/** One that ran to its end. */
async function endedBackup(resticSecret = "default-volsync-restic") {
  const key = { namespace: "shop", name: "vsb-a" };
  client.seed(persistentVolumeClaims, {
    metadata: { namespace: "shop", name: "files" },
    spec: { accessModes: ["ReadWriteOnce"], storageClassName: "csi", resources: { requests: { storage: "1Gi" } } },
  });
  storage.seedSnapshot("shop", "a");
  client.seed(volumeSnapshotBackups, {
    metadata: { ...key, labels: { "velero.io/backup-name": "daily" } },
    spec: { volumeSnapshotContent: { name: "snapcontent-a" }, protectedNamespace: NS, resticSecretRef: { name: resticSecret } },
  });
  controller = startVolumeSnapshotBackupController({ ...era(), holder: { image: "drayage/dray:test", command: ["/dray", "hold"] } });
  await until(() => ["Completed", "Failed"].includes(client.peek(volumeSnapshotBackups, key)?.status?.phase ?? ""));
  return client.get(volumeSnapshotBackups, key);
}

interface RestoreParts {
  readonly annotations?: Record<string, string>;
  readonly labels?: Record<string, string>;
  readonly reference?: Record<string, unknown>;
}

async function seedRestore({ annotations = {}, labels = {}, reference = {} }: RestoreParts = {}): Promise<void> {
  const sourcePVCData = { name: "files", size: "2Gi", storageClassName: "csi" };
  const spec: VolumeSnapshotRestore["spec"] = {
    protectedNamespace: NS,
    resticSecretRef: { name: "default-volsync-restic" },
    volumeSnapshotMoverBackupRef: { resticrepository: REPOSITORY, sourcePVCData, volumeSnapshotClassName: "snap", ...reference },
  };
  client.seed(volumeSnapshotRestores, { metadata: { namespace: "shop", name: "vsr-1", labels, annotations }, spec });
}
const restored = (): Promise<VolumeSnapshotRestore> => client.get(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" });

/** The DataDownload that fills the claim's own volume. */
async function downloadOf(parts: RestoreParts) {
  client.seed(persistentVolumeClaims, { metadata: { namespace: "shop", name: "files" }, spec: { storageClassName: "csi" } });
  await seedRestore(parts);
  controller = startVolumeSnapshotRestoreController(common());
  await until(() => client.all(dataDownloads).length === 1);
  return client.all(dataDownloads)[0];
}

/** The ReplicationDestination by which VolSync fills one that becomes a snapshot. */
async function destinationOf(parts: RestoreParts) {
  await seedRestore({ ...parts, annotations: { "drayage.io/restore-into": "snapshot", ...parts.annotations } });
  controller = startVolSyncRestoreController(era());
  let seen: unknown;
  client.react(replicationDestinations, (_before, after) => {
    seen ??= after;
  });
  await until(() => ["Completed", "Failed"].includes(client.peek(volumeSnapshotRestores, { namespace: "shop", name: "vsr-1" })?.status?.phase ?? ""));
  return seen;
}

describe("a VolumeSnapshotBackup", () => {
  const backup: Backup = { metadata: { name: "daily", uid: "u-1" }, spec: { storageLocation: "default" } };

  async function made() {
    client.seed(volumeSnapshotContents, {
      metadata: { name: "snapcontent-a", labels: { "velero.io/backup-name": "daily" } },
      spec: { driver: "csi.example.com", deletionPolicy: "Retain", source: { volumeHandle: "v" }, volumeSnapshotRef: { namespace: "shop", name: "a" } },
    });
    const [action] = createVolumeSnapshotMoverActions({ client, namespace: NS, environment: era().environment });
    const content = (await client.get(volumeSnapshotContents, { name: "snapcontent-a" })) as unknown as GenericObject;
    const result = await action?.execute(content, { backup, log: nullLogger, signal: new AbortController().signal });
    const [first] = client.all(volumeSnapshotBackups);
    expect(result?.operation?.id).toBe(`shop/${first?.metadata.name}`);
    return first;
  }

  it.each([
    ["spec.volumeSnapshotContent", { spec: { volumeSnapshotContent: { name: "snapcontent-a" } } }],
    ["spec.protectedNamespace", { spec: { protectedNamespace: NS } }],
    ["spec.resticSecretRef.name", { spec: { resticSecretRef: { name: "default-volsync-restic" } } }],
    ["velero.io/backup-name", { metadata: { namespace: "shop", labels: { "velero.io/backup-name": "daily" } } }],
    ["datamover.io/vsb-volumesnapshotcontent", { metadata: { labels: { "datamover.io/vsb-volumesnapshotcontent": "snapcontent-a" } } }],
  ])("is made beside the claim with its %s", async (_what, expected) => {
    expect(await made()).toMatchObject(expected);
  });

  it.each([
    ["datamover.io/restic-repository", REPOSITORY],
    ["datamover.io/source-pvc-name", "files"],
    ["datamover.io/source-pvc-size", "2Gi"],
    ["datamover.io/source-pvc-storageclass", "csi"],
    ["datamover.io/source-pvc-volumesnapshotclass", "snap"],
  ])("goes into its backup with its %s, which its status said", (annotation, value) => {
    const status = {
      resticrepository: REPOSITORY,
      sourcePVCData: { name: "files", size: "2Gi", storageClassName: "csi" },
      volumeSnapshotClassName: "snap",
    };
    const stored = withStatusNoted({ metadata: { namespace: "shop", name: "vsb-a" }, status } as GenericObject);
    expect(stored.metadata.annotations?.[annotation]).toBe(value);
  });

  it.each([
    ["status.batchingStatus", { batchingStatus: "Completed" }],
    ["status.phase", { phase: "Completed" }],
    ["status.startTimestamp", { startTimestamp: expect.stringMatching(/Z$/) as string }],
    ["status.completionTimestamp", { completionTimestamp: expect.stringMatching(/Z$/) as string }],
    ["status.resticrepository", { resticrepository: expect.stringContaining("/daily/snapcontent-a-pvc") as string }],
    ["status.sourcePVCData.name", { sourcePVCData: { name: "files" } }],
    ["status.sourcePVCData.size", { sourcePVCData: { size: "1Gi" } }],
    ["status.sourcePVCData.storageClassName", { sourcePVCData: { storageClassName: "csi" } }],
    ["status.volumeSnapshotClassName", { volumeSnapshotClassName: "csi" }],
    ["status.replicationSourceData.name", { replicationSourceData: { name: "vsb-a-rep-src" } }],
    ["status.replicationSourceData.startTimestamp", { replicationSourceData: { startTimestamp: expect.stringMatching(/Z$/) as string } }],
    ["status.replicationSourceData.completionTimestamp", { replicationSourceData: { completionTimestamp: expect.stringMatching(/Z$/) as string } }],
    ["status.conditions[].type", { conditions: [{ type: "Reconciled" }] }],
    ["status.conditions[].status", { conditions: [{ status: "True" }] }],
    ["status.conditions[].reason", { conditions: [{ reason: "Complete" }] }],
    ["status.conditions[].message", { conditions: [{ message: "Completed" }] }],
    ["status.conditions[].observedGeneration", { conditions: [{ observedGeneration: 1 }] }],
    ["status.conditions[].lastTransitionTime", { conditions: [{ lastTransitionTime: expect.stringMatching(/Z$/) as string }] }],
  ])("ends with its %s", async (_field, expected) => {
    expect((await endedBackup()).status).toMatchObject(expected);
  });

  it("has no `completed`, which OADP defined and never wrote", async () => {
    expect((await endedBackup()).status).not.toHaveProperty("completed");
  });

  it("whose resticSecretRef names no location's Secret fails, and says what is wanted", async () => {
    const { status } = await endedBackup("mine");
    expect(status?.conditions?.[0]).toMatchObject({ reason: "Error", status: "False", message: expect.stringContaining('"mine", the Secret of a location') });
    expect(client.all(replicationSources)).toEqual([]);
  });
});

describe("a VolumeSnapshotRestore", () => {
  it.each<[what: string, parts: RestoreParts, expected: object]>([
    ["spec.resticSecretRef.name", {}, { spec: { dataMoverConfig: { ResticSecret: "default-volsync-restic" } } }],
    ["resticrepository", { reference: { resticrepository: "s3:h/b/other" } }, { spec: { dataMoverConfig: { ResticRepositoryPath: "other" } } }],
    ["sourcePVCData.name", {}, { spec: { targetVolume: { namespace: "shop", pvc: "files" } } }],
    ["velero.io/restore-name", { labels: { "velero.io/restore-name": "r" } }, { metadata: { labels: { "velero.io/restore-name": "r" } } }],
    ["drayage.io/restore-uid", { annotations: { "drayage.io/restore-uid": "u" } }, { metadata: { labels: { "velero.io/restore-uid": "u" } } }],
    ["drayage.io/restic-snapshot", { annotations: { "drayage.io/restic-snapshot": "1a2b3c4d" } }, { spec: { snapshotID: "1a2b3c4d" } }],
    [
      "drayage.io/volume-may-be-empty",
      { annotations: { "drayage.io/volume-may-be-empty": "true" } },
      { spec: { dataMoverConfig: { VolumeMayBeEmpty: "true" } } },
    ],
    [
      "drayage.io/backup-storage-location",
      { annotations: { "drayage.io/backup-storage-location": "default" } },
      { spec: { backupStorageLocation: "default" } },
    ],
  ])("fills the claim's volume by its %s", async (_what, parts, expected) => {
    expect(await downloadOf(parts)).toMatchObject(expected);
  });

  it.each<[what: string, parts: RestoreParts, expected: object]>([
    ["sourcePVCData.size", { reference: { sourcePVCData: { name: "files", size: "3Gi", storageClassName: "csi" } } }, { capacity: "3Gi" }],
    [
      "sourcePVCData.storageClassName",
      { reference: { sourcePVCData: { name: "files", size: "2Gi", storageClassName: "fast" } } },
      { storageClassName: "fast" },
    ],
    ["volumeSnapshotClassName", {}, { volumeSnapshotClassName: "snap" }],
  ])("has VolSync make a volume by its %s", async (_what, parts, expected) => {
    expect(await destinationOf(parts)).toMatchObject({ spec: { restic: expected } });
  });

  it("is carried out by VolSync where drayage.io/restore-into is snapshot, and otherwise by a DataDownload", async () => {
    expect(await destinationOf({})).toMatchObject({ metadata: { namespace: NS, name: "vsr-1-rep-dest" } });
    expect((await restored()).metadata.annotations).toMatchObject({ "drayage.io/restore-into": "snapshot" });
    expect(client.all(dataDownloads)).toEqual([]);
  });

  it.each([
    ["status.batchingStatus", { batchingStatus: "Completed" }],
    ["status.phase", { phase: "Completed" }],
    ["status.startTimestamp", { startTimestamp: expect.stringMatching(/Z$/) as string }],
    ["status.completionTimestamp", { completionTimestamp: expect.stringMatching(/Z$/) as string }],
    ["status.snapshotHandle", { snapshotHandle: expect.stringContaining("handle-") as string }],
    ["status.volumeSnapshotContentName", { volumeSnapshotContentName: expect.stringContaining("snapcontent-") as string }],
    ["status.replicationDestinationData.name", { replicationDestinationData: { name: "vsr-1-rep-dest" } }],
    ["status.replicationDestinationData.startTimestamp", { replicationDestinationData: { startTimestamp: expect.stringMatching(/Z$/) as string } }],
    ["status.replicationDestinationData.completionTimestamp", { replicationDestinationData: { completionTimestamp: expect.stringMatching(/Z$/) as string } }],
    ["status.conditions[].type", { conditions: [{ type: "Reconciled" }] }],
    ["status.conditions[].status", { conditions: [{ status: "True" }] }],
    ["status.conditions[].reason", { conditions: [{ reason: "Complete" }] }],
    ["status.conditions[].message", { conditions: [{ message: "Completed" }] }],
    ["status.conditions[].observedGeneration", { conditions: [{ observedGeneration: 1 }] }],
    ["status.conditions[].lastTransitionTime", { conditions: [{ lastTransitionTime: expect.stringMatching(/Z$/) as string }] }],
  ])("ends with its %s", async (_field, expected) => {
    await destinationOf({});
    expect((await restored()).status).toMatchObject(expected);
  });
});
