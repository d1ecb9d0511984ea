/**
 * Identities of the clouds, each against a token endpoint on loopback: that the right one is asked, with what the platform gives, and that its answer signs the requests.
 * No real cloud stands behind these tests (docs/providers.md says so).
 */

import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "@drayage/base/testing";
import { type AzureCredential, type AzureOptions, openAzureObjectStore } from "@drayage/blob/azure";
import { type GcsOptions, openGcsObjectStore } from "@drayage/blob/gcs";
import { openS3ObjectStore, type S3Options } from "@drayage/blob/s3";
import { startTokenEndpoint, type TokenEndpoint, type TokenRequest } from "@drayage/blob/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { selfSigned } from "./self-signed.ts";

let folder: string;
let certificate: string;
let tls: { certificate: string; key: string };
let cloud: TokenEndpoint;
/** Over TLS, which Azure's libraries insist on. */
let secureCloud: TokenEndpoint;
/** Answers of a test's own. */
let refuse: ((request: TokenRequest) => { status: number; body: string } | undefined) | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-identities-"));
  tls = await selfSigned();
  certificate = tls.certificate;
  await writeFile(join(folder, "token"), "token-of-the-pod");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  refuse = undefined;
  const answer = (request: TokenRequest) => refuse?.(request);
  cloud = await startTokenEndpoint({ answer });
  secureCloud = await startTokenEndpoint({ answer, tls });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await cloud.close();
  await secureCloud.close();
});

const requestOf = (endpoint: TokenEndpoint, part: string): TokenRequest | undefined =>
  endpoint.requests.find(({ url, body }) => `${url} ${body}`.includes(part));

describe("AWS", () => {
  /** The request that a get of an object became. */
  async function getAs(options: Partial<S3Options>): Promise<TokenRequest | undefined> {
    const store = await openS3ObjectStore({ bucket: "bucket", endpoint: cloud.url, region: "eu-west-1", ...options });
    await expect(store.get("the-object")).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await store.close();
    return requestOf(cloud, "/the-object");
  }

  it("takes on the role that the pod's token stands for (IRSA)", async () => {
    vi.stubEnv("AWS_ROLE_ARN", "arn:aws:iam::1:role/mover");
    vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", join(folder, "token"));
    vi.stubEnv("AWS_ENDPOINT_URL_STS", cloud.url);
    const request = await getAs({});
    expect(request?.headers).toMatchObject({ authorization: expect.stringContaining("Credential=ASIAWEB/"), "x-amz-security-token": "web-session" });
    expect(requestOf(cloud, "AssumeRoleWithWebIdentity")?.body).toContain("WebIdentityToken=token-of-the-pod");
  });

  it("takes on the role that a location's profile names with a token file, as OpenShift's STS has it", async () => {
    const credentials = { roleArn: "arn:aws:iam::1:role/oadp", webIdentityTokenFile: join(folder, "token") };
    const request = await getAs({ credentials, stsEndpoint: cloud.url });
    expect(request?.headers["x-amz-security-token"]).toBe("web-session");
    expect(requestOf(cloud, "AssumeRoleWithWebIdentity")?.body).toContain(encodeURIComponent("arn:aws:iam::1:role/oadp"));
  });

  it("asks the agent of EKS pod identity", async () => {
    vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${cloud.url}/v1/credentials`);
    vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", join(folder, "token"));
    const request = await getAs({});
    expect(request?.headers).toMatchObject({ authorization: expect.stringContaining("Credential=ASIAPOD/"), "x-amz-security-token": "pod-session" });
    expect(requestOf(cloud, "/v1/credentials")?.headers.authorization).toBe("token-of-the-pod");
  });

  it("reads a profile of the shared files", async () => {
    await writeFile(join(folder, "credentials"), "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = x\n");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(folder, "credentials"));
    vi.stubEnv("AWS_CONFIG_FILE", join(folder, "none"));
    expect((await getAs({ profile: "other" }))?.headers.authorization).toContain("Credential=AKIAOTHER/");
  });

  it("says that a role was denied, and not that the object is not there", async () => {
    refuse = ({ body }) =>
      body.includes("AssumeRole")
        ? { status: 403, body: "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>" }
        : undefined;
    const credentials = { roleArn: "arn:aws:iam::1:role/oadp", webIdentityTokenFile: join(folder, "token") };
    const store = await openS3ObjectStore({ bucket: "bucket", endpoint: cloud.url, region: "eu-west-1", credentials, stsEndpoint: cloud.url });
    await expect(store.get("x")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    await store.close();
  });
});

describe("Azure", () => {
  async function getAs(credential: AzureCredential, changes: Partial<AzureOptions> = {}): Promise<TokenRequest | undefined> {
    const store = await openAzureObjectStore({
      ...{ container: "container", storageAccount: "account", endpoint: secureCloud.url, authorityHost: secureCloud.url, caCert: certificate, credential },
      ...changes,
    });
    await expect(store.get("the-object")).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await store.close();
    return requestOf(secureCloud, "/the-object");
  }

  it("exchanges the pod's token for one of the workload's identity", async () => {
    const identity = { kind: "workloadIdentity", tenantId: "tenant", clientId: "client", tokenFile: join(folder, "token") } as const;
    expect((await getAs({ kind: "identity", identity }))?.headers.authorization).toBe("Bearer the-token");
    const asked = secureCloud.requests.find(({ method, url }) => method === "POST" && url.startsWith("/tenant/oauth2/v2.0/token"));
    expect(asked?.body).toContain("client_assertion=token-of-the-pod");
    expect(asked?.body).toContain("client_id=client");
  });

  it("gives a service principal's secret", async () => {
    const identity = { kind: "clientSecret", tenantId: "tenant", clientId: "client", clientSecret: "hush" } as const;
    expect((await getAs({ kind: "identity", identity }))?.headers.authorization).toBe("Bearer the-token");
    expect(requestOf(secureCloud, "client_credentials")?.body).toContain("client_secret=hush");
  });

  it("asks the machine's metadata service", async () => {
    vi.stubEnv("AZURE_POD_IDENTITY_AUTHORITY_HOST", cloud.url);
    expect((await getAs({ kind: "identity", identity: { kind: "managedIdentity", clientId: "assigned" } }))?.headers.authorization).toBe("Bearer the-token");
    const asked = requestOf(cloud, "/metadata/identity/oauth2/token");
    expect(asked?.headers["metadata"]).toBe("true");
    expect(asked?.url).toContain("client_id=assigned");
  });

  it("asks the resource manager for the account's key where tokens are not to be used", async () => {
    const identity = { kind: "clientSecret", tenantId: "tenant", clientId: "client", clientSecret: "hush" } as const;
    const credential = { kind: "keyOfAccount", identity, subscriptionId: "sub", resourceGroup: "group" } as const;
    const request = await getAs(credential, { managementEndpoint: secureCloud.url });
    expect(request?.headers.authorization).toMatch(/^SharedKey account:/);
    expect(requestOf(secureCloud, "listKeys")?.url).toContain(
      "/subscriptions/sub/resourceGroups/group/providers/Microsoft.Storage/storageAccounts/account/listKeys",
    );
  });

  it("says that an identity was refused", async () => {
    refuse = ({ method, url }) =>
      method === "POST" && url.includes("/token")
        ? { status: 401, body: JSON.stringify({ error: "invalid_client", error_description: "AADSTS7000215: wrong" }) }
        : undefined;
    const identity = { kind: "clientSecret", tenantId: "tenant", clientId: "client", clientSecret: "hush" } as const;
    const store = await openAzureObjectStore({
      ...{ container: "container", storageAccount: "account", endpoint: secureCloud.url, authorityHost: secureCloud.url, caCert: certificate },
      credential: { kind: "identity", identity },
    });
    const error: unknown = await store.get("x").catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    expect(String(error)).not.toContain("hush");
    await store.close();
  });
});

describe("Google", () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const keyFile = JSON.stringify({
    type: "service_account",
    client_email: "mover@project.example",
    private_key: privateKey,
    private_key_id: "1",
    token_uri: "https://unused.invalid",
  });

  async function getAs(options: Partial<GcsOptions> & Pick<GcsOptions, "credential">): Promise<TokenRequest | undefined> {
    const store = await openGcsObjectStore({ bucket: "bucket", endpoint: cloud.url, ...options });
    await expect(store.get("the-object")).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await store.close();
    return requestOf(cloud, "/the-object");
  }

  it("has a service account's key sign a token for each request", async () => {
    const request = await getAs({ credential: { kind: "json", text: keyFile } });
    const [header = "", claims = "", signature = ""] = String(request?.headers.authorization).replace("Bearer ", "").split(".");
    expect(verify("sha256", Buffer.from(`${header}.${claims}`), createPublicKey(publicKey), Buffer.from(signature, "base64url"))).toBe(true);
    expect(JSON.parse(Buffer.from(claims, "base64url").toString())).toMatchObject({
      iss: "mover@project.example",
      scope: expect.stringContaining("devstorage"),
    });
  });

  it("exchanges the pod's token at the token service, and that for the account's (workload identity federation)", async () => {
    const external = {
      ...{ type: "external_account", audience: "//iam/pool", subject_token_type: "urn:ietf:params:oauth:token-type:jwt", token_url: `${cloud.url}/v1/token` },
      credential_source: { file: join(folder, "token") },
      service_account_impersonation_url: `${cloud.url}/v1/projects/-/serviceAccounts/mover@project.example:generateAccessToken`,
    };
    expect((await getAs({ credential: { kind: "json", text: JSON.stringify(external) } }))?.headers.authorization).toBe("Bearer the-token");
    expect(requestOf(cloud, "/v1/token")?.body).toContain("subject_token=token-of-the-pod");
    expect(requestOf(cloud, ":generateAccessToken")).toBeDefined();
  });

  it("asks the metadata server of the node (workload identity of GKE), and has IAM sign addresses for the account that the location names", async () => {
    vi.stubEnv("GCE_METADATA_HOST", cloud.url.replace("http://", ""));
    vi.stubEnv("METADATA_SERVER_DETECTION", "assume-present");
    vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", "");
    vi.stubEnv("HOME", folder);
    expect((await getAs({ credential: { kind: "default" } }))?.headers.authorization).toBe("Bearer the-token");
    const options = {
      bucket: "bucket",
      endpoint: cloud.url,
      iamEndpoint: cloud.url,
      serviceAccount: "signer@project.example",
      clock: new VirtualClock(),
    } as const;
    const store = await openGcsObjectStore({ ...options, credential: { kind: "default" } });
    const url = new URL(await store.signedUrl("a b", 600_000));
    await store.close();
    expect(url.pathname).toBe("/bucket/a%20b");
    expect(url.searchParams.get("X-Goog-Credential")).toContain("signer@project.example/");
    expect(url.searchParams.get("X-Goog-Expires")).toBe("600");
    expect(url.searchParams.get("X-Goog-Signature")).toBe(Buffer.from("signed by IAM").toString("hex"));
    expect(requestOf(cloud, ":signBlob")?.url).toContain("signer%40project.example");
  });

  it("says that a token was refused, and that a clock is wrong", async () => {
    const external = JSON.stringify({
      ...{ type: "external_account", audience: "//iam/pool", subject_token_type: "urn:ietf:params:oauth:token-type:jwt", token_url: `${cloud.url}/v1/token` },
      credential_source: { file: join(folder, "token") },
    });
    const failing = async (description: string): Promise<unknown> => {
      refuse = ({ url }) =>
        url.includes("/v1/token") ? { status: 400, body: JSON.stringify({ error: "invalid_grant", error_description: description }) } : undefined;
      const store = await openGcsObjectStore({ bucket: "bucket", endpoint: cloud.url, credential: { kind: "json", text: external } });
      const error: unknown = await store.get("x").catch((thrown: unknown) => thrown);
      await store.close();
      return error;
    };
    expect(await failing("The pool is disabled.")).toMatchObject({ code: "BLOB_ACCESS_DENIED", hint: expect.stringContaining("credentials file") });
  });
});
