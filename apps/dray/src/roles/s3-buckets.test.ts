/** Buckets of CloudStorages, in a store that answers as S3 does. Tags, which it does not have, are in test/compat/s3-contract.test.ts. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BackupStorageLocation } from "@drayage/api";
import { nullLogger, systemClock } from "@drayage/base";
import { openS3ObjectStore } from "@drayage/blob/s3";
import { type ObjectStore, startObjectStore } from "@drayage/embedded/object-store";
import { secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { S3Buckets } from "./s3-buckets.ts";

const NS = "openshift-adp";
const KEYS = { accessKeyId: "key", secretAccessKey: "not a secret of anybody" };
let folder: string;
let store: ObjectStore;
let buckets: S3Buckets;
let client: FakeKubeClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "s3-buckets-"));
  store = await startObjectStore({ directory: folder, credentials: KEYS, buckets: [], logger: nullLogger, clock: systemClock });
  client = new FakeKubeClient();
  buckets = new S3Buckets(client, NS);
  keep(KEYS.secretAccessKey);
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

function keep(secret: string): void {
  const cloud = `[default]\naws_access_key_id=${KEYS.accessKeyId}\naws_secret_access_key=${secret}\n`;
  client.seed(secrets, { metadata: { namespace: NS, name: "cloud" }, data: { cloud: Buffer.from(cloud).toString("base64") } });
}

const location = (bucket: string, name = "cloud"): BackupStorageLocation => ({
  metadata: { namespace: NS, name: "storage" },
  spec: {
    provider: "aws",
    credential: { name, key: "cloud" },
    objectStorage: { bucket },
    config: { region: "us-east-1", s3ForcePathStyle: "true", s3Url: store.url },
  },
});

it("is made once, found, and removed when it is empty, and then is none", async () => {
  expect(await buckets.exists(location("first"))).toBe(false);
  await buckets.create(location("first"));
  expect(await buckets.exists(location("first"))).toBe(true);
  const inside = await openS3ObjectStore({ bucket: "first", endpoint: store.url, pathStyle: true, region: "us-east-1", credentials: KEYS });
  await inside.put("backup", Buffer.from("data"));
  await expect(buckets.remove(location("first"))).rejects.toThrow('Cannot delete bucket "first": BucketNotEmpty');
  await inside.delete("backup");
  await inside.close();
  await buckets.remove(location("first"));
  expect(await buckets.exists(location("first"))).toBe(false);
  await buckets.remove(location("first"));
});

it("is not looked for with keys that are wrong or not there", async () => {
  await expect(buckets.tag(location("first"), { a: "b" })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
  await expect(buckets.exists(location("first", "absent"))).rejects.toMatchObject({ code: "KUBE_NOT_FOUND" });
  client.mutate(secrets, { namespace: NS, name: "cloud" }, (secret) => {
    secret.data = { cloud: Buffer.from("[default]\naws_access_key_id=key\naws_secret_access_key=another\n").toString("base64") };
  });
  await expect(buckets.exists(location("first"))).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
  await expect(buckets.create(location("first"))).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
});
