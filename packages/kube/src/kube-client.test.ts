import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { configMaps, namespaces, pods } from "./core.ts";
import { createDiscovery } from "./discovery.ts";
import { type ConnectedClient, createKubeClient } from "./kube-client.ts";
import { listPages } from "./list-all.ts";
import type { WatchEvent } from "./types.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

const KEY = { namespace: "ns", name: "a" };
const ended: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0)) await end();
});

/** A server that gives these answers in turn (the last one for all that follow), and what it was asked. */
async function setUp(
  ...answers: Answer[]
): Promise<{ client: ConnectedClient; asked: { method: string; url: string; body: string }[]; clock: VirtualClock; server: Server }> {
  const asked: { method: string; url: string; body: string }[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const body = Buffer.concat(parts).toString();
      asked.push({ method: request.method ?? "", url: request.url ?? "", body });
      (answers.length > 1 ? answers.shift() : answers[0])?.(request, response, body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const clock = new VirtualClock();
  const { port } = server.address() as AddressInfo;
  const config = {
    "current-context": "x",
    contexts: [{ name: "x", context: { cluster: "x", user: "x" } }],
    clusters: [{ name: "x", cluster: { server: `http://127.0.0.1:${port}` } }],
    users: [{ name: "x", user: { token: "t" } }],
  };
  const client = createKubeClient({ kubeconfig: JSON.stringify(config), clock, random: seededRandom(1), qps: 0 });
  ended.push(async () => {
    await client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { client, asked, clock, server };
}

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_request, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
const refusal = (code: number, reason: string, details: object = { name: "a" }): Answer =>
  json(code, { kind: "Status", status: "Failure", code, reason, message: `said ${reason}`, details });
const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { ...KEY, resourceVersion: "5" } };

/** Lets the virtual clock run while real I/O happens. */
async function driving<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let settled = false;
  const done = work.finally(() => {
    settled = true;
  });
  done.catch(() => undefined);
  while (!settled) await clock.advance(100);
  return done;
}

describe("the HTTP client", () => {
  it.each([
    [404, "NotFound", "KUBE_NOT_FOUND"],
    [409, "AlreadyExists", "KUBE_ALREADY_EXISTS"],
    [409, "Conflict", "KUBE_CONFLICT"],
    [410, "Expired", "KUBE_GONE"],
    [422, "Invalid", "KUBE_INVALID"],
    [400, "BadRequest", "KUBE_BAD_REQUEST"],
    [415, "UnsupportedMediaType", "KUBE_BAD_REQUEST"],
    [403, "Forbidden", "KUBE_FORBIDDEN"],
    [403, "", "KUBE_FORBIDDEN"],
    [418, "Teapot", "KUBE_BAD_REQUEST"],
  ])("translates %i %s into %s, with the server's words", async (status, reason, code) => {
    const { client } = await setUp(refusal(status, reason));
    const replacing = client.replace(configMaps, object);
    await expect(replacing).rejects.toMatchObject({ code, message: `Cannot replace configmaps "ns/a": said ${reason}` });
  });

  it("asks again after passing trouble when it only reads", async () => {
    const { client, asked, clock } = await setUp(refusal(500, "InternalError"), refusal(503, "ServiceUnavailable"), json(200, object));
    expect(await driving(clock, client.get(configMaps, KEY))).toEqual(object);
    expect(asked).toHaveLength(3);
  });

  it("does not repeat a write that the server may have seen", async () => {
    const { client, asked, clock } = await setUp((request) => request.socket.destroy());
    await expect(driving(clock, client.create(configMaps, { metadata: KEY }))).rejects.toMatchObject({ code: "KUBE_UNAVAILABLE" });
    expect(asked).toHaveLength(1);
  });

  it("repeats a write that the server refused to look at, after the time it asked for", async () => {
    const { client, asked, clock } = await setUp(json(429, { kind: "Status", reason: "TooManyRequests" }, { "retry-after": "2" }), json(201, object));
    const startedMs = clock.nowMs();
    await driving(clock, client.create(configMaps, { metadata: KEY }));
    expect(asked).toHaveLength(2);
    expect(clock.nowMs() - startedMs).toBeGreaterThanOrEqual(2_000);
  });

  it("gives up when nobody answers, naming what it wanted", async () => {
    const { client, clock, server } = await setUp(json(200, {}));
    await new Promise((resolve) => server.close(resolve));
    await expect(driving(clock, client.get(configMaps, KEY))).rejects.toMatchObject({
      code: "KUBE_UNAVAILABLE",
      message: expect.stringContaining('Cannot get configmaps "ns/a": no answer from the API server'),
      hint: expect.any(String),
    });
  });

  it("tells an object that is not there from a kind that is not served", async () => {
    const { client } = await setUp(refusal(404, "NotFound"), refusal(404, "NotFound", {}));
    expect(await client.find(configMaps, KEY)).toBeUndefined();
    await expect(client.find(configMaps, KEY)).rejects.toMatchObject({ code: "KUBE_NOT_FOUND" });
  });

  it("keeps names as they are, whatever their letters", async () => {
    const { client, asked } = await setUp(json(200, object));
    await client.get(
      { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles", kind: "ClusterRole", namespaced: false },
      { name: "MyRole:Admin" },
    );
    expect(asked[0]?.url).toBe("/apis/rbac.authorization.k8s.io/v1/clusterroles/MyRole%3AAdmin");
  });

  it("keeps fields it does not know", async () => {
    const { client, asked } = await setUp(json(200, { ...object, future: { a: [1] } }));
    const read = await client.get(configMaps, KEY);
    await client.replace(configMaps, read);
    expect(JSON.parse(asked[1]?.body ?? "")).toEqual({ ...object, future: { a: [1] } });
  });

  it("says each kind of patch by its content type", async () => {
    const types: (string | undefined)[] = [];
    const { client, asked } = await setUp((request, response) => {
      types.push(request.headers["content-type"]);
      response.end(JSON.stringify(object));
    });
    for (const type of ["json", "merge", "strategic"] as const) await client.patch(configMaps, KEY, type, {});
    await client.apply(configMaps, object, { fieldManager: "dray", force: true });
    expect(types).toEqual([
      "application/json-patch+json",
      "application/merge-patch+json",
      "application/strategic-merge-patch+json",
      "application/apply-patch+yaml",
    ]);
    expect(asked[3]?.url).toBe("/api/v1/namespaces/ns/configmaps/a?fieldManager=dray&force=true");
  });

  it("stops with the signal's reason, in the middle of an answer too", async () => {
    const ending = new AbortController();
    const reason = new Error("enough");
    const { client } = await setUp((_request, response) => {
      response.write('{"metadata":');
      setImmediate(() => ending.abort(reason));
    });
    await expect(client.get(configMaps, KEY, ending.signal)).rejects.toBe(reason);
  });

  it("watches with bookmarks, and ends on an ERROR event by its code", async () => {
    const lines = [
      { type: "ADDED", object },
      { type: "BOOKMARK", object: { metadata: { resourceVersion: "9" } } },
      { type: "MODIFIED", object: { ...object, data: { text: "\u2028 is not a line's end" } } },
      { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired", message: "too old" } },
    ];
    const { client, asked } = await setUp((_request, response) => response.end(lines.map((line) => `${JSON.stringify(line)}\n`).join("")));
    const seen: WatchEvent<unknown>[] = [];
    const watching = (async () => {
      for await (const event of client.watch(configMaps, { resourceVersion: "4", timeoutSeconds: 60 })) seen.push(event);
    })();
    await expect(watching).rejects.toMatchObject({ code: "KUBE_GONE" });
    expect(seen.map(({ type }) => type)).toEqual(["ADDED", "BOOKMARK", "MODIFIED"]);
    expect(seen[1]).toEqual({ type: "BOOKMARK", resourceVersion: "9" });
    expect(asked[0]?.url).toBe("/api/v1/configmaps?watch=true&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=4");
  });

  it("lists page by page, and goes on from now when the listing expires in the middle", async () => {
    const item = (uid: string) => ({ metadata: { name: uid, uid } });
    const { client, asked } = await setUp(
      json(200, { metadata: { continue: "next" }, items: [item("a"), item("b")] }),
      refusal(410, "Expired"),
      json(200, { metadata: {}, items: [item("b"), item("c")] }),
    );
    const names: (string | undefined)[] = [];
    for await (const { metadata } of client.listAll(namespaces)) names.push(metadata.name);
    expect(names).toEqual(["a", "b", "c"]);
    expect(asked.map(({ url }) => url)).toEqual(["/api/v1/namespaces?limit=500", "/api/v1/namespaces?limit=500&continue=next", "/api/v1/namespaces"]);
  });

  it("asks for pages of the size that is wanted, the same for each", async () => {
    const item = (uid: string) => ({ metadata: { name: uid, uid } });
    const { client, asked } = await setUp(json(200, { metadata: { continue: "next" }, items: [item("a")] }), json(200, { metadata: {}, items: [item("b")] }));
    const pages: number[] = [];
    for await (const page of listPages(client, namespaces, {}, 100)) pages.push(page.length);
    expect(pages).toEqual([1, 1]);
    expect(asked.map(({ url }) => url)).toEqual(["/api/v1/namespaces?limit=100", "/api/v1/namespaces?limit=100&continue=next"]);
  });

  it("reads an answer whose parts end within a character", async () => {
    const text = "grüße 名前 😀 ".repeat(50);
    const { client } = await setUp((_request, response) => {
      const bytes = Buffer.from(JSON.stringify({ ...object, data: { text } }));
      response.writeHead(200, { "content-type": "application/json" });
      // Each part as a turn of its own, so that the parts stay parts on the way.
      const send = (at: number): void => {
        if (at >= bytes.length) response.end();
        else response.write(bytes.subarray(at, at + 7), () => setImmediate(send, at + 7));
      };
      send(0);
    });
    expect((await client.get(configMaps, KEY)).data?.["text"]).toBe(text);
  });
});

describe("podExec()", () => {
  async function exec(serve: (send: (channel: number, text: string) => void, received: Buffer[], close: () => void) => void) {
    const { client, server } = await setUp(json(200, {}));
    const sockets = new WebSocketServer({ server, handleProtocols: (offered) => (offered.has("v5.channel.k8s.io") ? "v5.channel.k8s.io" : false) });
    const urls: string[] = [];
    sockets.on("connection", (socket, request) => {
      urls.push(request.url ?? "");
      const received: Buffer[] = [];
      const act = (): void =>
        serve(
          (channel, text) => socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(text)])),
          received,
          () => socket.close(),
        );
      socket.on("message", (data: Buffer) => {
        received.push(data);
        act();
      });
      act();
    });
    return { client, urls };
  }

  it("returns output, errors and the exit code of the status channel", async () => {
    const { client, urls } = await exec((send, _received, close) => {
      send(1, "out");
      send(2, "err");
      send(3, JSON.stringify({ kind: "Status", status: "Failure", reason: "NonZeroExitCode", details: { causes: [{ reason: "ExitCode", message: "7" }] } }));
      close();
    });
    expect(await client.podExec(KEY, { command: ["sh", "-c", "a b"], container: "c" })).toEqual({ exitCode: 7, stdout: "out", stderr: "err" });
    expect(urls).toEqual(["/api/v1/namespaces/ns/pods/a/exec?command=sh&command=-c&command=a+b&container=c&stdout=true&stderr=true"]);
  });

  it.each([
    ["a status without its kind, as kubelets send it", '{"metadata":{},"status":"Success"}', 0],
    [
      "a failure without its kind",
      '{"metadata":{},"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
      3,
    ],
  ])("takes the exit code from %s", async (_, status, exitCode) => {
    const { client } = await exec((send, _received, close) => {
      send(3, status);
      close();
    });
    expect(await client.podExec(KEY, { command: ["true"] })).toMatchObject({ exitCode });
  });

  it.each([
    ["text", "command terminated", "KUBE_UNAVAILABLE", "command terminated"],
    ["a refusal", '{"status":"Failure","message":"no such container","reason":"NotFound","code":404}', "KUBE_NOT_FOUND", "no such container"],
    ["another document", '{"level":"error"}', "KUBE_UNAVAILABLE", "level"],
  ])("is an error when the status is %s", async (_, status, code, said) => {
    const { client } = await exec((send, _received, close) => {
      send(3, status);
      close();
    });
    await expect(client.podExec(KEY, { command: ["true"] })).rejects.toMatchObject({ code, message: expect.stringContaining(said) });
  });

  it("sends stdin and says where it ends", async () => {
    const { client } = await exec((send, received, close) => {
      if (received.length < 2) return;
      send(1, received.map((data) => [...data].join(",")).join(";"));
      send(3, '{"kind":"Status","status":"Success"}');
      close();
    });
    expect(await client.podExec(KEY, { command: ["cat"], stdin: Buffer.from("hi") })).toMatchObject({ exitCode: 0, stdout: "0,104,105;255,0" });
  });

  it("keeps no more output than asked", async () => {
    const { client } = await exec((send, _received, close) => {
      send(1, "x".repeat(100));
      send(3, '{"kind":"Status","status":"Success"}');
      close();
    });
    expect((await client.podExec(KEY, { command: ["yes"], outputLimitBytes: 10 })).stdout).toHaveLength(10);
  });

  it("is an error when the connection ends without an exit code", async () => {
    const { client } = await exec((_send, _received, close) => close());
    await expect(client.podExec(KEY, { command: ["x"] })).rejects.toMatchObject({
      code: "KUBE_UNAVAILABLE",
      message: expect.stringContaining("before the exit code came"),
    });
  });

  it("is an error when the container is not there", async () => {
    const { client, server } = await setUp(json(200, {}));
    server.on("upgrade", (_request, socket) => {
      const body = JSON.stringify({ kind: "Status", code: 404, reason: "NotFound", message: 'pods "a" not found', details: { name: "a" } });
      socket.end(`HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    });
    await expect(client.podExec(KEY, { command: ["x"] })).rejects.toMatchObject({ code: "KUBE_NOT_FOUND" });
  });

  it("is ended when it takes longer than it may", async () => {
    const { client, server } = await setUp(json(200, {}));
    const clock = new VirtualClock();
    new WebSocketServer({ server, handleProtocols: () => "v5.channel.k8s.io" });
    const { podExec } = await import("./pod-exec.ts");
    const { Transport } = await import("./transport.ts");
    const transport = new Transport({
      connection: client.connection,
      clock,
      random: seededRandom(1),
      logger: (await import("@drayage/base")).nullLogger,
      userAgent: "t",
      qps: 0,
      burst: 1,
    });
    const running = podExec(transport, clock, KEY, { command: ["sleep"], timeoutMs: 1_000 });
    const outcome = expect(running).rejects.toMatchObject({ code: "TIMED_OUT" });
    await driving(
      clock,
      running.catch(() => undefined),
    );
    await outcome;
  });
});

describe("discovery", () => {
  const aggregated = (groups: object[]) => json(200, { kind: "APIGroupDiscoveryList", items: groups });
  const core = aggregated([
    {
      metadata: {},
      versions: [
        {
          version: "v1",
          resources: [
            {
              resource: "pods",
              responseKind: { kind: "Pod" },
              scope: "Namespaced",
              singularResource: "pod",
              verbs: ["get"],
              shortNames: ["po"],
              subresources: [{ subresource: "status" }],
            },
          ],
        },
      ],
    },
  ]);
  const groups = aggregated([
    {
      metadata: { name: "example.com" },
      versions: ["v2", "v1"].map((version) => ({
        version,
        resources: [{ resource: "things", responseKind: { kind: "Thing" }, scope: "Cluster", verbs: ["list"] }],
      })),
    },
  ]);

  it("finds resources by any of their names, the preferred version first", async () => {
    const { client, asked } = await setUp(core, groups);
    const discovery = createDiscovery(client);
    expect(await discovery.find("po")).toMatchObject({ plural: "pods", kind: "Pod", namespaced: true, group: "", version: "v1" });
    expect(await discovery.find("things.example.com")).toMatchObject({ version: "v2", preferred: true, namespaced: false });
    expect(await discovery.find("things.v1.example.com")).toMatchObject({ version: "v1", preferred: false });
    expect(await discovery.find("Thing")).toMatchObject({ version: "v2" });
    expect(await discovery.find("nothing")).toBeUndefined();
    expect(await discovery.forKind("example.com/v1", "Thing")).toMatchObject({ version: "v1" });
    expect(asked).toHaveLength(2);
    expect(await discovery.unavailable()).toEqual([]);
    discovery.invalidate();
    expect((await discovery.all()).length).toBeGreaterThan(0);
  });

  it("says which aggregated API does not answer", async () => {
    const stale = aggregated([{ metadata: { name: "metrics.k8s.io" }, versions: [{ version: "v1beta1", freshness: "Stale", resources: [] }] }]);
    const { client } = await setUp(core, stale);
    expect(await createDiscovery(client).unavailable()).toEqual(["metrics.k8s.io/v1beta1"]);
  });

  it("asks group by group where the server has no aggregated lists, leaving subresources and dead groups out", async () => {
    const { client, clock } = await setUp((request, response) => {
      const answers: Record<string, unknown> = {
        "/api": { kind: "APIVersions", versions: ["v1"] },
        "/apis": {
          kind: "APIGroupList",
          groups: ["apps", "gone.example.com", "down.example.com"].map((name) => ({
            name,
            versions: [{ version: "v1" }],
            preferredVersion: { version: "v1" },
          })),
        },
        "/api/v1": {
          resources: [
            { name: "pods", kind: "Pod", namespaced: true, verbs: ["get"] },
            { name: "pods/status", kind: "Pod", namespaced: true, verbs: ["get"] },
          ],
        },
        "/apis/apps/v1": {
          resources: [{ name: "deployments", singularName: "deployment", kind: "Deployment", namespaced: true, verbs: ["get"], shortNames: ["deploy"] }],
        },
      };
      if (request.url?.startsWith("/apis/down") === true) {
        response.writeHead(503).end("service unavailable");
        return;
      }
      const answer = answers[request.url ?? ""];
      response.writeHead(answer === undefined ? 404 : 200).end(JSON.stringify(answer ?? { kind: "Status", code: 404, reason: "NotFound" }));
    });
    const discovery = createDiscovery(client);
    const resources = await driving(clock, discovery.all());
    expect(await discovery.unavailable()).toEqual(["down.example.com/v1"]);
    expect(resources.map(({ group, plural }) => `${plural}.${group}`)).toEqual(["pods.", "deployments.apps"]);
  });
});

describe("podLog()", () => {
  it("streams bytes as they come", async () => {
    const { client, asked } = await setUp((_request, response) => {
      response.write("one\n");
      response.end("two\n");
    });
    const parts: Uint8Array[] = [];
    for await (const part of client.podLog(KEY, { container: "c", tailLines: 5 })) parts.push(part);
    expect(Buffer.concat(parts).toString()).toBe("one\ntwo\n");
    expect(asked[0]?.url).toBe("/api/v1/namespaces/ns/pods/a/log?container=c&tailLines=5");
    expect(pods.plural).toBe("pods");
  });
});
