/** What a DataProtectionTest says of a location and of snapshots, and what it leaves: nothing. */
import { backupStorageLocations, type DataProtectionTest, dataProtectionTests, type VolumeSnapshot, volumeSnapshots } from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LocationTrials } from "../ports.ts";
import { eventually } from "../testing/recorded-cluster.ts";
import { fileBytesOf, megabitsPerSecond, trialOf } from "./data-protection-test.ts";
import { startDataProtectionTestController } from "./data-protection-test-controller.ts";

const NS = "adp";
const location = { provider: "aws", objectStorage: { bucket: "b" } };
let clock: VirtualClock;
let fake: FakeKubeClient;
let uploads: string[];
let locations: LocationTrials;
let controller: ReturnType<typeof startDataProtectionTestController>;

const start = () => startDataProtectionTestController({ client: fake, clock, random: seededRandom(1), logger: nullLogger, namespace: NS, locations });
const statusOf = () => fake.all(dataProtectionTests)[0]?.status;

async function tested(spec: DataProtectionTest["spec"]): Promise<DataProtectionTest["status"]> {
  fake.seed(dataProtectionTests, { metadata: { namespace: NS, name: "trial", uid: "u1" }, spec });
  return await ended();
}

const ended = () => eventually(clock, () => (["Complete", "Failed"].includes(statusOf()?.phase ?? "") ? statusOf() : undefined));

beforeEach(() => {
  clock = new VirtualClock();
  fake = new FakeKubeClient({ clock, random: seededRandom(7), statusSubresources: ["dataprotectiontests.oadp.openshift.io"] });
  fake.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: location });
  uploads = [];
  locations = {
    describeBucket: async () => ({ vendor: "MinIO", versioningStatus: "Enabled", encryptionAlgorithm: "AES256" }),
    upload: async ({ spec }, { key, lengthBytes }) => {
      uploads.push(`${spec.objectStorage.bucket} ${key} ${lengthBytes}`);
      return 2_000;
    },
  };
  controller = start();
});
afterEach(() => controller.stop());

describe("a DataProtectionTest", () => {
  it("says how fast a location is, who made it, and whether it keeps versions and encrypts", async () => {
    const status = await tested({ backupLocationName: "default", uploadSpeedTestConfig: { fileSize: "10MB" } });
    expect(status).toEqual({
      phase: "Complete",
      lastTested: expect.stringMatching(/^\d{4}-.*Z$/),
      s3Vendor: "MinIO",
      bucketMetadata: { versioningStatus: "Enabled", encryptionAlgorithm: "AES256" },
      uploadTest: { success: true, speedMbps: 40, duration: "2s" },
    });
    expect(uploads).toEqual(["b dpt-upload-test-u1 10000000"]);
  });

  it("takes a location that is written in it, and tries no upload that nobody asked for", async () => {
    const status = await tested({ backupLocationSpec: { ...location, objectStorage: { bucket: "inline" } }, skipTLSVerify: true });
    expect(status).toMatchObject({ phase: "Complete", s3Vendor: "MinIO" });
    expect(status).not.toHaveProperty("uploadTest");
    expect(uploads).toEqual([]);
  });

  it("has ended when a part of it failed, and says why of that part alone: errorMessage", async () => {
    locations.describeBucket = () => Promise.reject(new DrayError("BLOB_ACCESS_DENIED", "Cannot ask: no"));
    locations.upload = () => Promise.reject(new DrayError("BLOB_UNAVAILABLE", "Cannot store: away"));
    expect(await tested({ backupLocationName: "default", uploadSpeedTestConfig: {} })).toMatchObject({
      phase: "Complete",
      bucketMetadata: { errorMessage: "Cannot ask: no" },
      uploadTest: { success: false, errorMessage: "Cannot store: away" },
    });
  });

  it("gives an upload up after uploadSpeedTestConfig.timeout", async () => {
    locations.upload = (_location, _file, signal) =>
      new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true }));
    const status = await tested({ backupLocationName: "default", uploadSpeedTestConfig: { fileSize: "1MB", timeout: "5s" } });
    expect(status?.uploadTest).toEqual({ success: false, errorMessage: "Cannot upload 1000000 bytes: it takes longer than 5s" });
  });

  it.each<[what: string, spec: DataProtectionTest["spec"], message: string]>([
    ["no location", {}, "spec.backupLocationName and spec.backupLocationSpec: one of them is wanted, and not both"],
    ["two locations", { backupLocationName: "default", backupLocationSpec: location }, "one of them is wanted, and not both"],
    ["a location that is not there", { backupLocationName: "gone" }, 'backup location "gone" does not exist'],
    ["a size that is none", { backupLocationName: "default", uploadSpeedTestConfig: { fileSize: "big" } }, 'fileSize is "big": 1B to 200MiB is wanted'],
    ["a size that is too large", { backupLocationName: "default", uploadSpeedTestConfig: { fileSize: "1000MB" } }, 'fileSize is "1000MB"'],
    [
      "a time that is none",
      { backupLocationName: "default", uploadSpeedTestConfig: { timeout: "soon" } },
      'timeout is "soon": a duration such as 60s is wanted',
    ],
    [
      "a snapshot of nothing",
      { backupLocationName: "default", csiVolumeSnapshotTestConfigs: [{}] },
      "csiVolumeSnapshotTestConfigs[0].volumeSnapshotSource needs",
    ],
  ])("with %s has failed, and says so", async (_what, spec, message) => {
    expect(await tested(spec)).toMatchObject({ phase: "Failed", errorMessage: expect.stringContaining(message) });
  });

  it("tries snapshots of claims with csiVolumeSnapshotTestConfigs, counts those that become ready, and takes all of them away", async () => {
    const source = (name: string) => ({ persistentVolumeClaimName: name, persistentVolumeClaimNamespace: "shop" });
    fake.seed(dataProtectionTests, {
      metadata: { namespace: NS, name: "trial", uid: "u1" },
      spec: {
        backupLocationName: "default",
        csiVolumeSnapshotTestConfigs: [
          { snapshotClassName: "fast", volumeSnapshotSource: source("good"), timeout: "10s" },
          { volumeSnapshotSource: source("bad"), timeout: "4s" },
        ],
      },
    });
    const seen = await eventually(clock, () => {
      const found = fake.all(volumeSnapshots);
      return found.length === 2 ? found : undefined;
    });
    expect(
      seen.map(({ metadata, spec }) => [
        metadata.namespace,
        metadata.labels?.["oadp.openshift.io/dpt"],
        spec.source.persistentVolumeClaimName,
        spec.volumeSnapshotClassName,
      ]),
    ).toEqual([
      ["shop", "trial", "good", "fast"],
      ["shop", "trial", "bad", undefined],
    ]);
    await fake.patchStatus<VolumeSnapshot>(volumeSnapshots, { namespace: "shop", name: "dpt-snap-u1-0" }, "merge", { status: { readyToUse: true } });
    await fake.patchStatus<VolumeSnapshot>(volumeSnapshots, { namespace: "shop", name: "dpt-snap-u1-1" }, "merge", {
      status: { error: { message: "no room" } },
    });
    const status = await ended();
    expect(status).toMatchObject({
      phase: "Complete",
      snapshotSummary: "1/2 passed",
      snapshotTests: [
        { persistentVolumeClaimName: "good", persistentVolumeClaimNamespace: "shop", status: "Ready", readyDuration: expect.stringMatching(/s$/) },
        { persistentVolumeClaimName: "bad", status: "Failed", errorMessage: expect.stringContaining("it is not ready after 4s: no room") },
      ],
    });
    expect(fake.all(volumeSnapshots)).toEqual([]);
  });

  it("is run once, and again when forceRun asks for it, which is taken back", async () => {
    await tested({ backupLocationName: "default", uploadSpeedTestConfig: {} });
    await clock.advance(60_000);
    await settle();
    expect(uploads).toHaveLength(1);
    await fake.patch(dataProtectionTests, { namespace: NS, name: "trial" }, "merge", { spec: { forceRun: true } });
    await eventually(clock, () => (uploads.length === 2 && statusOf()?.phase === "Complete" ? true : undefined));
    await clock.advance(60_000);
    await settle();
    expect(uploads).toHaveLength(2);
    expect(fake.all(dataProtectionTests)[0]?.spec.forceRun).toBe(false);
  });

  it("that was cut off is run again, over the snapshot that it left", async () => {
    await controller.stop();
    const name = "dpt-snap-u1-0";
    fake.seed(volumeSnapshots, { metadata: { namespace: "shop", name, uid: "left" }, spec: { source: { persistentVolumeClaimName: "data" } } });
    const configs = [{ volumeSnapshotSource: { persistentVolumeClaimName: "data", persistentVolumeClaimNamespace: "shop" } }];
    const spec = { backupLocationName: "default", csiVolumeSnapshotTestConfigs: configs };
    fake.seed(dataProtectionTests, { metadata: { namespace: NS, name: "trial", uid: "u1" }, spec, status: { phase: "InProgress" } });
    controller = start();
    await eventually(clock, () => fake.all(volumeSnapshots).find(({ metadata }) => metadata.uid !== "left"));
    await fake.patchStatus<VolumeSnapshot>(volumeSnapshots, { namespace: "shop", name }, "merge", { status: { readyToUse: true } });
    expect(await ended()).toMatchObject({ snapshotSummary: "1/1 passed" });
    expect(fake.all(volumeSnapshots)).toEqual([]);
  });
});

describe("the settings of a DataProtectionTest", () => {
  it.each([
    [undefined, 100_000_000],
    ["", 100_000_000],
    ["5", 5],
    ["5 kB", 5_000],
    ["2Ki", 2_048],
    ["200MiB", 200 << 20],
    ["201MiB", undefined],
    ["0MB", undefined],
    ["1.5MB", undefined],
    ["-1MB", undefined],
    ["10GB", undefined],
    ["9999999999999B", undefined],
  ])("read a size of %j as %s bytes", (text, bytes) => {
    expect(fileBytesOf(text)).toBe(bytes);
  });

  it("have limits: ten minutes of waiting, 64 snapshots", () => {
    const test = (spec: DataProtectionTest["spec"]): DataProtectionTest => ({ metadata: { name: "t", uid: "u" }, spec: { backupLocationName: "l", ...spec } });
    expect(trialOf(test({ uploadSpeedTestConfig: { timeout: "48h" } })).upload?.timeoutMs).toBe(600_000);
    expect(() => trialOf(test({ csiVolumeSnapshotTestConfigs: Array.from({ length: 65 }, () => ({})) }))).toThrow("has 65 entries, 64 at most are wanted");
  });

  it("count whole megabits a second, of an upload of no time too", () => {
    expect(megabitsPerSecond(10_000_000, 2_000)).toBe(40);
    expect(megabitsPerSecond(1, 0)).toBe(0);
  });
});
