import { DrayError } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { S3Connection } from "./s3-connection.ts";
import { translateS3Error } from "./s3-errors.ts";

const s3Error = (name: string, status?: number): Error =>
  Object.assign(new Error("said so"), { name, ...(status === undefined ? {} : { $metadata: { httpStatusCode: status } }) });

describe("translateS3Error()", () => {
  it.each([
    ["NoSuchKey", 404, "BLOB_NOT_FOUND"],
    ["NoSuchBucket", 404, "BLOB_BUCKET_NOT_FOUND"],
    ["AccessDenied", 403, "BLOB_ACCESS_DENIED"],
    ["InvalidAccessKeyId", 403, "BLOB_ACCESS_DENIED"],
    ["SignatureDoesNotMatch", 403, "BLOB_ACCESS_DENIED"],
    ["ExpiredToken", 400, "BLOB_ACCESS_DENIED"],
    ["SlowDown", 503, "BLOB_THROTTLED"],
    ["InternalError", 500, "BLOB_UNAVAILABLE"],
    ["BadDigest", 400, "BLOB_UNAVAILABLE"],
    ["PermanentRedirect", 301, "BLOB_BAD_CONFIG"],
    ["XMinioStorageFull", 507, "BLOB_NO_SPACE"],
    ["NotImplemented", 501, "NOT_SUPPORTED"],
    // Names that are not in the table, by their status.
    ["Unheard", 403, "BLOB_ACCESS_DENIED"],
    ["Unheard", 502, "BLOB_UNAVAILABLE"],
    ["Unheard", 429, "BLOB_THROTTLED"],
    ["Unheard", 400, "BLOB_BAD_CONFIG"],
    ["Unheard", 200, "BLOB_UNAVAILABLE"],
    ["TimeoutError", undefined, "BLOB_UNAVAILABLE"],
    ["CredentialsProviderError", undefined, "BLOB_ACCESS_DENIED"],
  ])("takes %s with status %s for %s", (name, status, code) => {
    expect(translateS3Error(s3Error(name, status), "Cannot act")).toMatchObject({ code, message: expect.stringMatching(/^Cannot act: /) });
  });

  it.each([
    ["ECONNREFUSED", "BLOB_UNAVAILABLE"],
    ["ECONNRESET", "BLOB_UNAVAILABLE"],
    ["ENOTFOUND", "BLOB_UNAVAILABLE"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "BLOB_BAD_CONFIG"],
    ["EPROTO", "BLOB_BAD_CONFIG"],
  ])("takes a connection that fails with %s for %s, also when several addresses were tried", (errno, code) => {
    const error = Object.assign(new Error("connect"), { code: errno });
    expect(translateS3Error(error, "Cannot act")).toMatchObject({ code });
    expect(translateS3Error(new AggregateError([error, error]), "Cannot act")).toMatchObject({ code });
  });

  it("keeps the cause and says the name of the error once", () => {
    const error = s3Error("SlowDown", 503);
    const translated = translateS3Error(error, 'Cannot read blob "x" of s3://b/');
    expect(translated.message).toBe('Cannot read blob "x" of s3://b/: SlowDown: said so');
    expect(translated.cause).toBe(error);
  });
});

describe("S3Connection.open()", () => {
  it.each([
    [{ bucket: "" }],
    [{ bucket: "a/b" }],
    [{ bucket: "b", endpoint: "minio:9000/x" }],
    [{ bucket: "b", endpoint: "https://host/path" }],
    [{ bucket: "b", endpoint: "ftp://host" }],
    [{ bucket: "b", endpoint: "https://key:secret@host" }],
  ])("refuses %j without a call", async (options) => {
    const error = await S3Connection.open(options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DrayError);
    expect(error).toMatchObject({ code: "BLOB_BAD_CONFIG" });
  });

  it("does not repeat a password that stands in an address", async () => {
    await expect(S3Connection.open({ bucket: "b", endpoint: "https://key:hush@host" })).rejects.not.toThrow("hush");
  });
});
