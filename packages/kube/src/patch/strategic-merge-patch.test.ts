import { builtInSchemas } from "@drayage/protocols/kubernetes";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "./json.ts";
import { mergePatch } from "./merge-patch.ts";
import { strategicMergePatch } from "./strategic-merge-patch.ts";

const schema = builtInSchemas()["io.k8s.api.apps.v1.Deployment"];
const patched = (target: JsonObject, patch: JsonObject): JsonObject => strategicMergePatch(target, patch, schema);
const containers = (...items: JsonObject[]): JsonObject => ({ spec: { template: { spec: { containers: items } } } });

describe("a strategic merge patch", () => {
  it("merges a list by its key, putting items only the patch knows first", () => {
    expect(patched(containers({ name: "a", image: "1" }), containers({ name: "b", image: "2" }))).toEqual(
      containers({ name: "b", image: "2" }, { name: "a", image: "1" }),
    );
    expect(patched(containers({ name: "a", image: "1" }, { name: "b" }), containers({ name: "a", image: "2" }))).toEqual(
      containers({ name: "a", image: "2" }, { name: "b" }),
    );
  });

  it("orders a list as it is told", () => {
    const patch = { spec: { template: { spec: { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }], containers: [{ name: "a", image: "2" }] } } } };
    expect(patched(containers({ name: "a" }, { name: "b" }), patch)).toEqual(containers({ name: "b" }, { name: "a", image: "2" }));
    const only = { spec: { template: { spec: { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }] } } } };
    expect(patched(containers({ name: "a" }, { name: "b" }), only)).toEqual(containers({ name: "b" }, { name: "a" }));
  });

  it("deletes an item, replaces a list or a map, and removes fields by null", () => {
    expect(patched(containers({ name: "a" }, { name: "b" }), containers({ name: "a", $patch: "delete" }))).toEqual(containers({ name: "b" }));
    expect(patched(containers({ name: "a" }), containers({ $patch: "replace" }, { name: "z" }))).toEqual(containers({ name: "z" }));
    expect(patched({ metadata: { labels: { a: "1" } } }, { metadata: { labels: { $patch: "replace", b: "2" } } })).toEqual({
      metadata: { labels: { b: "2" } },
    });
    expect(patched({ metadata: { labels: { a: "1", b: "2" } } }, { metadata: { labels: { a: null } } })).toEqual({ metadata: { labels: { b: "2" } } });
    expect(patched({ metadata: { labels: { a: "1" } } }, { metadata: { labels: { $patch: "delete" } } })).toEqual({ metadata: { labels: {} } });
  });

  it("treats lists of scalars as sets where the schema says so, and as values elsewhere", () => {
    const target = { metadata: { finalizers: ["a", "b"] } };
    expect(patched(target, { metadata: { finalizers: ["c"] } })).toEqual({ metadata: { finalizers: ["c", "a", "b"] } });
    expect(patched(target, { metadata: { "$deleteFromPrimitiveList/finalizers": ["a"] } })).toEqual({ metadata: { finalizers: ["b"] } });
    expect(patched(containers({ name: "a", args: ["1", "2"] }), containers({ name: "a", args: ["3"] }))).toEqual(containers({ name: "a", args: ["3"] }));
  });

  it("keeps only the fields it is told to keep", () => {
    const target = { spec: { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } } };
    expect(patched(target, { spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } } })).toEqual({ spec: { strategy: { type: "Recreate" } } });
  });

  it.each([containers({ image: "no name" }), { spec: { template: { spec: { containers: ["text"] } } } }, { metadata: { $patch: "shuffle" } }])(
    "is refused when it makes no sense: %j",
    (patch) => {
      expect(() => patched(containers({ name: "a" }), patch as JsonObject)).toThrow();
    },
  );
});

describe("a merge patch", () => {
  it("merges objects, replaces lists and removes by null, without touching its target", () => {
    const target = { a: { b: 1, c: 2 }, list: [1, 2] };
    expect(mergePatch(target, { a: { b: null, d: { e: null, f: 1 } }, list: [3] })).toEqual({ a: { c: 2, d: { f: 1 } }, list: [3] });
    expect(target).toEqual({ a: { b: 1, c: 2 }, list: [1, 2] });
    expect(mergePatch("text", { a: 1 })).toEqual({ a: 1 });
  });

  it("takes __proto__ for a field", () => {
    const merged = mergePatch({}, JSON.parse('{"__proto__":{"polluted":true}}')) as JsonObject;
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect(Object.keys(merged)).toEqual(["__proto__"]);
  });
});
