/** The embedded object store, seen by the SDK that the world uses. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { nullLogger, systemClock, utf8 } from "@drayage/base";
import { type ObjectStore, type ObjectStoreOptions, startObjectStore } from "@drayage/embedded/object-store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { selfSigned } from "./self-signed.ts";

const credentials = { accessKeyId: "test/key", secretAccessKey: "test+secret/key" };
const Bucket = "bucket";
let directory: string;
let store: ObjectStore;
let client: S3Client;
const clients: S3Client[] = [];

async function start(options: Partial<ObjectStoreOptions> = {}): Promise<void> {
  store = await startObjectStore({ directory, credentials, buckets: [Bucket], partBytesMin: 4, logger: nullLogger, clock: systemClock, ...options });
  client = clientWith({});
}

function clientWith(config: S3ClientConfig): S3Client {
  const made = new S3Client({ endpoint: store.url, region: "us-east-1", forcePathStyle: true, credentials, maxAttempts: 1, ...config });
  clients.push(made);
  return made;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "drayage-s3-"));
  await start();
});

afterEach(async () => {
  for (const made of clients.splice(0)) made.destroy();
  await store.close();
  await rm(directory, { recursive: true });
});

const put = (Key: string, Body: string | Uint8Array = Key, more = {}) => client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
const get = async (Key: string, more = {}): Promise<string> =>
  (await (await client.send(new GetObjectCommand({ Bucket, Key, ...more }))).Body?.transformToString()) ?? "";

/** Reads to the end, however many pages that takes. */
async function listAll(more: {
  Prefix?: string;
  Delimiter?: string;
  StartAfter?: string;
  MaxKeys?: number;
  EncodingType?: "url";
}): Promise<{ keys: string[]; prefixes: string[]; pages: number }> {
  const keys: string[] = [];
  const prefixes: string[] = [];
  let ContinuationToken: string | undefined;
  for (let pages = 1; ; pages++) {
    const page = await client.send(new ListObjectsV2Command({ Bucket, ...more, ...(ContinuationToken === undefined ? {} : { ContinuationToken }) }));
    keys.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""));
    prefixes.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ""));
    ContinuationToken = page.NextContinuationToken;
    if (page.IsTruncated !== true) return { keys, prefixes, pages };
  }
}

describe("buckets", () => {
  it("are made, listed, found and deleted when empty", async () => {
    await client.send(new CreateBucketCommand({ Bucket: "other" }));
    await expect(client.send(new CreateBucketCommand({ Bucket: "other" }))).rejects.toMatchObject({ name: "BucketAlreadyOwnedByYou" });
    await expect(client.send(new CreateBucketCommand({ Bucket: "Bad_Name" }))).rejects.toMatchObject({ name: "InvalidBucketName" });
    expect((await client.send(new ListBucketsCommand())).Buckets?.map(({ Name }) => Name)).toEqual(["bucket", "other"]);
    await client.send(new HeadBucketCommand({ Bucket: "other" }));
    await client.send(new PutObjectCommand({ Bucket: "other", Key: "a/b", Body: "x" }));
    await expect(client.send(new DeleteBucketCommand({ Bucket: "other" }))).rejects.toMatchObject({ name: "BucketNotEmpty" });
    await client.send(new DeleteObjectsCommand({ Bucket: "other", Delete: { Objects: [{ Key: "a/b" }] } }));
    await client.send(new DeleteBucketCommand({ Bucket: "other" }));
    await expect(client.send(new HeadBucketCommand({ Bucket: "other" }))).rejects.toMatchObject({ $metadata: { httpStatusCode: 404 } });
    await expect(client.send(new ListObjectsV2Command({ Bucket: "other" }))).rejects.toMatchObject({ name: "NoSuchBucket" });
    await expect(client.send(new PutObjectCommand({ Bucket: "other", Key: "x", Body: "x" }))).rejects.toMatchObject({ name: "NoSuchBucket" });
  });

  it("say their region, the old one by an empty name", async () => {
    expect((await client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint ?? "").toBe("");
    await store.close();
    await start({ region: "eu-central-1" });
    expect((await client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint).toBe("eu-central-1");
  });
});

describe("objects", () => {
  it("keep bytes, ETag, type and metadata, also over a restart", async () => {
    const stored = await put("dir/a", "hello", { ContentType: "text/plain", Metadata: { owner: "me" }, ContentEncoding: "gzip" });
    expect(stored.ETag).toBe('"5d41402abc4b2a76b9719d911017c592"');
    await store.close();
    await start();
    const found = await client.send(new GetObjectCommand({ Bucket, Key: "dir/a" }));
    expect(await found.Body?.transformToString()).toBe("hello");
    expect(found).toMatchObject({ ETag: stored.ETag, ContentType: "text/plain", ContentEncoding: "gzip", Metadata: { owner: "me" }, ContentLength: 5 });
    expect(await readFile(join(directory, Bucket, "dir", "a"), "utf8")).toBe("hello");
  });

  it("can be put there by hand", async () => {
    await mkdir(join(directory, Bucket, "by"));
    await writeFile(join(directory, Bucket, "by", "hand"), "hello");
    expect(await get("by/hand")).toBe("hello");
    expect((await client.send(new HeadObjectCommand({ Bucket, Key: "by/hand" }))).ETag).toBe('"5d41402abc4b2a76b9719d911017c592"');
    await put("by/hand", "other");
    await writeFile(join(directory, Bucket, "by", "hand"), "changed behind the store's back");
    expect(await get("by/hand")).toBe("changed behind the store's back");
  });

  it("may bear the name of a folder, whichever came first", async () => {
    await put("a", "object a");
    await put("a/b", "object a/b");
    await put("a/b/c", "object a/b/c");
    await put("x/y", "object x/y");
    await put("x", "object x");
    for (const key of ["a", "a/b", "a/b/c", "x", "x/y"]) expect(await get(key)).toBe(`object ${key}`);
    expect((await listAll({})).keys).toEqual(["a", "a/b", "a/b/c", "x", "x/y"]);
    await put("a", "again");
    expect(await get("a")).toBe("again");
    await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: ["a", "a/b", "x"].map((Key) => ({ Key })) } }));
    expect((await listAll({})).keys).toEqual(["a/b/c", "x/y"]);
  });

  it("survive odd keys", async () => {
    const keys = [
      "a//b",
      "/lead",
      "trail/",
      "dot/./x",
      "dot/../y",
      "..",
      "%25",
      "100%",
      "a%2Fb",
      "sp ace",
      "plus+",
      "tab\tnew\nline",
      "ü/日本/🚀",
      "q?a=b&c#d",
      "<&>\"'",
      "~*()!",
      "l".repeat(700),
      `${"m".repeat(300)}/n`,
    ];
    for (const key of keys) await put(key, key);
    for (const key of keys) expect(await get(key)).toBe(key);
    const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect((await listAll({})).keys).toEqual(sorted);
    expect((await listAll({ EncodingType: "url" })).keys.map(decodeURIComponent)).toEqual(sorted);
    await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
    expect((await listAll({})).keys).toEqual([]);
    expect(await readdir(join(directory, Bucket))).toEqual([]);
    await expect(put("k".repeat(1025))).rejects.toMatchObject({ name: "KeyTooLongError" });
  });

  it("are read by range", async () => {
    await put("r", "0123456789");
    expect(await get("r", { Range: "bytes=2-4" })).toBe("234");
    expect(await get("r", { Range: "bytes=7-" })).toBe("789");
    expect(await get("r", { Range: "bytes=-3" })).toBe("789");
    expect(await get("r", { Range: "bytes=-30" })).toBe("0123456789");
    expect(await get("r", { Range: "bytes=8-100" })).toBe("89");
    expect(await get("r", { Range: "lines=1-2" })).toBe("0123456789");
    const partial = await client.send(new GetObjectCommand({ Bucket, Key: "r", Range: "bytes=2-4" }));
    expect(partial).toMatchObject({ ContentRange: "bytes 2-4/10", ContentLength: 3, $metadata: { httpStatusCode: 206 } });
    await expect(get("r", { Range: "bytes=10-" })).rejects.toMatchObject({ name: "InvalidRange" });
    await put("empty", new Uint8Array());
    await expect(get("empty", { Range: "bytes=0-" })).rejects.toMatchObject({ name: "InvalidRange" });
  });

  it("are read under conditions", async () => {
    const { ETag = "" } = await put("c", "x");
    expect(await get("c", { IfMatch: ETag })).toBe("x");
    await expect(get("c", { IfMatch: '"other"' })).rejects.toMatchObject({ name: "PreconditionFailed" });
    await expect(get("c", { IfNoneMatch: ETag })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } });
    expect(await get("c", { IfModifiedSince: new Date(0) })).toBe("x");
    await expect(get("c", { IfUnmodifiedSince: new Date(0) })).rejects.toMatchObject({ name: "PreconditionFailed" });
  });

  it("are created once, however many try at the same time", async () => {
    const tries = await Promise.allSettled(Array.from({ length: 8 }, (_, index) => put("once", `writer ${index}`, { IfNoneMatch: "*" })));
    const won = tries.flatMap(({ status }, index) => (status === "fulfilled" ? [index] : []));
    expect(won.length).toBe(1);
    for (const outcome of tries) if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ name: "PreconditionFailed" });
    expect(await get("once")).toBe(`writer ${won[0]}`);
    const { ETag = "" } = await client.send(new HeadObjectCommand({ Bucket, Key: "once" }));
    await put("once", "next", { IfMatch: ETag });
    await expect(put("once", "late", { IfMatch: ETag })).rejects.toMatchObject({ name: "PreconditionFailed" });
    await expect(put("none", "x", { IfMatch: ETag })).rejects.toMatchObject({ name: "NoSuchKey" });
    expect(await get("once")).toBe("next");
  });

  it("are copied with their metadata, or with new one", async () => {
    await put("from/ä b", "data", { ContentType: "text/x", Metadata: { a: "1" } });
    await client.send(new CopyObjectCommand({ Bucket, Key: "to", CopySource: `/${Bucket}/${encodeURIComponent("from/ä b")}` }));
    expect(await client.send(new HeadObjectCommand({ Bucket, Key: "to" }))).toMatchObject({ ContentType: "text/x", Metadata: { a: "1" } });
    await client.send(new CopyObjectCommand({ Bucket, Key: "to", CopySource: `${Bucket}/to`, MetadataDirective: "REPLACE", Metadata: { b: "2" } }));
    expect(await client.send(new HeadObjectCommand({ Bucket, Key: "to" }))).toMatchObject({ Metadata: { b: "2" } });
    expect(await get("to")).toBe("data");
    await expect(client.send(new CopyObjectCommand({ Bucket, Key: "to", CopySource: `${Bucket}/to` }))).rejects.toMatchObject({ name: "InvalidRequest" });
    await expect(client.send(new CopyObjectCommand({ Bucket, Key: "to", CopySource: `${Bucket}/none` }))).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  it("go one by one or many at a time, and are gone the second time too", async () => {
    await put("a");
    const answer = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: "a" }, { Key: "none" }] } }));
    expect(answer.Deleted?.map(({ Key }) => Key)).toEqual(["a", "none"]);
    const quiet = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Quiet: true, Objects: [{ Key: "a" }] } }));
    expect(quiet.Deleted ?? []).toEqual([]);
  });
});

describe("bodies", () => {
  it.each(["CRC32", "CRC32C", "SHA1", "SHA256"] as const)("are checked by %s, sent as a whole or as a stream with a trailer", async (ChecksumAlgorithm) => {
    const stored = await put("whole", "some data", { ChecksumAlgorithm });
    const found = await client.send(new HeadObjectCommand({ Bucket, Key: "whole", ChecksumMode: "ENABLED" }));
    expect(found[`Checksum${ChecksumAlgorithm}`]).toBe(stored[`Checksum${ChecksumAlgorithm}`]);
    const { Readable } = await import("node:stream");
    const Body = Readable.from([Buffer.from("some "), Buffer.from("data"), Buffer.alloc(200_000, "z")]);
    await client.send(new PutObjectCommand({ Bucket, Key: "stream", Body, ContentLength: 200_009, ChecksumAlgorithm }));
    expect(await get("stream")).toBe(`some data${"z".repeat(200_000)}`);
  });

  it("that were damaged on the way are refused, and nothing is left of them", async () => {
    await put("kept", "before");
    await expect(put("kept", "damaged", { ChecksumCRC32: "AAAAAA==" })).rejects.toMatchObject({ name: "BadDigest" });
    await expect(put("kept", "damaged", { ContentMD5: "AAAAAAAAAAAAAAAAAAAAAA==" })).rejects.toMatchObject({ name: "BadDigest" });
    await expect(put("kept", "damaged", { ContentMD5: "short" })).rejects.toMatchObject({ name: "InvalidDigest" });
    await put("kept", "whole", { ContentMD5: "s0iOJ+QDC2TgB3bdY7iyMQ==" }).catch(() => undefined);
    expect(["before", "whole"]).toContain(await get("kept"));
    expect(await readdir(join(directory, ".store", "incoming"))).toEqual([]);
  });

  it("that break off leave nothing behind", async () => {
    const url = new URL(`${store.url}/${Bucket}/half`);
    const headers = { "content-length": "1000", authorization: "none" };
    const request = httpRequest(url, { method: "PUT", headers });
    request.on("error", () => undefined);
    request.write("some of it");
    request.destroy();
    await expect(get("half")).rejects.toMatchObject({ name: "NoSuchKey" });
    expect(await readdir(join(directory, ".store", "incoming"))).toEqual([]);
  });
});

describe("listing", () => {
  const keys = ["a/1", "a/2", "a/b/3", "a!", "b", "c/d/e/f", "c0", "z"];
  beforeEach(async () => {
    for (const key of keys) await put(key);
  });

  it.each([1, 2, 3, 1000])("gives every key once and in byte order, %d at a time", async (MaxKeys) => {
    const sorted = [...keys].sort();
    expect((await listAll({ MaxKeys })).keys).toEqual(sorted);
    expect((await listAll({ MaxKeys, Prefix: "a" })).keys).toEqual(["a!", "a/1", "a/2", "a/b/3"]);
    expect((await listAll({ MaxKeys, Prefix: "c/d/e/f/g" })).keys).toEqual([]);
    expect(await listAll({ MaxKeys, Delimiter: "/" })).toMatchObject({ keys: ["a!", "b", "c0", "z"], prefixes: ["a/", "c/"] });
    expect(await listAll({ MaxKeys, Delimiter: "/", Prefix: "a/" })).toMatchObject({ keys: ["a/1", "a/2"], prefixes: ["a/b/"] });
    expect(await listAll({ MaxKeys, Delimiter: "b" })).toMatchObject({ keys: ["a!", "a/1", "a/2", "c/d/e/f", "c0", "z"], prefixes: ["a/b", "b"] });
    expect((await listAll({ MaxKeys, StartAfter: "a/2" })).keys).toEqual(["a/b/3", "b", "c/d/e/f", "c0", "z"]);
    expect((await listAll({ MaxKeys, StartAfter: "a/2", Prefix: "c" })).keys).toEqual(["c/d/e/f", "c0"]);
  });

  it("of the first version works by markers", async () => {
    const seen: string[] = [];
    let Marker = "";
    for (;;) {
      const page = await client.send(new ListObjectsCommand({ Bucket, Delimiter: "/", MaxKeys: 2, Marker }));
      seen.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""), ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ""));
      if (page.IsTruncated !== true) break;
      Marker = page.NextMarker ?? "";
    }
    expect(seen.sort()).toEqual(["a!", "a/", "b", "c/", "c0", "z"]);
  });

  it("refuses pages and tokens that are none", async () => {
    await expect(client.send(new ListObjectsV2Command({ Bucket, ContinuationToken: "!!" }))).rejects.toMatchObject({ name: "InvalidArgument" });
    expect((await client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 0 }))).KeyCount).toBe(0);
  });
});

describe("multipart uploads", () => {
  const Key = "big/object";
  const create = async (): Promise<string> => (await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ContentType: "text/x" }))).UploadId ?? "";
  const part = async (UploadId: string, PartNumber: number, Body: string) => ({
    PartNumber,
    ETag: (await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))).ETag,
  });
  const complete = (UploadId: string, Parts: { PartNumber: number; ETag: string | undefined }[], more = {}) =>
    client.send(
      new CompleteMultipartUploadCommand({
        Bucket,
        Key,
        UploadId,
        MultipartUpload: { Parts: Parts.map(({ PartNumber, ETag }) => ({ PartNumber, ...(ETag === undefined ? {} : { ETag }) })) },
        ...more,
      }),
    );

  it("join their parts in order, over a restart too", async () => {
    const id = await create();
    const second = await part(id, 2, "world");
    await store.close();
    await start();
    const first = await part(id, 1, "hello ");
    expect((await client.send(new ListPartsCommand({ Bucket, Key, UploadId: id }))).Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
      [1, 6],
      [2, 5],
    ]);
    expect((await complete(id, [first, second])).ETag).toMatch(/^"[0-9a-f]{32}-2"$/);
    expect(await get(Key)).toBe("hello world");
    expect((await client.send(new HeadObjectCommand({ Bucket, Key }))).ContentType).toBe("text/x");
    await expect(part(id, 3, "late")).rejects.toMatchObject({ name: "NoSuchUpload" });
  });

  it("are refused when a part is missing, changed, too small or out of order, and stay for another try", async () => {
    const id = await create();
    const [one, two] = [await part(id, 1, "aaaa"), await part(id, 2, "bbbb")];
    await expect(complete(id, [two, one])).rejects.toMatchObject({ name: "InvalidPartOrder" });
    await expect(complete(id, [one, { PartNumber: 3, ETag: two.ETag }])).rejects.toMatchObject({ name: "InvalidPart" });
    await expect(complete(id, [{ PartNumber: 1, ETag: two.ETag }])).rejects.toMatchObject({ name: "InvalidPart" });
    const small = await part(id, 1, "s");
    await expect(complete(id, [small, two])).rejects.toMatchObject({ name: "EntityTooSmall" });
    await complete(id, [await part(id, 1, "AAAA"), two], { IfNoneMatch: "*" });
    expect(await get(Key)).toBe("AAAAbbbb");
    const again = await create();
    await expect(complete(again, [await part(again, 1, "x")], { IfNoneMatch: "*" })).rejects.toMatchObject({ name: "PreconditionFailed" });
  });

  it("are listed and aborted", async () => {
    const ids = [await create(), await create(), await create()];
    const first = await client.send(new ListMultipartUploadsCommand({ Bucket, MaxUploads: 2 }));
    expect(first.IsTruncated).toBe(true);
    const rest = await client.send(
      new ListMultipartUploadsCommand({ Bucket, KeyMarker: first.NextKeyMarker ?? "", UploadIdMarker: first.NextUploadIdMarker ?? "" }),
    );
    expect([...(first.Uploads ?? []), ...(rest.Uploads ?? [])].map(({ UploadId }) => UploadId).sort()).toEqual([...ids].sort());
    for (const UploadId of ids) await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    expect((await client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []).toEqual([]);
    await expect(client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: "../../x" }))).rejects.toMatchObject({ name: "NoSuchUpload" });
    expect((await listAll({})).keys).toEqual([]);
  });
});

describe("who may", () => {
  it.each([
    ["an unknown key", { accessKeyId: "nobody", secretAccessKey: "x" }, "InvalidAccessKeyId"],
    ["a wrong secret", { ...credentials, secretAccessKey: "x" }, "SignatureDoesNotMatch"],
    ["a token that was not asked for", { ...credentials, sessionToken: "t" }, "InvalidToken"],
  ])("not %s", async (_who, wrong, name) => {
    await expect(clientWith({ credentials: wrong }).send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject({ name });
  });

  it("not without a signature, nor with a clock that is off", async () => {
    expect((await fetch(`${store.url}/${Bucket}/a`)).status).toBe(403);
    await store.close();
    await start({ clock: { ...systemClock, nowMs: () => systemClock.nowMs() + 20 * 60_000 } });
    await expect(client.send(new HeadBucketCommand({ Bucket }))).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } });
  });

  it("whoever has the token, where one is set", async () => {
    await store.close();
    await start({ credentials: { ...credentials, sessionToken: "a token" } });
    await expect(client.send(new ListObjectsV2Command({ Bucket }))).rejects.toMatchObject({ name: "InvalidToken" });
    await clientWith({ credentials: { ...credentials, sessionToken: "a token" } }).send(new ListObjectsV2Command({ Bucket }));
  });

  it("whoever has a signed address, until it expires or is changed", async () => {
    const { getSignedUrl } = await import("@aws-sdk/s3-request-presigner");
    await put("sign/ed ü", "secret");
    const url = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "sign/ed ü", ResponseContentDisposition: "attachment" }), { expiresIn: 60 });
    const response = await fetch(url);
    expect([response.status, await response.text(), response.headers.get("content-disposition")]).toEqual([200, "secret", "attachment"]);
    expect((await fetch(url.replace("sign/", "other/"))).status).toBe(403);
    const old = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "sign/ed ü" }), {
      expiresIn: 60,
      signingDate: new Date(systemClock.nowMs() - 61_000),
    });
    expect(await (await fetch(old)).text()).toContain("Request has expired");
  });
});

describe("what is not there", () => {
  it("is not taken for a listing or a read", async () => {
    await put("a");
    for (const setting of ["acl", "tagging", "versionId=x", "retention"]) {
      expect((await fetch(`${store.url}/${Bucket}/a?${setting}`)).status).toBe(501);
    }
    expect((await fetch(`${store.url}/${Bucket}`, { method: "PATCH" })).status).toBe(405);
  });
});

describe("faults", () => {
  it("strike the requests they are meant for, as often as they should", async () => {
    store.faults.add({ matches: ({ operation }) => operation === "PutObject", fault: { kind: "error", code: "SlowDown" }, times: 2 });
    await expect(put("a")).rejects.toMatchObject({ name: "SlowDown", $metadata: { httpStatusCode: 503 } });
    await expect(put("a")).rejects.toMatchObject({ name: "SlowDown" });
    await put("a");
  });

  it("lose an answer after the work was done, or before", async () => {
    store.faults.add({ matches: ({ key }) => key === "done", fault: { kind: "lostAnswer" }, times: 1 });
    store.faults.add({ matches: ({ key }) => key === "undone", fault: { kind: "reset" }, times: 1 });
    await expect(put("done")).rejects.toThrow();
    await expect(put("undone")).rejects.toThrow();
    expect((await listAll({})).keys).toEqual(["done"]);
  });

  it("cut a body short of its announced length", async () => {
    await put("a", "x".repeat(100_000));
    store.faults.add({ matches: ({ operation }) => operation === "GetObject", fault: { kind: "truncate", afterBytes: 10 }, times: 1 });
    await expect(get("a")).rejects.toThrow();
    expect((await get("a")).length).toBe(100_000);
  });

  it("take the whole store away and give it back", async () => {
    await put("a", "x");
    store.faults.outage = "reset";
    await expect(get("a")).rejects.toThrow();
    store.faults.outage = "unavailable";
    await expect(get("a")).rejects.toMatchObject({ name: "SlowDown" });
    store.faults.clear();
    expect(await get("a")).toBe("x");
  });

  it("make it overwrite what it must not, as older servers do", async () => {
    store.faults.ignoreConditionalHeaders = true;
    await put("a", "first", { IfNoneMatch: "*" });
    await put("a", "second", { IfNoneMatch: "*" });
    expect(await get("a")).toBe("second");
  });
});

describe("the log", () => {
  it("says what was asked and how it went", async () => {
    await put("a", "hello");
    await get("a");
    await get("none").catch(() => undefined);
    expect(store.requests.list().map(({ operation, key, status, errorCode, bytesOut }) => [operation, key, status, errorCode, bytesOut > 0])).toEqual([
      ["PutObject", "a", 200, undefined, false],
      ["GetObject", "a", 200, undefined, true],
      ["GetObject", "none", 404, "NoSuchKey", true],
    ]);
    expect(store.requests.count("GetObject")).toBe(2);
  });
});

describe("over TLS", () => {
  it("serves clients that trust its certificate", async () => {
    await store.close();
    const { certificate, key } = await selfSigned();
    await start({ tls: { cert: certificate, key } });
    expect(store.url).toMatch(/^https:/);
    const trusting = clientWith({ requestHandler: { httpsAgent: { ca: certificate } } });
    await trusting.send(new PutObjectCommand({ Bucket, Key: "a", Body: utf8("x") }));
    await expect(client.send(new HeadBucketCommand({ Bucket }))).rejects.toMatchObject({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  });
});
