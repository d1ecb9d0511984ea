/** Our S3 client side against a real S3 server, which knows nothing of us. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GetBucketTaggingCommand, S3Client } from "@aws-sdk/client-s3";
import { systemRandom, utf8 } from "@drayage/base";
import { blobStorageContract, objectStoreContract } from "@drayage/blob/contract";
import { openS3ObjectStore, openS3Storage, probeConditionalPut, S3Bucket, type S3Options } from "@drayage/blob/s3";
import { sha256Ranges } from "@drayage/blob/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { selfSigned } from "../e2e/self-signed.ts";
import { freePort, type PeerProcess, startPeer } from "./peers.ts";

const credentials = { accessKeyId: "drayage-test-key", secretAccessKey: "drayage-test-secret" };
let folder: string;
let gateway: PeerProcess;
let endpoint: string;
let buckets = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-versitygw-"));
  await mkdir(join(folder, "data"));
  const port = await freePort();
  endpoint = `http://127.0.0.1:${port}`;
  const args = ["--access", credentials.accessKeyId, "--secret", credentials.secretAccessKey, "--port", `127.0.0.1:${port}`, "posix", join(folder, "data")];
  gateway = await startPeer("versitygw", args, async () => (await fetch(endpoint)).status > 0);
});

afterAll(async () => {
  await gateway?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function newBucket(): Promise<S3Options> {
  const bucket = `bucket-${++buckets}`;
  await mkdir(join(folder, "data", bucket));
  return { bucket, endpoint, credentials, region: "us-east-1", pathStyle: true };
}

blobStorageContract("S3 storage on a real server", async () => {
  const storage = await openS3Storage({ ...(await newBucket()), prefix: "velero/kopia/notes/", conditionalPut: true });
  return { storage, dispose: () => storage.close() };
});

blobStorageContract("S3 storage on a real server, where bodies are signed in chunks", async () => {
  const storage = await openS3Storage({ ...(await newBucket()), prefix: "velero/kopia/notes/", conditionalPut: true, sha256Ranges });
  return { storage, dispose: () => storage.close() };
});

objectStoreContract("S3 object store on a real server", async () => {
  const store = await openS3ObjectStore({ ...(await newBucket()), prefix: "velero/" });
  return { store, dispose: () => store.close() };
});

describe("S3 on a real server", () => {
  it("makes a bucket once, tags it beside what it had, and deletes it only when it is empty", async () => {
    const options: S3Options = { bucket: "made-here", endpoint, credentials, region: "us-east-1", pathStyle: true };
    const bucket = await S3Bucket.open(options);
    const tagsNow = async () => (await client.send(new GetBucketTaggingCommand({ Bucket: options.bucket }))).TagSet;
    const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
    expect(await bucket.exists()).toBe(false);
    await bucket.create();
    await bucket.create();
    expect(await bucket.exists()).toBe(true);
    await bucket.tag({ team: "a", cost: "none" });
    await bucket.tag({ team: "b" });
    const told = (await tagsNow())?.sort((one, other) => ((one.Key ?? "") < (other.Key ?? "") ? -1 : 1));
    expect(told).toEqual([
      { Key: "cost", Value: "none" },
      { Key: "team", Value: "b" },
    ]);
    const inside = await openS3ObjectStore(options);
    await inside.put("backup", utf8("data"));
    await expect(bucket.remove()).rejects.toThrow('Cannot delete bucket "made-here": BucketNotEmpty');
    await inside.delete("backup");
    await bucket.remove();
    expect(await bucket.exists()).toBe(false);
    client.destroy();
    await inside.close();
    await bucket.close();
  });

  it("is found to honour conditional puts", async () => {
    expect(await probeConditionalPut(await newBucket(), systemRandom)).toBe(true);
  });

  it("says what is wrong with a bucket, a key and an address", async () => {
    const options = await newBucket();
    const codeOf = async (changes: Partial<S3Options>): Promise<unknown> => {
      const store = await openS3ObjectStore({ ...options, ...changes });
      try {
        await store.check();
        return "fine";
      } catch (error) {
        return (error as { code?: unknown }).code;
      } finally {
        await store.close();
      }
    };
    expect(await codeOf({})).toBe("fine");
    expect(await codeOf({ bucket: "not-there" })).toBe("BLOB_BUCKET_NOT_FOUND");
    expect(await codeOf({ credentials: { ...credentials, secretAccessKey: "wrong" } })).toBe("BLOB_ACCESS_DENIED");
    expect(await codeOf({ credentials: { ...credentials, accessKeyId: "nobody" } })).toBe("BLOB_ACCESS_DENIED");
    expect(await codeOf({ endpoint: `http://127.0.0.1:${await freePort()}` })).toBe("BLOB_UNAVAILABLE");
    expect(await codeOf({ endpoint: endpoint.replace("http:", "https:") })).toBe("BLOB_BAD_CONFIG");
  });

  it("takes checksums of each kind that the SDK computes itself", async () => {
    const options = await newBucket();
    for (const checksumAlgorithm of ["CRC32", "SHA1", "SHA256", ""] as const) {
      const store = await openS3ObjectStore({ ...options, checksumAlgorithm });
      await store.put("a", utf8("x"));
      await store.close();
    }
  });

  it("gives ranges into memory that is there over TLS, where its certificate is trusted", async () => {
    const { certificate, key } = await selfSigned();
    const [cert, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
    await writeFile(cert, certificate);
    await writeFile(keyFile, key);
    const port = await freePort();
    const args = ["--access", credentials.accessKeyId, "--secret", credentials.secretAccessKey, "--port", `127.0.0.1:${port}`, "--keep-alive"];
    const listens = (): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
        socket.on("connect", () => socket.destroy());
      });
    const secure = await startPeer("versitygw", [...args, "--cert", cert, "--key", keyFile, "posix", join(folder, "data")], listens);
    try {
      const options = { ...(await newBucket()), endpoint: `https://127.0.0.1:${port}` };
      const storage = await openS3Storage({ ...options, caCert: certificate });
      const data = new Uint8Array(5_000_000).map((_, i) => (i * 7 + (i >> 8)) & 255);
      await storage.put("p1", data);
      for (let offset = 0; offset < 5; offset++) {
        const into = new Uint8Array(new SharedArrayBuffer(4_999_990));
        expect(await storage.get("p1", { offset, length: into.length, into })).toBe(into);
        expect(Buffer.compare(into, data.subarray(offset, offset + into.length))).toBe(0);
      }
      await storage.close();
      const trusting = await openS3Storage(options);
      await expect(trusting.get("p1", { offset: 0, length: 10, into: new Uint8Array(10) })).rejects.toMatchObject({ code: "BLOB_BAD_CONFIG" });
      await trusting.close();
    } finally {
      await secure.stop();
    }
  });
});
