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
  it("trims white space, and says how to bring a lost one back", async () => {
    expect(await readRepositoryPassword(read, "velero")).toBe("secret");
    await expect(readRepositoryPassword(async () => undefined, "velero")).rejects.toMatchObject({ hint: expect.stringContaining("--recovery-file") });
  });
});
