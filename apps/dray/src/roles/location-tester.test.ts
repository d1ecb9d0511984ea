/** Trials of a location, against a bucket that answers as S3 does. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackupStorageLocation } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ObjectStore, startObjectStore } from "@drayage/embedded/object-store";
import { secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LocationTester } from "./location-tester.ts";

const NS = "velero";
const KEYS = { accessKeyId: "e2e", secretAccessKey: "not a secret of anybody" };
let folder: string;
let store: ObjectStore;
let tester: LocationTester;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "location-tester-"));
  store = await startObjectStore({ directory: join(folder, "store"), credentials: KEYS, buckets: ["backups"], logger: nullLogger, clock: systemClock });
  const client = new FakeKubeClient();
  const cloud = `[default]\naws_access_key_id=${KEYS.accessKeyId}\naws_secret_access_key=${KEYS.secretAccessKey}\n`;
  client.seed(secrets, { metadata: { namespace: NS, name: "cloud" }, data: { cloud: Buffer.from(cloud).toString("base64") } });
  tester = new LocationTester({ client, namespace: NS, temporaryFolder: folder, clock: systemClock, random: systemRandom });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const location = (bucket = "backups", config: Record<string, string> = {}): BackupStorageLocation => ({
  metadata: { namespace: NS, name: "default" },
  spec: {
    provider: "aws",
    credential: { name: "cloud", key: "cloud" },
    objectStorage: { bucket, prefix: "p" },
    config: { region: "us-east-1", s3ForcePathStyle: "true", s3Url: store.url, ...config },
  },
});
const files = (): string[] => readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.includes("trial"));

describe("trials of a location", () => {
  it("upload a file and take it away again, in the store as on this machine", async () => {
    expect(await tester.upload(location(), { key: "trial", lengthBytes: 3 * (1 << 20) + 5 })).toBeGreaterThan(0);
    expect(files()).toEqual([]);
  });

  it("leave nothing when the store is not there, or when they are given up", async () => {
    await expect(tester.upload(location("gone"), { key: "trial", lengthBytes: 10 })).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    const reason = new Error("too slow");
    await expect(tester.upload(location(), { key: "trial", lengthBytes: 10 }, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(files()).toEqual([]);
  });

  it("ask the bucket for versions and encryption, where one without either says none", async () => {
    expect(await tester.describeBucket(location())).toEqual({ vendor: expect.any(String), versioningStatus: "None", encryptionAlgorithm: "None" });
    await expect(tester.describeBucket(location("gone"))).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
  });
});
