import { type BackupStorageLocation, type CloudStorage, cloudStorages, dataProtectionApplications } from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { events } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import type { CloudBuckets } from "../ports.ts";
import { BUCKET_DELETE_ANNOTATION, BUCKET_FINALIZER, startCloudStorageController } from "./cloud-storage-controller.ts";
import { letGoOfBuckets } from "./let-go-of-buckets.ts";

const NS = "openshift-adp";
const key = { namespace: NS, name: "storage" };

/** A store that has buckets with tags, and refuses what it is told to. */
class MemoryBuckets implements CloudBuckets {
  readonly made = new Map<string, Readonly<Record<string, string>>>();
  readonly asked: BackupStorageLocation[] = [];
  refusal: string | undefined;

  async exists(location: BackupStorageLocation): Promise<boolean> {
    return this.made.has(this.#name(location));
  }

  async create(location: BackupStorageLocation): Promise<void> {
    this.made.set(this.#name(location), {});
  }

  async tag(location: BackupStorageLocation, tags: Readonly<Record<string, string>>): Promise<void> {
    this.made.set(this.#name(location), tags);
  }

  async remove(location: BackupStorageLocation): Promise<void> {
    this.made.delete(this.#name(location));
  }

  #name(location: BackupStorageLocation): string {
    this.asked.push(location);
    if (this.refusal !== undefined) throw new DrayError("BLOB_ACCESS_DENIED", this.refusal);
    return location.spec.objectStorage.bucket;
  }
}

let clock: VirtualClock;
let client: FakeKubeClient;
let buckets: MemoryBuckets;
let controller: RunningController;
beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock, random: seededRandom(1), statusSubresources: ["cloudstorages.oadp.openshift.io"] });
  buckets = new MemoryBuckets();
  controller = startCloudStorageController({ client, clock, random: seededRandom(2), logger: nullLogger, namespace: NS, buckets });
});
afterEach(() => controller.stop());

async function settled(): Promise<CloudStorage | undefined> {
  for (let round = 0; round < 5; round++) {
    await clock.advance(3_000);
    await settle();
    await controller.idle();
  }
  return client.peek(cloudStorages, key);
}

const create = (over: Partial<CloudStorage["spec"]> = {}, annotations: Record<string, string> = {}): Promise<CloudStorage> =>
  client.create(cloudStorages, {
    metadata: { ...key, annotations },
    spec: { name: "bucket", provider: "aws", creationSecret: { name: "cloud", key: "cloud" }, ...over },
  });
const reasons = (): (string | undefined)[] => client.all(events).map(({ reason }) => reason);

describe("a CloudStorage", () => {
  it("makes its bucket, tags it, and says so", async () => {
    await create({ creationSecret: { name: "other", key: "cloud" }, region: "eu-west-1", tags: { team: "a" } });
    expect(await settled()).toMatchObject({ status: { name: "bucket", lastSyncTimestamp: expect.any(String) } });
    // Without an operator it could not be deleted, and nobody has asked for what it would wait for.
    expect((await settled())?.metadata.finalizers ?? []).toEqual([]);
    expect([...buckets.made]).toEqual([["bucket", { team: "a" }]]);
    expect(buckets.asked[0]?.spec).toMatchObject({ provider: "aws", credential: { name: "other", key: "cloud" }, config: { region: "eu-west-1" } });
    expect(reasons()).toEqual(["BucketCreated"]);
  });

  it("takes a bucket that is there as it is, and leaves its tags where it has none", async () => {
    buckets.made.set("bucket", { of: "somebody" });
    await create();
    expect((await settled())?.status?.name).toBe("bucket");
    expect([...buckets.made]).toEqual([["bucket", { of: "somebody" }]]);
    expect(reasons()).toEqual([]);
  });

  it("finds the store by the location of an application that names it", async () => {
    const config = { s3Url: "http://store", s3ForcePathStyle: "true", region: "here", checksumAlgorithm: "" };
    client.seed(dataProtectionApplications, {
      metadata: { namespace: NS, name: "dpa" },
      spec: { configuration: {}, backupLocations: [{ bucket: { cloudStorageRef: { name: "storage" }, config, caCert: "cGVt" } }] },
    } as never);
    await create();
    await settled();
    expect(buckets.asked[0]?.spec).toMatchObject({
      config: { s3Url: "http://store", s3ForcePathStyle: "true", region: "here" },
      objectStorage: { bucket: "bucket", caCert: "cGVt" },
    });
    expect(buckets.asked[0]?.spec.config).not.toHaveProperty("checksumAlgorithm");

    // Its bucket goes from there also when the application went first.
    client.discard(dataProtectionApplications, { namespace: NS, name: "dpa" });
    await client.patch(cloudStorages, key, "merge", { metadata: { annotations: { [BUCKET_DELETE_ANNOTATION]: "true" } } });
    await settled();
    await client.delete(cloudStorages, key);
    expect(await settled()).toBeUndefined();
    expect(buckets.asked.every(({ spec }) => spec.config?.["s3Url"] === "http://store" && spec.objectStorage.caCert === "cGVt")).toBe(true);
    expect([...buckets.made.keys()]).toEqual([]);
  });

  it("tells of a store that refuses, and tries again", async () => {
    buckets.refusal = "nobody may";
    await create();
    expect((await settled())?.status).toBeUndefined();
    expect(client.all(events)).toMatchObject([{ type: "Warning", reason: "BucketNotFound", message: "nobody may" }]);
    buckets.refusal = undefined;
    await clock.advance(60_000);
    expect((await settled())?.status?.name).toBe("bucket");
  });

  it.each([
    ["true", [], ["BucketDeleted"]],
    ["false", ["bucket"], []],
    [undefined, ["bucket"], []],
  ])("that is deleted with the annotation %j leaves the buckets %j", async (text, left, told) => {
    buckets.made.set("bucket", {});
    await create({}, text === undefined ? {} : { [BUCKET_DELETE_ANNOTATION]: text });
    await settled();
    await client.delete(cloudStorages, key);
    expect(await settled()).toBeUndefined();
    expect([...buckets.made.keys()]).toEqual(left);
    expect(reasons()).toEqual(told);
  });

  it("has the finalizer only while it asks for its bucket to go with it, also one that OADP or an earlier release put on", async () => {
    await client.create(cloudStorages, {
      metadata: { ...key, finalizers: [BUCKET_FINALIZER, "example.com/other"] },
      spec: { name: "bucket", provider: "aws", creationSecret: { name: "cloud", key: "cloud" } },
    });
    const annotated = async (text: string | null): Promise<readonly string[]> => {
      await client.patch(cloudStorages, key, "merge", { metadata: { annotations: { [BUCKET_DELETE_ANNOTATION]: text } } });
      return (await settled())?.metadata.finalizers ?? [];
    };
    expect((await settled())?.metadata.finalizers).toEqual(["example.com/other"]);
    expect(await annotated("true")).toEqual(["example.com/other", BUCKET_FINALIZER]);
    expect(await annotated("false")).toEqual(["example.com/other"]);
    expect(await annotated("perhaps")).toEqual(["example.com/other", BUCKET_FINALIZER]);
    expect(await annotated(null)).toEqual(["example.com/other"]);
  });

  it("of another cloud, which a later definition may let through, says what to do, and is never looked for in S3", async () => {
    await create({ provider: "gcp" as never }, { [BUCKET_DELETE_ANNOTATION]: "true" });
    expect((await settled())?.status).toBeUndefined();
    await client.delete(cloudStorages, key);
    expect(await settled()).toBeDefined();
    const only = 'spec.provider is "gcp", and only buckets of provider "aws" (S3) are made and deleted here';
    const told = client.all(events).map(({ reason, message }) => `${reason}: ${message}`);
    expect(told.sort()).toEqual([
      `BucketNotCreated: ${only}: make it there, and name it in velero.objectStorage.bucket of a location`,
      `UnableToDeleteBucket: ${only}: delete it there, and set ${BUCKET_DELETE_ANNOTATION} to false`,
    ]);
    await client.patch(cloudStorages, key, "merge", { metadata: { annotations: { [BUCKET_DELETE_ANNOTATION]: "false" } } });
    expect(await settled()).toBeUndefined();
    expect(buckets.asked).toEqual([]);
  });

  it("is let go of by an operator that is removed, with its bucket left, and is held again by the next", async () => {
    await create({}, { [BUCKET_DELETE_ANNOTATION]: "true" });
    expect((await settled())?.metadata.finalizers).toEqual([BUCKET_FINALIZER]);
    await controller.stop();
    const deps = { client, clock, random: seededRandom(3), namespace: NS };
    expect(await letGoOfBuckets({ ...deps, namespace: "another" })).toEqual([]);
    expect(await letGoOfBuckets(deps)).toEqual(["storage"]);
    expect(client.peek(cloudStorages, key)?.metadata.finalizers ?? []).toEqual([]);
    expect(await letGoOfBuckets(deps)).toEqual([]);
    controller = startCloudStorageController({ client, clock, random: seededRandom(2), logger: nullLogger, namespace: NS, buckets });
    expect((await settled())?.metadata.finalizers).toEqual([BUCKET_FINALIZER]);
    await controller.stop();
    await letGoOfBuckets(deps);
    await client.delete(cloudStorages, key);
    expect(client.all(cloudStorages)).toEqual([]);
    expect([...buckets.made.keys()]).toEqual(["bucket"]);
  });

  it("waits with an annotation that says neither, and while its bucket cannot be deleted", async () => {
    await create({}, { [BUCKET_DELETE_ANNOTATION]: "perhaps" });
    await settled();
    await client.delete(cloudStorages, key);
    expect(await settled()).toBeDefined();
    expect(reasons()).toContain("UnableToParseAnnotation");
    buckets.refusal = "it is not empty";
    await client.patch(cloudStorages, key, "merge", { metadata: { annotations: { [BUCKET_DELETE_ANNOTATION]: "T" } } });
    expect(await settled()).toBeDefined();
    expect(reasons()).toContain("UnableToDeleteBucket");
    buckets.refusal = undefined;
    await clock.advance(60_000);
    expect(await settled()).toBeUndefined();
    expect([...buckets.made.keys()]).toEqual([]);
  });
});
