import { describe, expect, it } from "vitest";
import { endpointOf } from "./azure-connection.ts";
import { azureCloud, parseConnectionString, parseEnvironmentFile } from "./azure-credentials.ts";
import { azureConfigFromLocation } from "./location-config.ts";

const PRINCIPAL = `AZURE_SUBSCRIPTION_ID=sub
export AZURE_TENANT_ID='tenant' # the company's
AZURE_CLIENT_ID = client
AZURE_CLIENT_SECRET="hu#sh"
AZURE_RESOURCE_GROUP=group
AZURE_CLOUD_NAME=AzureUSGovernmentCloud
`;
const read = (config: Record<string, string>, credentialsText?: string, environment: Record<string, string> = {}) =>
  azureConfigFromLocation(
    { objectStorage: { bucket: "container", prefix: "velero" }, config },
    credentialsText === undefined ? {} : { credentialsText },
    environment,
  );
const principal = { kind: "clientSecret", tenantId: "tenant", clientId: "client", clientSecret: "hu#sh" };

describe("azureConfigFromLocation()", () => {
  it("asks for the account's key with a service principal, as Velero does by default", () => {
    const options = read({ storageAccount: "account" }, PRINCIPAL);
    expect(options).toEqual({
      ...{ container: "container", prefix: "velero/", storageAccount: "account", cloud: "AzureUSGovernmentCloud" },
      credential: { kind: "keyOfAccount", identity: principal, subscriptionId: "sub", resourceGroup: "group" },
    });
    expect(endpointOf(options)).toBe("https://account.blob.core.usgovcloudapi.net");
    expect(read({ storageAccount: "account", resourceGroup: "own", subscriptionId: "mine" }, PRINCIPAL).credential).toMatchObject({
      subscriptionId: "mine",
      resourceGroup: "own",
    });
  });

  it("uses tokens where useAAD says so, the key that a line of the credentials holds, and the pod's own identity", () => {
    expect(read({ storageAccount: "a", useAAD: "true", activeDirectoryAuthorityURI: "https://login.example" }, PRINCIPAL)).toMatchObject({
      authorityHost: "https://login.example",
      credential: { kind: "identity", identity: principal },
    });
    expect(read({ storageAccount: "a", storageAccountKeyEnvVar: "AZURE_STORAGE_KEY" }, "AZURE_STORAGE_KEY=a2V5").credential).toEqual({
      kind: "key",
      key: "a2V5",
    });
    const environment = { AZURE_FEDERATED_TOKEN_FILE: "/token", AZURE_CLIENT_ID: "webhook", AZURE_TENANT_ID: "t" };
    expect(read({ storageAccount: "a", useAAD: "true" }, undefined, environment).credential).toEqual({
      kind: "identity",
      identity: { kind: "workloadIdentity", tokenFile: "/token", tenantId: "t", clientId: "webhook" },
    });
    expect(read({ storageAccount: "a", useAAD: "true" }, "AZURE_CLOUD_NAME=AzurePublicCloud").credential).toEqual({
      kind: "identity",
      identity: { kind: "managedIdentity" },
    });
  });

  it.each([
    [{}, PRINCIPAL, '"storageAccount" is missing'],
    [{ storageAccount: "a", storageaccount: "b" }, PRINCIPAL, 'config key "storageaccount" is not known, is "storageAccount" meant?'],
    [{ storageAccount: "a", useAAD: "perhaps" }, PRINCIPAL, '"useAAD" is "perhaps"'],
    [{ storageAccount: "a", blockSizeInBytes: "104857601" }, PRINCIPAL, '"blockSizeInBytes" is "104857601"'],
    [{ storageAccount: "a", storageAccountKeyEnvVar: "OTHER" }, PRINCIPAL, 'no line "OTHER"'],
    [{ storageAccount: "a" }, "AZURE_CLIENT_ID=x", '"subscriptionId" is missing'],
    [{ storageAccount: "a", subscriptionId: "s" }, "AZURE_CLIENT_ID=x", '"resourceGroup" is missing'],
    [{ storageAccount: "a" }, "AZURE_CLIENT_SECRET=hush", "AZURE_TENANT_ID is missing"],
    [{ storageAccount: "a" }, "AZURE_CLOUD_NAME=Mars", 'Azure cloud "Mars"'],
  ])("refuses %j with other credentials in words that hold none of them", (config, credentials, said) => {
    const failing = (): unknown => read(config as Record<string, string>, credentials);
    expect(failing).toThrow(expect.objectContaining({ code: "BLOB_BAD_CONFIG", message: expect.stringContaining(said) }));
    expect(failing).not.toThrow("hush");
  });

  it("says that user names and passwords are not supported", () => {
    expect(() => read({ storageAccount: "a" }, "AZURE_USERNAME=x\nAZURE_PASSWORD=y")).toThrow(expect.objectContaining({ code: "NOT_SUPPORTED" }));
  });
});

describe("Azure's credentials", () => {
  it("are read from connection strings of each form", () => {
    expect(parseConnectionString("DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5==;EndpointSuffix=core.windows.net")).toEqual({
      ...{ storageAccount: "acc", endpoint: "https://acc.blob.core.windows.net", credential: { kind: "key", key: "a2V5==" } },
    });
    expect(parseConnectionString("BlobEndpoint=https://acc.blob.core.windows.net;SharedAccessSignature=sv=1&sig=x")).toEqual({
      ...{ storageAccount: "acc", endpoint: "https://acc.blob.core.windows.net", credential: { kind: "sas", token: "sv=1&sig=x" } },
    });
    for (const text of ["", "AccountName=a", "AccountKey=a2V5", "AccountName=a;AccountKey=k;DefaultEndpointsProtocol=ftp"]) {
      expect(() => parseConnectionString(text), text).toThrow(expect.objectContaining({ code: "BLOB_BAD_CONFIG" }));
    }
  });

  it("are read from environment files, quoted or not", () => {
    expect(parseEnvironmentFile("A=1\n# B=2\nexport C=\"x\\ny\"\nD='a # b'\nE=a # b\n\nnonsense\nF=")).toEqual({
      A: "1",
      C: "x\ny",
      D: "a # b",
      E: "a",
      F: "",
    });
    expect(azureCloud("azurechinacloud")).toBe("AzureChinaCloud");
  });
});
