/**
 * What is asked of Azure and of Google when blobs are locked, and what becomes of a refusal: neither emulator knows locks. The names are those of the services' published interfaces
 * (Azure: Put Blob and Set Blob Immutability Policy; Google: `retention` of an object). S3's locks are tried on a real server.
 */
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { utf8 } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openAzureStorage } from "./azure/index.ts";
import { openGcsStorage } from "./gcs/index.ts";
import type { BlobStorage } from "./storage.ts";

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

const UNTIL_MS = Date.UTC(2031, 4, 6, 7, 8, 9);
const retention = { mode: "GOVERNANCE", untilMs: UNTIL_MS } as const;
let server: Server;
let seen: Seen[];
let answer: (request: Seen) => Answer;
let endpoint: string;
let storage: BlobStorage | undefined;

beforeEach(async () => {
  seen = [];
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const { pathname, search } = new URL(request.url ?? "/", "http://store");
      const one = { method: request.method ?? "", path: pathname, query: search, headers: request.headers, body: Buffer.concat(parts).toString("latin1") };
      seen.push(one);
      const { status, headers = {}, body = "" } = answer(one);
      response.writeHead(status, headers).end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  await storage?.close();
  storage = undefined;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** The requests about the blob, without what opening the storage asks. */
const about = (id: string): Seen[] =>
  seen.filter(({ path, body, method }) => method !== "GET" && method !== "HEAD" && (path.includes(id) || body.includes(id)));

describe("locks of Azure", () => {
  const open = async (objectLock?: boolean): Promise<BlobStorage> => {
    storage = await openAzureStorage({
      container: "container",
      storageAccount: "account",
      credential: { kind: "key", key: Buffer.from("nobody's key").toString("base64") },
      endpoint: `${endpoint}/account`,
      ...(objectLock === undefined ? {} : { objectLock }),
    });
    return storage;
  };
  const refused = (status: number, code: string): Answer => ({
    status,
    headers: { "content-type": "application/xml", "x-ms-error-code": code },
    body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>said so</Message></Error>`,
  });

  it("come with the blob, and are extended by a policy of their own", async () => {
    const changed = { etag: '"1"', "last-modified": new Date(0).toUTCString() };
    answer = ({ method, query }) => ({ status: method === "PUT" && query === "" ? 201 : 200, headers: changed });
    const opened = await open();
    await opened.put("p1", utf8("kept"), { retention });
    await opened.extendRetention("p1", { ...retention, untilMs: UNTIL_MS + 3_600_000 });
    const [put, extended] = about("p1");
    expect(put).toMatchObject({ method: "PUT", path: "/account/container/p1", body: "kept" });
    expect(put?.headers).toMatchObject({ "x-ms-immutability-policy-mode": "Locked", "x-ms-immutability-policy-until-date": "Tue, 06 May 2031 07:08:09 GMT" });
    expect(extended).toMatchObject({ method: "PUT", query: expect.stringContaining("comp=immutabilityPolicies") });
    expect(extended?.headers).toMatchObject({
      "x-ms-immutability-policy-mode": "Locked",
      "x-ms-immutability-policy-until-date": "Tue, 06 May 2031 08:08:09 GMT",
    });
  });

  it("are refused by name where blobs are not there, are locked, or the container knows none", async () => {
    answer = ({ method }) =>
      method === "PUT" ? refused(404, "BlobNotFound") : method === "DELETE" ? refused(409, "BlobImmutableDueToPolicy") : { status: 200 };
    const opened = await open();
    await expect(opened.extendRetention("p1", retention)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await expect(opened.delete("p1")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    await opened.close();
    await expect((await open(false)).put("p1", utf8("x"), { retention })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
  });
});

describe("locks of Google", () => {
  const open = async (objectLock?: boolean): Promise<BlobStorage> => {
    storage = await openGcsStorage({ bucket: "bucket", credential: { kind: "anonymous" }, endpoint, ...(objectLock === undefined ? {} : { objectLock }) });
    return storage;
  };
  const json = (status: number, body: object): Answer => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const refused = (status: number, reason: string): Answer => json(status, { error: { code: status, message: "said so", errors: [{ reason }] } });

  it("come with the object, and are extended by a patch of it", async () => {
    answer = () => json(200, { name: "p1" });
    const opened = await open();
    await opened.put("p1", utf8("kept"), { retention });
    await opened.extendRetention("p1", { ...retention, untilMs: UNTIL_MS + 3_600_000 });
    const [put, extended] = about("p1");
    expect(put).toMatchObject({ method: "POST", path: "/upload/storage/v1/b/bucket/o" });
    expect(put?.body).toContain('"retention":{"mode":"Locked","retainUntilTime":"2031-05-06T07:08:09.000Z"}');
    expect(put?.body).toContain("kept");
    expect(extended).toMatchObject({ method: "PATCH", path: "/storage/v1/b/bucket/o/p1" });
    expect(JSON.parse(extended?.body ?? "")).toEqual({ retention: { mode: "Locked", retainUntilTime: "2031-05-06T08:08:09.000Z" } });
  });

  it("are refused by name where objects are not there, are locked, or the bucket knows none", async () => {
    answer = ({ method }) => {
      if (method === "PATCH") return refused(404, "notFound");
      return method === "DELETE" ? refused(403, "retentionPolicyNotMet") : refused(400, "objectRetentionDisabled");
    };
    const opened = await open();
    await expect(opened.extendRetention("p1", retention)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await expect(opened.delete("p1")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    await expect(opened.put("p1", utf8("x"), { retention })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    await opened.close();
    await expect((await open(false)).extendRetention("p1", retention)).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
  });
});
