import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { at, type JsonObject } from "../json.ts";
import { startTestServer, type TestServer } from "../testing/test-server.ts";

const PODS = "/api/v1/namespaces/default/pods";
const pod = (name: string, spec: JsonObject = {}): JsonObject => ({
  metadata: { name, labels: { app: "web" } },
  spec: { containers: [{ name: "main", image: "x" }], ...spec },
});

let it_: TestServer;

beforeEach(async () => {
  it_ = await startTestServer();
});

afterEach(() => it_[Symbol.asyncDispose]());

describe("a pod on a node", () => {
  let node: Server;
  let asked: string[];

  beforeEach(async () => {
    asked = [];
    const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] ?? false });
    node = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers.authorization === `Bearer ${it_.server.kubeletToken}`}`);
      if (request.url?.includes("gone") === true) response.writeHead(400).end('container "main" is waiting to start');
      else {
        response.write("first\n");
        setImmediate(() => response.end("second\n"));
      }
    });
    node.on("upgrade", (request, socket, head) => {
      asked.push(`${request.url} ${request.headers.authorization === `Bearer ${it_.server.kubeletToken}`}`);
      if (request.url?.includes("gone") === true) {
        socket.end("HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\nConnection: close\r\n\r\ncontainer not found");
        return;
      }
      sockets.handleUpgrade(request, socket, head, (opened) => opened.on("message", (data: Buffer) => opened.send(data)));
    });
    await new Promise<void>((resolve) => node.listen(0, "127.0.0.1", resolve));
    const { port } = node.address() as AddressInfo;
    await it_.post("/api/v1/nodes", {
      metadata: { name: "n" },
      status: { addresses: [{ type: "InternalIP", address: "127.0.0.1" }], daemonEndpoints: { kubeletEndpoint: { Port: port } } },
    });
    await it_.post(PODS, pod("web", { nodeName: "n" }));
    await it_.post(PODS, pod("gone", { nodeName: "n" }));
  });

  afterEach(() => {
    node.closeAllConnections();
    node.close();
  });

  it("has its log read from there, with the query as it came", async () => {
    const log = await it_.call("GET", `${PODS}/web/log?tailLines=5&container=main&follow=true`);
    expect([log.code, log.text, log.headers["content-type"]]).toEqual([200, "first\nsecond\n", "text/plain"]);
    expect(asked).toEqual(["/containerLogs/default/web/main?tailLines=5&follow=true true"]);
  });

  it("says why there is no log", async () => {
    expect((await it_.call("GET", `${PODS}/gone/log`)).body).toMatchObject({ code: 400, message: 'container "main" is waiting to start' });
    expect((await it_.call("GET", `${PODS}/web/log?container=other`)).body).toMatchObject({ code: 400, message: "container other is not valid for pod web" });
    await it_.post(
      PODS,
      pod("two", {
        nodeName: "n",
        containers: [
          { name: "a", image: "x" },
          { name: "b", image: "x" },
        ],
      }),
    );
    expect((await it_.call("GET", `${PODS}/two/log`)).body["message"]).toBe("a container name must be specified for pod two, choose one of: [a b]");
    node.closeAllConnections();
    await new Promise((resolve) => node.close(resolve));
    expect((await it_.call("GET", `${PODS}/web/log`)).body).toMatchObject({ code: 500, message: expect.stringContaining('error dialing backend: node "n"') });
  });

  const exec = (name: string, token: string): WebSocket =>
    new WebSocket(`${it_.server.url.replace("https", "wss")}${PODS}/${name}/exec?command=a&command=b%20c&stdin=true`, ["v5.channel.k8s.io"], {
      ca: it_.server.caPem,
      headers: { authorization: `Bearer ${token}` },
    });

  it("runs commands over a WebSocket that goes through", async () => {
    const socket = exec("web", it_.server.adminToken);
    const echoed = await new Promise<string>((resolve, reject) => {
      socket.once("error", reject);
      socket.once("open", () => socket.send(Buffer.from("\u0000hello")));
      socket.once("message", (data: Buffer) => resolve(data.toString()));
    });
    expect([echoed, socket.protocol]).toEqual(["\u0000hello", "v5.channel.k8s.io"]);
    expect(asked).toEqual(["/exec/default/web/main?command=a&command=b+c&stdin=true true"]);
    socket.terminate();
  });

  const refusedWith = (socket: WebSocket): Promise<JsonObject> =>
    new Promise((resolve, reject) => {
      socket.once("open", () => reject(new Error("it was let through")));
      socket.once("unexpected-response", (_request, response) => {
        let text = "";
        response.on("data", (part: Buffer) => (text += part.toString())).on("end", () => resolve(JSON.parse(text) as JsonObject));
      });
    });

  it("refuses a command that is not allowed, or that the node refuses, with a Status", async () => {
    expect(await refusedWith(exec("web", it_.server.token("nobody")))).toMatchObject({ code: 403, reason: "Forbidden" });
    expect(await refusedWith(exec("gone", it_.server.adminToken))).toMatchObject({ code: 404, message: "container not found" });
    expect(await refusedWith(exec("absent", it_.server.adminToken))).toMatchObject({ code: 404, message: 'pods "absent" not found' });
    expect((await it_.call("POST", `${PODS}/web/exec?command=x`)).body["message"]).toBe("Upgrade request required");
  });
});

describe("other subresources", () => {
  it("a pod is bound once", async () => {
    await it_.post(PODS, pod("web"));
    const binding = { target: { kind: "Node", name: "n1" } };
    await it_.post(`${PODS}/web/binding`, binding);
    const bound = await it_.get(`${PODS}/web`);
    expect([at(bound, "spec", "nodeName"), at(bound, "status", "conditions", 0, "type"), at(bound, "metadata", "generation")]).toEqual([
      "n1",
      "PodScheduled",
      1,
    ]);
    expect((await it_.call("POST", `${PODS}/web/binding`, binding)).body).toMatchObject({
      code: 409,
      message: expect.stringContaining('already assigned to node "n1"'),
    });
  });

  it("an eviction heeds disruption budgets", async () => {
    await it_.post(PODS, pod("web"));
    await it_.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", {
      metadata: { name: "b" },
      spec: { minAvailable: 1, selector: { matchLabels: { app: "web" } } },
    });
    const evict = (): ReturnType<TestServer["call"]> =>
      it_.call("POST", `${PODS}/web/eviction`, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "web" } });
    expect((await evict()).body).toMatchObject({ code: 429, details: { causes: [{ reason: "DisruptionBudget" }] } });
    await it_.merge("/apis/policy/v1/namespaces/default/poddisruptionbudgets/b/status", { status: { disruptionsAllowed: 1 } });
    expect((await evict()).code).toBe(201);
    expect((await it_.call("GET", `${PODS}/web`)).code).toBe(404);
  });

  it("a pod that runs keeps its place until its node has finished it", async () => {
    await it_.post(PODS, pod("web", { nodeName: "n", terminationGracePeriodSeconds: 7 }));
    await it_.merge(`${PODS}/web/status`, { status: { phase: "Running" } });
    const deleted = await it_.delete(`${PODS}/web`);
    expect(at(deleted, "metadata", "deletionGracePeriodSeconds")).toBe(7);
    const hurried = await it_.delete(`${PODS}/web`, { gracePeriodSeconds: 2 });
    expect(at(hurried, "metadata", "deletionGracePeriodSeconds")).toBe(2);
    expect(at(await it_.delete(`${PODS}/web`, { gracePeriodSeconds: 9 }), "metadata", "deletionGracePeriodSeconds")).toBe(2);
    await it_.delete(`${PODS}/web`, { gracePeriodSeconds: 0 });
    expect((await it_.call("GET", `${PODS}/web`)).code).toBe(404);
  });

  it("answers 404 for a subresource a kind does not have, and 405 for a verb", async () => {
    await it_.post(PODS, pod("web"));
    expect((await it_.call("GET", `${PODS}/web/scale`)).code).toBe(404);
    expect((await it_.call("DELETE", `${PODS}/web/status`)).code).toBe(405);
    expect((await it_.call("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")).code).toBe(405);
  });
});
