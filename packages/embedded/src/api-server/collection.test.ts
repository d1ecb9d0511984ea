/** What happens by itself: definitions, namespaces, owners, protected storage. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { at, type JsonObject } from "./json.ts";
import { configMap, eventually, startTestServer, type TestServer } from "./testing/test-server.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const uidOf = (object: JsonObject): string => String(at(object, "metadata", "uid"));

let it_: TestServer;

beforeEach(async () => {
  it_ = await startTestServer();
});

afterEach(() => it_[Symbol.asyncDispose]());

const isGone = (path: string) => async (): Promise<boolean> => (await it_.call("GET", path)).code === 404;
const owner = (object: JsonObject, more: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  name: String(at(object, "metadata", "name")),
  uid: uidOf(object),
  ...more,
});

describe("owned objects", () => {
  it("go after their last owner", async () => {
    const a = await it_.post(MAPS, configMap("a"));
    const b = await it_.post(MAPS, configMap("b"));
    await it_.post(MAPS, configMap("child", {}, { ownerReferences: [owner(a), owner(b)] }));
    await it_.post(MAPS, configMap("grandchild", {}, { ownerReferences: [owner(await it_.get(`${MAPS}/child`))] }));
    await it_.delete(`${MAPS}/a`);
    await eventually(async () => (at(await it_.get(`${MAPS}/child`), "metadata", "ownerReferences") as JsonObject[]).length === 1);
    await it_.delete(`${MAPS}/b`);
    await eventually(isGone(`${MAPS}/child`));
    await eventually(isGone(`${MAPS}/grandchild`));
  });

  it("go at once when their owner was never there", async () => {
    await it_.post(MAPS, configMap("child", {}, { ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "x", uid: "no-such-uid" }] }));
    await eventually(isGone(`${MAPS}/child`));
  });

  it("stay when their owner is deleted with Orphan", async () => {
    const a = await it_.post(MAPS, configMap("a"));
    await it_.post(MAPS, configMap("child", {}, { ownerReferences: [owner(a)] }));
    await it_.delete(`${MAPS}/a`, { propagationPolicy: "Orphan" });
    await eventually(isGone(`${MAPS}/a`));
    expect(at(await it_.get(`${MAPS}/child`), "metadata", "ownerReferences")).toBeUndefined();
  });

  it("go before an owner that is deleted in the foreground, where they block it", async () => {
    const a = await it_.post(MAPS, configMap("a"));
    await it_.post(MAPS, configMap("child", {}, { finalizers: ["example.com/hold"], ownerReferences: [owner(a, { blockOwnerDeletion: true })] }));
    await it_.post(MAPS, configMap("other", {}, { finalizers: ["example.com/hold"], ownerReferences: [owner(a)] }));
    await it_.delete(`${MAPS}/a`, { propagationPolicy: "Foreground" });
    await eventually(async () => at(await it_.get(`${MAPS}/child`), "metadata", "deletionTimestamp") !== undefined);
    expect(at(await it_.get(`${MAPS}/a`), "metadata", "finalizers")).toEqual(["foregroundDeletion"]);
    await it_.merge(`${MAPS}/child`, { metadata: { finalizers: null } });
    await eventually(isGone(`${MAPS}/a`));
    expect(at(await it_.get(`${MAPS}/other`), "metadata", "deletionTimestamp")).toBeDefined();
  });

  it("are found again after a restart", async () => {
    const a = await it_.post(MAPS, configMap("a"));
    await it_.post(MAPS, configMap("child", {}, { ownerReferences: [owner(a)] }));
    await it_.restart();
    await it_.delete(`${MAPS}/a`);
    await eventually(isGone(`${MAPS}/child`));
  });
});

describe("a namespace", () => {
  beforeEach(() => it_.post("/api/v1/namespaces", { metadata: { name: "shop" } }));

  it("has a service account and the certificate authority from its first moment, and again when they are deleted", async () => {
    await it_.get("/api/v1/namespaces/shop/serviceaccounts/default");
    expect(at(await it_.get("/api/v1/namespaces/shop/configmaps/kube-root-ca.crt"), "data", "ca.crt")).toBe(it_.server.caPem);
    await it_.delete("/api/v1/namespaces/shop/serviceaccounts/default");
    await it_.get("/api/v1/namespaces/shop/serviceaccounts/default");
  });

  it("takes everything in it along, and takes nothing new meanwhile", async () => {
    await it_.post("/api/v1/namespaces/shop/configmaps", configMap("held", {}, { finalizers: ["example.com/hold"] }));
    await it_.post("/api/v1/namespaces/shop/secrets", { metadata: { name: "s" } });
    const deleted = await it_.delete("/api/v1/namespaces/shop");
    expect(at(deleted, "status", "phase")).toBe("Terminating");
    await eventually(isGone("/api/v1/namespaces/shop/secrets/s"));
    const refused = await it_.call("POST", "/api/v1/namespaces/shop/configmaps", configMap("late"));
    expect(refused.body).toMatchObject({ code: 403, details: { causes: [{ reason: "NamespaceTerminating" }] } });
    await eventually(async () => {
      const conditions = at(await it_.get("/api/v1/namespaces/shop"), "status", "conditions") as JsonObject[] | undefined;
      return (
        conditions?.some(
          (condition) =>
            condition["type"] === "NamespaceFinalizersRemaining" && condition["status"] === "True" && String(condition["message"]).includes("example.com/hold"),
        ) === true
      );
    });
    await it_.merge("/api/v1/namespaces/shop/configmaps/held", { metadata: { finalizers: null } });
    await eventually(isGone("/api/v1/namespaces/shop"));
    expect(it_.server.storage.list("serviceaccounts", "shop")).toEqual([]);
  });

  it("that was being deleted is finished after a restart", async () => {
    await it_.post("/api/v1/namespaces/shop/configmaps", configMap("held", {}, { finalizers: ["example.com/hold"] }));
    await it_.delete("/api/v1/namespaces/shop");
    await it_.restart();
    await it_.merge("/api/v1/namespaces/shop/configmaps/held", { metadata: { finalizers: null } });
    await eventually(isGone("/api/v1/namespaces/shop"));
  });

  it("with a finalizer of somebody else's waits for it", async () => {
    const namespace = await it_.get("/api/v1/namespaces/shop");
    await it_.call("PUT", "/api/v1/namespaces/shop/finalize", { ...namespace, spec: { finalizers: ["kubernetes", "example.com/late"] } });
    await it_.delete("/api/v1/namespaces/shop");
    await eventually(async () => (at(await it_.get("/api/v1/namespaces/shop"), "spec", "finalizers") as string[]).length === 1);
    const current = await it_.get("/api/v1/namespaces/shop");
    await it_.call("PUT", "/api/v1/namespaces/shop/finalize", { ...current, spec: { finalizers: [] } });
    await eventually(isGone("/api/v1/namespaces/shop"));
  });
});

describe("a custom kind", () => {
  const definition = (
    versions: string[],
    stored = "v1",
    schema: JsonObject = { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  ): JsonObject => ({
    metadata: { name: "ships.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "ships", kind: "Ship", shortNames: ["sh"] },
      versions: versions.map((name) => ({ name, served: true, storage: name === stored, schema: { openAPIV3Schema: schema } })),
    },
  });
  const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const ships = (version: string): string => `/apis/example.com/${version}/namespaces/default/ships`;
  const ship = (name: string, more: JsonObject = {}): JsonObject => ({ apiVersion: "example.com/v1", kind: "Ship", metadata: { name }, ...more });

  it("is served in all its versions, each the same object, before and after a restart", async () => {
    await it_.post(CRDS, definition(["v1", "v2"], "v2"));
    await it_.post(ships("v1"), ship("ada", { spec: { a: 1 } }));
    expect(await it_.get(`${ships("v2")}/ada`)).toMatchObject({ apiVersion: "example.com/v2", spec: { a: 1 } });
    await it_.restart();
    expect(await it_.get(`${ships("v1")}/ada`)).toMatchObject({ apiVersion: "example.com/v1", spec: { a: 1 } });
    expect((await it_.get("/apis/example.com"))["preferredVersion"]).toEqual({ groupVersion: "example.com/v2", version: "v2" });
  });

  it("that was changed is served in its new form: pruned, defaulted, in OpenAPI", async () => {
    await it_.post(CRDS, definition(["v1"]));
    await it_.post(ships("v1"), ship("ada", { spec: { a: 1 }, extra: 1 }));
    const before = JSON.stringify(await it_.get("/openapi/v3"));
    const schema = { type: "object", properties: { spec: { type: "object", properties: { a: { type: "integer" }, b: { type: "string", default: "new" } } } } };
    const current = await it_.get(`${CRDS}/ships.example.com`);
    const versions = at(definition(["v1"], "v1", schema), "spec", "versions");
    const { code } = await it_.call("PUT", `${CRDS}/ships.example.com`, { ...current, spec: { ...(current["spec"] as JsonObject), versions } });
    expect(code).toBe(200);
    expect(await it_.get(`${ships("v1")}/ada`)).toMatchObject({ spec: { a: 1, b: "new" } });
    expect(await it_.get(`${ships("v1")}/ada`)).not.toHaveProperty("extra");
    expect(JSON.stringify(await it_.get("/openapi/v3"))).not.toBe(before);
    const document = await it_.get("/openapi/v3/apis/example.com/v1");
    expect(at(document, "components", "schemas", "com.example.v1.Ship", "properties", "spec", "properties", "b", "default")).toBe("new");
  });

  it("whose names are taken is not served until they are free", async () => {
    await it_.post(CRDS, definition(["v1"]));
    const rival = definition(["v1"]);
    const spec = rival["spec"] as JsonObject;
    await it_.post(CRDS, { metadata: { name: "boats.example.com" }, spec: { ...spec, names: { plural: "boats", kind: "Boat", shortNames: ["sh"] } } });
    const conditions = at(await it_.get(`${CRDS}/boats.example.com`), "status", "conditions") as JsonObject[];
    expect(conditions.map((it) => [it["type"], it["status"], it["reason"]])).toEqual([
      ["NamesAccepted", "False", "NamesConflict"],
      ["Established", "False", "NotAccepted"],
    ]);
    expect((await it_.call("GET", "/apis/example.com/v1/boats")).code).toBe(404);
  });

  it("goes when its definition is deleted, its objects first", async () => {
    await it_.post(CRDS, definition(["v1"]));
    await it_.post(ships("v1"), ship("ada"));
    await it_.post(ships("v1"), ship("bob", { metadata: { name: "bob", finalizers: ["example.com/hold"] } }));
    await it_.delete(`${CRDS}/ships.example.com`);
    expect((await it_.call("GET", `${ships("v1")}/ada`)).code).toBe(404);
    // Meanwhile the definition can be changed like any other object, whatever finalizer the server has put on it.
    await it_.merge(`${CRDS}/ships.example.com`, { metadata: { labels: { still: "here" } } });
    await it_.merge(`${ships("v1")}/bob`, { metadata: { finalizers: null } });
    await eventually(isGone(`${CRDS}/ships.example.com`));
    expect((await it_.call("GET", ships("v1"))).code).toBe(404);
    expect((await it_.call("GET", "/apis/example.com")).code).toBe(404);
  });
});

describe("storage in use", () => {
  const CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims";
  const claim = { metadata: { name: "data" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } };
  const pod = {
    metadata: { name: "web" },
    spec: { nodeName: "n", containers: [{ name: "a", image: "b" }], volumes: [{ name: "d", persistentVolumeClaim: { claimName: "data" } }] },
  };

  it("is deleted when the last pod on a node that uses it is gone", async () => {
    await it_.post(CLAIMS, claim);
    await it_.post("/api/v1/namespaces/default/pods", pod);
    await it_.delete(`${CLAIMS}/data`);
    await it_.get(`${CLAIMS}/data`);
    await it_.delete("/api/v1/namespaces/default/pods/web", { gracePeriodSeconds: 0 });
    await eventually(isGone(`${CLAIMS}/data`));
  });

  it("that is a volume is deleted when it is bound no more", async () => {
    const volume = { metadata: { name: "vol" }, spec: { capacity: { storage: "1Gi" }, accessModes: ["ReadWriteOnce"], hostPath: { path: "/x" } } };
    await it_.post("/api/v1/persistentvolumes", volume);
    await it_.merge("/api/v1/persistentvolumes/vol/status", { status: { phase: "Bound" } });
    await it_.delete("/api/v1/persistentvolumes/vol");
    await it_.get("/api/v1/persistentvolumes/vol");
    await it_.merge("/api/v1/persistentvolumes/vol/status", { status: { phase: "Released" } });
    await eventually(isGone("/api/v1/persistentvolumes/vol"));
  });
});
