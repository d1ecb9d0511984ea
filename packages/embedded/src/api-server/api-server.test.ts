import { readFileSync, writeFileSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startApiServer } from "./index.ts";
import { at, type JsonObject } from "./json.ts";
import { configMap, startTestServer, type TestServer } from "./testing/test-server.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments";
const versionOf = (object: JsonObject): number => Number(at(object, "metadata", "resourceVersion"));

let it_: TestServer;

beforeEach(async () => {
  it_ = await startTestServer();
});

afterEach(() => it_[Symbol.asyncDispose]());

describe("an API server", () => {
  it("keeps objects, users' tokens, its address and its revisions over a restart", async () => {
    const created = await it_.post(MAPS, configMap("kept", { a: "1" }));
    const token = it_.server.token("alice", ["devs"]);
    const { url } = it_.server;
    await it_.restart();
    expect(it_.server.url).toBe(url);
    expect(await it_.get(`${MAPS}/kept`)).toEqual(created);
    expect(versionOf(await it_.merge(`${MAPS}/kept`, { data: { a: "2" } }))).toBeGreaterThan(versionOf(created));
    const whoAmI = await it_.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, { token });
    expect(whoAmI["status"]).toEqual({ userInfo: { username: "alice", groups: ["devs", "system:authenticated"] } });
  });

  it("loses nothing it has answered when it is killed", async () => {
    await it_.post(MAPS, configMap("kept"));
    // A copy of the file as it stands while the server runs is what a kill would leave.
    const copy = await startTestServer();
    await copy.server.close();
    writeFileSync(join(copy.directory, "state.jsonl"), readFileSync(join(it_.directory, "state.jsonl")));
    await copy.restart();
    expect(versionOf(await copy.get(`${MAPS}/kept`))).toBeGreaterThan(0);
    await copy[Symbol.asyncDispose]();
  });

  it("has its folder for itself", async () => {
    const second = startApiServer({ directory: it_.directory, clock: systemClock, random: systemRandom, logger: nullLogger });
    await expect(second).rejects.toThrow(/process \d+ uses it/);
  });

  it("refuses a port that is taken, and gives the folder back", async () => {
    const other = await startTestServer();
    const options = { directory: other.directory, port: it_.server.port, clock: systemClock, random: systemRandom, logger: nullLogger };
    await other.server.close();
    await expect(startApiServer(options)).rejects.toThrow(/Cannot listen on/);
    await other.restart();
    await other[Symbol.asyncDispose]();
  });

  it("closes while requests are under way, and finishes what it can", async () => {
    const writes = Array.from({ length: 20 }, (_, index) => it_.call("POST", MAPS, configMap(`w${index}`)).catch(() => undefined));
    await it_.server.close();
    const answered = (await Promise.all(writes)).filter((answer) => answer?.code === 201).length;
    await it_.restart();
    const stored = it_.server.storage.list("configmaps", "default").filter((object) => object.metadata.name?.startsWith("w")).length;
    expect(stored).toBeGreaterThanOrEqual(answered);
  });
});

describe("writes", () => {
  it("of a stale object are refused with Conflict", async () => {
    const first = await it_.post(MAPS, configMap("contested"));
    await it_.call("PUT", `${MAPS}/contested`, { ...first, data: { by: "one" } });
    expect((await it_.call("PUT", `${MAPS}/contested`, { ...first, data: { by: "two" } })).body).toMatchObject({ code: 409, reason: "Conflict" });
  });

  it("that change nothing make no new version", async () => {
    const created = await it_.post(MAPS, configMap("same", { a: "1" }));
    expect(versionOf(await it_.merge(`${MAPS}/same`, { data: { a: "1" } }))).toBe(versionOf(created));
    expect(versionOf((await it_.call("PUT", `${MAPS}/same`, created)).body)).toBe(versionOf(created));
  });

  it("in YAML are read, and answered so where that is wanted", async () => {
    const answer = await it_.call("POST", MAPS, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: '1'}\n", {
      contentType: "application/yaml",
      accept: "application/yaml",
    });
    expect([answer.code, answer.headers["content-type"]]).toEqual([201, "application/yaml"]);
    expect(answer.text).toContain("name: y");
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`;
    expect((await it_.call("POST", MAPS, bomb, { contentType: "application/yaml" })).code).toBe(400);
  });

  it("that are too large are refused, and the connection lives on", async () => {
    const answer = await it_.call("POST", MAPS, configMap("big", { a: "x".repeat(4 << 20) }));
    expect(answer.body).toMatchObject({ code: 413, reason: "RequestEntityTooLarge" });
    expect((await it_.call("POST", MAPS, configMap("big", { a: "x".repeat(1 << 20), b: "y" }))).body).toMatchObject({
      code: 422,
      message: expect.stringContaining("Too long: may not be more than 1048576 bytes"),
    });
  });

  it("applied on the server belong to who applied them", async () => {
    const apply = (manager: string, spec: JsonObject, force = false) =>
      it_.call(
        "PATCH",
        `${MAPS}/shared?fieldManager=${manager}${force ? "&force=true" : ""}`,
        { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "shared" }, data: spec },
        { contentType: "application/apply-patch+yaml" },
      );
    expect((await apply("one", { a: "1", b: "1" })).code).toBe(201);
    expect((await apply("two", { b: "1", c: "1" })).body["data"]).toEqual({ a: "1", b: "1", c: "1" });
    const conflict = await apply("two", { b: "2" });
    expect(conflict.body).toMatchObject({ code: 409, details: { causes: [{ reason: "FieldManagerConflict", field: ".data.b" }] } });
    expect((await apply("two", { b: "2" }, true)).body["data"]).toEqual({ a: "1", b: "2" });
    expect((await apply("one", {})).body["data"]).toEqual({ b: "2" });
  });

  it("tried out only leave no trace", async () => {
    const before = it_.server.storage.revision;
    expect((await it_.call("POST", `${MAPS}?dryRun=All`, configMap("dry"))).code).toBe(201);
    await it_.call("DELETE", `${MAPS}/kube-root-ca.crt?dryRun=All`);
    await it_.call("PATCH", `${MAPS}/kube-root-ca.crt?dryRun=All`, { data: { x: "1" } }, { contentType: "application/merge-patch+json" });
    expect(it_.server.storage.revision).toBe(before);
  });

  it("of a spec count generations, of a status or of labels do not", async () => {
    const template = { metadata: { labels: { app: "a" } }, spec: { containers: [{ name: "a", image: "b" }] } };
    await it_.post(DEPLOYMENTS, { metadata: { name: "d" }, spec: { selector: { matchLabels: { app: "a" } }, template } });
    const generation = async (patch: JsonObject, subresource = ""): Promise<unknown> =>
      at(await it_.merge(`${DEPLOYMENTS}/d${subresource}`, patch), "metadata", "generation");
    expect(await generation({ metadata: { labels: { x: "y" } } })).toBe(1);
    expect(await generation({ status: { replicas: 3 } }, "/status")).toBe(1);
    expect(await generation({ spec: { replicas: 3 }, status: { replicas: 9 } })).toBe(2);
    expect(at(await it_.get(`${DEPLOYMENTS}/d`), "status", "replicas")).toBe(3);
    expect(await generation({ spec: { replicas: 5 } }, "/status")).toBe(2);
  });
});

describe("lists", () => {
  beforeEach(async () => {
    for (const name of ["a", "b", "c", "d", "e"]) await it_.post(MAPS, configMap(name, {}, { labels: { page: "yes" } }));
  });

  const names = (list: JsonObject): unknown[] => (list["items"] as JsonObject[]).map((item) => at(item, "metadata", "name"));

  it("come in pages that show one moment, whatever happens between them", async () => {
    const first = await it_.get(`${MAPS}?labelSelector=page&limit=2`);
    expect(names(first)).toEqual(["a", "b"]);
    await it_.delete(`${MAPS}/c`);
    await it_.post(MAPS, configMap("bb", {}, { labels: { page: "yes" } }));
    await it_.merge(`${MAPS}/d`, { metadata: { labels: { page: null } } });
    const second = await it_.get(`${MAPS}?labelSelector=page&limit=2&continue=${String(at(first, "metadata", "continue"))}`);
    expect(names(second)).toEqual(["c", "d"]);
    const third = await it_.get(`${MAPS}?labelSelector=page&limit=2&continue=${String(at(second, "metadata", "continue"))}`);
    expect(names(third)).toEqual(["e"]);
    expect(at(third, "metadata", "continue")).toBeUndefined();
    expect(at(third, "metadata", "resourceVersion")).toBe(at(first, "metadata", "resourceVersion"));
    expect((await it_.call("GET", `${MAPS}?limit=2&continue=nonsense`)).code).toBe(400);
  });

  it("as of a version are exact, or at least as new", async () => {
    const before = String(it_.server.storage.revision);
    await it_.delete(`${MAPS}/a`);
    expect(names(await it_.get(`${MAPS}?labelSelector=page&resourceVersion=${before}&resourceVersionMatch=Exact`))).toEqual(["a", "b", "c", "d", "e"]);
    expect(names(await it_.get(`${MAPS}?labelSelector=page&resourceVersion=${before}&resourceVersionMatch=NotOlderThan`))).toEqual(["b", "c", "d", "e"]);
  });

  it("that are large are packed for clients that can unpack", async () => {
    await it_.post(MAPS, configMap("large", { a: "x".repeat(300_000) }));
    const bytes = await new Promise<Buffer>((resolve, reject) => {
      const headers = { authorization: `Bearer ${it_.server.adminToken}`, "accept-encoding": "gzip" };
      const call = httpsRequest(`${it_.server.url}${MAPS}`, { ca: it_.server.caPem, agent: false, headers }, (response) => {
        expect(response.headers["content-encoding"]).toBe("gzip");
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part)).on("end", () => resolve(Buffer.concat(parts)));
      });
      call.once("error", reject).end();
    });
    expect(bytes.length).toBeLessThan(50_000);
    expect(names(JSON.parse(gunzipSync(bytes).toString("utf8")) as JsonObject)).toContain("large");
  });

  it("of events show the same event in both of its groups", async () => {
    await it_.post("/apis/events.k8s.io/v1/namespaces/default/events", {
      metadata: { name: "e1" },
      regarding: { kind: "Pod", namespace: "default", name: "p" },
      reason: "Tested",
      note: "well",
      type: "Normal",
      eventTime: "2026-01-01T00:00:00.000000Z",
      action: "Test",
      reportingController: "c",
      reportingInstance: "i",
    });
    const core = await it_.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=p,reason=Tested");
    expect((core["items"] as JsonObject[]).map((event) => [event["message"], at(event, "involvedObject", "name")])).toEqual([["well", "p"]]);
  });
});
