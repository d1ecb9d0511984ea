import { systemClock } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { azureOptions, gcsOptions, openStorageUrl, StorageUrl, s3Options } from "./storage-url.ts";

const context = (env: Record<string, string> = {}) => ({ env, clock: systemClock, random: seededRandom(1) });
const KEY = "a2V5LW9mLXRoZS1hY2NvdW50";

describe("a storage URL", () => {
  it.each([
    ["nonsense", "it is no URL"],
    ["http://host/x", '"http://" is not known, file://, s3://, azure://, gs:// are'],
    ["file://host/x", '"host" stands where no host can be'],
    ["file:///x?shards=1", 'parameter "shards" is not known, a file:// URL takes none'],
    ["s3:///prefix", "the bucket is missing"],
    ["s3://b?pathstyle=true", 'parameter "pathstyle" is not known, endpoint, '],
    ["s3://b?pathStyle=yes", '"pathStyle" is "yes", true or false is wanted'],
    ["s3://b?storageClass=GLACIER", '"storageClass" is "GLACIER", one of STANDARD, '],
    ["s3://b?pointInTime=yesterday", '"pointInTime" is "yesterday", a time such as'],
    ["s3://b?connections=0", '"connections" is "0", 1 to 1024 is wanted'],
    ["azure://container/p", 'parameter "storageAccount" is missing, and AZURE_STORAGE_ACCOUNT is not set'],
    ["azure:///p?storageAccount=a", "the container is missing"],
    ["gs://b?storageClass=STANDARD_IA", '"storageClass" is "STANDARD_IA"'],
    ["gs://b?credentialsFile=/nowhere/x", 'Cannot read "/nowhere/x", which credentialsFile'],
  ])("%s is refused: %s", async (text, said) => {
    await expect(openStorageUrl(text, context({ AZURE_STORAGE_KEY: KEY }))).rejects.toMatchObject({ code: "USAGE", message: expect.stringContaining(said) });
  });

  it("is refused with credentials in it, which are not repeated", async () => {
    const error: unknown = await openStorageUrl("s3://key:hush@bucket", context()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "USAGE", message: expect.stringContaining("it holds credentials") });
    expect(String(error)).not.toContain("hush");
  });

  it("names a folder also as a bare path, whatever its signs", () => {
    expect(new StorageUrl("/a b/c#d?e%20").folder()).toBe("/a b/c#d?e%20");
    expect(new StorageUrl("file:///a%20b").folder()).toBe("/a b");
  });

  it("says all that S3 can be told", async () => {
    const url =
      "s3://bucket/a/b?endpoint=host:9000&publicUrl=https://p&region=r&pathStyle=true&profile=x&checksumAlgorithm=&serverSideEncryption=aws:kms&kmsKeyId=k&storageClass=STANDARD_IA&tagging=a%3D1&expectedBucketOwner=1&conditionalPut=true&objectLock=false&connections=4&pointInTime=2026-05-01T12:00:00Z";
    expect(await s3Options(new StorageUrl(url), context())).toEqual({
      ...{
        bucket: "bucket",
        prefix: "a/b/",
        endpoint: "https://host:9000",
        publicUrl: "https://p",
        region: "r",
        pathStyle: true,
        profile: "x",
        checksumAlgorithm: "",
      },
      ...{ serverSideEncryption: "aws:kms", kmsKeyId: "k", storageClass: "STANDARD_IA", tagging: "a=1", expectedBucketOwner: "1", conditionalPut: true },
      ...{ objectLock: false, connectionsMax: 4, pointInTimeMs: Date.UTC(2026, 4, 1, 12) },
    });
  });

  it("takes from the environment what AWS's tools take from there", async () => {
    expect(await s3Options(new StorageUrl("s3://b"), context({ AWS_ENDPOINT_URL: "http://e", AWS_DEFAULT_REGION: "r" }))).toEqual({
      bucket: "b",
      prefix: "",
      endpoint: "http://e",
      region: "r",
    });
  });

  it.each([
    [
      "a connection string",
      { AZURE_STORAGE_CONNECTION_STRING: `AccountName=acc;AccountKey=${KEY};EndpointSuffix=core.chinacloudapi.cn` },
      { kind: "key", key: KEY },
    ],
    ["a key", { AZURE_STORAGE_ACCOUNT: "acc", AZURE_STORAGE_KEY: KEY }, { kind: "key", key: KEY }],
    ["a SAS", { AZURE_STORAGE_ACCOUNT: "acc", AZURE_STORAGE_SAS_TOKEN: "sv=1" }, { kind: "sas", token: "sv=1" }],
    [
      "a service principal",
      { AZURE_STORAGE_ACCOUNT: "acc", AZURE_TENANT_ID: "t", AZURE_CLIENT_ID: "c", AZURE_CLIENT_SECRET: "s" },
      { kind: "identity", identity: { kind: "clientSecret", tenantId: "t", clientId: "c", clientSecret: "s" } },
    ],
    [
      "a workload identity",
      { AZURE_STORAGE_ACCOUNT: "acc", AZURE_TENANT_ID: "t", AZURE_CLIENT_ID: "c", AZURE_FEDERATED_TOKEN_FILE: "/f" },
      { kind: "identity", identity: { kind: "workloadIdentity", tenantId: "t", clientId: "c", tokenFile: "/f" } },
    ],
    ["nothing: the machine's identity", { AZURE_STORAGE_ACCOUNT: "acc" }, { kind: "identity", identity: { kind: "managedIdentity" } }],
  ])("opens a container with %s of the environment", async (_what, env, credential) => {
    const options = await azureOptions(new StorageUrl("azure://container/p"), context(env));
    expect(options).toMatchObject({ container: "container", prefix: "p/", storageAccount: "acc", credential, cloud: "AzurePublicCloud" });
  });

  it("takes Google's credentials from the URL, the environment, or the platform", async () => {
    expect((await gcsOptions(new StorageUrl("gs://b"), context())).credential).toEqual({ kind: "default" });
    expect((await gcsOptions(new StorageUrl("gs://b?anonymous=true"), context())).credential).toEqual({ kind: "anonymous" });
    await expect(gcsOptions(new StorageUrl("gs://b"), context({ GOOGLE_APPLICATION_CREDENTIALS: "/nowhere" }))).rejects.toThrow('Cannot read "/nowhere"');
    expect(await gcsOptions(new StorageUrl("gs://b/p?project=x&kmsKeyName=k&serviceAccount=s&storageClass=NEARLINE"), context())).toMatchObject({
      ...{ bucket: "b", prefix: "p/", project: "x", kmsKeyName: "k", serviceAccount: "s", storageClass: "NEARLINE" },
    });
  });
});
