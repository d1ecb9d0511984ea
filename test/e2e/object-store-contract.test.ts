/** Our S3 client side against our S3 server: the same suite that runs against a real server in test/compat. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom, utf8 } from "@drayage/base";
import { RetryingStorage } from "@drayage/blob";
import { blobStorageContract, objectStoreContract } from "@drayage/blob/contract";
import { openS3ObjectStore, openS3Storage, probeConditionalPut, type S3Options, s3ConfigFromLocation } from "@drayage/blob/s3";
import { sha256Ranges } from "@drayage/blob/testing";
import { type ObjectStore, startObjectStore } from "@drayage/embedded/object-store";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { selfSigned } from "./self-signed.ts";

const credentials = { accessKeyId: "drayage-test-key", secretAccessKey: "drayage-test-secret" };
let directory: string;
let server: ObjectStore;
let prefixes = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-store-"));
  server = await startObjectStore({ directory, credentials, buckets: ["bucket"], logger: nullLogger, clock: systemClock });
});

afterEach(() => server.faults.clear());

afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true });
});

const freshOptions = (): S3Options => ({ bucket: "bucket", prefix: `run-${++prefixes}/`, endpoint: server.url, credentials, conditionalPut: true });

blobStorageContract("S3 storage on the embedded server", async () => {
  const storage = await openS3Storage(freshOptions());
  return { storage, dispose: () => storage.close() };
});

blobStorageContract("S3 storage on the embedded server, where every third request for a thing is answered 503, the first one too", async () => {
  const requests = new Map<string, number>();
  server.faults.add({
    // Counted for each thing, so that no caller's luck depends on what others do at the time.
    matches: ({ operation, key }) => {
      const thing = `${operation} ${key}`;
      const before = requests.get(thing) ?? 0;
      requests.set(thing, before + 1);
      return before % 3 === 0;
    },
    fault: { kind: "error", code: "SlowDown" },
  });
  const storage = await openS3Storage(freshOptions());
  const policy = { attemptsMax: 10, firstDelayMs: 1, factor: 1, delayMaxMs: 1, budgetMs: 60_000 };
  return { storage: new RetryingStorage(storage, { clock: systemClock, random: systemRandom, policy }), dispose: () => storage.close() };
});

blobStorageContract("S3 storage on the embedded server, where bodies are signed in chunks", async () => {
  const storage = await openS3Storage({ ...freshOptions(), sha256Ranges });
  return { storage, dispose: () => storage.close() };
});

objectStoreContract("S3 object store on the embedded server", async () => {
  const store = await openS3ObjectStore(freshOptions());
  return { store, dispose: () => store.close() };
});

describe("S3 storage", () => {
  it("is not fooled by a body that is cut short, a store that is gone, or one that overwrites", async () => {
    const options = freshOptions();
    const storage = await openS3Storage(options);
    await storage.put("a", utf8("x".repeat(100_000)));
    server.faults.add({ matches: ({ operation }) => operation === "GetObject", fault: { kind: "truncate", afterBytes: 1000 }, times: 1 });
    await expect(storage.get("a")).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
    expect((await storage.get("a")).length).toBe(100_000);
    server.faults.outage = "reset";
    await expect(storage.get("a")).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
    server.faults.outage = "unavailable";
    await expect(storage.get("a")).rejects.toMatchObject({ code: "BLOB_THROTTLED" });
    server.faults.clear();
    expect(await probeConditionalPut(options, systemRandom)).toBe(true);
    server.faults.ignoreConditionalHeaders = true;
    expect(await probeConditionalPut(options, systemRandom)).toBe(false);
    await storage.close();
  });

  it("gives up on a store that has stopped answering", async () => {
    const storage = await openS3Storage({ ...freshOptions(), timeouts: { idleMs: 50, requestMs: 100 } });
    server.faults.add({ matches: () => true, fault: { kind: "delay", ms: 2000 } });
    await expect(storage.get("a")).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
    await storage.close();
  });

  it("stops in the middle of a body when it is aborted", async () => {
    const store = await openS3ObjectStore(freshOptions());
    await store.put("a", new Uint8Array(4_000_000));
    server.faults.add({ matches: ({ operation }) => operation === "GetObject", fault: { kind: "slow", pieceBytes: 100_000, pauseMs: 1 } });
    const abort = new AbortController();
    const reason = new Error("enough");
    const stream = await store.getStream("a", abort.signal);
    const reading = (async () => {
      for await (const _chunk of stream) abort.abort(reason);
    })();
    await expect(reading).rejects.toBe(reason);
    await store.close();
  });

  it("trusts the authority that its location names, and nobody else", async () => {
    const { certificate, key } = await selfSigned();
    const secure = await startObjectStore({
      directory: join(directory, "tls"),
      credentials,
      buckets: ["bucket"],
      logger: nullLogger,
      clock: systemClock,
      tls: { cert: certificate, key },
    });
    const checked = async (objectStorage: { caCert?: string }, config: Record<string, string> = {}): Promise<unknown> => {
      const credentialsText = `[default]\naws_access_key_id=${credentials.accessKeyId}\naws_secret_access_key=${credentials.secretAccessKey}\n`;
      const location = {
        objectStorage: { bucket: "bucket", ...objectStorage },
        config: { s3Url: secure.url, s3ForcePathStyle: "true", region: "eu", ...config },
      };
      const store = await openS3ObjectStore(s3ConfigFromLocation(location, { credentialsText }));
      try {
        await store.check();
        // Large enough for all that is done for large bodies only.
        await store.put("large", new Uint8Array(3 << 20));
        return "fine";
      } catch (error) {
        return (error as { code?: unknown }).code;
      } finally {
        await store.close();
      }
    };
    expect(await checked({})).toBe("BLOB_BAD_CONFIG");
    expect(await checked({ caCert: Buffer.from(certificate).toString("base64") })).toBe("fine");
    expect(await checked({}, { insecureSkipTLSVerify: "true" })).toBe("fine");
    await secure.close();
  });
});
