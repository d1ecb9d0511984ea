/** Who may do what: certificates, tokens, roles; and what goes wrong on demand. */
import { request } from "node:https";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { at, type JsonObject } from "./json.ts";
import { configMap, startTestServer, type TestServer } from "./testing/test-server.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const RBAC = "/apis/rbac.authorization.k8s.io/v1";

let it_: TestServer;

beforeEach(async () => {
  it_ = await startTestServer();
});

afterEach(() => it_[Symbol.asyncDispose]());

describe("a user", () => {
  it("without a name sees what is public and nothing else", async () => {
    expect((await it_.call("GET", "/version", undefined, { token: "" })).code).toBe(200);
    expect((await it_.call("GET", "/readyz", undefined, { token: "" })).text).toBe("ok");
    const refused = await it_.call("GET", MAPS, undefined, { token: "" });
    expect(refused.body).toMatchObject({
      code: 403,
      message: 'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the namespace "default"',
    });
  });

  it("with a token of somebody else's making is not let in", async () => {
    const other = await startTestServer();
    expect((await it_.call("GET", "/version", undefined, { token: other.server.token("x", ["system:masters"]) })).code).toBe(401);
    expect((await it_.call("GET", "/version", undefined, { token: "nonsense" })).code).toBe(401);
    await other[Symbol.asyncDispose]();
  });

  it("is who their certificate says", async () => {
    const pair = await it_.server.issueCertificate({ subject: "CN=carol, O=devs, O=ops" });
    const who = await new Promise<string>((resolve, reject) => {
      const call = request(
        `${it_.server.url}/apis/authentication.k8s.io/v1/selfsubjectreviews`,
        {
          method: "POST",
          ca: it_.server.caPem,
          cert: pair.certificatePem,
          key: pair.keyPem,
          agent: false,
          headers: { "content-type": "application/json", "content-length": 2 },
        },
        (response) => {
          let text = "";
          response.on("data", (part: Buffer) => (text += part.toString())).on("end", () => resolve(text));
        },
      );
      call.once("error", reject).end("{}");
    });
    expect(at(JSON.parse(who) as JsonObject, "status", "userInfo")).toEqual({ username: "carol", groups: ["devs", "ops", "system:authenticated"] });
  });

  it("may do what roles say, for the names and subresources they say", async () => {
    const token = it_.server.token("dave", ["devs"]);
    await it_.post(`${RBAC}/namespaces/default/roles`, {
      metadata: { name: "r" },
      rules: [
        { apiGroups: [""], resources: ["configmaps"], resourceNames: ["mine"], verbs: ["get", "update"] },
        { apiGroups: ["apps"], resources: ["*/scale"], verbs: ["get"] },
      ],
    });
    await it_.post(`${RBAC}/namespaces/default/rolebindings`, {
      metadata: { name: "b" },
      roleRef: { kind: "Role", name: "r" },
      subjects: [{ kind: "Group", name: "devs" }],
    });
    await it_.post(MAPS, configMap("mine"));
    await it_.post(MAPS, configMap("other"));
    const codes = async (...paths: string[]): Promise<number[]> =>
      Promise.all(paths.map(async (path) => (await it_.call("GET", path, undefined, { token })).code));
    expect(await codes(`${MAPS}/mine`, `${MAPS}/other`, MAPS)).toEqual([200, 403, 403]);
    expect(await codes("/apis/apps/v1/namespaces/default/deployments/x/scale", "/apis/apps/v1/namespaces/default/deployments/x")).toEqual([404, 403]);
    await it_.delete(`${RBAC}/namespaces/default/rolebindings/b`);
    expect(await codes(`${MAPS}/mine`)).toEqual([403]);
  });

  it("gets the rules of aggregated roles", async () => {
    await it_.post(`${RBAC}/clusterroles`, {
      metadata: { name: "part", labels: { to: "whole" } },
      rules: [{ apiGroups: [""], resources: ["nodes"], verbs: ["list"] }],
    });
    await it_.post(`${RBAC}/clusterroles`, {
      metadata: { name: "whole" },
      aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: "whole" } }] },
      rules: [],
    });
    await it_.post(`${RBAC}/clusterrolebindings`, {
      metadata: { name: "b" },
      roleRef: { kind: "ClusterRole", name: "whole" },
      subjects: [{ kind: "User", name: "erin" }],
    });
    expect((await it_.call("GET", "/api/v1/nodes", undefined, { token: it_.server.token("erin") })).code).toBe(200);
  });

  it("may act as another only where a role lets them", async () => {
    const as = { headers: { "impersonate-user": "frank" } };
    expect((await it_.call("GET", MAPS, undefined, as)).body["message"]).toContain('User "frank"');
    const refused = await it_.call("GET", MAPS, undefined, { ...as, token: it_.server.token("grace") });
    expect(refused.body["message"]).toBe('users "frank" is forbidden: User "grace" cannot impersonate resource "users" in API group "" at the cluster scope');
  });

  it("may do everything where access is not checked", async () => {
    const open = await startTestServer({ rbac: false });
    expect((await open.call("POST", MAPS, configMap("a"), { token: open.server.token("anyone") })).code).toBe(201);
    await open[Symbol.asyncDispose]();
  });
});

describe("a service account's token", () => {
  const ACCOUNT = "/api/v1/namespaces/default/serviceaccounts";
  const issue = async (spec: JsonObject = {}): Promise<string> => String(at(await it_.post(`${ACCOUNT}/robot/token`, { spec }), "status", "token"));
  const isGood = async (token: string): Promise<boolean> =>
    (await it_.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, { token })).code === 201;

  beforeEach(() => it_.post(ACCOUNT, { metadata: { name: "robot" } }));

  it("is good until the account is deleted, also over a restart", async () => {
    const token = await issue();
    await it_.restart();
    expect(await isGood(token)).toBe(true);
    await it_.delete(`${ACCOUNT}/robot`);
    expect(await isGood(token)).toBe(false);
    await it_.post(ACCOUNT, { metadata: { name: "robot" } });
    expect(await isGood(token)).toBe(false);
  });

  it("bound to a pod goes with the pod", async () => {
    await it_.post("/api/v1/namespaces/default/pods", { metadata: { name: "web" }, spec: { containers: [{ name: "a", image: "b" }] } });
    const token = await issue({ boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "web" } });
    const reviewed = await it_.post("/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token } });
    expect(reviewed["status"]).toMatchObject({
      authenticated: true,
      user: { username: "system:serviceaccount:default:robot", extra: { "authentication.kubernetes.io/pod-name": ["web"] } },
    });
    await it_.delete("/api/v1/namespaces/default/pods/web", { gracePeriodSeconds: 0 });
    expect(await isGood(token)).toBe(false);
  });

  it("for another audience is not one for this server", async () => {
    const token = await issue({ audiences: ["vault"] });
    expect(await isGood(token)).toBe(false);
    const review = (audiences: string[]): Promise<JsonObject> => it_.post("/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token, audiences } });
    expect(at(await review(["vault"]), "status", "audiences")).toEqual(["vault"]);
    expect(at(await review(["other"]), "status", "authenticated")).toBeUndefined();
  });

  it("with one character changed is not good", async () => {
    const token = await issue();
    for (const at_ of [5, token.indexOf(".") + 5, token.length - 5]) {
      const changed = `${token.slice(0, at_)}${token[at_] === "A" ? "B" : "A"}${token.slice(at_ + 1)}`;
      expect(await isGood(changed)).toBe(false);
    }
  });
});

describe("faults on demand", () => {
  it("hit the requests they name, as often as they say", async () => {
    const { faults } = it_.server;
    await it_.post(MAPS, configMap("a"));
    faults.add({ matches: ({ info }) => info.isResource && info.plural === "configmaps" && info.verb === "patch", code: 409, times: 1, after: 1 });
    const patch = async (): Promise<number> =>
      (await it_.call("PATCH", `${MAPS}/a`, { data: { x: "1" } }, { contentType: "application/merge-patch+json" })).code;
    expect([await patch(), await patch(), await patch()]).toEqual([200, 409, 200]);
    const remove = faults.add({ code: 429, retryAfterSeconds: 3 });
    const limited = await it_.call("GET", MAPS);
    expect([limited.code, limited.headers["retry-after"], limited.body["reason"]]).toEqual([429, "3", "TooManyRequests"]);
    remove();
    expect((await it_.call("GET", MAPS)).code).toBe(200);
    faults.add({ code: 500 });
    expect((await it_.call("GET", MAPS)).body["reason"]).toBe("InternalError");
    faults.clear();
  });

  it("can lose the answer to a request that took effect", async () => {
    it_.server.faults.add({ cutAnswer: true, times: 1 });
    await expect(it_.call("POST", MAPS, configMap("lost"))).rejects.toThrow();
    expect((await it_.call("GET", `${MAPS}/lost`)).code).toBe(200);
  });
});
