import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readRepositorySecret, storageUrlOf, storeEnvironment } from "./repository-secret.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-repository-secret-"));
  for (const name of ["secret", "ca"]) mkdirSync(join(folder, name));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => join(folder, "secret", name);

/** A Secret as a kubelet mounts it. */
function read(values: Readonly<Record<string, string>>) {
  for (const [name, value] of Object.entries({ RESTIC_PASSWORD: "geheim", ...values })) writeFileSync(at(name), value);
  return readRepositorySecret(join(folder, "secret"), join(folder, "ca"));
}

describe("a repository's Secret", () => {
  it("has keys of Azure, for restic and under the names of our own stores", () => {
    const secret = read({ RESTIC_REPOSITORY: "azure:container:/path", AZURE_ACCOUNT_NAME: "account", AZURE_ACCOUNT_KEY: "a2V5" });
    expect(secret.environment).toMatchObject({ AZURE_ACCOUNT_NAME: "account", AZURE_ACCOUNT_KEY: "a2V5" });
    expect(storeEnvironment(secret)).toMatchObject({ AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: "a2V5" });
    expect(storageUrlOf(secret)).toBe("azure://container/path");
  });

  it("has a signature of Azure in place of a key, and another cloud", () => {
    const values = { AZURE_ACCOUNT_NAME: "account", AZURE_ACCOUNT_SAS: "sv=1&sig=x", AZURE_ENDPOINT_SUFFIX: "core.usgovcloudapi.net" };
    const secret = read({ RESTIC_REPOSITORY: "azure:container:/", ...values });
    expect(storeEnvironment(secret)).toMatchObject({ AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_SAS_TOKEN: "sv=1&sig=x" });
    expect(storageUrlOf(secret)).toBe(`azure://container?endpoint=${encodeURIComponent("https://account.blob.core.usgovcloudapi.net")}`);
  });

  it("has Google's credentials as a file, which is what both read", () => {
    const secret = read({ RESTIC_REPOSITORY: "gs:bucket:/path", GOOGLE_PROJECT_ID: "project\n", GOOGLE_APPLICATION_CREDENTIALS: '{"type":"service_account"}' });
    expect(storeEnvironment(secret)).toMatchObject({ GOOGLE_PROJECT_ID: "project", GOOGLE_APPLICATION_CREDENTIALS: at("GOOGLE_APPLICATION_CREDENTIALS") });
    expect(storageUrlOf(secret)).toBe("gs://bucket/path");
  });

  it("has settings of restic's, and nothing that would steer this program", () => {
    const passed = {
      RESTIC_COMPRESSION: "max",
      RESTIC_PACK_SIZE: "64",
      AWS_SESSION_TOKEN: "t",
      B2_ACCOUNT_ID: "b",
      OS_AUTH_URL: "o",
      ST_USER: "s",
      RCLONE_CONFIG: "r",
    };
    const { environment } = read({ RESTIC_REPOSITORY: "/srv/r\n", ...passed, NODE_OPTIONS: "--x", PATH: "/evil", RESTIC_PASSWORD_COMMAND: "rm" });
    expect(environment).toEqual({ RESTIC_REPOSITORY: "/srv/r", RESTIC_PASSWORD: "geheim", ...passed });
  });

  it("keeps a password as it is: with the end of a line it is another one to restic", () => {
    expect(read({ RESTIC_REPOSITORY: "/srv/r", RESTIC_PASSWORD: "geheim\n" }).password).toBe("geheim\n");
  });

  it("goes with the CA that stands beside it, which our own stores trust too", () => {
    writeFileSync(join(folder, "ca", "ca.crt"), "PEM");
    const secret = read({ RESTIC_REPOSITORY: "s3:https://minio.example/bucket" });
    expect(secret.customCa).toBe(join(folder, "ca", "ca.crt"));
    expect(new URL(storageUrlOf(secret)).searchParams.get("caCertFile")).toBe(join(folder, "ca", "ca.crt"));
  });
});
