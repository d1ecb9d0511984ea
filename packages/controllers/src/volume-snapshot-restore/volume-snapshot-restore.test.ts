import {
  type Backup,
  backupStorageLocations,
  type DataDownload,
  dataDownloads,
  type Restore,
  type VolumeSnapshotBackup,
  type VolumeSnapshotRestore,
  volumeSnapshotRestores,
} from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type GenericObject, persistentVolumeClaims, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createVolumeSnapshotBackupRestoreActions, MovedVolumes } from "../actions/volume-snapshot-backup-restore-action.ts";
import type { RunningController } from "../backup/backup-controller.ts";
import { decide, type Observed, type RestorePhase } from "./volume-snapshot-restore.ts";
import { startVolumeSnapshotRestoreController } from "./volume-snapshot-restore-controller.ts";

const NS = "velero";

describe("decide()", () => {
  const observed = (over: Partial<Observed>): Observed => ({
    phase: "InProgress",
    batching: "Processing",
    deleting: false,
    finalizer: true,
    cancelRequested: false,
    fault: undefined,
    download: { state: "absent" },
    claimIsThere: true,
    slotFree: true,
    ...over,
  });
  const running = { state: "running", started: true, cancelRequested: false } as const;
  const told = { ...running, cancelRequested: true };
  const did = (over: Partial<Observed>): string =>
    decide(observed(over))
      .steps.map((step) => (step.do === "setPhase" ? `${step.to}/${step.batching}${step.message === "" ? "" : `: ${step.message}`}` : step.do))
      .join(", ");

  it.each<[what: string, over: Partial<Observed>, steps: string]>([
    ["a new one gets its finalizer first", { phase: "", finalizer: false }, "addFinalizer"],
    ["a new one is worked on where there is a place", { phase: "" }, "InProgress/Processing"],
    ["a new one waits where there is none", { phase: "", slotFree: false }, "InProgress/Queued"],
    ["what cannot be done fails with why", { phase: "", fault: "no password" }, "Failed/Completed: no password"],
    ["one that is canceled early never begins", { phase: "", cancelRequested: true }, "Failed/Completed: it was canceled before it began"],
    ["one that waited is worked on when a place gets free", { batching: "Queued" }, "InProgress/Processing"],
    ["one that waits goes on waiting", { batching: "Queued", slotFree: false }, ""],
    ["the data are asked for once the claim is there", { claimIsThere: true }, "createDownload"],
    ["a claim that is not there yet is waited for", { claimIsThere: false }, ""],
    ["a fault that shows with the claim fails it", { fault: "no class" }, "Failed/Completed: no class"],
    ["a transfer under way is left alone", { download: running }, ""],
    ["a cancel is handed on once", { download: running, cancelRequested: true }, "cancelDownload"],
    ["a cancel that was handed on is waited for", { download: told, cancelRequested: true }, ""],
    ["the end of the data is its end", { download: { state: "completed" } }, "SnapshotRestoreDone/Completed"],
    ["their failure is its failure", { download: { state: "failed", message: "disk" } }, "Failed/Completed: disk"],
    ["it passes through the phases of then", { phase: "SnapshotRestoreDone" }, "Cleanup/Completed"],
    ["it ends", { phase: "Cleanup" }, "Completed/Completed: Completed"],
    ["deleting it stops what runs", { deleting: true, download: running }, "cancelDownload"],
    ["deleting it waits for that", { deleting: true, download: told }, ""],
    ["deleting it takes the record along", { deleting: true, phase: "Completed", download: { state: "completed" } }, "deleteDownload"],
    ["and then lets it go", { deleting: true, phase: "Completed" }, "removeFinalizer"],
    ["a phase that nobody knows is over", { phase: "Whatever" as RestorePhase }, ""],
  ])("%s", (_what, over, steps) => expect(did(over)).toBe(steps));

  it.each<RestorePhase>(["Completed", "PartiallyFailed", "Failed"])("%s is the end", (phase) =>
    expect(did({ phase, fault: "x", cancelRequested: true })).toBe(""),
  );
});

let client: FakeKubeClient;
let clock: VirtualClock;
let controller: RunningController | undefined;
beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock, random: seededRandom(7), statusSubresources: ["volumesnapshotrestores.datamover.oadp.openshift.io"] });
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com" });
  client.seed(secrets, { metadata: { namespace: NS, name: "dm-credential" }, data: { RESTIC_PASSWORD: Buffer.from("p").toString("base64") } });
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
});

function start(concurrency?: number): void {
  const options = { client, clock, random: seededRandom(3), logger: nullLogger, namespace: NS };
  controller = startVolumeSnapshotRestoreController({ ...options, ...(concurrency === undefined ? {} : { concurrency }) });
}

function seedClaim(name: string, spec: Record<string, unknown> = {}): void {
  client.seed(persistentVolumeClaims, { metadata: { namespace: "shop", name }, spec: { storageClassName: "csi", ...spec } });
}

function seedRestore(name: string, over: Partial<VolumeSnapshotRestore["metadata"]> = {}, spec: VolumeSnapshotRestore["spec"] = {}): void {
  client.seed(volumeSnapshotRestores, {
    metadata: { namespace: "shop", name, uid: `0000-${name}`, annotations: { "drayage.io/backup-storage-location": "default" }, ...over },
    spec: {
      protectedNamespace: NS,
      resticSecretRef: { name: "default-volsync-restic" },
      volumeSnapshotMoverBackupRef: { resticrepository: "s3:host/b/openshift-adp/x-pvc", sourcePVCData: { name: "data", size: "1Gi" } },
      ...spec,
    },
  });
}

async function until(look: () => unknown): Promise<void> {
  for (let step = 0; step < 200; step++) {
    if (look() === true) return;
    await clock.advance(500);
    await settle();
  }
  throw new Error(`it came to rest: ${JSON.stringify(client.all(volumeSnapshotRestores).map(({ status }) => status))}`);
}

const statusOf = (name: string) => client.peek(volumeSnapshotRestores, { namespace: "shop", name })?.status;
const messageOf = (name: string): string | undefined => statusOf(name)?.conditions?.[0]?.message;

function endDownloads(phase: NonNullable<DataDownload["status"]>["phase"], message?: string): void {
  for (const { metadata } of client.all(dataDownloads)) {
    client.mutate(dataDownloads, { namespace: NS, name: metadata.name ?? "" }, (download) => {
      download.status = { phase: phase ?? "New", ...(message === undefined ? {} : { message }) };
    });
  }
}

describe("a VolumeSnapshotRestore", () => {
  it("has its claim filled by a DataDownload that says where the data are, and ends with it", async () => {
    seedClaim("data");
    seedRestore("vsr-1", {
      labels: { "velero.io/restore-name": "r" },
      annotations: { "drayage.io/backup-storage-location": "default", "drayage.io/restore-uid": "u" },
    });
    start();
    await until(() => client.all(dataDownloads).length === 1);
    expect(client.all(dataDownloads)[0]).toMatchObject({
      metadata: { namespace: NS, labels: { "velero.io/restore-name": "r", "velero.io/restore-uid": "u", "datamover.oadp.openshift.io/vsr": "vsr-1" } },
      spec: {
        backupStorageLocation: "default",
        datamover: "drayage-volsync",
        dataMoverConfig: { ResticRepositoryPath: "openshift-adp/x-pvc", ResticSecret: "default-volsync-restic", VolumeMayBeEmpty: "false" },
        snapshotID: "latest",
        sourceNamespace: "shop",
        targetVolume: { namespace: "shop", pvc: "data" },
      },
    });
    expect(statusOf("vsr-1")).toMatchObject({ phase: "InProgress", batchingStatus: "Processing" });
    endDownloads("Completed");
    await until(() => statusOf("vsr-1")?.phase === "Completed");
    expect(statusOf("vsr-1")).toMatchObject({ batchingStatus: "Completed", conditions: [{ type: "Reconciled", status: "True", reason: "Complete" }] });
    expect(statusOf("vsr-1")?.completionTimestamp).toBeDefined();
  });

  it("fails with the words of the mover", async () => {
    seedClaim("data");
    seedRestore("vsr-1");
    start();
    await until(() => client.all(dataDownloads).length === 1);
    endDownloads("Failed", '1 entry could not be restored: "a": damaged');
    await until(() => statusOf("vsr-1")?.phase === "Failed");
    expect(messageOf("vsr-1")).toBe('1 entry could not be restored: "a": damaged');
  });

  it.each<[what: string, break_: () => void, message: string]>([
    [
      "the password is not there",
      () => client.discard(secrets, { namespace: NS, name: "dm-credential" }),
      'create secret "velero/dm-credential" with the key "RESTIC_PASSWORD"',
    ],
    [
      "the Secret lacks its key",
      () => client.seed(secrets, { metadata: { namespace: NS, name: "default-volsync-restic" }, data: { AWS_ACCESS_KEY_ID: "eA==" } }),
      'secret "velero/default-volsync-restic" has no key "RESTIC_PASSWORD"',
    ],
    [
      "the location is not there",
      () => client.discard(backupStorageLocations, { namespace: NS, name: "default" }),
      'backup storage location "default" does not exist',
    ],
    [
      "the storage class is not there",
      () => client.discard(storageClasses, { name: "csi" }),
      'storage class "csi" of claim "shop/data" does not exist in this cluster',
    ],
  ])("says so when %s", async (_what, break_, message) => {
    seedClaim("data");
    break_();
    seedRestore("vsr-1");
    start();
    await until(() => statusOf("vsr-1")?.phase === "Failed");
    expect(messageOf("vsr-1")).toContain(message);
    expect(client.all(dataDownloads)).toEqual([]);
  });

  it.each<[what: string, spec: VolumeSnapshotRestore["spec"], message: string]>([
    ["it names no repository", { volumeSnapshotMoverBackupRef: {} }, "resticrepository is missing"],
    ["its repository cannot be read", { volumeSnapshotMoverBackupRef: { resticrepository: "rest:x", sourcePVCData: { name: "data" } } }, '"rest:x"'],
    ["it names no claim", { volumeSnapshotMoverBackupRef: { resticrepository: "s3:h/b/p" } }, "sourcePVCData.name is missing"],
  ])("says so when %s", async (_what, spec, message) => {
    seedRestore("vsr-1", {}, spec);
    start();
    await until(() => statusOf("vsr-1")?.phase === "Failed");
    expect(messageOf("vsr-1")).toContain(message);
  });

  it("does not take files for a block volume", async () => {
    seedClaim("data", { volumeMode: "Block" });
    seedRestore("vsr-1");
    start();
    await until(() => statusOf("vsr-1")?.phase === "Failed");
    expect(messageOf("vsr-1")).toBe('claim "shop/data" is of mode Block, and the data are files');
  });

  it("waits while as many others of its restore are worked on as may be; another restore has places of its own", async () => {
    for (const [name, restore] of [
      ["a", "large"],
      ["b", "large"],
      ["c", "large"],
      ["d", "other"],
    ] as const) {
      seedClaim(name);
      const over = { labels: { "velero.io/restore-name": restore } };
      seedRestore(`vsr-${name}`, over, { volumeSnapshotMoverBackupRef: { resticrepository: "s3:h/b/p", sourcePVCData: { name } } });
    }
    start(1);
    const ofRestore = (name: string) => client.all(volumeSnapshotRestores).filter(({ metadata }) => metadata.labels?.["velero.io/restore-name"] === name);
    await until(() => client.all(dataDownloads).length === 2);
    expect(ofRestore("large").filter(({ status }) => status?.batchingStatus === "Queued")).toHaveLength(2);
    expect(ofRestore("other").map(({ status }) => status?.batchingStatus)).toEqual(["Processing"]);
    endDownloads("Completed");
    await until(() => client.all(dataDownloads).length === 3);
    endDownloads("Completed");
    await until(() => client.all(dataDownloads).length === 4);
    endDownloads("Completed");
    await until(() => client.all(volumeSnapshotRestores).every(({ status }) => status?.phase === "Completed"));
  });

  it("leaves alone what belongs to another installation", async () => {
    seedClaim("data");
    seedRestore("vsr-1", {}, { protectedNamespace: "openshift-adp" });
    start();
    await clock.advance(120_000);
    await settle();
    expect(statusOf("vsr-1")).toBeUndefined();
    expect(client.all(dataDownloads)).toEqual([]);
  });
});

describe("a VolumeSnapshotBackup on its way back", () => {
  const backup: Backup = { metadata: { name: "b" }, spec: { storageLocation: "default" } };
  const stored = (over: Partial<VolumeSnapshotBackup> = {}): VolumeSnapshotBackup => ({
    metadata: { namespace: "shop", name: "vsb-1" },
    spec: { volumeSnapshotContent: { name: "c" } },
    status: { phase: "Completed", resticrepository: "s3:h/b/openshift-adp/c-pvc", sourcePVCData: { name: "data", size: "1Gi", storageClassName: "csi" } },
    ...over,
  });
  const act = async (item: VolumeSnapshotBackup, moved = new MovedVolumes(), spec: Restore["spec"] = {}) => {
    const [action] = createVolumeSnapshotBackupRestoreActions({ client, namespace: NS, moved });
    if (action === undefined) throw new Error("there is no action");
    const object = item as unknown as GenericObject;
    const restore: Restore = { metadata: { name: "r", uid: "u" }, spec };
    const result = await action.execute(object, {
      restore,
      backup,
      itemFromBackup: object,
      targetNamespace: "shop-2",
      log: nullLogger,
      signal: new AbortController().signal,
    });
    return { ...result, moved };
  };

  it("becomes a VolumeSnapshotRestore in the namespace it goes to, and is waited for", async () => {
    const { skip, operationId, moved } = await act(stored());
    const [made] = client.all(volumeSnapshotRestores);
    expect([skip, operationId]).toEqual([true, `shop-2/${made?.metadata.name}`]);
    expect(made).toMatchObject({
      metadata: {
        namespace: "shop-2",
        labels: {
          "velero.io/restore-name": "r",
          "velero.io/backup-name": "b",
          "velero.io/persistent-volume-claim-name": "data",
          "velero.io/vsb-name": "vsb-1",
        },
        annotations: { "drayage.io/volume-may-be-empty": "true" },
      },
      spec: {
        protectedNamespace: NS,
        resticSecretRef: { name: "default-volsync-restic" },
        volumeSnapshotMoverBackupRef: { resticrepository: "s3:h/b/openshift-adp/c-pvc", sourcePVCData: { name: "data", size: "1Gi", storageClassName: "csi" } },
      },
    });
    expect(moved.of("shop", "data")).toEqual({ restore: { namespace: "shop-2", name: made?.metadata.name } });
  });

  it("of another backup, which lay in the namespace as well, is left out", async () => {
    const labels = { "velero.io/backup-name": "the-one-before" };
    const { skip, moved } = await act(stored({ metadata: { namespace: "shop", name: "vsb-1", labels } }));
    expect([skip, moved.of("shop", "data"), client.all(volumeSnapshotRestores)]).toEqual([true, undefined, []]);
  });

  it("leaves records of earlier restores out: made again, they would be carried out again", async () => {
    const [, records] = createVolumeSnapshotBackupRestoreActions({ client, namespace: NS, moved: new MovedVolumes() });
    expect(records?.groupResource).toBe("volumesnapshotrestores.datamover.oadp.openshift.io");
    const item = { metadata: { namespace: "shop", name: "vsr-1" } } as GenericObject;
    expect(await records?.execute(item, undefined as never)).toEqual({ item, skip: true });
  });

  it("is believed by its annotations before its status, and is not taken for finished without one", async () => {
    await act(
      stored({
        metadata: { namespace: "shop", name: "vsb-1", annotations: { "datamover.io/restic-repository": "s3:h/b/later" } },
        status: { sourcePVCData: { name: "data" } },
      }),
    );
    const [made] = client.all(volumeSnapshotRestores);
    expect(made?.spec?.volumeSnapshotMoverBackupRef?.resticrepository).toBe("s3:h/b/later");
    expect(made?.metadata.annotations).not.toHaveProperty("drayage.io/volume-may-be-empty");
  });

  it.each<[what: string, over: Partial<VolumeSnapshotBackup>, problem: RegExp]>([
    [
      "that failed",
      { status: { phase: "Failed", resticrepository: "s3:h/b/p", sourcePVCData: { name: "data" } } },
      /"vsb-1" ended Failed, so the backup has none/,
    ],
    ["that never had a repository", { status: { sourcePVCData: { name: "data" } } }, /names no repository/],
    ["whose repository cannot be read", { status: { resticrepository: "x", sourcePVCData: { name: "data" } } }, /"x"/],
  ])("%s is told by its claim", async (_what, over, problem) => {
    const { skip, operationId, moved } = await act(stored(over));
    expect([skip, operationId]).toEqual([true, undefined]);
    expect(moved.of("shop", "data")?.problem).toMatch(problem);
    expect(client.all(volumeSnapshotRestores)).toEqual([]);
  });

  it("does nothing for a claim that is there already, twice for the same claim, or when volumes are not wanted", async () => {
    const { moved } = await act(stored());
    await act(stored({ metadata: { namespace: "shop", name: "vsb-2" } }), moved);
    await act(stored(), new MovedVolumes(), { restorePVs: false });
    expect(client.all(volumeSnapshotRestores)).toHaveLength(1);
    client.seed(persistentVolumeClaims, { metadata: { namespace: "shop-2", name: "data" }, spec: {} });
    await act(stored());
    expect(client.all(volumeSnapshotRestores)).toHaveLength(1);
  });
});
