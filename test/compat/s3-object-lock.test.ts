/**
 * Object lock on a real S3 server: what a lock keeps, and how it is extended. Reading a bucket as it was is tested in the unit suite: this server says of an old version when it was replaced,
 * where S3 says when it was written.
 */

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asBuffer, systemClock, utf8 } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { openS3Storage, type S3Options } from "@drayage/blob/s3";
import { createRepository, openRepository } from "@drayage/repo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3Connection } from "../../packages/blob/src/s3/s3-connection.ts";
import { freePort, type PeerProcess, startPeer } from "./peers.ts";

const credentials = { accessKeyId: "drayage-test-key", secretAccessKey: "drayage-test-secret" };
const HOUR_MS = 3_600_000;
let folder: string;
let gateway: PeerProcess;
let endpoint: string;
let buckets = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-lock-"));
  await mkdir(join(folder, "data"));
  await mkdir(join(folder, "versions"));
  const port = await freePort();
  endpoint = `http://127.0.0.1:${port}`;
  const access = ["--access", credentials.accessKeyId, "--secret", credentials.secretAccessKey, "--port", `127.0.0.1:${port}`];
  gateway = await startPeer(
    "versitygw",
    [...access, "posix", "--versioning-dir", join(folder, "versions"), join(folder, "data")],
    async () => (await fetch(endpoint)).status > 0,
  );
});

afterAll(async () => {
  await gateway?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A bucket with object lock, or without. */
async function newBucket(lock: boolean): Promise<{ readonly options: S3Options; readonly connection: S3Connection }> {
  const options = { bucket: `bucket-${++buckets}`, prefix: "p/", endpoint, credentials, region: "us-east-1", pathStyle: true };
  const connection = await S3Connection.open(options);
  await connection.client.send(new connection.sdk.CreateBucketCommand({ Bucket: options.bucket, ...(lock ? { ObjectLockEnabledForBucket: true } : {}) }));
  return { options, connection };
}

async function lockOf({ bucket, prefix = "" }: S3Options, connection: S3Connection, id: string) {
  const { Retention } = await connection.client.send(new connection.sdk.GetObjectRetentionCommand({ Bucket: bucket, Key: prefix + id }));
  return { mode: Retention?.Mode, untilMs: Retention?.RetainUntilDate?.getTime() };
}

describe("object lock on a real S3 server", () => {
  it("is set with a put, extended, and keeps a version that somebody deletes", async () => {
    const { options, connection } = await newBucket(true);
    const storage = await openS3Storage(options);
    const untilMs = Math.floor(systemClock.nowMs() / 1000) * 1000 + HOUR_MS;
    await storage.put("p1", utf8("kept"), { retention: { mode: "COMPLIANCE", untilMs } });
    expect(await lockOf(options, connection, "p1")).toEqual({ mode: "COMPLIANCE", untilMs });
    await storage.extendRetention("p1", { mode: "COMPLIANCE", untilMs: untilMs + HOUR_MS });
    expect(await lockOf(options, connection, "p1")).toEqual({ mode: "COMPLIANCE", untilMs: untilMs + HOUR_MS });
    const { VersionId } = await connection.client.send(new connection.sdk.HeadObjectCommand({ Bucket: options.bucket, Key: "p/p1" }));
    const destroy = connection.client.send(new connection.sdk.DeleteObjectCommand({ Bucket: options.bucket, Key: "p/p1", VersionId }));
    await expect(destroy).rejects.toMatchObject({ name: expect.stringMatching(/AccessDenied|ObjectLocked/) });
    expect(asBuffer(await storage.get("p1")).toString()).toBe("kept");
    await storage.close();
    await connection.close();
  });

  it("is said not to be there where the bucket has none", async () => {
    const { options, connection } = await newBucket(false);
    const storage = await openS3Storage(options);
    const retention = { mode: "GOVERNANCE", untilMs: systemClock.nowMs() + HOUR_MS } as const;
    await expect(storage.put("p1", utf8("x"), { retention })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    await storage.close();
    await connection.close();
  });

  it("covers what a repository writes for good, which is opened as any other", async () => {
    const { options, connection } = await newBucket(true);
    const storage = await openS3Storage(options);
    const access = { password: "secret horse", identity: { userName: "u", host: "h" }, clock: systemClock, random: seededRandom(3) };
    const repository = await createRepository(storage, { ...access, retention: { mode: "GOVERNANCE", periodMs: 48 * HOUR_MS } });
    await repository.close();
    for (const id of ["kopia.repository", "kopia.blobcfg"]) {
      const { mode, untilMs = 0 } = await lockOf(options, connection, id);
      expect(mode, id).toBe("GOVERNANCE");
      expect(untilMs - systemClock.nowMs(), id).toBeGreaterThan(47 * HOUR_MS);
    }
    await (await openRepository(storage, { ...access, readOnly: true })).close();
    await storage.close();
    await connection.close();
  });
});
