import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { at, type JsonObject } from "../json.ts";
import { configMap, startTestServer, type TestServer } from "../testing/test-server.ts";
import { startWebhookServer, type WebhookServer } from "../testing/webhook-server.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

let api: TestServer;
let hook: WebhookServer;

beforeEach(async () => {
  api = await startTestServer();
  hook = await startWebhookServer(["127.0.0.1", "hook.default.svc"]);
});

afterEach(async () => {
  await hook[Symbol.asyncDispose]();
  await api[Symbol.asyncDispose]();
});

const webhook = (more: JsonObject = {}): JsonObject => ({
  name: "maps.example.com",
  clientConfig: { url: `${hook.url}/admit`, caBundle: hook.caBundle },
  rules: [{ operations: ["CREATE", "UPDATE", "DELETE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }],
  admissionReviewVersions: ["v1"],
  sideEffects: "None",
  ...more,
});
const configure = (...webhooks: JsonObject[]): Promise<JsonObject> =>
  api.post(CONFIGURATIONS, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: { name: "test" },
    webhooks,
  });
const refuse = (message: string): void => {
  hook.respond = () => ({ allowed: false, status: { code: 422, reason: "Invalid", message } });
};

describe("a validating webhook", () => {
  it("is shown what a request would lead to, and what it refuses is not stored", async () => {
    await configure(webhook());
    refuse("data.a: is wrong");
    const answer = await api.call("POST", MAPS, configMap("refused", { a: "1" }));
    expect(answer.code).toBe(422);
    expect(answer.body).toMatchObject({ reason: "Invalid", message: 'admission webhook "maps.example.com" denied the request: data.a: is wrong' });
    expect((await api.call("GET", `${MAPS}/refused`)).code).toBe(404);
    const [request] = hook.requests;
    expect(request).toMatchObject({
      operation: "CREATE",
      kind: { group: "", version: "v1", kind: "ConfigMap" },
      resource: { group: "", version: "v1", resource: "configmaps" },
      name: "refused",
      namespace: "default",
      userInfo: { username: "kubernetes-admin" },
      object: { data: { a: "1" }, metadata: { name: "refused" } },
      oldObject: null,
      dryRun: false,
    });
  });

  it("allows with warnings, and the object that is stored is the one that was shown", async () => {
    await configure(webhook());
    hook.respond = () => ({ allowed: true, warnings: ["it is odd"] });
    const answer = await api.call("POST", MAPS, { ...configMap(""), metadata: { generateName: "odd-" } });
    expect(answer.code).toBe(201);
    expect(answer.headers["warning"]).toBe('299 - "it is odd"');
    const shown = hook.requests[0]?.["object"];
    expect([at(shown, "metadata", "name"), at(shown, "metadata", "uid")]).toEqual([at(answer.body, "metadata", "name"), at(answer.body, "metadata", "uid")]);
  });

  it("is asked of updates, patches and deletions with the object as it was", async () => {
    await api.post(MAPS, configMap("kept", { a: "1" }));
    await configure(webhook());
    refuse("no");
    const merge = { contentType: "application/merge-patch+json" };
    expect((await api.call("PATCH", `${MAPS}/kept`, { data: { a: "2" } }, merge)).code).toBe(422);
    expect((await api.call("PUT", `${MAPS}/kept`, configMap("kept", { a: "3" }))).code).toBe(422);
    expect((await api.call("DELETE", `${MAPS}/kept`)).code).toBe(422);
    expect(at(await api.get(`${MAPS}/kept`), "data")).toEqual({ a: "1" });
    expect(hook.requests.map((it) => [it["operation"], at(it, "oldObject", "data", "a"), at(it, "object", "data", "a")])).toEqual([
      ["UPDATE", "1", "2"],
      ["UPDATE", "1", "3"],
      ["DELETE", "1", undefined],
    ]);
  });

  it("judges an object again that has changed while it was asked", async () => {
    await api.post(MAPS, configMap("contested", { a: "1" }));
    await configure(webhook({ rules: [{ operations: ["UPDATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }] }));
    let other: Promise<unknown> | undefined;
    hook.respond = () => {
      // While the first is judged, the storage moves on.
      if (other === undefined) {
        const found = api.server.storage.get("configmaps", "default/contested");
        other = Promise.resolve(found === undefined ? undefined : api.server.storage.put("configmaps", { ...found, data: { a: "1", b: "other" } }));
      }
      return { allowed: true };
    };
    await api.merge(`${MAPS}/contested`, { data: { a: "2" } });
    expect(at(await api.get(`${MAPS}/contested`), "data")).toEqual({ a: "2", b: "other" });
    expect(hook.requests.map((it) => at(it, "object", "data"))).toEqual([{ a: "2" }, { a: "2", b: "other" }]);
  });

  it("sees only what its selectors and conditions choose", async () => {
    await configure(
      webhook({
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "default" } },
        objectSelector: { matchExpressions: [{ key: "skip", operator: "DoesNotExist" }] },
        matchConditions: [
          { name: "has-a", expression: "has(object.data) && object.data.exists(key, object.data[key].contains('policy'))" },
          { name: "not-alice", expression: "request.userInfo.username != 'alice'" },
        ],
      }),
    );
    refuse("no");
    expect((await api.call("POST", MAPS, configMap("a", { p: "a policy" }))).code).toBe(422);
    expect((await api.call("POST", MAPS, configMap("b", { p: "nothing" }))).code).toBe(201);
    expect((await api.call("POST", MAPS, configMap("c", { p: "a policy" }, { labels: { skip: "" } }))).code).toBe(201);
    expect((await api.call("POST", "/api/v1/namespaces/kube-system/configmaps", configMap("d", { p: "a policy" }))).code).toBe(201);
    const token = api.server.token("alice", ["system:masters"]);
    expect((await api.call("POST", MAPS, configMap("e", { p: "a policy" }), { token })).code).toBe(201);
  });

  it("that does not answer stops a write only where its failure policy says so", async () => {
    await configure(webhook({ failurePolicy: "Ignore" }));
    hook.respond = () => 500;
    expect((await api.call("POST", MAPS, configMap("a"))).code).toBe(201);
    await api.call("PATCH", `${CONFIGURATIONS}/test`, [{ op: "replace", path: "/webhooks/0/failurePolicy", value: "Fail" }], {
      contentType: "application/json-patch+json",
    });
    const answer = await api.call("POST", MAPS, configMap("b"));
    expect([answer.code, answer.body["message"]]).toEqual([
      500,
      'Internal error occurred: failed calling webhook "maps.example.com": failed to call webhook: an error on the server ("no answer") has prevented the request from succeeding',
    ]);
  });

  it("is found behind a service by the ready pods of its selector", async () => {
    const port = Number(new URL(hook.url).port);
    await api.post("/api/v1/namespaces/default/services", {
      metadata: { name: "hook" },
      spec: { selector: { app: "hook" }, ports: [{ port: 443, targetPort: "https" }] },
    });
    const container = { name: "main", image: "i", ports: [{ name: "https", containerPort: port }] };
    await api.post("/api/v1/namespaces/default/pods", { metadata: { name: "hook", labels: { app: "hook" } }, spec: { containers: [container] } });
    await configure(
      webhook({ clientConfig: { service: { namespace: "default", name: "hook", path: "/admit" }, caBundle: hook.caBundle }, failurePolicy: "Fail" }),
    );
    refuse("no");
    expect((await api.call("POST", MAPS, configMap("a"))).body["message"]).toContain('no endpoints available for service "hook"');
    await api.call(
      "PATCH",
      "/api/v1/namespaces/default/pods/hook/status",
      { status: { podIP: "127.0.0.1", conditions: [{ type: "Ready", status: "True" }] } },
      { contentType: "application/merge-patch+json" },
    );
    expect((await api.call("POST", MAPS, configMap("a"))).body["message"]).toBe('admission webhook "maps.example.com" denied the request: no');
  });

  it("is not asked of its own configuration, which can always be taken away", async () => {
    await configure(webhook({ rules: [{ operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"] }] }));
    refuse("no");
    expect((await api.call("DELETE", `${CONFIGURATIONS}/test`)).code).toBe(200);
    expect((await api.call("POST", MAPS, configMap("a"))).code).toBe(201);
  });
});
