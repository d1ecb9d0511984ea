import { createHash } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sha256Ranges } from "../testing/sha256-ranges.ts";
import type { S3Options } from "./s3-options.ts";
import { openS3Storage } from "./s3-storage.ts";

/** What went over the wire. */
interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

let server: Server;
let seen: Seen[];
let connections: number;
let answer: { status: number; body: string };
let options: S3Options;

beforeEach(async () => {
  seen = [];
  connections = 0;
  answer = { status: 200, body: "" };
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers, body: Buffer.concat(parts) });
      response.writeHead(answer.status, { "content-type": "application/xml" }).end(answer.body);
    });
  });
  server.on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  options = { bucket: "bucket", prefix: "pre/", endpoint, credentials: { accessKeyId: "key", secretAccessKey: "secret" } };
});

afterEach(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const parts = [new Uint8Array(3_000_000).fill(7), new Uint8Array(), new Uint8Array(500_000).fill(9)];
const whole = Buffer.concat(parts);

/** The bucket as at AWS, which has no endpoint in its options. */
function atAws(): S3Options {
  const { endpoint = "", ...rest } = options;
  vi.stubEnv("AWS_ENDPOINT_URL_S3", endpoint);
  return { ...rest, pathStyle: true };
}

describe("a put", () => {
  it.each<[string, Uint8Array | readonly Uint8Array[], boolean]>([
    ["one array elsewhere", whole, false],
    ["large parts elsewhere", parts, false],
    ["one array at AWS", whole, true],
    ["large parts at AWS", parts, true],
  ])("of %s goes out plain, with its length, and its SHA-256 signed", async (_what, data, aws) => {
    const storage = await openS3Storage(aws ? atAws() : options);
    await storage.put("p1", data);
    await storage.close();
    const [request] = seen;
    expect(request?.body.equals(whole)).toBe(true);
    expect(request).toMatchObject({ method: "PUT", url: expect.stringMatching(/^\/bucket\/pre\/p1(\?|$)/) });
    expect(request?.headers).toMatchObject({
      "content-length": String(whole.length),
      "content-type": "application/x-kopia",
      "x-amz-content-sha256": createHash("sha256").update(whole).digest("hex"),
    });
    expect(request?.headers["transfer-encoding"]).toBeUndefined();
    expect(request?.headers["content-encoding"]).toBeUndefined();
    expect(request?.headers.authorization).toContain("x-amz-content-sha256");
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32(whole));
    expect(request?.headers["x-amz-checksum-crc32"]).toBe(aws ? crc.toString("base64") : undefined);
  });

  it("of large parts without TLS is signed in chunks where their digests are made side by side, and announces both lengths", async () => {
    const storage = await openS3Storage({ ...options, sha256Ranges });
    await storage.put("p1", parts);
    await storage.put("n1", new Uint8Array(1000));
    await storage.close();
    const [large, small] = seen;
    expect(large?.headers).toMatchObject({
      "content-length": String(large?.body.length),
      "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
      "x-amz-decoded-content-length": String(whole.length),
      authorization: expect.stringMatching(/SignedHeaders=[^,]*content-length;[^,]*x-amz-content-sha256;[^,]*x-amz-decoded-content-length/),
    });
    expect(large?.headers["content-encoding"]).toBeUndefined();
    expect(large?.headers["transfer-encoding"]).toBeUndefined();
    expect(small?.headers["x-amz-content-sha256"]).toBe(createHash("sha256").update(new Uint8Array(1000)).digest("hex"));
  });

  it("of a large body goes out at once, over the connection of the put before", async () => {
    const storage = await openS3Storage(options);
    await storage.put("p1", parts);
    await storage.put("p2", parts);
    await storage.close();
    expect(seen.map(({ headers }) => headers.expect)).toEqual([undefined, undefined]);
    expect(connections).toBe(1);
  });

  it("under object lock says mode and time, and carries a checksum", async () => {
    const storage = await openS3Storage({ ...options, objectLock: true });
    const retention = { mode: "COMPLIANCE", untilMs: Date.UTC(2030, 0, 1) } as const;
    await storage.put("p1", parts, { retention });
    await storage.extendRetention("p1", retention);
    await storage.close();
    expect(seen[0]?.headers).toMatchObject({ "x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00Z" });
    expect(seen[0]?.headers["x-amz-checksum-crc32"]).toBeDefined();
    expect(seen[1]?.url).toContain("?retention");
    expect(seen[1]?.body.toString()).toContain("<RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>");
  });

  it("is made once: retrying is the wrapper's", async () => {
    answer = { status: 503, body: "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>" };
    const storage = await openS3Storage(options);
    await expect(storage.put("p1", parts)).rejects.toMatchObject({
      code: "BLOB_THROTTLED",
      message: 'Cannot store blob "p1" in s3://bucket/pre/: SlowDown: Please reduce your request rate.',
    });
    await storage.close();
    expect(seen.length).toBe(1);
  });

  it("asks for a conditional put only where that is known to be honoured", async () => {
    const careful = await openS3Storage(options);
    await expect(careful.put("p1", whole, { ifAbsent: true })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    await careful.close();
    const storage = await openS3Storage({ ...options, conditionalPut: true });
    answer = { status: 412, body: "<Error><Code>PreconditionFailed</Code></Error>" };
    await expect(storage.put("p1", whole, { ifAbsent: true })).rejects.toMatchObject({ code: "BLOB_ALREADY_EXISTS" });
    await storage.close();
    expect(seen.map(({ headers }) => headers["if-none-match"])).toEqual(["*"]);
  });
});

describe("a listing", () => {
  it("passes over what others keep beside the blobs", async () => {
    answer.body =
      "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>pre/.storageconfig</Key><Size>1</Size></Contents><Contents><Key>pre/</Key><Size>0</Size></Contents>" +
      "<Contents><Key>pre/p1</Key><Size>5</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents><CommonPrefixes><Prefix>pre/other/</Prefix></CommonPrefixes></ListBucketResult>";
    const storage = await openS3Storage(options);
    const found: unknown[] = [];
    for await (const blob of storage.list("")) found.push(blob);
    await storage.close();
    expect(found).toEqual([{ id: "p1", length: 5, timestampMs: Date.UTC(2026, 0, 1) }]);
    expect(seen[0]?.url).toContain("delimiter=%2F");
  });
});

describe("answers that are none", () => {
  it.each([
    ["an HTML page of some proxy", 502, "<html>Bad Gateway</html>", "BLOB_UNAVAILABLE"],
    ["an empty 403", 403, "", "BLOB_ACCESS_DENIED"],
    ["a region elsewhere", 301, "<Error><Code>PermanentRedirect</Code></Error>", "BLOB_BAD_CONFIG"],
    ["a listing that is not XML", 200, "{", "BLOB_UNAVAILABLE"],
  ])("such as %s get the code that says what to do", async (_what, status, body, code) => {
    answer = { status, body };
    const storage = await openS3Storage(options);
    const listing = (async () => {
      for await (const _blob of storage.list(""));
    })();
    await expect(listing).rejects.toMatchObject({ code });
    await storage.close();
  });
});

describe("settings of a store", () => {
  it("go with every request that they concern", async () => {
    const customerKey = new Uint8Array(32).fill(7);
    const storage = await openS3Storage({ ...options, storageClass: "STANDARD_IA", tagging: "team=a", expectedBucketOwner: "111122223333", customerKey });
    await storage.put("p1", whole);
    await storage.get("p1").catch(() => undefined);
    await storage.delete("p1");
    await storage.close();
    const sse = {
      "x-amz-server-side-encryption-customer-algorithm": "AES256",
      "x-amz-server-side-encryption-customer-key": Buffer.from(customerKey).toString("base64"),
    };
    const [put, get, removal] = seen;
    expect(put?.headers).toMatchObject({ "x-amz-storage-class": "STANDARD_IA", "x-amz-tagging": "team=a", ...sse });
    expect(get?.headers).toMatchObject(sse);
    expect(get?.headers["x-amz-tagging"]).toBeUndefined();
    for (const request of [put, get, removal]) expect(request?.headers["x-amz-expected-bucket-owner"]).toBe("111122223333");
  });

  it.each([
    [{ kmsKeyId: "key-1" }, { "x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "key-1" }],
    [{ serverSideEncryption: "AES256" }, { "x-amz-server-side-encryption": "AES256" }],
    [
      { serverSideEncryption: "aws:kms:dsse", kmsKeyId: "k" },
      { "x-amz-server-side-encryption": "aws:kms:dsse", "x-amz-server-side-encryption-aws-kms-key-id": "k" },
    ],
  ] as const)("say how %j is encrypted", async (settings, headers) => {
    const storage = await openS3Storage({ ...options, ...settings });
    await storage.put("p1", parts);
    await storage.close();
    expect(seen[0]?.headers).toMatchObject(headers);
    expect(seen[0]?.body.equals(whole)).toBe(true);
  });
});
