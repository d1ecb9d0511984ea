/** Our Google Cloud Storage side against fake-gcs-server, which speaks the JSON interface and knows nothing of us. Tokens come from an endpoint of ours; the server takes any, and any signature. */

import { generateKeyPairSync } from "node:crypto";
import { utf8 } from "@drayage/base";
import { blobStorageContract, objectStoreContract } from "@drayage/blob/contract";
import { type GcsOptions, openGcsObjectStore, openGcsStorage } from "@drayage/blob/gcs";
import { startTokenEndpoint, type TokenEndpoint } from "@drayage/blob/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkLocation, checkResticAt } from "./location-round-trip.ts";
import { freePort, type PeerProcess, startPeer } from "./peers.ts";

let server: PeerProcess;
let endpoint: string;
let buckets = 0;
let tokens: TokenEndpoint;
/** A service account's key as Google gives it. */
let keyFile: string;

beforeAll(async () => {
  tokens = await startTokenEndpoint();
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  keyFile = JSON.stringify({
    type: "service_account",
    client_email: "mover@project.example",
    private_key: privateKey,
    project_id: "project",
    token_uri: `${tokens.url}/token`,
  });
  const port = await freePort();
  endpoint = `http://127.0.0.1:${port}`;
  const args = [
    "-scheme",
    "http",
    "-host",
    "127.0.0.1",
    "-port",
    String(port),
    "-backend",
    "memory",
    "-public-host",
    `127.0.0.1:${port}`,
    "-external-url",
    endpoint,
  ];
  server = await startPeer("fake-gcs-server", [...args, "-log-level", "error"], async () => (await fetch(`${endpoint}/storage/v1/b`)).ok);
});

afterAll(async () => {
  await server?.stop();
  await tokens?.close();
});

async function newBucket(): Promise<GcsOptions> {
  const bucket = `bucket-${++buckets}`;
  const response = await fetch(`${endpoint}/storage/v1/b`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: bucket }),
  });
  expect(response.status).toBe(200);
  return { bucket, endpoint, credential: { kind: "json", text: keyFile } };
}

blobStorageContract("GCS storage on fake-gcs-server", async () => {
  const storage = await openGcsStorage({ ...(await newBucket()), prefix: "velero/kopia/notes/" });
  return { storage, dispose: () => storage.close() };
});

objectStoreContract("GCS object store on fake-gcs-server", async () => {
  const store = await openGcsObjectStore({ ...(await newBucket()), prefix: "velero/" });
  return { store, dispose: () => store.close() };
});

describe("GCS on fake-gcs-server", () => {
  it("says what is wrong with a bucket and an address, and takes no credentials where none are wanted", async () => {
    const options = await newBucket();
    const codeOf = async (changes: Partial<GcsOptions>): Promise<unknown> => {
      const store = await openGcsObjectStore({ ...options, ...changes });
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
    expect(await codeOf({ credential: { kind: "anonymous" } })).toBe("fine");
    expect(await codeOf({ bucket: "not-there" })).toBe("BLOB_BUCKET_NOT_FOUND");
    expect(await codeOf({ endpoint: `http://127.0.0.1:${await freePort()}` })).toBe("BLOB_UNAVAILABLE");
    expect(await codeOf({ endpoint: "http://nowhere.invalid" })).toBe("BLOB_UNAVAILABLE");
    expect(await codeOf({ endpoint: endpoint.replace("http:", "https:") })).toBe("BLOB_BAD_CONFIG");
  });

  it("tells a blob that is not there from a bucket that is not there", async () => {
    const storage = await openGcsStorage({ ...(await newBucket()), bucket: "not-there" });
    await expect(storage.put("p1", utf8("x"))).rejects.toMatchObject({ code: expect.stringMatching(/^BLOB_(BUCKET_)?NOT_FOUND$/) });
    await storage.close();
  });

  it("holds a backup storage location: what lies beside the repository, and a repository", async () => {
    const { bucket } = await newBucket();
    await checkLocation(
      { name: "gcp", provider: "gcp", fields: { objectStorage: { bucket, prefix: "velero" }, config: { storeEndpoint: endpoint } } },
      keyFile,
    );
  });

  it("holds a repository of restic", async () => {
    const options = await newBucket();
    await checkResticAt((prefix) => openGcsObjectStore({ ...options, prefix }));
  });
});
