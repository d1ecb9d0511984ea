/** Our Azure side against Microsoft's emulator, over TLS, with each credential that it takes. Tokens come from an endpoint of ours: the emulator looks at what they say and not at who signed them. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "@drayage/base";
import { type AzureOptions, openAzureObjectStore, openAzureStorage, parseConnectionString } from "@drayage/blob/azure";
import { blobStorageContract, objectStoreContract } from "@drayage/blob/contract";
import { startTokenEndpoint, type TokenEndpoint } from "@drayage/blob/testing";
import { Agent, fetch as fetchWith } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AzureConnection } from "../../packages/blob/src/azure/azure-connection.ts";
import { selfSigned } from "../e2e/self-signed.ts";
import { checkLocation, checkResticAt } from "./location-round-trip.ts";
import { freePort, type PeerProcess, startAzurite } from "./peers.ts";

/** The emulator's account, which is the same everywhere. */
const ACCOUNT = "devstoreaccount1";
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

let folder: string;
let azurite: PeerProcess;
let endpoint: string;
let caCert: string;
let containers = 0;
let tokens: TokenEndpoint;
let browser: Agent;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "drayage-azurite-"));
  const { certificate, key } = await selfSigned();
  await writeFile(join(folder, "cert.pem"), certificate);
  await writeFile(join(folder, "key.pem"), key);
  caCert = certificate;
  browser = new Agent({ connect: { ca: certificate } });
  tokens = await startTokenEndpoint({ tls: { certificate, key }, token: storageToken });
  const port = await freePort();
  endpoint = `https://127.0.0.1:${port}/${ACCOUNT}`;
  const tls = ["--cert", join(folder, "cert.pem"), "--key", join(folder, "key.pem"), "--oauth", "basic"];
  const quiet = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"];
  azurite = await startAzurite(["--blobHost", "127.0.0.1", "--blobPort", String(port), ...quiet, ...tls], () => answers(port));
});

afterAll(async () => {
  await azurite?.stop();
  await tokens?.close();
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A token as Entra ID writes it: the emulator reads issuer, audience and times. */
function storageToken(): string {
  const nowS = Math.floor(performance.timeOrigin / 1000);
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = {
    iss: "https://sts.windows.net/tenant/",
    aud: "https://storage.azure.com",
    iat: nowS - 600,
    nbf: nowS - 600,
    exp: nowS + 7200,
    oid: "object",
    tid: "tenant",
  };
  return `${part({ alg: "none", typ: "JWT" })}.${part(claims)}.signature`;
}

async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function newContainer(): Promise<AzureOptions> {
  const container = `container-${++containers}`;
  const options: AzureOptions = { container, storageAccount: ACCOUNT, endpoint, caCert, credential: { kind: "key", key: KEY } };
  const connection = await AzureConnection.open(options);
  await connection.call("Cannot create a container", undefined, ({ client }) => client.create());
  await connection.close();
  return options;
}

blobStorageContract("Azure storage on the emulator", async () => {
  const storage = await openAzureStorage({ ...(await newContainer()), prefix: "velero/kopia/notes/" });
  return { storage, dispose: () => storage.close() };
});

objectStoreContract(
  "Azure object store on the emulator",
  async () => {
    const store = await openAzureObjectStore({ ...(await newContainer()), prefix: "velero/" });
    return { store, dispose: () => store.close() };
  },
  { backslashIsSlash: true, fetch: (url) => fetchWith(url, { dispatcher: browser }) },
);

/** An identity whose tokens come from our endpoint. */
function asIdentity(options: AzureOptions): AzureOptions {
  const identity = { kind: "clientSecret", tenantId: "tenant", clientId: "client", clientSecret: "secret" } as const;
  return { ...options, authorityHost: tokens.url, credential: { kind: "identity", identity } };
}

describe("Azure on the emulator", () => {
  it("is opened with a token of an identity, and signs addresses with a key that the service gives for it", async () => {
    const store = await openAzureObjectStore(asIdentity(await newContainer()));
    await store.put("a/log", utf8("the log"));
    const url = await store.signedUrl("a/log", 60_000);
    expect(url).toContain("skoid=");
    expect(await (await fetchWith(url, { dispatcher: browser })).text()).toBe("the log");
    await store.close();
    const asked = tokens.requests.find(({ body }) => body.includes("client_credentials"));
    expect(asked?.body).toContain(`scope=${encodeURIComponent("https://storage.azure.com/.default")}`);
  });

  it("is opened with a SAS, which signs no other", async () => {
    const options = await newContainer();
    const store = await openAzureObjectStore(options);
    await store.put("a", utf8("x"));
    const token = new URL(await store.signedUrl("a", 60_000)).search;
    await store.close();
    const narrow = await openAzureObjectStore({ ...options, credential: { kind: "sas", token } });
    expect(Buffer.from(await narrow.get("a")).toString()).toBe("x");
    await expect(narrow.put("a", utf8("y"))).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    await expect(narrow.signedUrl("a", 60_000)).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    await narrow.close();
  });

  it("is opened with a connection string", async () => {
    const { container } = await newContainer();
    const parsed = parseConnectionString(`DefaultEndpointsProtocol=https;AccountName=${ACCOUNT};AccountKey=${KEY};BlobEndpoint=${endpoint};`);
    const storage = await openAzureStorage({ ...parsed, container, caCert });
    await storage.put("p1", utf8("x"));
    expect((await storage.head("p1")).length).toBe(1);
    await storage.close();
  });

  it("says what is wrong with a container, a key, an address and a certificate", async () => {
    const options = await newContainer();
    const codeOf = async (changes: Partial<AzureOptions>): Promise<unknown> => {
      const { caCert: certificate, ...rest } = { ...options, ...changes };
      const store = await openAzureObjectStore(changes.caCert === "" ? rest : { ...rest, ...(certificate === undefined ? {} : { caCert: certificate }) });
      try {
        await store.check();
        return "fine";
      } catch (error) {
        return (error as { code?: unknown }).code;
      } finally {
        await store.close();
      }
    };
    expect(await codeOf({})).toBe("fine");
    expect(await codeOf({ container: "not-there" })).toBe("BLOB_BUCKET_NOT_FOUND");
    expect(await codeOf({ credential: { kind: "key", key: Buffer.from("wrong").toString("base64") } })).toBe("BLOB_ACCESS_DENIED");
    expect(await codeOf({ endpoint: `https://127.0.0.1:${await freePort()}/${ACCOUNT}` })).toBe("BLOB_UNAVAILABLE");
    expect(await codeOf({ endpoint: endpoint.replace("127.0.0.1", "nowhere.invalid") })).toBe("BLOB_UNAVAILABLE");
    expect(await codeOf({ caCert: "" })).toBe("BLOB_BAD_CONFIG");
    expect(await codeOf({ caCert: "", insecureSkipTlsVerify: true })).toBe("fine");
  });

  it("refuses a lock where the container has none, and says so", async () => {
    const storage = await openAzureStorage(await newContainer());
    await storage.put("p1", utf8("x"));
    await expect(storage.extendRetention("p1", { mode: "COMPLIANCE", untilMs: Date.UTC(2999, 0, 1) })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    await storage.close();
  });

  it("holds a backup storage location: what lies beside the repository, and a repository", async () => {
    const { container } = await newContainer();
    const config = { storageAccount: ACCOUNT, storageAccountURI: endpoint, storageAccountKeyEnvVar: "AZURE_STORAGE_KEY" };
    const objectStorage = { bucket: container, prefix: "velero", caCert: Buffer.from(caCert).toString("base64") };
    await checkLocation({ name: "azure", provider: "velero.io/azure", fields: { objectStorage, config } }, `AZURE_STORAGE_KEY=${KEY}\n`);
  });

  it("holds a repository of restic", async () => {
    const options = await newContainer();
    await checkResticAt((prefix) => openAzureObjectStore({ ...options, prefix }));
  });
});
