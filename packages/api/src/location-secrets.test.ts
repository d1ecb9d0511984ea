import { describe, expect, it } from "vitest";
import type { BackupStorageLocation, BackupStorageLocationSpec } from "./generated/backupstoragelocations.ts";
import { readLocationSecrets, readRepositoryPassword, type SecretReader } from "./location-secrets.ts";

const secrets: Record<string, Record<string, string>> = {
  "cloud-credentials": { cloud: "default" },
  "cloud-credentials-azure": { cloud: "of azure" },
  own: { aws: "own" },
  ca: { "ca.crt": "PEM" },
  "velero-repo-credentials": { "repository-password": " secret\n" },
};
const read: SecretReader = async ({ name }) => {
  const data = secrets[name];
  return data === undefined
    ? undefined
    : { data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")])) };
};
const location = (spec: Partial<BackupStorageLocationSpec> = {}): BackupStorageLocation => ({
  metadata: { name: "default" },
  spec: { provider: "aws", objectStorage: { bucket: "b" }, ...spec },
});

describe("readLocationSecrets()", () => {
  it("takes the installation's credentials where a location has none of its own", async () => {
    expect(await readLocationSecrets(read, "velero", location())).toEqual({ credentialsText: "default" });
    expect(await readLocationSecrets(async () => undefined, "velero", location())).toEqual({});
  });

  it("takes OADP's Secret for the provider before the one for all, and that where there is none", async () => {
    expect(await readLocationSecrets(read, "velero", location({ provider: "azure" }))).toEqual({ credentialsText: "of azure" });
    expect(await readLocationSecrets(read, "velero", location({ provider: "velero.io/azure" }))).toEqual({ credentialsText: "of azure" });
    expect(await readLocationSecrets(read, "velero", location({ provider: "gcp" }))).toEqual({ credentialsText: "default" });
  });

  it("takes a location's own credentials and certificate", async () => {
    const own = location({ credential: { name: "own", key: "aws" }, objectStorage: { bucket: "b", caCertRef: { name: "ca", key: "ca.crt" } } });
    expect(await readLocationSecrets(read, "velero", own)).toEqual({ credentialsText: "own", caCertPem: "PEM" });
    const missing = location({ objectStorage: { bucket: "b", caCertRef: { name: "none", key: "ca.crt", optional: true } } });
    expect(await readLocationSecrets(read, "velero", missing)).toEqual({ credentialsText: "default" });
  });

  it("takes the customer key that the config names, byte for byte", async () => {
    const keyed = (reference: string): BackupStorageLocation => location({ config: { customerKeyEncryptionSecret: reference } });
    expect((await readLocationSecrets(read, "velero", keyed("own/aws"))).customerKey).toEqual(Buffer.from("own"));
    await expect(readLocationSecrets(read, "velero", keyed("own/x"))).rejects.toMatchObject({ code: "KUBE_NOT_FOUND" });
    await expect(readLocationSecrets(read, "velero", keyed("own"))).rejects.toMatchObject({ code: "BLOB_BAD_CONFIG" });
  });

  it("names the Secret or key that is not there", async () => {
    await expect(readLocationSecrets(read, "velero", location({ credential: { name: "none", key: "aws" } }))).rejects.toMatchObject({
      code: "KUBE_NOT_FOUND",
      message: 'Cannot read secret "velero/none": it is not there',
    });
    await expect(readLocationSecrets(read, "velero", location({ credential: { name: "own", key: "x" } }))).rejects.toThrow('it has no key "x"');
    expect(await readLocationSecrets(read, "velero", location({ credential: { name: "none", key: "aws", optional: true } }))).toEqual({});
  });
});

describe("readRepositoryPassword()", () => {
  const named = (reference: string): BackupStorageLocation => ({
    ...location(),
    metadata: { name: "default", annotations: { "drayage.io/repository-password": reference } },
  });

  it("trims white space, and says how to bring a lost one back", async () => {
    expect(await readRepositoryPassword(read, "velero", location())).toBe("secret");
    await expect(readRepositoryPassword(async () => undefined, "velero", location())).rejects.toMatchObject({
      hint: expect.stringContaining("--recovery-file"),
    });
  });

  it("takes the one that the location names, and never another in its place", async () => {
    const both: SecretReader = async (key) => (key.name === "shared-bucket" ? { data: { word: Buffer.from("another\n").toString("base64") } } : read(key));
    expect(await readRepositoryPassword(both, "velero", named("shared-bucket/word"))).toBe("another");
    await expect(readRepositoryPassword(both, "velero", named("shared-bucket/other"))).rejects.toMatchObject({
      message: 'Cannot read secret "velero/shared-bucket": it has no key "other"',
      hint: "Create it, or change the backup storage location.",
    });
    for (const reference of ["", "shared-bucket", "/word", "a/b/c"])
      await expect(readRepositoryPassword(both, "velero", named(reference))).rejects.toThrow("annotation drayage.io/repository-password is");
  });

  it("is not empty", async () => {
    const empty: SecretReader = async () => ({ data: { "repository-password": Buffer.from(" \n").toString("base64") } });
    await expect(readRepositoryPassword(empty, "velero", location())).rejects.toThrow('key "repository-password" is empty');
  });
});
